"""Runs that are over, and imported nets, read again: nothing is trained and nothing in the workdir is written."""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from zsl_jax.config.options import completed
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.scaling import SemanticsScaler
from zsl_jax.errors import InputError
from zsl_jax.evaluation import protocol
from zsl_jax.experiment import outcome, problems
from zsl_jax.experiment.problems import Problem, Runs, Trained
from zsl_jax.files import read_json
from zsl_jax.train_steps.method import Spec
from zsl_jax.training import checkpoints, imported
from zsl_jax.training.parallel import make_layout
from zsl_jax.training.stage import (
    Evaluation,
    Stage,
    evaluated,
    has_checkpoints,
    is_imported,
    load_inference,
    read_evaluations,
    stopped_early,
)
from zsl_jax.training.workdir import ATTRIBUTES, CONFIG, FINGERPRINT, RESULT, SCALER, SETTLED, SIZES

PER_EPOCH = "hyper['steps_per_epoch']"  # the array of a checkpoint that holds the iterations of an epoch


@dataclasses.dataclass(frozen=True)
class Workdir:
    """What a workdir says of its run.

    Attributes:
      path: the folder.
      config: the run's configuration, settled and locked; what belongs to the machine it ran on is set to one device.
      fingerprint: of the run's data; "" where nothing has been trained on imported nets.
      result: result.json, None before the run is finished.
      sizes: of the run's data as they were loaded; None where an earlier version left none.
      scaler: of descriptions.
      attribute_names: of their columns, or none.
    """

    path: Path
    config: Any
    fingerprint: str
    result: dict[str, Any] | None
    sizes: Spec | None
    scaler: SemanticsScaler
    attribute_names: tuple[str, ...]


def open_workdir(path: Path) -> Workdir:
    """Reads what a run or an import left.

    Raises:
      InputError: there is neither, or their files are damaged.
    """
    files = [path / CONFIG, path / imported.FOLDER / CONFIG]
    there = [file for file in files if file.is_file()]
    if not there:
        raise InputError(f"{path}: no run here; {CONFIG} is missing, and {imported.FOLDER}/{CONFIG} too")
    fields = read_json(there[0])
    if not isinstance(fields, dict):
        raise InputError(f"{there[0]}: not a run's configuration; restore it")
    fingerprint, sizes = fields.pop(FINGERPRINT, ""), fields.pop(SIZES, None)
    settled, scaler, attributes = fields.pop(SETTLED, {}), fields.pop(SCALER, {}), fields.pop(ATTRIBUTES, ())
    result = read_json(path / RESULT) if (path / RESULT).exists() else None
    if not (result is None or isinstance(result, dict)):
        raise InputError(f"{path / RESULT}: not a run's result; restore it")
    with of_this_version(there[0]):
        spec = None if sizes is None else Spec(**sizes | {"views": {k: tuple(v) for k, v in sizes["views"].items()}})
        config = as_config(fields, settled, there[0])
        kind = scaler.get("kind", config.data.semantics_scaling)
        shift, scale = np.array(scaler.get("shift", [0.0])), np.array(scaler.get("scale", [1.0]))
    return Workdir(path, config, str(fingerprint), result, spec, SemanticsScaler(kind, shift, scale), tuple(attributes))


def as_config(fields: dict[str, Any], settled: dict[str, Any], path: Path) -> Any:
    """The configuration that was written as JSON, with what was settled, to be used on one device of this machine.

    Raises:
      InputError: it is none of this version.
    """
    with of_this_version(path):
        config: Any = ConfigDict(_with_tuples(completed(fields)))
        config.update_from_flattened_dict(settled)
        config.parallel.devices, config.parallel.mode = 1, "sharded"
        config.compilation_cache, config.stage = "", ""
        return config.lock()


@contextlib.contextmanager
def of_this_version(path: Path) -> Iterator[None]:
    """Says so where a configuration turns out to lack a field, or to have one of another type."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        cause = next((one for one in error.args if isinstance(one, KeyError)), error)  # of a missing attribute
        lack = f"no field {cause.args[0]}" if isinstance(cause, KeyError) else str(cause)
        said = " ".join(lack.split())[:200]
        raise InputError(
            f"{path}: its configuration is not one of this version of zsl_jax ({said}); use the version it is of, or "
            "train anew"
        ) from error


def _with_tuples(value: Any) -> Any:
    """JSON has lists where configurations have tuples."""
    if isinstance(value, dict):
        return {name: _with_tuples(one) for name, one in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def load(config: Any, path: Path) -> tuple[Any, Dataset]:
    """The data of a run's configuration, and this settled, see `problems.load`.

    Raises:
      InputError: also where the configuration lacks a field of this version.
    """
    with of_this_version(path):
        return problems.load(config)


class FinishedStage(NamedTuple):
    """What a finished stage left: the stage with the iterations that its epochs had, evaluations, seconds, digest."""

    stage: Stage
    evaluations: list[Evaluation]
    seconds: dict[str, float]
    imported: str


def finished_stage(stage: Stage) -> FinishedStage | None:
    """What a stage left; None if it is not finished.

    Raises:
      InputError: its files are damaged.
    """
    if not has_checkpoints(stage):
        digest = imported.digest(stage.directory, stage.name) if is_imported(stage) else ""
        stage = dataclasses.replace(stage, per_epoch=stage.plan.steps_per_epoch or 1)
        return FinishedStage(stage, [], {}, digest) if digest else None
    with checkpoints.open_checkpoints(stage.checkpoints, read_only=True) as opened:
        (*_, step) = opened.steps()
        info = opened.info(step)
        per_epoch = info.get("steps_per_epoch") or int(opened.arrays(step)[PER_EPOCH])
    stage = dataclasses.replace(stage, per_epoch=per_epoch)
    digest = info.get("imported", "")
    evaluations = read_evaluations(stage, step, last_alone=bool(digest))
    finished = step == stage.plan.total or stopped_early(stage, evaluations)
    return FinishedStage(stage, evaluations, info["seconds"], digest) if finished else None


def read(workdir: Workdir, config: Any, dataset: Dataset) -> Runs:
    """The finished stages of a run; those of the test task may be none.

    Args:
      workdir: of the run.
      config: its configuration, perhaps with another data section.
      dataset: from `load`.
    """
    key, layout = jax.random.key(config.seed), make_layout(config.parallel)
    draws = problems.validation_problems(config, dataset, workdir.path, key, layout, bars=True)
    validation = tuple(read_problem(config, dataset, problem) for problem in draws)
    choices = problems.choose(config, validation)
    problem = problems.test_problem(workdir.path, key, choices, layout, bars=True)
    return Runs(dataset, read_problem(config, dataset, problem), validation, choices)


def read_problem(config: Any, raw: Dataset, problem: Problem) -> Trained:
    """The stages of one task up to the first that is not finished, each given what the earlier ones made."""
    dataset, upstream = raw, {}
    found: dict[str, FinishedStage] = {}
    for name in config.stages:
        stage, task = problems.make_stage(config, name, raw, dataset, problem, upstream)
        left = finished_stage(stage)
        if left is None:
            break
        found[name] = left
        params = load_inference(left.stage, handed_on(config, left, problem))
        dataset, upstream = problems.hand_on(config, left.stage, task, params, raw, dataset, upstream)
    return Trained(
        problem.name,
        *problems.both_tasks(config, problem, dataset),
        stages={name: left.stage for name, left in found.items()},
        evaluations={name: left.evaluations for name, left in found.items()},
        seconds={name: left.seconds for name, left in found.items()},
        imported={name: left.imported for name, left in found.items() if left.imported},
    )


def up_to(found: Runs, last: str) -> Runs:
    """The run without the stages after `last`."""
    names = list(found.test.stages)
    stages = {name: found.test.stages[name] for name in names[: names.index(last) + 1]}
    return dataclasses.replace(found, test=dataclasses.replace(found.test, stages=stages))


def handed_on(config: Any, left: FinishedStage, problem: Problem) -> int:
    """The epoch whose state later stages got."""
    if not left.evaluations:
        return left.stage.epochs - 1
    return problems.upstream_epoch(config, left.stage, left.evaluations, problem)


class Rescored(NamedTuple):
    """A run whose kept states have been scored again.

    runs: with those scores in place of the recorded ones. made: epochs that were scored, by stage. lost: epochs that
    were scored in the run, but whose states it did not keep.
    """

    runs: Runs
    made: dict[str, list[int]]
    lost: dict[str, list[int]]


def rescore(runs: Runs, same_data: bool) -> Rescored:
    """Scores every state of the test task that was kept, with the keys, options and calibrations of the run.

    Args:
      runs: from `read`.
      same_data: whether the data are those of the run. Then scores that cannot be made again stay in their places, to
        say where a best score was; else they count as lower than any.
    """
    made: dict[str, dict[int, Evaluation]] = {}
    for name, stage in runs.test.stages.items():
        if stage.method.is_scored:
            made[name] = {epoch: evaluated(stage, load_inference(stage, epoch), epoch) for epoch in kept_epochs(stage)}
            stage.release()
    recorded = {name: runs.test.evaluations[name] for name in made}
    whole = {name: mixed(recorded[name], made[name], same_data) for name in made}
    test = dataclasses.replace(runs.test, evaluations=runs.test.evaluations | whole)
    lost = {name: [one["epoch"] for one in found if one["epoch"] not in made[name]] for name, found in recorded.items()}
    return Rescored(dataclasses.replace(runs, test=test), {name: list(epochs) for name, epochs in made.items()}, lost)


def kept_epochs(stage: Stage) -> list[int]:
    """The epochs that a stage was evaluated after and whose states it kept, ascending."""
    if not has_checkpoints(stage):
        return [stage.epochs - 1]
    with checkpoints.open_checkpoints(stage.checkpoints, read_only=True) as opened:
        steps = opened.steps()
    return [epoch for epoch in range(stage.epochs) if stage.step_of(epoch) in steps and stage.evaluates(epoch)]


def mixed(recorded: Sequence[Evaluation], made: Mapping[int, Evaluation], same_data: bool) -> list[Evaluation]:
    """Evaluations made again, and for the other epochs the recorded ones, or scores lower than any."""

    def stand_in(one: Evaluation) -> Evaluation:
        return one if same_data else one | {"scores": jax.tree.map(lambda _: -math.inf, one["scores"])}

    rest = {one["epoch"]: stand_in(one) for one in recorded}
    return [one for _, one in sorted((rest | dict(made)).items())]


def conclude(config: Any, again: Rescored) -> dict[str, Any]:
    """The result of the scores made again, as `outcome.conclude`; None where a score's state was not kept."""
    result = outcome.conclude(config, again.runs).result
    last = again.runs.test.last.name
    rows = {
        name: own_scores(found, again.runs.test.evaluations[name], again.made[name])
        for name, found in (result["stages"] | {last: result["protocols"]}).items()
    }
    return {name: value for name, value in result.items() if name != "seconds"} | {
        "protocols": rows.pop(last),
        "stages": rows,
    }


def own_scores(
    rows: Mapping[str, Mapping[str, Any]], evaluations: Sequence[Evaluation], made: Iterable[int]
) -> dict[str, dict[str, Any]]:
    """Rows by protocol and space, with None for scores found at epochs other than those made again."""
    epochs = set(made)

    def own(name: str, space: str, row: Mapping[str, Any]) -> dict[str, Any]:
        places = {"T1": row["found"]["T1"]["epoch"], **dict.fromkeys(("U", "S", "H"), row["found"]["H"]["epoch"])}
        best = protocol.best(evaluations, space, "AUSUC")[0].epoch  # of the oracle a place of its own
        places["AUSUC"] = best if name == "oracle" else places["H"]
        scores = {score: row[score] if epoch in epochs else None for score, epoch in places.items()}
        calibrated = row.get("calibrated")
        if calibrated and calibrated["found"]["epoch"] not in epochs:
            scores["calibrated"] = calibrated | dict.fromkeys(set(calibrated) & {"U", "S", "H"})
        return dict(row) | scores

    return {name: {space: own(name, space, row) for space, row in spaces.items()} for name, spaces in rows.items()}

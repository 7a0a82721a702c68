"""Whole runs on a small synthetic data set: all stages, both tasks, their traces on disk, and what is concluded."""

import dataclasses
import gc
import json
import types
import weakref
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests import linear, tiny
from tests.tiny import StopAfter, bits, untimed
from zsl_jax import data
from zsl_jax.config import defaults
from zsl_jax.errors import InputError
from zsl_jax.evaluation import scoring
from zsl_jax.experiment import outcome, problems
from zsl_jax.experiment.problems import TEST, VALIDATION, Problem, Runs
from zsl_jax.files import write_json
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Entry, Method
from zsl_jax.training.lockstep import drive
from zsl_jax.training.parallel import Sharded
from zsl_jax.training.stage import Diverged, Stage, is_finished, load_inference, run_stage
from zsl_jax.training.stopping import Interrupted, StopRequest
from zsl_jax.training.workdir import METRICS, RunWriter, read_metrics

STAGES = ("finetune_x", "finetune_r", "drg", "dfg")


def small_config(stages: tuple[str, ...] = STAGES) -> Any:
    config = tiny.synthetic(tiny.narrow(defaults.zerodiff()))
    config.stages = stages
    for name in STAGES:
        config[name].epochs = 2
    return config


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run of all stages with validation, and what it leaves.

    uploads: how often rows to score were brought to the device; resident: how many arrays of them are still there.
    """

    config: Any
    workdir: Path
    runs: Runs
    outcome: outcome.Outcome
    uploads: int
    resident: int


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Finished:
    config, workdir = small_config(), tmp_path_factory.mktemp("run")
    arrays, upload = [], scoring.upload

    def counted(*given):
        made = upload(*given)
        arrays.append([weakref.ref(array) for array in jax.tree.leaves((made.real, made.scored))])
        return made

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scoring, "upload", counted)
        runs = drive(problems.run(*problems.load(config), workdir, StopRequest()))
    gc.collect()
    resident = sum(array() is not None for made in arrays for array in made)
    return Finished(config, workdir, runs, outcome.conclude(config, runs), len(arrays), resident)


def again(stage: Stage, directory: Path, stop: StopRequest | None = None, **changes: Any):
    """Runs a stage of a finished run in another folder, with the programs that are compiled already."""
    directory.mkdir(exist_ok=True)
    with RunWriter(directory, tensorboard=False) as writer:
        changed = dataclasses.replace(stage, directory=directory, **changes)
        return drive(run_stage(changed, writer, STAGES, stop or StopRequest()))


def metrics_of(directory: Path, stage: str) -> list[dict[str, Any]]:
    return untimed([line for line in read_metrics(directory / METRICS) if line["stage"] == stage])


class StopInTheMiddle(StopAfter):
    """SIGTERM in the second epoch, not at its end."""

    chunks = 5


def test_every_stage_of_both_tasks_leaves_its_traces(finished):
    for folder, trained in (
        (finished.workdir, finished.runs.test),
        (finished.workdir / "validation", finished.runs.validation[0]),
    ):
        assert tuple(trained.stages) == STAGES
        assert list(dict.fromkeys(line["stage"] for line in read_metrics(folder / METRICS))) == list(STAGES)
        for name in STAGES:
            assert [one["epoch"] for one in trained.evaluations[name]] == [0, 1]
            assert (folder / "checkpoints" / name).is_dir()
            assert min(trained.seconds[name].values()) > 0


def test_a_stage_uploads_the_rows_it_is_scored_on_once_and_frees_them(finished):
    """However many epochs are scored, and although the stages of a run live to its end."""
    scored = [stage for stage in finished.runs.test.stages.values() if stage.method.is_scored]
    assert len(scored) == 2
    assert finished.uploads == 2 * len(scored)
    assert finished.resident == 0


@pytest.mark.parametrize("name", STAGES)
def test_an_interrupted_stage_ends_in_the_same_bits(finished, tmp_path, name):
    stage = finished.runs.test.stages[name]
    with pytest.raises(Interrupted, match=f"in stage {name}"):
        again(stage, tmp_path, StopInTheMiddle())
    resumed = again(stage, tmp_path)
    straight = again(stage, finished.workdir)  # finished: reads its last checkpoint
    assert bits(resumed.state) == bits(straight.state)
    assert resumed.evaluations == straight.evaluations
    assert metrics_of(tmp_path, name) == metrics_of(finished.workdir, name)


def test_a_finished_run_is_only_read_again(finished, monkeypatch):
    lines = (finished.workdir / METRICS).read_bytes()
    monkeypatch.setattr(scoring.Scorer, "evaluate", lambda *_: pytest.fail("evaluated again"))
    runs = drive(problems.run(*problems.load(finished.config), finished.workdir, StopRequest()))
    assert runs.test.evaluations == finished.runs.test.evaluations
    assert runs.choices == finished.runs.choices
    assert (finished.workdir / METRICS).read_bytes() == lines


def test_numbers_that_break_are_named_and_the_checkpoint_stays(finished, tmp_path):
    stage = finished.runs.test.stages["dfg"]
    with pytest.raises(Interrupted):
        again(stage, tmp_path, StopInTheMiddle())
    views = {name: np.full_like(view, np.nan) for name, view in stage.train.views.items()}
    broken = dataclasses.replace(stage.train, views=views)
    with pytest.raises(Diverged, match=r"stage dfg: \S+ is nan in iteration 10; the last good checkpoint is of step 9"):
        again(stage, tmp_path, train=broken)
    assert bits(again(stage, tmp_path).state) == bits(again(stage, finished.workdir).state)


def test_validation_never_sees_its_unseen_classes(finished):
    (validation,) = finished.runs.validation
    for trained in (finished.runs.test, validation):
        for stage in trained.stages.values():
            assert set(stage.train.labels) == set(trained.task.seen)
    assert not set(validation.task.unseen) & set(validation.task.seen)
    assert set(validation.task.unseen) | set(validation.task.seen) == set(finished.runs.test.task.seen)
    test_rows = finished.runs.dataset.splits.test_seen, finished.runs.dataset.splits.test_unseen
    assert not set(np.concatenate(test_rows)) & set(validation.task.train_rows)


def test_later_stages_get_the_views_and_parameters_of_earlier_ones(finished):
    stages, config = finished.runs.test.stages, finished.config
    assert stages["finetune_r"].train.x.shape[1] == finished.runs.dataset.x.shape[1]  # raw features
    assert stages["drg"].train.r.shape[1] == config.finetune_r.width
    assert stages["dfg"].train.x.shape[1] == config.finetune_x.width
    problem = problem_of(TEST, finished.runs.choices)
    epoch = problems.upstream_epoch(config, stages["drg"], finished.runs.test.evaluations["drg"], problem)
    assert bits(stages["dfg"].upstream) == bits({"drg": load_inference(stages["drg"], epoch)})


def test_tuned_views_can_be_loaded_as_a_data_set(finished):
    """The folder `features` is in the layout of `data.root`, with the splits of the run."""
    dataset, options = finished.runs.dataset, small_config().data
    options.update({"source": "xlsa17", "root": str(finished.workdir / "features"), "labels": ""})
    options.update({"features": "synthetic_finetune_ce", "representations": "synthetic_finetune_paco"})
    loaded = data.load(options, 0)
    task, test = data.test_task(loaded, options), finished.runs.test.task
    for part, wanted in (
        (task.train, test.train),
        (task.test_seen, test.test_seen),
        (task.test_unseen, test.test_unseen),
    ):
        np.testing.assert_array_equal(part.x, wanted.x)
        np.testing.assert_array_equal(part.r, wanted.r)
        np.testing.assert_array_equal(part.labels, wanted.labels)
    np.testing.assert_allclose(loaded.semantics, dataset.semantics, rtol=1e-6)


def test_the_result_says_all_that_a_result_says(finished, tmp_path):
    result = finished.outcome.result
    assert {"method", "dataset", "seed", "protocols", "headline", "seconds"} <= set(result)
    assert {"name", "features", "semantics", "fingerprint", "sizes"} <= set(result["dataset"])
    assert set(result["protocols"]) == {"oracle", "last", "validated"}
    names = {"T1", "U", "S", "H", "AUSUC"}
    for spaces in result["protocols"].values():
        assert list(spaces) == ["V", "C"]
        for scores in spaces.values():
            assert names <= set(scores)
            assert all(0 <= scores[name] <= 100 for name in names)
    headline = result["headline"]
    assert headline["protocol"] == "validated"
    assert {name: headline[name] for name in names}.items() <= result["protocols"]["validated"][
        headline["space"]
    ].items()
    assert result["dataset"]["fine_tuned"] == ["x", "r"]
    assert set(result["seconds"]) == {TEST, VALIDATION}
    write_json(tmp_path / "result.json", result)
    assert json.loads((tmp_path / "result.json").read_text())["seed"] == 0


def test_no_protocol_beats_the_oracle(finished):
    protocols = finished.outcome.result["protocols"]
    for name in ("last", "validated"):
        for space, scores in protocols[name].items():
            assert all(scores[score] <= protocols["oracle"][space][score] for score in ("T1", "H"))


def test_the_details_belong_to_the_headline(finished):
    """Classifiers fitted once more for the pictures have the scores that were reported."""
    detail, headline = finished.outcome.detail, finished.outcome.result["headline"]
    np.testing.assert_allclose(100 * np.nanmean(detail["seen_accuracy"]), headline["S"], atol=1e-2)
    np.testing.assert_allclose(100 * np.nanmean(detail["unseen_accuracy"]), headline["U"], atol=1e-2)
    np.testing.assert_allclose(100 * detail["AUSUC"], headline["AUSUC"], atol=1e-2)
    synthetic, task = finished.outcome.synthetic, finished.runs.test.task
    assert synthetic.rows.shape[1] == task.test_unseen.views[synthetic.view].shape[1]
    assert set(synthetic.labels) == set(task.unseen)


def evaluations(*scores: float) -> list[dict[str, Any]]:
    return [{"epoch": 3 * place, "score": score} for place, score in enumerate(scores)]


def problem_of(name: str, choices: dict[str, Any]) -> Problem:
    def unused(*_):
        raise AssertionError

    return Problem(name, Path(), unused, jax.random.key(0), choices, Sharded((jax.devices()[0],)))


def choice(epoch: int, score: float) -> dict[str, Any]:
    return {"T1": {"epoch": 0, "T1": score}, "H": {"epoch": epoch, "H": score, "AUSUC": score}}


@pytest.mark.parametrize(
    ("upstream", "task", "epoch"),
    [
        ("validated", VALIDATION, 3),  # its own best
        ("validated", TEST, 12),  # what validation chose in its best space
        ("last", VALIDATION, 6),
        ("last", TEST, 6),
        ("oracle", TEST, 3),
    ],
)
def test_which_state_of_a_generator_later_stages_get(upstream, task, epoch):
    config = ConfigDict({"upstream": upstream, "eval": {"select": "H"}})
    stage: Any = types.SimpleNamespace(name="drg", method=types.SimpleNamespace(is_scored=True))
    choices = {"drg": {"V": choice(9, 10.0), "C": choice(12, 20.0)}} if task == TEST else {}
    assert problems.upstream_epoch(config, stage, evaluations(1.0, 5.0, 2.0), problem_of(task, choices)) == epoch
    view: Any = types.SimpleNamespace(name="drg", method=types.SimpleNamespace(is_scored=False))
    assert problems.upstream_epoch(config, view, evaluations(1.0, 5.0, 2.0), problem_of(task, choices)) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"upstream": "best"}, "config.upstream: 'best'; choose one of"),
        ({"upstream": "validated", "validate": False}, "needs config.validate=True"),
        ({"upstream": "oracle"}, "so nothing after it is validated"),
        ({"stage": "dgf"}, "config.stage: 'dgf'; choose one of"),
        ({"seed": 2**32}, "config.seed: 4294967296; it must be at most 4294967295"),
        ({"dfg": {"critic_width": 0}}, "config.dfg.critic_width: 0; it must be at least 1"),
        ({"dfg": {"z_dim": 10**20}}, "config.dfg.z_dim: .* at most"),
        ({"stages": ("drg", "dfgg")}, "no stage 'dfgg'; did you mean 'dfg'"),
        ({"stages": ("drg", "nothing like it")}, "there are .*'drg'"),
    ],
)
def test_options_that_contradict_each_other(fields, message):
    config = small_config()
    config.update(fields)
    with pytest.raises(InputError, match=message):
        problems.load(config)


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("drg", 101, "there are 100 training rows"),
        ("drg", 90, r"the validation task has \d\d training rows"),
        ("finetune_x", 95, r"there are 9\d training rows, \d+ of 100 held out"),
    ],
)
def test_every_task_has_a_batch_of_rows_for_every_stage(name, size, said):
    config = small_config()
    config[name].batch_size = size
    with pytest.raises(InputError, match=rf"config\.{name}\.batch_size: {size}, but {said}"):
        problems.load(config)


def test_a_run_cannot_begin_in_the_middle_of_nothing(tmp_path):
    config = small_config()
    config.stage = "drg"
    with pytest.raises(InputError, match="has no finished stage 'finetune_x'"):
        drive(problems.run(*problems.load(config), tmp_path, StopRequest()))


def test_a_stage_is_finished_when_its_last_state_is_there(finished, tmp_path):
    stage = finished.runs.test.stages["drg"]
    assert is_finished(stage)
    elsewhere = dataclasses.replace(stage, directory=tmp_path)
    assert not is_finished(elsewhere)
    with pytest.raises(Interrupted):
        again(stage, tmp_path, StopInTheMiddle())
    assert not is_finished(elsewhere)


def test_fine_tuning_sees_standardised_rows(finished):
    """Its input noise is meant in standard deviations."""
    for name in ("finetune_x", "finetune_r"):
        rows = finished.runs.test.stages[name].train.x
        np.testing.assert_allclose(rows.std(axis=0), 1, atol=0.2)  # a tenth of the rows is held out


def build_direct(config: Any, spec) -> Method:
    """The linear method, but it scores rows itself, by their distance to what each class's semantics are mapped to."""

    def scores(params, views, tables):
        prototypes = linear.predict(params["map"], tables.semantics)
        return -jnp.sum((views["x"][:, None, :] - prototypes[None, :, :]) ** 2, axis=-1)

    made = linear.build(config, spec)
    return dataclasses.replace(
        made, synthesize=None, embed=None, spaces=(), samplers=(), scores=scores, kind="classifier"
    )


@pytest.fixture
def own_config(monkeypatch) -> Any:
    """A configuration of a method that scores and is registered from outside; `test_main.py` has one that generates."""
    monkeypatch.setattr(registry, "_added", {})
    config = linear.tiny_run("linear")
    registry.register("linear", Entry(build_direct, ("lr",)))
    config.linear.epochs = 3
    return config


class StopOften(StopAfter):
    """SIGTERM after three chunks."""

    chunks = 3


def test_a_method_from_outside_runs_and_resumes(own_config, tmp_path):
    _, dataset = problems.load(own_config)
    whole = drive(problems.run(own_config, dataset, tmp_path / "whole", StopRequest()))
    ended, parts = 0, None
    while parts is None and ended < 20:
        try:
            parts = drive(problems.run(own_config, dataset, tmp_path / "parts", StopOften()))
        except Interrupted:
            ended += 1
    assert parts is not None
    assert ended >= 2
    assert [one.evaluations for one in parts.validation] == [one.evaluations for one in whole.validation]
    assert parts.test.evaluations == whole.test.evaluations
    assert metrics_of(tmp_path / "parts", "linear") == metrics_of(tmp_path / "whole", "linear")
    result = outcome.conclude(own_config, whole).result
    assert result["headline"]["protocol"] == "validated"
    assert set(result["protocols"]) == {"oracle", "last", "validated"}

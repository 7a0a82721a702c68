"""A whole run: load data, train the stages in order on the validation and on the test task, score by every protocol."""

import dataclasses
import functools
import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from zsl_jax import data
from zsl_jax.config.options import changed
from zsl_jax.data.dataset import Dataset, Part, Task
from zsl_jax.errors import InputError
from zsl_jax.evaluation import protocol, prototype
from zsl_jax.evaluation.options import EvalOptions
from zsl_jax.evaluation.rows import input_of
from zsl_jax.evaluation.scoring import Scorer, tables_of
from zsl_jax.experiment import made_views
from zsl_jax.experiment.checks import check_options, rehearse, spec_of
from zsl_jax.experiment.settling import settle
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Method, Params, hyper_parameters
from zsl_jax.training import processes
from zsl_jax.training.lockstep import Run
from zsl_jax.training.loop import steps_per_epoch
from zsl_jax.training.parallel import Layout, check_batch_sizes, make_layout
from zsl_jax.training.stage import Evaluation, Stage, is_finished, load_inference, run_stage, shapes
from zsl_jax.training.stopping import StopRequest
from zsl_jax.training.workdir import RunFiles, RunWriter, progress

log = logging.getLogger(__name__)

TEST, VALIDATION = "test", "validation"
Choices = dict[str, dict[str, dict[str, Any]]]  # by stage, by space: what `protocol.choose` returns


@dataclasses.dataclass(frozen=True)
class Problem:
    """One of the two tasks of a run: its name, folder, how it is made from a data set, key, and what was chosen."""

    name: str
    directory: Path
    make_task: Callable[[Dataset, Any], Task]
    key: jax.Array
    choices: Choices
    layout: Layout
    bars: bool = True


@dataclasses.dataclass(frozen=True)
class Trained:
    """What is left of a problem when all its stages have run.

    name: of the problem. task: with the views that the last stage saw. raw_task: the same, with nothing scaled. stages,
    evaluations, seconds: by stage name. imported: digests of the nets of those that the run did not train, likewise.
    """

    name: str
    task: Task
    raw_task: Task
    stages: dict[str, Stage]
    evaluations: dict[str, list[Evaluation]]
    seconds: dict[str, dict[str, float]]
    imported: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def last(self) -> Stage:
        """The stage that is scored."""
        return list(self.stages.values())[-1]


@dataclasses.dataclass(frozen=True)
class Runs:
    """All that a run trained: the data set, the test problem, the validation problem's draws (if any), the choices."""

    dataset: Dataset
    test: Trained
    validation: tuple[Trained, ...]
    choices: Choices


def load(config) -> tuple[Any, Dataset]:
    """Loads the data of a configuration that makes sense; writes nothing.

    Returns:
      The configuration and the data set, both settled, see `zsl_jax.experiment.settling`.

    Raises:
      InputError: see `zsl_jax.experiment.checks` and `zsl_jax.data.load`.
    """
    check_options(config)
    config, dataset = settle(config, data.load(config.data, config.seed))
    check_batch_sizes(config, make_layout(config.parallel))
    rehearse(config, dataset)
    for note in dataset.notes:
        log.info("%s: %s", dataset.name, note)
    return config, dataset


def run(config, dataset: Dataset, workdir: Path, stop: StopRequest, bars: bool = True) -> Run[Runs]:
    """Trains what the workdir does not have yet; a generator, to be served by `lockstep.drive`.

    Args:
      config, dataset: from `load`.
      workdir: where everything goes; claimed by the caller.
      stop: a signal's request to save and stop.
      bars: whether to show progress bars.

    Raises:
      InputError, Interrupted, Diverged: see `zsl_jax.training.stage.run_stage`.
    """
    key = jax.random.key(config.seed)
    layout = make_layout(config.parallel)
    validation = []
    for problem in validation_problems(config, dataset, workdir, key, layout, bars):
        done = yield from run_problem(config, dataset, problem, stop)
        validation.append(done)
    choices = choose(config, validation)
    test = yield from run_problem(config, dataset, test_problem(workdir, key, choices, layout, bars), stop)
    return Runs(dataset, test, tuple(validation), choices)


def choose(config, validation: Sequence[Trained]) -> Choices:
    """What the validation problem's draws say of each stage that is scored; {} of none."""
    names = (
        [name for name, found in validation[0].evaluations.items() if "spaces" in found[0]["scores"]]
        if validation
        else []
    )
    return {name: protocol.choose([one.evaluations[name] for one in validation], config.eval.select) for name in names}


def test_problem(workdir: Path, key: jax.Array, choices: Choices, layout: Layout, bars: bool) -> Problem:
    """The problem whose scores are reported."""
    return Problem(TEST, workdir, data.test_task, jax.random.fold_in(key, 0), choices, layout, bars)


def validation_problems(
    config, dataset: Dataset, workdir: Path, key: jax.Array, layout: Layout, bars: bool
) -> list[Problem]:
    """The problem on which everything is chosen, for each draw of its classes; none where it is not asked for."""
    draws = len(data.validation_classes(dataset, config.data)) if config.validate else 0

    def make_task(draw: int, given: Dataset, options) -> Task:
        return data.validation_task(given, options, config.seed, draw)

    names = [f"{VALIDATION}_{draw + 1}" if draw else VALIDATION for draw in range(draws)]
    return [
        Problem(
            name,
            workdir / name,
            functools.partial(make_task, draw),
            jax.random.fold_in(key, 1 + draw),
            {},
            layout,
            bars,
        )
        for draw, name in enumerate(names)
    ]


def run_problem(config, raw: Dataset, problem: Problem, stop: StopRequest) -> Run[Trained]:
    """Runs all stages on one task, each given what the earlier ones made; a generator, see `lockstep`."""
    dataset, upstream = raw, {}
    stages, evaluations, seconds, digests = {}, {}, {}, {}
    with RunWriter(problem.directory) as writer:
        for name in config.stages:
            made = functools.partial(make_stage, config, name, raw, dataset, problem, upstream)
            stage, task = processes.all_do(made)
            require_finished(config, stage)
            log.info("%s task, stage %s: %s", problem.name, name, sizes_line(stage))
            try:
                done = yield from run_stage(stage, writer, tuple(config.stages), stop)
            finally:
                stage.release()
            stages[name], evaluations[name], seconds[name] = stage, done.evaluations, done.seconds
            digests |= {name: done.imported} if done.imported else {}
            del done  # or its state, in a sweep a stack of many, would be on the devices until the next stage is over
            params = load_inference(stage, upstream_epoch(config, stage, evaluations[name], problem))
            dataset, upstream = hand_on(config, stage, task, params, raw, dataset, upstream)
            if stage.method.produces:
                made_views.write(RunFiles(problem.directory).features, dataset)
    return Trained(problem.name, *both_tasks(config, problem, dataset), stages, evaluations, seconds, digests)


def both_tasks(config, problem: Problem, dataset: Dataset) -> tuple[Task, Task]:
    """The task of a problem, and the same with nothing scaled."""
    return problem.make_task(dataset, config.data), problem.make_task(
        dataset, changed(config, {"data.scaling": "none"}).data
    )


def hand_on(
    config,
    stage: Stage,
    task: Task,
    params: dict[str, Params],
    raw: Dataset,
    dataset: Dataset,
    upstream: dict[str, Params],
) -> tuple[Dataset, dict[str, Params]]:
    """Data set and parameters for the stages after one: with the view that it makes, with its parameters, or both."""
    method = stage.method
    if method.produces:
        source = raw if registry.find(stage.name).raw else dataset
        dataset = made_views.add(dataset, source, method, params, all_rows(config, stage.name, method, source, task))
    return dataset, upstream if method.kind == "view" else upstream | {stage.name: params}


def all_rows(config, name: str, method: Method, source: Dataset, task: Task) -> Part:
    """All rows of a data set, scaled as those that a stage trains on.

    A stage that makes a view has a scaling of its own, fitted on the rows that it trains on, which keeps variances.
    """
    if method.kind == "view":
        views = data.scaled(source.views, task.train_rows, config[name].get("scaling", "none"), divide=False)
    else:
        views = data.scaled(source.views, task.fit_rows, config.data.scaling)
    return Part(views, source.labels)


def make_stage(
    config, name: str, raw: Dataset, dataset: Dataset, problem: Problem, upstream: dict[str, Params]
) -> tuple[Stage, Task]:
    """A stage and its task, of the data's own views or of those made so far."""
    entry, section = registry.find(name), config[name]
    source = raw if entry.raw else dataset
    method = registry.build(config, name, spec_of(source))
    task = problem.make_task(source, config.data)
    if method.kind == "view":
        task = dataclasses.replace(task, train=all_rows(config, name, method, source, task).take(task.train_rows))
    if method.is_scored:
        own = scored_stage(config, name, method, task, problem)
    else:
        own = stage_judged_by_loss(section, method, task, config.seed)
    train = own["train"]
    per_epoch = section.get("steps_per_epoch", 0) or steps_per_epoch(len(train), section.batch_size)
    stage = Stage(
        name=name,
        method=method,
        tables=tables_of(task),
        digest=digest_of(source, task, method, section, config),
        key=jax.random.fold_in(problem.key, config.stages.index(name)),
        directory=problem.directory,
        batch_size=section.batch_size,
        epochs=section.epochs,
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        upstream=upstream,
        layout=problem.layout,
        bars=problem.bars,
        hyper=hyper_parameters(section, entry.numbers, per_epoch),
        capacity=len(raw.splits.trainval),
        memory_mb=config.memory_mb,
        per_epoch=per_epoch,
        **own,
    )
    return stage, task


def digest_of(source: Dataset, task: Task, method: Method, section, config) -> str:
    """Equal for stages that train on the same views of the same rows of the same data, scaled and held out alike."""
    choices = [method.views, method.kind, config.data.scaling, section.get("scaling"), section.get("holdout")]
    choices += [] if section.get("holdout") is None else [config.seed]
    said = f"{source.fingerprint()} {task.name} {choices}".encode()
    return hashlib.sha256(said + task.train_rows.tobytes() + task.fit_rows.tobytes()).hexdigest()


def stage_judged_by_loss(section, method: Method, task: Task, seed: int) -> dict[str, Any]:
    """What a stage that isn't scored trains on, and how it is judged: rows held out stop it early."""
    train, held_out = made_views.hold_out(task.train.only(method.views), section.holdout, seed)
    return {
        "train": train,
        "evaluate": made_views.judge_by_loss(method, held_out, tables_of(task)),
        "eval_first": 0,
        "eval_every": section.eval_every,
        "patience": section.patience,
    }


def scored_stage(config, name: str, method: Method, task: Task, problem: Problem) -> dict[str, Any]:
    """What a stage that is scored trains on, how it is scored, and which epochs' states have been chosen."""
    choices = problem.choices.get(name, {})
    chosen = protocol.best_space(choices)
    scored = len(task.test_seen.labels) + len(task.test_unseen.labels)
    scorer = Scorer(method, task, eval_options(config, name, method))
    return {
        "train": task.train.only(method.views),
        "evaluate": judge(scorer, choices, config, problem.bars) if scored else unjudged,
        "release": scorer.release,
        "eval_first": config.eval.first,
        "eval_every": config.eval.every,
        "keep_epochs": () if chosen is None else tuple(sorted({choices[chosen][of]["epoch"] for of in ("T1", "H")})),
    }


def eval_options(config, name: str, method: Method) -> EvalOptions:
    """How stage `name` is scored: in the spaces and by the samplers that are asked for, or in all that it has."""
    given, section = config.eval, config[name]
    return EvalOptions(
        syn_num=section.get("syn_num", 0),  # of a method that scores directly: none
        classifier_lr=section.get("classifier_lr", 0.0),
        spaces=tuple(space for space in given.spaces if input_of(space) in method.spaces) or method.spaces,
        classifier_epochs=given.classifier_epochs,
        classifier_batch=given.classifier_batch,
        classifier=given.classifier,
        prototype=prototype.Options(**given.prototype.to_dict()),
        shrinkage=given.shrinkage,
        seen_factor=given.seen_factor,
        samplers=tuple(sampler for sampler in given.samplers if sampler in method.samplers) or method.samplers,
        chunk_rows=given.chunk_rows,
        memory_mb=given.memory_mb,
    )


def judge(scorer: Scorer, choices: dict[str, Any], config, bars: bool) -> Callable:
    """An evaluation on the test rows: (params, epoch, key) -> {"scores", "log", "score"}.

    The score that ranks states is the best `config.eval.select` over spaces and samplers, the classifier trained to its
    end; where states are chosen as published (`config.upstream` = "oracle") over its epochs too.
    """
    gammas = protocol.chosen_gammas(choices) if choices else {}
    select, settled = config.eval.select, config.upstream != "oracle"
    rounds = len(scorer.options.spaces) * len(scorer.options.samplers) + 1

    def run(params: dict[str, Params], epoch: int, key: jax.Array) -> dict[str, Any]:
        with progress(rounds, f"evaluation, epoch {epoch}", "space", bars) as bar:
            scores = scorer.evaluate(params, key, gammas, lambda: bar.update())
        here = [{"epoch": epoch, "scores": scores}]
        logged = {
            f"{space}/{name}": row[name]
            for space, row in protocol.last(here).items()
            for name in ("T1", *protocol.GENERALISED)
        }
        return {
            "scores": scores,
            "log": logged,
            "score": max(protocol.best(here, space, select, settled)[1][select] for space in scores["spaces"]),
        }

    return run


def unjudged(params: dict[str, Params], epoch: int, key: jax.Array) -> dict[str, Any]:
    """The evaluation of a task without test rows: no scores, and never the best state."""
    del params, epoch, key
    return {"scores": {}, "log": {}, "score": math.nan}


def upstream_epoch(config, stage: Stage, evaluations: list[Evaluation], problem: Problem) -> int:
    """The epoch whose state later stages get.

    A stage that is not scored gives its state of the lowest held-out loss. Of a generator it is the last one, the one
    with the best score on this task, or the one chosen on the validation task, as the option `upstream` says.
    """
    choices = problem.choices.get(stage.name, {})
    chosen = protocol.best_space(choices)
    if (
        not stage.method.is_scored
        or config.upstream == "oracle"
        or (config.upstream == "validated" and problem.name != TEST)
    ):
        return max(evaluations, key=lambda evaluation: evaluation["score"])["epoch"]
    if config.upstream == "validated" and chosen is not None:
        return choices[chosen]["H"]["epoch"]
    return evaluations[-1]["epoch"]


def require_finished(config, stage: Stage) -> None:
    """Raises InputError when the run is to begin at a later stage, but this one is not in the workdir."""
    order = list(config.stages)
    if not config.stage or order.index(stage.name) >= order.index(config.stage):
        return
    if not is_finished(stage):
        raise InputError(
            f"config.stage: {config.stage!r}, but {stage.directory} has no finished stage {stage.name!r}; "
            "train it first: the same command without --config.stage goes on with it"
        )


def sizes_line(stage: Stage) -> str:
    """A line for the log: rows, iterations, parameters."""
    params = sum(leaf.size for leaf in jax.tree.leaves(shapes(stage).params))
    return f"{len(stage.train)} rows, {stage.plan.total} iterations, {params:,} parameters"

"""A whole run: load data, train the stages in order on the validation and on the test task, score by every protocol."""

import dataclasses
import functools
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from zsl_jax import data
from zsl_jax.data.dataset import Dataset, Part, Task
from zsl_jax.errors import InputError
from zsl_jax.evaluation import protocol, prototype
from zsl_jax.evaluation.scoring import EvalOptions, evaluate
from zsl_jax.experiment import made_views
from zsl_jax.experiment.checks import check_options, rehearse, spec_of
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Method, Params, hyper_parameters
from zsl_jax.training import processes
from zsl_jax.training.lockstep import Run
from zsl_jax.training.loop import steps_per_epoch
from zsl_jax.training.parallel import Layout, check_batch_sizes, make_layout
from zsl_jax.training.stage import Evaluation, Stage, StopRequest, is_finished, load_inference, run_stage, shapes
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

    task: with the views that the last stage saw. stages, evaluations, seconds: by stage name. imported: digests of the
    nets of those that were not trained by the run, by stage name.
    """

    task: Task
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
    """All that a run trained: the data set as loaded, the test and (maybe) the validation problem, and the choices."""

    dataset: Dataset
    test: Trained
    validation: Trained | None
    choices: Choices


def load(config) -> Dataset:
    """Loads the data of a configuration that makes sense; writes nothing.

    Raises:
      InputError: see `zsl_jax.experiment.checks` and `zsl_jax.data.load`.
    """
    check_options(config)
    check_batch_sizes(config, make_layout(config.parallel))
    dataset = data.load(config.data, config.seed)
    rehearse(config, dataset)
    for note in dataset.notes:
        log.info("%s: %s", dataset.name, note)
    return dataset


def run(config, dataset: Dataset, workdir: Path, stop: StopRequest, bars: bool = True) -> Run[Runs]:
    """Trains what the workdir does not have yet; a generator, to be served by `lockstep.drive`.

    Args:
      config: a whole configuration (see `zsl_jax.config.defaults`).
      dataset: from `load`.
      workdir: where everything goes; claimed by the caller.
      stop: a signal's request to save and stop.
      bars: whether to show progress bars.

    Raises:
      InputError, Interrupted, Diverged: see `zsl_jax.training.stage.run_stage`.
    """
    key = jax.random.key(config.seed)
    layout = make_layout(config.parallel)
    validation, choices = None, {}
    if config.validate:
        validation = yield from run_problem(
            config, dataset, validation_problem(config, workdir, key, layout, bars), stop
        )
        choices = choose(config, validation)
    test = yield from run_problem(config, dataset, test_problem(workdir, key, choices, layout, bars), stop)
    return Runs(dataset, test, validation, choices)


def choose(config, validation: Trained) -> Choices:
    """What the validation problem says of each stage that is scored."""
    scored = {name: found for name, found in validation.evaluations.items() if "spaces" in found[0]["scores"]}
    return {name: protocol.choose(found, config.eval.select) for name, found in scored.items()}


def test_problem(workdir: Path, key: jax.Array, choices: Choices, layout: Layout, bars: bool) -> Problem:
    """The problem whose scores are reported."""
    return Problem(TEST, workdir, data.test_task, jax.random.fold_in(key, 0), choices, layout, bars)


def validation_problem(config, workdir: Path, key: jax.Array, layout: Layout, bars: bool) -> Problem:
    """The problem on which everything that needs choosing is chosen."""

    def make_task(dataset: Dataset, options) -> Task:
        return data.validation_task(dataset, options, config.seed)

    return Problem(VALIDATION, workdir / VALIDATION, make_task, jax.random.fold_in(key, 1), {}, layout, bars)


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
            done = yield from run_stage(stage, writer, tuple(config.stages), stop)
            stages[name], evaluations[name], seconds[name] = stage, done.evaluations, done.seconds
            digests |= {name: done.imported} if done.imported else {}
            del done  # or its state, in a sweep a stack of many, would be on the devices until the next stage is over
            params = load_inference(stage, upstream_epoch(config, stage, evaluations[name], problem))
            dataset, upstream = hand_on(config, stage, task, params, raw, dataset, upstream)
            if stage.method.produces:
                made_views.write(RunFiles(problem.directory).features, dataset)
    return Trained(problem.make_task(dataset, config.data), stages, evaluations, seconds, digests)


def hand_on(
    config,
    stage: Stage,
    task: Task,
    params: dict[str, Params],
    raw: Dataset,
    dataset: Dataset,
    upstream: dict[str, Params],
) -> tuple[Dataset, dict[str, Params]]:
    """Data set and parameters for the stages after one: with the view that it makes, or else its parameters."""
    if not stage.method.produces:
        return dataset, upstream | {stage.name: params}
    scaling = config[stage.name].scaling
    return made_views.replace_view(dataset, raw, stage.method, params, task.train_rows, scaling), upstream


def make_stage(
    config, name: str, raw: Dataset, dataset: Dataset, problem: Problem, upstream: dict[str, Params]
) -> tuple[Stage, Task]:
    """A stage and its task. Stages that make a view see raw features, the others the views made so far."""
    method = registry.build(config, name, spec_of(raw))
    if method.produces:
        task = problem.make_task(raw, config.data)
        own = view_stage(config[name], raw, task, method, config.seed)
    else:
        method = registry.build(config, name, spec_of(dataset))
        task = problem.make_task(dataset, config.data)
        if method.auxiliary:
            own = auxiliary_stage(config[name], task, method, config.seed)
        else:
            own = generator_stage(config, name, method, task, problem)
    batch_size = config[name].batch_size
    stage = Stage(
        name=name,
        method=method,
        semantics=task.semantics,
        key=jax.random.fold_in(problem.key, config.stages.index(name)),
        directory=problem.directory,
        batch_size=batch_size,
        epochs=config[name].epochs,
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        upstream=upstream,
        layout=problem.layout,
        bars=problem.bars,
        hyper=hyper_parameters(config[name], method.numbers, steps_per_epoch(len(own["train"].x), batch_size)),
        capacity=len(raw.splits.trainval),
        **own,
    )
    return stage, task


def view_stage(section, raw: Dataset, task: Task, method: Method, seed: int) -> dict[str, Any]:
    """What a view-making stage trains on and how it is judged: a held-out part of the training rows stops it early."""
    return judged_by_loss(section, method, *made_views.split(raw, task.train_rows, section, seed))


def auxiliary_stage(section, task: Task, method: Method, seed: int) -> dict[str, Any]:
    """What an auxiliary stage trains on and how it is judged: as `view_stage`, but the task's rows as they stand."""
    return judged_by_loss(section, method, *made_views.hold_out(task.train, section.holdout, seed))


def judged_by_loss(section, method: Method, train: Part, held_out: Part) -> dict[str, Any]:
    """A stage that rows held out stop early."""
    return {
        "train": train,
        "evaluate": made_views.judge_by_loss(method, held_out),
        "eval_first": 0,
        "eval_every": section.eval_every,
        "patience": section.patience,
    }


def generator_stage(config, name: str, method: Method, task: Task, problem: Problem) -> dict[str, Any]:
    """What a generator trains on, how it is scored, and which epochs' states have been chosen."""
    choices = problem.choices.get(name, {})
    chosen = protocol.best_space(choices, config.eval.select)
    scored = len(task.test_seen.labels) + len(task.test_unseen.labels)
    judged = judge(method, task, eval_options(config, name, method), choices, config, problem.bars)
    return {
        "train": task.train,
        "evaluate": judged if scored else unjudged,
        "eval_first": config.eval.first,
        "eval_every": config.eval.every,
        "keep_epochs": () if chosen is None else tuple(sorted({choices[chosen][of]["epoch"] for of in ("T1", "H")})),
    }


def eval_options(config, name: str, method: Method) -> EvalOptions:
    """How stage `name` is scored: in the spaces and by the samplers that are asked for, or in all that it has."""
    given = config.eval
    return EvalOptions(
        syn_num=config[name].syn_num,
        classifier_lr=config[name].classifier_lr,
        spaces=tuple(space for space in given.spaces if space in method.spaces) or method.spaces,
        classifier_epochs=given.classifier_epochs,
        classifier_batch=given.classifier_batch,
        classifier=given.classifier,
        prototype=prototype.Options(**given.prototype.to_dict()),
        seen_factor=given.seen_factor,
        samplers=tuple(sampler for sampler in given.samplers if sampler in method.samplers) or method.samplers,
        chunk_rows=given.chunk_rows,
        memory_mb=given.memory_mb,
    )


def judge(method: Method, task: Task, options: EvalOptions, choices: dict[str, Any], config, bars: bool) -> Callable:
    """An evaluation on the test rows: (params, epoch, key) -> {"scores", "log", "score"}.

    The score that ranks states is the best `config.eval.select` over spaces and samplers, the classifier trained to its
    end; where states are chosen as published (`config.upstream` = "oracle") over its epochs too.
    """
    gammas = protocol.chosen_gammas(choices) if choices else {}
    select, settled = config.eval.select, config.upstream != "oracle"

    def run(params: dict[str, Params], epoch: int, key: jax.Array) -> dict[str, Any]:
        with progress(
            len(options.spaces) * len(options.samplers) + 1, f"evaluation, epoch {epoch}", "space", bars
        ) as bar:
            scores = evaluate(method, params, task, key, options, gammas, lambda: bar.update())
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
    chosen = protocol.best_space(choices, config.eval.select)
    if (
        not stage.method.is_scored
        or config.upstream == "oracle"
        or (config.upstream == "validated" and problem.name == VALIDATION)
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
    return f"{len(stage.train.x)} rows, {stage.plan.total} iterations, {params:,} parameters"

"""One stage of a run: resume, train in chunks, evaluate, save; stops cleanly when asked or when numbers break."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zsl_jax.data.dataset import Part
from zsl_jax.errors import InputError
from zsl_jax.train_steps.method import Method, Params, Tables, TrainState
from zsl_jax.training import feed, imported, loop, processes
from zsl_jax.training.checkpoints import Checkpoints, has_steps, open_checkpoints
from zsl_jax.training.lockstep import Answer, DeviceState, Program, Request, Rows, Run
from zsl_jax.training.parallel import Layout
from zsl_jax.training.stopping import Interrupted, StopRequest
from zsl_jax.training.workdir import RunFiles, RunWriter, progress

RATES = ("lr", "dec_lr")  # hyper-parameters that are logged
Evaluation = dict[str, Any]  # {"epoch": int, "scores": ..., "score": float, "log": {name: float}}


class Diverged(Exception):
    """A loss or gradient is not finite; the last good checkpoint stays."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """What one stage is made of.

    Attributes:
      name: for logs and folders, e.g. "drg".
      method: the system.
      train: rows to train on.
      tables: of all classes, as numpy arrays.
      digest: equal where the rows and the tables are.
      key: of everything random in the stage.
      directory: of the run this stage belongs to.
      batch_size, epochs, log_every, eval_first, eval_every, checkpoint_every: see `zsl_jax.config.defaults`.
      upstream: inference parameters of earlier stages.
      evaluate: (inference parameters, epoch, key) -> Evaluation without its epoch.
      patience: evaluations without a better score before stopping early; 0: never.
      keep_epochs: epochs whose checkpoints must stay.
      hyper: the method's numbers and the iterations of an epoch, see `Method.init`.
      layout: the devices to train on.
      capacity: rows to pad the training data to, see `feed.Resident`.
      memory_mb: training rows that take more megabytes stay on the host.
      bars: whether to show progress bars.
      per_epoch: iterations of an epoch where they are not those of these rows: a stage that was trained on others.
      release: frees what `evaluate` keeps on the devices from one evaluation to the next.
    """

    name: str
    method: Method
    train: Part
    tables: Tables
    digest: str
    key: jax.Array
    directory: Path
    batch_size: int
    epochs: int
    log_every: int
    eval_first: int
    eval_every: int
    checkpoint_every: int
    upstream: dict[str, Params]
    evaluate: Callable[[dict[str, Params], int, jax.Array], Evaluation]
    hyper: dict[str, np.ndarray]
    layout: Layout
    patience: int = 0
    keep_epochs: tuple[int, ...] = ()
    capacity: int = 0
    memory_mb: float = math.inf
    bars: bool = True
    per_epoch: int = 0
    release: Callable[[], None] = lambda: None

    @property
    def plan(self) -> loop.Plan:
        """Iterations of an epoch, epochs, logging."""
        per_epoch = self.per_epoch or loop.steps_per_epoch(len(self.train), self.batch_size)
        return loop.Plan(per_epoch, self.epochs, self.log_every)

    @property
    def files(self) -> RunFiles:
        """The files of the run."""
        return RunFiles(self.directory)

    @property
    def checkpoints(self) -> Path:
        """Where its checkpoints are."""
        return self.files.checkpoints(self.name)

    def rows(self) -> Rows:
        """The training data."""
        if feed.must_stream(self.train, self.memory_mb):
            return Rows(self.digest, feed.Streamed(self.train, self.tables, self.memory_mb))
        return Rows(self.digest, feed.resident(self.train, self.tables, self.capacity))

    def keys(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Keys of the parameters, of training and of evaluation."""
        init, train, evaluation = (jax.random.fold_in(self.key, purpose) for purpose in range(3))
        return init, train, evaluation

    def evaluation_key(self, epoch: int) -> jax.Array:
        """Key of the evaluation after an epoch (0-based; -1: of a stage without training)."""
        return jax.random.fold_in(self.keys()[2], np.uint32(epoch % 2**32))

    def step_of(self, epoch: int) -> int:
        """Iterations done when an epoch (0-based) is over."""
        return (epoch + 1) * self.plan.steps_per_epoch

    def all_epochs(self) -> range:
        """Its epochs; -1, the state before the first, where it has none."""
        return range(self.epochs) if self.epochs else range(-1, 0)

    def evaluates(self, epoch: int) -> bool:
        """Whether an epoch (0-based) is evaluated: every `eval_every`-th from `eval_first` on, and the last."""
        due = epoch >= self.eval_first and (epoch - self.eval_first) % self.eval_every == 0
        return due or epoch == self.epochs - 1

    def saves(self, epoch: int) -> bool:
        """Whether an epoch is saved."""
        if self.checkpoint_every:
            return (epoch + 1) % self.checkpoint_every == 0 or self.evaluates(epoch)
        return self.evaluates(epoch)


@dataclasses.dataclass
class Progress:
    """Where a stage is: iterations done, the state on the devices, evaluations so far, seconds by activity.

    Of runs that are trained side by side, seconds are a run's share, see `lockstep.Answer`. Of a stage that started
    finished with imported nets, `imported` is the digest of their file.
    """

    @property
    def state(self) -> TrainState:
        """The state alone, as the stage's layout places it."""
        return self.held.state()

    step: int
    held: DeviceState
    evaluations: list[Evaluation]
    seconds: dict[str, float]
    imported: str = ""


def read_evaluations(stage: Stage, step: int, last_alone: bool = False) -> list[Evaluation]:
    """The evaluations of epochs that were over after `step` iterations; of an imported stage the last one alone."""
    epochs = [epoch for epoch in stage.all_epochs() if stage.evaluates(epoch) and stage.step_of(epoch) <= step]
    return stage.files.read_evaluations(stage.name, epochs[-1:] if last_alone else epochs)


def stopped_early(stage: Stage, evaluations: list[Evaluation]) -> bool:
    """Whether the last `patience` evaluations brought nothing better."""
    if not stage.patience or not evaluations:
        return False
    scores = [evaluation["score"] for evaluation in evaluations]
    return len(scores) - 1 - int(np.argmax(scores)) >= stage.patience


def require_rows(stage: Stage) -> None:
    """Raises InputError when there are fewer training rows than a batch holds."""
    rows = len(stage.train)
    if stage.epochs and rows < stage.batch_size:
        raise InputError(f"config.{stage.name}.batch_size: {stage.batch_size}, but there are {rows} training rows")


def raw(key: jax.Array) -> np.ndarray:
    """The data of a key [words] uint32: unlike a key, they can be passed to a program of several processes."""
    return np.asarray(jax.random.key_data(key))


def starting(stage: Stage) -> tuple[Callable[..., TrainState], np.ndarray, Any, Any, Tables]:
    """A function that makes the stage's first state, and its arguments as numpy arrays."""
    return _make_state(stage.method), raw(stage.keys()[0]), jax.device_get(stage.upstream), stage.hyper, stage.tables


@functools.lru_cache(maxsize=8)
def _make_state(method: Method) -> Callable[..., TrainState]:
    """One function for each method, so that `jit` compiles it once for all runs."""

    def make(key_data, upstream, hyper, tables):
        return method.init(jax.random.wrap_key_data(key_data), upstream, hyper, tables)

    return make


def shapes(stage: Stage) -> TrainState:
    """Shapes of the stage's state, as checkpoints hold it."""
    return stage.layout.shapes(*starting(stage))


def imported_state(stage: Stage) -> TrainState | None:
    """The stage's first state with imported nets in the places of its own, on the devices; None if there are none.

    Raises:
      InputError: the nets don't fit, or their file is damaged.
    """
    arrays = processes.in_first(imported.read_arrays)(stage.directory, stage.name)
    names = processes.of_first(None if arrays is None else sorted(arrays))
    if names is None:
        return None
    forms, path = shapes(stage), imported.file_of(stage.directory, stage.name)
    needed, trees = set(jax.eval_shape(stage.method.inference, forms)), imported.trees(forms)
    processes.in_first(imported.require_fit)(path, arrays or {}, trees, needed)
    empty = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in imported.named(trees).items()}
    sent = {name: processes.array_of_first((arrays or empty)[name]) for name in names}

    def placed(path: tuple, leaf: jax.Array) -> jax.Array:
        name = imported.name_of(path)
        return stage.layout.place(sent[name]) if name in sent else leaf

    state = stage.layout.start(*starting(stage))
    return imported.with_trees(state, jax.tree_util.tree_map_with_path(placed, imported.trees(state)))


def begin(stage: Stage, checkpoints: Checkpoints) -> Progress:
    """The state of the latest checkpoint, else the last one with imported nets, else a fresh one."""
    step, seconds = checkpoints.latest(), {"train": 0.0, "evaluate": 0.0}
    if step is not None:
        state, _, info = checkpoints.restore(step, shapes(stage))
        digest = info.get("imported", "")
        evaluations = read_evaluations(stage, step, last_alone=bool(digest))
        return Progress(step, DeviceState(stage.layout.unstored(state)), evaluations, dict(info["seconds"]), digest)
    state = imported_state(stage)
    if state is None:
        return Progress(0, DeviceState(stage.layout.start(*starting(stage))), [], seconds)
    digest = processes.from_first(imported.digest)(stage.directory, stage.name)
    return Progress(stage.plan.total, DeviceState(state), [], seconds, digest)


def is_finished(stage: Stage) -> bool:
    """Whether a stage's folder holds its last state, or imported nets stand for it."""
    if not has_checkpoints(stage):
        return is_imported(stage)
    with open_checkpoints(stage.checkpoints, read_only=True) as checkpoints:
        (*_, step) = checkpoints.steps()
    return step == stage.plan.total or stopped_early(stage, read_evaluations(stage, step))


def has_checkpoints(stage: Stage) -> bool:
    """Whether a state of the stage was saved."""
    return processes.from_first(has_steps)(stage.checkpoints)


def is_imported(stage: Stage) -> bool:
    """Whether nets were imported for the stage."""
    return bool(processes.from_first(imported.stages)(stage.directory, (stage.name,)))


def save(stage: Stage, checkpoints: Checkpoints, done: Progress) -> None:
    """Saves the state; its score, if it was evaluated, ranks it."""
    here = [e for e in done.evaluations if stage.step_of(e["epoch"]) == done.step]
    metrics = {"score": here[0]["score"]} if here else {}
    info = {"seconds": done.seconds, "steps_per_epoch": stage.plan.steps_per_epoch, "imported": done.imported}
    checkpoints.save(done.step, stage.layout.stored(done.state), stage.keys()[1], metrics, info)


def run_stage(stage: Stage, writer: RunWriter, order: tuple[str, ...], stop: StopRequest) -> Run[Progress]:
    """Trains a stage to its end, from its latest checkpoint if there is one; a generator, see `lockstep`.

    Args:
      stage: what to train.
      writer: takes metrics; lines after the checkpoint are dropped first.
      order: names of all stages of the run.
      stop: checked after every chunk.

    Raises:
      Interrupted: a signal came; saved.
      Diverged: a loss or gradient was not finite.
      InputError: the checkpoints don't fit, or there are fewer rows than a batch.
    """
    require_rows(stage)
    keep = tuple(stage.step_of(epoch) for epoch in stage.keep_epochs)
    with open_checkpoints(stage.checkpoints, keep) as checkpoints:
        done = begin(stage, checkpoints)
        if (done.imported or not stage.epochs) and not done.evaluations:
            writer.truncate(order, stage.name, done.step)
            _end_epoch(stage, done, writer, checkpoints)
        if done.step == stage.plan.total or stopped_early(stage, done.evaluations):
            return done
        writer.truncate(order, stage.name, done.step)
        program = Program(stage.method, stage.batch_size, stage.log_every, stage.layout)
        key, rows = raw(stage.keys()[1]), stage.rows()
        with progress(stage.plan.total, stage.name, "it", stage.bars) as bar:
            bar.initial = bar.n = done.step  # what an earlier run did is not part of this one's rate
            for end in loop.chunk_ends(stage.plan, done.step):
                answer = yield Request(program, done.held, rows, key, done.step, end - done.step)
                _take(stage, answer, end, done, writer, checkpoints)
                bar.update(end - bar.n)
                if end % stage.plan.steps_per_epoch == 0:
                    _end_epoch(stage, done, writer, checkpoints)
                if signum := stop.heard():
                    save(stage, checkpoints, done)
                    checkpoints.wait()
                    raise Interrupted(signum, f"in stage {stage.name} after {done.step} iterations, saved")
                if stopped_early(stage, done.evaluations):
                    break
        save(stage, checkpoints, done)
    return done


def _take(
    stage: Stage,
    answer: Answer,
    end: int,
    done: Progress,
    writer: RunWriter,
    checkpoints: Checkpoints,
) -> None:
    """Checks the numbers of a chunk and logs their means."""
    require_finite(stage, answer.metrics, done.step, checkpoints)
    length = end - done.step
    done.held, done.step = answer.held, end
    done.seconds["train"] += answer.seconds
    means = {name: float(np.mean(value)) for name, value in answer.metrics.items()}
    rates = {f"rate/{name}": float(stage.hyper[name]) for name in RATES if name in stage.hyper}
    logged = means | rates | {"iterations_per_second": length / answer.seconds}
    writer.scalars(stage.name, end, logged)


def require_finite(stage: Stage, metrics: dict[str, np.ndarray], step: int, checkpoints: Checkpoints) -> None:
    """Raises Diverged when a metric of the chunk that began after `step` iterations is not finite."""
    bad = loop.first_bad(metrics)
    if bad is None:
        return
    name, place = bad
    latest = checkpoints.latest()
    good = "there is no checkpoint yet" if latest is None else f"the last good checkpoint is of step {latest}"
    raise Diverged(
        f"stage {stage.name}: {name} is {metrics[name][place]} in iteration {step + place + 1}; {good} "
        f"in {checkpoints.directory}; try a smaller learning rate"
    )


def _end_epoch(stage: Stage, done: Progress, writer: RunWriter, checkpoints: Checkpoints) -> None:
    """Evaluates and saves, where the epoch that is over asks for it."""
    epoch = done.step // stage.plan.steps_per_epoch - 1
    if stage.evaluates(epoch):
        began = time.perf_counter()
        params = stage.layout.local(stage.method.inference(done.state))
        evaluation = score(stage, params, epoch)
        done.evaluations.append(evaluation)
        done.seconds["evaluate"] += time.perf_counter() - began
        values = evaluation["log"] | {"score": evaluation["score"]}
        logged = {f"evaluation/{name}": value for name, value in values.items()}
        writer.scalars(stage.name, done.step, logged)
    if stage.saves(epoch):
        save(stage, checkpoints, done)


def score(stage: Stage, params: dict[str, Params], epoch: int) -> Evaluation:
    """Evaluates and writes an epoch's scores.

    Every process computes them: the others would have to wait anyway. The first one's count in all, since processes
    that round differently might choose different epochs.
    """
    made = processes.all_do(lambda: evaluated(stage, params, epoch))
    stage.files.write_evaluation(stage.name, epoch, made)
    return processes.of_first(made)


def evaluated(stage: Stage, params: dict[str, Params], epoch: int) -> Evaluation:
    """The scores of an epoch; the same however often they are asked for."""
    return {"epoch": epoch} | stage.evaluate(params, epoch, stage.evaluation_key(epoch))


def load_inference(stage: Stage, epoch: int) -> dict[str, Params]:
    """The inference parameters that a finished stage had after `epoch`, or those imported; nothing is written.

    Raises:
      InputError: that checkpoint was not kept.
    """
    state = None if has_checkpoints(stage) else imported_state(stage)
    if state is None:
        with open_checkpoints(stage.checkpoints, read_only=True) as checkpoints:
            stored, _, _ = checkpoints.restore(stage.step_of(epoch), shapes(stage))
        state = stage.layout.unstored(stored)
    return stage.layout.local(stage.method.inference(state))

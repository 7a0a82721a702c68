"""Scores of a method on a task: softmax classifiers on synthetic rows, or the method's own class scores.

As published (ZeroDiff, TF-VAEGAN and their kin): generalised zero-shot learning (GZSL) trains on the real rows of seen
classes and `syn_num` synthetic rows per unseen class, over all classes; zero-shot learning (ZSL) on the synthetic rows
of unseen classes alone; the "seen" score on synthetic rows of seen classes alone.
"""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.data.dataset import Part, Task
from zsl_jax.errors import InputError
from zsl_jax.evaluation import classifier, metrics, rows
from zsl_jax.train_steps.method import Method, Params

DIRECT_SPACE, DIRECT_SAMPLER = "scores", "direct"
Purpose = Literal["gzsl", "zsl", "seen"]
ScoredParts = tuple[rows.ScoredRows, rows.ScoredRows]  # of seen classes, of unseen classes


@dataclasses.dataclass(frozen=True)
class EvalOptions:
    """How a method is scored.

    Attributes:
      syn_num: synthetic rows per class.
      classifier_lr: Adam's rate of the softmax classifiers.
      classifier_epochs: their epochs.
      classifier_batch: their minibatch; 0: `syn_num`, as published.
      spaces: classifier inputs to try; those the method lacks are left out.
      samplers: ways to sample; those the method lacks are left out.
      chunk_rows: most rows synthesised, embedded or scored at once.
      memory_mb: megabytes that stored rows may take, see `rows.choose_kind`.
    """

    syn_num: int
    classifier_lr: float
    spaces: tuple[str, ...]
    classifier_epochs: int = 25
    classifier_batch: int = 0
    samplers: tuple[str, ...] = ("one_step", "progressive")
    chunk_rows: int = 4096
    memory_mb: float = 1024

    def spaces_of(self, method: Method) -> tuple[str, ...]:
        """The spaces that are asked for and that the method has; raises InputError if there is none."""
        return restrict(self.spaces, method.spaces, "spaces", method.name)

    def samplers_of(self, method: Method) -> tuple[str, ...]:
        """The samplers that are asked for and that the method has; raises InputError if there is none."""
        return restrict(self.samplers, method.samplers, "samplers", method.name)


def restrict(asked: tuple[str, ...], offered: tuple[str, ...], what: str, name: str) -> tuple[str, ...]:
    """What is both asked for and offered, in the order asked."""
    shared = tuple(one for one in asked if one in offered)
    if not shared:
        raise InputError(f"evaluation {what}: {name} offers none of {asked}; choose from {offered}")
    return shared


@dataclasses.dataclass(frozen=True)
class Setup:
    """The static side of one classifier fit.

    n_train: training rows; first: number of the first of them among the rows held; n_seen, n_classes: columns.
    """

    purpose: Purpose
    recipe: rows.Recipe
    n_train: int
    first: int
    n_seen: int
    n_classes: int
    epochs: int
    batch: int
    chunk_rows: int


class Inputs(NamedTuple):
    """The arrays of one classifier fit: rows held for training, their labels [n_train], parameters, rows to score."""

    held: Any
    labels: jax.Array
    params: dict[str, Params]
    scored: ScoredParts


def derive(key: jax.Array, *purpose: str) -> jax.Array:
    """A key for a purpose: the same whatever else is evaluated beside it, and in whatever order."""
    return jax.random.fold_in(key, np.uint32(zlib.crc32("/".join(purpose).encode())))


def positions(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Places of `labels` [n] in the ascending `classes`, int32."""
    return np.searchsorted(classes, labels).astype(np.int32)


def scored_rows(part: Part, classes: np.ndarray, chunk_rows: int) -> rows.ScoredRows:
    """Test rows of one part, as views in chunks."""
    views = {name: rows.chunked(view, chunk_rows) for name, view in part.views().items()}
    labels = rows.chunked(positions(part.labels, classes), chunk_rows)
    return rows.ScoredRows(views, labels, rows.chunked(metrics.class_balance(part.labels), chunk_rows))


def gzsl_gains(
    recipe: rows.Recipe, params: dict[str, Params], scored: ScoredParts, n_seen: int, score: Callable[..., jax.Array]
) -> metrics.Gains:
    """What every test row adds to S or U; `score` maps classifier inputs to class scores [b, C], seen classes first."""

    def of_chunk(first: int, features, labels, weights):
        return metrics.gains(score(features), labels + first, weights, n_seen)

    parts = (rows.over_chunks(recipe, params, part, partial(of_chunk, i * n_seen)) for i, part in enumerate(scored))
    return jax.tree.map(lambda seen, unseen: jnp.concatenate([seen.reshape(-1), unseen.reshape(-1)]), *parts)


def gzsl_scores(gains: metrics.Gains, gamma: jax.Array) -> dict[str, jax.Array]:
    """All generalised scores as shares: uncalibrated, at `gamma`, at the best gamma, and AUSUC."""
    u, s = metrics.at_gamma(gains, 0.0)
    u_cal, s_cal = metrics.at_gamma(gains, gamma)
    ausuc, best_gamma, best_h = metrics.calibrate(gains)
    return {
        "U": u,
        "S": s,
        "H": metrics.harmonic_mean(u, s),
        "AUSUC": ausuc,
        "gamma": best_gamma,
        "H_gamma": best_h,
        "U_cal": u_cal,
        "S_cal": s_cal,
        "H_cal": metrics.harmonic_mean(u_cal, s_cal),
    }


def part_accuracy(
    recipe: rows.Recipe, params: dict[str, Params], part: rows.ScoredRows, score: Callable[..., jax.Array]
) -> jax.Array:
    """Mean per-class accuracy of one test part among its own classes: T1 for the unseen part."""

    def of_chunk(features, labels, weights):
        return metrics.weighted_accuracy(score(features), labels, weights)

    return rows.over_chunks(recipe, params, part, of_chunk).sum()


@partial(jax.jit, static_argnames=("setup",))
def train(setup: Setup, inputs: Inputs, key: jax.Array, rate: jax.Array, gamma: jax.Array, keep: jax.Array):
    """Fits one classifier and scores it after each of its epochs.

    Args:
      setup, inputs: what to train on and to score.
      key: of the starting weights and of the order of the rows.
      rate: Adam's learning rate.
      gamma: calibration at which U_cal, S_cal, H_cal are taken.
      keep: classifier epoch whose parameters are returned.

    Returns:
      `classifier.Fit`; its measures are `gzsl_scores`, or the accuracy [epochs].
    """
    order_key, weights_key = jax.random.split(key)
    order = classifier.draw_order(order_key, setup.n_train, setup.batch, setup.epochs)

    def fetch(numbers):
        return rows.fetch(setup.recipe, inputs.held, numbers + setup.first)

    def measure(linear):
        score = partial(classifier.scores, linear)
        if setup.purpose == "gzsl":
            return gzsl_scores(gzsl_gains(setup.recipe, inputs.params, inputs.scored, setup.n_seen, score), gamma)
        part = inputs.scored[0 if setup.purpose == "seen" else 1]
        return part_accuracy(setup.recipe, inputs.params, part, score)

    n_features = jax.eval_shape(fetch, order[0, 0, :1]).shape[1]
    start = classifier.init(weights_key, n_features, setup.n_classes)
    return classifier.fit(start, order, inputs.labels, fetch, measure, rate, keep, setup.chunk_rows)


class Prepared(NamedTuple):
    """One task on the device. real: views of the training rows; scored: test rows, as views; n_test: their number."""

    task: Task
    real: dict[str, jax.Array]
    scored: ScoredParts
    n_test: int


def prepare(task: Task, chunk_rows: int) -> Prepared:
    """Uploads the rows of a task."""
    seen = scored_rows(task.test_seen, task.seen, chunk_rows)
    unseen = scored_rows(task.test_unseen, task.unseen, chunk_rows)
    real = {name: jnp.asarray(view) for name, view in task.train.views().items()}
    return Prepared(task, real, (seen, unseen), len(task.test_seen.labels) + len(task.test_unseen.labels))


@partial(jax.jit, static_argnames=("method", "n_seen"))
def direct_scores(
    method: Method, params: dict[str, Params], scored: ScoredParts, columns: jax.Array, n_seen: int, gamma: jax.Array
) -> dict[str, jax.Array]:
    """T1 and `gzsl_scores` of a method's own class scores; `columns` lists the seen classes, then the unseen ones."""
    assert method.scores is not None
    own = method.scores
    unembedded = rows.Recipe("features")  # the method takes the views as they are

    def score(views):
        return own(params, views)[:, columns]

    gains = gzsl_gains(unembedded, params, scored, n_seen, score)
    t1 = part_accuracy(unembedded, params, scored[1], lambda views: score(views)[:, n_seen:])
    return {"T1": t1, **gzsl_scores(gains, gamma)}


class Synthesis(NamedTuple):
    """Rows to train on for one sampler, shared by the spaces: their source, and their views if these fit."""

    sampler: str
    source: rows.Source
    views: dict[str, jax.Array] | None


def synthesise(source: rows.Source, method: Method, options: EvalOptions, sampler: str) -> Synthesis:
    """Draws the synthetic rows of a source once for all spaces, if they fit into memory."""
    recipe = rows.Recipe("views", method, options.spaces_of(method)[0], sampler, options.syn_num)
    view_width, _ = rows.widths(recipe, source)
    kind = rows.choose_kind(view_width, 0, recipe.rows_of(source), 0, options.memory_mb)
    views = None if kind == "draws" else rows.all_views(recipe, source, options.chunk_rows)
    return Synthesis(sampler, source, views)


def unseen_rows(
    method: Method, params: dict[str, Params], data: Prepared, key: jax.Array, options: EvalOptions, sampler: str
) -> Synthesis:
    """The real rows and `syn_num` synthetic rows of each unseen class."""
    semantics = jnp.asarray(data.task.semantics[data.task.unseen])
    source = rows.Source(params, data.real, semantics, derive(key, "rows", "unseen", sampler))
    return synthesise(source, method, options, sampler)


def seen_rows(
    method: Method, params: dict[str, Params], data: Prepared, key: jax.Array, options: EvalOptions, sampler: str
) -> Synthesis:
    """`syn_num` synthetic rows of each seen class, without real ones."""
    semantics = jnp.asarray(data.task.semantics[data.task.seen])
    source = rows.Source(params, {}, semantics, derive(key, "rows", "seen", sampler))
    return synthesise(source, method, options, sampler)


class Held(NamedTuple):
    """Rows to train on and to score in one space: recipe and arrays for `rows.fetch`, rows to score."""

    recipe: rows.Recipe
    arrays: Any
    scored: ScoredParts


def hold(method: Method, data: Prepared, made: Synthesis, options: EvalOptions, space: str) -> Held:
    """Holds training and test rows in one space as the memory allows."""
    source = made.source
    recipe = rows.Recipe("draws", method, space, made.sampler, options.syn_num)
    kind = rows.choose_kind(
        *rows.widths(recipe, source), recipe.rows_of(source), data.n_test, memory_mb=options.memory_mb
    )
    recipe, arrays = rows.hold(dataclasses.replace(recipe, kind=kind), source, made.views, options.chunk_rows)
    if kind != "features":
        return Held(recipe, arrays, data.scored)
    seen, unseen = (
        part._replace(inputs=rows.embed_chunks(method, space, source.params, part.inputs)) for part in data.scored
    )
    return Held(recipe, arrays, (seen, unseen))


def fit_setup(purpose: Purpose, recipe: rows.Recipe, data: Prepared, options: EvalOptions) -> tuple[Setup, jax.Array]:
    """The static side and the training labels of one fit."""
    task, syn_num = data.task, options.syn_num
    n_real, n_seen, n_unseen = len(task.train.labels), len(task.seen), len(task.unseen)
    if purpose == "gzsl":
        made = np.repeat(np.arange(n_seen, n_seen + n_unseen, dtype=np.int32), syn_num)
        labels = np.concatenate([positions(task.train.labels, task.seen), made])
    else:
        labels = np.repeat(np.arange(n_seen if purpose == "seen" else n_unseen, dtype=np.int32), syn_num)
    setup = Setup(
        purpose,
        recipe,
        n_train=len(labels),
        first=n_real if purpose == "zsl" else 0,
        n_seen=n_seen,
        n_classes={"gzsl": n_seen + n_unseen, "zsl": n_unseen, "seen": n_seen}[purpose],
        epochs=options.classifier_epochs,
        batch=options.classifier_batch or syn_num,
        chunk_rows=options.chunk_rows,
    )
    return setup, jnp.asarray(labels)


def run_fit(
    purpose: Purpose,
    data: Prepared,
    made: Synthesis,
    held: Held,
    space: str,
    key: jax.Array,
    options: EvalOptions,
    gamma: float = 0.0,
    epoch: int = -1,
) -> classifier.Fit:
    """Fits one classifier on the rows held; keeps the parameters of classifier epoch `epoch` (-1: the last)."""
    setup, labels = fit_setup(purpose, held.recipe, data, options)
    inputs = Inputs(held.arrays, labels, made.source.params, held.scored)
    fit_key = derive(key, purpose, space, made.sampler)
    rate = jnp.float32(options.classifier_lr)
    return train(setup, inputs, fit_key, rate, jnp.float32(gamma), jnp.int32(epoch % options.classifier_epochs))


def percent(measures: dict[str, jax.Array]) -> dict[str, list[float]]:
    """Shares as lists of percentages over the classifier epochs; a gamma stays as it is.

    Percentages are rounded to 1e-4, below which float32 sums of hits say nothing.
    """

    def scale(name: str, value) -> float:
        return float(value) if name == "gamma" else round(100 * float(value), 4)

    return {name: [scale(name, value) for value in np.atleast_1d(values)] for name, values in measures.items()}


def evaluate(
    method: Method,
    params: dict[str, Params],
    task: Task,
    key: jax.Array,
    options: EvalOptions,
    gammas: Mapping[str, float] | None = None,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Scores a method on a task.

    Args:
      method: system to score; it has `synthesize` and `embed`, or `scores`. Compiled code is kept for it: pass the
        same value each time.
      params: its inference parameters.
      task: what to train classifiers on and what to score.
      key: of everything random. Rows depend on their class and sampler, a classifier on its space and sampler, so that
        asking for one more space changes no other number.
      options: see `EvalOptions`.
      gammas: by space, the calibration (subtracted from the scores of seen classes) to report beside none; 0 if absent.
      tick: called after each space and sampler, and after the "seen" score, e.g. to move a progress bar.

    Returns:
      {"spaces": {space: {sampler: scores}}, "seen": {space: accuracies}}. The scores are lists over the classifier's
      epochs, in percent: T1, U, S, H, AUSUC; gamma and H_gamma (the gamma of highest H on this task, and that H);
      U_cal, S_cal, H_cal (at `gammas`). The "seen" score stands for the first space and sampler. Methods with `scores`
      alone have the space "scores", the sampler "direct" and lists of length 1, and no "seen".

    Raises:
      InputError: the method has none of the spaces or samplers asked for.
    """
    gammas = gammas or {}
    data = prepare(task, options.chunk_rows)
    if method.synthesize is None:
        columns = jnp.asarray(np.concatenate([task.seen, task.unseen]))
        gamma = jnp.float32(gammas.get(DIRECT_SPACE, 0.0))
        measures = direct_scores(method, params, data.scored, columns, len(task.seen), gamma)
        return {"spaces": {DIRECT_SPACE: {DIRECT_SAMPLER: percent(measures)}}, "seen": {}}
    spaces, samplers = options.spaces_of(method), options.samplers_of(method)
    found: dict[str, dict[str, Any]] = {space: {} for space in spaces}
    for sampler in samplers:
        made = unseen_rows(method, params, data, key, options, sampler)
        for space in spaces:
            found[space][sampler] = score_space(method, data, made, space, key, options, gammas.get(space, 0.0))
            tick()
        del made  # before the next sampler's rows take as much memory
    seen = seen_score(method, params, data, key, options, spaces[0], samplers[0])
    tick()
    return {"spaces": found, "seen": {spaces[0]: seen}}


def score_space(
    method: Method, data: Prepared, made: Synthesis, space: str, key: jax.Array, options: EvalOptions, gamma: float
) -> dict[str, list[float]]:
    """Scores of one space on synthetic rows made by one sampler, lists over classifier epochs, in percent."""
    held = hold(method, data, made, options, space)
    gzsl = run_fit("gzsl", data, made, held, space, key, options, gamma)
    zsl = run_fit("zsl", data, made, held, space, key, options)
    return percent({"T1": zsl.measures, **gzsl.measures})


def seen_score(
    method: Method,
    params: dict[str, Params],
    data: Prepared,
    key: jax.Array,
    options: EvalOptions,
    space: str,
    sampler: str,
) -> list[float]:
    """Accuracy on the seen classes of a classifier that saw synthetic rows only, by classifier epoch, in percent."""
    made = seen_rows(method, params, data, key, options, sampler)
    fit = run_fit("seen", data, made, hold(method, data, made, options, space), space, key, options)
    return percent({"seen": fit.measures})["seen"]

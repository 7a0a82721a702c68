"""Scores of a method on a task: classifiers trained on synthetic rows, or the method's own class scores.

As published (ZeroDiff, TF-VAEGAN and their kin): generalised zero-shot learning (GZSL) trains on the real rows of seen
classes and `syn_num` synthetic rows per unseen class, over all classes; zero-shot learning (ZSL) on the synthetic rows
of unseen classes alone; the "seen" score on synthetic rows of seen classes alone.
"""

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.data.dataset import Part, Task
from zsl_jax.errors import InputError
from zsl_jax.evaluation import classifier, fits, metrics, rows
from zsl_jax.evaluation.fits import Inputs, Numbers, Purpose, ScoredParts, Setup, gzsl_scores
from zsl_jax.evaluation.prototype import Options as Prototype
from zsl_jax.train_steps.method import Method, Params, Tables

DIRECT_SPACE, DIRECT_SAMPLER = "scores", "direct"


@dataclasses.dataclass(frozen=True)
class EvalOptions:
    """How a method is scored.

    Attributes:
      syn_num: synthetic rows per class.
      classifier: kind of classifier, one of `fits.KINDS`.
      classifier_lr: Adam's rate of softmax classifiers.
      classifier_epochs: their epochs.
      classifier_batch: their minibatch; 0: `syn_num`, as published.
      prototype: how prototype classifiers are trained.
      seen_factor: what generalised scores of seen classes are multiplied with (published with prototypes: 0.95).
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
    classifier: str = "softmax"
    prototype: Prototype = dataclasses.field(default_factory=Prototype)
    seen_factor: float = 1.0
    samplers: tuple[str, ...] = ("one_step", "progressive")
    chunk_rows: int = 4096
    memory_mb: float = 1024

    @property
    def epochs(self) -> int:
        """Epochs of a fit."""
        return {"softmax": self.classifier_epochs, "prototype": self.prototype.epochs, "nearest": 1}[self.classifier]

    @property
    def batch(self) -> int:
        """Minibatch of a fit."""
        return self.prototype.batch if self.classifier == "prototype" else self.classifier_batch or self.syn_num

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


def derive(key: jax.Array, *purpose: str) -> jax.Array:
    """A key for a purpose: the same whatever else is evaluated beside it, and in whatever order."""
    return jax.random.fold_in(key, _code(purpose))


def _code(purpose: tuple[str, ...]) -> np.uint32:
    return np.uint32(zlib.crc32("/".join(purpose).encode()))


def tables_of(task: Task) -> Tables:
    """What a task says of all classes and attributes, as numpy arrays."""
    n_classes, a_dim = task.semantics.shape
    vectors = np.zeros((a_dim, 0), np.float32) if task.attribute_vectors is None else task.attribute_vectors
    is_seen = np.isin(np.arange(n_classes), task.seen)
    return Tables(task.semantics, is_seen, vectors)


def positions(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Places of `labels` [n] in the ascending `classes`, int32."""
    return np.searchsorted(classes, labels).astype(np.int32)


def scored_rows(part: Part, classes: np.ndarray, chunk_rows: int) -> rows.ScoredRows:
    """Test rows of one part, as views in chunks."""
    numbers = np.arange(len(part))
    views = {name: rows.chunked(rows.row_sources.read(view, numbers), chunk_rows) for name, view in part.views.items()}
    labels = rows.chunked(positions(part.labels, classes), chunk_rows)
    return rows.ScoredRows(views, labels, rows.chunked(metrics.class_balance(part.labels), chunk_rows))


class Prepared(NamedTuple):
    """One task on the device. real: views of the training rows; scored: test rows, as views; n_test: their number."""

    task: Task
    real: dict[str, jax.Array]
    scored: ScoredParts
    n_test: int


@lru_cache(maxsize=1)
def prepare(task: Task, views: tuple[str, ...], chunk_rows: int) -> Prepared:
    """Uploads some views of the rows of a task. The last one stays, since a run scores one task again and again."""
    seen = scored_rows(task.test_seen.only(views), task.seen, chunk_rows)
    unseen = scored_rows(task.test_unseen.only(views), task.unseen, chunk_rows)
    train = task.train.only(views)
    real = {name: jnp.asarray(rows.row_sources.read(view, np.arange(len(train)))) for name, view in train.views.items()}
    return Prepared(task, real, (seen, unseen), len(task.test_seen.labels) + len(task.test_unseen.labels))


def direct_scores(
    method: Method, params: dict[str, Params], task: Task, tables: Tables, chunk_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """A method's own class scores of both test parts [n, C]: columns of the seen classes, then of the unseen ones."""
    columns = np.concatenate([task.seen, task.unseen])
    parts = (task.test_seen, task.test_unseen)
    seen, unseen = (rows.class_scores(method, params, part, tables, chunk_rows)[:, columns] for part in parts)
    return seen, unseen


@partial(jax.jit, static_argnames=("n_seen",))
def measures_of(
    seen: jax.Array, unseen: jax.Array, labels: jax.Array, weights: jax.Array, n_seen: int, gamma: jax.Array
) -> dict[str, jax.Array]:
    """T1 and `gzsl_scores` of class scores of both test parts [n, C].

    labels: columns of the rows of both parts [n]; weights: what a right answer counts [n].
    """
    gains = metrics.gains(jnp.concatenate([seen, unseen]), labels, weights, n_seen)
    of_unseen = (unseen[:, n_seen:], labels[len(seen) :] - n_seen, weights[len(seen) :])
    return {"T1": metrics.weighted_accuracy(*of_unseen), **gzsl_scores(gains, gamma)}


def evaluate_directly(
    method: Method, params: dict[str, Params], task: Task, tables: Tables, chunk_rows: int, gamma: float
) -> dict[str, list[float]]:
    """Scores of a method's own class scores, in percent, as lists of length 1."""
    seen, unseen = direct_scores(method, params, task, tables, chunk_rows)
    labels = np.concatenate(
        [positions(task.test_seen.labels, task.seen), positions(task.test_unseen.labels, task.unseen) + len(task.seen)]
    ).astype(np.int32)
    weights = np.concatenate([metrics.class_balance(part.labels) for part in (task.test_seen, task.test_unseen)])
    return percent(measures_of(seen, unseen, labels, weights, len(task.seen), np.float32(gamma)))  # pyright: ignore[reportArgumentType]


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


def hold(
    method: Method,
    data: Prepared,
    made: Synthesis,
    options: EvalOptions,
    space: str,
    scored: ScoredParts | None = None,
) -> Held:
    """Holds training and test rows in one space as the memory allows; `scored`: test rows held so before."""
    source = made.source
    recipe = rows.Recipe("draws", method, space, made.sampler, options.syn_num)
    kind = rows.choose_kind(
        *rows.widths(recipe, source), recipe.rows_of(source), data.n_test, memory_mb=options.memory_mb
    )
    recipe, arrays = rows.hold(dataclasses.replace(recipe, kind=kind), source, made.views, options.chunk_rows)
    if kind != "features":
        return Held(recipe, arrays, data.scored)
    return Held(recipe, arrays, scored or embed_parts(method, data, source.params, space))


def embed_parts(method: Method, data: Prepared, params: dict[str, Params], space: str) -> ScoredParts:
    """Test rows in one space."""
    seen, unseen = (part._replace(inputs=rows.embed_chunks(method, space, params, part.inputs)) for part in data.scored)
    return seen, unseen


def columns(purpose: Purpose, task: Task) -> np.ndarray:
    """Class numbers in the order of a classifier's columns."""
    return {"gzsl": np.concatenate([task.seen, task.unseen]), "zsl": task.unseen, "seen": task.seen}[purpose]


def training_labels(purpose: Purpose, task: Task, syn_num: int) -> np.ndarray:
    """Columns of the training rows: the real ones of seen classes (gzsl), then `syn_num` for each synthesised class."""
    n_seen, n_unseen = len(task.seen), len(task.unseen)
    if purpose != "gzsl":
        return np.repeat(np.arange(n_seen if purpose == "seen" else n_unseen, dtype=np.int32), syn_num)
    made = np.repeat(np.arange(n_seen, n_seen + n_unseen, dtype=np.int32), syn_num)
    return np.concatenate([positions(task.train.labels, task.seen), made])


def fit_setup(purpose: Purpose, data: Prepared, made: Synthesis, held: Held, options: EvalOptions):
    """The static side and the arrays of one fit: (`Setup`, `Inputs`)."""
    task = data.task
    labels, classes = training_labels(purpose, task, options.syn_num), columns(purpose, task)
    setup = Setup(
        purpose,
        options.classifier,
        held.recipe,
        n_train=len(labels),
        first=len(task.train.labels) if purpose == "zsl" else 0,
        n_seen=len(task.seen),
        n_classes=len(classes),
        epochs=options.epochs,
        batch=options.batch,
        chunk_rows=options.chunk_rows,
        prototype=options.prototype,
    )
    semantics = jnp.asarray(task.semantics[classes])
    return setup, Inputs(held.arrays, jnp.asarray(labels), made.source.params, held.scored, semantics)


def fit_numbers(options: EvalOptions, gamma: float) -> Numbers:
    """The scalars of a fit."""
    return Numbers(*map(jnp.float32, (options.classifier_lr, gamma, options.seen_factor)))


def run_fits(
    purpose: Purpose,
    data: Prepared,
    made: Sequence[Synthesis],
    held: Sequence[Held],
    space: str,
    key: jax.Array,
    options: EvalOptions,
    gamma: float = 0.0,
    epoch: int = -1,
) -> Sequence[classifier.Fit]:
    """Fits a classifier on the rows of each sampler; keeps its parameters after epoch `epoch` (-1: the last)."""
    setup, inputs = fit_setup(purpose, data, made[0], held[0], options)
    purposes = [(purpose, space, one.sampler) for one in made]
    rest = fit_numbers(options, gamma), jnp.int32(epoch % options.epochs)
    if len(made) == 1:
        return [fits.train(setup, inputs, derive(key, *purposes[0]), *rest)]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, np.stack([_code(one) for one in purposes]))
    inputs = inputs._replace(held=None)
    return fits.train_together(setup, tuple(one.arrays for one in held), inputs, keys, *rest)


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
    if method.synthesize is None:
        direct = evaluate_directly(
            method, params, task, tables_of(task), options.chunk_rows, gammas.get(DIRECT_SPACE, 0.0)
        )
        return {"spaces": {DIRECT_SPACE: {DIRECT_SAMPLER: direct}}, "seen": {}}
    data = prepare(task, method.views, options.chunk_rows)
    spaces, samplers = options.spaces_of(method), options.samplers_of(method)
    found: dict[str, dict[str, Any]] = {space: {} for space in spaces}
    for group in side_by_side(method, params, data, options):
        made = [unseen_rows(method, params, data, key, options, sampler) for sampler in group]
        for space in spaces:
            scores = score_space(method, data, made, space, key, options, gammas.get(space, 0.0))
            found[space] |= dict(zip(group, scores, strict=True))
            for _ in group:
                tick()
        del made  # before the next sampler's rows take as much memory
    seen = seen_score(method, params, data, key, options, spaces[0], samplers[0])
    tick()
    return {"spaces": found, "seen": {spaces[0]: seen}}


def side_by_side(
    method: Method, params: dict[str, Params], data: Prepared, options: EvalOptions
) -> Iterator[tuple[str, ...]]:
    """The samplers, in groups whose classifiers are trained as one program: all of them, if their rows fit together."""
    samplers = options.samplers_of(method)
    semantics = jax.ShapeDtypeStruct((len(data.task.unseen), data.task.semantics.shape[1]), jnp.float32)
    source = rows.Source(params, data.real, semantics, jax.eval_shape(lambda: jax.random.key(0)))  # pyright: ignore[reportArgumentType]
    views, features = zip(
        *(
            rows.widths(rows.Recipe("draws", method, space, sampler, options.syn_num), source)
            for space in options.spaces_of(method)
            for sampler in samplers
        ),
        strict=True,
    )
    k, n_train = len(samplers), source.n_real + len(data.task.unseen) * options.syn_num
    # Features of each sampler, once more where they are stacked.
    kind = rows.choose_kind(k * max(views), 2 * k * max(features), n_train, data.n_test, options.memory_mb)
    yield from (samplers,) if kind == "features" else ((sampler,) for sampler in samplers)


def score_space(
    method: Method,
    data: Prepared,
    made: Sequence[Synthesis],
    space: str,
    key: jax.Array,
    options: EvalOptions,
    gamma: float,
) -> list[dict[str, list[float]]]:
    """Scores of one space for the synthetic rows of each sampler: lists over classifier epochs, in percent."""
    first = hold(method, data, made[0], options, space)
    held = [first, *(hold(method, data, one, options, space, first.scored) for one in made[1:])]
    gzsl = run_fits("gzsl", data, made, held, space, key, options, gamma)
    zsl = run_fits("zsl", data, made, held, space, key, options)
    return [percent({"T1": z.measures, **g.measures}) for z, g in zip(zsl, gzsl, strict=True)]


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
    held = hold(method, data, made, options, space)
    (fit,) = run_fits("seen", data, [made], [held], space, key, options)
    return percent({"seen": fit.measures})["seen"]

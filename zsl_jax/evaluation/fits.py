"""One classifier fit: what it is trained on, how, and what it scores after each of its epochs."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from zsl_jax.evaluation import classifier, discriminant, metrics, nearest, prototype, rows
from zsl_jax.train_steps.method import Params

KINDS = ("softmax", "lda", "prototype", "nearest")
Purpose = Literal["gzsl", "zsl", "seen"]
ScoredParts = tuple[rows.ScoredRows, rows.ScoredRows]  # of seen classes, of unseen classes
Score = Callable[[jax.Array], jax.Array]  # classifier inputs [b, F] -> class scores [b, C]


@dataclasses.dataclass(frozen=True)
class Setup:
    """The static side of one classifier fit.

    purpose: which rows and classes take part, see `zsl_jax.evaluation.scoring`. kind: one of `KINDS`. recipe: how
    training rows are held. n_train: training rows; first: number of the first of them among the rows held; n_seen,
    n_classes: columns. epochs, batch: of the fit (lda, nearest: none). prototype: options of that kind.
    """

    purpose: Purpose
    kind: str
    recipe: rows.Recipe
    n_train: int
    first: int
    n_seen: int
    n_classes: int
    epochs: int
    batch: int
    chunk_rows: int
    prototype: prototype.Options


class Inputs(NamedTuple):
    """The arrays of one classifier fit.

    held: rows for training, as `rows.fetch` takes them. labels: [n_train]. params: of the method. scored: rows to
    score, None for none. semantics: of the classes, in the order of the columns [C, A].
    """

    held: Any
    labels: jax.Array
    params: dict[str, Params]
    scored: ScoredParts | None
    semantics: jax.Array


class Numbers(NamedTuple):
    """Scalars of a fit: the linear classifier's rate; gamma, subtracted from the scores of seen classes where U_cal,
    S_cal and H_cal are taken; what all scores of seen classes are multiplied with before; and the shrinkage of a
    discriminant analysis.
    """

    rate: jax.Array
    gamma: jax.Array
    seen_factor: jax.Array
    shrinkage: jax.Array


def fetch(setup: Setup, inputs: Inputs, numbers: jax.Array) -> jax.Array:
    """Classifier inputs [b, F] of training rows [b]."""
    return rows.fetch(setup.recipe, inputs.held, numbers + setup.first)


def score_of(setup: Setup, inputs: Inputs) -> classifier.Score:
    """What the parameters of a fit (none: nearest) make of classifier inputs [b, F]: class scores [b, C]."""
    if setup.kind in ("softmax", "lda"):
        return classifier.scores
    if setup.kind == "prototype":
        return lambda net, features: prototype.scores(net, inputs.semantics, features, setup.prototype)

    def by_distance(_: Any, features: jax.Array) -> jax.Array:
        return nearest.scores(features, inputs.labels, partial(fetch, setup, inputs), setup.n_classes, setup.chunk_rows)

    return by_distance


def fitted_score(setup: Setup, inputs: Inputs, numbers: Numbers, params: Any) -> Score:
    """`score_of` with parameters; generalised scores of seen classes, in the first columns, times their factor."""
    score = partial(score_of(setup, inputs), params)

    def scaled(features: jax.Array) -> jax.Array:
        scores = score(features)
        return jnp.concatenate([numbers.seen_factor * scores[:, : setup.n_seen], scores[:, setup.n_seen :]], axis=1)

    return scaled if setup.purpose == "gzsl" else score


def gzsl_gains(setup: Setup, inputs: Inputs, scored: ScoredParts, score: Score) -> metrics.Gains:
    """What every test row adds to S or U; `score` maps classifier inputs to class scores [b, C], seen classes first."""

    def of_chunk(first: int, features, labels, weights):
        return metrics.gains(score(features), labels + first, weights, setup.n_seen)

    firsts = zip((0, setup.n_seen), scored, strict=True)
    parts = (rows.over_chunks(setup.recipe, inputs.params, part, partial(of_chunk, first)) for first, part in firsts)
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


def measure(setup: Setup, inputs: Inputs, numbers: Numbers, params: Any) -> Any:
    """What the scores of a classifier with these parameters are made of: gains of all test rows, or the mean accuracy
    per class of the part that its purpose has, among that part's classes (T1 of the unseen part).
    """
    if inputs.scored is None:
        return {}
    score = fitted_score(setup, inputs, numbers, params)
    if setup.purpose == "gzsl":
        return gzsl_gains(setup, inputs, inputs.scored, score)

    def of_chunk(features, labels, weights):
        return metrics.weighted_accuracy(score(features), labels, weights)

    part = inputs.scored[0 if setup.purpose == "seen" else 1]
    return rows.over_chunks(setup.recipe, inputs.params, part, of_chunk).sum()


def begin(setup: Setup, inputs: Inputs, numbers: Numbers, batches: int, key: jax.Array) -> tuple[Any, Any]:
    """Starting parameters and optimiser of a fit with so many minibatches in an epoch."""
    one = jax.ShapeDtypeStruct((1,), jnp.int32)
    n_features = jax.eval_shape(partial(fetch, setup, inputs), one).shape[1]
    if setup.kind == "softmax":
        return classifier.init(key, n_features, setup.n_classes), classifier.adam(numbers.rate)
    net = prototype.init(key, inputs.semantics.shape[1], n_features, setup.prototype)
    return net, prototype.optimiser(setup.prototype, batches)


def solve(setup: Setup, inputs: Inputs, numbers: Numbers) -> classifier.Linear:
    """A discriminant analysis of the training rows."""
    row = partial(fetch, setup, inputs)
    return discriminant.fit(row, inputs.labels, setup.n_classes, numbers.shrinkage, setup.chunk_rows)


# By itself, since every purpose and space would compile it once more.
_scores_of_epochs = jax.jit(jax.vmap(gzsl_scores, (0, None)))


def scored(fitted: classifier.Fit, numbers: Numbers) -> classifier.Fit:
    """A fit with `gzsl_scores` of each epoch for its gains; with other measures as it is."""
    if not isinstance(fitted.measures, metrics.Gains):
        return fitted
    return fitted._replace(measures=_scores_of_epochs(fitted.measures, numbers.gamma))


def train(setup: Setup, inputs: Inputs, key: jax.Array, numbers: Numbers, keep: jax.Array) -> classifier.Fit:
    """Fits one classifier and scores it after each of its epochs.

    Args:
      setup, inputs, numbers: what to train on and to score, and how.
      key: of the starting weights and of the order of the rows.
      keep: classifier epoch whose parameters are returned.

    Returns:
      `classifier.Fit`; its measures are `gzsl_scores`, or the accuracy, for each epoch. A discriminant
      analysis has one epoch, a nearest-neighbour classifier no parameters either.
    """
    return scored(fit(setup, inputs, key, numbers, keep), numbers)


def train_together(
    setup: Setup, held: tuple[Any, ...], inputs: Inputs, keys: jax.Array, numbers: Numbers, keep: jax.Array
) -> list[classifier.Fit]:
    """`train` on several sets of held rows side by side, all else shared; a key and a result for each."""
    return [scored(one, numbers) for one in fit_together(setup, held, inputs, keys, numbers, keep)]


@partial(jax.jit, static_argnames=("setup",))
def fit(setup: Setup, inputs: Inputs, key: jax.Array, numbers: Numbers, keep: jax.Array) -> classifier.Fit:
    """`train` with what `measure` says of each epoch."""
    measured = partial(measure, setup, inputs, numbers)
    if setup.kind in ("lda", "nearest"):
        kept = solve(setup, inputs, numbers) if setup.kind == "lda" else ()
        return classifier.Fit(kept, jnp.zeros((1, 0)), jax.tree.map(lambda value: value[None], measured(kept)))
    order_key, weights_key = jax.random.split(key)
    order = classifier.draw_order(order_key, setup.n_train, setup.batch, setup.epochs)
    start, optimiser = begin(setup, inputs, numbers, order.shape[1], weights_key)
    row = partial(fetch, setup, inputs)
    score = score_of(setup, inputs)
    return classifier.fit(start, order, inputs.labels, row, measured, optimiser, keep, setup.chunk_rows, score)


@partial(jax.jit, static_argnames=("setup",))
def fit_together(
    setup: Setup, held: tuple[Any, ...], inputs: Inputs, keys: jax.Array, numbers: Numbers, keep: jax.Array
) -> tuple[classifier.Fit, ...]:
    """`train_together` with what `measure` says of each epoch."""
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *held)

    def one(arrays, key):
        return fit(setup, inputs._replace(held=arrays), key, numbers, keep)

    fits = jax.vmap(one)(stacked, keys)
    return tuple(jax.tree.map(lambda array, i=i: array[i], fits) for i in range(len(held)))


@partial(jax.jit, static_argnames=("setup",))
def fitted_scores(setup: Setup, inputs: Inputs, numbers: Numbers, params: Any, part: rows.ScoredRows) -> jax.Array:
    """Class scores of one test part [chunks, size, C] by a fitted classifier."""
    score = fitted_score(setup, inputs, numbers, params)
    return rows.over_chunks(setup.recipe, inputs.params, part, lambda features, *_: score(features))

"""Fitting a classifier on real and synthetic rows, and the linear softmax that generative zero-shot learning uses.

Facts of the published evaluations (ZeroDiff, TF-VAEGAN, f-CLSWGAN and their kin): one linear layer, weights N(0, 0.02),
bias 0, negative log-likelihood, Adam with b1 = 0.5, minibatches from a stream of shuffled passes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from zsl_jax.evaluation.rows import equal_pieces

WEIGHT_STD = 0.02


class Linear(NamedTuple):
    """Parameters of the classifier: weights [C, F] and bias [C]."""

    weights: jax.Array
    bias: jax.Array


Params = Any  # of a classifier
Score = Callable[[Params, jax.Array], jax.Array]  # (parameters, features [b, F]) -> class scores [b, C]


class Fit(NamedTuple):
    """What a fit returns: the parameters after the epoch asked for, losses [epochs, batches], measures per epoch."""

    kept: Params
    losses: jax.Array
    measures: Any


def init(key: jax.Array, n_features: int, n_classes: int) -> Linear:
    """Draws the starting parameters, weights N(0, 0.02) and bias 0."""
    weights = WEIGHT_STD * jax.random.normal(key, (n_classes, n_features))
    return Linear(weights, jnp.zeros(n_classes, weights.dtype))


def scores(linear: Linear, features: jax.Array) -> jax.Array:
    """Class scores (logits) [n, C] of features [n, F]."""
    return lax.dot_general(features, linear.weights, (((1,), (1,)), ((), ()))) + linear.bias[None, :]


def draw_order(key: jax.Array, n: int, batch: int, epochs: int) -> jax.Array:
    """Draws which rows each minibatch takes.

    An epoch is ceil(n / batch) full minibatches; rows left over at the end of a pass are joined with the first rows of
    the next shuffle, so an epoch is not aligned with a pass over the data. More epochs only add to the end.

    Args:
      key: of the shuffles.
      n: number of rows.
      batch: rows per minibatch.
      epochs: number of epochs.

    Returns:
      row numbers [epochs, ceil(n / batch), batch] int32.
    """
    batches = -(-n // batch)
    drawn = epochs * batches * batch

    def shuffle(number: jax.Array) -> jax.Array:
        return jax.random.permutation(jax.random.fold_in(key, number), jnp.arange(n, dtype=jnp.int32))

    rows = lax.map(shuffle, jnp.arange(-(-drawn // n)))  # compiled in half the time that `vmap` takes
    return rows.reshape(-1)[:drawn].reshape(epochs, batches, batch)


def split_batch(rows: jax.Array, chunk_rows: int) -> tuple[jax.Array, jax.Array]:
    """Splits the row numbers of a minibatch [batch] into equal pieces of at most `chunk_rows`.

    Returns:
      (rows [pieces, size], share [pieces, size]): a row's share of the mean loss, 1 / batch, or 0 for padding.
    """
    batch = rows.shape[0]
    pieces, size = equal_pieces(batch, chunk_rows)
    padding = (0, pieces * size - batch)
    share = jnp.full(batch, 1.0 / batch, jnp.float32)
    return jnp.pad(rows, padding).reshape(pieces, size), jnp.pad(share, padding).reshape(pieces, size)


def loss(score: Score, params: Params, features: jax.Array, labels: jax.Array, share: jax.Array) -> jax.Array:
    """Negative log-likelihood of `labels` [n] summed with weights `share` [n]."""
    log_probability = jax.nn.log_softmax(score(params, features))
    return -jnp.sum(share * jnp.take_along_axis(log_probability, labels[:, None], 1)[:, 0])


def batch_gradient(
    score: Score,
    params: Params,
    rows: jax.Array,
    labels: jax.Array,
    fetch: Callable[[jax.Array], jax.Array],
    chunk_rows: int,
) -> tuple[jax.Array, Params]:
    """Loss of a minibatch and its gradient, summed piece by piece so that only `chunk_rows` rows are in memory."""

    def of_piece(piece):
        numbers, share = piece
        return jax.value_and_grad(partial(loss, score))(params, fetch(numbers), labels[numbers], share)

    pieces = split_batch(rows, chunk_rows)
    if pieces[0].shape[0] == 1:
        return of_piece(jax.tree.map(lambda array: array[0], pieces))
    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    return lax.scan(lambda total, piece: (jax.tree.map(jnp.add, total, of_piece(piece)), None), zero, pieces)[0]


def adam(learning_rate: jax.Array) -> optax.GradientTransformation:
    """The published optimiser of the linear classifier: Adam(learning_rate, 0.5, 0.999, eps 1e-8)."""
    return optax.chain(optax.scale_by_adam(b1=0.5, b2=0.999, eps=1e-8), optax.scale(-learning_rate))


def fit(
    start: Params,
    order: jax.Array,
    labels: jax.Array,
    fetch: Callable[[jax.Array], jax.Array],
    measure: Callable[[Params], Any],
    optimiser: optax.GradientTransformation,
    keep_epoch: jax.Array,
    chunk_rows: int = 4096,
    score: Score = scores,
) -> Fit:
    """Trains a classifier on the mean negative log-likelihood.

    A pure function for use inside jit: one scan over epochs, one over minibatches.

    Args:
      start: starting parameters.
      order: row numbers of the minibatches [epochs, batches, batch] int32, see `draw_order`.
      labels: class of each row [n] int32, as a position in 0..C-1.
      fetch: (row numbers [b] int32) -> features [b, F]; a table look-up or computed on the fly.
      measure: called with the parameters after every epoch; its (small) results are stacked.
      optimiser: what turns gradients into steps.
      keep_epoch: epoch (int32 scalar, 0-based) whose parameters are returned.
      chunk_rows: most rows fetched at once; larger minibatches accumulate their gradient.
      score: class scores of features; the linear classifier's by default.

    Returns:
      the parameters kept, the loss of each minibatch, the measures after each epoch.
    """

    def update(carry, rows):
        params, state = carry
        value, gradient = batch_gradient(score, params, rows, labels, fetch, chunk_rows)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to its int32 step counter
            steps, state = optimiser.update(gradient, state, params)
        return (optax.apply_updates(params, steps), state), value

    def epoch(carry, rows_and_number):
        rows, number = rows_and_number
        current, kept = carry
        current, losses = lax.scan(update, current, rows)
        kept = jax.tree.map(lambda new, old: jnp.where(number == keep_epoch, new, old), current[0], kept)
        return (current, kept), (losses, measure(current[0]))

    numbers = jnp.arange(order.shape[0], dtype=jnp.int32)
    carry = ((start, optimiser.init(start)), start)
    (_, kept), (losses, measures) = lax.scan(epoch, carry, (order, numbers))
    return Fit(kept, losses, measures)

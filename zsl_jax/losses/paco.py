"""Parametric contrastive learning on arrays: the PaCo loss, its queue of keys, the key encoder's moving average."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

EMPTY = -1  # label of a queue row that has not been filled yet


class PacoWeights(NamedTuple):
    """Numbers of the PaCo loss, as scalars.

    alpha: weight of samples of the same class among the positives. beta: weight of the own class centre among them.
    gamma: weight of the samples in the denominator (centres have 1; at 0, the published default, samples are still
    positives but leave the denominator, so the loss has no lower bound). temperature: divides similarities.
    base_temperature: the loss is scaled by temperature / base_temperature. centre_temperature: divides centre logits.
    """

    alpha: jax.Array | float
    beta: jax.Array | float
    gamma: jax.Array | float
    temperature: jax.Array | float
    base_temperature: jax.Array | float
    centre_temperature: jax.Array | float


def paco_loss(features: jax.Array, labels: jax.Array, centre_logits: jax.Array, weights: PacoWeights) -> jax.Array:
    """Parametric contrastive loss (PaCo, Cui et al., ICCV 2021), mean over the queries.

    Args:
      features: unit rows [2B + K, E]: B queries, the B keys of the same samples, K queue rows (K may be 0).
      labels: classes of these rows [2B + K] int; EMPTY rows take no part.
      centre_logits: scores of the queries against the C class centres [B, C].
      weights: numbers of the loss.

    Returns:
      The loss, a scalar. Gradients flow into every row of `features`: stop them where keys are constants.
    """
    batch, n_classes = centre_logits.shape
    contrasts, same_class = _contrast_masks(labels, batch)
    similarities = features[:batch] @ features.T / weights.temperature
    logits = jnp.concatenate([centre_logits / weights.centre_temperature, similarities], axis=1)
    logits = logits - jax.lax.stop_gradient(logits.max(axis=1, keepdims=True))
    own_centre = jax.nn.one_hot(labels[:batch], n_classes, dtype=logits.dtype)
    positives = jnp.concatenate([weights.beta * own_centre, weights.alpha * same_class], axis=1)
    denominator = jnp.concatenate([jnp.ones_like(own_centre), weights.gamma * contrasts], axis=1)
    # 1e-12 is added after the shift by the row's maximum, which often is the excluded similarity to itself.
    log_sum = jnp.log((jnp.exp(logits) * denominator).sum(axis=1, keepdims=True) + 1e-12)
    per_query = (positives * (logits - log_sum)).sum(axis=1) / positives.sum(axis=1)
    return -(weights.temperature / weights.base_temperature) * per_query.mean()


def _contrast_masks(labels: jax.Array, batch: int) -> tuple[jax.Array, jax.Array]:
    """Returns for each query which rows it is compared with and which of them share its class, [B, 2B + K] float."""
    itself = jnp.eye(batch, labels.shape[0], dtype=bool)
    contrasts = (labels != EMPTY)[None, :] & ~itself
    same_class = contrasts & (labels[:batch, None] == labels[None, :])
    return contrasts.astype(jnp.float32), same_class.astype(jnp.float32)


def empty_queue(size: int, dim: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns an unfilled queue: rows [size, dim], labels [size] (all EMPTY) and the pointer to the next free row.

    Rows count in `paco_loss` from the moment they are filled. (The published queue starts with random rows, normalised
    down the columns instead of along the rows, and random labels, which act as wrong positives until overwritten.)
    """
    return jnp.zeros((size, dim)), jnp.full((size,), EMPTY, jnp.int32), jnp.zeros((), jnp.int32)


def enqueue(
    queue: jax.Array, queue_labels: jax.Array, pointer: jax.Array, keys: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Overwrites the oldest rows of the queue (He et al., CVPR 2020, section 3.2).

    Args:
      queue: keys of earlier batches [K, E], K a multiple of B.
      queue_labels: their classes [K] int32.
      pointer: first row to overwrite, scalar int32.
      keys: keys of this batch [B, E].
      labels: their classes [B] int32.

    Returns:
      queue, labels and pointer after the update.
    """
    chex.assert_is_divisible(queue.shape[0], keys.shape[0])
    if queue.shape[0] == 0:
        return queue, queue_labels, pointer
    rows = jax.lax.dynamic_update_slice_in_dim(queue, keys, pointer, axis=0)
    classes = jax.lax.dynamic_update_slice_in_dim(queue_labels, labels, pointer, axis=0)
    return rows, classes, (pointer + keys.shape[0]) % queue.shape[0]


def momentum_average(key_params: Any, query_params: Any, momentum: jax.Array | float) -> Any:
    """Moves the key encoder: momentum * key + (1 - momentum) * query (He et al., CVPR 2020, eq. 2).

    To be called at the start of an iteration, before the optimiser moves the query encoder.
    """
    return jax.tree.map(lambda key, query: momentum * key + (1.0 - momentum) * query, key_params, query_params)

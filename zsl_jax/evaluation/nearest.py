"""The 1-nearest-neighbour classifier: a row belongs to the class of the training row nearest to it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from zsl_jax.evaluation.rows import equal_pieces


def scores(
    features: jax.Array,
    labels: jax.Array,
    fetch: Callable[[jax.Array], jax.Array],
    n_classes: int,
    chunk_rows: int,
) -> jax.Array:
    """Minus the squared Euclidean distance from each row to the nearest training row of each class.

    Args:
      features: rows to score [n, F].
      labels: class of each training row [m] int32, as a position in 0..C-1.
      fetch: (row numbers [b] int32) -> training rows [b, F].
      n_classes: C.
      chunk_rows: most training rows compared at once.

    Returns:
      [n, C]; -inf for a class without training rows.
    """
    m = labels.shape[0]
    pieces, size = equal_pieces(m, chunk_rows)
    numbers = jnp.minimum(jnp.arange(pieces * size, dtype=jnp.int32), m - 1)  # the last row again as padding
    squares = jnp.sum(features**2, axis=1)

    def nearer(best, rows):
        others = fetch(rows)
        # Small differences of large numbers: not for TF32.
        products = jnp.matmul(others, features.T, precision=lax.Precision.HIGHEST)
        distances = squares[None, :] - 2 * products + jnp.sum(others**2, axis=1)[:, None]
        return jnp.maximum(best, jax.ops.segment_max(-distances, labels[rows], n_classes)), None

    start = jnp.full((n_classes, features.shape[0]), -jnp.inf)
    return lax.scan(nearer, start, numbers.reshape(pieces, size))[0].T

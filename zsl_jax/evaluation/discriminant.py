"""Linear discriminant analysis: Gaussian classes of equal weight that share one covariance, fitted in closed form.

The covariance is shrunk towards its diagonal, as by Friedman, "Regularized Discriminant Analysis", JASA 1989, whose
target is a multiple of the identity: with the diagonal the units of single features do not matter.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from zsl_jax.evaluation.classifier import Linear
from zsl_jax.evaluation.rows import equal_pieces

MEAN_DISTANCE = 10.0  # squared, of class means from their mean, in deviations within classes, after scaling
SMALLEST_SHARE = 1e-3  # of the mean variance, below which no variance of a feature is taken to lie
TINY = 1e-12  # where no feature varies

Fetch = Callable[[jax.Array], jax.Array]  # row numbers [b] int32 -> features [b, F]


def fit(fetch: Fetch, labels: jax.Array, n_classes: int, shrinkage: jax.Array, chunk_rows: int) -> Linear:
    """Log densities of the classes but for what they share, scaled, as a linear classifier.

    The distances between classes, and so the densities, are as large as features are many and training rows are few.
    Scaled to one mean distance, a calibration that was chosen on one task means the same on another.

    Args:
      fetch: makes training rows.
      labels: their classes [n] int32, as positions in 0..C-1; each at least once.
      n_classes: C.
      shrinkage: 0 takes the covariance within classes as it is, 1 its diagonal alone.
      chunk_rows: most rows fetched at once.
    """
    n = labels.shape[0]

    def summed(of_rows: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
        """The sum of what a function makes of rows [b, F] and their classes [b, C], rows of padding being zero."""
        pieces, size = equal_pieces(n, chunk_rows)
        numbers = jnp.arange(pieces * size, dtype=jnp.int32).reshape(pieces, size)

        def of_piece(rows: jax.Array) -> jax.Array:
            given = jnp.minimum(rows, n - 1)
            own = jnp.where((rows < n)[:, None], jax.nn.one_hot(labels[given], n_classes), 0.0)
            return of_rows(fetch(given), own)

        start = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), jax.eval_shape(of_piece, numbers[0]))
        return lax.scan(lambda total, rows: (total + of_piece(rows), None), start, numbers)[0]

    counts = jnp.maximum(summed(lambda _, own: own.sum(0)), 1)
    means = summed(lambda rows, own: _product(own.T, rows)) / counts[:, None]

    def products(rows: jax.Array, own: jax.Array) -> jax.Array:
        rest = own.sum(1, keepdims=True) * rows - _product(own, means)
        return _product(rest.T, rest)

    return from_moments(means, summed(products) / n, shrinkage)


def from_moments(means: jax.Array, covariance: jax.Array, shrinkage: jax.Array) -> Linear:
    """The classifier of class means [C, F] and the covariance within classes [F, F]."""
    variances = jnp.diagonal(covariance)
    floor = jnp.maximum(SMALLEST_SHARE * variances.mean(), TINY)
    shrunk = (1 - shrinkage) * covariance + jnp.diag(shrinkage * variances + jnp.maximum(floor - variances, 0))
    centre = means.mean(0)
    offsets = means - centre[None, :]
    weights = jax.scipy.linalg.solve(shrunk, offsets.T, assume_a="pos").T
    distances = jnp.sum(offsets * weights, axis=1)
    bias = -_product(weights, centre) - 0.5 * distances
    factor = MEAN_DISTANCE / jnp.maximum(distances.mean(), TINY)
    return Linear(factor * weights, factor * bias)


def _product(one: jax.Array, other: jax.Array) -> jax.Array:
    """A matrix product that the accelerator does not round to TF32."""
    return jnp.matmul(one, other, precision=lax.Precision.HIGHEST)

"""Losses of generative zero-shot learning, as pure functions of arrays.

B rows, D feature width, A semantics width, Z latent width. Every function returns a scalar unless it says otherwise;
none checks its arguments: shapes that do not fit end in JAX's own error.
"""

from typing import Any

import jax
import jax.numpy as jnp

SMALLEST_NORM = 1e-30


def gradient_penalty(gradient_norms: jax.Array) -> jax.Array:
    """Mean of (norm - 1)^2 over rows [B] of input-gradient norms (Gulrajani et al. 2017, equation 3; no lambda)."""
    return jnp.mean((gradient_norms - 1.0) ** 2)


def row_norms(rows: jax.Array) -> jax.Array:
    """Euclidean norms [B] of rows [B, D], with a zero gradient where a row is zero."""
    return jnp.sqrt(jnp.maximum(jnp.sum(rows**2, axis=-1), SMALLEST_NORM))


def squared_weights(params: Any) -> jax.Array:
    """Sum of the squares of all weights of a tree, without biases."""
    return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if leaf.ndim > 1), jnp.float32(0))


def mean_squared(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """Mean over all entries of the squared difference of two arrays [B, A]."""
    return jnp.mean((predicted - target) ** 2)


def sum_squared(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """Sum over all entries of the squared difference of two arrays [B, A]."""
    return jnp.sum((predicted - target) ** 2)


def discrepancy(rows: jax.Array, others: jax.Array) -> jax.Array:
    """Squared maximum mean discrepancy (Gretton et al. 2012, equation 5) of two samples [B, L], times B^2.

    With the kernel exp(-|u - v|^2 / L^2): the mean squared difference, divided by the width once more, as Zhao et al.
    (InfoVAE, 2017, code) and after them the zoo's BIR-VAE have it.
    """
    return len(rows) ** 2 * gaussian_discrepancy(rows, others, rows.shape[1] / 2**0.5)


def gaussian_discrepancy(rows: jax.Array, others: jax.Array, sigma: jax.Array | float) -> jax.Array:
    """Squared maximum mean discrepancy of samples [B, D] and [M, D], kernel exp(-|u - v|^2 / (2 sigma^2)).

    The biased estimate: a row's kernel with itself takes part (Gretton et al. 2012, equation 5).
    """

    def mean_kernel(squares: jax.Array) -> jax.Array:
        return jnp.mean(jnp.exp(-squares / (2 * sigma**2)))

    def within(u: jax.Array) -> jax.Array:
        return jnp.where(jnp.eye(len(u), dtype=bool), 0.0, squared_distances(u, u))

    return mean_kernel(within(rows)) + mean_kernel(within(others)) - 2 * mean_kernel(squared_distances(rows, others))


def squared_distances(u: jax.Array, v: jax.Array) -> jax.Array:
    """Squared Euclidean distances [B, M] of rows [B, D] from rows [M, D], without an array of B x M x D."""
    # They are small differences of large numbers: not for TF32.
    products = jnp.dot(u, v.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum(jnp.sum(u**2, axis=1)[:, None] + jnp.sum(v**2, axis=1)[None, :] - 2 * products, 0.0)


def centre_distance(rows: jax.Array, centres: jax.Array) -> jax.Array:
    """Squared Euclidean distance of each row from its centre, both [B, D]; mean over B (Wen et al. 2016, no 1/2)."""
    return jnp.mean(jnp.sum((rows - centres) ** 2, axis=-1))


def weighted_l1(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """L1 distance of semantics [B, A], each entry weighted by d^2 / ||d||, summed over A, mean over B.

    The weights take part in the gradient (TF-VAEGAN, Narayan et al. 2020, code; ZeroDiff likewise).
    """
    difference = predicted - target
    weights = difference**2 / row_norms(difference)[:, None]
    return jnp.mean(jnp.sum(weights * jnp.abs(difference), axis=-1))


def binary_cross_entropy(predicted: jax.Array, target: jax.Array) -> jax.Array:
    """-[x log p + (1 - x) log(1 - p)] summed over D, mean over B; predicted (0..1) and target [B, D].

    As published, 1e-12 is added to p and logarithms stop at -100; a saturated p has a finite gradient here.
    """
    p = predicted + 1e-12
    entropy = target * _clipped_log(p) + (1.0 - target) * _clipped_log(1.0 - p)
    return -jnp.mean(jnp.sum(entropy, axis=-1))


def _clipped_log(p: jax.Array) -> jax.Array:
    positive = p > 0
    return jnp.where(positive, jnp.maximum(jnp.log(jnp.where(positive, p, 1.0)), -100.0), -100.0)


def kl_to_standard_normal(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """KL of N(mean, exp(log_variance)) from N(0, 1), summed over the latent width, mean over B; both [B, Z]."""
    return -0.5 * jnp.mean(jnp.sum(1.0 + log_variance - mean**2 - jnp.exp(log_variance), axis=-1))


def mutual_learning(x0: jax.Array, xt: jax.Array, xc: jax.Array, weights: jax.Array) -> jax.Array:
    """Each critic's row-wise Wasserstein estimate is drawn to the other two's (ZeroDiff, section 3.4).

    Args:
      x0: real minus fake score of the critic on x_0 [B].
      xt: likewise of the critic on x_t [B].
      xc: likewise of the critic on (x, r) [B].
      weights: row weights [B] of the four terms in which x_t takes part.
    """

    def towards(estimate: jax.Array, target: jax.Array) -> jax.Array:
        return (estimate - jax.lax.stop_gradient(target)) ** 2

    noisy = towards(x0, xt) + towards(xt, x0) + towards(xc, xt) + towards(xt, xc)
    return jnp.mean(weights * noisy + towards(x0, xc) + towards(xc, x0))


def adapt_lambda(penalty_weight: jax.Array, penalty: jax.Array) -> jax.Array:
    """The next gradient-penalty weight: 1.1 times when `penalty` > 1.05, divided by 1.1 when < 1.001, else the same.

    `penalty` is the weighted penalties' sum over critics and updates, divided by gamma_ADV, lambda and the number of
    updates (f-VAEGAN, Xian et al. 2019, code). NaN changes nothing.
    """
    factor = jnp.where(penalty > 1.05, 1.1, jnp.where(penalty < 1.001, 1 / 1.1, 1.0))
    return penalty_weight * factor

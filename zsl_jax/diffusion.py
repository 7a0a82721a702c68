"""The few-step diffusion of denoising-diffusion GANs: schedule, forward pairs and posterior.

Source: Xiao et al., "Tackling the Generative Learning Trilemma with Denoising Diffusion GANs" (ICLR 2022), sections 3
and 4; used by ZeroDiff (ICLR 2025) on features and on representations.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.errors import InputError

# The published schedule begins "almost clean": step 0 adds variance 1e-8, which float32 rounds away.
FIRST_BETA = 1e-8
SMALLEST_TIME = 1e-3
SMALLEST_VARIANCE = 1e-20


class Schedule(NamedTuple):
    """Coefficients of T diffusion steps, float32.

    Forward process, [T + 1] (index 0 is "almost clean" data): betas, sqrt_alphas = sqrt(1 - beta), sigmas = sqrt(beta),
    sqrt_alphas_bar = cumulative product of sqrt_alphas, sigmas_bar = sqrt(1 - sqrt_alphas_bar^2).
    Posterior q(x_t | x_0, x_{t+1}), [T]: mean = mean_coef1 x_0 + mean_coef2 x_{t+1}, variance and its
    clipped logarithm.
    """

    betas: np.ndarray
    sigmas: np.ndarray
    sqrt_alphas: np.ndarray
    sqrt_alphas_bar: np.ndarray
    sigmas_bar: np.ndarray
    posterior_variance: np.ndarray
    posterior_log_variance_clipped: np.ndarray
    posterior_mean_coef1: np.ndarray
    posterior_mean_coef2: np.ndarray

    @property
    def n_steps(self) -> int:
        """T."""
        return len(self.posterior_variance)


def vp_betas(beta_min: float, beta_max: float, n_steps: int) -> np.ndarray:
    """Betas [T] float32 of the variance-preserving process sampled at T + 1 times (Xiao et al., appendix B).

    `make_schedule` checks the numbers: 0 < beta_min < beta_max, n_steps >= 1.
    """
    time = np.arange(n_steps + 1, dtype=np.float32) / np.float32(n_steps)
    time = time * np.float32(1.0 - SMALLEST_TIME) + np.float32(SMALLEST_TIME)
    log_mean = np.float32(-0.25) * time**2 * np.float32(beta_max - beta_min) - np.float32(0.5 * beta_min) * time
    # By way of the variance, as published: its float32 rounding is part of the recorded schedule.
    variance = np.float32(1) - np.exp(2 * log_mean.astype(np.float64)).astype(np.float32)
    alphas_bar = 1 - variance
    return 1 - alphas_bar[1:] / alphas_bar[:-1]


def linear_betas(beta_min: float, beta_max: float, n_steps: int) -> np.ndarray:
    """Betas [T] float32 from beta_min in steps of (beta_max - beta_min) / T, as in DDPM; beta_max is not reached."""
    step = np.arange(n_steps, dtype=np.float32) / np.float32(n_steps)
    return np.float32(beta_max - beta_min) * step + np.float32(beta_min)


def make_schedule(
    beta_min: float,
    beta_max: float,
    n_steps: int,
    kind: Literal["variance_preserving", "linear"] = "variance_preserving",
) -> Schedule:
    """Makes the coefficients of `n_steps` diffusion steps.

    Args:
      beta_min: lower end of the noise rate (published: 0.1).
      beta_max: upper end (published: 20).
      n_steps: T (published: 4).
      kind: how betas follow from the two ends.

    Raises:
      InputError: when the numbers make no schedule.
    """
    if n_steps < 1 or not 0 < beta_min < beta_max:
        raise InputError(
            f"diffusion: n_steps={n_steps}, betas {beta_min}..{beta_max}: use n_steps >= 1 and 0 < beta_min < beta_max"
        )
    if kind == "linear" and beta_max >= 1:
        raise InputError(f"diffusion: linear betas end at {beta_max}: they must stay below 1 (DDPM uses 0.0001..0.02)")
    if kind not in ("linear", "variance_preserving"):
        raise InputError(f"diffusion.kind: {kind!r} is unknown: use 'variance_preserving' or 'linear'")
    rest = (linear_betas if kind == "linear" else vp_betas)(beta_min, beta_max, n_steps)
    betas = np.concatenate([np.array([FIRST_BETA], np.float32), rest])
    sqrt_alphas = np.sqrt(1 - betas)
    sqrt_alphas_bar = _cumulative_product(sqrt_alphas)
    return Schedule(
        betas=betas,
        sigmas=np.sqrt(betas),
        sqrt_alphas=sqrt_alphas,
        sqrt_alphas_bar=sqrt_alphas_bar,
        sigmas_bar=np.sqrt(1 - sqrt_alphas_bar**2),
        **_posterior(rest),
    )


def _cumulative_product(factors: np.ndarray) -> np.ndarray:
    """Accumulated in float64, kept in float32."""
    return np.cumprod(factors, dtype=np.float64).astype(np.float32)


def _posterior(betas: np.ndarray) -> dict[str, np.ndarray]:
    """Coefficients of q(x_t | x_0, x_{t+1}) from betas [T] (Ho et al. 2020, equations 6 and 7)."""
    alphas = 1 - betas
    alphas_bar = _cumulative_product(alphas)
    previous = np.concatenate([np.ones(1, np.float32), alphas_bar[:-1]])
    variance = betas * (1 - previous) / (1 - alphas_bar)
    return {
        "posterior_variance": variance,
        "posterior_log_variance_clipped": np.log(np.maximum(variance, np.float32(SMALLEST_VARIANCE))),
        "posterior_mean_coef1": betas * np.sqrt(previous) / (1 - alphas_bar),
        "posterior_mean_coef2": (1 - previous) * np.sqrt(alphas) / (1 - alphas_bar),
    }


def pick(coefficients: np.ndarray, t: jax.Array) -> jax.Array:
    """The coefficient of each row: coefficients [K], t [..., B] int -> [..., B, 1]."""
    return jnp.asarray(coefficients)[t][..., None]


def q_sample(schedule: Schedule, x0: jax.Array, t: jax.Array, noise: jax.Array) -> jax.Array:
    """x_t ~ q(x_t | x_0): x0 and noise [..., B, D], t [..., B] -> [..., B, D]."""
    return pick(schedule.sqrt_alphas_bar, t) * x0 + pick(schedule.sigmas_bar, t) * noise


def q_sample_pair(
    schedule: Schedule, x0: jax.Array, t: jax.Array, noise: jax.Array, next_noise: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """x_t and x_{t+1} of the same path: x0 and both noises [..., B, D], t [..., B] in 0..T-1."""
    x_t = q_sample(schedule, x0, t, noise)
    return x_t, pick(schedule.sqrt_alphas, t + 1) * x_t + pick(schedule.sigmas, t + 1) * next_noise


def posterior_sample(schedule: Schedule, x0: jax.Array, x_next: jax.Array, t: jax.Array, noise: jax.Array) -> jax.Array:
    """x_t ~ q(x_t | x_0, x_{t+1}); where t = 0 the mean alone: all [..., B, D], t [..., B]."""
    mean = pick(schedule.posterior_mean_coef1, t) * x0 + pick(schedule.posterior_mean_coef2, t) * x_next
    deviation = pick(np.exp(0.5 * schedule.posterior_log_variance_clipped), t)
    return mean + jnp.where((t == 0)[..., None], 0.0, deviation) * noise

"""The diffusion: moments of its forward process and its posterior, in closed form (Bayes' rule) and by simulation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zsl_jax import diffusion
from zsl_jax.errors import InputError

N_STEPS, DRAWS, X0 = 4, 100_000, 0.7
SCHEDULES = {
    "variance_preserving": diffusion.make_schedule(0.1, 20.0, N_STEPS),
    "linear": diffusion.make_schedule(0.1, 0.6, N_STEPS, "linear"),
}
STANDARD_ERROR = 5 / np.sqrt(DRAWS)  # five standard errors of a mean of standard normals


@pytest.fixture(params=SCHEDULES)
def schedule(request) -> diffusion.Schedule:
    return SCHEDULES[request.param]


def forward(schedule: diffusion.Schedule) -> tuple[np.ndarray, np.ndarray]:
    """(mean per x_0, variance) of q(x_t | x_0), step after step in float64 [T + 1] each."""
    mean, variance, rows = 1.0, 0.0, []
    for beta in schedule.betas.astype(np.float64):
        mean, variance = mean * np.sqrt(1 - beta), variance * (1 - beta) + beta
        rows.append((mean, variance))
    return tuple(np.transpose(rows))


@partial(jax.jit, static_argnums=0)
def simulate(kind: str) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Many x_t and x_{t+1} of one x_0, and x_t drawn again from the posterior of that x_{t+1}; [T, draws] each."""
    schedule = SCHEDULES[kind]
    noise = jax.random.normal(jax.random.key(0), (3, N_STEPS, DRAWS, 1))
    x0 = jnp.full((N_STEPS, DRAWS, 1), X0)
    t = jnp.broadcast_to(jnp.arange(N_STEPS)[:, None], (N_STEPS, DRAWS))
    x_t, x_next = diffusion.q_sample_pair(schedule, x0, t, noise[0], noise[1])
    again = diffusion.posterior_sample(schedule, x0, x_next, t, noise[2])
    return x_t[..., 0], x_next[..., 0], again[..., 0]


def assert_normal(found, mean, variance):
    """Mean and variance within five standard errors, for each row of `found` [T, draws]."""
    found, deviation = np.asarray(found, np.float64), np.sqrt(variance)
    assert (np.abs(found.mean(axis=1) - mean) <= STANDARD_ERROR * deviation + 1e-5).all()
    assert (np.abs(found.var(axis=1) - variance) <= np.sqrt(2) * STANDARD_ERROR * variance + 1e-5).all()


def test_coefficients_accumulate_the_steps(schedule):
    mean, variance = forward(schedule)
    np.testing.assert_allclose(schedule.sqrt_alphas_bar, mean, rtol=1e-5)
    np.testing.assert_allclose(schedule.sigmas_bar**2, variance, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(schedule.sqrt_alphas**2 + schedule.sigmas**2, np.ones(N_STEPS + 1), rtol=1e-6)
    assert schedule.n_steps == N_STEPS
    assert (np.diff(schedule.sqrt_alphas_bar) < 0).all()
    assert all(array.dtype == np.float32 for array in schedule)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_moments_of_simulated_pairs(kind):
    mean, variance = forward(SCHEDULES[kind])
    x_t, x_next, _ = simulate(kind)
    assert_normal(x_t, mean[:-1] * X0, variance[:-1])
    assert_normal(x_next, mean[1:] * X0, variance[1:])
    beta = SCHEDULES[kind].betas[1:].astype(np.float64)
    assert_normal(np.asarray(x_next) - np.sqrt(1 - beta)[:, None] * np.asarray(x_t), 0.0, beta)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_posterior_draw_has_the_joint_law_of_the_pair(kind):
    """x_t drawn again from q(x_t | x_0, x_{t+1}) stands to x_{t+1} as the x_t it descends from."""
    x_t, x_next, again = (np.asarray(array, np.float64) for array in simulate(kind))
    mean, variance = forward(SCHEDULES[kind])
    assert_normal(again, mean[:-1] * X0, variance[:-1])
    for t in range(N_STEPS):
        pair, drawn = np.cov(x_t[t], x_next[t])[0, 1], np.cov(again[t], x_next[t])[0, 1]
        assert abs(pair - drawn) <= 2 * STANDARD_ERROR * np.sqrt(variance[t] * variance[t + 1]) + 1e-6


def test_posterior_follows_from_bayes_rule(schedule):
    """q(x_t | x_0) q(x_{t+1} | x_t): precisions add, and so do means weighted by them."""
    mean, variance = (array[1:-1] for array in forward(schedule))  # from t = 1 on: x_t at t = 0 is x_0
    beta = schedule.betas[2:].astype(np.float64)
    precision = 1 / variance + (1 - beta) / beta
    np.testing.assert_allclose(schedule.posterior_variance[1:], 1 / precision, rtol=1e-4)
    np.testing.assert_allclose(schedule.posterior_mean_coef1[1:], mean / variance / precision, rtol=1e-4)
    np.testing.assert_allclose(schedule.posterior_mean_coef2[1:], np.sqrt(1 - beta) / beta / precision, rtol=1e-4)
    np.testing.assert_allclose(
        schedule.posterior_log_variance_clipped[1:], np.log(schedule.posterior_variance[1:]), rtol=1e-6
    )


def test_the_last_step_back_returns_x0(schedule):
    assert schedule.posterior_variance[0] == 0
    assert np.isfinite(schedule.posterior_log_variance_clipped).all()
    x0, x_next, noise = jax.random.normal(jax.random.key(1), (3, 5, 2))
    t = jnp.zeros((5,), jnp.int32)
    np.testing.assert_allclose(diffusion.posterior_sample(schedule, x0, x_next, t, noise), x0, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(diffusion.q_sample(schedule, x0, t, jnp.zeros((5, 2))), x0)


def test_rows_may_have_steps_of_their_own_and_leading_axes(schedule):
    x0, noise = jax.random.normal(jax.random.key(2), (2, 3, N_STEPS + 1, 2))
    t = jnp.broadcast_to(jnp.arange(N_STEPS + 1), (3, N_STEPS + 1))
    together = diffusion.q_sample(schedule, x0, t, noise)
    for step in range(N_STEPS + 1):
        mean, deviation = schedule.sqrt_alphas_bar[step], schedule.sigmas_bar[step]
        np.testing.assert_allclose(together[:, step], mean * x0[:, step] + deviation * noise[:, step], rtol=1e-5)


def test_one_step_is_a_schedule():
    schedule = diffusion.make_schedule(0.1, 20.0, 1)
    assert schedule.n_steps == 1
    np.testing.assert_allclose(schedule.posterior_mean_coef1, [1.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ((0.1, 20.0, 0), "n_steps=0"),
        ((0.0, 20.0, 4), "0 < beta_min"),
        ((2.0, 1.0, 4), "betas 2.0..1.0"),
        ((0.1, 20.0, 4, "linear"), "stay below 1"),
        ((0.1, 0.5, 4, "cosine"), "'cosine' is unknown"),
    ],
)
def test_impossible_options_are_refused(options, named):
    with pytest.raises(InputError, match=named):
        diffusion.make_schedule(*options)

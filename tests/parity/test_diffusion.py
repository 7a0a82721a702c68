"""Schedules, posteriors and timestep embeddings against the recorded ones."""

from typing import Literal

import numpy as np
import pytest

from tests.parity.recorded import OUTPUT, assert_close, load, under
from zsl_jax.diffusion import make_schedule
from zsl_jax.nets.layers import timestep_embedding

ARRAYS, META = load("zerodiff_schedule")
KINDS: dict[bool, Literal["linear", "variance_preserving"]] = {True: "linear", False: "variance_preserving"}
LINEAR = META["options"]["use_linear_betas_by_tag"]
# Betas, variances and what posteriors divide by are differences of float32 numbers near 1: so much may come off each.
ROUNDING = 2.0**-20
PRIOR = {"betas": 1, "sigmas": 2, "sqrt_alphas": 1, "sqrt_alphas_bar": 1, "sigmas_bar": 2}  # power that is compared
POSTERIOR = (
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
)


def assert_within(actual, recorded, rounding, what):
    """Entries differ by no more than OUTPUT of the largest and `rounding`."""
    assert actual.shape == recorded.shape
    assert np.all(np.abs(actual - recorded) <= OUTPUT * np.max(np.abs(recorded)) + rounding), what


@pytest.mark.parametrize(("tag", "n_steps"), [(tag, n) for tag in LINEAR for n in META["options"][tag]["n_T"]])
def test_schedule_equals_recorded(tag, n_steps):
    options = META["options"][tag]
    schedule = make_schedule(options["beta1"], options["beta2"], n_steps, KINDS[LINEAR[tag]])
    prior, posterior = under(ARRAYS, f"{tag}/n{n_steps}/prior"), under(ARRAYS, f"{tag}/n{n_steps}/post")
    assert schedule.n_steps == n_steps
    for name, power in PRIOR.items():
        assert_within(getattr(schedule, name) ** power, prior[name] ** power, ROUNDING, name)
    for name in POSTERIOR:
        assert_within(getattr(schedule, name), posterior[name], ROUNDING / prior["sigmas_bar"][1:] ** 2, name)


@pytest.mark.parametrize("dim", META["options"]["temb"]["dims"])
def test_timestep_embeddings_equal_recorded(dim):
    if dim == 1:
        pytest.skip("the original returns an empty array for one column; ours a column of zeros")
    ours, recorded = timestep_embedding(ARRAYS["temb/t"], dim), ARRAYS[f"temb/d{dim}"]
    for row, step in enumerate(ARRAYS["temb/t"]):
        # An angle near `step` is a float32 whose neighbours are step * 2^-23 away.
        assert_close(ours[row], recorded[row], OUTPUT + step * 2.0**-23, what=f"t = {step}")


def test_fractional_timestep_embedding_equals_recorded():
    dim = META["options"]["temb"]["frac_dim"]
    assert_close(timestep_embedding(ARRAYS["temb/frac_t"], dim), ARRAYS[f"temb/frac_d{dim}"])

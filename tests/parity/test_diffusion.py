"""Schedules, posteriors and timestep embeddings against the recorded ones."""

from typing import Literal

import pytest

from tests.parity.recorded import OUTPUT, assert_close, load, under
from zsl_jax.diffusion import make_schedule
from zsl_jax.nets.layers import timestep_embedding

ARRAYS, META = load("zerodiff_schedule")
KINDS: dict[str, Literal["variance_preserving", "linear"]] = {"vp": "variance_preserving", "linear_fixed": "linear"}
PRIOR = ("betas", "sigmas", "sqrt_alphas", "sqrt_alphas_bar", "sigmas_bar")
POSTERIOR = (
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
)


def cases():
    for tag in KINDS:
        for n_steps in META["options"][tag]["n_T"]:
            yield tag, n_steps


@pytest.mark.parametrize(("tag", "n_steps"), list(cases()))
def test_schedule_equals_recorded(tag, n_steps):
    options = META["options"][tag]
    schedule = make_schedule(options["beta1"], options["beta2"], n_steps, KINDS[tag])
    prior, posterior = under(ARRAYS, f"{tag}/n{n_steps}/prior"), under(ARRAYS, f"{tag}/n{n_steps}/post")
    assert schedule.n_steps == n_steps
    # With many steps betas and sigmas are differences of float32 numbers near 1, so units in the last place show.
    tolerance = OUTPUT if n_steps < 100 else 10 * OUTPUT
    for name in PRIOR:
        assert_close(getattr(schedule, name), prior[name], tolerance, what=name)
    for name in POSTERIOR:
        assert_close(getattr(schedule, name), posterior[name], tolerance, what=name)


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

"""Parity is of the programs that users run: XLA optimises them as it does by default."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def _optimised():
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)

"""Prototype classifiers: the published schedule of the rate (what they learn: test_evaluate)."""

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.evaluation import prototype


def test_the_rate_falls_in_steps():
    options, params = prototype.Options(lr=1.0, weight_decay=0.0, decay_every=2), jnp.ones(())
    adam = prototype.optimiser(options, batches=3)
    state, sizes = adam.init(params), []
    for _ in range(8):
        with jax.numpy_dtype_promotion("standard"):
            steps, state = adam.update(jnp.ones(()), state, params)
        sizes += jax.tree.leaves(steps)
    np.testing.assert_allclose(sizes, [-1.0] * 6 + [-0.1] * 2, rtol=1e-4)

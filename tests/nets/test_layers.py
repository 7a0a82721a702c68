"""Shared layers: the same functions as their textbook forms, and published starting weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import random_like
from zsl_jax.nets import layers

WIDTHS = {"z": 3, "a": 2, "noisy": 4}


def fresh(module, *inputs):
    """Random parameters for a module."""
    return random_like(jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"])


@pytest.mark.parametrize("leading", [(5,), (2, 5)])
def test_split_dense_is_a_dense_layer_on_the_concatenation(leading):
    random = np.random.default_rng(0)
    inputs = {name: jnp.asarray(random.normal(size=(*leading, w)), jnp.float32) for name, w in WIDTHS.items()}
    split, joined = layers.SplitDense(6), layers.dense(6)
    params = fresh(split, inputs)
    kernel = jnp.concatenate([params[name] for name in WIDTHS])

    @jax.jit
    def both(inputs):
        def ours(inputs):
            return jnp.sum(jnp.sin(layers.apply(split, params, inputs)))

        def theirs(inputs):
            whole = jnp.concatenate([inputs[name] for name in WIDTHS], axis=-1)  # jit sorts the names
            return jnp.sum(jnp.sin(layers.apply(joined, {"kernel": kernel, "bias": params["bias"]}, whole)))

        split_value = layers.apply(split, params, inputs)
        return split_value, [jax.value_and_grad(function)(inputs) for function in (ours, theirs)]

    value, (ours, theirs) = both(inputs)
    assert value.shape == (*leading, 6)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_published_weights():
    shapes = {
        "net": {
            "kernel": jax.ShapeDtypeStruct((120, 70), jnp.float32),
            "bias": jax.ShapeDtypeStruct((70,), jnp.float32),
        },
        "other": jax.ShapeDtypeStruct((60, 140), jnp.float32),
    }
    drawn = layers.draw_published(jax.random.key(0), shapes)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), drawn) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), shapes
    )
    np.testing.assert_array_equal(drawn["net"]["bias"], 0.0)
    first, second = np.asarray(drawn["net"]["kernel"]).ravel(), np.asarray(drawn["other"]).ravel()
    for kernel in (first, second):
        error = 0.02 / np.sqrt(kernel.size)
        assert abs(kernel.mean()) < 5 * error
        assert abs(kernel.std() - 0.02) < 5 * error / np.sqrt(2)
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(first.size)


def test_other_keys_other_weights():
    shapes = {"kernel": jax.ShapeDtypeStruct((3, 2), jnp.float32)}
    one, same, other = (layers.draw_published(jax.random.key(seed), shapes)["kernel"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()


def test_leaky_relu():
    np.testing.assert_allclose(layers.leaky_relu(jnp.asarray([-5.0, 0.0, 2.0])), [-1.0, 0.0, 2.0])


@pytest.mark.parametrize("dim", [1, 2, 6, 7])
def test_sinusoids_in_closed_form(dim):
    t, half = np.array([0.0, 1.0, 2.5]), dim // 2
    angles = t[:, None] * 10_000.0 ** (-np.arange(half) / max(half, 1))
    known = np.concatenate([np.cos(angles), np.sin(angles), np.zeros((3, dim % 2))], axis=1)
    found = layers.timestep_embedding(t, dim)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, known, atol=1e-6)


def test_a_time_embedding_embeds_each_row():
    time, t = layers.TimeEmbedding(4, 6, 5), jnp.asarray([[3, 0, 1], [2, 2, 3]], jnp.int32)
    params = fresh(time, t)
    rows = layers.timestep_embedding(np.asarray(t).ravel(), 6).reshape(2, 3, 6)
    by_row = jax.jit(layers.Embedding(5).apply)({"params": params["mlp"]}, jnp.asarray(rows))
    np.testing.assert_allclose(jax.jit(time.apply)({"params": params}, t), by_row, rtol=1e-5, atol=1e-6)

"""ZeroDiff's nets: what they see, how wide they are, and the ends of their output."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import random_like
from zsl_jax.nets import layers
from zsl_jax.nets.zerodiff import Critic, Encoder, Generator, SemanticDecoder

ROWS, Z, A, X, R, T = 6, 3, 2, 5, 4, 4
WIDTH = 7


def given(seed: int = 0) -> dict[str, jax.Array]:
    """Inputs of ROWS rows by name."""
    random = np.random.default_rng(seed)
    widths = {"z": Z, "a": A, "x": X, "r": R}
    rows = {name: jnp.asarray(random.normal(size=(ROWS, width)), jnp.float32) for name, width in widths.items()}
    return rows | {"t": jnp.asarray(np.arange(ROWS) % T, jnp.int32)}


def fresh(module, *inputs):
    """Random parameters for a module."""
    return random_like(jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"])


@functools.partial(jax.jit, static_argnums=0)
def apply(net, params, *inputs):
    return layers.apply(net, params, *inputs)


def generator_inputs(rows, with_r: bool):
    return rows["z"], rows["a"], rows["x"], rows["t"], *([rows["r"]] if with_r else [])


@pytest.mark.parametrize("embed_dim", [A, 64])
@pytest.mark.parametrize("with_r", [True, False])
def test_generator_widths_and_range(embed_dim, with_r):
    net, inputs = Generator(WIDTH, X, T, 8, embed_dim), generator_inputs(given(), with_r)
    params = fresh(net, *inputs)
    kernels = {name: leaf.shape for name, leaf in params["hidden"].items()}
    wanted = {"bias": (WIDTH,), "z": (Z, WIDTH), "a": (A, WIDTH), "noisy": (X, WIDTH), "t": (embed_dim, WIDTH)}
    assert kernels == wanted | ({"r": (embed_dim, WIDTH)} if with_r else {})
    assert ("embed_r" in params) == with_r
    small = jax.tree.map(lambda leaf: 0.1 * leaf, params)
    made = apply(net, small, *inputs)
    assert made.shape == (ROWS, X)
    assert (made > 0).all()
    assert (made < 1).all()


def test_generator_takes_leading_axes():
    net, inputs = Generator(WIDTH, X, T, 8, 6), generator_inputs(given(), True)
    params = fresh(net, *inputs)
    folded = [leaf.reshape(2, ROWS // 2, *leaf.shape[1:]) for leaf in inputs]
    whole = apply(net, params, *inputs)
    np.testing.assert_allclose(apply(net, params, *folded).reshape(ROWS, X), whole, rtol=1e-5)


def test_generator_sees_all_its_inputs():
    net, inputs = Generator(WIDTH, X, T, 8, 6), generator_inputs(given(), True)
    params, others = fresh(net, *inputs), generator_inputs(given(1), True)
    others = (*others[:3], (inputs[3] + 1) % T, others[4])
    whole = apply(net, params, *inputs)
    for place in range(5):
        changed = [*inputs[:place], others[place], *inputs[place + 1 :]]
        assert (apply(net, params, *changed) != whole).any(), place


@pytest.mark.parametrize("embed_type", ["V", "VA"])
def test_encoder_sees_semantics_if_its_type_says_so(embed_type):
    net, rows = Encoder(WIDTH, Z, embed_type), given()
    params = fresh(net, rows["x"], rows["a"])
    assert params["hidden2"]["kernel"].shape == (WIDTH, 2 * Z)
    mean, log_variance = apply(net, params, rows["x"], rows["a"])
    assert mean.shape == log_variance.shape == (ROWS, Z)
    assert (mean != log_variance).any()
    moved = apply(net, params, rows["x"], rows["a"] + 1.0)
    assert bool((moved[0] != mean).any()) == (embed_type == "VA")


@pytest.mark.parametrize("names", [("a",), ("next", "a", "r", "t"), ("r",), ("next", "a", "t")])
def test_a_critic_is_what_its_conditions_make_it(names):
    net, rows = Critic(WIDTH, T, 8, A), given()
    conditions = {name: rows["x" if name == "next" else name] for name in names}
    params = fresh(net, rows["x"], conditions)
    assert set(params["conditions"]["hidden"]) == {"bias", *names}
    assert set(params["conditions"]) == {"hidden"} | ({"embed_r", "embed_t"} & {f"embed_{name}" for name in names})
    scores = apply(net, params, rows["x"], conditions)
    assert scores.shape == (ROWS,)
    for name in names:
        other = (conditions[name] + 1) % T if name == "t" else conditions[name] + 1.0
        assert (apply(net, params, rows["x"], conditions | {name: other}) != scores).any(), name


@pytest.mark.parametrize("normalize", [True, False])
def test_decoder_normalises_if_the_semantics_are(normalize):
    net, x = SemanticDecoder(WIDTH, A, normalize), given()["x"]
    params = fresh(net, x)
    out, hidden = apply(net, params, x)
    assert (out.shape, hidden.shape) == ((ROWS, A), (ROWS, WIDTH))
    inner = np.asarray(x) @ params["hidden"]["kernel"] + params["hidden"]["bias"][None, :]
    wanted = np.where(inner > 0, inner, 0.2 * inner)
    np.testing.assert_allclose(hidden, wanted, rtol=1e-4, atol=1e-5)
    plain = wanted @ params["out"]["kernel"] + params["out"]["bias"][None, :]
    wanted = plain / np.linalg.norm(plain, axis=1, keepdims=True) if normalize else plain
    np.testing.assert_allclose(out, wanted, rtol=1e-3, atol=1e-4)


def test_decoder_of_a_zero_row_is_zero_and_so_is_its_gradient():
    net, x = SemanticDecoder(WIDTH, A, True), jnp.zeros((2, X))
    params = {name: layer | {"bias": jnp.zeros_like(layer["bias"])} for name, layer in fresh(net, x).items()}
    value, gradients = jax.value_and_grad(lambda p: jnp.sum(layers.apply(net, p, x)[0]))(params)
    assert value == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradients))

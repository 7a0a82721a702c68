"""Losses against closed forms, and their gradients where a formula breaks down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import random_like
from zsl_jax import losses
from zsl_jax.nets.layers import apply
from zsl_jax.nets.zerodiff import Critic

ROWS, STEPS, WIDTH = 5, 4, 7
SIZES = {"next": 4, "a": 3, "r": 6}
CONDITIONS = {"x0": ("a",), "xt": ("next", "a", "r", "t"), "xc": ("r",), "rt": ("next", "a", "t")}


def normals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def critic_case(name: str):
    """A critic with random weights; real and fake rows, interpolation weights and conditions."""
    critic, width = Critic(WIDTH, STEPS, 2, 3), SIZES["next"]
    given = {one: jnp.asarray(normals(ROWS, SIZES[one], seed=i)) for i, one in enumerate(SIZES)}
    given["t"] = jnp.asarray([0, 3, 1, 2, 0], jnp.int32)
    given = {one: given[one] for one in CONDITIONS[name]}
    real, fake = jnp.asarray(normals(2, ROWS, width, seed=9))
    shapes = jax.eval_shape(critic.init, jax.random.key(0), real, given)["params"]
    alpha = jnp.asarray(np.random.default_rng(8).random((ROWS, 1)), jnp.float32)
    return critic, random_like(shapes), real, fake, alpha, given


def scores(critic, params, x, given):
    return apply(critic, params, x, given)


def differentiated_norms(critic, params, real, fake, alpha, given):
    """Gradient norms at the interpolated rows, by differentiation."""
    middle = alpha * real + (1 - alpha) * fake
    gradients = jax.grad(lambda x: jnp.sum(scores(critic, params, x, given)))(middle)
    return jnp.sqrt(jnp.sum(gradients**2, axis=-1))


def compare(critic, params, *rows):
    return apply(critic, params, *rows, method=Critic.compare)


@pytest.mark.parametrize("name", CONDITIONS)
def test_critics_compare_as_by_differentiating_twice(name):
    critic, params, *rows = critic_case(name)

    def measure(norms):
        return losses.gradient_penalty(norms), norms

    @jax.jit
    def both(params):
        ours = jax.value_and_grad(lambda p: measure(compare(critic, p, *rows).gradient_norms), has_aux=True)(params)
        theirs = jax.value_and_grad(lambda p: measure(differentiated_norms(critic, p, *rows)), has_aux=True)(params)
        return ours, theirs

    ((penalty, norms), gradients), ((wanted, wanted_norms), wanted_gradients) = both(params)
    np.testing.assert_allclose(norms, wanted_norms, rtol=1e-5)
    np.testing.assert_allclose(penalty, wanted, rtol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(wanted_gradients), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(penalty))


@pytest.mark.parametrize("name", ["x0", "xt"])
def test_critics_compare_with_the_scores_of_calls(name):
    critic, params, real, fake, alpha, given = critic_case(name)

    def by_comparing(params):
        found = compare(critic, params, real, fake, alpha, given)
        return jnp.mean(found.real) - 2.0 * jnp.mean(found.fake), (found.real, found.fake)

    def by_calling(params):
        found = scores(critic, params, real, given), scores(critic, params, fake, given)
        return jnp.mean(found[0]) - 2.0 * jnp.mean(found[1]), found

    (ours, gradients), (wanted, wanted_gradients) = jax.jit(
        lambda p: [jax.value_and_grad(by, has_aux=True)(p) for by in (by_comparing, by_calling)]
    )(params)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    last_bias = gradients["score"].pop("bias")
    np.testing.assert_array_equal(last_bias, 0.0)  # no loss of real minus fake depends on it
    del wanted_gradients["score"]["bias"]
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(wanted_gradients), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_gradient_penalty_of_a_linear_critic_is_known():
    """Far inside the linear part of its hidden layer the critic is w'W x + c, whose gradient norm is |W w|."""
    critic, params, *rows = critic_case("x0")
    params["conditions"]["hidden"]["bias"] = jnp.full((WIDTH,), 1e3)
    norms = compare(critic, params, *rows).gradient_norms
    slope = np.linalg.norm(np.asarray(params["x"]["kernel"]) @ np.asarray(params["score"]["kernel"]))
    np.testing.assert_allclose(norms, np.full(ROWS, slope), rtol=1e-5)
    np.testing.assert_allclose(losses.gradient_penalty(norms), (slope - 1) ** 2, rtol=1e-4)


def test_gradient_penalty_is_zero_at_unit_norms():
    value, gradient = jax.value_and_grad(losses.gradient_penalty)(jnp.ones(4))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    np.testing.assert_allclose(losses.gradient_penalty(jnp.asarray([0.0, 3.0])), (1 + 4) / 2)


def test_row_norms_have_a_gradient_at_zero():
    rows = jnp.asarray([[3.0, -4.0], [0.0, 0.0]])
    gradient = jax.grad(lambda x: jnp.sum(losses.row_norms(x)))(rows)
    np.testing.assert_allclose(losses.row_norms(rows), [5.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(gradient, [[0.6, -0.8], [0.0, 0.0]], rtol=1e-6)


def test_weighted_l1_and_its_gradient():
    predicted, target = normals(4, 3), normals(4, 3, seed=1)
    value, gradient = jax.value_and_grad(losses.weighted_l1)(jnp.asarray(predicted), jnp.asarray(target))
    d = (predicted - target).astype(np.float64)
    norm, cubes = np.linalg.norm(d, axis=1, keepdims=True), np.sum(np.abs(d) ** 3, axis=1, keepdims=True)
    np.testing.assert_allclose(value, np.mean(cubes / norm), rtol=1e-5)
    np.testing.assert_allclose(gradient, (3 * d * np.abs(d) / norm - d * cubes / norm**3) / 4, rtol=1e-4, atol=1e-6)


def test_weighted_l1_of_equal_rows_gives_no_gradient():
    same = jnp.asarray(normals(2, 3))
    value, gradient = jax.value_and_grad(losses.weighted_l1)(same, same)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_mean_squared():
    np.testing.assert_allclose(losses.mean_squared(jnp.asarray([[1.0, 2.0]]), jnp.asarray([[0.0, 4.0]])), 2.5)


def test_binary_cross_entropy_and_its_gradient():
    random = np.random.default_rng(0)
    p, x = random.uniform(0.05, 0.95, (2, 4, 3))
    value, gradient = jax.value_and_grad(losses.binary_cross_entropy)(*(jnp.asarray(a, jnp.float32) for a in (p, x)))
    np.testing.assert_allclose(value, -np.mean(np.sum(x * np.log(p) + (1 - x) * np.log(1 - p), axis=1)), rtol=1e-5)
    np.testing.assert_allclose(gradient, (p - x) / (p * (1 - p)) / 4, rtol=1e-4)


@pytest.mark.parametrize(
    ("predicted", "target", "value"),
    [(0.0, 1.0, -np.log(1e-12)), (1.0, 0.0, 100.0), (0.0, 0.0, 0.0), (1.0, 1.0, 0.0)],
)
def test_binary_cross_entropy_of_saturated_predictions(predicted, target, value):
    p, x = jnp.asarray([[predicted]]), jnp.asarray([[target]])
    found, gradient = jax.value_and_grad(losses.binary_cross_entropy)(p, x)
    np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)
    assert np.isfinite(gradient).all()


def test_kl_of_known_gaussians():
    assert losses.kl_to_standard_normal(jnp.zeros((3, 2)), jnp.zeros((3, 2))) == 0
    mean, deviation = np.array([[1.0, -2.0], [0.5, 0.0]]), np.array([[1.0, 0.5], [3.0, 0.1]])
    known = np.log(1 / deviation) + (deviation**2 + mean**2) / 2 - 0.5
    found = losses.kl_to_standard_normal(
        jnp.asarray(mean, jnp.float32), jnp.asarray(2 * np.log(deviation), jnp.float32)
    )
    np.testing.assert_allclose(found, np.mean(known.sum(axis=1)), rtol=1e-5)


def test_mutual_learning_draws_each_critic_to_the_others_one_way():
    x0, xt, xc = normals(3, ROWS).astype(np.float64)
    w = np.random.default_rng(1).random(ROWS)
    given = [jnp.asarray(a, jnp.float32) for a in (x0, xt, xc, w)]
    value, gradients = jax.value_and_grad(losses.mutual_learning, argnums=(0, 1, 2))(*given)
    np.testing.assert_allclose(
        value, np.mean(2 * w * ((x0 - xt) ** 2 + (xc - xt) ** 2) + 2 * (x0 - xc) ** 2), rtol=1e-5
    )
    # Half of what a symmetric loss would give: the target of each term gets no gradient.
    wanted = (w * (x0 - xt) + (x0 - xc), w * (2 * xt - x0 - xc), w * (xc - xt) + (xc - x0))
    for found, known in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(found, 2 * known / ROWS, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("penalty", "factor"),
    [(2.0, 1.1), (1.0501, 1.1), (1.05, 1.0), (1.02, 1.0), (1.0011, 1.0), (1.0009, 1 / 1.1), (0.0, 1 / 1.1)],
)
def test_lambda_adapts_outside_a_dead_band(penalty, factor):
    np.testing.assert_allclose(losses.adapt_lambda(jnp.float32(10), jnp.float32(penalty)), 10 * factor, rtol=1e-6)


def test_a_penalty_without_value_leaves_lambda():
    assert losses.adapt_lambda(jnp.float32(10), jnp.float32(np.nan)) == 10

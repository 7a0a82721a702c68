"""Counting matrix products in a trace."""

import jax
import jax.numpy as jnp
import pytest

from zsl_jax.benchmarking import costs

A, B = jax.ShapeDtypeStruct((3, 4), jnp.float32), jax.ShapeDtypeStruct((4, 5), jnp.float32)


def test_one_product():
    (product,) = costs.products(lambda a, b: a @ b, A, B)
    assert (product.out, product.flops, product.bytes) == ((3, 5), 2 * 3 * 4 * 5, 4 * (12 + 20 + 15))


def test_a_gradient_has_three_products():
    counts = costs.products(jax.grad(lambda a, b: jnp.sum((a @ b) ** 2), argnums=(0, 1)), A, B)
    assert costs.total(counts, "flops") == 3 * 2 * 3 * 4 * 5


def test_a_scan_counts_each_of_its_steps():
    def step(a, _):
        return jax.jit(lambda x: x @ jnp.ones((4, 4)))(a), None

    counts = costs.products(lambda a: jax.lax.scan(step, a, None, length=7)[0], A)
    assert sum(counts.values()) == 7
    assert costs.total(counts, "flops") == 7 * 2 * 3 * 4 * 4


@pytest.mark.parametrize("turned", [False, True])
def test_the_dearest_branch_of_a_conditional_counts(turned):
    cheap, dear = lambda a, b: a @ b, lambda a, b: (a @ b @ b.T) @ b
    branches = (dear, cheap) if turned else (cheap, dear)
    counts = costs.products(lambda one, a, b: jax.lax.cond(one, *branches, a, b), jnp.bool_(True), A, B)
    assert costs.total(counts, "flops") == 3 * 2 * 3 * 4 * 5


def test_batch_dimensions():
    stacked = jax.ShapeDtypeStruct((6, 3, 4), jnp.float32)
    other = jax.ShapeDtypeStruct((6, 4, 5), jnp.float32)
    counts = costs.products(lambda a, b: jnp.einsum("bik,bkj->bij", a, b), stacked, other)
    (product,) = counts
    assert sorted(product.out) == [3, 5, 6]
    assert product.flops == 2 * 6 * 3 * 4 * 5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_product_can_be_measured(dtype, monkeypatch):
    monkeypatch.setattr(costs, "LEAST_SECONDS", 1e-4)
    dimensions = (((1,), (0,)), ((), ()))
    assert costs.seconds_of(costs.Product((3, 4), (4, 5), dtype, dimensions)) > 0

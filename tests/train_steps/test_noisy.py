"""Noise on the semantics of batches."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zsl_jax.config import presets
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Batch, Method, vector_spec
from zsl_jax.train_steps.noisy import with_noise

UPDATES, ROWS, A = 2, 400, 5


def echo(*given: Any) -> tuple[Any, Any]:
    """A step that changes nothing and tells its batches."""
    return given[0], given[1]


@pytest.fixture
def method() -> Any:
    nothing: Any = lambda *_: None  # noqa: E731
    return Method("echo", UPDATES, nothing, echo, nothing, mapped_step=echo)


def batches() -> Batch:
    labels = jnp.zeros((UPDATES, ROWS), jnp.int32)
    return Batch({"x": jnp.ones((UPDATES, ROWS, 3))}, jnp.full((UPDATES, ROWS, A), 2.0), labels)


def test_rows_get_noise_of_their_own_that_the_key_decides(method):
    step: Any = with_noise(method, 0.5).train_step
    one, again, other = (step(None, batches(), jax.random.key(seed))[1] for seed in (0, 0, 1))
    added = np.asarray(one.a - 2.0)
    count = added.size
    assert abs(added.mean()) < 4 * 0.5 / np.sqrt(count)
    assert added.std() == pytest.approx(0.5, rel=4 / np.sqrt(2 * count))
    assert len(np.unique(added)) > 0.99 * count
    np.testing.assert_array_equal(one.a, again.a)
    assert not np.isin(one.a, other.a).any()
    np.testing.assert_array_equal(one.views["x"], batches().views["x"])


def test_devices_share_one_draw(method):
    noisy: Any = with_noise(method, 0.5)
    whole = noisy.train_step(None, batches(), jax.random.key(0))[1].a
    halves = jax.tree.map(lambda leaf: jnp.stack(jnp.split(leaf, 2, axis=1)), batches())
    shared = jax.vmap(lambda half: noisy.mapped_step(None, half, jax.random.key(0), "rows")[1].a, axis_name="rows")
    np.testing.assert_array_equal(jnp.concatenate(shared(halves), axis=1), whole)


def test_it_is_part_of_what_tells_methods_apart():
    spec = vector_spec(x_dim=6, r_dim=0, a_dim=A, n_classes=3)
    config = presets.own("tfvaegan")
    made = []
    for deviation in (0.0, 0.1, 0.1, 0.2):
        config.tfvaegan.semantic_noise = deviation
        made.append(registry.build(config, "tfvaegan", spec))
    assert made[1] is made[2]
    assert len(set(map(id, made))) == 3

"""The softmax classifier: order of rows, accumulation, and what it can learn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zsl_jax.evaluation import classifier

N, FEATURES, CLASSES, BATCH = 50, 6, 3, 8


@pytest.mark.parametrize(("n", "batch", "epochs"), [(50, 8, 5), (48, 8, 3), (5, 8, 4)])
def test_draw_order_is_a_stream_of_shuffles(n, batch, epochs):
    order = classifier.draw_order(jax.random.key(0), n, batch, epochs)
    assert order.shape == (epochs, -(-n // batch), batch)
    assert order.dtype == jnp.int32
    stream = np.asarray(order).reshape(-1)
    passes = [stream[i : i + n] for i in range(0, stream.size, n)]
    for one_pass in passes[:-1]:
        assert sorted(one_pass) == list(range(n))
    assert len(set(passes[-1])) == len(passes[-1])
    assert len({tuple(one_pass) for one_pass in passes}) == len(passes)


def test_more_epochs_only_add_to_the_order():
    short, long = (classifier.draw_order(jax.random.key(1), N, BATCH, epochs) for epochs in (2, 5))
    np.testing.assert_array_equal(short, long[:2])


def test_split_batch_keeps_every_row_once():
    rows = jnp.arange(10, dtype=jnp.int32)
    for chunk_rows in (3, 5, 10, 99):
        numbers, share = classifier.split_batch(rows, chunk_rows)
        assert numbers.shape[1] <= chunk_rows
        kept = np.asarray(share) > 0
        np.testing.assert_array_equal(np.asarray(numbers)[kept], rows)
        np.testing.assert_allclose(np.asarray(share)[kept], 0.1)


def test_starting_weights_are_as_published():
    linear = classifier.init(jax.random.key(2), 300, 40)
    assert float(jnp.abs(linear.bias).max()) == 0.0
    assert float(linear.weights.std()) == pytest.approx(0.02, rel=0.05)


@functools.cache
def data() -> tuple[jax.Array, jax.Array]:
    """Separable rows."""
    random = np.random.default_rng(0)
    labels = random.integers(CLASSES, size=N)
    features = 3 * np.eye(CLASSES, FEATURES)[labels] + 0.3 * random.normal(size=(N, FEATURES))
    return jnp.asarray(features, jnp.float32), jnp.asarray(labels, jnp.int32)


@functools.cache
def fit(chunk_rows: int = 4096, epochs: int = 6, keep: int = -1) -> classifier.Fit:
    features, labels = data()
    start = classifier.init(jax.random.key(0), FEATURES, CLASSES)
    order = classifier.draw_order(jax.random.key(1), N, BATCH, epochs)

    def run(start, order, labels, features, keep):
        measure = lambda linear: linear.bias  # noqa: E731
        return classifier.fit(
            start,
            order,
            labels,
            lambda rows: features[rows],
            measure,
            classifier.adam(jnp.float32(0.05)),
            keep,
            chunk_rows,
        )

    return jax.jit(run)(start, order, labels, features, jnp.int32(keep % epochs))


def test_it_learns_separable_rows():
    features, labels = data()
    result = fit()
    assert float(result.losses[-1].mean()) < 0.1 * float(result.losses[0, 0])
    assert bool(jnp.all(classifier.scores(result.kept, features).argmax(1).astype(jnp.int32) == labels))


def test_pieces_of_a_minibatch_sum_to_its_gradient():
    whole, pieces = fit(), fit(chunk_rows=3)
    for ours, theirs in zip(jax.tree.leaves(pieces), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_first_step_follows_the_gradient_at_the_learning_rate():
    """Adam's first step is the sign of the gradient times the rate."""
    features, labels = data()
    start = classifier.init(jax.random.key(0), FEATURES, CLASSES)
    order = classifier.draw_order(jax.random.key(1), N, BATCH, 1)[:, :1]
    rate = jnp.float32(0.01)
    adam, first = classifier.adam(rate), jnp.int32(0)
    result = classifier.fit(start, order, labels, lambda rows: features[rows], lambda linear: None, adam, first)
    one_hot = jax.nn.one_hot(labels[order[0, 0]], CLASSES)
    error = jax.nn.softmax(classifier.scores(start, features[order[0, 0]])) - one_hot
    np.testing.assert_allclose(
        result.kept.weights - start.weights, -rate * jnp.sign(error.T @ features[order[0, 0]]), atol=1e-5
    )


def test_the_epoch_asked_for_is_kept():
    kept = fit(keep=2)
    np.testing.assert_array_equal(kept.kept.bias, kept.measures[2])
    np.testing.assert_array_equal(fit().kept.bias, fit().measures[-1])

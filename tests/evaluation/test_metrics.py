"""Accuracies, the exact seen-unseen curve and its area, on cases done by hand and by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zsl_jax.evaluation import metrics


def test_per_class_accuracy_by_hand():
    labels = [0, 0, 0, 0, 5, 5]
    predicted = [0, 0, 0, 5, 5, 0]
    np.testing.assert_allclose(metrics.per_class_accuracy(predicted, labels, [5, 0]), [0.5, 0.75])
    assert metrics.mean_accuracy(predicted, labels, [0, 5]) == 0.625
    with pytest.raises(ValueError, match="one label for each row"):
        metrics.mean_accuracy(predicted, [0], [0, 5])  # else it would be broadcast


def test_empty_classes_are_skipped_counted_zero_or_nan():
    labels, predicted, classes = [0, 0], [0, 0], [0, 1]
    assert metrics.mean_accuracy(predicted, labels, classes) == 1.0
    assert metrics.mean_accuracy(predicted, labels, classes, "zero") == 0.5
    assert np.isnan(metrics.mean_accuracy(predicted, labels, classes, "nan"))
    assert metrics.mean_accuracy([], [], classes) == 0.0
    with pytest.raises(ValueError, match="empty='drop'"):
        metrics.per_class_accuracy(predicted, labels, classes, "drop")  # pyright: ignore[reportArgumentType]


def test_harmonic_mean():
    assert metrics.harmonic_mean(0.0, 0.0) == 0.0
    assert metrics.harmonic_mean(0.3, 0.6) == pytest.approx(0.4)
    np.testing.assert_allclose(metrics.harmonic_mean(jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0])), [0.0, 1.0])


def test_class_balance_makes_hits_a_mean_over_classes():
    labels = np.array([3, 3, 3, 8])
    weights = metrics.class_balance(labels)
    hit = np.array([True, False, False, True])
    assert weights[hit].sum() == pytest.approx(metrics.mean_accuracy(np.where(hit, labels, -1), labels, [3, 8]))


def test_weighted_accuracy_ignores_rows_that_are_not_finite():
    scores = jnp.array([[0.0, 1.0], [jnp.nan, jnp.nan], [2.0, 1.0]])
    labels, weights = jnp.array([1, 0, 1], jnp.int32), jnp.array([0.5, 0.25, 0.25])
    assert metrics.weighted_accuracy(scores, labels, weights) == 0.5


def random_scores(seed: int, n: int = 200, n_seen: int = 5, n_unseen: int = 4, levels: int = 0):
    """Random scores [n, C], labels and weights; with `levels`, scores are small integers, so that many tie."""
    random = np.random.default_rng(seed)
    labels = random.integers(n_seen + n_unseen, size=n).astype(np.int32)
    scores = random.normal(size=(n, n_seen + n_unseen)) + 1.5 * np.eye(n_seen + n_unseen)[labels]
    if levels:
        scores = np.round(scores * levels) / levels
    weights = np.zeros(n, np.float32)
    for part in (labels < n_seen, labels >= n_seen):
        weights[part] = metrics.class_balance(labels[part])
    return scores.astype(np.float32), labels, weights, n_seen


def gains(seed: int, levels: int = 0) -> metrics.Gains:
    scores, labels, weights, n_seen = random_scores(seed, levels=levels)
    return metrics.gains(jnp.asarray(scores), jnp.asarray(labels), jnp.asarray(weights), n_seen)


@pytest.mark.parametrize("gamma", [-2.0, 0.0, 0.7, 50.0])
def test_at_gamma_equals_classifying_shifted_scores(gamma):
    scores, labels, _, n_seen = random_scores(0)
    shifted = scores.copy()
    shifted[:, :n_seen] -= np.float32(gamma)
    predicted, is_seen = shifted.argmax(1), labels < n_seen
    s = metrics.mean_accuracy(predicted[is_seen], labels[is_seen], range(n_seen))
    u = metrics.mean_accuracy(predicted[~is_seen], labels[~is_seen], range(n_seen, scores.shape[1]))
    np.testing.assert_allclose(metrics.at_gamma(gains(0), gamma), (u, s), atol=1e-6)


@pytest.mark.parametrize("levels", [0, 2])
def test_every_point_of_the_curve_is_what_its_gamma_gives(levels):
    rows = gains(1, levels)
    gamma, u, s = metrics.seen_unseen_curve(rows)
    assert np.all(np.diff(gamma) > 0)
    assert np.all(np.diff(u) >= 0)
    assert np.all(np.diff(s) <= 0)
    assert (u[0], s[-1]) == (0.0, 0.0)
    points = jax.vmap(lambda g: metrics.at_gamma(rows, g))(jnp.asarray(gamma, jnp.float32))
    np.testing.assert_allclose(points, (u, s), atol=1e-6)


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_area_counts_pairs_of_rows(levels):
    """AUSUC is the weighted share of (seen row, unseen row) pairs in the right order, ties half, as for a ROC curve."""
    rows = gains(2, levels)
    margin, seen, unseen = (np.asarray(array, np.float64) for array in rows)
    order = (margin[:, None] > margin[None, :]) + 0.5 * (margin[:, None] == margin[None, :])
    pairs = seen @ order @ unseen
    _, u, s = metrics.seen_unseen_curve(rows)
    assert metrics.area(u, s) == pytest.approx(pairs, rel=1e-9)
    assert float(jax.jit(metrics.calibrate)(rows)[0]) == pytest.approx(pairs, rel=1e-5)


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_calibrate_finds_the_best_point_of_the_curve(levels):
    rows = gains(3, levels)
    _, gamma, h = metrics.calibrate(rows)
    curve_gamma, u, s = metrics.seen_unseen_curve(rows)
    curve_h = metrics.harmonic_mean(u, s)
    best = curve_h.argmax()
    assert float(h) == pytest.approx(curve_h[best], rel=1e-5)
    assert float(gamma) == pytest.approx(curve_gamma[best], rel=1e-5)
    np.testing.assert_allclose(metrics.at_gamma(rows, gamma), (u[best], s[best]), atol=1e-6)


def test_perfect_and_hopeless_scores():
    labels, weights = jnp.array([0, 1, 2, 3], jnp.int32), jnp.full(4, 0.5)
    perfect = metrics.gains(jnp.eye(4), labels, weights, 2)
    assert float(metrics.calibrate(perfect)[0]) == 1.0
    assert [float(value) for value in metrics.at_gamma(perfect, 0.0)] == [1.0, 1.0]
    hopeless = metrics.gains(jnp.eye(4)[::-1], labels, weights, 2)
    swapped = metrics.gains(-jnp.eye(4), labels, weights, 2)
    for rows in (hopeless, swapped):
        assert [float(value) for value in metrics.at_gamma(rows, 0.0)] == [0.0, 0.0]
    assert [float(value) for value in metrics.calibrate(swapped)] == [0.0, 0.0, 0.0]
    assert [array.tolist() for array in metrics.seen_unseen_curve(swapped)] == [[0.0], [0.0], [0.0]]


def test_rows_without_weight_change_nothing():
    scores, labels, weights, n_seen = random_scores(4)
    one = metrics.gains(jnp.asarray(scores), jnp.asarray(labels), jnp.asarray(weights), n_seen)
    padded = metrics.gains(
        jnp.pad(jnp.asarray(scores), ((0, 9), (0, 0))),
        jnp.pad(jnp.asarray(labels), (0, 9)),
        jnp.pad(jnp.asarray(weights), (0, 9)),
        n_seen,
    )
    np.testing.assert_allclose(metrics.calibrate(one), metrics.calibrate(padded), rtol=1e-6)


def test_scores_that_are_not_finite_count_as_wrong():
    scores, labels, weights, n_seen = random_scores(5)
    rows = metrics.gains(jnp.full_like(jnp.asarray(scores), jnp.nan), jnp.asarray(labels), jnp.asarray(weights), n_seen)
    assert [float(value) for value in metrics.calibrate(rows)] == [0.0, 0.0, 0.0]


def test_gamma_between_neighbouring_floats_is_exact():
    low = np.float32(1.0)
    margin = jnp.array([low, np.nextafter(low, np.float32(2.0))])
    rows = metrics.Gains(margin, seen=jnp.array([0.0, 1.0]), unseen=jnp.array([1.0, 0.0]))
    _, gamma, h = metrics.calibrate(rows)
    assert float(h) == 1.0
    assert [float(value) for value in metrics.at_gamma(rows, gamma)] == [1.0, 1.0]


def test_bootstrap_covers_the_mean_and_shrinks_with_more_classes():
    random = np.random.default_rng(0)
    few, many = random.uniform(size=10), random.uniform(size=1000)
    intervals = {n.size: metrics.bootstrap(n, n, seed=0, per_class_zsl=n, draws=2000) for n in (few, many)}
    for accuracies in (few, many):
        for low, high in intervals[accuracies.size].values():
            assert low < high
        for name in ("U", "S", "T1"):
            low, high = intervals[accuracies.size][name]
            assert low < accuracies.mean() < high
            assert high - low == pytest.approx(2 * 1.96 * accuracies.std() / np.sqrt(accuracies.size), rel=0.15)
    assert metrics.bootstrap(few, few, seed=0, draws=50) == metrics.bootstrap(few, few, seed=0, draws=50)


def test_bootstrap_of_equal_classes_has_no_width():
    assert metrics.bootstrap([0.5] * 4, [0.5] * 3, seed=0, draws=20) == dict.fromkeys(("U", "S", "H"), (0.5, 0.5))

"""Accuracies, the exact seen-unseen curve and its area, on cases done by hand and by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

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
    assert metrics.best_gamma(jax.device_get(rows)) == curve_gamma[best]
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
    assert metrics.best_gamma(jax.device_get(rows)) == 0.0


def test_arrays_of_numpy_have_the_numbers_of_jax():
    scores, labels, weights, n_seen = random_scores(6)
    ours = metrics.gains(scores, labels, weights, n_seen)
    theirs = metrics.gains(jnp.asarray(scores), jnp.asarray(labels), jnp.asarray(weights), n_seen)
    for one, other in zip(ours, theirs, strict=True):
        assert isinstance(one, np.ndarray)
        np.testing.assert_allclose(one, other, rtol=1e-6)
    np.testing.assert_allclose(metrics.at_gamma(ours, 0.1), metrics.at_gamma(theirs, 0.1), rtol=1e-5)


@pytest.mark.parametrize("module", [jnp, np])
def test_a_row_whose_true_class_is_nan_is_wrong(module):
    """The highest of scores with NaN among them is NaN, and stands where the true class is."""
    scores, labels = module.array([[np.nan, 0.0, 1.0], [0.0, 1.0, np.nan]]), module.array([0, 2])
    found = metrics.gains(scores, labels, module.ones(2), n_seen=2)
    np.testing.assert_array_equal(found.seen, [0, 0])
    np.testing.assert_array_equal(found.unseen, [0, 0])


def test_gamma_between_neighbouring_floats_is_exact():
    low = np.float32(1.0)
    margin = jnp.array([low, np.nextafter(low, np.float32(2.0))])
    rows = metrics.Gains(margin, seen=jnp.array([0.0, 1.0]), unseen=jnp.array([1.0, 0.0]))
    _, gamma, h = metrics.calibrate(rows)
    assert float(h) == 1.0
    assert [float(value) for value in metrics.at_gamma(rows, gamma)] == [1.0, 1.0]


RUNS = 400  # simulated data sets of each coverage
AROUND = {"T1": (0.6, 0.2), "U": (0.4, 0.2), "S": (0.75, 0.1)}  # mean and deviation of the accuracies of classes


def coverage(n_unseen: int, n_seen: int = 20) -> dict[str, float]:
    """How often intervals hold the score of infinitely many classes, accuracies between 0 and 1 drawn around a mean."""
    random = np.random.default_rng(n_unseen)

    def draw(name: str, size: int) -> np.ndarray:
        mean, deviation = AROUND[name]
        count = mean * (1 - mean) / deviation**2 - 1
        return random.beta(mean * count, (1 - mean) * count, size)

    truth = {name: mean for name, (mean, _) in AROUND.items()}
    truth["H"] = float(metrics.harmonic_mean(truth["U"], truth["S"]))
    hits = dict.fromkeys(truth, 0)
    for run in range(RUNS):
        found = metrics.intervals(draw("S", n_seen), draw("U", n_unseen), draw("T1", n_unseen), run, draws=1000)
        hits = {name: hits[name] + (low <= truth[name] <= high) for name, (low, high) in found.items()}
    return {name: count / RUNS for name, count in hits.items()}


@pytest.mark.parametrize("n_unseen", [3, 5, 10])
def test_intervals_cover_what_they_say(n_unseen):
    """95 %, give or take the error of a simulation of 400; a percentile bootstrap covers 74, 84 and 91 % here."""
    found = coverage(n_unseen)
    assert set(found) == {"T1", "U", "S", "H"}
    assert min(found.values()) > 0.92, found


def test_intervals_are_students_and_those_of_t1_are_of_its_own_accuracies():
    seen, unseen, zsl = np.array([0.5, 0.7, 0.9]), np.array([0.2, 0.3]), np.array([0.4, 0.5])
    found = metrics.intervals(seen, unseen, zsl, seed=0)
    half = stats.t.ppf(0.975, 2) * seen.std(ddof=1) / np.sqrt(3)
    assert found["S"] == pytest.approx((max(0.7 - half, 0), min(0.7 + half, 1)))
    assert found["U"] == pytest.approx((0, min(0.25 + stats.t.ppf(0.975, 1) * 0.05, 1)))
    assert found["T1"] == pytest.approx((0, 1))
    assert 0 <= found["H"][0] < metrics.harmonic_mean(0.25, 0.7) < found["H"][1] <= 1
    assert found == metrics.intervals(seen, unseen, zsl, seed=0)


def test_equal_classes_have_no_interval_and_one_class_has_none_at_all():
    found = metrics.intervals([0.5] * 4, [0.5] * 3, [0.25] * 3, seed=0)
    assert found == {"T1": (0.25, 0.25), "U": (0.5, 0.5), "S": (0.5, 0.5), "H": (0.5, 0.5)}
    assert set(metrics.intervals([0.5] * 4, [0.5], [0.25], seed=0)) == {"S"}


def test_scores_that_are_not_finite_are_of_no_class():
    scores = np.array([[1.0, 2.0], [np.nan, 0.0], [np.inf, 0.0], [-np.inf, 0.0], [-np.inf, -np.inf]])
    np.testing.assert_array_equal(metrics.predict(scores), [1, -1, -1, 1, -1])

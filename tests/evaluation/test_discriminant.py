"""Linear discriminant analysis against scikit-learn's, and what may not matter to it."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from zsl_jax.evaluation import classifier, discriminant

CLASSES, EACH, WIDTH = 4, 25, 6


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Rows [n, F] of as many of each class, correlated within them, and their classes, shuffled."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(CLASSES, dtype=np.int32), EACH))
    means, mixing = 2 * rng.normal(size=(CLASSES, WIDTH)), rng.normal(size=(WIDTH, WIDTH))
    return (means[labels] + rng.normal(size=(len(labels), WIDTH)) @ mixing).astype(np.float32), labels


def scores(x: np.ndarray, labels: np.ndarray, shrinkage: float, chunk_rows: int = 7) -> np.ndarray:
    """Class scores of the rows that were trained on, `compared`."""
    held = jnp.asarray(x)
    found = discriminant.fit(lambda n: held[n], jnp.asarray(labels), CLASSES, jnp.float32(shrinkage), chunk_rows)
    return compared(np.asarray(classifier.scores(found, held)))


def compared(given: np.ndarray) -> np.ndarray:
    """Scores of rows up to what they share and a factor."""
    rest = given - given.mean(1, keepdims=True)
    return rest / np.maximum(rest.std(), 1e-9)


def test_without_shrinkage_it_is_that_of_scikit_learn(rows):
    x, labels = rows
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(x, labels).decision_function(x)
    np.testing.assert_allclose(scores(x, labels, 0.0), compared(theirs), atol=1e-3)


def test_wholly_shrunk_it_sees_no_correlation(rows):
    """Then it is naive Bayes with variances that the classes share."""
    x, labels = rows
    means = np.stack([x[labels == label].mean(0) for label in range(CLASSES)])
    variances = ((x - means[labels]) ** 2).mean(0)
    expected = -0.5 * ((x[:, None] - means[None]) ** 2 / variances[None, None]).sum(2)
    np.testing.assert_allclose(scores(x, labels, 1.0), compared(expected), atol=1e-3)


def test_units_of_features_and_chunks_do_not_matter(rows):
    x, labels = rows
    ours = scores(x, labels, 0.3)
    units = np.array([1, 4, 0.5, 2, 1, 8], np.float32)
    for other in (scores(x * units[None, :] + 3, labels, 0.3), scores(x, labels, 0.3, chunk_rows=1000)):
        np.testing.assert_allclose(ours, other, atol=1e-3)


def test_features_that_do_not_vary_are_no_obstacle(rows):
    x, labels = rows
    more = np.concatenate([x, x[:, :2], np.full((len(x), 1), 5, np.float32)], axis=1)
    found = scores(more, labels, 0.3)
    assert np.isfinite(found).all()
    assert (found.argmax(1) == labels).mean() > 1.5 / CLASSES
    assert np.isfinite(scores(np.zeros_like(x), labels, 0.3)).all()


def test_scores_are_of_one_size_however_far_classes_lie_apart(rows):
    """A class's score rises by its squared distance from the classes' mean to its own."""
    x, labels = rows
    means = np.stack([x[labels == label].mean(0) for label in range(CLASSES)])
    for spread in (1.0, 20.0):
        held, centres = jnp.asarray(x + (spread - 1) * means[labels]), jnp.asarray(spread * means)
        found = discriminant.fit(lambda n, held=held: held[n], jnp.asarray(labels), CLASSES, jnp.float32(0.3), 7)
        rise = jnp.diagonal(classifier.scores(found, centres)) - classifier.scores(found, centres.mean(0)[None, :])[0]
        assert float(rise.mean()) == pytest.approx(discriminant.MEAN_DISTANCE, rel=1e-2)

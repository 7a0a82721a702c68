import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from zsl_jax.data.scaling import apply_scaler, fit_scaler
from zsl_jax.errors import InputError


def random_rows(seed: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns training and other rows of very different columns, one of them constant."""
    rng = np.random.default_rng(seed)
    rows = (scale * rng.standard_normal((20, 5)) * np.array([[1, 100, 0.01, 1, 1]]) + rng.normal()).astype(np.float32)
    rows[:, 3] = 2.5
    return rows[:12], rows[12:] + np.float32(0.1)


@hypothesis.settings(max_examples=30, deadline=None, derandomize=True)
@hypothesis.given(
    kind=strategies.sampled_from(["minmax", "standard"]),
    seed=strategies.integers(0, 10**6),
    scale=strategies.sampled_from([0.1, 1.0, 30.0]),
)
def test_equals_scikit_learn_divided_by_the_training_maximum(kind, seed, scale):
    train, other = random_rows(seed, scale)
    reference = {"minmax": MinMaxScaler, "standard": StandardScaler}[kind]().fit(train.astype(np.float64))
    largest = reference.transform(train.astype(np.float64)).max()
    scaler = fit_scaler(kind, train)
    for rows in (train, other):
        expected = reference.transform(rows.astype(np.float64)) / largest
        # float32 sees a shifted value with the error of the value itself
        error = 4e-7 * (np.abs(rows) + np.abs(scaler.shift)[None, :] + 1) * np.abs(scaler.scale)[None, :] + 1e-6
        assert np.all(np.abs(apply_scaler(scaler, rows) - expected) <= error)


def test_minmax_keeps_training_rows_within_zero_and_one():
    train, _ = random_rows(0, 3.0)
    scaled = apply_scaler(fit_scaler("minmax", train), train)
    assert (scaled.dtype, scaled.min()) == (np.float32, 0)
    np.testing.assert_allclose(scaled.max(), 1, rtol=1e-6)
    np.testing.assert_array_equal(scaled[:, 3], 0)


def test_undivided_standardised_rows_have_variance_one():
    train, _ = random_rows(2, 5.0)
    scaled = apply_scaler(fit_scaler("standard", train, divide=False), train)
    varied = train.std(axis=0) > 0
    np.testing.assert_allclose(scaled.std(axis=0)[varied], 1, rtol=1e-4)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)


def test_none_changes_nothing_and_constant_data_stay_finite():
    train, other = random_rows(1, 1.0)
    np.testing.assert_array_equal(apply_scaler(fit_scaler("none", train), other), other)
    constant = np.full((4, 3), 7, np.float32)
    for kind in ("minmax", "standard"):
        np.testing.assert_array_equal(apply_scaler(fit_scaler(kind, constant), constant), 0)


def test_unknown_kinds_and_empty_parts_are_refused():
    with pytest.raises(InputError, match="'max' is unknown"):
        fit_scaler("max", np.ones((2, 2), np.float32))
    with pytest.raises(InputError, match="no training rows"):
        fit_scaler("minmax", np.ones((0, 2), np.float32))

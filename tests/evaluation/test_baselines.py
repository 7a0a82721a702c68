"""The closed-form baseline against its definition, and on a task that it can solve."""

import numpy as np
import pytest

from tests.evaluation import toy
from zsl_jax.evaluation import baselines


def test_eszsl_is_the_stationary_point_of_its_objective():
    """The gradient of |X V S - Y|^2 + gamma |V S|^2 + lam |X V|^2 + gamma lam |V|^2 vanishes at V."""
    random = np.random.default_rng(0)
    x, semantics = random.normal(size=(30, 6)), random.normal(size=(5, 4))
    seen = np.array([0, 2, 3])
    labels = seen[random.integers(3, size=30)]
    gamma, lam = 0.7, 0.3
    v = baselines.eszsl(x, labels, semantics, seen, gamma, lam)
    s, y = semantics[seen].T, np.where(labels[:, None] == seen[None, :], 1.0, -1.0)
    gradient = x.T @ (x @ v @ s - y) @ s.T + gamma * v @ s @ s.T + lam * x.T @ x @ v + gamma * lam * v
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


@pytest.mark.parametrize("view", ["x", "r", "xr"])
def test_eszsl_beats_chance_and_an_oracle_is_no_worse(view):
    task, validation = toy.task(), toy.task(seed=2)
    chosen = baselines.eszsl_scores(validation, task, view)
    oracle = baselines.eszsl_scores(None, task, view)
    assert chosen["T1"] > 1.5 * baselines.chance(task)["T1"]
    assert chosen["T1"] <= oracle["T1"]
    assert chosen["AUSUC"] > baselines.chance(task)["AUSUC"]
    assert (chosen["gamma"], chosen["lam"]) in baselines.GRID


def test_features_are_standardised_on_the_training_rows():
    features = baselines.standardised(toy.task(), "xr")
    assert features.train.shape[1] == toy.X_DIM + toy.R_DIM
    np.testing.assert_allclose(features.train.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(features.train.std(0), 1, rtol=1e-5)


def test_chance():
    chance = baselines.chance(toy.task())
    assert chance["T1"] == 100 / toy.N_UNSEEN
    assert chance["U"] == chance["S"] == chance["H"] == 100 / (toy.N_SEEN + toy.N_UNSEEN)
    assert chance["AUSUC"] == pytest.approx(100 * 0.5 * (1 / toy.N_SEEN) * (1 / toy.N_UNSEEN))

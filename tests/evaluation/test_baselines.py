"""The closed-form baselines against their definitions, and on tasks that they can solve."""

import dataclasses

import numpy as np
import pytest
from scipy.linalg import solve_sylvester

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


@pytest.mark.parametrize("lam", [0.02, 1.0, 30.0])
def test_sae_solves_its_equation_and_is_the_stationary_point_of_its_objective(lam):
    """The gradient of |X - W'S|^2 + lam |W X - S|^2, rows as columns, vanishes at W."""
    random = np.random.default_rng(0)
    x, s = random.normal(size=(6, 30)), random.normal(size=(4, 30))
    w = baselines.sae(x.T, s.T, lam).T
    np.testing.assert_allclose(w, solve_sylvester(s @ s.T, lam * x @ x.T, (1 + lam) * s @ x.T), rtol=1e-9)
    gradient = s @ (w.T @ s - x).T + lam * (w @ x - s) @ x.T
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


def test_sae_finds_a_rotation():
    """Features that are the semantics seen from elsewhere: the way back costs nothing, whatever the weight."""
    random = np.random.default_rng(1)
    rotation = np.linalg.qr(random.normal(size=(5, 5)))[0]
    semantics = random.normal(size=(40, 5))
    for lam in (1e-3, 1.0, 1e3):
        np.testing.assert_allclose(baselines.sae(semantics @ rotation, semantics, lam), rotation.T, atol=1e-9)


def test_sae_leaves_open_entries_at_zero():
    """Features with a dead column and semantics of few classes: the equation is solved, by the shortest solution."""
    random = np.random.default_rng(2)
    x, s = random.normal(size=(30, 6)), random.normal(size=(3, 4))[random.integers(3, size=30)]
    x[:, 2] = 0.0
    v = baselines.sae(x, s, 0.5)
    np.testing.assert_allclose(s.T @ s @ v.T + 0.5 * v.T @ x.T @ x, 1.5 * s.T @ x, atol=1e-9)
    unused = np.linalg.svd(s)[2][3]
    np.testing.assert_allclose(v[2] @ unused, 0, atol=1e-9)


def test_sae_scores_a_task_without_noise_perfectly():
    task = toy.task(noise=0.0)
    found = baselines.sae_scores(None, task)
    assert found["T1"] == found["AUSUC"] == 100
    assert found["U"] == found["S"] == found["H"] == 100


@pytest.mark.parametrize("view", ["x", "r"])
def test_sae_beats_chance_and_an_oracle_is_no_worse(view):
    task, validation = toy.task(), toy.task(seed=2)
    chosen = baselines.sae_scores(validation, task, view)
    oracle = baselines.sae_scores(None, task, view)
    assert chosen["T1"] > 1.5 * baselines.chance(task)["T1"]
    assert chosen["T1"] <= oracle["T1"]
    assert chosen["AUSUC"] > baselines.chance(task)["AUSUC"]
    assert chosen["lam"] == baselines.sae_scores(None, validation, view)["lam"]


def test_sae_does_not_depend_on_where_semantics_begin():
    task = toy.task()
    moved = dataclasses.replace(task, semantics=task.semantics + 3)
    one, other = (baselines.sae_scores(None, given) for given in (task, moved))
    assert one == pytest.approx(other, abs=0.2)


def test_cosines_of_rows_of_zeros_are_zero():
    rows = np.array([[0.0, 0.0], [3.0, 4.0]])
    others = np.array([[0.0, 1.0], [3.0, 5.0]])
    np.testing.assert_allclose(baselines.cosines(rows, others), [[0, 0], [0.8, 0.9947]], atol=1e-4)


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

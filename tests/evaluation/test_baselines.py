"""The closed-form baselines against their definitions, and on tasks that they can solve."""

import dataclasses

import numpy as np
import pytest
from scipy.linalg import solve_sylvester

from tests.evaluation import toy
from zsl_jax.evaluation import baselines, linear, metrics


def test_eszsl_is_the_stationary_point_of_its_objective():
    """The gradient of |X V S - Y|^2 + gamma |V S|^2 + lam |X V|^2 + gamma lam |V|^2 vanishes at V."""
    random = np.random.default_rng(0)
    x, semantics = random.normal(size=(30, 6)), random.normal(size=(5, 4))
    seen = np.array([0, 2, 3])
    labels = seen[random.integers(3, size=30)]
    gamma, lam = 0.7, 0.3
    v = linear.eszsl(x, labels, semantics, seen, gamma, lam)
    s, y = semantics[seen].T, np.where(labels[:, None] == seen[None, :], 1.0, -1.0)
    gradient = x.T @ (x @ v @ s - y) @ s.T + gamma * v @ s @ s.T + lam * x.T @ x @ v + gamma * lam * v
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


@pytest.mark.parametrize("lam", [0.02, 1.0, 30.0])
def test_sae_solves_its_equation_and_is_the_stationary_point_of_its_objective(lam):
    """The gradient of |X - W'S|^2 + lam |W X - S|^2, rows as columns, vanishes at W."""
    random = np.random.default_rng(0)
    x, s = random.normal(size=(6, 30)), random.normal(size=(4, 30))
    w = linear.sae(x.T, s.T, lam).T
    np.testing.assert_allclose(w, solve_sylvester(s @ s.T, lam * x @ x.T, (1 + lam) * s @ x.T), rtol=1e-9)
    gradient = s @ (w.T @ s - x).T + lam * (w @ x - s) @ x.T
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


def test_sae_finds_a_rotation():
    """Features that are the semantics seen from elsewhere: the way back costs nothing, whatever the weight."""
    random = np.random.default_rng(1)
    rotation = np.linalg.qr(random.normal(size=(5, 5)))[0]
    semantics = random.normal(size=(40, 5))
    for lam in (1e-3, 1.0, 1e3):
        np.testing.assert_allclose(linear.sae(semantics @ rotation, semantics, lam), rotation.T, atol=1e-9)


def test_sae_leaves_open_entries_at_zero():
    """Features with a dead column and semantics of few classes: the equation is solved, by the shortest solution."""
    random = np.random.default_rng(2)
    x, s = random.normal(size=(30, 6)), random.normal(size=(3, 4))[random.integers(3, size=30)]
    x[:, 2] = 0.0
    v = linear.sae(x, s, 0.5)
    np.testing.assert_allclose(s.T @ s @ v.T + 0.5 * v.T @ x.T @ x, 1.5 * s.T @ x, atol=1e-9)
    unused = np.linalg.svd(s)[2][3]
    np.testing.assert_allclose(v[2] @ unused, 0, atol=1e-9)


@pytest.mark.parametrize("n", [4, 9])
def test_few_rows_are_decomposed_as_many_are(n):
    """Fewer rows than columns: the map is the same as by the normal equations."""
    random = np.random.default_rng(3)
    x, semantics = random.normal(size=(n, 6)), random.normal(size=(3, 4))
    labels, seen = np.arange(n) % 3, np.arange(3)
    y = np.where(labels[:, None] == seen[None, :], 1.0, -1.0)
    left, right = x.T @ x + 0.5 * np.eye(6), semantics.T @ semantics + 2 * np.eye(4)
    expected = np.linalg.solve(left, x.T @ y @ semantics) @ np.linalg.inv(right)
    np.testing.assert_allclose(linear.eszsl(x, labels, semantics, seen, 0.5, 2.0), expected, atol=1e-9)


def scores(draws, task, view="x"):
    return baselines.closed_forms(draws, task, view)


def test_sae_scores_a_task_without_noise_perfectly():
    task = toy.task(noise=0.0)
    found = scores([], task)["SAE"]
    assert found["T1"] == found["AUSUC"] == found["calibrated"]["H"] == 100


@pytest.mark.parametrize("view", ["x", "r", "xr"])
def test_closed_forms_beat_chance_and_an_oracle_is_no_worse(view):
    task, draws = toy.task(), [toy.task(seed=2)]
    chosen, oracle = scores(draws, task, view), scores([], task, view)
    for name in ("ESZSL", "SAE"):
        assert chosen[name]["T1"] > 1.5 * baselines.chance(task)["T1"]
        assert chosen[name]["T1"] <= oracle[name]["T1"]
        assert chosen[name]["AUSUC"] > baselines.chance(task)["AUSUC"]


@pytest.mark.parametrize("name", ["ESZSL", "SAE"])
def test_what_is_chosen_does_not_depend_on_the_test_task(name):
    """The same validation draws, test tasks with other labels: the same preparation, weights and gamma."""
    draws, task = [toy.task(seed=2), toy.task(seed=3)], toy.task()
    shuffled = np.random.default_rng(0).permutation(task.test_unseen.labels)
    other = dataclasses.replace(task, test_unseen=dataclasses.replace(task.test_unseen, labels=shuffled))
    one, another = (scores(draws, given)[name] for given in (task, other))
    assert one["chosen"] == another["chosen"]
    assert one["calibrated"]["gamma"] == another["calibrated"]["gamma"]
    assert one["T1"] != another["T1"]
    assert len(one["chosen"]["T1"]) == 2


def test_a_closed_form_is_calibrated_by_the_gamma_of_the_validation_task():
    draws, task = [toy.task(seed=2)], toy.task()
    found = scores(draws, task)["ESZSL"]
    (choice,) = [one["ESZSL"] for one in baselines.choose({"": draws}, "x").values()]
    features = baselines.prepared(task, "x", choice.features)
    gains = baselines.gains(task, features, baselines.train_eszsl(task, features), choice.weights)
    u, s = (100 * float(value) for value in metrics.at_gamma(gains, np.float32(choice.gamma)))
    assert (found["calibrated"]["U"], found["calibrated"]["S"]) == pytest.approx((u, s), abs=1e-3)
    assert found["calibrated"]["gamma"] == choice.gamma != 0


def test_sae_does_not_depend_on_where_semantics_begin_nor_on_those_of_unseen_classes():
    """Semantics are taken from their mean over training rows: of unseen classes only their own place matters."""
    task = toy.task()
    far = task.semantics.copy()
    far[task.unseen] += 50
    moved, odd = (dataclasses.replace(task, semantics=given) for given in (task.semantics + 3, far))
    np.testing.assert_allclose(baselines.centred_semantics(moved), baselines.centred_semantics(task), atol=1e-5)
    seen = baselines.centred_semantics(odd)[task.seen]
    np.testing.assert_array_equal(seen, baselines.centred_semantics(task)[task.seen])
    np.testing.assert_allclose(baselines.centred_semantics(task)[task.train.labels].mean(0), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("best", "found"),
    [((0,), 0), ((5,), 5), ((-6,), -6), ((8,), 8), ((30,), 8)],
    ids=["inside", "above the first grid", "below it", "at the last", "beyond"],
)
def test_the_grid_widens_while_the_best_lies_at_its_edge(best, found):
    weights, at_edge = baselines.search(lambda given: -abs(np.log10(given[0]) - best[0]), 1, 1)
    assert weights[0] == pytest.approx(10.0**found)
    assert at_edge == (abs(best[0]) >= 8)


@pytest.mark.parametrize("stronger", [1, -1])
def test_equal_scores_go_to_the_stronger_regularisation_and_a_plateau_is_no_edge(stronger):
    weights, at_edge = baselines.search(lambda given: min(stronger * np.log10(given[0]), 1.0), 1, stronger)
    assert np.log10(weights[0]) * stronger >= 3
    assert not at_edge


def test_features_are_prepared_on_the_training_rows():
    task = toy.task()
    standard, minmax, unit = (baselines.prepared(task, "xr", kind) for kind in ("standard", "minmax", "l2"))
    assert standard.train.shape[1] == toy.X_DIM + toy.R_DIM
    np.testing.assert_allclose(standard.train.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.train.std(0), 1, rtol=1e-5)
    np.testing.assert_allclose((minmax.train.min(0), minmax.train.max(0)), ([0] * 18, [1] * 18), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(unit.test_unseen, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(baselines.prepared(task, "x", "none").test_seen, task.test_seen.x)


def test_scores_that_are_not_finite_count_as_wrong():
    task = toy.task()
    right = (task.test_unseen.labels[:, None] == task.unseen[None, :]).astype(float)
    assert baselines.unseen_accuracy(task, right) == 1
    assert baselines.unseen_accuracy(task, np.where(right == 1, np.nan, right)) == 0


def test_cosines_of_rows_of_zeros_are_zero():
    rows = np.array([[0.0, 0.0], [3.0, 4.0]])
    others = np.array([[0.0, 1.0], [3.0, 5.0]])
    np.testing.assert_allclose(baselines.cosines(rows, others), [[0, 0], [0.8, 0.9947]], atol=1e-4)


def test_chance():
    chance = baselines.chance(toy.task())
    assert chance["T1"] == 100 / toy.N_UNSEEN
    assert chance["U"] == chance["S"] == chance["H"] == 100 / (toy.N_SEEN + toy.N_UNSEEN)
    assert chance["AUSUC"] == pytest.approx(100 * 0.5 * (1 / toy.N_SEEN) * (1 / toy.N_UNSEEN))

"""Which rows a batch takes, against the recorded properties of the published samplers."""

import json
from collections import Counter
from typing import Any

import jax
import numpy as np
import pytest

from tests.parity.recorded import folder
from zsl_jax.train_steps import sampling

EPISODES, BALANCED = (json.loads((folder() / f"{name}.json").read_text()) for name in ("episodes", "balanced_batches"))
OPTIONS = EPISODES["options"]
WAYS, SHOTS = OPTIONS["ways"], OPTIONS["shots"]
SIZES = {int(number): size for number, size in OPTIONS["class_sizes"].items()}
LABELS = np.array(OPTIONS["labels"])
CASES = [(case["batch_size"], case) for case in BALANCED["cases"].values()]
BATCHES = 3000
DEVIATIONS = 5.0  # of a count from its mean: with chance, once in a million


def draw(
    how: sampling.Draw, size: int, labels: np.ndarray = LABELS, updates: int = BATCHES, seed: int = 0, padding: int = 3
) -> Any:
    """Rows [updates, size]."""
    table = sampling.rows_by_class(labels, int(labels.max()) + 2, capacity=len(labels) + padding)
    drawn = jax.jit(lambda key, table: how(key, table, (updates, size)))(jax.random.key(seed), table)
    return np.asarray(drawn)


def assert_binomial(counts: np.ndarray, trials: Any, share: Any) -> None:
    """Counts are those of trials with a chance of `share`, up to `DEVIATIONS`."""
    deviation = np.sqrt(trials * share * (1 - share))
    assert (np.abs(counts - trials * share) <= DEVIATIONS * deviation + 1e-9).all(), (counts, trials * share)


def included(rows: np.ndarray, of: Any) -> np.ndarray:
    """How many batches [n, B] hold any row of each class, in the order of `SIZES`."""
    classes = np.asarray(of)[rows]
    return np.array([(classes == number).any(axis=1).sum() for number in SIZES])


def test_uniform_batches_are_sets_of_rows_as_likely_as_any_other():
    labels = np.zeros(7, int)
    rows = draw(sampling.uniform, 5, labels)
    assert rows.min() >= 0  # and the padding behind the rows is never drawn
    assert rows.max() < 7
    assert all(len(set(row)) == 5 for row in rows)
    sets = Counter(tuple(sorted(row)) for row in rows)
    assert len(sets) == 21  # 7 choose 5
    assert_binomial(np.array(list(sets.values())), BATCHES, 1 / 21)


def test_a_uniform_batch_may_hold_every_row():
    rows = draw(sampling.uniform, 6, np.zeros(6, int), updates=2)
    assert all(sorted(row.tolist()) == list(range(6)) for row in rows)


def test_episodes_are_blocks_of_different_rows_of_different_classes():
    per_batch = OPTIONS["ep_per_batch"]
    rows = draw(sampling.episodes(WAYS, SHOTS), per_batch * WAYS * SHOTS)
    episodes = rows.reshape(-1, WAYS, SHOTS)
    classes = LABELS[episodes]
    assert (classes == classes[..., :1]).all()
    assert all(len(set(episode)) == WAYS for episode in classes[..., 0].tolist())
    assert all(len(set(episode)) == WAYS * SHOTS for episode in episodes.reshape(-1, WAYS * SHOTS).tolist())
    pairs = episodes.reshape(-1, per_batch, WAYS * SHOTS)
    shared = [len(set(one) & set(other)) for one, other in pairs[:, :2].tolist()]
    assert min(shared) < max(shared)  # the episodes of a batch know nothing of each other


@pytest.mark.parametrize("given", [EPISODES["class_inclusion_frequency"], BALANCED["episodes"]], ids=["first", "other"])
def test_classes_and_rows_of_episodes_are_equally_likely(given):
    """Classes whatever their size, rows within their class, in every place."""
    ways, shots = given.get("ways", WAYS), given.get("shots", SHOTS)
    rows = draw(sampling.episodes(ways, shots), ways * shots)
    assert ways / len(SIZES) == pytest.approx(given["expected"])
    assert_binomial(included(rows, LABELS), BATCHES, ways / len(SIZES))
    first = np.array([(LABELS[rows[:, 0]] == number).sum() for number in SIZES])
    assert_binomial(first, BATCHES, 1 / len(SIZES))
    places = rows.reshape(-1, shots)
    for number, size in SIZES.items():
        of_class = places[LABELS[places[:, 0]] == number]
        counts = np.array([(of_class == row).sum() for row in np.flatnonzero(number == LABELS)])
        assert_binomial(counts, len(of_class), shots / size)
        assert_binomial((of_class[:, 0] == of_class.min()).sum(), len(of_class), 1 / size)


@pytest.mark.parametrize(("size", "case"), CASES, ids=[str(size) for size, _ in CASES])
def test_balanced_batches_hold_as_many_rows_of_each_class(size, case):
    rows = draw(sampling.balanced, size)
    least, more = divmod(size, len(SIZES))
    counts = np.array([(LABELS[rows] == number).sum(axis=1) for number in SIZES]).T
    assert set(np.unique(counts)) <= {least, least + 1}
    assert ((counts > least).sum(axis=1) == more).all()
    assert_binomial((counts > least).sum(axis=0), BATCHES, more / len(SIZES))
    per_class = case["rows_per_class"]  # as published, which leaves the rest of the batch out
    assert per_class == max(least, 1)
    assert ((counts >= per_class).sum(axis=1) >= case["classes_per_batch"]).all()
    np.testing.assert_allclose(included(rows, LABELS) / BATCHES, case["expected_inclusion"], atol=0.05)


def test_rows_of_a_class_are_drawn_with_replacement():
    case = BALANCED["cases"]["12"]
    rows = draw(sampling.balanced, case["batch_size"])
    twice = np.mean([len(set(batch)) < len(batch) for batch in rows.tolist()])
    assert twice == pytest.approx(case["share_of_batches_with_a_row_twice_in_a_class"], abs=0.05)
    for number, size in SIZES.items():
        counts = np.array([(rows == row).sum() for row in np.flatnonzero(number == LABELS)])
        assert_binomial(counts, 2 * BATCHES, 1 / size)


@pytest.mark.parametrize("seen", [40, 150])
def test_balanced_batches_of_as_many_classes_as_there_can_be(seen):
    """Of more classes than rows, so many different ones get a row; of fewer, the batch is filled with them again."""
    rows = draw(sampling.balanced, 64, np.arange(seen), updates=20)
    assert all(len(set(batch)) == min(seen, 64) for batch in rows.tolist())


def test_a_class_of_one_row_gives_this_row():
    """As published, another class's row comes."""
    labels = np.array([0, 0, 3, 1, 1])
    for how, size in ((sampling.balanced, 6), (sampling.episodes(3, 2), 6)):
        rows = draw(how, size, labels, updates=50)
        assert (np.sum(rows == 2, axis=1) == 2).all()


def test_classes_with_too_few_rows_repeat_them_and_too_few_classes_come_again():
    labels = np.array([4, 4, 1, 1, 1, 1])
    rows = draw(sampling.episodes(3, 4), 12, labels, updates=50).reshape(-1, 3, 4)
    classes = labels[rows]
    assert (classes == classes[..., :1]).all()
    assert all(set(episode) == {1, 4} for episode in classes[..., 0].tolist())
    full = rows[classes[..., 0] == 1]
    assert all(len(set(block)) == 4 for block in full.tolist())


@pytest.mark.parametrize("how", [sampling.uniform, sampling.balanced, sampling.episodes(WAYS, SHOTS)])
def test_batches_are_functions_of_the_key_alone(how):
    """Not of the padding behind the rows, which differs between tasks that share a program."""
    size = WAYS * SHOTS
    rows = draw(how, size, updates=4, seed=3)
    np.testing.assert_array_equal(rows, draw(how, size, updates=4, seed=3, padding=64))
    assert (rows != draw(how, size, updates=4, seed=4)).any()
    assert (rows[0] != rows[1]).any()

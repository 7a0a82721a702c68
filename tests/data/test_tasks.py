import numpy as np
import pytest

from tests.data import toy
from tests.data.options import data_options
from zsl_jax import data
from zsl_jax.data.tasks import draw_share
from zsl_jax.errors import InputError


@pytest.fixture(scope="module")
def made():
    options = data_options(source="synthetic")
    return data.load(options, 0), options


def rows_of(dataset, part, scaler):
    """Finds the data set's rows that a part's rows come from, by their scaled values."""
    scaled = data.apply_scaler(scaler, dataset.x)
    return np.array([np.flatnonzero((scaled == row[None, :]).all(axis=1))[0] for row in part.x])


def test_the_test_task_is_the_official_split(made):
    dataset, options = made
    task = data.test_task(dataset, options)
    scaler = data.fit_scaler("minmax", dataset.x[dataset.splits.trainval])
    for part, rows in (
        (task.train, dataset.splits.trainval),
        (task.test_seen, dataset.splits.test_seen),
        (task.test_unseen, dataset.splits.test_unseen),
    ):
        np.testing.assert_array_equal(part.x, data.apply_scaler(scaler, dataset.x[rows]))
        np.testing.assert_array_equal(part.labels, dataset.labels[rows])
        assert part.r is not None
    np.testing.assert_array_equal(task.seen, dataset.seen)
    np.testing.assert_array_equal(task.unseen, dataset.unseen)
    assert task.semantics is dataset.semantics


def test_a_percentage_trains_on_less_with_the_scaler_of_all(made):
    dataset, options = made
    whole = data.test_task(dataset, options)
    part = data.test_task(dataset, data_options(source="synthetic", percent=30))
    assert part.train.x.shape[0] == round(0.3 * whole.train.x.shape[0])
    np.testing.assert_array_equal(np.unique(part.train.labels), dataset.seen)
    np.testing.assert_array_equal(part.test_seen.x, whole.test_seen.x)
    with pytest.raises(InputError, match=r"config\.data\.percent: 0"):
        data.test_task(dataset, data_options(source="synthetic", percent=0))


def test_a_published_share_indexes_trainval(tmp_path):
    folder = toy.write_toy(tmp_path)
    toy.write_v5(folder / "split_10percent.mat", {"trainval_loc": np.array([[7], [2]], np.int32)})
    options = data_options(root=str(tmp_path), features="res101", percent=10)
    dataset = data.load(options, 0)
    rows = dataset.splits.trainval[[6, 1]]
    np.testing.assert_array_equal(data.training_rows(dataset, options), rows)
    np.testing.assert_array_equal(data.test_task(dataset, options).train.labels, dataset.labels[rows])


@pytest.mark.parametrize("percent", [100, 50])
def test_validation_uses_rows_of_trainval_alone(made, percent):
    dataset, _ = made
    options = data_options(source="synthetic", percent=percent)
    task = data.validation_task(dataset, options, seed=3)
    splits, kept = dataset.splits, data.training_rows(dataset, options)
    training_classes, validation_classes = (np.unique(dataset.labels[rows]) for rows in (splits.train, splits.val))
    candidates = kept[np.isin(dataset.labels[kept], training_classes)]
    n_train, n_held_out = task.train.labels.size, task.test_seen.labels.size
    assert n_train + n_held_out == candidates.size
    np.testing.assert_array_equal(np.unique(task.train.labels), training_classes)
    np.testing.assert_array_equal(np.unique(task.test_seen.labels), training_classes)
    np.testing.assert_array_equal(np.unique(task.test_unseen.labels), validation_classes)
    assert not np.isin(task.unseen, dataset.unseen).any()
    np.testing.assert_array_equal((task.train.x.min(), task.train.x.max()), (0, 1))


def test_validation_rows_are_disjoint_and_the_scaler_sees_training_rows_only(made):
    dataset, _ = made
    options = data_options(source="synthetic", scaling="none")
    task = data.validation_task(dataset, options, seed=0)
    none = data.fit_scaler("none", dataset.x)
    train, seen, unseen = (rows_of(dataset, part, none) for part in (task.train, task.test_seen, task.test_unseen))
    everything = np.concatenate([train, seen, unseen])
    np.testing.assert_array_equal(np.sort(everything), np.sort(dataset.splits.trainval))
    np.testing.assert_array_equal(np.sort(unseen), np.sort(dataset.splits.val))
    scaled = data.validation_task(dataset, data_options(source="synthetic"), seed=0)
    expected = data.apply_scaler(data.fit_scaler("minmax", dataset.x[train]), dataset.x[seen])
    np.testing.assert_array_equal(scaled.test_seen.x, expected)


def test_each_seed_holds_out_other_rows(made):
    dataset, options = made
    first, second, again = (data.validation_task(dataset, options, seed).test_seen.labels.size for seed in (0, 1, 0))
    assert first == second == again
    held_out = [data.validation_task(dataset, options, seed).test_seen.x for seed in (0, 1, 0)]
    np.testing.assert_array_equal(held_out[0], held_out[2])
    assert not np.array_equal(held_out[0], held_out[1])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_a_fraction_outside_zero_and_one_is_refused(made, fraction):
    with pytest.raises(InputError, match="validation_fraction"):
        data.validation_task(made[0], data_options(source="synthetic", validation_fraction=fraction), 0)


def test_a_class_with_one_row_keeps_it_for_training():
    labels = np.array([0, 1, 1, 1, 1, 1])
    drawn = draw_share(labels, 0.4, seed=0, spare=1)
    assert (drawn[0], drawn[1:].sum()) == (False, 2)
    assert draw_share(labels, 0.01, seed=0, spare=0)[0]


def test_without_validation_classes_there_is_no_validation():
    sizes = {"seen": 2, "unseen": 1, "trainval": 2, "test_seen": 2, "test_unseen": 1}
    options = data_options(source="synthetic", synthetic=sizes)
    with pytest.raises(InputError, match="no validation possible"):
        data.validation_task(data.load(options, 0), options, 0)


def test_r_is_absent_where_the_data_set_has_none():
    options = data_options(source="digits")
    dataset = data.load(options, 0)
    for task in (data.test_task(dataset, options), data.validation_task(dataset, options, 0)):
        assert task.train.r is task.test_unseen.r is None
        assert list(task.train.views) == ["x"]

import dataclasses

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


def test_few_validation_classes_are_drawn_three_times_and_none_twice(made):
    """Six seen classes, two of them for validation: three draws share them out."""
    dataset, options = made
    draws = data.validation_classes(dataset, options)
    assert len(draws) == 3
    np.testing.assert_array_equal(draws[0][1], np.unique(dataset.labels[dataset.splits.val]))
    np.testing.assert_array_equal(np.sort(np.concatenate([unseen for _, unseen in draws])), dataset.seen)
    for number, (seen, unseen) in enumerate(draws):
        task = data.validation_task(dataset, options, 0, number)
        np.testing.assert_array_equal(task.seen, seen)
        np.testing.assert_array_equal(task.unseen, unseen)
        np.testing.assert_array_equal(np.sort([*seen, *unseen]), dataset.seen)
        assert set(task.test_unseen.labels) == set(unseen)
        assert set(task.train.labels) == set(task.test_seen.labels) == set(seen)


@pytest.mark.parametrize(("classes", "asked", "draws"), [(2, 1, 1), (2, 5, 5), (3, 0, 2), (12, 0, 1), (12, 2, 2)])
def test_how_often_validation_classes_are_drawn(classes, asked, draws):
    sizes = {"seen": 6 if classes < 10 else 20, "unseen": 1, "trainval": 60, "test_seen": 20, "test_unseen": 5}
    fields = {"validation_classes": classes, "validation_draws": asked, "synthetic": sizes}
    options = data_options(source="synthetic", **fields)
    found = data.validation_classes(data.load(options, 0), options)
    assert [len(unseen) for _, unseen in found] == [classes] * draws
    assert len({tuple(unseen) for _, unseen in found}) > 1 or draws == 1


def test_a_negative_number_of_draws_is_refused(made):
    with pytest.raises(InputError, match=r"validation_draws: -1; 0 or more"):
        data.validation_classes(made[0], data_options(validation_draws=-1))


def test_all_rows_of_validation_classes_take_part_whatever_rows_the_split_lists(made):
    dataset, options = made
    thinned = dataclasses.replace(dataset.splits, val=dataset.splits.val[::2], train=dataset.splits.train[::2])
    one, other = (data.validation_rows(d, options, 0) for d in (dataset, dataclasses.replace(dataset, splits=thinned)))
    for there, here in zip(one, other, strict=True):
        np.testing.assert_array_equal(there, here)


def test_the_validation_scaler_is_fitted_without_validation_classes(made):
    """Rows of classes that play unseen, far from all others, move no other row."""
    dataset, options = made
    task = data.validation_task(dataset, options, 0)
    far = np.where(np.isin(dataset.labels, task.unseen)[:, None], 1000 + dataset.x, dataset.x)
    moved = data.validation_task(dataclasses.replace(dataset, views={"x": far}), options, 0)
    np.testing.assert_array_equal(moved.train.x, task.train.x)
    np.testing.assert_array_equal(moved.test_seen.x, task.test_seen.x)

import numpy as np
import pytest

from tests.data.options import data_options
from zsl_jax import data
from zsl_jax.data.sources.digits import ATTRIBUTES, load_digits
from zsl_jax.errors import InputError


def closed_form_scores(dataset, ridge: float = 1.0) -> np.ndarray:
    """ESZSL: scores [n, C] of all rows after training on trainval."""
    x, labels = dataset.x.astype(np.float64), dataset.labels
    semantics = dataset.semantics.astype(np.float64)
    rows, seen = dataset.splits.trainval, dataset.seen
    targets = np.where(labels[rows][:, None] == seen[None, :], 1.0, -1.0)
    left = np.linalg.solve(x[rows].T @ x[rows] + ridge * np.eye(x.shape[1]), x[rows].T @ targets @ semantics[seen])
    right = semantics[seen].T @ semantics[seen] + ridge * np.eye(semantics.shape[1])
    return x @ np.linalg.solve(right, left.T).T @ semantics.T


def test_splits_and_pictures():
    dataset = load_digits(data_options())
    assert dataset.attribute_names == tuple(ATTRIBUTES)
    splits = dataset.splits
    np.testing.assert_array_equal(dataset.unseen, [3, 6, 8])
    np.testing.assert_array_equal(dataset.seen, [0, 1, 2, 4, 5, 7, 9])
    rows = np.concatenate([splits.trainval, splits.test_seen, splits.test_unseen])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(dataset.labels)))
    for digit in dataset.seen:
        held_out, trained = (np.sum(dataset.labels[part] == digit) for part in (splits.test_seen, splits.trainval))
        assert held_out == (held_out + trained) // 5
    assert (dataset.x.shape[1], dataset.x.min(), dataset.x.max(), dataset.r) == (64, 0, 1, None)
    assert dataset.fingerprint() == load_digits(data_options()).fingerprint()


def test_attributes_tell_all_digits_apart():
    dataset = data.load(data_options(source="digits", semantics_scaling="l2"), 0)
    assert dataset.semantics.shape == (10, len(ATTRIBUTES))
    assert len(np.unique(dataset.semantics, axis=0)) == 10
    np.testing.assert_allclose(np.linalg.norm(dataset.semantics, axis=1), 1, rtol=1e-6)
    seen_use = load_digits(data_options(original_semantics=True)).semantics[dataset.seen].max(axis=0)
    unknown = [name for name, used in zip(ATTRIBUTES, seen_use, strict=True) if not used]
    assert set(unknown) <= {"loop below"}  # of the default split only 6 and 8 have one


def test_signed_attributes_are_the_written_ones_from_minus_one_to_one():
    written = load_digits(data_options(original_semantics=True)).semantics
    signed = load_digits(data_options(original_semantics=False)).semantics
    assert set(np.unique(written)) == {0, 0.5, 1}
    np.testing.assert_array_equal(signed, 2 * written - 1)


def test_a_closed_form_method_is_far_above_chance_on_the_unseen():
    dataset = load_digits(data_options(original_semantics=True))
    predicted = dataset.unseen[np.argmax(closed_form_scores(dataset)[:, dataset.unseen], axis=1)]
    accuracies = [np.mean(predicted[dataset.labels == digit] == digit) for digit in dataset.unseen]
    assert np.mean(accuracies) > 2 / 3  # twice chance
    assert min(accuracies) > 1 / 3


def test_other_unseen_digits():
    dataset = load_digits(data_options(unseen=(0, 9)))
    np.testing.assert_array_equal(dataset.unseen, [0, 9])


@pytest.mark.parametrize("unseen", [(), (10,), (-1, 2), (1, 1), (0.5,), tuple(range(9))])
def test_impossible_unseen_digits(unseen):
    options = data_options()
    with options.ignore_type():
        options.unseen = unseen
    with pytest.raises(InputError, match=r"config\.data\.unseen"):
        load_digits(options)

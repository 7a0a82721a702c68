"""Fields beside those of a data set: refused where they contradict what was decided, else left alone."""

from typing import Any

import numpy as np
import pytest

from tests.tools import own
from tests.tools.own import LABELS, NAMES, PICTURES, ROWS, TEXTS, X

UNSEEN, TEST = LABELS > 3, np.arange(ROWS) % 3 == 0
SEEN_ROWS, TEST_ROWS = np.flatnonzero(~UNSEEN & ~TEST), np.flatnonzero(~UNSEEN & TEST)
ORDER = np.random.default_rng(9).permutation(ROWS)


@pytest.fixture
def run(tmp_path, capsys):
    return lambda *arguments: own.run(own.import_data, capsys, tmp_path / "root", *arguments)


def beside(folder, **fields: Any):
    """Features and labels with other fields in one file, and the descriptions."""
    np.savez(folder / "a.npz", **({"features": X, "labels": LABELS} | fields))
    return [folder / "a.npz", own.write_classes(folder)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"categories": NAMES[::-1]}, "labels.classes: a.npz:categories lists the classes in another order"),
        ({"names": (*NAMES[::-1], "gnu")}, "labels.classes: a.npz:names lists the classes in another order"),
        ({"breed": TEXTS[::-1]}, "labels.from: a.npz:breed names other classes; which is right?"),
        ({"split": np.arange(ROWS) % 3}, "splits: what is a.npz:split (24 int64)?"),
        ({"my_split": ("train", "test") * 12}, "splits: what is a.npz:my_split (24 names)?"),
        ({"train_ids2go": SEEN_ROWS}, "splits: what is a.npz:train_ids2go"),
        ({"isTrain": ~UNSEEN}, "splits: what is a.npz:isTrain"),
        ({"unseen": np.array([4, 5])}, "write the classes' names, or, for rows, set splits.trainval"),
        ({"train_loc": np.array([None, 3])}, "splits: what is a.npz:train_loc (of type object"),
    ],
)
def test_what_contradicts_is_refused(run, tmp_path, fields, message):
    own.require_refused(run(*beside(tmp_path, **fields)), tmp_path / "root", message)


@pytest.mark.parametrize(
    "fields",
    [
        {"categories": NAMES},
        {"names": NAMES[:2]},
        {"breed": TEXTS},
        {"predicates": ("big", "furry", "fast", "slow", "old", "red")},
        {"val_loss": np.linspace(0, 1, 9)},
        {"train_scores": np.ones((3, 4))},
        {"image_files": PICTURES, "image_ids": np.arange(ROWS), "filename": ("a.npz",)},
        {"labels": np.array(TEXTS), "categories": NAMES[::-1]},
    ],
)
def test_what_does_not_is_left_alone(run, tmp_path, fields):
    assert run(*beside(tmp_path, **fields))[0] == 0
    own.require_same(own.load(tmp_path / "root"))


@pytest.mark.parametrize("name", ["id2label", "target_names", "label_names"])
def test_lists_that_number_labels_count(run, tmp_path, name):
    order = np.random.default_rng(6).permutation(len(NAMES))
    fields = {"labels": np.argsort(order)[LABELS], name: np.array(NAMES)[order]}
    assert run(*beside(tmp_path, **fields))[0] == 0
    own.require_same(own.load(tmp_path / "root"))


def test_names_of_all_rows_are_labels(run, tmp_path):
    np.savez(tmp_path / "a.npz", features=X, label_names=TEXTS)
    assert run(tmp_path / "a.npz", own.write_classes(tmp_path))[0] == 0
    own.require_same(own.load(tmp_path / "root"))


@pytest.mark.parametrize(
    "fields",
    [
        {"train_idx": SEEN_ROWS, "test_seen_indices": TEST_ROWS, "test_unseen_index": np.flatnonzero(UNSEEN)},
        {"train_mask": ~UNSEEN & ~TEST, "test_mask": UNSEEN | TEST},
        {"split": np.where(UNSEEN | TEST, "Testing", "training")},
        {"split": np.where(UNSEEN, "unseen", np.where(TEST, "test_seen", "trainval"))},
    ],
)
def test_rows_of_the_splits_by_other_names(run, tmp_path, fields):
    assert run(*beside(tmp_path, **fields))[0] == 0
    splits = own.load(tmp_path / "root").splits
    np.testing.assert_array_equal(np.sort(splits.test_seen), TEST_ROWS)
    np.testing.assert_array_equal(splits.test_unseen, np.flatnonzero(UNSEEN))


@pytest.mark.parametrize(
    ("seen", "unseen"),
    [("seen", "unseen_class_names"), ("base_classes", "novel_cls"), ("train_list", "test_names"), ("seen", "novel")],
)
def test_classes_of_the_splits_by_other_names(run, tmp_path, seen, unseen):
    assert run(*beside(tmp_path, **{seen: NAMES[:4], unseen: NAMES[4:]}))[0] == 0
    np.testing.assert_array_equal(own.load(tmp_path / "root").unseen, [4, 5])


def test_masks_of_seen_and_unseen_rows(run, tmp_path):
    assert run(*beside(tmp_path, seen=~UNSEEN, unseen=UNSEEN))[0] == 0
    np.testing.assert_array_equal(own.load(tmp_path / "root").unseen, [4, 5])


def test_unseen_classes_that_are_told_need_no_list(run, tmp_path):
    assert run(*beside(tmp_path, my_split=("train", "test") * 12), "--unseen=cat")[0] == 0
    np.testing.assert_array_equal(own.load(tmp_path / "root").unseen, [2])


@pytest.mark.parametrize("name", ["image_ids", "img_names", "filename", "keys"])
def test_rows_that_two_files_name(run, tmp_path, name):
    """Joined where the name is familiar; else refused where the order differs."""
    fields: list[dict[str, Any]] = [{name: np.arange(ROWS) + 7}, {name: ORDER + 7}]
    np.savez(tmp_path / "x.npz", features=X, **fields[0])
    np.savez(tmp_path / "y.npz", labels=LABELS[ORDER], **fields[1])
    found = run(tmp_path / "x.npz", tmp_path / "y.npz", own.write_classes(tmp_path))
    if name == "keys":
        own.require_refused(found, tmp_path / "root", "order the same names otherwise; say images of all")
    else:
        assert found[0] == 0
        own.require_same(own.load(tmp_path / "root"))


def test_numbers_beside_labels_are_not_preferred_to_a_matrix(run, tmp_path):
    files = [own.write_csv(tmp_path / "f.csv", PICTURES, X, "path"), own.write_classes(tmp_path)]
    widths = np.arange(ROWS)[:, None] % 5
    files += [own.write_csv(tmp_path / "l.csv", zip(PICTURES, TEXTS, strict=True), widths, "path,class")]
    own.require_refused(
        run(*files), tmp_path / "root", "features.from: which of f.csv:numbers (24 x 5 float64) or l.csv"
    )
    assert run(*files, "--set=features.from=f.csv:numbers")[0] == 0
    own.require_same(own.load(tmp_path / "root"))


@pytest.mark.parametrize(("name", "counts"), [("unseen", True), ("unseen_classes", True), ("test_loc", False)])
def test_class_lists_in_the_file_of_descriptions(tmp_path, capsys, name, counts):
    pictures = own.write_csv(tmp_path / "i.csv", zip(PICTURES, TEXTS, strict=True), X, "path,class")
    listed = np.array(NAMES[4:]) if counts else np.arange(9)
    fields: dict[str, Any] = {name: listed}
    np.savez(tmp_path / "s.npz", attributes=own.SEMANTICS, classes=NAMES, **fields)
    found = own.run(own.import_data, capsys, tmp_path / "root", pictures, f"--semantics={tmp_path / 's.npz'}")
    assert found[0] == (0 if counts else 2)
    assert not counts or own.load(tmp_path / "root").unseen.size == 2

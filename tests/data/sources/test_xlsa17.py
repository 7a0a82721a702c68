import dataclasses
import pathlib
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from tests.data import toy
from tests.data.options import data_options
from zsl_jax import data
from zsl_jax.data.sources.xlsa17 import load_xlsa17, percent_rows, read_semantics, write_xlsa17
from zsl_jax.errors import InputError


def toy_options(root, **changes):
    return data_options(**{"root": str(root), "features": "res101", **changes})


@pytest.mark.parametrize("write", [toy.write_v5, toy.write_v73])
@pytest.mark.parametrize("variant", ["A", "B"])
def test_every_field_of_both_file_versions(tmp_path, write, variant):
    toy.write_toy(tmp_path, variant, write)
    dataset = load_xlsa17(toy_options(tmp_path))
    features = toy.features_fields()
    fields = toy.split_fields(features["labels"], variant)
    np.testing.assert_array_equal(dataset.x, features["features"].T.astype(np.float32))
    np.testing.assert_array_equal(dataset.labels, features["labels"][:, 0].astype(np.int32) - 1)
    np.testing.assert_array_equal(dataset.semantics, fields["att"].T.astype(np.float32))
    assert dataset.class_names == tuple(toy.class_names())
    for part in ("trainval", "test_seen", "test_unseen"):
        np.testing.assert_array_equal(getattr(dataset.splits, part), fields[f"{part}_loc"][:, 0].astype(np.int64) - 1)
    np.testing.assert_array_equal(dataset.unseen, toy.UNSEEN)


def test_compressed_files(tmp_path):
    toy.write_toy(tmp_path)
    plain = load_xlsa17(toy_options(tmp_path))
    toy.write_toy(tmp_path, write=lambda path, fields: toy.write_v5(path, fields, compressed=True))
    assert load_xlsa17(toy_options(tmp_path)).fingerprint() == plain.fingerprint()


def test_variant_a_loses_its_test_rows_and_says_so(tmp_path):
    toy.write_toy(tmp_path, "A")
    dataset = load_xlsa17(toy_options(tmp_path))
    splits = dataset.splits
    assert not np.isin(splits.test_seen, np.concatenate([splits.train, splits.val])).any()
    np.testing.assert_array_equal(np.sort(np.concatenate([splits.train, splits.val])), np.sort(splits.trainval))
    assert [f"{splits.test_seen.size} of test_seen" in note for note in dataset.notes] == [True]


def test_variant_b_is_taken_as_it_is(tmp_path):
    toy.write_toy(tmp_path, "B")
    dataset = load_xlsa17(toy_options(tmp_path))
    assert dataset.notes == ()
    np.testing.assert_array_equal(np.unique(dataset.labels[dataset.splits.val]), [3])


def test_variant_c_derives_a_validation_split_from_trainval_classes(tmp_path):
    toy.write_toy(tmp_path, "C")
    dataset = load_xlsa17(toy_options(tmp_path))
    train, val = (np.unique(dataset.labels[rows]) for rows in (dataset.splits.train, dataset.splits.val))
    np.testing.assert_array_equal(np.union1d(train, val), dataset.seen)
    assert not np.isin(val, train).any()
    assert val.size == 1
    assert any("derived" in note for note in dataset.notes)
    assert load_xlsa17(toy_options(tmp_path)).fingerprint() == dataset.fingerprint()


@pytest.mark.parametrize("variant", ["B", "C"])
def test_number_of_validation_classes_can_be_chosen(tmp_path, variant):
    toy.write_toy(tmp_path, variant)
    dataset = load_xlsa17(toy_options(tmp_path, validation_classes=2))
    assert np.unique(dataset.labels[dataset.splits.val]).size == 2
    with pytest.raises(InputError, match="validation_classes: 4"):
        load_xlsa17(toy_options(tmp_path, validation_classes=4))


def test_train_and_val_sharing_classes_are_not_used(tmp_path):
    fields = toy.split_fields(toy.features_fields()["labels"])
    rows = fields["trainval_loc"]
    toy.write_toy(tmp_path, train_loc=rows[::2], val_loc=rows[1::2])
    dataset = load_xlsa17(toy_options(tmp_path))
    assert any("share classes" in note for note in dataset.notes)
    assert not np.intersect1d(dataset.labels[dataset.splits.train], dataset.labels[dataset.splits.val]).size


def test_flo_has_neither_names_nor_original_att(tmp_path):
    toy.write_toy(tmp_path, "C", original_att=None, allclasses_names=None)
    dataset = load_xlsa17(toy_options(tmp_path, original_semantics=True))
    assert dataset.class_names[:2] == ("class 1", "class 2")
    assert dataset.semantics_name == "att"
    assert any("no original_att" in note for note in dataset.notes)


def test_labels_come_from_the_labels_file_for_features_without(tmp_path):
    folder = toy.write_toy(tmp_path)
    features = toy.features_fields()["features"].T.astype(np.float32)
    toy.write_v5(folder / "ce_ce.mat", {"features": features})
    toy.write_v5(folder / "con_paco.mat", {"features": np.round(10 * features[:, :3]).astype(np.int16)})
    dataset = load_xlsa17(toy_options(tmp_path, features="ce_ce", representations="con_paco"))
    np.testing.assert_array_equal(dataset.x, features)
    np.testing.assert_array_equal(dataset.labels, load_xlsa17(toy_options(tmp_path)).labels)
    assert dataset.r is not None
    assert (dataset.r.dtype, dataset.r.shape) == (np.float32, (features.shape[0], 3))
    with pytest.raises(InputError, match=r"config\.data\.labels"):
        load_xlsa17(toy_options(tmp_path, features="ce_ce", labels=""))


@pytest.mark.parametrize("own_labels", [True, False])
def test_square_features_follow_the_published_convention(tmp_path, own_labels):
    folder = toy.write_toy(tmp_path)
    fields = toy.features_fields()
    n_rows = fields["labels"].size
    square = np.random.default_rng(0).random((n_rows, n_rows)).astype(np.float32)
    toy.write_v5(folder / "square.mat", {"features": square} | ({"labels": fields["labels"]} if own_labels else {}))
    dataset = load_xlsa17(toy_options(tmp_path, features="square"))
    np.testing.assert_array_equal(dataset.x, square.T if own_labels else square)
    assert any("square" in note for note in dataset.notes)


@pytest.mark.parametrize(("original", "normalized"), [(False, False), (True, False), (False, True), (True, True)])
def test_semantics_options(tmp_path, original, normalized):
    """Toy descriptions `att` are `original_att` at unit length."""
    folder = toy.write_toy(tmp_path)
    fields = toy.split_fields(toy.features_fields()["labels"])
    options = toy_options(tmp_path, original_semantics=original, semantics_scaling="l2" if normalized else "none")
    dataset, (_, _, notes) = data.load(options, 0), read_semantics(folder / "att_splits.mat", options)
    expected = fields["original_att"].T if original and not normalized else fields["att"].T
    np.testing.assert_allclose(dataset.semantics, expected, rtol=1e-6)
    name = dataset.described_by
    assert ("original_att" in name, "normalised" in name, notes) == (original, normalized, ())


def test_missing_values_of_awa_are_kept_and_noted(tmp_path):
    fields = toy.split_fields(toy.features_fields()["labels"])
    original = fields["original_att"].copy()
    original[0, :2] = -1
    toy.write_toy(tmp_path, original_att=original)
    dataset = load_xlsa17(toy_options(tmp_path, original_semantics=True))
    np.testing.assert_array_equal(dataset.semantics[:2, 0], [-1, -1])
    assert any("2 entries of -1" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("low", "values", "count"),
    [
        (-1, [0.0, 12.5, 100.0], 2),  # of AWA
        (-1, [-1, 1], 0),  # no and yes
        (-1, [0, 1], 0),  # no, open and yes
        (-1, [-0.5, 0.5], 0),  # a scale of both signs
        (-2, [3.0, 4.0], 0),
        (-1, [-2.0, 4.0], 0),
    ],
)
def test_minus_one_means_not_known_only_below_a_scale_from_0_on(tmp_path, low, values, count):
    att = np.resize(values, (toy.A_DIM, toy.N_CLASSES)).astype(np.float64)
    att[0, :2] = low
    toy.write_toy(tmp_path, att=att)
    notes = load_xlsa17(toy_options(tmp_path)).notes
    assert [note for note in notes if "not known" in note] == (
        [f"att has {count} entries of -1, which mean 'not known': kept as they are"] if count else []
    )


def test_more_classes_may_be_described_than_have_rows(tmp_path):
    """As many as there are attributes have rows: names tell that `att` is not turned."""
    att = np.random.default_rng(0).random((toy.N_CLASSES, toy.N_CLASSES + 3))
    names = toy.cells([f"class {number}" for number in range(toy.N_CLASSES + 3)])
    toy.write_toy(tmp_path, att=att, allclasses_names=names)
    assert load_xlsa17(toy_options(tmp_path)).semantics.shape == (toy.N_CLASSES + 3, toy.N_CLASSES)


def test_names_of_attributes_go_to_the_file_and_back(tmp_path):
    toy.write_toy(tmp_path)
    dataset = load_xlsa17(toy_options(tmp_path))
    names = ("has wings", "$5_", "\u7fbd", "a,b")
    write_xlsa17(tmp_path / "TOY", dataclasses.replace(dataset, attribute_names=names), "res101")
    loaded = load_xlsa17(toy_options(tmp_path))
    assert (dataset.attribute_names, loaded.attribute_names) == ((), names)
    assert loaded.fingerprint() == dataset.fingerprint()


def _changed(values: np.ndarray, index, value) -> np.ndarray:
    changed = values.astype(np.float64)
    changed[index] = value
    return changed


FEATURES = toy.features_fields()
SPLITS = toy.split_fields(FEATURES["labels"])
N_ROWS = FEATURES["labels"].size
BAD_FIELDS = {
    "label zero": ({"labels": _changed(FEATURES["labels"], (3, 0), 0)}, r"res101\.mat: 'labels'.*entry 4 is 0"),
    "label too large": ({"labels": _changed(FEATURES["labels"], (0, 0), 99)}, "entry 1 is 99.*1..6"),
    "label half": ({"labels": _changed(FEATURES["labels"], (0, 0), 1.5)}, "whole number"),
    "label nan": ({"labels": _changed(FEATURES["labels"], (0, 0), np.nan)}, "entry 1 is nan"),
    "labels of no class": ({"labels": np.ones((N_ROWS, 2))}, "one row or one column"),
    "fewer labels than rows": ({"labels": FEATURES["labels"][:-1]}, f"but there are {N_ROWS - 1} labels"),
    "nan feature": ({"features": _changed(FEATURES["features"], (2, 5), np.nan)}, "nan in row 6, column 3"),
    "infinite feature": ({"features": _changed(FEATURES["features"], (0, 0), np.inf)}, "inf in row 1, column 1"),
    "float32 overflow": ({"features": _changed(FEATURES["features"], (1, 0), 1e39)}, "inf in row 1, column 2"),
    "no features": ({"features": None}, "no field 'features'"),
    "features of text": ({"features": toy.cells(["a"] * N_ROWS)}, "'features' is text"),
    "complex features": ({"features": FEATURES["features"] * 1j}, "'features' is of class 'complex double'"),
    "no att": ({"att": None}, r"att_splits\.mat: no field 'att'"),
    "nan in att": ({"att": _changed(SPLITS["att"], (1, 2), np.nan)}, "'att': nan in row 2, column 3"),
    "no trainval": ({"trainval_loc": None}, "no field 'trainval_loc'"),
    "no test_unseen": ({"test_unseen_loc": np.zeros((0, 1))}, "no field 'test_unseen_loc'"),
    "row zero": ({"trainval_loc": _changed(SPLITS["trainval_loc"], (0, 0), 0)}, "'trainval_loc': entry 1 is 0"),
    "row too large": ({"test_seen_loc": _changed(SPLITS["test_seen_loc"], (1, 0), N_ROWS + 1)}, "entry 2 is"),
    "row twice": ({"trainval_loc": np.r_[SPLITS["trainval_loc"], SPLITS["trainval_loc"][:1]]}, "occurs twice"),
    "test row in trainval": ({"trainval_loc": np.r_[SPLITS["trainval_loc"], SPLITS["test_seen_loc"][:1]]}, "share 1"),
    "unseen class in trainval": (
        {
            "trainval_loc": np.r_[SPLITS["trainval_loc"], SPLITS["test_unseen_loc"][:1]],
            "test_unseen_loc": SPLITS["test_unseen_loc"][1:],
        },
        "classes of trainval_loc and test_unseen_loc must differ",
    ),
    "seen class never trained": (
        {"trainval_loc": SPLITS["trainval_loc"][FEATURES["labels"][SPLITS["trainval_loc"][:, 0] - 1, 0] != 1]},
        "class 1 is in test_seen_loc but has no row in trainval_loc",
    ),
    "too few names": ({"allclasses_names": toy.cells(["one"])}, "'allclasses_names' has 1 entries"),
    "att on its side": ({"att": SPLITS["att"].T, "allclasses_names": None}, "'att' is 6 x 4, so 4 classes"),
    "wide att on its side": (
        {"att": np.ones((6, 9)), "allclasses_names": None},
        r"att_splits\.mat: 'att' is 6 x 9, so 9 classes, but labels of res101\.mat count to 6: .* turn it",
    ),
    "named att on its side": ({"att": SPLITS["att"].T}, r"6 entries, but 'att', which must be \[attributes, classes\]"),
    "too few attributes": ({"attribute_names": toy.cells(["one"])}, "'attribute_names' has 1 entries, but 'att' has 4"),
    "names that are numbers": ({"allclasses_names": np.ones((6, 1))}, "cell array of strings"),
}


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_bad_fields_are_named(tmp_path, case):
    changes, message = BAD_FIELDS[case]
    toy.write_toy(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as raised:
        load_xlsa17(toy_options(tmp_path))
    assert "\n" not in str(raised.value)


def test_all_zero_semantics_cannot_be_normalised(tmp_path):
    toy.write_toy(tmp_path, att=_changed(SPLITS["att"], (slice(None), 1), 0))
    with pytest.raises(InputError, match="class 2 is all zero"):
        data.load(toy_options(tmp_path, semantics_scaling="l2"), 0)


def test_representations_must_fit_the_features(tmp_path):
    folder = toy.write_toy(tmp_path)
    toy.write_v5(folder / "other.mat", {"features": np.ones((N_ROWS + 1, 3))})
    with pytest.raises(InputError, match=r"other\.mat: 'features'"):
        load_xlsa17(toy_options(tmp_path, representations="other"))
    toy.write_v5(folder / "other.mat", {"features": np.ones((N_ROWS, 3)), "labels": FEATURES["labels"][::-1]})
    with pytest.raises(InputError, match="labels' differ"):
        load_xlsa17(toy_options(tmp_path, representations="other"))


@pytest.mark.parametrize("field", ["dataset", "features", "representations", "semantics"])
@pytest.mark.parametrize("name", ["../TOY", "..", "/etc/passwd", "a/b", "a\\b", ".hidden", "a\nb", "C:x"])
def test_names_cannot_leave_the_root(tmp_path, field, name):
    toy.write_toy(tmp_path)
    with pytest.raises(InputError, match=f"config.data.{field}"):
        load_xlsa17(toy_options(tmp_path, **{field: name}))


def test_percent_rows_are_positions_within_trainval(tmp_path):
    folder = toy.write_toy(tmp_path)
    toy.write_v5(folder / "split_30percent.mat", {"trainval_loc": np.array([[5], [1], [16]], np.int32)})
    np.testing.assert_array_equal(percent_rows(toy_options(tmp_path, percent=30), 16), [4, 0, 15])
    assert percent_rows(toy_options(tmp_path), 16) is None
    with pytest.raises(InputError, match=r"split_30percent\.mat.*entry 3 is 16"):
        percent_rows(toy_options(tmp_path, percent=30), 15)
    with pytest.raises(InputError, match=r"split_10percent\.mat: no such file"):
        percent_rows(toy_options(tmp_path, percent=10), 16)


def test_writing_replaces_files_and_leaves_nothing_else(tmp_path):
    toy.write_toy(tmp_path)
    dataset = load_xlsa17(toy_options(tmp_path))
    folder = tmp_path / "TOY"
    write_xlsa17(folder, dataset, "res101")
    assert sorted(path.name for path in folder.iterdir()) == ["att_splits.mat", "res101.mat"]
    again = load_xlsa17(toy_options(tmp_path, original_semantics=True))
    assert (again.fingerprint(), again.class_names) == (dataset.fingerprint(), dataset.class_names)
    with pytest.raises(InputError, match="has none"):
        write_xlsa17(folder, dataset, "res101", "r")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_xlsa17(tmp_path / "file", dataset, "res101")


def test_an_interrupted_write_is_not_loadable(tmp_path, monkeypatch):
    toy.write_toy(tmp_path)
    dataset = load_xlsa17(toy_options(tmp_path))
    changed = dataset.with_view("x", dataset.x + 1, "ce_ce")

    def fail(source, target):
        raise OSError("interrupted")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(InputError, match="interrupted"):
        write_xlsa17(tmp_path / "TOY", changed, "res101")
    with pytest.raises(InputError, match=r"att_splits\.mat: no such file"):
        load_xlsa17(toy_options(tmp_path))


@hypothesis.settings(max_examples=20, deadline=None, derandomize=True)
@hypothesis.given(
    seed=strategies.integers(0, 10**6),
    x_dim=strategies.sampled_from([1, 5, 27, 40]),
    r_dim=strategies.sampled_from([0, 3, 27]),
    scaling=strategies.sampled_from(["none", "l2"]),
)
def test_written_data_load_back_equal(seed, x_dim, r_dim, scaling):
    sizes = {"x_dim": x_dim, "r_dim": r_dim, "trainval": 15, "test_seen": 7, "test_unseen": 5}
    made = data.load(data_options(source="synthetic", semantics_scaling=scaling, synthetic=sizes), seed)
    with tempfile.TemporaryDirectory() as root:
        write_xlsa17(pathlib.Path(root) / "TOY", made, "x", "r" if r_dim else None)
        options = toy_options(root, features="x", representations="r" if r_dim else "", semantics_scaling=scaling)
        loaded = data.load(options, 0)
    assert loaded.fingerprint() == made.fingerprint()
    assert loaded.class_names == made.class_names


def test_fingerprint_sees_every_array(tmp_path):
    toy.write_toy(tmp_path)
    dataset = load_xlsa17(toy_options(tmp_path))
    swapped = dataclasses.replace(dataset.splits, train=dataset.splits.val, val=dataset.splits.train)
    changes = [
        {"views": {"x": dataset.x + np.float32(1)}},
        {"views": {"x": dataset.x, "r": dataset.x}},
        {"views": {"x": dataset.x, "map": dataset.x}},
        {"attribute_vectors": dataset.x},
        {"labels": dataset.labels[::-1]},
        {"semantics": dataset.semantics[::-1]},
        {"splits": swapped},
    ]
    others = {dataclasses.replace(dataset, **change).fingerprint() for change in changes}
    assert len(others | {dataset.fingerprint()}) == len(changes) + 1

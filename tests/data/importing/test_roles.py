import dataclasses
from pathlib import Path

import numpy as np
import pytest

from zsl_jax.data.importing import naming, roles
from zsl_jax.data.importing.fields import Field
from zsl_jax.errors import InputError

MATRIX, LIST = np.ones((4, 3)), np.arange(4)


@pytest.mark.parametrize(
    ("file", "name", "value", "role"),
    [
        ("res101.mat", "features", MATRIX, "features"),
        ("con_paco.mat", "features", MATRIX, "representations"),
        ("supcon256.mat", "features", MATRIX, "representations"),
        ("a.npz", "image_features", MATRIX, "features"),
        ("a.npz", "embedding", MATRIX, "features"),
        ("a.npz", "y", LIST, "labels"),
        ("a.pt", "data.train_labels", LIST, "labels"),
        ("a.h5", "deep/image_files", ("a.jpg", "b.jpg"), "image names"),
        ("predicate-matrix-continuous.txt", "predicate-matrix-continuous", MATRIX, "semantics"),
        ("att_splits.mat", "original_att", MATRIX, "original semantics"),
        ("att_splits.mat", "trainval_loc", LIST, "split"),
        ("trainclasses2.txt", "trainclasses2", ("a", "b"), "split"),
        ("a.h5", "splits/test_unseen", LIST, "split"),
        ("a.npz", "train", MATRIX, ""),
        ("a.npz", "unseen_mask", LIST, "split"),
        ("a.npz", "test_indices", LIST, "split"),
        ("a.npz", "novel_classes", ("a", "b"), "split"),
        ("a.npz", "base", ("a", "b"), ""),
        ("a.npz", "valid", LIST, ""),
        ("a.npz", "id2label", ("a", "b"), "class names"),
        ("a.npz", "label_names", ("a", "b", "a", "a", "b"), "labels"),
        ("a.npz", "image_ids", LIST + 0.0, "image names"),
        ("a.npz", "image_ids", LIST + 0.5, ""),
        ("a.npz", "filename", ("a.npz",), ""),
        ("a.npz", "features_of_labels", MATRIX, "features"),
        ("a.npz", "attribute_features", MATRIX, ""),
        ("classes.txt", "classes", ("a", "b"), "class names"),
        ("a.npz", "weights", MATRIX, ""),
        ("features.csv", "features", ("a.jpg", "b.jpg"), ""),
        ("a.npz", "attributes", ("furry", "big"), ""),
        ("a.npz", "images", np.ones((4, 8, 8)), ""),
    ],
)
def test_role_by_name(file, name, value, role):
    assert roles.role_of(Field(Path(file), name, value)) == role


def given(*fields):
    return [Field(Path(file), name, value) for file, name, value in fields]


def test_what_is_left_by_its_shape():
    fields = given(("a.npz", "u", MATRIX), ("a.npz", "v", LIST), ("a.npz", "w", np.ones(7)), ("b.npy", "att", MATRIX))
    chosen = roles.choose(fields, {})
    assert (chosen.features.name, chosen.semantics.name) == ("u", "att")
    assert chosen.labels.name == "v"
    assert "not used: a.npz: 'w', 7 float64" in chosen.notes
    with pytest.raises(InputError, match=r"'u' and b.npy: 'z' could both be the features; say which by --features"):
        roles.choose([*fields, *given(("b.npy", "z", MATRIX))], {})


def test_equal_fields_are_one():
    fields = given(("a.mat", "features", MATRIX), ("a.mat", "labels", LIST), ("b.mat", "labels", LIST[:, None]))
    fields += given(("c.mat", "att", MATRIX))
    assert roles.choose(fields, {}).labels.file == Path("a.mat")
    fields[2] = Field(Path("b.mat"), "labels", LIST + 1)
    with pytest.raises(InputError, match="could both be the labels"):
        roles.choose(fields, {})
    assert roles.choose(fields, {"labels": ["b.mat"]}).labels.file == Path("b.mat")


def test_whose_list_of_classes():
    names, others = ("a", "b", "c", "d"), ("d", "c", "b", "a")
    fields = given(("x.npz", "features", MATRIX), ("x.npz", "labels", LIST), ("x.npz", "classes", others))
    fields += given(("att.mat", "att", MATRIX), ("att.mat", "allclasses_names", names))
    chosen = roles.choose(fields, {})
    assert chosen.class_names is fields[4]
    assert chosen.label_names is fields[2]
    with pytest.raises(
        InputError, match=r"if x.npz: 'classes' lists them in this order, say --class-names x.npz:classes"
    ):
        roles.choose(fields[:4], {})
    chosen = roles.choose(fields[:4], {"class names": ["x.npz:classes"]})
    assert chosen.class_names is fields[2]


def test_lists_of_classes_in_different_order_are_asked_about():
    names = Field(Path("all.txt"), "allclasses", ("c", "b", "a"))
    described = Field(Path("att.pkl"), "att", np.ones((3, 2)), "rows", ("a", "b", "c"))
    fields = [*given(("x.npz", "features", MATRIX), ("x.npz", "labels", LIST)), described, names]
    with pytest.raises(InputError, match=r"different order; say which order .* --label-names"):
        roles.choose(fields, {})
    assert roles.choose(fields, {"label names": ["all.txt"]}).label_names is names
    by_description = roles.choose(fields, {"label names": ["att.pkl"]})
    assert by_description.semantics is described
    assert by_description.label_names is not None
    assert by_description.label_names.value == ("a", "b", "c")
    fields[1] = Field(Path("x.npz"), "labels", ("a", "b", "c", "a"))
    assert roles.choose(fields, {}).label_names is names


def test_a_column_of_parts_is_a_mask_for_each():
    fields = given(("a.npz", "features", MATRIX), ("a.npz", "labels", LIST), ("a.npz", "att", MATRIX))
    fields += given(("a.npz", "split", ("train", "test", "train", "test")))
    splits = roles.choose(fields, {}).splits
    np.testing.assert_array_equal(splits["test"].value, [False, True, False, True])
    assert set(splits) == {"train", "test"}


def test_what_cannot_be_used_says_why():
    fields = given(("a.npz", "features", MATRIX), ("a.npz", "labels", ()), ("a.npz", "att", MATRIX))
    fields[1] = dataclasses.replace(fields[1], note="of type object")
    with pytest.raises(InputError, match=r"no labels found among .*'labels' \(of type object\)"):
        roles.choose(fields, {})
    with pytest.raises(InputError, match="'labels': of type object"):
        roles.choose(fields, {"labels": ["a.npz:labels"]})
    fields += given(("b.npz", "labels", LIST))
    assert "not used: a.npz: 'labels', of type object" in roles.choose(fields, {}).notes


def test_names_match_exactly_before_roughly():
    found, notes = naming.match(("polar+bear", "gnu"), ("polar+bear", "POLAR-BEAR"), "here")
    assert found["polar+bear"] == 0
    assert found["gnu"] is None
    with pytest.raises(InputError, match="'Polar Bear' is like the classes"):
        naming.match(("Polar Bear",), ("polar+bear", "POLAR-BEAR"), "here")
    assert notes == ()
    assert naming.match(("Grizzly",), ("grizzly",), "here")[1] == (
        "here: matched but for case, spaces, '+', '_', '-', accents' form or leading zeros: 'Grizzly' is 'grizzly'",
    )


@pytest.mark.parametrize(
    ("name", "other", "alike"),
    [
        ("e\u0301le\u0301phant", "\u00c9l\u00e9phant", True),
        ("3", "003", True),
        ("4.0", "4", True),
        ("0", "00", True),
        ("-3", "3", False),
        ("1_2", "12", False),
        ("no 3", "no_03", False),
    ],
)
def test_names_alike(name, other, alike):
    assert (naming.rough_name(name) == naming.rough_name(other)) == alike

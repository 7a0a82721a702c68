import re
from pathlib import Path

import numpy as np
import pytest

from zsl_jax.data.formats.tables import plain
from zsl_jax.data.importing import manifest, names, naming, propose
from zsl_jax.data.importing.fields import Field
from zsl_jax.data.importing.places import Places
from zsl_jax.errors import InputError

MATRIX, LIST = np.ones((4, 3)), np.arange(4)


@pytest.mark.parametrize(
    ("file", "name", "value", "role"),
    [
        ("res101.mat", "features", MATRIX, "features"),
        ("con_paco.mat", "features", MATRIX, "representations"),
        ("supcon256.mat", "features", MATRIX, "representations"),
        ("a.npz", "image_features", MATRIX, ""),
        ("a.npz", "Embedding", MATRIX, "features"),
        ("a.npz", "y", LIST, "labels"),
        ("a.pt", "data.labels", LIST, "labels"),
        ("a.pt", "train_labels", LIST, ""),
        ("a.h5", "deep/image_files", ("a.jpg", "b.jpg"), "images"),
        ("predicate-matrix-continuous.txt", "predicate-matrix-continuous", MATRIX, "semantics"),
        ("att_splits.mat", "original_att", MATRIX, "original"),
        ("a.npz", "id2label", ("a", "b"), "classes"),
        ("a.npz", "label_names", ("a", "b", "a", "a", "b"), "labels"),
        ("a.npz", "image_ids", LIST + 0.0, "images"),
        ("a.npz", "image_ids", LIST + 0.5, ""),
        ("classes.txt", "classes", ("a", "b"), "classes"),
        ("a.npz", "weights", MATRIX, ""),
        ("a.npz", "attributes", ("furry", "big"), "attributes"),
        ("a.npz", "images", np.ones((4, 8, 8)), ""),
    ],
)
def test_role_by_name_and_form(file, name, value, role):
    proposal = propose.Proposal({}, Places(Path()), [], None)
    assert "".join(proposal.roles(Field(Path(file), name, value))) == role


@pytest.mark.parametrize(
    ("name", "part", "of"),
    [
        ("trainval_loc", "trainval", "rows"),
        ("trainclasses2", "train", "classes"),
        ("splits/test_unseen", "test_unseen", ""),
        ("unseen_mask", "unseen", "rows"),
        ("test_indices", "test", "rows"),
        ("novel_classes", "unseen", "classes"),
        ("validation", "val", ""),
        ("weights", "", ""),
        ("train_loss", "", ""),
    ],
)
def test_parts_of_splits(name, part, of):
    assert names.part(name) == (part, of)


@pytest.mark.parametrize(
    ("name", "says"), [("isTrain", True), ("my_split", True), ("fold3", True), ("restrained", False)]
)
def test_what_looks_like_a_split(name, says):
    assert names.says_split(name) == says


@pytest.mark.parametrize(
    ("name", "says"),
    [("id", True), ("bird_id", True), ("classId", True), ("", True), ("Unnamed: 0", True), ("humid", False)],
)
def test_columns_that_number(name, says):
    assert names.is_id(name) == says


def test_all_names_and_keys_are_documented():
    """What is known by exact names only must be on the page that users read."""
    page = (Path(__file__).parents[3] / "docs" / "own_data.md").read_text()
    spans = {word for span in re.findall("`([^`\n]+)`", page) for word in (span, span.removesuffix(".*"))}
    said = {plain(span.removesuffix(".mat")) for span in spans}
    tables = (*names.ROLES.values(), names.REPRESENTATION_FILES, names.CLASS_COLUMNS, names.CLASS_IDS)
    tables += (names.PATH_COLUMNS, names.ROW_IDS, names.DIVISIONS, names.OF_ROWS, names.OF_CLASSES, names.PARTS)
    assert {name for table in tables for name in table} <= said
    keys = {f"{section}.{key}" if section else key for section in manifest.CHECKED for key in manifest.KEYS[section]}
    assert {key for key in keys if key not in spans and key.removeprefix("splits.") not in spans} == set()


def test_descriptions_of_new_classes(tmp_path):
    (tmp_path / "a.csv").write_text("id,name,legs,wings\n7,ant,6,0\n3,bat,2,2\n")
    values, classes, attributes = propose.descriptions(tmp_path / "a.csv")
    np.testing.assert_array_equal(values, [[6, 0], [2, 2]])
    assert (classes, attributes) == (("ant", "bat"), ("legs", "wings"))
    np.save(tmp_path / "b.npy", values)
    values, classes, attributes = propose.descriptions(tmp_path / "b.npy")
    assert (values.shape, classes, attributes) == ((2, 2), (), ())
    (tmp_path / "c.csv").write_text("kind,legs\n0,6\n1,2\n")
    values, classes, attributes = propose.descriptions(tmp_path / "c.csv")
    assert (values.tolist(), classes, attributes) == ([[6], [2]], ("0", "1"), ("legs",))
    (tmp_path / "d.csv").write_text("class\nant\nbat\n")
    with pytest.raises(InputError, match="holds 0 arrays of numbers"):
        propose.descriptions(tmp_path / "d.csv")


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

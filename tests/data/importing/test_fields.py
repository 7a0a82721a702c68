import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.data import toy
from zsl_jax.data.formats import readers
from zsl_jax.data.importing import fields, names
from zsl_jax.data.importing.fields import real
from zsl_jax.errors import InputError

VECTOR = np.arange(3.0)


def flatten(content):
    return {field.name: field for field in fields.flatten(Path("a.pkl"), content)}


@pytest.mark.parametrize(
    "counted",
    [{"dog": 1, "ant": 0}, {1: "dog", 0: "ant"}, {"1": "dog", "0": "ant"}, {"dog": np.int64(1), "ant": np.int64(0)}],
)
def test_a_dictionary_that_counts_is_a_list_of_names(counted):
    field = flatten({"class_to_idx": counted})["class_to_idx"]
    assert field.value == ("ant", "dog")
    assert names.roles(field.name) == ("classes",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"ant": 1, "dog": 2}, "a dictionary without arrays"),
        ({"ant": "train"}, "a dictionary without arrays"),
        ([[[1], [1, 2]], [[1], [2]]], "lists of different lengths"),
        ([1, "ant"], "neither numbers alone"),
        ([10**400, 1], "lists of different lengths"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": [1]}}}}}}}}}, "more than 8 dictionaries"),
    ],
)
def test_what_is_passed_over_is_named(content, reason):
    found = flatten({"features": VECTOR, "it": content})
    assert not found["features"].note
    (left,) = [field for field in found.values() if field.note]
    assert left.name.startswith("it")
    assert left.note.startswith(reason)


@pytest.mark.parametrize("name", ["cattle", "train", "latest model", "x"])
@pytest.mark.parametrize("vector", [VECTOR, VECTOR[None], [0, 1, 2]])
def test_vectors_of_classes_whatever_they_are_called(name, vector):
    field = flatten(dict.fromkeys((name, "ant", "bat", "cat"), vector))["a"]
    assert field.rows == (name, "ant", "bat", "cat")
    np.testing.assert_array_equal(field.value, [VECTOR] * 4)


@pytest.mark.parametrize("parts", [("trainval", "test_seen", "test_unseen"), ("features", "labels", "extra")])
def test_parts_of_a_data_set_are_no_classes(parts):
    assert tuple(flatten({name: [1, 2] for name in parts})) == parts


def test_a_text_is_a_list_of_one_where_a_list_of_classes_is_meant():
    found = flatten({"unseen": "fox", "path": "/data", "masks": [True, False]})
    assert found["unseen"].value == ("fox",)
    assert "path" not in found
    np.testing.assert_array_equal(real(found["masks"]), [1, 0])


X = np.ones((4, 3))


def npz(folder):
    np.savez(folder / "a.npz", x=X, it=np.array([X, None], dtype=object))
    return folder / "a.npz"


def npz_with_text(folder):
    np.savez(folder / "a.npz", x=X)
    with zipfile.ZipFile(folder / "a.npz", "a") as archive:
        archive.writestr("it", "read me")
    return folder / "a.npz"


def bytes_in_hdf5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"], file["it"] = X, np.array([b"caf\xe9"])
    return folder / "a.h5"


def bytes_in_npz(folder):
    np.savez(folder / "a.npz", x=X, it=np.array([b"caf\xe9"]))
    return folder / "a.npz"


def ragged_json(folder):
    (folder / "a.json").write_text(json.dumps({"x": X.tolist(), "it": [[1], [1, 2]]}))
    return folder / "a.json"


def struct_array(folder):
    records = np.array([[(1.0,), (2.0,)]], dtype=[("a", "O")])
    toy.write_v5(folder / "a.mat", {"x": X, "it": records})
    return folder / "a.mat"


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (npz, "never unpickled"),
        (npz_with_text, "no array"),
        (bytes_in_hdf5, "isn't UTF-8"),
        (bytes_in_npz, "isn't UTF-8"),
        (ragged_json, "different lengths"),
        (struct_array, "a struct array of shape (1, 2)"),
    ],
)
def test_what_cannot_be_used_keeps_no_other_field_out(tmp_path, write, reason):
    found = {field.name: field for field in fields.read(write(tmp_path))}
    np.testing.assert_array_equal(found["x"].value, X)
    assert reason in found["it"].note


def test_memory_that_does_not_suffice(tmp_path, monkeypatch):
    def too_large(_):
        raise MemoryError

    (tmp_path / "a.npy").write_bytes(b"")
    monkeypatch.setitem(readers.READERS, ".npy", too_large)
    with pytest.raises(InputError, match="too large for the memory here; give fewer rows"):
        fields.read(tmp_path / "a.npy")

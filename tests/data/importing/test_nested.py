from pathlib import Path

import numpy as np
import pytest

from zsl_jax.data.importing import nested, roles
from zsl_jax.data.importing.fields import real

VECTOR = np.arange(3.0)


def flatten(content):
    return {field.name: field for field in nested.flatten(Path("a.pkl"), content)}


@pytest.mark.parametrize(
    "counted",
    [{"dog": 1, "ant": 0}, {1: "dog", 0: "ant"}, {"1": "dog", "0": "ant"}, {"dog": np.int64(1), "ant": np.int64(0)}],
)
def test_a_dictionary_that_counts_is_a_list_of_names(counted):
    field = flatten({"class_to_idx": counted})["class_to_idx"]
    assert field.value == ("ant", "dog")
    assert roles.role_of(field) == "class names"


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
    fields = flatten({"features": VECTOR, "it": content})
    assert fields["features"].is_usable
    (left,) = [field for field in fields.values() if not field.is_usable]
    assert left.name.startswith("it")
    assert left.note.startswith(reason)


@pytest.mark.parametrize("name", ["cattle", "train", "latest model", "x"])
@pytest.mark.parametrize("vector", [VECTOR, VECTOR[None], [0, 1, 2]])
def test_vectors_of_classes_whatever_they_are_called(name, vector):
    field = flatten(dict.fromkeys((name, "ant", "bat", "cat"), vector))["a"]
    assert field.names == (name, "ant", "bat", "cat")
    np.testing.assert_array_equal(field.value, [VECTOR] * 4)


@pytest.mark.parametrize("names", [("trainval", "test_seen", "test_unseen"), ("features", "labels", "extra")])
def test_parts_of_a_data_set_are_no_classes(names):
    assert tuple(flatten({name: [1, 2] for name in names})) == names


def test_a_text_is_a_list_of_one_where_a_list_of_classes_is_meant():
    fields = flatten({"unseen": "fox", "path": "/data", "masks": [True, False]})
    assert fields["unseen"].value == ("fox",)
    assert "path" not in fields
    np.testing.assert_array_equal(real(fields["masks"]), [1, 0])

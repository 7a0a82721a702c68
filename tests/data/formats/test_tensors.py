"""Arrays by name in .safetensors files, and trees of parameters."""

import numpy as np
import pytest

from zsl_jax import files
from zsl_jax.data.formats import tensors
from zsl_jax.errors import InputError


def test_what_is_written_is_read(tmp_path):
    arrays = {
        "a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.int32(3),
        "swapped": np.arange(3, dtype=">f8"), "flags": np.array([True, False]), "half": np.zeros((0, 2), np.float16),
    }  # fmt: skip
    tensors.write(tmp_path / "x.safetensors", arrays, {"stage": "drg"})
    found, texts = tensors.read(tmp_path / "x.safetensors")
    assert texts == {"stage": "drg"}
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype.newbyteorder("=")
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_trees_are_flattened_and_back():
    tree = {"net": {"hidden": {"z": np.ones(2), "bias": np.zeros(1)}, "out": np.ones(3)}, "scale": np.float32(2)}
    flat = tensors.flatten(tree)
    assert set(flat) == {"net/hidden/z", "net/hidden/bias", "net/out", "scale"}
    again = tensors.unflatten(flat)
    assert again.keys() == tree.keys()
    assert again["net"]["hidden"]["z"] is flat["net/hidden/z"]


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a//b",), ("",), ("/a",)])
def test_names_that_contradict_each_other_are_refused(names):
    with pytest.raises(InputError, match="no name of a parameter"):
        tensors.unflatten(dict.fromkeys(names, np.ones(1)))


def test_damage_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors.write(path, {"a": np.ones(100)}, {})
    whole = path.read_bytes()
    for data in (b"", b"text", whole[:-1], whole[:20], b"\xff" * 8 + whole[8:], whole.replace(b"100", b"900")):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"x\.safetensors: damaged[^\n]*$"):
            tensors.read(path)


def test_what_the_memory_cannot_hold_is_refused(tmp_path, monkeypatch):
    def full(_):
        raise MemoryError

    tensors.write(tmp_path / "x.safetensors", {"a": np.ones(100)}, {})
    monkeypatch.setattr(tensors.safetensors, "deserialize", full)
    with pytest.raises(InputError, match=r"x\.safetensors: too large for the memory"):
        tensors.read(tmp_path / "x.safetensors")
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    with pytest.raises(InputError, match=r"x\.safetensors: claims \d+ bytes, more than 100, half of the memory"):
        tensors.read(tmp_path / "x.safetensors")


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        tensors.write(tmp_path / "none" / "x.safetensors", {"a": np.ones(1)}, {})
    with pytest.raises(InputError, match="cannot be read"):
        tensors.read(tmp_path / "none.safetensors")

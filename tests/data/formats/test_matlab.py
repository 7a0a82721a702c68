import contextlib
import io
import pathlib
import struct
import tempfile

import h5py
import hypothesis
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import strategies

from tests.data import toy
from zsl_jax.data.formats import mat5, matlab
from zsl_jax.errors import InputError


@pytest.mark.parametrize("write", [toy.write_v5, toy.write_v73])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int16, np.int64])
def test_both_versions_read_the_same(tmp_path, write, dtype):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    write(tmp_path / "a.mat", {"values": values, "other": values})
    read = matlab.read_numbers(tmp_path / "a.mat", ["values", "absent"])
    assert list(read) == ["values"]
    np.testing.assert_array_equal(read["values"], values)


@pytest.mark.parametrize("write", [toy.write_v5, toy.write_v73])
def test_names_keep_their_order_and_lose_control_characters(tmp_path, write):
    write(tmp_path / "a.mat", {"names": toy.cells(["killer+whale", "Bäume", "red\x1b[31m"])})
    assert matlab.read_names(tmp_path / "a.mat", "names") == ("killer+whale", "Bäume", "red?[31m")
    assert matlab.read_names(tmp_path / "a.mat", "absent") is None


def test_names_as_a_matrix_of_characters(tmp_path):
    toy.write_v5(tmp_path / "a.mat", {"names": np.array(["ab", "cd"])})
    assert matlab.read_names(tmp_path / "a.mat", "names") == ("ab", "cd")


KINDS = {
    "logical": (np.array([[True], [False], [True]]), np.array([[True], [False], [True]])),
    "sparse": (scipy.sparse.csc_matrix([[0, 2.5], [0, 0], [1, 0]]), np.array([[0, 2.5], [0, 0], [1, 0]])),
    "sparse logical": (scipy.sparse.csc_matrix([[0, 1], [1, 0]], dtype=bool), np.array([[False, True], [True, False]])),
    "four sides": (np.arange(24.0).reshape(2, 3, 4, 1), np.arange(24.0).reshape(2, 3, 4)),
    "cells of numbers": (toy.cells([1.0, 4.0]), np.array([1.0, 4.0])),
    "cells of texts": (toy.cells(["ant", ""]), ("ant", "")),
    "cells of cells": (toy.cells([toy.cells(["ant"]), toy.cells(["bear"])]), ("ant", "bear")),
    "rows of characters": (np.array(["ant ", "bear"]), ("ant", "bear")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("in_struct", [False, True])
def test_kinds_of_variables(tmp_path, kind, compressed, in_struct):
    value, expected = KINDS[kind]
    toy.write_v5(tmp_path / "a.mat", {"it": {"inner": value} if in_struct else value}, compressed)
    found = matlab.read(tmp_path / "a.mat")["it"]
    found = found["inner"] if in_struct else found
    if isinstance(expected, tuple):
        assert found == expected
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found.squeeze(), expected.squeeze())


def v73(path: pathlib.Path) -> None:
    """Variables of the kinds that MATLAB writes to a file of version 7.3, each told by its attributes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        mask = file.create_dataset("mask", data=np.array([[1, 0, 1]], np.uint8))
        mask.attrs["MATLAB_class"] = np.bytes_("logical")
        names = file.create_dataset("names", data=np.array([[97, 98], [110, 101], [116, 101]], np.uint16))
        names.attrs["MATLAB_class"] = np.bytes_("char")
        file["struct/inner"] = np.arange(6.0).reshape(3, 2)
        sparse = file.create_group("sparse")
        sparse.attrs["MATLAB_sparse"], sparse.attrs["MATLAB_class"] = np.uint64(3), np.bytes_("double")
        sparse["ir"], sparse["jc"], sparse["data"] = np.array([2, 0]), np.array([0, 1, 2]), np.array([1.0, 2.5])
        strings = file.create_dataset("strings", data=np.array([[3707764736, 2, 1, 1, 1, 1]], np.uint32).T)
        strings.attrs["MATLAB_class"], strings.attrs["MATLAB_object_decode"] = np.bytes_("string"), np.int32(3)
        file.create_dataset("huge", (2**20, 2**10), np.float64, chunks=(8, 8)).attrs["MATLAB_class"] = np.bytes_(
            "double"
        )
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file")


def test_kinds_of_variables_of_version_73(tmp_path):
    v73(tmp_path / "a.mat")
    found = matlab.read(tmp_path / "a.mat", ["mask", "names", "struct", "sparse", "strings"])
    np.testing.assert_array_equal(found["mask"], [[True], [False], [True]])
    assert found["names"] == ("ant", "bee")
    np.testing.assert_array_equal(found["struct"]["inner"], np.arange(6.0).reshape(3, 2).T)
    np.testing.assert_array_equal(found["sparse"], [[0, 2.5], [0, 0], [1, 0]])
    assert "in MATLAB write cellstr(x) of strings" in found["strings"].reason


def test_variables_together_must_fit_into_memory(tmp_path, monkeypatch):
    v73(tmp_path / "a.mat")
    monkeypatch.setattr("zsl_jax.files.MAX_BYTES", 2**20)
    with pytest.raises(InputError, match=r"claims \d+ bytes, more than"):
        matlab.read(tmp_path / "a.mat", ["huge"])
    toy.write_v5(tmp_path / "b.mat", {name: np.zeros((300, 300)) for name in "ab"}, compressed=True)
    with pytest.raises(InputError, match="more than there is room for"):
        matlab.read(tmp_path / "b.mat")
    assert matlab.read(tmp_path / "b.mat", ["b"])["b"].shape == (300, 300)


@pytest.mark.parametrize(
    ("rows", "starts", "entries"),
    [([5], [0, 1], [1.0]), ([0], [0, 2], [1.0]), ([0], [1, 0], [1.0]), ([-1], [0, 1], [1])],
)
def test_damaged_sparse_matrices(rows, starts, entries):
    with pytest.raises(ValueError, match="a sparse matrix with"):
        mat5.dense(np.array(rows), np.array(starts), np.array(entries), (3, 1), False)


def _big_endian_element(kind: int, content: bytes) -> bytes:
    return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)


def test_big_endian_files(tmp_path):
    array = _big_endian_element(6, struct.pack(">II", 6, 0))  # class double
    array += _big_endian_element(5, struct.pack(">ii", 1, 3))
    array += _big_endian_element(1, b"values")
    array += _big_endian_element(3, struct.pack(">hhh", 1, -2, 300))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    (tmp_path / "a.mat").write_bytes(header + _big_endian_element(14, array))
    read = matlab.read_numbers(tmp_path / "a.mat", ["values"])["values"]
    np.testing.assert_array_equal(read, [[1, -2, 300]])


def test_empty_arrays_count_as_absent(tmp_path):
    toy.write_v5(tmp_path / "a.mat", {"values": np.zeros((0, 0))})
    assert matlab.read_numbers(tmp_path / "a.mat", ["values"]) == {}
    with h5py.File(tmp_path / "b.mat", "w") as file:
        file["values"] = np.zeros(2, np.uint64)  # MATLAB stores the sizes of an empty array in its place
        file["values"].attrs["MATLAB_empty"] = 1
    assert matlab.read_numbers(tmp_path / "b.mat", ["values"]) == {}


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1", b"<html>" * 99, b"\0" * 300])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mat: not a MATLAB file"):
        matlab.read_numbers(tmp_path / "a.mat", ["values"])


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "absent.mat"):
        with pytest.raises(InputError, match="no such file"):
            matlab.read_numbers(path, ["values"])


@pytest.mark.parametrize("write", [toy.write_v5, toy.write_v73])
def test_truncated_files_are_refused(tmp_path, write):
    path = tmp_path / "a.mat"
    write(path, {"values": np.random.default_rng(0).random((40, 50))})
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(InputError, match=r"a\.mat: cannot be read"):
        matlab.read_numbers(path, ["values"])


@pytest.mark.parametrize(
    "value", [toy.cells(["x"]), {"a": 1}, np.array(["text"]), np.array([[1j]]), np.ones((2, 2, 2))]
)
def test_only_matrices_of_numbers_are_numbers(tmp_path, value):
    scipy.io.savemat(tmp_path / "a.mat", {"values": value})
    with pytest.raises(InputError, match="'values' is"):
        matlab.read_numbers(tmp_path / "a.mat", ["values"])


def test_hdf5_data_stored_elsewhere_are_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones((2, 2))
    (tmp_path / "raw.bin").write_bytes(bytes(32))
    layout = h5py.VirtualLayout((2, 2), np.float64)
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "secret", (2, 2))
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")
        file["soft"] = h5py.SoftLink("/link")
        file.create_dataset("external", (2, 2), np.float64, external=[(str(tmp_path / "raw.bin"), 0, 32)])
        file.create_virtual_dataset("virtual", layout)
        file.create_group("group")
    for name in ("link", "soft", "external", "virtual", "group"):
        with pytest.raises(InputError, match=f"'{name}' is"):
            matlab.read_numbers(tmp_path / "a.mat", [name])


def test_claimed_sizes_are_checked_before_reading(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file.create_dataset("values", (2**20, 2**20), np.float64, chunks=(1024, 1024))
    with pytest.raises(InputError, match="claims shape"):
        matlab.read_numbers(tmp_path / "a.mat", ["values"])


def _file_bytes(version: str) -> bytes:
    fields = {"values": np.arange(12.0).reshape(3, 4), "names": toy.cells(["one", "two"])}
    if version == "v5":
        stream = io.BytesIO()
        others = {"sparse": KINDS["sparse"][0], "struct": {"inner": np.ones(2), "text": "ant"}}
        scipy.io.savemat(stream, fields | others)
        return stream.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        toy.write_v73(pathlib.Path(folder) / "a.mat", fields)
        return (pathlib.Path(folder) / "a.mat").read_bytes()


@pytest.mark.parametrize(("count", "message"), [(2000, "claims 2000 cells"), (100, "more than 100000 characters")])
def test_cells_may_not_share_one_text_without_end(tmp_path, monkeypatch, count, message):
    monkeypatch.setattr(matlab, "MAX_CHARACTERS", 100_000)
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        text = file.create_dataset("text", data=np.full((9000, 1), ord("a"), np.uint16), compression="gzip")
        cells = np.full((1, count), text.ref, h5py.ref_dtype)
        file.create_dataset("names", data=cells, dtype=h5py.ref_dtype, chunks=(1, count), compression="gzip")
    with pytest.raises(InputError, match=message):
        matlab.read_names(tmp_path / "a.mat", "names")


WHOLE = {version: _file_bytes(version) for version in ("v5", "v73")}


@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
@hypothesis.given(
    version=strategies.sampled_from(["v5", "v73"]),
    damage=strategies.lists(strategies.tuples(strategies.integers(0, 10**4), strategies.integers(0, 255)), max_size=6),
)
def test_damaged_bytes_give_arrays_or_input_errors(version, damage):
    content = bytearray(WHOLE[version])
    for position, value in damage:
        content[position % len(content)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a.mat"
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            assert isinstance(matlab.read(path), dict)

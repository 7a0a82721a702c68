"""Any file as nested dictionaries, arrays and texts. Nothing in it is executed, and no size it claims is trusted."""

import json
import math
import pathlib
import zipfile
from collections.abc import Callable
from typing import IO, Any

import h5py
import numpy as np

from zsl_jax import files
from zsl_jax.data.formats import matlab, pickles, tables, tensors, texts
from zsl_jax.data.formats.mat5 import Unread
from zsl_jax.data.formats.matlab import printable
from zsl_jax.errors import InputError

NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
NPY_KINDS = "biufcSU"
NO_OBJECTS = "Python objects are never unpickled: save numbers, or text as np.array(names, dtype=str)"


def read(path: pathlib.Path, text_columns: tables.TextColumns = lambda names: ()) -> Any:
    """Reads a file; what it is, the ending says.

    Args:
      path: the file.
      text_columns: which columns of tables hold text, see `tables.read`.

    Returns:
      An array, a text, a table, or dictionaries and lists of these; `Unread` for what can't be used, with the reason.

    Raises:
      InputError: no readable regular file, of another kind, damaged, too large for the memory, or of a name that isn't
        UTF-8.
    """
    require_text(str(path))
    with files.opened(path) as stream:
        files.require_room(path, files.size_of(stream))
    ending = path.suffix.lower()
    if ending not in (*READERS, *TABLES):
        raise InputError(f"{path}: files of this ending are not read; one of {' '.join([*READERS, *TABLES])} is needed")
    try:
        return READERS[ending](path) if ending in READERS else tables.read(path, text_columns)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: too large for the memory here; give fewer rows") from error
    except Exception as error:  # damaged files raise dozens of kinds
        reason = printable(" ".join(str(error).split())) or type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason[:200]}); is the file whole? Copy it again") from error


def require_text(name: str) -> None:
    """Raises InputError for the name of a file, or of anything else, that can't be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{printable(name)}: this name isn't UTF-8, so nobody could read it; rename it") from error


def _npy(path: pathlib.Path) -> Any:
    with path.open("rb") as stream:
        return _array(stream, path.stat().st_size)


def _npz(path: pathlib.Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        files.require_room(path, sum(member.file_size for member in members))
        if len({member.filename for member in members}) < len(members):
            raise ValueError("two arrays of one name")
        return {printable(one.filename).removesuffix(".npy"): _member(archive, one) for one in members}


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    if not member.filename.endswith(".npy"):
        return Unread("no array; those of an .npz end in .npy")
    with archive.open(member) as stream:
        return _array(stream, member.file_size)


def _array(stream: IO[bytes], n_bytes: int) -> Any:
    """Reads a .npy stream of `n_bytes`, of which its header may claim no more and no less."""
    version = np.lib.format.read_magic(stream)
    if version not in NPY_HEADERS:
        raise ValueError(f"format {version} of .npy")
    shape, is_fortran, dtype = NPY_HEADERS[version](stream)
    if dtype.kind not in NPY_KINDS:
        return Unread(f"of type {dtype}; {NO_OBJECTS if dtype.hasobject else 'plain numbers are needed'}")
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed != n_bytes - stream.tell():
        raise ValueError(f"its header claims shape {shape} of {dtype}, the data are {n_bytes - stream.tell()} bytes")
    return np.frombuffer(stream.read(claimed), dtype).reshape(shape, order="F" if is_fortran else "C")


def _hdf5(path: pathlib.Path) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        items: dict[str, Any] = {}
        file.visititems(lambda name, item: items.update({name: item}))  # each object once; links are not followed
        arrays = {name: item for name, item in items.items() if isinstance(item, h5py.Dataset)}
        for name, item in arrays.items():
            matlab.require_size(path, name, item.shape or ())
        files.require_room(path, sum((item.size or 0) * item.dtype.itemsize for item in arrays.values()))
        return {printable(name): _hdf5_array(item) for name, item in arrays.items()}


def _hdf5_array(item: h5py.Dataset) -> Any:
    if matlab.stored_elsewhere(item):
        return Unread(matlab.ELSEWHERE)
    if h5py.check_string_dtype(item.dtype):
        return np.asarray(item.asstr("utf-8", errors="surrogateescape")[()], dtype=str)
    return np.asarray(item[()]) if item.dtype.kind in "biufc" else Unread(f"of type {item.dtype}")


def _json(path: pathlib.Path) -> Any:
    return json.loads(path.read_bytes(), object_pairs_hook=_without_twins)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


READERS: dict[str, Callable[[pathlib.Path], Any]] = {
    ".mat": matlab.read, ".npz": _npz, ".npy": _npy, ".h5": _hdf5, ".hdf5": _hdf5, ".json": _json, ".txt": texts.read,
    **dict.fromkeys((".pt", ".pth", ".tar", ".pkl", ".pickle"), pickles.load),
    ".safetensors": lambda path: tensors.read(path)[0],
}  # fmt: skip
TABLES = (".csv", ".tsv")

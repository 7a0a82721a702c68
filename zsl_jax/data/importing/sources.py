"""Any file as named arrays and lists of names. Nothing in it is executed, and no size it claims is taken on trust."""

import hashlib
import json
import math
import pathlib
import zipfile
from collections.abc import Callable
from typing import IO, Any

import h5py
import numpy as np

from zsl_jax import files
from zsl_jax.data.formats import mat5, matlab, pickles, tensors
from zsl_jax.data.formats.matlab import printable
from zsl_jax.data.importing import lists, nested, tables
from zsl_jax.data.importing.fields import Field, of_array, unusable
from zsl_jax.errors import InputError

NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
NPY_KINDS = "biufcSU"
NO_OBJECTS = "Python objects are never unpickled: save numbers, or text as np.array(names, dtype=str)"
MATLAB_COLUMNS = ("att", "original_att")  # [A, C] in the field's layout


def read(path: pathlib.Path, names_first: bool = False) -> list[Field]:
    """Reads all arrays and lists of names of a file; what it is, the ending says.

    Args:
      path: the file.
      names_first: a CSV's first column holds names, whatever it looks like.

    Returns:
      Fields, of which one at least can be used.

    Raises:
      InputError: no readable regular file, of another kind, damaged, too large for the memory, without arrays, or of
        a name that isn't UTF-8.
    """
    require_file(path)
    if path.suffix.lower() not in READERS:
        raise InputError(f"{path}: files of this ending are not read; one of {' '.join(READERS)} is needed")
    reader = READERS[path.suffix.lower()]
    try:
        fields = _csv(path, names_first) if reader is _csv else reader(path)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: too large for the memory here; give fewer rows") from error
    except Exception as error:  # damaged files raise dozens of kinds
        reason = printable(" ".join(str(error).split())) or type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason[:200]}); is the file whole? Copy it again") from error
    if not any(field.is_usable for field in fields):
        found = f" that can be used ('{fields[0].name}': {fields[0].note})" if fields else ""
        raise InputError(f"{path}: holds neither arrays of numbers nor lists of names{found}")
    return fields


def require_file(path: pathlib.Path) -> None:
    """Raises InputError unless the path is text and leads to a regular file of a size that fits into memory."""
    require_text(str(path))
    with files.opened(path) as stream:
        files.require_room(path, files.size_of(stream))


def require_text(name: str) -> None:
    """Raises InputError for the name of a file, or of anything else, that can't be written as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{printable(name)}: this name isn't UTF-8, so nobody could read it; rename it") from error


def sha256(path: pathlib.Path) -> str:
    """The file's SHA-256 (hex); raises InputError where it can't be read."""
    digest = hashlib.sha256()
    with files.opened(path) as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _mat(path: pathlib.Path) -> list[Field]:
    headers = matlab.headers(path)
    files.require_room(path, sum(header.n_bytes for header in headers))
    numbers = [one.name for one in headers if one.class_name in mat5.NUMBER_CLASSES and len(one.shape) == 2]
    arrays = matlab.read_numbers(path, numbers)
    texts = [_matlab_names(path, one.name) for one in headers if one.class_name in ("cell", "char")]
    return [
        *(Field(path, name, array, "columns" if name in MATLAB_COLUMNS else "") for name, array in arrays.items()),
        *(field for fields in texts for field in fields),
    ]


def _matlab_names(path: pathlib.Path, name: str) -> list[Field]:
    """Reads a list of strings; says so where a cell array holds other things."""
    try:
        names = matlab.read_names(path, name)
    except InputError as error:
        return [unusable(path, name, str(error).removeprefix(f"{path}: '{name}' "))]
    return [Field(path, name, names)] if names else []


def _npy(path: pathlib.Path) -> list[Field]:
    with path.open("rb") as stream:
        return _npy_fields(path, path.stem, stream, path.stat().st_size)


def _npz(path: pathlib.Path) -> list[Field]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        files.require_room(path, sum(member.file_size for member in members))
        names = [member.filename for member in members]
        if len(set(names)) < len(names):
            raise ValueError("two arrays of one name")
        return [field for member in members for field in _npz_fields(path, archive, member)]


def _npz_fields(path: pathlib.Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> list[Field]:
    name = printable(member.filename)
    if not name.endswith(".npy"):
        return [unusable(path, name, "no array; those of an .npz end in .npy")]
    with archive.open(member) as stream:
        return _npy_fields(path, name.removesuffix(".npy"), stream, member.file_size)


def _npy_fields(path: pathlib.Path, name: str, stream: IO[bytes], n_bytes: int) -> list[Field]:
    """Reads a .npy stream of `n_bytes`, of which its header may claim no more and no less."""
    version = np.lib.format.read_magic(stream)
    if version not in NPY_HEADERS:
        raise ValueError(f"format {version} of .npy")
    shape, is_fortran, dtype = NPY_HEADERS[version](stream)
    if dtype.kind not in NPY_KINDS:
        return [
            unusable(path, name, f"of type {dtype}; {NO_OBJECTS if dtype.hasobject else 'plain numbers are needed'}")
        ]
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed != n_bytes - stream.tell():
        raise ValueError(f"its header claims shape {shape} of {dtype}, the data are {n_bytes - stream.tell()} bytes")
    values = np.frombuffer(stream.read(claimed), dtype).reshape(shape, order="F" if is_fortran else "C")
    return of_array(path, name, values)


def _pickle(path: pathlib.Path) -> list[Field]:
    return list(nested.flatten(path, pickles.load(path)))


def _safetensors(path: pathlib.Path) -> list[Field]:
    arrays, _ = tensors.read(path)
    return [field for name, array in arrays.items() for field in of_array(path, printable(name), array)]


def _hdf5(path: pathlib.Path) -> list[Field]:
    with h5py.File(path, "r") as file:
        items: dict[str, Any] = {}
        file.visititems(lambda name, item: items.update({name: item}))  # each object once; links are not followed
        arrays = {name: matlab.stored_here(path, name, item) for name, item in items.items() if hasattr(item, "dtype")}
        files.require_room(path, sum((item.size or 0) * item.dtype.itemsize for item in arrays.values()))
        return [field for name, item in arrays.items() for field in _hdf5_fields(path, printable(name), item)]


def _hdf5_fields(path: pathlib.Path, name: str, item: h5py.Dataset) -> list[Field]:
    if h5py.check_string_dtype(item.dtype) and item.size and item.size == max(item.shape, default=0):
        return [_hdf5_texts(path, name, item)]
    return of_array(path, name, np.asarray(item[()])) if item.dtype.kind in "biufc" else []


def _hdf5_texts(path: pathlib.Path, name: str, item: h5py.Dataset) -> Field:
    try:
        return Field(path, name, tuple(map(printable, np.ravel(item.asstr("utf-8")[()]).tolist())))
    except UnicodeDecodeError:
        return unusable(path, name, "text that isn't UTF-8; write it anew as UTF-8")


def _csv(path: pathlib.Path, names_first: bool = False) -> list[Field]:
    table = tables.read(path, names_first)
    found = [tables.descriptions(table)] if names_first else tables.parts(table)
    return [Field(path, part.name or path.stem, *part[1:]) for part in found]


def _json(path: pathlib.Path) -> list[Field]:
    content = json.loads(path.read_bytes(), object_pairs_hook=_without_twins)
    return list(nested.flatten(path, content))


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _text(path: pathlib.Path) -> list[Field]:
    value, note = lists.read(path)
    return [Field(path, path.stem, value, note=note)] if len(value) else []


READERS: dict[str, Callable[[pathlib.Path], list[Field]]] = {
    ".mat": _mat,
    ".npz": _npz,
    ".npy": _npy,
    ".pt": _pickle,
    ".pth": _pickle,
    ".tar": _pickle,
    ".pkl": _pickle,
    ".pickle": _pickle,
    ".safetensors": _safetensors,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".csv": _csv,
    ".json": _json,
    ".txt": _text,
}

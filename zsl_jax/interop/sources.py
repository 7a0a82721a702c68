"""Any file as named arrays and lists of names. Nothing in it is executed, and no size it claims is taken on trust."""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

import h5py
import numpy as np

from zsl_jax.data import mat5, matlab
from zsl_jax.data.matlab import printable
from zsl_jax.errors import InputError
from zsl_jax.interop import files, lists, pickles, tables, tensors

MAX_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2  # of one file's arrays: half of the memory
MAX_DEPTH = 8  # of dictionaries and lists within each other
NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
NPY_KINDS = "biufcSU"
MATLAB_COLUMNS = ("att", "original_att")  # [A, C] in the field's layout

Value = np.ndarray | tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """One thing that a file holds.

    Attributes:
      file: where it is from.
      name: what the file calls it; the file's stem where it holds one thing without a name.
      value: an array of any shape and type, or strings.
      axis: what the format says about the first axis of a matrix: "rows" (one entry a row of the data set or a
        class), "columns" (the other way round) or "" (nothing).
      names: of the rows, where the file names them.
      note: what was done in reading it.
    """

    file: pathlib.Path
    name: str
    value: Value
    axis: str = ""
    names: tuple[str, ...] | None = None
    note: str = ""

    @property
    def where(self) -> str:
        """File and name, for messages."""
        return f"{self.file}: '{self.name}'"

    @property
    def shape(self) -> str:
        """Size and type in words."""
        if isinstance(self.value, tuple):
            return f"{len(self.value)} names"
        return f"{' x '.join(map(str, self.value.shape))} {self.value.dtype}"


def read(path: pathlib.Path, names_first: bool = False) -> list[Field]:
    """Reads all arrays and lists of names of a file; what it is, the ending says.

    Args:
      path: the file.
      names_first: a CSV's first column holds names, whatever it looks like.

    Returns:
      At least one field.

    Raises:
      InputError: no readable regular file, of another kind, damaged, too large for the memory, or without arrays.
    """
    require_file(path)
    if path.suffix.lower() not in READERS:
        raise InputError(f"{path}: files of this ending are not read; one of {' '.join(READERS)} is needed")
    reader = READERS[path.suffix.lower()]
    try:
        fields = _csv(path, names_first) if reader is _csv else reader(path)
    except InputError:
        raise
    except Exception as error:  # damaged files raise dozens of kinds
        reason = printable(" ".join(str(error).split())) or type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason[:200]}); is the file whole? Copy it again") from error
    if not fields:
        raise InputError(f"{path}: holds neither arrays of numbers nor lists of names")
    return fields


def real(field: Field) -> np.ndarray:
    """The field's array; raises InputError for names and for numbers that aren't real."""
    if isinstance(field.value, tuple) or field.value.dtype.kind not in "biuf":
        found = "a list of names" if isinstance(field.value, tuple) else f"of type {field.value.dtype}"
        raise InputError(f"{field.where}: {found}; real numbers are needed")
    return field.value.astype(np.uint8) if field.value.dtype.kind == "b" else field.value


def require_file(path: pathlib.Path) -> None:
    """Raises InputError unless the path leads to a regular file of a size that fits into memory."""
    with files.opened(path) as stream:
        require_room(path, files.size_of(stream))


def require_room(path: pathlib.Path, n_bytes: int) -> None:
    """Raises InputError when arrays of so many bytes would take more than half of the memory."""
    if n_bytes > MAX_BYTES:
        raise InputError(f"{path}: claims {n_bytes} bytes of arrays, more than {MAX_BYTES}, half of the memory here")


def sha256(path: pathlib.Path) -> str:
    """The file's SHA-256 (hex); raises InputError where it can't be read."""
    digest = hashlib.sha256()
    with files.opened(path) as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _mat(path: pathlib.Path) -> list[Field]:
    headers = matlab.headers(path)
    require_room(path, sum(header.n_bytes for header in headers))
    numbers = [one.name for one in headers if one.class_name in mat5.NUMBER_CLASSES and len(one.shape) == 2]
    arrays = matlab.read_numbers(path, numbers)
    texts = {one.name: _matlab_names(path, one.name) for one in headers if one.class_name in ("cell", "char")}
    return [
        *(Field(path, name, array, "columns" if name in MATLAB_COLUMNS else "") for name, array in arrays.items()),
        *(Field(path, name, text) for name, text in texts.items() if text),
    ]


def _matlab_names(path: pathlib.Path, name: str) -> tuple[str, ...] | None:
    """Reads a list of strings; None for a cell array of other things."""
    try:
        return matlab.read_names(path, name)
    except InputError:
        return None


def _npy(path: pathlib.Path) -> list[Field]:
    with path.open("rb") as stream:
        return _array_field(path, path.stem, _npy_array(stream, path.stat().st_size))


def _npz(path: pathlib.Path) -> list[Field]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        require_room(path, sum(member.file_size for member in members))
        names = [member.filename for member in members]
        if len(set(names)) < len(names):
            raise ValueError("two arrays of one name")
        return [field for member in members for field in _npz_fields(path, archive, member)]


def _npz_fields(path: pathlib.Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> list[Field]:
    with archive.open(member) as stream:
        return _array_field(path, printable(member.filename.removesuffix(".npy")), _npy_array(stream, member.file_size))


def _npy_array(stream: IO[bytes], n_bytes: int) -> np.ndarray:
    """Reads a .npy stream of `n_bytes`, of which its header may claim no more and no less."""
    version = np.lib.format.read_magic(stream)
    if version not in NPY_HEADERS:
        raise ValueError(f"format {version} of .npy")
    shape, is_fortran, dtype = NPY_HEADERS[version](stream)
    if dtype.kind not in NPY_KINDS:
        raise ValueError(f"an array of {dtype}: numbers or strings are needed, Python objects are never unpickled")
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed != n_bytes - stream.tell():
        raise ValueError(f"its header claims shape {shape} of {dtype}, the data are {n_bytes - stream.tell()} bytes")
    return np.frombuffer(stream.read(claimed), dtype).reshape(shape, order="F" if is_fortran else "C")


def _array_field(path: pathlib.Path, name: str, values: np.ndarray) -> list[Field]:
    """Makes a field of an array with entries; one of strings becomes a list of names. Single numbers are left out."""
    if values.ndim == 0 or not values.size:
        return []
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind != "U":
        return [Field(path, name, values)]
    is_list = values.size == max(values.shape)
    return [Field(path, name, tuple(map(printable, values.ravel().tolist())))] if is_list else []


def _pickle(path: pathlib.Path) -> list[Field]:
    return list(_flatten(path, pickles.load(path), ""))


def _safetensors(path: pathlib.Path) -> list[Field]:
    arrays, _ = tensors.read(path)
    return [field for name, array in arrays.items() for field in _array_field(path, printable(name), array)]


def _hdf5(path: pathlib.Path) -> list[Field]:
    with h5py.File(path, "r") as file:
        items: dict[str, Any] = {}
        file.visititems(lambda name, item: items.update({name: item}))  # each object once; links are not followed
        arrays = {name: matlab.stored_here(path, name, item) for name, item in items.items() if hasattr(item, "dtype")}
        require_room(path, sum((item.size or 0) * item.dtype.itemsize for item in arrays.values()))
        return [field for name, item in arrays.items() for field in _hdf5_fields(path, printable(name), item)]


def _hdf5_fields(path: pathlib.Path, name: str, item: h5py.Dataset) -> list[Field]:
    if h5py.check_string_dtype(item.dtype) and item.size and item.size == max(item.shape, default=0):
        return [Field(path, name, tuple(map(printable, np.ravel(item.asstr()[()]).tolist())))]
    return _array_field(path, name, np.asarray(item[()])) if item.dtype.kind in "biufc" else []


def _csv(path: pathlib.Path, names_first: bool = False) -> list[Field]:
    table = tables.read(path, names_first)
    found = [tables.descriptions(table)] if names_first else tables.parts(table)
    return [Field(path, part.name or path.stem, *part[1:]) for part in found]


def _json(path: pathlib.Path) -> list[Field]:
    content = json.loads(path.read_bytes(), object_pairs_hook=_without_twins)
    return list(_flatten(path, content, ""))


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _text(path: pathlib.Path) -> list[Field]:
    value, note = lists.read(path)
    return [Field(path, path.stem, value, note=note)] if len(value) else []


def _flatten(path: pathlib.Path, value: Any, name: str, depth: int = 0) -> Iterator[Field]:
    """Yields what nested dictionaries and lists hold, named by the way to it; single values and other things not."""
    if isinstance(value, np.ndarray):
        yield from _array_field(path, name or path.stem, value)
    elif isinstance(value, Mapping) and value and depth < MAX_DEPTH:
        if (vectors := _vectors(value)) is not None:
            yield Field(path, name or path.stem, vectors, "rows", tuple(printable(str(key)) for key in value))
            return
        for key, part in value.items():
            yield from _flatten(path, part, printable(f"{name}.{key}" if name else str(key)), depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes) and value and depth < MAX_DEPTH:
        yield from _of_list(path, value, name, depth)


def _vectors(value: Mapping[Any, Any]) -> np.ndarray | None:
    """Stacks a dictionary of equally long vectors, none of them called as parts of a data set are, to [n, d]."""
    if len(value) < 2 or not all(isinstance(key, str) and not FAMILIAR.search(key) for key in value):
        return None
    vectors = [_numbers(vector) for vector in value.values()]
    if any(vector is None or vector.ndim != 1 or vector.size < 2 for vector in vectors):
        return None
    kept = [vector for vector in vectors if vector is not None]
    return np.stack(kept) if len({vector.size for vector in kept}) == 1 else None


def _numbers(value: Any) -> np.ndarray | None:
    """An array as it is, a list of numbers or of equally long lists of them as an array; None for the rest."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, list | tuple) or isinstance(value[0] if value else "", str):
        return None
    if len({len(row) if isinstance(row, list | tuple) else -1 for row in value}) > 1:
        return None
    array = np.asarray(value)
    return array if array.dtype.kind in "iuf" else None


def _of_list(path: pathlib.Path, value: Sequence[Any], name: str, depth: int) -> Iterator[Field]:
    if all(isinstance(entry, str) for entry in value):
        yield Field(path, name or path.stem, tuple(map(printable, value)))
    elif (array := _numbers(value)) is not None:
        yield from _array_field(path, name or path.stem, array)
    else:
        for number, part in enumerate(value):
            yield from _flatten(path, part, f"{name}.{number}" if name else str(number), depth + 1)


FAMILIAR = re.compile("feat|label|target|name|file|path|att|train|test|val|seen|^[xyr]$", re.IGNORECASE)
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

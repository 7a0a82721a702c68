"""Reading number arrays and names from MATLAB files (v5, v7 and HDF5-based v7.3) without trusting them."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from zsl_jax.data.formats import mat5
from zsl_jax.errors import InputError

# Larger arrays are refused before anything is allocated: a few bytes of a damaged file can claim terabytes.
MAX_ELEMENTS = 2**31
MAX_BYTES = 8 * MAX_ELEMENTS
CELL_BYTES = 16  # that a cell of text takes in an HDF5 file at least
MAX_CHARACTERS = 2**24  # of all cells; more only in files of more bytes, since cells may share one text


def read_numbers(path: pathlib.Path, fields: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads real-number matrices, oriented as MATLAB shows them.

    Args:
      path: a MATLAB file of any version since 5.
      fields: names of the wanted variables.

    Returns:
      The variables that the file has, by name, two-dimensional, in the file's own number type. Empty ones are left out.

    Raises:
      InputError: the file is missing, damaged or no MATLAB file; a variable isn't a two-dimensional array of numbers.
    """
    return _read(path, fields, _v5_numbers, _hdf5_numbers)


def read_names(path: pathlib.Path, field: str) -> tuple[str, ...] | None:
    """Reads a cell array of strings (or rows of characters); None where the file has no such variable.

    Raises:
      InputError: as `read_numbers`; the variable isn't a list of strings.
    """
    return _read(path, [field], _v5_names, _hdf5_names).get(field)


def headers(path: pathlib.Path) -> list[mat5.Header]:
    """Lists the variables of a file without reading them; structs and the like are left out.

    Raises:
      InputError: the file is missing, damaged or no MATLAB file.
    """
    return _read(path, (), lambda path, _: mat5.headers(path), _hdf5_headers)


def _read(path: pathlib.Path, fields: Sequence[str], v5, hdf5) -> Any:
    reader = hdf5 if _is_hdf5(path) else v5
    try:
        return reader(path, fields)
    except InputError:
        raise
    except Exception as error:  # damaged files raise a dozen kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason[:200]}); is the file whole? Copy it again") from error


def _is_hdf5(path: pathlib.Path) -> bool:
    """Tells HDF5 from v5 by the header; refuses everything else."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if h5py.is_hdf5(path):
            return True
        with path.open("rb") as stream:
            start = stream.read(mat5.HEADER_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if mat5.byte_order(start) is None:
        raise InputError(f"{path}: not a MATLAB file of version 5 or later (it starts with {start[:24]!r})")
    return False


def _require_size(path: pathlib.Path, field: str, shape: Sequence[int]) -> None:
    if math.prod(shape) > MAX_ELEMENTS:
        raise InputError(f"{path}: '{field}' claims shape {tuple(shape)}, more than {MAX_ELEMENTS} entries")


def _not_numbers(path: pathlib.Path, field: str, found: str) -> InputError:
    return InputError(f"{path}: '{field}' is {found}; a two-dimensional array of real numbers is needed")


def _v5_numbers(path: pathlib.Path, fields: Sequence[str]) -> dict[str, np.ndarray]:
    variables = mat5.read_variables(path, fields, MAX_BYTES)
    return {name: _v5_matrix(path, variable) for name, variable in variables.items() if math.prod(variable.shape)}


def _v5_matrix(path: pathlib.Path, variable: mat5.Variable) -> np.ndarray:
    if not mat5.is_numbers(variable) or len(variable.shape) != 2:
        raise _not_numbers(path, variable.name, f"of class '{variable.class_name}' and shape {variable.shape}")
    return mat5.numbers(variable)


def _v5_names(path: pathlib.Path, fields: Sequence[str]) -> dict[str, tuple[str, ...]]:
    names = {}
    for name, variable in mat5.read_variables(path, fields, MAX_BYTES).items():
        texts = mat5.strings(variable)
        if texts is None:
            raise InputError(f"{path}: '{name}' is of class '{variable.class_name}'; a cell array of strings is needed")
        names[name] = tuple(map(printable, texts))
    return names


def _hdf5_variable(path: pathlib.Path, file: h5py.File, name: str) -> h5py.Dataset | None:
    """Returns a variable stored in this very file; links and external storage could read any file of the machine."""
    link = file.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise InputError(f"{path}: '{name}' is a link; only data stored in the file itself is read")
    return stored_here(path, name, file[name])


def stored_here(path: pathlib.Path, name: str, item: Any) -> h5py.Dataset:
    """Returns an HDF5 array; raises InputError for anything else, for one kept in another file, and for huge ones."""
    if not isinstance(item, h5py.Dataset):
        raise _not_numbers(path, name, "a group or struct")
    if item.is_virtual or item.external:
        raise InputError(f"{path}: '{name}' is stored in another file; only data stored in the file itself is read")
    _require_size(path, name, item.shape or ())
    return item


def _hdf5_headers(path: pathlib.Path, _: Sequence[str]) -> list[mat5.Header]:
    with h5py.File(path, "r") as file:
        here = [name for name in map(str, file) if isinstance(file.get(name, getlink=True), h5py.HardLink)]
        return [_hdf5_header(name, item) for name in here if isinstance(item := file[name], h5py.Dataset)]


def _hdf5_header(name: str, item: h5py.Dataset) -> mat5.Header:
    is_cell = h5py.check_ref_dtype(item.dtype) is h5py.Reference
    numbers = {"i": "int64", "u": "uint64", "f": "double"}.get(item.dtype.kind, "unknown")
    class_name = item.attrs.get("MATLAB_class", b"cell" if is_cell else numbers.encode())
    return mat5.Header(
        name, bytes(class_name).decode("latin-1"), item.shape or (), (item.size or 0) * item.dtype.itemsize
    )


def _hdf5_numbers(path: pathlib.Path, fields: Sequence[str]) -> dict[str, np.ndarray]:
    with h5py.File(path, "r") as file:
        variables = {name: _hdf5_variable(path, file, name) for name in fields}
        arrays = {name: _hdf5_matrix(path, name, item) for name, item in variables.items() if item is not None}
    return {name: array for name, array in arrays.items() if array.size}


def _hdf5_matrix(path: pathlib.Path, name: str, item: h5py.Dataset) -> np.ndarray:
    """Returns the variable as MATLAB shows it: its arrays are stored transposed."""
    if item.attrs.get("MATLAB_empty", 0):
        return np.zeros((0, 0))
    if (
        item.dtype.kind not in "iuf"
        or len(item.shape or ()) not in (1, 2)
        or item.attrs.get("MATLAB_class") in (b"char", b"cell")
    ):
        raise _not_numbers(path, name, f"{item.dtype} of shape {item.shape}")
    array = item[()]
    return array[:, None] if array.ndim == 1 else array.T


def _hdf5_names(path: pathlib.Path, fields: Sequence[str]) -> dict[str, tuple[str, ...]]:
    (field,) = fields
    with h5py.File(path, "r") as file:
        item = _hdf5_variable(path, file, field)
        if item is None:
            return {}
        if h5py.check_ref_dtype(item.dtype) is not h5py.Reference:
            raise InputError(f"{path}: '{field}' is {item.dtype}; a cell array of strings is needed")
        n_bytes = path.stat().st_size
        n_cells = item.size or 0
        if n_cells * CELL_BYTES > n_bytes:
            raise InputError(f"{path}: '{field}' claims {n_cells} cells, more than its {n_bytes} bytes can hold")
        return {field: _hdf5_texts(path, field, file, item, max(MAX_CHARACTERS, n_bytes))}


def _hdf5_texts(path: pathlib.Path, field: str, file: h5py.File, item: h5py.Dataset, budget: int) -> tuple[str, ...]:
    """The strings that a cell array refers to, of no more characters than `budget`."""
    names = []
    for cell in item[()].T.ravel():
        names.append(_hdf5_name(path, field, file[cell]))
        budget -= len(names[-1])
        if budget < 0:
            raise InputError(f"{path}: '{field}' has more than {MAX_CHARACTERS} characters; is the file damaged?")
    return tuple(names)


def _hdf5_name(path: pathlib.Path, field: str, item: Any) -> str:
    """Decodes one string of a cell array, stored as 16-bit character codes."""
    codes = stored_here(path, field, item)
    if codes.attrs.get("MATLAB_empty", 0):
        return ""
    if codes.dtype != np.uint16 or math.prod(codes.shape) > 10_000:
        raise InputError(f"{path}: '{field}' has an entry that is no string")
    return printable("".join(map(chr, codes[()].T.ravel(order="F"))))


def printable(text: str) -> str:
    """Returns the text with control characters replaced: names from files end up in terminals and logs."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)

"""Reading MATLAB files (v5, v7 and HDF5-based v7.3) without trusting them."""

import math
import pathlib
from collections.abc import Collection, Sequence
from typing import Any

import h5py
import numpy as np

from zsl_jax import files
from zsl_jax.data.formats import mat5
from zsl_jax.data.formats.mat5 import DEEPEST, Unread
from zsl_jax.errors import InputError

# Larger arrays are refused before anything is allocated: a few bytes of a damaged file can claim terabytes.
MAX_ELEMENTS = 2**31
CELL_BYTES = 16  # that a cell takes in an HDF5 file at least
MAX_CHARACTERS = 2**24  # of all cells; more only in files of more bytes, since cells may share one text
ELSEWHERE = "not kept in the file itself; only what is there is read"


def read(path: pathlib.Path, names: Collection[str] | None = None) -> dict[str, Any]:
    """Reads the variables of a file, oriented as MATLAB shows them.

    Args:
      path: a MATLAB file of any version since 5.
      names: of the wanted variables; None: all.

    Returns:
      By name: an array [...] (logical ones bool, sparse ones with their zeros), a tuple of texts (a char matrix, a cell
      array of texts), a dictionary (a struct), or `Unread` for anything else, with the reason. A cell with one thing in
      it is that thing, cells of a number each are an array [n].

    Raises:
      InputError: the file is missing, damaged, no MATLAB file, or too large for the memory.
    """
    reader = _hdf5 if _is_hdf5(path) else mat5.read
    try:
        return {name: _simple(value) for name, value in reader(path, names, files.MAX_BYTES).items()}
    except InputError:
        raise
    except Exception as error:  # damaged files raise a dozen kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason[:200]}); is the file whole? Copy it again") from error


def read_numbers(path: pathlib.Path, fields: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads real-number matrices in the file's own number type; those that are absent or empty are left out.

    Raises:
      InputError: as `read`; a variable isn't a two-dimensional array of numbers.
    """
    found = read(path, fields)
    for name, value in found.items():
        if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "iuf":
            raise InputError(f"{path}: '{name}' is {said(value)}; a two-dimensional array of real numbers is needed")
    return {name: value for name, value in found.items() if value.size}


def read_names(path: pathlib.Path, field: str) -> tuple[str, ...] | None:
    """Reads a cell array of strings (or rows of characters); None where the file has no such variable.

    Raises:
      InputError: as `read`; the variable isn't a list of strings.
    """
    value = read(path, [field]).get(field)
    if value is not None and not isinstance(value, tuple):
        raise InputError(f"{path}: '{field}' is {said(value)}; a cell array of strings is needed")
    return value


def said(value: Any) -> str:
    """What a variable is, in words."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return value.reason if isinstance(value, Unread) else {tuple: "text", dict: "a struct"}[type(value)]


def _simple(value: Any) -> Any:
    """Lists of cells as texts, or as the one thing in them."""
    if isinstance(value, dict):
        return {name: _simple(part) for name, part in value.items()}
    if not isinstance(value, list):
        return value
    cells = list(map(_simple_cell, value))
    if all(isinstance(cell, str) for cell in cells):
        return tuple(map(printable, cells))
    if len(cells) > 1 and all(isinstance(cell, np.ndarray) and cell.size == 1 for cell in cells):
        return np.array([cell.ravel()[0] for cell in cells])
    return cells[0] if len(cells) == 1 else Unread("a cell array of other things than texts")


def _simple_cell(value: Any) -> Any:
    """A cell that holds one text as that text, at any depth; an empty one is an empty text."""
    while isinstance(value, list) and len(value) <= 1:
        value = value[0] if value else ""
    return _simple(value)


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


def _hdf5(path: pathlib.Path, names: Collection[str] | None, max_bytes: int) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        reader = _Hdf5(path, file, max_bytes, max(MAX_CHARACTERS, path.stat().st_size))
        wanted = [name for name in map(str, file) if name[0] != "#" and (names is None or name in names)]
        return {name: reader.member(file, name, 0) for name in wanted}


class _Hdf5:
    """Reads the variables of a v7.3 file, of no more bytes and characters than there is room for."""

    def __init__(self, path: pathlib.Path, file: h5py.File, n_bytes: int, n_characters: int):
        self.path, self.file = path, file
        self.n_bytes, self.n_characters = n_bytes, n_characters

    def member(self, group: Any, name: str, depth: int) -> Any:
        """A variable stored in this very file; links and external storage could read any file of the machine."""
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            return Unread(ELSEWHERE)
        return self.value(name, group[name], depth)

    def value(self, name: str, item: Any, depth: int, in_cell: bool = False) -> Any:
        """An array, a list of texts or cells, a dictionary, or why it is not read."""
        if depth > DEEPEST or isinstance(item, h5py.Datatype):
            return Unread("cells and structs too deep within each other")
        if isinstance(item, h5py.Group):
            if "MATLAB_sparse" in item.attrs:
                return self.dense(name, item)
            return {part: self.member(item, part, depth + 1) for part in map(str, item)}
        class_name = bytes(item.attrs.get("MATLAB_class", b"")).decode("latin-1")
        if item.attrs.get("MATLAB_empty", 0):
            return [""] if class_name == "char" else np.zeros((0, 0))
        if "MATLAB_object_decode" in item.attrs:
            return Unread(f"an object of class '{class_name}'; in MATLAB write cellstr(x) of strings")
        if h5py.check_ref_dtype(item.dtype) is h5py.Reference:
            return self.cells(name, item, depth)
        is_text = class_name == "char" or (in_cell and not class_name and item.dtype == np.uint16)
        return self.array(name, item, "char" if is_text else class_name)

    def array(self, name: str, item: h5py.Dataset, class_name: str) -> Any:
        """Numbers as MATLAB shows them: its arrays are stored transposed. Text as its rows."""
        if stored_elsewhere(item):
            return Unread(ELSEWHERE)
        is_text = class_name == "char"
        if item.dtype.kind not in "iuf" or (is_text and item.dtype != np.uint16):
            return Unread(f"{item.dtype} of shape {item.shape}")
        require_size(self.path, name, item.shape or ())
        self.n_bytes -= (item.size or 0) * item.dtype.itemsize
        files.require_room(self.path, files.MAX_BYTES - self.n_bytes)
        array = np.asarray(item[()])
        array = array.reshape(-1, 1) if array.ndim < 2 else array.T
        if not is_text:
            return array.astype(bool) if class_name == "logical" else array
        self.n_characters -= array.size
        if self.n_characters < 0:
            raise InputError(f"{self.path}: '{name}' has more than {MAX_CHARACTERS} characters; is the file damaged?")
        return ["".join(map(chr, row)).rstrip() for row in np.atleast_2d(array)]

    def cells(self, name: str, item: h5py.Dataset, depth: int) -> list[Any]:
        """What the references of a cell array lead to."""
        n_cells, n_bytes = item.size or 0, self.path.stat().st_size
        if n_cells * CELL_BYTES > n_bytes:
            raise InputError(f"{self.path}: '{name}' claims {n_cells} cells, more than its {n_bytes} bytes can hold")
        return [self.value(name, self.file[cell], depth + 1, in_cell=True) for cell in item[()].T.ravel()]

    def dense(self, name: str, item: Any) -> Any:
        """A sparse matrix with its zeros."""
        shape = (int(item.attrs["MATLAB_sparse"]), item["jc"].size - 1)
        require_size(self.path, name, shape)
        files.require_room(self.path, 8 * math.prod(shape))
        rows, starts, entries = (
            np.ravel(self.array(name, item[part], "")) if part in item else np.zeros(0) for part in ("ir", "jc", "data")
        )
        return mat5.dense(rows, starts, entries, shape, item.attrs.get("MATLAB_class") == b"logical")


def stored_elsewhere(item: h5py.Dataset) -> bool:
    """Says whether an HDF5 array is kept in another file."""
    return bool(item.is_virtual or item.external)


def require_size(path: pathlib.Path, name: str, shape: Sequence[int]) -> None:
    """Raises InputError for an array that claims to be huge."""
    if math.prod(shape) > MAX_ELEMENTS:
        raise InputError(f"{path}: '{name}' claims shape {tuple(shape)}, more than {MAX_ELEMENTS} entries")


def printable(text: str) -> str:
    """Returns the text with control characters replaced: names from files end up in terminals and logs."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)

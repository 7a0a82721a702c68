"""A folder for each class, with embeddings of its pictures: a file for each picture or for several."""

import os
import pathlib

import numpy as np

from zsl_jax.data.columns import joined
from zsl_jax.data.formats.matlab import printable
from zsl_jax.data.importing import fields, names
from zsl_jax.data.importing.fields import NUMBERS, Field, real
from zsl_jax.errors import InputError
from zsl_jax.files import require_room

EMBEDDINGS = (".npy", ".npz", ".pt", ".pth", ".csv", ".tsv", ".safetensors")


def files(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Lists the embeddings of each class: FOLDER/CLASS/* or FOLDER/CLASS.npy and the like, by name.

    Args:
      folder: the folder; hidden files in it don't count.

    Returns:
      Paths by class.

    Raises:
      InputError: something else is in there: links, folders within a class, other files; a class is empty or there
        twice; there is none.
    """
    found: dict[str, list[pathlib.Path]] = {}
    for path in _entries(folder):
        is_class = path.is_dir()
        name = path.name if is_class else path.stem
        if name in found:
            raise InputError(f"{path}: class {name!r} is there as a folder and as a file, or twice; keep one of them")
        found[name] = _entries(path) if is_class else [path]
        if not found[name]:
            raise InputError(f"{path}: no embeddings of this class; add some or remove the folder")
        for file in found[name]:
            _require_embeddings(file)
    if not found:
        raise InputError(f"{folder}: empty; a folder for each class is needed, or a file of its embeddings")
    return found


def read(folder: pathlib.Path, axis: str = "") -> list[Field]:
    """Reads the embeddings of all classes.

    Args:
      folder: the folder.
      axis: what pictures are in a file of several: "rows" (its matrix is [n, D]), "columns" ([D, n]) or "": as the
        sizes tell; all pictures have as many numbers. Columns of tables are joined by name.

    Returns:
      `features` [N, D], a row for each picture in the order of the files, `labels`, the classes' names, and `images`.

    Raises:
      InputError: a file holds no vector or matrix of numbers, or other widths than the first, or other columns; the
        sizes don't tell where pictures lie; the files are too large for the memory.
    """
    found = files(folder)
    paths = [path for of_class in found.values() for path in of_class]
    require_room(folder, sum(path.stat().st_size for path in paths))
    there = {path: _embeddings(path) for path in paths}
    arrays = {path: _array(field) for path, field in there.items()}
    require_room(folder, sum(array.nbytes for array in arrays.values()))
    axis = axis or _axis(folder, list(arrays.values()), any(field.has_rows for field in there.values()))
    rows = {path: np.atleast_2d(array if axis == "rows" else array.T) for path, array in arrays.items()}
    _require_one_width(rows)
    first = next(iter(there.values()))
    ordered = [joined(rows[path], field.columns, first.columns, str(path)) for path, field in there.items()]
    labels = tuple(name for name, of_class in found.items() for path in of_class for _ in rows[path])
    images = [name for path in paths for name in _names(path.relative_to(folder), len(rows[path]))]
    return [
        Field(folder, "features", np.concatenate(ordered), columns=first.columns),
        Field(folder, "labels", labels),
        Field(folder, "images", tuple(images)),
    ]


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
    """What a folder holds, by name, without hidden files; links are refused."""
    try:
        entries = sorted(entry for entry in os.listdir(folder) if not entry.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error
    for name in entries:
        if name != printable(name):
            raise InputError(f"{folder}: {name!r} has letters that can't be printed; rename it")
        if (folder / name).is_symlink():
            raise InputError(f"{folder / name}: is a link; links are not followed, put the file itself there")
    return [folder / name for name in entries]


def _require_embeddings(path: pathlib.Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: a folder within a class; put its files into the folder of the class")
    if path.suffix.lower() not in EMBEDDINGS:
        raise InputError(f"{path}: no embeddings; files of {' '.join(EMBEDDINGS)} are read, pictures are not")


def _embeddings(path: pathlib.Path) -> Field:
    """The file's one field of numbers."""
    found = [field for field in fields.read(path) if not isinstance(field.value, tuple)]
    if len(found) > 1:
        found = [field for field in found if "features" in names.roles(field.name)]
    if len(found) != 1:
        raise InputError(f"{path}: one array of numbers is needed, or one of them called features")
    return found[0]


def _array(field: Field) -> np.ndarray:
    """The numbers of one picture [D], or of several as a matrix; finite."""
    array, path = real(field), field.file
    array = array.ravel() if array.size == max(array.shape) and field.name != NUMBERS else array.squeeze()
    if array.ndim > 2:
        raise InputError(f"{path}: shape {array.shape}; a vector, or a matrix with a row for each picture, is needed")
    matrix = np.atleast_2d(array)
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0] + 1
        raise InputError(f"{path}: row {row}, column {column} is {matrix[row - 1, column - 1]}; it must be finite")
    return array


def _axis(folder: pathlib.Path, arrays: list[np.ndarray], has_tables: bool) -> str:
    """What pictures are in the files: rows, or columns if only the files' heights are alike."""
    shapes = {array.shape for array in arrays if array.ndim > 1}
    if not shapes or has_tables:
        return "rows"
    widths = {array.size for array in arrays if array.ndim == 1}
    fits_rows, fits_columns = (len(widths | {shape[side] for shape in shapes}) == 1 for side in (1, 0))
    if fits_rows and fits_columns:
        height, width = next(iter(shapes))
        raise InputError(
            f"{folder}: all files are {height} x {width}: are pictures rows or columns? "
            "Say --set features.axis=rows or =columns"
        )
    return "columns" if fits_columns else "rows"


def _require_one_width(rows: dict[pathlib.Path, np.ndarray]) -> None:
    first, width = next((path, matrix.shape[1]) for path, matrix in rows.items())
    for path, matrix in rows.items():
        if matrix.shape[1] != width:
            raise InputError(f"{path}: {matrix.shape[1]} numbers a row, but {first} has {width}")


def _names(path: pathlib.Path, count: int) -> list[str]:
    return [str(path)] if count == 1 else [f"{path}:{number}" for number in range(1, count + 1)]

"""A folder for each class, with embeddings of its pictures: a file for each picture or for several."""

import os
import pathlib

import numpy as np

from zsl_jax.data.matlab import printable
from zsl_jax.errors import InputError
from zsl_jax.interop import sources
from zsl_jax.interop.roles import role_of
from zsl_jax.interop.sources import Field, real

EMBEDDINGS = (".npy", ".npz", ".pt", ".pth", ".csv", ".safetensors")


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


def read(folder: pathlib.Path, found: dict[str, list[pathlib.Path]]) -> list[Field]:
    """Reads the embeddings of all classes.

    Args:
      folder: the folder.
      found: its files, from `files`.

    Returns:
      Features [N, D], a row for each picture in the order of the files, and labels: the classes' names.

    Raises:
      InputError: a file holds no vector or matrix of numbers, or other widths than the first.
    """
    sources.require_room(folder, sum(path.stat().st_size for paths in found.values() for path in paths))
    matrices, labels, names = [], [], []
    for class_name, paths in found.items():
        for path in paths:
            rows = _rows(path)
            if matrices and rows.shape[1] != matrices[0].shape[1]:
                first = next(iter(found.values()))[0]
                raise InputError(f"{path}: {rows.shape[1]} numbers a row, but {first} has {matrices[0].shape[1]}")
            matrices.append(rows)
            labels += [class_name] * len(rows)
            names += _names(path.relative_to(folder), len(rows))
    features = np.concatenate(matrices)
    return [
        Field(folder, "features", features, "rows", tuple(names)),
        Field(folder, "labels", tuple(labels)),
    ]


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
    """What a folder holds, by name, without hidden files; links are refused."""
    try:
        names = sorted(entry for entry in os.listdir(folder) if not entry.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from error
    for name in names:
        if name != printable(name):
            raise InputError(f"{folder}: {name!r} has letters that can't be printed; rename it")
        if (folder / name).is_symlink():
            raise InputError(f"{folder / name}: is a link; links are not followed, put the file itself there")
    return [folder / name for name in names]


def _require_embeddings(path: pathlib.Path) -> None:
    if path.is_dir():
        raise InputError(f"{path}: a folder within a class; put its files into the folder of the class")
    if path.suffix.lower() not in EMBEDDINGS:
        raise InputError(f"{path}: no embeddings; files of {' '.join(EMBEDDINGS)} are read, pictures are not")


def _rows(path: pathlib.Path) -> np.ndarray:
    """The file's one array of numbers as rows [n, D], finite."""
    arrays = [field for field in sources.read(path) if not isinstance(field.value, tuple)]
    if len(arrays) > 1:
        arrays = [field for field in arrays if role_of(field) == "features"]
    if len(arrays) != 1:
        raise InputError(f"{path}: one array of numbers is needed, or one of them called features")
    array = real(arrays[0])
    array = array.squeeze() if array.ndim > 2 else array
    matrix = np.atleast_2d(array)
    if matrix.ndim != 2:
        raise InputError(f"{path}: shape {array.shape}; a vector, or a matrix with a row for each picture, is needed")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0] + 1
        raise InputError(f"{path}: row {row}, column {column} is {matrix[row - 1, column - 1]}; it must be finite")
    return matrix


def _names(path: pathlib.Path, count: int) -> list[str]:
    return [str(path)] if count == 1 else [f"{path}:{number}" for number in range(1, count + 1)]

"""Text files with a name or numbers a line, as lists of classes and matrices of attributes come."""

import array
import pathlib

import numpy as np

from zsl_jax.data.formats.matlab import printable
from zsl_jax.data.formats.tables import is_number
from zsl_jax.errors import InputError


def read(path: pathlib.Path) -> np.ndarray | tuple[str, ...]:
    """Reads a text file of UTF-8.

    Args:
      path: the file; empty lines in it don't count. A first column that counts the lines from 1 is left out.

    Returns:
      Numbers [n, k], or [n] where each line has one, or n names.

    Raises:
      InputError: lines have different numbers of numbers, or a word among them.
      UnicodeDecodeError: it isn't UTF-8.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    matrix = _matrix(path, lines)
    if matrix is None:
        return _names(lines)
    if matrix.shape[1] > 1 and np.array_equal(matrix[:, 0], np.arange(1, len(matrix) + 1)):
        matrix = matrix[:, 1:]
    return matrix[:, 0] if matrix.shape[1] == 1 else matrix


def _matrix(path: pathlib.Path, lines: list[str]) -> np.ndarray | None:
    """The numbers of all lines [n, k]; None where lines are names."""
    width, values = len(lines[0].split()) if lines else 1, array.array("d")
    for number, line in enumerate(lines, 1):
        cells = line.split()
        if not all(map(is_number, cells)):
            if number == 1 or width == 1:
                return None
            raise InputError(f"{path}: line {number} ({line[:40]!r}) has a word among numbers")
        if len(cells) != width:
            raise InputError(f"{path}: line {number} has {len(cells)} numbers, line 1 has {width}")
        values.extend(map(float, cells))
    return np.asarray(values).reshape(len(lines), width)


def _names(lines: list[str]) -> tuple[str, ...]:
    cut = [line.split(None, 1) for line in lines]
    if all(len(cells) > 1 and cells[0] == str(number) for number, cells in enumerate(cut, 1)):
        return tuple(printable(cells[1]) for cells in cut)
    return tuple(map(printable, lines))

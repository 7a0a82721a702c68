"""Checks of labels, row numbers and features before anything trains. Messages count from 1, as the files do."""

import numpy as np

from zsl_jax.errors import InputError


def whole_numbers(values: np.ndarray, where: str, lowest: int, highest: int) -> np.ndarray:
    """Returns the values as a flat int64 array.

    Args:
      values: numbers of any type, [n], [n, 1] or [1, n].
      where: what they are, e.g. "FILE: 'labels'", for the message.
      lowest, highest: the allowed range, both inclusive.

    Raises:
      InputError: one isn't whole or lies outside the range, or the values are a matrix.
    """
    flat = np.ravel(values)
    if flat.size != max(values.shape):
        raise InputError(f"{where}: shape {values.shape}; one row or one column is needed")
    bad = ~((flat >= lowest) & (flat <= highest) & (flat == np.floor(flat)))
    if bad.any():
        first = int(np.argmax(bad))
        raise InputError(
            f"{where}: entry {first + 1} is {flat[first]}; a whole number in {lowest}..{highest} is needed"
        )
    return flat.astype(np.int64)


def row_numbers(values: np.ndarray, where: str, n_rows: int, base: int = 1) -> np.ndarray:
    """Turns row numbers that count from `base` into 0-based ones [n] int64, in their order.

    Raises:
      InputError: one isn't whole, is out of range or occurs twice.
    """
    rows = whole_numbers(values, where, base, n_rows - 1 + base)
    unique, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{where}: row {unique[np.argmax(counts > 1)]} occurs twice; every row may occur once")
    return rows - base


def float32(values: np.ndarray) -> np.ndarray:
    """Returns a contiguous float32 copy; too large numbers become infinite, for `require_finite` to find."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def require_finite(values: np.ndarray, where: str) -> None:
    """Raises InputError naming the first row and column of `values` [n, d] that is NaN or infinite."""
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.unravel_index(int(np.argmin(finite)), values.shape)
        found = values[row, column]
        raise InputError(
            f"{where}: {found} in row {row + 1}, column {column + 1}; every entry must be finite (float32)"
        )


def require_disjoint(first: np.ndarray, second: np.ndarray, what: str, where: str) -> None:
    """Raises InputError when two sets of numbers share an entry; `what` names both sets, e.g. "rows of A and of B"."""
    shared = np.intersect1d(first, second)
    if shared.size:
        raise InputError(f"{where}: {what} must differ, but share {shared.size}, the first is {shared[0] + 1}")

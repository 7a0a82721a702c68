"""Views of a data set, row by row: arrays in memory, or sources that read rows when they are asked for."""

import hashlib
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class RowSource(Protocol):
    """Rows that lie elsewhere, e.g. in files. Reading is deterministic and safe to do from several threads.

    shape: (N, ...), as an array's. dtype: of the rows read. `read` returns the rows of `numbers` [n] int64 as an array
    [n, ...]; `words` [n] uint32 is what a random transform of each row may depend on, None where nothing is random (in
    evaluations). It raises InputError where a row cannot be read. `fingerprint` is equal for equal rows.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def read(self, numbers: np.ndarray, words: np.ndarray | None) -> np.ndarray: ...
    def fingerprint(self) -> str: ...


View = np.ndarray | RowSource
Views = Mapping[str, View]


class Subset:
    """Some rows of a source, in an order of their own."""

    def __init__(self, source: RowSource, rows: np.ndarray):
        self._source, self._rows = source, rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the rows that are left."""
        return (len(self._rows), *self._source.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Of the rows."""
        return self._source.dtype

    def read(self, numbers: np.ndarray, words: np.ndarray | None) -> np.ndarray:
        """The rows of these numbers among those that are left."""
        return self._source.read(self._rows[numbers], words)

    def fingerprint(self) -> str:
        """Of the source and of the choice."""
        return hashlib.sha256(self._source.fingerprint().encode() + self._rows.tobytes()).hexdigest()


def take(view: View, rows: np.ndarray) -> View:
    """Rows of a view by number or by mask: a copy of an array, the rest of a source."""
    if isinstance(view, np.ndarray):
        return view[rows]
    return Subset(view, np.flatnonzero(rows) if rows.dtype == bool else rows)


def read(view: View, numbers: np.ndarray, words: np.ndarray | None = None) -> np.ndarray:
    """Rows [n, ...] of a view as an array."""
    return view[numbers] if isinstance(view, np.ndarray) else view.read(numbers, words)


def n_bytes(view: View) -> int:
    """Bytes that all rows take in memory."""
    return int(np.prod(view.shape, dtype=np.int64)) * view.dtype.itemsize


def mix(digest: "hashlib._Hash", view: View) -> None:
    """Lets a digest take in a view: dtype, shape and all bytes of an array, the fingerprint of a source."""
    if isinstance(view, np.ndarray):
        digest.update(f"{view.dtype.str}{view.shape}".encode())
        digest.update(np.ascontiguousarray(view).data)
    else:
        digest.update(view.fingerprint().encode())

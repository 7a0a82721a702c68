"""What every data source returns: features, labels, class semantics and splits, checked and fingerprinted."""

import dataclasses
import hashlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class Splits:
    """Row numbers (0-based, int64, one-dimensional) of the usual parts of a zero-shot data set.

    `train` and `val` are disjoint parts of `trainval` with disjoint classes: the classes of `val` play "unseen" during
    validation.
    """

    trainval: np.ndarray
    test_seen: np.ndarray
    test_unseen: np.ndarray
    train: np.ndarray
    val: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A zero-shot data set in memory, features as they are in the source (not scaled).

    Attributes:
      name: data set, e.g. "AWA2".
      features: source of `x`, e.g. "ce_ce".
      representations: source of `r`, or None when there is no `r`.
      semantics_name: e.g. "att, L2-normalised".
      x: features [N, D] float32.
      r: representations [N, R] float32, or None.
      labels: class of each row [N] int32, 0-based.
      semantics: description of each class [C, A] float32.
      splits: row numbers of the parts.
      class_names: C names.
      notes: one line for each decision taken while loading (derived splits, removed leaks, ...).
      bayes: optional parameters of the true class-conditional densities (synthetic data only).
    """

    name: str
    features: str
    representations: str | None
    semantics_name: str
    x: np.ndarray
    r: np.ndarray | None
    labels: np.ndarray
    semantics: np.ndarray
    splits: Splits
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    bayes: object | None = None

    @property
    def seen(self) -> np.ndarray:
        """Seen classes, ascending [n_seen] int32."""
        return np.unique(self.labels[self.splits.trainval])

    @property
    def unseen(self) -> np.ndarray:
        """Unseen classes, ascending [n_unseen] int32; where no row is of one, all that no training row has."""
        if not self.splits.test_unseen.size:
            return np.setdiff1d(np.arange(len(self.semantics), dtype=np.int32), self.seen)
        return np.unique(self.labels[self.splits.test_unseen])

    def fingerprint(self) -> str:
        """SHA-256 (hex) of splits, labels, semantics and features: equal data, equal fingerprint."""
        digest = hashlib.sha256()
        parts = [*dataclasses.astuple(self.splits), self.labels, self.semantics, self.x, self.r]
        for array in parts:
            if array is None:
                digest.update(b"none")
                continue
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class Part:
    """Rows of a data set: x [n, D], r [n, R] or None, labels [n] int32 (class numbers of the whole data set)."""

    x: np.ndarray
    r: np.ndarray | None
    labels: np.ndarray

    def views(self) -> dict[str, np.ndarray]:
        """The arrays by name, as methods take them: {"x"} or {"x", "r"}."""
        return {"x": self.x} if self.r is None else {"x": self.x, "r": self.r}


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One generalised zero-shot problem: train on `train`, score `test_seen` and `test_unseen`.

    The test task uses the official split; the validation task uses training classes only, some of which play "unseen".
    Features are scaled. `seen` and `unseen` are ascending class numbers (int32) into `semantics` [C, A]. `train_rows`
    [n] are the rows of the data set that `train` holds.
    """

    name: str
    train: Part
    test_seen: Part
    test_unseen: Part
    semantics: np.ndarray
    seen: np.ndarray
    unseen: np.ndarray
    class_names: tuple[str, ...]
    train_rows: np.ndarray

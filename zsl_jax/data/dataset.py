"""What every data source returns: features, labels, class semantics and splits, checked and fingerprinted."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from zsl_jax.data import rows
from zsl_jax.data.rows import View, Views
from zsl_jax.data.scaling import SEMANTICS, VALIDATED, SemanticsScaler, fit_semantics, scale_semantics


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


class Vectors:
    """The two views of vectors in memory, of what has views."""

    views: Views

    @property
    def x(self) -> np.ndarray:
        """Features [n, D] float32."""
        return array(self.views, "x")

    @property
    def r(self) -> np.ndarray | None:
        """Representations [n, R] float32, or None."""
        return array(self.views, "r") if "r" in self.views else None


@dataclasses.dataclass(frozen=True)
class Dataset(Vectors):
    """A zero-shot data set, its rows as they are in the source (not scaled).

    Attributes:
      name: data set, e.g. "AWA2".
      views: rows by the name of the view [N, ...]: features "x" [N, D] and representations "r" [N, R] float32, pictures
        "image" [N, H, W, 3], feature maps "map" [N, h, w, F]; arrays, or sources that read rows.
      origins: where each view comes from by its name, e.g. {"x": "ce_ce"}.
      semantics_name: what the semantics are, e.g. "att".
      labels: class of each row [N] int32, 0-based.
      semantics: description of each class [C, A] float32.
      splits: row numbers of the parts.
      class_names: C names.
      notes: one line for each decision taken while loading (derived splits, removed leaks, ...).
      attribute_vectors: a word vector for each attribute [A, W] float32; None: the data have none.
      given_semantics: the descriptions before they were scaled [C, A]; None: as `semantics`.
      semantics_scaler: how they were scaled; None: not at all.
      bayes: optional parameters of the true class-conditional densities (synthetic data only).
      attribute_names: of the columns of the descriptions (A), or none; the fingerprint does not cover them.
    """

    name: str
    views: Views
    origins: Mapping[str, str]
    semantics_name: str
    labels: np.ndarray
    semantics: np.ndarray
    splits: Splits
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    attribute_vectors: np.ndarray | None = None
    given_semantics: np.ndarray | None = None
    semantics_scaler: SemanticsScaler | None = None
    bayes: object | None = None
    attribute_names: tuple[str, ...] = ()

    @property
    def features(self) -> str | None:
        """Where the features come from, e.g. "ce_ce"."""
        return self.origins.get("x")

    @property
    def representations(self) -> str | None:
        """Where the representations come from, e.g. "con_paco"; None without representations."""
        return self.origins.get("r")

    def with_view(self, name: str, view: View, origin: str) -> "Dataset":
        """The same with one more view, or another in its place."""
        return dataclasses.replace(self, views={**self.views, name: view}, origins={**self.origins, name: origin})

    def with_semantics(self, kind: str) -> "Dataset":
        """The same with its descriptions scaled in one of the ways of `scaling.SEMANTICS`, fitted on the seen classes.

        Where the way is still to be chosen (`scaling.VALIDATED`), they stay as they are.

        Raises:
          InputError: they cannot be scaled so.
        """
        if kind == VALIDATED:
            return self
        given = self.semantics if self.given_semantics is None else self.given_semantics
        scaler = fit_semantics(kind, np.asarray(given, np.float64)[self.seen])
        semantics = scale_semantics(scaler, given, f"{self.name}: {self.semantics_name}")
        return dataclasses.replace(self, semantics=semantics, given_semantics=given, semantics_scaler=scaler)

    @property
    def described_by(self) -> str:
        """What the semantics are, with how they are scaled."""
        scaled = SEMANTICS[self.semantics_scaler.kind] if self.semantics_scaler else ""
        return ", ".join(filter(None, (self.semantics_name, scaled)))

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
        """SHA-256 (hex) of splits, labels, semantics as scaled, and views as loaded: equal data, equal fingerprint."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in (*dataclasses.astuple(self.splits), self.labels, self.semantics):
            rows.mix(digest, part)
        for name in ("x", "r"):
            rows.mix(digest, self.views[name]) if name in self.views else digest.update(b"none")
        for name in sorted(set(self.views) - {"x", "r"}):
            digest.update(name.encode())
            rows.mix(digest, self.views[name])
        if self.attribute_vectors is not None:
            rows.mix(digest, self.attribute_vectors)
        return digest.hexdigest()


def array(views: Views, name: str) -> np.ndarray:
    """A view that is held in memory."""
    view = views[name]
    if not isinstance(view, np.ndarray):
        raise TypeError(f"view {name!r} is not held in memory")
    return view


@dataclasses.dataclass(frozen=True)
class Part(Vectors):
    """Rows of a data set: views by name [n, ...], labels [n] int32 (class numbers of the whole data set)."""

    views: Views
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, names: Iterable[str]) -> "Part":
        """The part with the named views alone; names that it lacks are passed over."""
        return Part({name: self.views[name] for name in names if name in self.views}, self.labels)

    def take(self, chosen: np.ndarray) -> "Part":
        """Some of the rows, by number or by mask."""
        return Part({name: rows.take(view, chosen) for name, view in self.views.items()}, self.labels[chosen])


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One generalised zero-shot problem: train on `train`, score `test_seen` and `test_unseen`.

    The test task uses the official split; the validation task uses training classes only, some of which play "unseen".
    Vectors are scaled. `seen` and `unseen` are ascending class numbers (int32) into `semantics` [C, A]. `train_rows`
    are the rows of the data set that `train` holds, `fit_rows` those that scalers are fitted on (int64).
    `attribute_vectors` [A, W]: see `Dataset`.
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
    fit_rows: np.ndarray
    attribute_vectors: np.ndarray | None = None

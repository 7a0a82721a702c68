"""The validation part of a split: taken from the source, freed of leaks, or derived.

What matters of it are the classes: the validation task takes all rows of trainval of each (`tasks.validation_rows`).
"""

import itertools

import numpy as np

from zsl_jax.data import checks
from zsl_jax.data.dataset import Splits
from zsl_jax.data.sources import published
from zsl_jax.errors import InputError

MAIN_PARTS = ("trainval", "test_seen", "test_unseen")
DERIVED_SEED = 0  # a derived split belongs to the data set, not to the run: the same for every run's seed


def complete_splits(
    parts: dict[str, np.ndarray], labels: np.ndarray, n_validation: int, name: str, where: str
) -> tuple[Splits, tuple[str, ...]]:
    """Checks the parts and adds the validation split where it is missing or leaks.

    Args:
      parts: row numbers (0-based) of `trainval`, `test_seen`, `test_unseen`, and of `train` and `val` where given.
      labels: class of each row [N].
      n_validation: how many classes play "unseen" in validation; 0: as many as the source says, or as published for
        this data set, or a quarter of the seen ones.
      name: data set.
      where: file, for messages.

    Returns:
      The splits, and one line for each decision taken.

    Raises:
      InputError: parts overlap or their classes do.
    """
    require_disjoint_rows(parts, where)
    _require_consistent_classes(parts, labels, where)
    train, val, notes = _given_validation(parts, labels)
    given = np.unique(labels[val]).size
    if given and n_validation in (0, given):
        return _splits(parts, train, val), notes
    if given:
        notes = (*notes, f"{given} validation classes in the split, {n_validation} asked for: not used")
    n_classes = n_validation or default_validation_classes(name, np.unique(labels[parts["trainval"]]).size)
    train, val = derive_validation(parts["trainval"], labels, n_classes)
    drawn = f"validation split derived: {n_classes} of the seen classes drawn with seed {DERIVED_SEED}"
    return _splits(parts, train, val), (*notes, drawn)


def derive_validation(
    trainval: np.ndarray, labels: np.ndarray, n_classes: int, seed: int = DERIVED_SEED
) -> tuple[np.ndarray, np.ndarray]:
    """Draws validation classes among the seen ones.

    Args:
      trainval: row numbers [n].
      labels: class of each row of the data set [N].
      n_classes: how many classes to draw.
      seed: of the draw.

    Returns:
      Row numbers of the other classes and of the drawn ones, in the order of `trainval`.

    Raises:
      InputError: fewer than one class would be left.
    """
    seen = np.unique(labels[trainval])
    if not 0 <= n_classes < seen.size:
        raise InputError(f"config.data.validation_classes: {n_classes} asked for, {seen.size} classes are seen")
    drawn = np.random.default_rng(seed).permutation(seen)[:n_classes]
    chosen = np.isin(labels[trainval], drawn)
    return trainval[~chosen], trainval[chosen]


def default_validation_classes(name: str, n_seen: int) -> int:
    """Returns the published number of validation classes of this data set, else a quarter of the seen classes."""
    known = published.DATASETS.get(name)
    if known and known.seen == n_seen:
        return known.validation
    return min(max(1, round(n_seen / 4)), n_seen - 1)


def leaked_rows(parts: dict[str, np.ndarray]) -> int:
    """Counts rows of train and val that are not in trainval: test rows in every published file that has any."""
    rows = np.concatenate([parts.get("train", []), parts.get("val", [])])
    return int(np.sum(~np.isin(rows, parts["trainval"])))


def variant(parts: dict[str, np.ndarray]) -> str:
    """Says which of the three variants of split files in circulation this is."""
    if "train" not in parts or "val" not in parts:
        return "C (no train/val)"
    return "A (train + val leak)" if leaked_rows(parts) else "B (train + val within trainval)"


def require_disjoint_rows(parts: dict[str, np.ndarray], where: str) -> None:
    """Raises InputError when two of trainval, test_seen and test_unseen share a row."""
    for first, second in itertools.combinations(MAIN_PARTS, 2):
        checks.require_disjoint(parts[first], parts[second], f"rows of {first}_loc and {second}_loc", where)


def _splits(parts: dict[str, np.ndarray], train: np.ndarray, val: np.ndarray) -> Splits:
    return Splits(parts["trainval"], parts["test_seen"], parts["test_unseen"], train, val)


def _require_consistent_classes(parts: dict[str, np.ndarray], labels: np.ndarray, where: str) -> None:
    classes = {name: np.unique(labels[parts[name]]) for name in MAIN_PARTS}
    what = "classes of trainval_loc and test_unseen_loc"
    checks.require_disjoint(classes["trainval"], classes["test_unseen"], what, where)
    untrained = np.setdiff1d(classes["test_seen"], classes["trainval"])
    if untrained.size:
        raise InputError(f"{where}: class {untrained[0] + 1} is in test_seen_loc but has no row in trainval_loc")


def _given_validation(
    parts: dict[str, np.ndarray], labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Returns the source's train and val rows within trainval (both empty: not usable) and what was done to them."""
    nothing = np.zeros(0, np.int64)
    if "train" not in parts or "val" not in parts:
        return nothing, nothing, ("no validation split given (train_loc and val_loc)",)
    train, val = (parts[part][np.isin(parts[part], parts["trainval"])] for part in ("train", "val"))
    notes: tuple[str, ...] = ()
    leaked = leaked_rows(parts)
    if leaked:
        of_test = np.isin(parts["test_seen"], np.concatenate([parts["train"], parts["val"]])).sum()
        notes = (f"train_loc and val_loc held {leaked} rows outside trainval ({of_test} of test_seen): removed",)
    if not train.size or not val.size:
        return nothing, nothing, (*notes, "train_loc or val_loc has no row of trainval: not used")
    if np.intersect1d(labels[train], labels[val]).size:
        return nothing, nothing, (*notes, "train_loc and val_loc share classes: not used")
    left_out = ~np.isin(labels[parts["trainval"]], labels[np.concatenate([train, val])])
    if left_out.any():
        said = (
            f"{left_out.sum()} rows of trainval are of classes in neither train_loc nor val_loc: not in the validation"
        )
        notes = (*notes, said)
    return train, val, notes

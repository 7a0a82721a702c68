"""Splits of one's own data: from lists of rows, from lists of classes, or drawn by seed."""

import csv
from collections.abc import Mapping

import numpy as np

from zsl_jax.data import checks, splits
from zsl_jax.data.dataset import Splits
from zsl_jax.data.tasks import draw_share
from zsl_jax.errors import InputError
from zsl_jax.interop import naming
from zsl_jax.interop.options import Options
from zsl_jax.interop.sources import Field, real

UNSEEN_PARTS = ("unseen", "test", "testunseen")
SEEN_PARTS = ("trainval", "seen")
ROW_PARTS = {part.replace("_", ""): part for part in (*splits.MAIN_PARTS, "train", "val")}
UNSEEN_SHARE = 0.2  # of the classes, where nothing is said

Notes = tuple[str, ...]


def row_lists(lists: Mapping[str, Field], n_rows: int, base: int | None) -> tuple[dict[str, np.ndarray], Notes]:
    """Reads the lists that hold row numbers.

    Args:
      lists: by part, of rows or of classes.
      n_rows: rows of the data set.
      base: 0 or 1, the number of the first row; None: as the lists tell.

    Returns:
      0-based rows by part of `zsl_jax.data.dataset.Splits`, and a note on the base.

    Raises:
      InputError: a list holds no row numbers, one twice, or the base can't be told.
    """
    found = {ROW_PARTS[part]: field for part, field in lists.items() if part in ROW_PARTS and _holds_rows(field)}
    if not found:
        return {}, ()
    if others := [field for part, field in lists.items() if part not in ROW_PARTS or not _holds_rows(field)]:
        one = next(iter(found.values()))
        raise InputError(f"{one.where} lists rows, {others[0].where} classes; choose by --splits FILE")
    first, note = _row_base(found, n_rows, base)
    rows = {
        part: checks.row_numbers(real(field), f"{field.where} (rows from {first} on)", n_rows, first)
        for part, field in found.items()
    }
    return rows, (note,)


def divide(
    labels: np.ndarray,
    class_names: tuple[str, ...],
    rows: dict[str, np.ndarray],
    lists: Mapping[str, Field],
    options: Options,
    name: str,
) -> tuple[Splits, Notes]:
    """Divides rows into trainval, test_seen, test_unseen, train and val; what isn't given is drawn by seed.

    Args:
      labels: class of each row [N], 0-based.
      class_names: C names.
      rows: lists of rows, from `row_lists`.
      lists: all lists; those of classes are used where there are none of rows.
      options: `unseen`, `test_fraction` and `seed`.
      name: data set.

    Returns:
      The splits, and one line for each decision.

    Raises:
      InputError: lists contradict each other or the labels, name unknown classes, or leave nothing to train or test on.
    """
    if not 0 < options.test_fraction < 1:
        raise InputError(f"--test-fraction {options.test_fraction}; a number between 0 and 1 is needed")
    where = next((str(field.file) for field in lists.values()), name)
    if lists and options.unseen:
        raise InputError(f"--unseen {options.unseen}: but {where} has the splits; leave out one of them")
    if rows:
        parts, notes = _from_rows(rows, labels, options, where)
    else:
        parts, notes = _from_classes(labels, class_names, lists, options, where)
    parts, drawn = _with_validation(parts, labels, class_names, options.seed, name)
    _require_rows(parts, where)
    chosen, completed = splits.complete_splits(parts, labels, 0, name, where)
    return chosen, (*notes, *drawn, *completed)


def _holds_rows(field: Field) -> bool:
    return not isinstance(field.value, tuple) and "class" not in field.name


def _row_base(found: Mapping[str, Field], n_rows: int, base: int | None) -> tuple[int, str]:
    """The number of the first row, and how it was told."""
    if base is not None:
        return base, f"rows of the splits count from {base}, as asked for"
    if all(field.file.suffix.lower() == ".mat" for field in found.values()):
        return 1, "rows of the splits count from 1, as in all MATLAB files"
    lowest = min(np.min(real(field)) for field in found.values())
    highest = max(np.max(real(field)) for field in found.values())
    if lowest == 0:
        return 0, "rows of the splits count from 0: a 0 occurs"
    if highest == n_rows:
        return 1, f"rows of the splits count from 1: {n_rows} occurs, and there are so many rows"
    where = next(iter(found.values())).where
    raise InputError(f"{where}: rows {lowest}..{highest} of {n_rows} could count from 0 or 1; say --split-base 0|1")


def _from_rows(
    rows: dict[str, np.ndarray], labels: np.ndarray, options: Options, where: str
) -> tuple[dict[str, np.ndarray], Notes]:
    """Completes lists of rows: without test_seen, a share of trainval is set aside."""
    for part in ("trainval", "test_unseen"):
        if part not in rows:
            needed = ", ".join(splits.MAIN_PARTS)
            raise InputError(f"{where}: lists of rows, but none called {part}; {needed} are needed")
    if "test_seen" in rows:
        return rows, ()
    held, note = _held_out(labels[rows["trainval"]], options)
    return rows | {"trainval": rows["trainval"][~held], "test_seen": rows["trainval"][held]}, (note,)


def _from_classes(
    labels: np.ndarray, class_names: tuple[str, ...], lists: Mapping[str, Field], options: Options, where: str
) -> tuple[dict[str, np.ndarray], Notes]:
    """Divides rows by class: lists of classes, or classes asked for or drawn as unseen."""
    present = np.unique(labels)
    if lists:
        (seen, unseen, validation), notes = _listed_classes(lists, class_names, present, where)
    else:
        unseen, notes = _unseen_classes(options, class_names, present)
        seen, validation = np.setdiff1d(present, unseen), np.zeros(0, np.int64)
    if seen.size < 2:
        raise InputError(f"{where}: {seen.size} seen classes are left to train on; at least 2 are needed")
    of_seen = np.flatnonzero(np.isin(labels, seen))
    held, note = _held_out(labels[of_seen], options)
    parts = {"trainval": of_seen[~held], "test_seen": of_seen[held]}
    parts["test_unseen"] = np.flatnonzero(np.isin(labels, unseen))
    if validation.size:
        plays_unseen = np.isin(labels[parts["trainval"]], validation)
        parts |= {"train": parts["trainval"][~plays_unseen], "val": parts["trainval"][plays_unseen]}
    return parts, (*notes, note)


def _held_out(labels: np.ndarray, options: Options) -> tuple[np.ndarray, str]:
    """Marks the rows of seen classes [n] bool that are set aside for test_seen."""
    held = draw_share(labels, options.test_fraction, options.seed, spare=1)
    share = f"{options.test_fraction:g} of the rows of each seen class"
    return held, f"test_seen: {share}, drawn with seed {options.seed}"


def _with_validation(
    parts: dict[str, np.ndarray], labels: np.ndarray, class_names: tuple[str, ...], seed: int, name: str
) -> tuple[dict[str, np.ndarray], Notes]:
    """Draws the classes that play unseen in validation, where no list says."""
    if "train" in parts and "val" in parts:
        return parts, ()
    n_seen = np.unique(labels[parts["trainval"]]).size
    if n_seen < 2:
        raise InputError(f"{name}: {n_seen} classes in trainval; at least 2 are needed")
    count = splits.default_validation_classes(name, n_seen)
    train, val = splits.derive_validation(parts["trainval"], labels, count, seed)
    drawn = naming.listed([class_names[number] for number in np.unique(labels[val])])
    note = f"validation: {count} of {n_seen} seen classes play unseen, drawn with seed {seed}: {drawn}"
    return parts | {"train": train, "val": val}, (note,)


def _require_rows(parts: dict[str, np.ndarray], where: str) -> None:
    for part in splits.MAIN_PARTS:
        if not parts[part].size:
            raise InputError(f"{where}: no row is left for {part}; more rows of each class are needed")


def _unseen_classes(options: Options, class_names: tuple[str, ...], present: np.ndarray) -> tuple[np.ndarray, Notes]:
    """The classes that `--unseen` names, or so many drawn by seed."""
    text = options.unseen
    count = _count_of(text, class_names, present.size)
    if count is None:
        names = next(csv.reader([text], skipinitialspace=True))
        return _numbers(tuple(name for name in names if name), class_names, present, "--unseen")
    if not 1 <= count <= present.size - 2:
        raise InputError(f"--unseen {text}: {count} of {present.size} classes with rows; at least 2 must stay seen")
    drawn = np.sort(np.random.default_rng(options.seed).permutation(present)[:count])
    names = naming.listed([class_names[number] for number in drawn])
    return drawn, (f"unseen: {count} of {present.size} classes, drawn with seed {options.seed}: {names}",)


def _count_of(text: str, class_names: tuple[str, ...], n_present: int) -> int | None:
    """The number of unseen classes that is asked for; None where classes are named."""
    if not text:
        return max(1, round(UNSEEN_SHARE * n_present))
    try:
        number = float(text)
    except ValueError:
        return None
    if text in class_names:
        raise InputError(f"--unseen {text}: a number of classes, or a class of this name? Write {text}, for the class")
    share = 0 < number < 1
    if not share and not number.is_integer():
        raise InputError(f"--unseen {text}: classes, a number of them or a share between 0 and 1 is needed")
    return max(1, round(number * n_present)) if share else int(number)


def _numbers(
    names: tuple[str, ...], class_names: tuple[str, ...], present: np.ndarray, where: str
) -> tuple[np.ndarray, Notes]:
    """Numbers of named classes, each of which must be described and have rows."""
    numbers, notes = _class_numbers(names, class_names, where)
    empty = np.setdiff1d(numbers, present)
    if empty.size:
        raise InputError(f"{where}: class {class_names[empty[0]]!r} has no row, so nothing could be tested on it")
    return numbers, (*notes, f"unseen: {naming.listed([class_names[number] for number in numbers])}, as asked for")


def _class_numbers(names: tuple[str, ...], class_names: tuple[str, ...], where: str) -> tuple[np.ndarray, Notes]:
    naming.require_different(names, where)
    found, notes = naming.match(names, class_names, where)
    unknown = [name for name, number in found.items() if number is None]
    if unknown:
        raise InputError(f"{where}: {unknown[0]!r} is no class; there are {naming.listed(class_names)}")
    numbers = np.unique([number for number in found.values() if number is not None])
    if numbers.size < len(names):
        raise InputError(f"{where}: two of the names mean one class; name each once")
    return numbers.astype(np.int64), notes


def _listed_classes(
    lists: Mapping[str, Field], class_names: tuple[str, ...], present: np.ndarray, where: str
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], Notes]:
    """Seen, unseen and validation classes that have rows, from lists of names."""
    named: dict[str, np.ndarray] = {}
    notes: Notes = ()
    for part, field in lists.items():
        named[part], rough = _class_numbers(_names_of(field), class_names, field.where)
        notes += rough
    seen = _first(named, SEEN_PARTS)
    if seen is None and "train" in named:
        seen = np.union1d(named["train"], named.get("val", named["train"]))
    unseen = _first(named, UNSEEN_PARTS)
    if unseen is None:
        unseen = np.setdiff1d(present, named.get("val", []) if seen is None else seen)
        notes += ("unseen: all classes with rows in no list of seen ones",)
    seen = np.setdiff1d(present, unseen) if seen is None else seen
    _require_apart(seen, unseen, present, class_names, where)
    left = np.setdiff1d(present, np.union1d(seen, unseen))
    if left.size:
        names = naming.listed([class_names[number] for number in left])
        notes += (f"in no part of the splits, since in no list: classes {names}",)
    validation = np.intersect1d(named.get("val", []), present).astype(np.int64)
    return (np.intersect1d(seen, present), unseen, validation), notes


def _names_of(field: Field) -> tuple[str, ...]:
    """The classes of a list; numbers are names that look so."""
    if isinstance(field.value, tuple):
        return field.value
    return tuple(map(str, checks.whole_numbers(real(field), field.where, -(2**31), 2**31 - 1)))


def _first(named: Mapping[str, np.ndarray], parts: tuple[str, ...]) -> np.ndarray | None:
    return next((named[part] for part in parts if part in named), None)


def _require_apart(
    seen: np.ndarray, unseen: np.ndarray, present: np.ndarray, class_names: tuple[str, ...], where: str
) -> None:
    both = np.intersect1d(seen, unseen)
    if both.size:
        raise InputError(f"{where}: class {class_names[both[0]]!r} is in lists of both seen and unseen classes")
    empty = np.setdiff1d(unseen, present)
    if empty.size:
        raise InputError(f"{where}: unseen class {class_names[empty[0]]!r} has no row; take it out of the list")

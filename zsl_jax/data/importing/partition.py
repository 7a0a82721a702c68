"""Splits of one's own data: from lists of rows, from lists of classes, or drawn by seed."""

import csv
from collections.abc import Mapping

import numpy as np

from zsl_jax.data import splits
from zsl_jax.data.dataset import Splits
from zsl_jax.data.importing import class_lists, naming
from zsl_jax.data.importing.fields import Field
from zsl_jax.data.importing.options import Options
from zsl_jax.data.tasks import draw_share
from zsl_jax.errors import InputError

UNSEEN_SHARE = 0.2  # of the classes, where nothing is said

Notes = tuple[str, ...]


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
      rows: lists of rows by part, from `row_lists.read`.
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


def _from_rows(
    rows: dict[str, np.ndarray], labels: np.ndarray, options: Options, where: str
) -> tuple[dict[str, np.ndarray], Notes]:
    """Completes lists of rows: without test_seen, a share of trainval is set aside."""
    rows, notes = _with_trainval(rows)
    rows, of_test = _with_test(rows, labels, where)
    for part in ("trainval", "test_unseen"):
        if part not in rows:
            needed = ", ".join(splits.MAIN_PARTS)
            raise InputError(f"{where}: lists of rows, but none called {part}; {needed} are needed")
    unused = labels.size - np.unique(np.concatenate([*rows.values()])).size
    notes += (*of_test, *((f"{unused} rows are in no part of the splits",) if unused else ()))
    if "test_seen" in rows:
        return rows, notes
    held, note = _held_out(labels[rows["trainval"]], options)
    parts = {"trainval": rows["trainval"][~held], "test_seen": rows["trainval"][held]}
    return rows | parts, (*notes, note)


def _with_trainval(rows: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], Notes]:
    """Completes trainval, train and val from each other; train alone is all there is to train on."""
    if "trainval" not in rows and "train" in rows:
        others = {part: numbers for part, numbers in rows.items() if part != "train" or "val" in rows}
        trainval = np.union1d(rows["train"], rows.get("val", rows["train"]))
        return others | {"trainval": trainval}, ("trainval: the rows of train" + " and val" * ("val" in rows),)
    if "trainval" in rows and ("train" in rows) != ("val" in rows):
        given, other = ("train", "val") if "train" in rows else ("val", "train")
        return rows | {other: np.setdiff1d(rows["trainval"], rows[given])}, (f"{other}: trainval without {given}",)
    return rows, ()


def _with_test(rows: dict[str, np.ndarray], labels: np.ndarray, where: str) -> tuple[dict[str, np.ndarray], Notes]:
    """Divides a list of all rows for testing: those of classes in trainval are test_seen, the others test_unseen."""
    if "test" not in rows or "trainval" not in rows:
        return rows, ()
    test, others = rows["test"], {part: numbers for part, numbers in rows.items() if part != "test"}
    is_seen = np.isin(labels[test], labels[rows["trainval"]])
    parts = {"test_seen": test[is_seen], "test_unseen": test[~is_seen]}
    if is_seen.all():
        raise InputError(f"{where}: all rows of test are of classes to train on; leave it out and say --unseen")
    for part in parts:
        if part in others and not np.array_equal(np.sort(others[part]), np.sort(parts[part])):
            raise InputError(f"{where}: rows of {part} are not those of test; leave test out")
    given = {part: numbers for part, numbers in parts.items() if numbers.size}
    return others | given, (f"test: {is_seen.sum()} rows of classes in trainval are test_seen, the others test_unseen",)


def _from_classes(
    labels: np.ndarray, class_names: tuple[str, ...], lists: Mapping[str, Field], options: Options, where: str
) -> tuple[dict[str, np.ndarray], Notes]:
    """Divides rows by class: lists of classes, or classes asked for or drawn as unseen."""
    present = np.unique(labels)
    if lists:
        (seen, unseen, validation), notes = class_lists.read(lists, class_names, present, where)
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
    if naming.rough_name(text) in map(naming.rough_name, class_names):
        raise InputError(f"--unseen {text}: a number of classes, or a class of this name? Write {text}, for the class")
    share = 0 < number < 1
    if not share and not number.is_integer():
        raise InputError(f"--unseen {text}: classes, a number of them or a share between 0 and 1 is needed")
    return max(1, round(number * n_present)) if share else int(number)


def _numbers(
    names: tuple[str, ...], class_names: tuple[str, ...], present: np.ndarray, where: str
) -> tuple[np.ndarray, Notes]:
    """Numbers of named classes, each of which must be described and have rows."""
    numbers, notes = class_lists.numbers(names, class_names, where)
    empty = np.setdiff1d(numbers, present)
    if empty.size:
        raise InputError(f"{where}: class {class_names[empty[0]]!r} has no row, so nothing could be tested on it")
    return numbers, (*notes, f"unseen: {naming.listed([class_names[number] for number in numbers])}, as asked for")

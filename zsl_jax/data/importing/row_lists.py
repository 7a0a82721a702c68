"""Lists of rows for the splits: as row numbers, as masks, or as names of pictures."""

import re
from collections.abc import Mapping

import numpy as np

from zsl_jax.data import checks, splits
from zsl_jax.data.importing import parts as names_of_parts
from zsl_jax.data.importing.fields import Field, real
from zsl_jax.errors import InputError

PARTS = {part.replace("_", ""): part for part in (*splits.MAIN_PARTS, "train", "val", "test")}

Notes = tuple[str, ...]
Rows = dict[str, np.ndarray]


def read(
    lists: Mapping[str, Field], n_rows: int, n_classes: int, base: int | None, pictures: tuple[str, ...] | None
) -> tuple[Rows, Notes]:
    """Reads the lists that hold rows.

    Args:
      lists: by part, of rows or of classes.
      n_rows: rows of the data set.
      n_classes: its classes.
      base: 0 or 1, the number of the first row; None: as the lists tell.
      pictures: names of the rows, if they have any.

    Returns:
      0-based rows by part ("trainval", "test_seen", "test_unseen", "train", "val", "test"), and how they were read.

    Raises:
      InputError: lists hold rows and classes, a row is out of range or occurs twice, the base can't be told, or the
        numbers may be classes.
    """
    lists, of_names = _renamed(lists, n_rows, pictures)
    told, notes = _told(lists, n_rows, pictures)
    notes = (*of_names, *notes)
    left = {part: field for part, field in lists.items() if PARTS.get(part) not in told}
    numbered = {part: field for part, field in left.items() if _holds_numbers(part, field)}
    found = [part for part in lists if part in numbered or part not in left]
    if not found:
        return {}, ()
    if others := [field for part, field in lists.items() if part not in found]:
        raise InputError(f"{lists[found[0]].where} lists rows, {others[0].where} classes; choose by --splits FILE")
    if not numbered:
        return told, notes
    first, note = _base(numbered, n_rows, base)
    rows = {
        PARTS[part]: checks.row_numbers(real(field), f"{field.where} (rows from {first} on)", n_rows, first)
        for part, field in numbered.items()
    }
    if base is None:
        _require_rows_meant(rows, numbered, n_rows, n_classes)
    return told | rows, (*notes, note)


def _renamed(
    lists: Mapping[str, Field], n_rows: int, pictures: tuple[str, ...] | None
) -> tuple[dict[str, Field], Notes]:
    """Calls "seen" and "unseen" trainval and test_unseen where they hold rows, else they are lists of classes.

    Raises:
      InputError: other lists of rows say to train or to test on seen classes, so that "seen" could mean either.
    """
    renamed = dict(lists)
    notes: Notes = ()
    for part, meant, others in (
        ("seen", "trainval", ("trainval", "train", "test", "testseen")),
        ("unseen", "testunseen", ("testunseen",)),
    ):
        if part not in lists or not _holds_rows(lists[part], n_rows, pictures):
            continue
        field = renamed.pop(part)
        if rival := next((lists[other] for other in others if other in lists), None):
            raise InputError(
                f"{field.where}: which rows, beside {rival.where}? Call both trainval, test_seen or test_unseen"
            )
        renamed[meant] = field
        notes += (f"{field.where}: rows of {PARTS[meant]}",)
    return renamed, notes


def _holds_rows(field: Field, n_rows: int, pictures: tuple[str, ...] | None) -> bool:
    """Says whether a list is a mask of the rows, names pictures, or is called as row numbers are."""
    if isinstance(field.value, tuple):
        return set(field.value) <= set(pictures or ())
    return (field.value.size == n_rows and _is_mask(field, n_rows)) or (
        names_of_parts.named(field.name)[1] in names_of_parts.OF_ROWS
    )


def _told(lists: Mapping[str, Field], n_rows: int, pictures: tuple[str, ...] | None) -> tuple[Rows, Notes]:
    """Rows of the lists that give them otherwise than by number."""
    place = {name: row for row, name in enumerate(pictures or ())}
    known = set(place) if pictures and len(place) == len(pictures) else set()
    rows: Rows = {}
    notes: Notes = ()
    for part, field in lists.items():
        if part not in PARTS:
            continue
        if _is_mask(field, n_rows):
            rows[PARTS[part]] = np.flatnonzero(real(field))
            notes += (f"{field.where}: marks {rows[PARTS[part]].size} rows",)
        elif isinstance(field.value, tuple) and set(field.value) <= known:
            numbers = np.array([place[name] for name in field.value])
            rows[PARTS[part]] = checks.row_numbers(numbers, f"{field.where} (rows of the pictures)", n_rows, 0)
            notes += (f"{field.where}: names of pictures",)
    return rows, notes


def _is_mask(field: Field, n_rows: int) -> bool:
    """Says whether a list marks its rows by ones (or true), one entry for each row of the data set."""
    if isinstance(field.value, tuple) or field.value.dtype.kind not in "biuf":
        return False
    if field.value.size == n_rows == max(field.value.shape) > 2 and bool(np.isin(field.value, (0, 1)).all()):
        return True
    if field.value.dtype.kind == "b":
        raise InputError(f"{field.where}: {field.shape}; a mask needs one entry for each of the {n_rows} rows")
    return False


def _holds_numbers(part: str, field: Field) -> bool:
    return part in PARTS and not isinstance(field.value, tuple) and not re.search("class|cls", field.name)


def _base(found: Mapping[str, Field], n_rows: int, base: int | None) -> tuple[int, str]:
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


def _require_rows_meant(rows: Rows, found: Mapping[str, Field], n_rows: int, n_classes: int) -> None:
    """Refuses numbers that are as small as those of classes and leave most rows unused."""
    largest = max(numbers.max(initial=0) for part, numbers in rows.items() if part != "test_seen")
    used = np.unique(np.concatenate([*rows.values()])).size
    if largest < n_classes and used < n_rows / 2:
        raise InputError(
            f"{next(iter(found.values())).where}: {used} of {n_rows} rows, or numbers of classes? For classes write "
            "their names; if they are rows, say --split-base=0 or =1"
        )

"""What the columns of a table are: names or numbers, told by what they are called and by the first lines."""

import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from zsl_jax.errors import InputError

CLASS_COLUMNS = ("class", "classname", "label", "labels", "category", "species", "target", "y")
CLASS_NUMBERS = tuple(f"{name}{ending}" for name in CLASS_COLUMNS for ending in ("id", "idx", "index"))
PATH_COLUMNS = ("path", "file", "filename", "filepath", "image", "imagefile", "imagename", "imagepath")
IDS = ("id", "idx", "index", "imageid", "imgid", "rowid", "imageindex", "rowindex", *CLASS_NUMBERS)
SECOND_CHOICES = ("target", "y")  # name the classes only where no other column does; else y may be a place
UNNAMED = re.compile(r"(unnamed[\W\d]*)?")  # as data frames write the numbers of their lines
TRUTH = {"true": 1.0, "false": 0.0}
SURELY_NAMES = 5  # so many cells that count 0, 1, 2, ... are no data
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+(e[+-]?\d+)?\s*", re.IGNORECASE)


class Kinds(NamedTuple):
    """The numbers of the columns of names, of those of numbers, and of ids, which describe nothing."""

    names: list[int]
    numbers: list[int]
    ids: list[int]


def is_number(text: str) -> bool:
    """Says whether a cell holds a number; digits grouped by "_", as Python takes them, don't count."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def is_fraction(cell: str) -> bool:
    """Says whether a cell holds a number that is written as no whole one."""
    return is_number(cell) and not cell.strip().lstrip("+-").isdecimal()


def is_value(text: str) -> bool:
    """Says whether a cell holds a number, True or False."""
    return is_number(text) or text.strip().casefold() in TRUTH


def plain(name: str) -> str:
    """A name in small letters and digits alone, to be recognised by."""
    return re.sub("[^a-z0-9]", "", name.casefold())


def is_id(name: str) -> bool:
    """Says whether a column called so numbers its lines or classes: "id", "image_id", "classId", but not "humid"."""
    return plain(name) in IDS or re.search(r"(?:[\W_]|[a-z0-9](?=I))(?:id|idx|Id|ID|Idx)$", name.strip()) is not None


def is_unnamed(name: str) -> bool:
    """Says whether a data frame wrote the column without having a name for it."""
    return UNNAMED.fullmatch(name.strip().casefold()) is not None


def class_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """What the column of classes may be called among these: "target" and "y" only where no other is called so."""
    first_choices = tuple(name for name in CLASS_COLUMNS if name not in SECOND_CHOICES)
    return first_choices if any(plain(name) in first_choices for name in columns) else CLASS_COLUMNS


def is_header(path: pathlib.Path, lines: Sequence[Sequence[str]], names_first: bool) -> tuple[bool, str]:
    """Says whether the first line names the columns.

    Args:
      path: the file, for messages.
      lines: the cells of the first line and of the second, as far as there are any.
      names_first: the first column holds names, all others numbers.

    Returns:
      Whether it does, and a note where it does so by numbers (0, 1, 2, ..., as data frames write them).

    Raises:
      InputError: it could as well be data.
    """
    if not lines:
        return False, ""
    first = lines[0]
    if names_first and not all(map(is_value, first[1:])):
        return True, ""
    if not first[0].strip() or {plain(cell) for cell in first} & {*CLASS_COLUMNS, *PATH_COLUMNS, "name"}:
        return True, ""
    if len(lines) < 2:
        return False, ""
    if any(not is_value(a) and is_value(b) for a, b in zip(*lines, strict=True)):
        return True, ""
    return _counts_columns(path, [line[1:] if names_first else line for line in lines])


def kinds(columns: Sequence[str], first: Sequence[str], names_first: bool) -> Kinds:
    """Divides the columns by what they are called and by the first line of data.

    A column of ids names the rows where nothing else does: in a table without other names, or without other numbers.
    Columns of numbers without a name are ids that never do, since those of other tables count alike.

    Args:
      columns: their names.
      first: the cells of the first line of data.
      names_first: one column holds names and all others numbers: the first, or that of the classes if the first holds
        ids or that one words.

    Returns:
      The kinds.
    """
    if names_first:
        names = [_described(columns, first)]
        ids = [at for at in range(len(columns)) if at not in names and _numbers_lines(columns[at], first[at])]
    else:
        called = {plain(name) for name in columns}
        familiar = {*PATH_COLUMNS, *(class_columns(columns) if called & set(CLASS_COLUMNS) else CLASS_NUMBERS)}
        names = [at for at, cell in enumerate(first) if not is_value(cell) or plain(columns[at]) in familiar]
        unnamed = [at for at, name in enumerate(columns) if at not in names and is_unnamed(name)]
        ids = [at for at in range(len(columns)) if at not in names and (at in unnamed or is_id(columns[at]))]
        of_rows = [at for at in ids if at not in unnamed and plain(columns[at]) not in CLASS_NUMBERS]
        has_numbers = len(names) + len(ids) < len(columns)
        if of_rows and not called & set(PATH_COLUMNS) and not (names and has_numbers):
            names = sorted([*names, of_rows[0]])
            ids.remove(of_rows[0])
    return Kinds(names, [at for at in range(len(columns)) if at not in (*names, *ids)], ids)


def in_words(columns: Sequence[str]) -> str:
    """First and last of the columns, and how many there are."""
    ends = dict.fromkeys([columns[0], columns[-1]])
    return f"columns {'..'.join(map(repr, ends))} ({len(columns)})"


def _counts_columns(path: pathlib.Path, lines: Sequence[Sequence[str]]) -> tuple[bool, str]:
    """Says whether all numbers of the first line count them, from 0 or 1 on."""
    cells = [cell.strip() for cell in lines[0] if is_number(cell)]
    counted = next((start for start in (0, 1) if cells == [str(start + at) for at in range(len(cells))]), None)
    is_labels = len(lines[0]) == 1 and cells == ["0"]
    if counted is None or (len(cells) < 2 and not is_labels):
        return False, ""
    has_fraction = any(map(is_fraction, lines[1]))
    if len(cells) >= SURELY_NAMES or (len(cells) > 1 and has_fraction):
        return True, f"line 1 ({cells[0]}..{cells[-1]}) names the columns"
    raise InputError(
        f"{path}: line 1 ({','.join(lines[0])[:40]}) could name the columns or be data; "
        "if it names them, write words there (f0,f1,...), else write such a line before it"
    )


def _described(columns: Sequence[str], first: Sequence[str]) -> int:
    """The column that names what each line describes."""
    starts_with_ids = _numbers_lines(columns[0], first[0])
    called = class_columns(columns)
    for familiar in (called, ("name",) if starts_with_ids else ()):
        for at, name in enumerate(columns):
            if plain(name) in familiar and (starts_with_ids or not is_value(first[at])):
                return at
    return 0


def _numbers_lines(column: str, cell: str) -> bool:
    return is_number(cell) and (is_id(column) or is_unnamed(column))

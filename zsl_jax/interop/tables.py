"""CSV files: which columns hold names and which numbers, every cell checked."""

import array
import csv
import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from zsl_jax.data.matlab import printable
from zsl_jax.errors import InputError

CLASS_COLUMNS = ("class", "classname", "label", "labels", "category", "species", "target")
PATH_COLUMNS = ("path", "file", "filename", "filepath", "image", "imagefile", "imagename", "imagepath")
SEPARATORS = (",", ";", "\t")


class Part(NamedTuple):
    """Something that a table holds; its parts are as in `zsl_jax.interop.sources.Field`, the name may be empty."""

    name: str
    value: np.ndarray | tuple[str, ...]
    axis: str = ""
    names: tuple[str, ...] | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A CSV file.

    Attributes:
      file: where it is from.
      columns: names of all columns; made up ("column 3") where the file has no line of names.
      has_header: whether the names are from the file.
      texts: the columns of names, by column name, one entry a line.
      values: the other columns [n, k] float64, finite.
    """

    file: pathlib.Path
    columns: tuple[str, ...]
    has_header: bool
    texts: dict[str, tuple[str, ...]]
    values: np.ndarray


def read(path: pathlib.Path, names_first: bool = False) -> Table:
    """Reads a CSV file (separated by commas, semicolons or tabs; UTF-8).

    The first line names the columns if it has a familiar name ("class", "path", ...) or a word where the second line
    has a number. Columns of a familiar name, and those that have no number in their first line, hold names.

    Args:
      path: the file.
      names_first: the first column holds names and all others numbers, whatever they are called.

    Returns:
      The table, of at least one line.

    Raises:
      InputError: a line has more or fewer cells than the first, a cell is no finite number, two columns have one name,
        the text isn't UTF-8, or there is no line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _table(path, _lines(path, stream), names_first)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no CSV file of UTF-8 text ({error})") from error


def parts(table: Table) -> Iterator[Part]:
    """Divides a table into what it holds.

    With a column of classes and more than one line of a class, or a column of files, a line is a row of the data set:
    its class is the label. With one line a class, a line describes a class.

    Raises:
      InputError: two columns could be that of the classes, or of the files.
    """
    classes, paths, note = _named_columns(table)
    values, index_note = _without_index(table)
    rest = [name for name in table.texts if name not in (classes, paths)]
    note = "; ".join(filter(None, [note, index_note]))
    if not values.shape[1]:
        yield from _lists(table, classes, paths, note)
    elif classes and not paths and len(set(table.texts[classes])) == len(values):
        note = "; ".join(filter(None, [note, "one line a class"]))
        yield Part("semantics", values, "rows", table.texts[classes], note)
    else:
        names = table.texts[paths or rest[0]] if paths or rest else None
        yield Part("features" if classes else "", values, "rows", names, note)
        yield from _lists(table, classes, paths, "")


def descriptions(table: Table) -> Part:
    """A table that was read with `names_first` as descriptions of classes, a line each; like one of `parts`."""
    return Part("semantics", table.values, "rows", table.texts[table.columns[0]])


def is_number(text: str) -> bool:
    """Says whether a cell holds a number; digits grouped by "_", as Python takes them, don't count."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def plain(name: str) -> str:
    """A name in small letters and digits alone, to be recognised by."""
    return re.sub("[^a-z0-9]", "", name.casefold())


def _lines(path: pathlib.Path, stream: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yields number and cells of each line that isn't empty, all of one length."""
    lines = iter(stream)
    first = next(lines, "")
    separator = next((one for one in SEPARATORS if one in first), ",")
    reader = csv.reader((line for part in ([first], lines) for line in part), delimiter=separator, strict=True)
    width = 0
    for cells in reader:
        if not cells or cells == [""]:
            continue
        width = width or len(cells)
        if len(cells) != width:
            raise InputError(f"{path}: line {reader.line_num} has {len(cells)} cells, the first line has {width}")
        yield reader.line_num, cells


def _table(path: pathlib.Path, lines: Iterator[tuple[int, list[str]]], names_first: bool) -> Table:
    start = [line for line in (next(lines, None), next(lines, None)) if line]
    has_header = _is_header([cells for _, cells in start], names_first)
    columns = _column_names(path, start[0][1], has_header) if start else ()
    start = start[1:] if has_header else start
    if not start:
        raise InputError(f"{path}: no line of data")
    texts: dict[int, list[str]] = {number: [] for number in _columns_of_names(columns, start[0][1], names_first)}
    numeric = [number for number in range(len(columns)) if number not in texts]
    values, places = array.array("d"), array.array("q")
    for place, cells in (line for part in (start, lines) for line in part):
        for number, entries in texts.items():
            entries.append(_name(path, place, columns[number], cells[number]))
        values.extend(_numbers(path, place, columns, cells, numeric))
        places.append(place)
    matrix = np.asarray(values).reshape(len(places), len(numeric))
    _require_finite(path, matrix, places, [columns[number] for number in numeric])
    for number in texts:
        if not names_first and plain(columns[number]) not in (*CLASS_COLUMNS, *PATH_COLUMNS):
            _require_words(path, columns[number], texts[number], places)
    named = {columns[number]: tuple(entries) for number, entries in texts.items()}
    return Table(path, columns, has_header, named, matrix)


def _is_header(lines: list[list[str]], names_first: bool) -> bool:
    """Says whether the first line names the columns."""
    if not lines:
        return False
    if names_first and not all(map(is_number, lines[0][1:])):
        return True
    if not lines[0][0].strip() or {plain(cell) for cell in lines[0]} & {*CLASS_COLUMNS, *PATH_COLUMNS, "name"}:
        return True
    return len(lines) > 1 and any(not is_number(a) and is_number(b) for a, b in zip(*lines, strict=True))


def _columns_of_names(columns: tuple[str, ...], first: list[str], names_first: bool) -> list[int]:
    """Which columns hold names, by what they are called and by the first line of data."""
    if names_first:
        return [0]
    familiar = (*CLASS_COLUMNS, *PATH_COLUMNS)
    return [number for number, cell in enumerate(first) if not is_number(cell) or plain(columns[number]) in familiar]


def _column_names(path: pathlib.Path, cells: list[str], has_header: bool) -> tuple[str, ...]:
    if not has_header:
        return tuple(f"column {number}" for number in range(1, len(cells) + 1))
    names = tuple(printable(cell.strip()) for cell in cells)
    for number, name in enumerate(names):
        if name in names[:number]:
            raise InputError(f"{path}: line 1 names two columns {name!r}; columns need names of their own")
    return names


def _name(path: pathlib.Path, place: int, column: str, cell: str) -> str:
    if not cell.strip():
        raise InputError(f"{path}: line {place}, column {column!r}: empty; a name is needed")
    return printable(cell.strip())


def _numbers(
    path: pathlib.Path, place: int, columns: tuple[str, ...], cells: list[str], numeric: list[int]
) -> list[float]:
    try:
        numbers = [float(cells[number]) for number in numeric]
    except ValueError:
        numbers = []
    if len(numbers) < len(numeric) or "_" in "".join([cells[number] for number in numeric]):
        bad = next(number for number in numeric if not is_number(cells[number]))
        raise InputError(f"{path}: line {place}, column {columns[bad]!r}: {cells[bad][:40]!r}; a number is needed")
    return numbers


def _require_words(path: pathlib.Path, column: str, texts: list[str], places: array.array) -> None:
    """Refuses a column that begins with a word and goes on in numbers: one of features, with a wrong cell."""
    if any(map(is_number, texts)):
        row = next(row for row, text in enumerate(texts) if not is_number(text))
        raise InputError(f"{path}: line {places[row]}, column {column!r}: {texts[row][:40]!r} among numbers")


def _require_finite(path: pathlib.Path, values: np.ndarray, places: array.array, columns: list[str]) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.unravel_index(int(np.argmin(finite)), values.shape)
        found = values[row, column]
        raise InputError(
            f"{path}: line {places[row]}, column {columns[column]!r}: {found}; every number must be finite"
        )


def _named_columns(table: Table) -> tuple[str | None, str | None, str]:
    """The column of classes and that of files, where there are any, and a note."""
    if not table.has_header and len(table.texts) == 2 and table.values.shape[1]:
        paths, classes = table.texts
        return classes, paths, "no line of names: read as path, class, features"
    return _column(table, CLASS_COLUMNS), _column(table, PATH_COLUMNS), ""


def _column(table: Table, familiar: tuple[str, ...]) -> str | None:
    """The one column of names that is called so."""
    found = [name for name in table.texts if table.has_header and plain(name) in familiar]
    if len(found) > 1:
        raise InputError(f"{table.file}: columns {found[0]!r} and {found[1]!r} mean the same; keep one of them")
    return found[0] if found else None


def _lists(table: Table, classes: str | None, paths: str | None, note: str) -> Iterator[Part]:
    """The columns of names, each a list of its own."""
    familiar = {classes: "labels", paths: "image_files"}
    for name, texts in table.texts.items():
        yield Part(familiar.get(name, name if table.has_header else ""), texts, note=note)


def _without_index(table: Table) -> tuple[np.ndarray, str]:
    """Leaves out a first column without a name that counts the lines, as data frames are written."""
    values, first = table.values, table.columns[0]
    if (first and plain(first) != "unnamed0") or first in table.texts:
        return values, ""
    if not np.array_equal(values[:, 0], np.arange(len(values))):
        return values, ""
    return values[:, 1:], "its first column counts the lines: left out"

"""CSV files: which columns hold names and which numbers, every cell checked."""

import array
import csv
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from zsl_jax.data.formats.matlab import printable
from zsl_jax.data.importing import columns as meanings
from zsl_jax.data.importing import parts as parts_of_splits
from zsl_jax.data.importing.columns import CLASS_COLUMNS, CLASS_NUMBERS, PATH_COLUMNS, is_number, plain
from zsl_jax.data.importing.fields import Ids
from zsl_jax.errors import InputError

SEPARATORS = (",", ";", "\t")


class Part(NamedTuple):
    """Something that a table holds; its parts are as in `fields.Field`, the name may be empty."""

    name: str
    value: np.ndarray | tuple[str, ...]
    axis: str = ""
    names: tuple[str, ...] | None = None
    note: str = ""
    ids: Ids | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """A CSV file.

    Attributes:
      file: where it is from.
      columns: names of all columns; made up ("column 3") where the file has no line of names.
      has_header: whether the names are from the file.
      texts: the columns of names, by column name, one entry a line.
      ids: likewise those of ids, as they are written.
      numeric: names of the k columns of numbers.
      values: the columns of numbers [n, k] float64, finite; True is 1, False 0.
      notes: what was decided in reading it.
    """

    file: pathlib.Path
    columns: tuple[str, ...]
    has_header: bool
    texts: dict[str, tuple[str, ...]]
    ids: dict[str, tuple[str, ...]]
    numeric: tuple[str, ...]
    values: np.ndarray
    notes: tuple[str, ...]


def read(path: pathlib.Path, names_first: bool = False) -> Table:
    """Reads a CSV file (separated by commas, semicolons or tabs; UTF-8).

    The first line names the columns if it has a familiar name ("class", "path", ...), a word where the second line
    has a number, or numbers that count the columns. Columns of a familiar name, and those that have no number in their
    first line, hold names; those called "id" or the like, or nothing, are ids, see `columns.kinds`.

    Args:
      path: the file.
      names_first: the first column holds names and all others numbers, see `columns.kinds`.

    Returns:
      The table, of at least one line.

    Raises:
      InputError: a line has more or fewer cells than the first, a cell is no finite number, two columns have one name,
        one divides the rows, one without a name doesn't number the lines, the first line could be names or data, the
        text isn't UTF-8, or there is no line.
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
      InputError: two columns could be that of the classes, or of the files; a description has words in it.
    """
    classes, paths, note = _named_columns(table)
    rest = [name for name in table.texts if name not in (classes, paths)]
    notes = [*table.notes, note]
    values, used = table.values, table.numeric
    if not used:
        yield from _lists(table, classes, paths, _joined([*notes, _ids_note([*table.ids])]))
    elif classes and not paths and len(set(table.texts[classes])) == len(values):
        notes += ["one line a class", _ids_note([*table.ids, *_ids_beside(table, rest)]), meanings.in_words(used)]
        yield Part("semantics", values, "rows", table.texts[classes], _joined(notes), _numbers_of_classes(table))
    else:
        are_named = paths or (not classes and rest and len(set(table.texts[rest[0]])) == len(values))
        of_rows = None if are_named else _ids_of_rows(table)
        columns = [name for name in (paths, of_rows, *rest) if name]
        names = (table.texts | table.ids)[columns[0]] if columns else None
        notes.append(f"{of_rows!r} names the rows" if of_rows else "")
        notes.append(_ids_note([name for name in table.ids if name != of_rows]))
        notes.append(meanings.in_words(used) if table.has_header else "")
        ids = None if classes else _numbers_of_classes(table)
        yield Part("features" if classes else "", values, "rows", names, _joined(notes), ids)
        yield from _lists(table, classes, paths, "")
        if of_rows:
            yield Part("image_files", table.ids[of_rows])


def descriptions(table: Table) -> Part:
    """A table that was read with `names_first` as descriptions of classes, a line each; like one of `parts`.

    Raises:
      InputError: there are no numbers.
    """
    (names,) = table.texts.values()
    if not table.numeric:
        raise InputError(f"{table.file}: names alone; numbers that describe each class are needed beside them")
    note = meanings.in_words(table.numeric) if table.has_header else ""
    notes = [*table.notes, _ids_note([*table.ids]), note]
    return Part("semantics", table.values, "rows", names, _joined(notes), _numbers_of_classes(table))


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
    has_header, note = meanings.is_header(path, [cells for _, cells in start], names_first)
    columns = _column_names(path, start[0][1], has_header) if start else ()
    start = start[1:] if has_header else start
    if not start:
        raise InputError(f"{path}: no line of data")
    kinds = meanings.kinds(columns, start[0][1], names_first)
    if not names_first:
        _require_readable(path, columns, *start[0])
    texts: dict[int, list[str]] = {number: [] for number in (*kinds.names, *kinds.ids)}
    values, places = array.array("d"), array.array("q")
    for place, cells in (line for part in (start, lines) for line in part):
        for number, entries in texts.items():
            entries.append(_name(path, place, columns[number], cells[number]))
        values.extend(_numbers(path, place, columns, cells, kinds.numbers))
        places.append(place)
    numeric = tuple(columns[number] for number in kinds.numbers)
    matrix = np.asarray(values).reshape(len(places), len(numeric))
    _require_finite(path, matrix, places, numeric)
    for number, entries in texts.items():
        if not (names_first or is_number(entries[0]) or _is_familiar(columns[number])):
            _require_words(path, columns[number], entries, places)
        if number in kinds.ids and meanings.is_unnamed(columns[number]):
            _require_index(path, number, entries)
    named, ids = ({columns[number]: tuple(texts[number]) for number in part} for part in (kinds.names, kinds.ids))
    return Table(path, columns, has_header, named, ids, numeric, matrix, (note,) if note else ())


def _is_familiar(column: str) -> bool:
    return plain(column) in (*CLASS_COLUMNS, *CLASS_NUMBERS, *PATH_COLUMNS) or meanings.is_id(column)


def _ids_note(ids: list[str]) -> str:
    shown = [repr(name) if name else "the column without a name" for name in ids]
    return f"left out, since ids describe nothing: {', '.join(shown)}" if ids else ""


def _require_readable(path: pathlib.Path, columns: tuple[str, ...], place: int, cells: list[str]) -> None:
    """Refuses what would pass as names that nobody needs: decimal commas, and columns that divide the rows."""
    for column, cell in zip(columns, cells, strict=True):
        if meanings.DECIMAL_COMMA.fullmatch(cell):
            raise InputError(
                f"{path}: line {place}, column {column!r}: {cell[:40]!r} has a decimal comma; write points"
            )
        is_part = parts_of_splits.looks_like_split(column) and not meanings.is_fraction(cell)
        if is_part or plain(column) in parts_of_splits.DIVISIONS:
            raise InputError(
                f"{path}: column {column!r} is not read, since it looks like a split; remove it and name the unseen "
                "classes by --unseen, or give import_features.py lists of rows (trainval, test_seen, test_unseen) by "
                "--splits FILE; if it describes classes, give this file by --semantics FILE; else rename it"
            )


def _require_index(path: pathlib.Path, number: int, entries: list[str]) -> None:
    """Refuses a column without a name that doesn't number the lines: it may describe them, or hold the labels."""
    if len(set(entries)) < len(entries) or not all(map(str.isdecimal, entries)):
        raise InputError(
            f"{path}: column {number + 1} has no name and doesn't number the lines, each by another whole number; "
            "name it or remove it"
        )


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
    texts = [cells[number] for number in numeric]
    try:
        if "_" not in "".join(texts):
            return [float(text) for text in texts]
    except ValueError:
        pass
    for number in numeric:
        if not meanings.is_value(cells[number]):
            found = cells[number][:40]
            raise InputError(f"{path}: line {place}, column {columns[number]!r}: {found!r}; a number is needed")
    truth = [meanings.TRUTH.get(text.strip().casefold()) for text in texts]
    return [float(text) if value is None else value for text, value in zip(texts, truth, strict=True)]


def _require_words(path: pathlib.Path, column: str, texts: list[str], places: array.array) -> None:
    """Refuses a column that begins with a word and goes on in numbers: one of features, with a wrong cell."""
    if any(map(is_number, texts)):
        row = next(row for row, text in enumerate(texts) if not is_number(text))
        raise InputError(f"{path}: line {places[row]}, column {column!r}: {texts[row][:40]!r} among numbers")


def _require_finite(path: pathlib.Path, values: np.ndarray, places: array.array, columns: tuple[str, ...]) -> None:
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
    classes = _column(table, meanings.class_columns([*table.texts])) or _column(table, CLASS_NUMBERS)
    return classes, _column(table, PATH_COLUMNS), ""


def _column(table: Table, familiar: tuple[str, ...]) -> str | None:
    """The one column of names that is called so."""
    found = [name for name in table.texts if table.has_header and plain(name) in familiar]
    if len(found) > 1:
        raise InputError(f"{table.file}: columns {found[0]!r} and {found[1]!r} mean the same; keep one of them")
    return found[0] if found else None


def _lists(table: Table, classes: str | None, paths: str | None, note: str) -> Iterator[Part]:
    """The columns of names, each a list of its own; ids beside nothing but names are those of pictures."""
    familiar = {classes: "labels", paths: "image_files"}
    if not paths and not table.numeric:
        familiar |= {name: "image_files" for name in table.texts if name != classes and meanings.is_id(name)}
    for name, texts in table.texts.items():
        yield Part(familiar.get(name, name if table.has_header else ""), texts, note=note)


def _ids_beside(table: Table, rest: list[str]) -> list[str]:
    """Ids among the names beside descriptions; other words there are refused: a number may be missing."""
    for name in rest:
        if not meanings.is_id(name):
            raise InputError(
                f"{table.file}: column {name!r}: {table.texts[name][0][:40]!r}; a line describes a class, "
                "so a number is needed; write numbers or remove the column; if it names the classes, say "
                "--semantics FILE"
            )
    return rest


def _ids_of_rows(table: Table) -> str | None:
    """The first column of ids that tells the rows apart, without those of classes and those without a name."""
    named = [name for name in table.ids if not meanings.is_unnamed(name) and plain(name) not in CLASS_NUMBERS]
    return next((name for name in named if len(set(table.ids[name])) == len(table.values)), None)


def _numbers_of_classes(table: Table) -> Ids | None:
    """The column that may number the classes which a table describes: one called so, else the first of ids."""
    distinct = [name for name, texts in table.ids.items() if len(set(texts)) == len(texts)]
    distinct.sort(key=lambda name: (plain(name) not in CLASS_NUMBERS, meanings.is_unnamed(name)))
    return Ids(distinct[0], table.ids[distinct[0]]) if distinct else None


def _joined(notes: Iterable[str]) -> str:
    return "; ".join(filter(None, notes))

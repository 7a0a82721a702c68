"""Text files of comma-separated values: columns of text and of numbers by their names, every cell checked."""

import array
import csv
import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TextIO

import numpy as np

from zsl_jax.data.formats.matlab import printable
from zsl_jax.errors import InputError

SEPARATORS = (",", ";", "\t")
LOOKED_AT = 5  # lines that tell the separator
SURELY_NAMES = 5  # so many cells that count 0, 1, 2, ... are no data
TRUTH = {"true": 1.0, "false": 0.0}
TextColumns = Callable[[Sequence[str]], Sequence[int]]
BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


class Table(NamedTuple):
    """A table.

    texts: the columns of text by name, an entry a line. columns: names of the k columns of numbers. values: these
    [n, k] float64, finite; True is 1, False 0. has_header: whether the names are from the file, or made up
    ("column 3").
    """

    texts: dict[str, tuple[str, ...]]
    columns: tuple[str, ...]
    values: np.ndarray
    has_header: bool


def read(path: pathlib.Path, text_columns: TextColumns = lambda names: ()) -> Table:
    """Reads a file of lines of cells, separated by commas, semicolons or tabs, in UTF-8 or UTF-16.

    The first line names the columns if one of its cells is empty or one that `text_columns` knows, or a word where the
    second line has a number; or if five or more count the columns. A column is one of text if `text_columns` says so,
    or if its first entry is no number. The first column of a file with such a line is one of text too, whatever it
    holds.

    Args:
      path: the file.
      text_columns: which of some columns hold text, by their names.

    Raises:
      InputError: a line has more or fewer cells than the first, a cell is no finite number, two columns have one name,
        the first line could be names or data, the text has another encoding, or there is no line of data.
    """
    with path.open("rb") as raw:
        encoding = BYTE_ORDER_MARKS.get(raw.read(2), "utf-8-sig")
    try:
        with path.open(encoding=encoding, newline="") as stream:
            return _table(path, _lines(path, stream), text_columns)
    except (csv.Error, UnicodeError) as error:
        raise InputError(f"{path}: is no CSV file of UTF-8 text ({error}); save it as UTF-8") from error


def is_number(text: str) -> bool:
    """Says whether a cell holds a number; digits grouped by "_", as Python takes them, don't count."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def plain(name: str) -> str:
    """A name in small letters and digits alone, to be recognised by; letters of other scripts stay."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _lines(path: pathlib.Path, stream: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yields number and cells of each line that isn't empty, all of one length."""
    first = stream.readline()
    said = first.strip().strip('"').casefold()  # Excel's line on the separator
    separator = said[4:] or "\t" if said.startswith("sep=") and len(said) < 6 else ""
    skipped = int(bool(separator))
    head = list(itertools.islice(stream, LOOKED_AT)) if skipped else [first, *itertools.islice(stream, LOOKED_AT - 1)]
    separator = separator or _separator(head)
    reader = csv.reader(itertools.chain(head, stream), delimiter=separator, strict=True)
    width = 0
    for cells in reader:
        if not cells or cells == [""]:
            continue
        width = width or len(cells)
        if len(cells) != width:
            raise InputError(
                f"{path}: line {reader.line_num + skipped} has {len(cells)} cells, the first line has {width}"
            )
        yield reader.line_num + skipped, cells if separator == "," else [_pointed(cell) for cell in cells]


def _separator(head: list[str]) -> str:
    """The separator by which the first lines have the same number of cells, most of them; else the first that is there.

    Lines that end within quotes don't count.
    """
    fitting = {}
    for separator in SEPARATORS:
        try:
            counts = {len(cells) for cells in csv.reader(head, delimiter=separator) if cells}
        except csv.Error:
            continue
        fitting[separator] = max(counts, default=1) if len(counts) == 1 else 0
    best = max(fitting, key=lambda separator: fitting[separator], default=",")
    return best if fitting.get(best, 0) > 1 else next((one for one in SEPARATORS if one in head[0]), ",")


def _pointed(cell: str) -> str:
    """A decimal comma as a point, where commas don't separate."""
    pointed = cell.replace(",", ".", 1)
    return pointed if cell.count(",") == 1 and is_number(pointed) and not is_number(cell) else cell


def _table(path: pathlib.Path, lines: Iterator[tuple[int, list[str]]], text_columns: TextColumns) -> Table:
    start = list(itertools.islice(lines, 2))
    has_header = bool(start) and _is_header(path, [cells for _, cells in start], text_columns)
    names = _column_names(path, start[0][1], has_header) if start else ()
    start = start[1:] if has_header else start
    if not start:
        raise InputError(f"{path}: no line of data")
    called = text_columns(names)
    words = [at for at, cell in enumerate(start[0][1]) if not _is_value(cell)]
    numeric = [at for at in range(len(names)) if at not in called and at not in words]
    of_text = {*called, *words, *range(int(has_header))}
    texts: dict[int, list[str]] = {at: [] for at in range(len(names)) if at in of_text}
    values, places = array.array("d"), array.array("q")
    for place, cells in itertools.chain(start, lines):
        for at, entries in texts.items():
            entries.append(printable(cells[at].strip()))
        values.extend(_numbers(path, place, names, cells, numeric))
        places.append(place)
    matrix = np.asarray(values).reshape(len(places), len(numeric))
    columns = tuple(names[at] for at in numeric)
    _require_finite(path, matrix, places, columns)
    for at in set(words) - set(called):
        _require_words(path, names[at], texts[at], places)
    return Table({names[at]: tuple(entries) for at, entries in texts.items()}, columns, matrix, has_header)


def _is_header(path: pathlib.Path, lines: list[list[str]], text_columns: TextColumns) -> bool:
    """Says whether the first line names the columns; raises InputError where it could as well be data."""
    first = lines[0]
    if not all(cell.strip() for cell in first) or text_columns(first):
        return True
    if len(lines) < 2:
        return False
    if any(not _is_value(one) and _is_value(other) for one, other in zip(*lines, strict=True)):
        return True
    cells = [cell.strip() for cell in first if is_number(cell)]
    if not any(cells == [str(start + at) for at in range(len(cells))] for start in (0, 1)) or cells in ([], ["1"]):
        return False
    if len(cells) >= SURELY_NAMES:
        return True
    raise InputError(
        f"{path}: line 1 ({','.join(first)[:40]}) could name the columns or be data; "
        "if it names them, write words there (f0,f1,...), else write such a line before it"
    )


def _column_names(path: pathlib.Path, cells: list[str], has_header: bool) -> tuple[str, ...]:
    if not has_header:
        return tuple(f"column {number}" for number in range(1, len(cells) + 1))
    names = tuple(printable(cell.strip()) for cell in cells)
    for number, name in enumerate(names):
        if name in names[:number]:
            raise InputError(f"{path}: line 1 names two columns {name!r}; columns need names of their own")
    return names


def _is_value(text: str) -> bool:
    """Says whether a cell holds a number, True or False."""
    return is_number(text) or text.strip().casefold() in TRUTH


def _numbers(
    path: pathlib.Path, place: int, names: tuple[str, ...], cells: list[str], numeric: list[int]
) -> list[float]:
    texts = [cells[at] for at in numeric]
    try:
        if "_" not in "".join(texts):
            return [float(text) for text in texts]
    except ValueError:
        pass
    for at in numeric:
        if not _is_value(cells[at]):
            raise InputError(f"{path}: line {place}, column {names[at]!r}: {cells[at][:40]!r}; a number is needed")
    return [TRUTH[text.strip().casefold()] if not is_number(text) else float(text) for text in texts]


def _require_words(path: pathlib.Path, column: str, texts: list[str], places: array.array) -> None:
    """Refuses a column that begins with a word and goes on in finite numbers: one of numbers, with a wrong cell."""
    if any(is_number(text) and np.isfinite(float(text)) for text in texts):
        row = next(row for row, text in enumerate(texts) if not is_number(text))
        hint = "; write points for decimal commas" if is_number(texts[row].replace(",", ".")) else ""
        raise InputError(f"{path}: line {places[row]}, column {column!r}: {texts[row][:40]!r} among numbers{hint}")


def _require_finite(path: pathlib.Path, values: np.ndarray, places: array.array, columns: tuple[str, ...]) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.unravel_index(int(np.argmin(finite)), values.shape)
        found = values[row, column]
        raise InputError(
            f"{path}: line {places[row]}, column {columns[column]!r}: {found}; every number must be finite"
        )

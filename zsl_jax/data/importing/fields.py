"""What files hold, each thing by its name: an array or a list of texts, and the names of its rows and columns."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zsl_jax.data.formats import readers
from zsl_jax.data.formats.mat5 import Unread
from zsl_jax.data.formats.matlab import printable
from zsl_jax.data.formats.tables import Table
from zsl_jax.data.importing import names as known
from zsl_jax.errors import InputError

Value = np.ndarray | tuple[str, ...]
NUMBERS = "numbers"  # what the columns of numbers of a table are called, as a matrix
MAX_DEPTH = 8  # of dictionaries and lists within each other


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """One thing that a file holds.

    Attributes:
      file: where it is from.
      name: what the file calls it; the file's stem where it holds one thing without a name.
      value: an array of any shape and type, or texts; empty where it can't be used, and `note` says why.
      rows: names of the rows of a matrix, where the file has some.
      columns: names of its columns, likewise.
      note: why it can't be used.
    """

    file: pathlib.Path
    name: str
    value: Value
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    note: str = ""

    @property
    def where(self) -> str:
        """File and name, for messages."""
        return f"{self.file}: '{self.name}'"

    @property
    def shape(self) -> str:
        """Size and type in words, or why it can't be used."""
        if self.note:
            return self.note
        if isinstance(self.value, tuple):
            return f"{len(self.value)} names"
        return f"{' x '.join(map(str, self.value.shape))} {self.value.dtype}"

    def wrong(self, key: str, what: str) -> InputError:
        """What to raise where the field that a key names is not what it must be."""
        return InputError(f"{key}: {self.where}: {self.shape}; {what}")

    @property
    def is_matrix(self) -> bool:
        """Whether it is an array of two sides or more."""
        return not isinstance(self.value, tuple) and self.value.ndim > 1 and self.value.size > max(self.value.shape)

    @property
    def has_rows(self) -> bool:
        """Whether a matrix has a row for each picture or class by its format, not only by its sizes."""
        return bool(self.columns or self.rows) or self.file.suffix.lower() in readers.TABLES or self.file.is_dir()

    @property
    def texts(self) -> tuple[str, ...]:
        """A list of texts, or of whole numbers as texts; () for anything else."""
        if isinstance(self.value, tuple):
            return self.value
        if self.is_matrix or self.value.dtype.kind not in "iuf" or not np.all(self.value == np.rint(self.value)):
            return ()
        return tuple(str(int(number)) for number in self.value.ravel())


def real(field: Field) -> np.ndarray:
    """The field's array; raises InputError for names and for numbers that aren't real."""
    if isinstance(field.value, tuple) or field.value.dtype.kind not in "biuf":
        found = "a list of names" if isinstance(field.value, tuple) else f"of type {field.value.dtype}"
        raise InputError(f"{field.where}: {field.note or found}; real numbers are needed")
    return field.value.astype(np.uint8) if field.value.dtype.kind == "b" else field.value


def squeezed(array: np.ndarray) -> np.ndarray:
    """An array of more than two sides without those of 1, behind the first, that convolutions leave."""
    while array.ndim > 2 and 1 in array.shape[1:]:
        array = array.squeeze(max(axis for axis, size in enumerate(array.shape) if size == 1))
    return array


def read(path: pathlib.Path) -> list[Field]:
    """Everything that a file holds; raises InputError, see `readers.read`, and where there is nothing to use."""
    fields = list(flatten(path, readers.read(path, known.text_columns)))
    if all(field.note for field in fields):
        found = f" that can be used ('{fields[0].name}': {fields[0].note})" if fields else ""
        raise InputError(f"{path}: holds neither arrays of numbers nor lists of names{found}")
    return fields


def flatten(path: pathlib.Path, value: Any, name: str = "", depth: int = 0) -> Iterator[Field]:
    """Yields what nested dictionaries and lists hold, named by the way to it.

    A dictionary that numbers its texts 0, 1, 2, ... is a list of names, one of equally long vectors a matrix with names
    of its rows. Of single values only a text that is called as a part of a split counts, as a list of one.
    """
    called = name or path.stem
    if isinstance(value, Unread):
        yield Field(path, called, (), note=value.reason)
    elif isinstance(value, Table):
        yield from _of_table(path, value)
    elif isinstance(value, np.ndarray):
        yield from _of_array(path, called, value)
    elif isinstance(value, str) and known.part(name)[0]:
        yield Field(path, name, (printable(value),))
    elif isinstance(value, Mapping | list | tuple) and value:
        if depth == MAX_DEPTH:
            yield Field(path, called, (), note=f"more than {MAX_DEPTH} dictionaries and lists within each other")
        elif isinstance(value, Mapping):
            yield from _of_mapping(path, value, name, depth)
        else:
            yield from _of_list(path, value, name, depth)


def _of_table(path: pathlib.Path, table: Table) -> Iterator[Field]:
    """The columns of text, each a list, and those of numbers as one matrix."""
    for name, texts in table.texts.items():
        yield Field(path, name, texts)
    if table.columns:
        yield Field(path, NUMBERS, table.values, columns=table.columns if table.has_header else ())


def _of_array(path: pathlib.Path, name: str, values: np.ndarray) -> Iterator[Field]:
    """An array with entries, one of strings as a list of names. Single numbers are left out."""
    if values.ndim == 0 or not values.size:
        return
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "surrogateescape")
    if values.dtype.kind != "U":
        yield Field(path, name, values)
    elif values.size == max(values.shape):
        yield _named(path, name, values.ravel().tolist())


def _named(path: pathlib.Path, name: str, texts: Sequence[str]) -> Field:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return Field(path, name, (), note="text that isn't UTF-8; write it anew as UTF-8")
    return Field(path, name, tuple(map(printable, texts)))


def _of_mapping(path: pathlib.Path, value: Mapping[Any, Any], name: str, depth: int) -> Iterator[Field]:
    if (numbered := _numbered_names(value)) is not None:
        yield _named(path, name or path.stem, numbered)
    elif (vectors := _vectors(value)) is not None:
        yield Field(path, name or path.stem, vectors, tuple(printable(str(key)) for key in value))
    else:
        yield from _parts(path, value.items(), name, depth, "a dictionary without arrays and lists of names")


def _of_list(path: pathlib.Path, value: Sequence[Any], name: str, depth: int) -> Iterator[Field]:
    if all(isinstance(entry, str) for entry in value):
        yield _named(path, name or path.stem, value)
    elif (array := _array_of(value)) is not None:
        yield from _of_array(path, name or path.stem, array)
    elif _is_ragged(value):
        yield Field(path, name or path.stem, (), note="lists of different lengths; equally long ones are needed")
    else:
        yield from _parts(path, enumerate(value), name, depth, "neither numbers alone nor texts alone")


def _parts(path: pathlib.Path, items: Any, name: str, depth: int, otherwise: str) -> Iterator[Field]:
    """What the parts hold; where there is nothing, says so."""
    found = [
        field
        for key, part in items
        for field in flatten(path, part, printable(f"{name}.{key}" if name else str(key)), depth + 1)
    ]
    yield from found or [Field(path, name or path.stem, (), note=otherwise)]


def _numbered_names(value: Mapping[Any, Any]) -> list[str] | None:
    """The texts of a dictionary from text to 0..n-1, or back, in the order of the numbers; None for others."""
    pairs = [(entry, key) if isinstance(entry, str) else (key, entry) for key, entry in value.items()]
    if not all(isinstance(text, str) and _is_index(number) for text, number in pairs):
        return None
    by_number = {int(number): text for text, number in pairs}
    counts = len(pairs) > 1 and sorted(by_number) == list(range(len(pairs)))
    return [by_number[number] for number in range(len(pairs))] if counts else None


def _is_index(value: Any) -> bool:
    if isinstance(value, str):  # as JSON writes the keys of a dictionary
        return value.isdecimal() and len(value) < 10
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _vectors(value: Mapping[Any, Any]) -> np.ndarray | None:
    """Stacks a dictionary of equally long vectors to [n, d]; None where many keys are names of fields."""
    if len(value) < 2 or not all(isinstance(key, str) for key in value):
        return None
    familiar = sum(bool(known.roles(key) or known.part(key)[0]) for key in value)
    vectors = [_vector(entry) for entry in value.values()]
    if 3 * familiar >= len(value) or len({None if vector is None else vector.size for vector in vectors}) != 1:
        return None  # one class may be called "train"
    return None if vectors[0] is None else np.stack([vector for vector in vectors if vector is not None])


def _vector(value: Any) -> np.ndarray | None:
    """Two numbers or more in one line [d], also from [1, d]; None for the rest."""
    array = value if isinstance(value, np.ndarray) else _array_of(value)
    is_vector = array is not None and array.ndim and array.dtype.kind in "biuf" and 1 < array.size == max(array.shape)
    return array.ravel() if array is not None and is_vector else None


def _array_of(value: Any) -> np.ndarray | None:
    """A list of numbers or of equally long lists of them as an array; None for the rest."""
    if not isinstance(value, list | tuple) or isinstance(value[0] if value else "", str):
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # of different lengths, or too large
        return None
    return array if array.dtype.kind in "biuf" else None


def _is_ragged(value: Any) -> bool:
    """Says whether there are only numbers within lists."""
    return all(map(_is_ragged, value)) if isinstance(value, list | tuple) else isinstance(value, int | float | None)

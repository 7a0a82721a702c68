"""One thing that a file holds: an array or a list of names, and what else the file says of it."""

import dataclasses
import pathlib
from typing import NamedTuple

import numpy as np

from zsl_jax.data.formats.matlab import printable
from zsl_jax.errors import InputError

Value = np.ndarray | tuple[str, ...]


class Ids(NamedTuple):
    """A column of whole numbers, as text, that belong to the rows of a table; one of the classes may number them."""

    column: str
    values: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """One thing that a file holds.

    Attributes:
      file: where it is from.
      name: what the file calls it; the file's stem where it holds one thing without a name.
      value: an array of any shape and type, or strings; empty where it can't be used, and `note` says why.
      axis: what the format says about the first axis of a matrix: "rows" (one entry a row of the data set or a
        class), "columns" (the other way round) or "" (nothing).
      names: of the rows, where the file names them.
      note: what was done in reading it.
      ids: of the rows, where the file numbers them beside their names.
    """

    file: pathlib.Path
    name: str
    value: Value
    axis: str = ""
    names: tuple[str, ...] | None = None
    note: str = ""
    ids: Ids | None = None

    @property
    def where(self) -> str:
        """File and name, for messages."""
        return f"{self.file}: '{self.name}'"

    @property
    def shape(self) -> str:
        """Size and type in words."""
        if isinstance(self.value, tuple):
            return f"{len(self.value)} names"
        return f"{' x '.join(map(str, self.value.shape))} {self.value.dtype}"

    @property
    def is_usable(self) -> bool:
        """Whether there is a value."""
        return len(self.value) > 0


def real(field: Field) -> np.ndarray:
    """The field's array; raises InputError for names and for numbers that aren't real."""
    if isinstance(field.value, tuple) or field.value.dtype.kind not in "biuf":
        found = "a list of names" if isinstance(field.value, tuple) else f"of type {field.value.dtype}"
        raise InputError(f"{field.where}: {found}; real numbers are needed")
    return field.value.astype(np.uint8) if field.value.dtype.kind == "b" else field.value


def unusable(path: pathlib.Path, name: str, reason: str) -> Field:
    """What is passed over, unless it turns out to be needed."""
    return Field(path, name, (), note=reason)


def of_array(path: pathlib.Path, name: str, values: np.ndarray) -> list[Field]:
    """Makes a field of an array with entries; one of strings becomes a list of names. Single numbers are left out."""
    if values.ndim == 0 or not values.size:
        return []
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError:
            return [unusable(path, name, "text that isn't UTF-8; write it anew as UTF-8")]
    if values.dtype.kind != "U":
        return [Field(path, name, values)]
    is_list = values.size == max(values.shape)
    return [Field(path, name, tuple(map(printable, values.ravel().tolist())))] if is_list else []

"""Columns of tables that belong together are joined by name."""

from collections.abc import Sequence

import numpy as np

from zsl_jax.errors import InputError


def joined(values: np.ndarray, columns: Sequence[str], wanted: Sequence[str], where: str) -> np.ndarray:
    """Columns in the order that is wanted.

    Args:
      values: [n, A].
      columns: their names [A], or none.
      wanted: names in the order needed, or none.
      where: what the columns are of, for messages.

    Returns:
      The columns, as they stand where either side has no names.

    Raises:
      InputError: the names differ, or one is there twice.
    """
    if not columns or not wanted or list(columns) == list(wanted):
        return values
    said = [f"column {name!r} is none of those needed" for name in columns if name not in wanted][:1]
    said += [f"column {name!r} is needed and missing" for name in wanted if name not in columns][:1]
    if said or len(set(columns)) < len(columns):
        raise InputError(f"{where}: {'; '.join(said) or 'a column is named twice'}; columns are joined by name")
    place = {name: number for number, name in enumerate(columns)}
    return values[:, [place[name] for name in wanted]]


def in_words(columns: Sequence[str], wanted: Sequence[str]) -> str:
    """What `joined` does, "" where there is nothing to say."""
    if list(columns) == list(wanted):
        return ""
    return "columns joined by name" if columns and wanted else "columns taken by position"

"""Arrays and lists of names in dictionaries and lists within each other, as pickles and JSON hold them."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zsl_jax.data.formats.matlab import printable
from zsl_jax.data.importing import parts
from zsl_jax.data.importing.columns import plain
from zsl_jax.data.importing.fields import Field, of_array, unusable

MAX_DEPTH = 8  # of dictionaries and lists within each other
FAMILIAR = (
    *("features", "feature", "feats", "feat", "embeddings", "embedding", "representations", "x", "r"),
    *("labels", "label", "targets", "target", "y", "names", "files", "paths", "imagefiles", "imagenames", "imagepaths"),
    *("att", "attributes", "semantics", "originalatt", "classes", "classnames", "allclasses", "allclassesnames"),
)


def flatten(path: pathlib.Path, value: Any, name: str = "", depth: int = 0) -> Iterator[Field]:
    """Yields what nested dictionaries and lists hold, named by the way to it.

    A dictionary that numbers its texts 0, 1, 2, ... is a list of names, one of equally long vectors a matrix with
    names. Of single values only a text that is called as a part of a split counts, as a list of one.

    Args:
      path: the file.
      value: what it holds.
      name: the way to it.
      depth: how many dictionaries and lists lie around it.

    Yields:
      Fields; those that hold nothing to use say why.
    """
    if isinstance(value, np.ndarray):
        yield from of_array(path, name or path.stem, value)
    elif isinstance(value, str) and parts.named(name)[0]:
        yield Field(path, name, (printable(value),))
    elif isinstance(value, Mapping | list | tuple) and depth == MAX_DEPTH:
        yield unusable(path, name, f"more than {MAX_DEPTH} dictionaries and lists within each other")
    elif isinstance(value, Mapping) and value:
        yield from _of_mapping(path, value, name, depth)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes) and value:
        yield from _of_list(path, value, name, depth)


def _of_mapping(path: pathlib.Path, value: Mapping[Any, Any], name: str, depth: int) -> Iterator[Field]:
    if (names := _numbered_names(value)) is not None:
        yield Field(path, name or path.stem, tuple(map(printable, names)), note="names by their numbers")
    elif (vectors := _vectors(value)) is not None:
        yield Field(path, name or path.stem, vectors, "rows", tuple(printable(str(key)) for key in value))
    else:
        yield from _parts(path, value.items(), name, depth, "a dictionary without arrays and lists of names")


def _of_list(path: pathlib.Path, value: Sequence[Any], name: str, depth: int) -> Iterator[Field]:
    if all(isinstance(entry, str) for entry in value):
        yield Field(path, name or path.stem, tuple(map(printable, value)))
    elif (array := _numbers(value)) is not None:
        yield from of_array(path, name or path.stem, array)
    elif _is_ragged(value):
        yield unusable(path, name or path.stem, "lists of different lengths; equally long ones are needed")
    else:
        yield from _parts(path, enumerate(value), name, depth, "neither numbers alone nor texts alone")


def _parts(path: pathlib.Path, items: Any, name: str, depth: int, otherwise: str) -> Iterator[Field]:
    """What the parts hold; where there is nothing, says so."""
    is_empty = True
    for key, part in items:
        for field in flatten(path, part, printable(f"{name}.{key}" if name else str(key)), depth + 1):
            is_empty = False
            yield field
    if is_empty:
        yield unusable(path, name or path.stem, otherwise)


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
    """Stacks a dictionary of equally long vectors to [n, d]; None where many are called as parts of a data set are."""
    if len(value) < 2 or not all(isinstance(key, str) for key in value):
        return None
    familiar = sum(plain(key) in FAMILIAR or bool(parts.named(key)[0]) for key in value)
    if 3 * familiar >= len(value):  # a class may be called "train"
        return None
    vectors = [_vector(entry) for entry in value.values()]
    kept = [vector for vector in vectors if vector is not None]
    return np.stack(kept) if len(kept) == len(vectors) and len({vector.size for vector in kept}) == 1 else None


def _vector(value: Any) -> np.ndarray | None:
    """Two numbers or more in one line [d], also from [1, d]; None for the rest."""
    array = _numbers(value)
    if array is None or array.ndim == 0 or array.size < 2 or array.size > max(array.shape):
        return None
    return array.ravel()


def _numbers(value: Any) -> np.ndarray | None:
    """An array as it is, a list of numbers or of equally long lists of them as an array; None for the rest."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, list | tuple) or isinstance(value[0] if value else "", str):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # of different lengths
        return None
    return array if array.dtype.kind in "biuf" else None


def _is_ragged(value: Sequence[Any]) -> bool:
    """Says whether there are only numbers within the lists."""
    return all(_is_ragged(entry) if isinstance(entry, list | tuple) else _is_single(entry) for entry in value)


def _is_single(value: Any) -> bool:
    return value is None or isinstance(value, int | float)

"""How lists of rows or classes are called: trainval_loc, testclasses, test_unseen, unseen_mask, ..."""

import dataclasses
import re

import numpy as np

from zsl_jax.data.importing.columns import plain
from zsl_jax.data.importing.fields import Field

PART = re.compile(
    "(?:(trainval|testseen|testunseen|training|train|validation|val|testing|test|seen|unseen)"
    "(loc|rows|indices|index|idx|mask|classes|classnames|class|cls|names|list)?"
    "|(base|novel)(classes|classnames|cls|names))"
    r"\d*"
)
COLUMNS = ("split", "splits", "subset", "partition", "set")
ALIKE = {"training": "train", "validation": "val", "testing": "test", "base": "train", "novel": "unseen"}
OF_ROWS = ("loc", "rows", "indices", "index", "idx", "mask")
DIVISIONS = frozenset(("split", "splits", "partition", "partitions", "subset", "subsets", "fold", "folds"))
PARTS = frozenset(("train", "trainval", "training", "val", "valid", "validation", "test", "testing", "seen", "unseen"))


def named(name: str) -> tuple[str, str]:
    """The part of a split that a field's name means, and the name's ending ("loc", "classes", ...); "": none."""
    match = PART.fullmatch(plain(last(name)))
    if not match:
        return "", ""
    part = match[1] or match[3]
    return ALIKE.get(part, part), match[2] or match[4] or ""


def says_division(name: str) -> bool:
    """Says whether a name speaks of a division of the rows: "my_split", "fold3"."""
    return bool(_words(name) & DIVISIONS)


def looks_like_split(name: str) -> bool:
    """Says whether a word of a name speaks of a split or of a part of one: "test_ids", "isTrain", "novel"."""
    return bool(_words(name) & (DIVISIONS | PARTS | {"novel", "base"}))


def spread(field: Field) -> list[Field]:
    """A column that says train, test, ... of each row as a mask for each of these parts; other fields as they are."""
    if plain(last(field.name)) not in COLUMNS or not isinstance(field.value, tuple):
        return [field]
    texts = np.array(field.value)
    names = list(dict.fromkeys(field.value))
    if not all(named(name)[0] for name in names):
        return [field]
    return [dataclasses.replace(field, name=f"{field.name}.{name}", value=texts == name) for name in names]


def last(name: str) -> str:
    """The end of a name that leads through dictionaries or groups."""
    return re.split("[./]", name)[-1]


def _words(name: str) -> set[str]:
    """The words of the name's end in small letters, without numbers at their end."""
    apart = re.sub("(?<=[a-z0-9])(?=[A-Z])", " ", last(name))
    return {word.rstrip("0123456789") for word in re.split("[^a-z0-9]+", apart.casefold())}

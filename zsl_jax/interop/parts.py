"""How lists of rows or classes are called: trainval_loc, testclasses, test_unseen, ..."""

import re

from zsl_jax.interop.columns import plain

PART = re.compile(r"(trainval|testseen|testunseen|train|val|test|seen|unseen)(loc|rows|classes)?\d*")


def named(name: str) -> tuple[str, bool]:
    """The part of a split that a field's name means, and whether it says rows ("loc"); ("", False): none."""
    match = PART.fullmatch(plain(last(name)))
    return (match[1], match[2] == "loc") if match else ("", False)


def last(name: str) -> str:
    """The end of a name that leads through dictionaries or groups."""
    return re.split("[./]", name)[-1]

"""Names of classes from different files: matched exactly, else but for case, "+", "_", "-" and the like."""

import re
import unicodedata
from collections.abc import Sequence

from zsl_jax.errors import InputError

MOST_SHOWN = 5
MARKS = "case, spaces, '+', '_', '-', accents' form or leading zeros"
NUMERAL = re.compile(r"([0-9]+)(\.0*)?")


def match(names: Sequence[str], described: Sequence[str], where: str) -> tuple[dict[str, int | None], tuple[str, ...]]:
    """Finds the class that each name means.

    Args:
      names: as labels or lists have them, in any number.
      described: the classes, different from each other.
      where: the names' source, for messages.

    Returns:
      Number of the class for each different name, None where there is none, and a note on names that match only
      roughly.

    Raises:
      InputError: a name matches two classes roughly and none exactly.
    """
    exact = {name: number for number, name in enumerate(described)}
    rough: dict[str, list[int]] = {}
    for number, name in enumerate(described):
        rough.setdefault(rough_name(name), []).append(number)
    found: dict[str, int | None] = {}
    for name in dict.fromkeys(names):
        alike = [exact[name]] if name in exact else rough.get(rough_name(name), [])
        if len(alike) > 1:
            one, other = (described[number] for number in alike[:2])
            raise InputError(f"{where}: {name!r} is like the classes {one!r} and {other!r}; write it as one of them")
        found[name] = alike[0] if alike else None
    pairs = [(name, described[number]) for name, number in found.items() if number is not None]
    return found, _rough_note([(name, described) for name, described in pairs if name != described], where)


def rough_name(name: str) -> str:
    """A name but for case, spaces, "+", "_" and "-", and how its accents are stored; a numeral but for leading zeros.

    Of digits alone the marks stay: "-3" and "1_2" are neither 3 nor 12.
    """
    text = unicodedata.normalize("NFC", name.casefold()).strip()
    if numeral := NUMERAL.fullmatch(text):
        return numeral[1].lstrip("0") or "0"
    bare = re.sub(r"[\s+_-]", "", text)
    return text if bare.isdecimal() else bare


def is_numeral(name: str) -> bool:
    """Says whether a name is a whole number of at most nine digits, also with zeros before it or as in "4.0"."""
    return bool(NUMERAL.fullmatch(name.strip())) and len(rough_name(name)) < 10


def require_different(names: Sequence[str], where: str) -> None:
    """Raises InputError when a name stands twice in a list of classes, or is empty."""
    first: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise InputError(f"{where}: entry {number} is empty; a name is needed")
        if name in first:
            raise InputError(f"{where}: class {name!r} stands twice (entries {first[name]} and {number})")
        first[name] = number


def listed(names: Sequence[str]) -> str:
    """A few of the names, and how many more there are."""
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(names[:MOST_SHOWN]) + more


def _rough_note(pairs: Sequence[tuple[str, str]], where: str) -> tuple[str, ...]:
    if not pairs:
        return ()
    shown = listed([f"{name!r} is {described!r}" for name, described in pairs])
    return (f"{where}: matched but for {MARKS}: {shown}",)


def number(text: str, where: str) -> int:
    """A numeral as a number; raises InputError for any other name."""
    if not is_numeral(text):
        raise InputError(f"{where}: {text!r} is no number; set labels.base to names")
    return int(rough_name(text))

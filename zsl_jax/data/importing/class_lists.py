"""Lists of seen, unseen and validation classes, which must agree wherever they say the same thing."""

from collections.abc import Mapping

import numpy as np

from zsl_jax.data import checks
from zsl_jax.data.importing import naming
from zsl_jax.data.importing.fields import Field, real
from zsl_jax.errors import InputError

SEEN_PARTS = ("trainval", "seen", "testseen")
UNSEEN_PARTS = ("unseen", "test", "testunseen")
VALIDATION_PARTS = ("train", "val")

Notes = tuple[str, ...]
Named = dict[str, np.ndarray]


def read(
    lists: Mapping[str, Field], class_names: tuple[str, ...], present: np.ndarray, where: str
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], Notes]:
    """Reads lists of classes.

    Args:
      lists: names of classes, by part.
      class_names: C names.
      present: numbers of the classes that have rows.
      where: the file of the lists, for messages.

    Returns:
      Numbers of the seen, unseen and validation classes that have rows, and notes. Without a list of unseen classes
      all are unseen that no list calls seen; without one for validation there are none.

    Raises:
      InputError: a list names no class, or one twice; two lists contradict each other; an unseen class has no row; or
        only validation classes are listed.
    """
    named: Named = {}
    notes: Notes = ()
    for part, field in lists.items():
        named[part], rough = numbers(_names(field, class_names), class_names, field.where)
        notes += rough
    if set(named) == {"val"}:
        raise InputError(f"{lists['val'].where}: validation classes alone; add a list of the unseen ones (testclasses)")
    seen, unseen = _of_one_meaning(named, lists, SEEN_PARTS), _of_one_meaning(named, lists, UNSEEN_PARTS)
    if seen is None and "train" in named:
        seen = np.union1d(named["train"], named.get("val", named["train"]))
    if unseen is None:
        unseen = np.setdiff1d(present, [] if seen is None else seen)
        notes += (f"unseen: all classes with rows in no list of seen ones: {_listed(unseen, class_names)}",)
    seen = np.setdiff1d(present, unseen) if seen is None else seen
    _require_apart(seen, unseen, present, class_names, where)
    validation = _validation(named, lists, np.intersect1d(seen, present), present, class_names)
    left = np.setdiff1d(present, np.union1d(seen, unseen))
    if left.size:
        notes += (f"in no part of the splits, since in no list: classes {_listed(left, class_names)}",)
    return (np.intersect1d(seen, present), unseen, validation), notes


def numbers(names: tuple[str, ...], class_names: tuple[str, ...], where: str) -> tuple[np.ndarray, Notes]:
    """Numbers of named classes [n] int64 in their order, and a note on names that match only roughly.

    Raises:
      InputError: a name is no class, or a class is named twice.
    """
    naming.require_different(names, where)
    found, notes = naming.match(names, class_names, where)
    unknown = [name for name, number in found.items() if number is None]
    if unknown:
        raise InputError(f"{where}: {unknown[0]!r} is no class; there are {naming.listed(class_names)}")
    numbers = np.unique([number for number in found.values() if number is not None])
    if numbers.size < len(names):
        raise InputError(f"{where}: two of the names mean one class; name each once")
    return numbers.astype(np.int64), notes


def _names(field: Field, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """The classes of a list; numbers are names where classes are called so, else nothing says what they count."""
    if isinstance(field.value, tuple):
        return field.value
    if field.value.dtype.kind == "b" or not all(map(naming.is_numeral, class_names)):
        raise InputError(
            f"{field.where}: {field.shape}, but taken for a list of classes; write the classes' names "
            "(or, for rows, call the lists trainval, test_seen, test_unseen)"
        )
    return tuple(map(str, checks.whole_numbers(real(field), field.where, 0, 2**31 - 1)))


def _of_one_meaning(named: Named, lists: Mapping[str, Field], parts: tuple[str, ...]) -> np.ndarray | None:
    """The classes of lists that mean the same, None where there is none of them."""
    given = [part for part in parts if part in named]
    for part in given[1:]:
        if not np.array_equal(named[part], named[given[0]]):
            one, other = lists[given[0]].where, lists[part].where
            raise InputError(f"{one} and {other} should list the same classes, but differ; keep the right one")
    return named[given[0]] if given else None


def _validation(
    named: Named, lists: Mapping[str, Field], seen: np.ndarray, present: np.ndarray, class_names: tuple[str, ...]
) -> np.ndarray:
    """The validation classes with rows: those listed, or the seen ones that aren't listed to train on."""
    listed = {part: np.intersect1d(named[part], present) for part in VALIDATION_PARTS if part in named}
    for part, classes in listed.items():
        if others := np.setdiff1d(classes, seen).tolist():
            raise InputError(f"{lists[part].where}: {class_names[others[0]]!r} is in no list of seen classes")
    if len(listed) < 2:
        return listed.get("val", np.setdiff1d(seen, listed.get("train", seen))).astype(np.int64)
    both = np.intersect1d(listed["train"], listed["val"])
    if both.size:
        raise InputError(f"{lists['val'].where}: {class_names[both[0]]!r} is in {lists['train'].where} too")
    left = np.setdiff1d(seen, np.union1d(listed["train"], listed["val"]))
    if left.size:
        one, other = (lists[part].where for part in VALIDATION_PARTS)
        raise InputError(f"{one} and {other}: seen class {class_names[left[0]]!r} is in neither; add it to one")
    return listed["val"].astype(np.int64)


def _require_apart(
    seen: np.ndarray, unseen: np.ndarray, present: np.ndarray, class_names: tuple[str, ...], where: str
) -> None:
    both = np.intersect1d(seen, unseen)
    if both.size:
        raise InputError(f"{where}: class {class_names[both[0]]!r} is in lists of both seen and unseen classes")
    empty = np.setdiff1d(unseen, present)
    if empty.size:
        raise InputError(f"{where}: unseen class {class_names[empty[0]]!r} has no row; take it out of the list")


def _listed(classes: np.ndarray, class_names: tuple[str, ...]) -> str:
    return naming.listed([class_names[number] for number in classes])

"""Labels as they come, names or numbers, to numbers of classes."""

import dataclasses

import numpy as np

from zsl_jax.data import checks
from zsl_jax.data.importing import naming
from zsl_jax.data.importing.columns import is_unnamed
from zsl_jax.data.importing.fields import Field, Ids, real
from zsl_jax.data.importing.options import Options
from zsl_jax.data.importing.roles import Roles
from zsl_jax.errors import InputError

Notes = tuple[str, ...]


def read(roles: Roles, class_names: tuple[str, ...], options: Options) -> tuple[np.ndarray, Notes]:
    """Reads the labels.

    Names are looked up among the classes, also whole numbers where all classes are called by such. Other numbers count
    the list of names that is theirs, or else the classes as they are described; where the descriptions number the
    classes otherwise than by their lines, these numbers count.

    Args:
      roles: what each field is.
      class_names: in the order of the semantics.
      options: `label_base` and `leave_out_undescribed`; with the first, numbers count whatever classes are called.

    Returns:
      Class of each row [N] int64, 0-based, -1 for rows of classes without description that are left out; and notes.

    Raises:
      InputError: a label is no class, or nothing tells which one it is.
    """
    field = roles.labels
    if isinstance(field.value, tuple) and _are_numbers(field.value, class_names, options):
        numbers = np.array([int(naming.rough_name(text)) for text in field.value])
        field = dataclasses.replace(field, value=numbers)
    if isinstance(field.value, tuple):
        return _matched(field.value, class_names, field, roles.semantics, options, ())
    if roles.label_names and names_of(roles.label_names) != class_names:
        texts, notes = _spelt_out(field, roles.label_names, options)
        return _matched(texts, class_names, field, roles.semantics, options, notes)
    if options.label_base is None and all(map(naming.is_numeral, class_names)):
        notes = (f"{field.where}: numbers that are names of classes",)
        return _matched(names_of(field), class_names, field, roles.semantics, options, notes)
    ids = roles.semantics.ids
    if ids and not roles.label_names and options.label_base is None and not _count_lines(ids):
        return _by_ids(field, ids, roles.semantics, options)
    return _numbered(field, roles.label_names or roles.class_names or roles.semantics, class_names, options)


def names_of(field: Field) -> tuple[str, ...]:
    """A list of names; whole numbers are names too."""
    if isinstance(field.value, tuple):
        return field.value
    return tuple(map(str, checks.whole_numbers(real(field), field.where, 0, 2**31 - 1)))


def without_rows(labels: np.ndarray, class_names: tuple[str, ...]) -> Notes:
    """A note on classes that are described, but of which there is no row."""
    absent = np.setdiff1d(np.arange(len(class_names)), labels)
    if not absent.size:
        return ()
    return (f"described but without rows, so never scored: {naming.listed([class_names[one] for one in absent])}",)


def _are_numbers(texts: tuple[str, ...], class_names: tuple[str, ...], options: Options) -> bool:
    """Says whether labels written as text are numbers that count classes."""
    if not all(map(naming.is_numeral, set(texts))):
        return False
    are_names = all(map(naming.is_numeral, class_names)) or set(texts) & set(class_names)
    return options.label_base is not None or not are_names


def _spelt_out(field: Field, label_names: Field, options: Options) -> tuple[tuple[str, ...], Notes]:
    """The labels' names by a list of their own, whose order may differ from that of the semantics."""
    names = names_of(label_names)
    naming.require_different(names, label_names.where)
    numbers, notes = _numbered(field, label_names, names, options)
    return tuple(names[number] for number in numbers), notes


def _numbered(field: Field, counted: Field, names: tuple[str, ...], options: Options) -> tuple[np.ndarray, Notes]:
    """Labels that are numbers of classes, from 0 or from 1 on, in the order of the names that `counted` lists."""
    count = len(names)
    values = checks.whole_numbers(real(field), f"{field.where} ({count} classes)", 0, count)
    low, high = int(values.min()), int(values.max())
    if options.label_base is not None:
        base, reason = options.label_base, "as asked for"
    elif low == 0 or high == count:
        base, reason = (0, "a 0 occurs") if low == 0 else (1, f"{count} occurs")
    elif {one.file.suffix.lower() for one in (field, counted)} == {".mat"}:
        base, reason = 1, "as in MATLAB files of this layout"
    else:
        raise InputError(
            f"{field.where}: {low}..{high} for {count} classes could count from 0 or from 1; say --label-base=0 or =1"
        )
    numbers = checks.whole_numbers(values, f"{field.where} ({count} classes)", base, count - 1 + base) - base
    shown = ", ".join(f"{number + base} is {names[number]!r}" for number in sorted({0, min(1, count - 1), count - 1}))
    return numbers, (f"{field.where}: count the classes of {counted.where} from {base} ({reason}): {shown}",)


def _count_lines(ids: Ids) -> bool:
    """Says whether the numbers of the classes are those of their lines, from 0 or 1 on."""
    numbers = [naming.rough_name(text) for text in ids.values]
    return any(numbers == [str(start + at) for at in range(len(numbers))] for start in (0, 1))


def _by_ids(field: Field, ids: Ids, semantics: Field, options: Options) -> tuple[np.ndarray, Notes]:
    """Labels that are numbers which a column of the descriptions gives the classes, in another order than the lines."""
    if is_unnamed(ids.column):  # may be where the lines stood in another table
        raise InputError(
            f"{semantics.file}: a column without a name numbers the classes in another order than the lines; if "
            f"{field.where} means it, call it class_id, else say --label-base=0 or =1"
        )
    notes = (f"{field.where}: numbers of classes by column {ids.column!r} of {semantics.file}",)
    return _matched(names_of(field), ids.values, field, semantics, options, notes)


def _matched(
    texts: tuple[str, ...], class_names: tuple[str, ...], field: Field, semantics: Field, options: Options, notes: Notes
) -> tuple[np.ndarray, Notes]:
    """Labels by name; rows of classes without description get -1, if they may be left out."""
    found, rough = naming.match(texts, class_names, field.where)
    numbers = np.array([-1 if found[text] is None else found[text] for text in texts], dtype=np.int64)
    unknown = [name for name, number in found.items() if number is None]
    count = "; if labels count the classes, say --label-base=0 or =1" if all(map(naming.is_numeral, found)) else ""
    if len(unknown) == len(found):
        raise InputError(f"{field.where}: no class, e.g. {unknown[0]!r}, is described in {semantics.file}{count}")
    if not unknown:
        return numbers, (*notes, *rough)
    rows = int(np.sum(numbers < 0))
    if not options.leave_out_undescribed:
        classes = naming.listed([repr(name) for name in unknown])
        raise InputError(
            f"{field.where}: {rows} rows of class {classes}, but {semantics.file} doesn't describe it; "
            f"describe it, or say --leave-out-undescribed{count}"
        )
    return numbers, (*notes, *rough, f"left out: {rows} rows of classes without description, {naming.listed(unknown)}")

"""What sizes and numbers settle in a proposal: rows or columns, counting from 0 or 1, which list the labels count.

What they don't settle becomes a question of the proposal.
"""

from collections.abc import Sequence

import numpy as np

from zsl_jax.data import checks
from zsl_jax.data.formats.tables import plain
from zsl_jax.data.importing import assemble, naming
from zsl_jax.data.importing import names as known
from zsl_jax.data.importing.dividing import is_mask
from zsl_jax.data.importing.fields import Field, real, squeezed
from zsl_jax.data.importing.manifest import AXES, IMAGES, ROW_PARTS
from zsl_jax.data.importing.propose import Proposal
from zsl_jax.errors import InputError

MATLAB = ".mat"
PUBLISHED = ("att", "original_att")  # [A, C] in the published layout


def settle(proposal: Proposal) -> None:
    """Adds to a proposal whose places are settled what follows from sizes; raises InputError where nothing fits."""
    _axes_of_rows(proposal)
    labels = proposal.field("labels.from")
    if labels is None or proposal.field("semantics.from") is None:
        return
    numbers = _numbers(proposal)
    _axis_of_classes(proposal, numbers)
    _what_labels_count(proposal, labels, numbers)
    _base_of_rows(proposal)
    _folders(proposal, numbers)


def _sides(field: Field) -> tuple[int, int] | None:
    """The two sizes of a matrix without further sides of 1; None where its rows are known, or it is no matrix."""
    if field.has_rows or isinstance(field.value, tuple):
        return None
    shape = squeezed(field.value).shape
    return (shape[0], shape[1]) if len(shape) == 2 else None


def _axes_of_rows(proposal: Proposal) -> None:
    """Pictures are the side that is as long as the labels."""
    count = proposal.count_of_rows()
    for section in ("features", "representations"):
        field = proposal.field(f"{section}.from")
        sides = None if field is None else _sides(field)
        if field is None or sides is None or not count or not isinstance(proposal.made[section]["from"], str):
            continue
        fitting = [axis for axis, size in zip(AXES, sides, strict=True) if size == count]
        asked = proposal.made[section].get("axis")
        if not fitting or (asked and asked not in fitting):
            wrong = (
                f", so {section}.axis={asked} doesn't fit" if asked else ": no side fits; are these of one data set?"
            )
            raise InputError(f"{field.where}: {sides[0]} x {sides[1]}, and there are {count} labels{wrong}")
        if len(fitting) == 1:
            proposal.put(f"{section}.axis", fitting[0])
        else:
            proposal.ask(
                f"{section}.axis", f"rows or columns for pictures, of {sides[0]} x {sides[1]} in {field.where}?"
            )


def _numbers(proposal: Proposal) -> np.ndarray | None:
    """The labels as whole numbers [N], if they are numbers, or texts that are numerals alone."""
    values = assemble.labels_of(proposal.made, proposal.at)
    if values.dtype == object:
        if not all(map(naming.is_numeral, set(values.tolist()))):
            return None
        return np.array([int(naming.rough_name(text)) for text in values])
    return checks.whole_numbers(values, f"labels.from: {proposal.said('labels.from')}", 0, 2**31 - 1)


def _names(proposal: Proposal, key: str) -> tuple[str, ...]:
    """The names at a place that a key says; () for none."""
    place = proposal.said(key)
    return assemble.texts_at(proposal.at, place, key) if place and place != IMAGES else ()


def _axis_of_classes(proposal: Proposal, numbers: np.ndarray | None) -> None:
    """Classes are the side as long as the list of their names, or that which the labels' numbers fit."""
    field = proposal.field("semantics.from")
    sides = None if field is None else _sides(field)
    if field is None or sides is None:
        return
    is_published = field.file.suffix.lower() == MATLAB and plain(known.last(field.name)) in map(plain, PUBLISHED)
    what, names = f"{sides[0]} x {sides[1]} in {field.where}", _names(proposal, "semantics.classes")
    asked = proposal.made["semantics"].get("axis")
    if names:
        fitting = [axis for axis, size in zip(AXES, sides, strict=True) if size == len(names)]
        if not fitting or (asked and asked not in fitting):
            raise InputError(
                f"{field.where}: {sides[0]} x {sides[1]}, and there are {len(names)} classes: no side fits"
            )
        decided = fitting if len(fitting) == 1 else ["columns"] if is_published else []
    elif numbers is None:
        proposal.ask(
            "semantics.classes", f"names of the classes in the order of {what}: a list, since labels are names"
        )
        return
    else:
        decided = _by_labels(sides, numbers, is_published)
        if decided is None:
            raise InputError(
                f"{field.where}: {sides[0]} x {sides[1]}, and labels go up to {numbers.max()}: no side fits"
            )
        what += f"; labels go up to {numbers.max()}"
    if len(decided) == 1:
        proposal.put("semantics.axis", decided[0])
    else:
        proposal.ask("semantics.axis", f"rows or columns for classes, of {what}?")


def _by_labels(sides: tuple[int, int], numbers: np.ndarray, is_published: bool) -> list[str] | None:
    """The sides that classes without names can be, one if it is settled; None where none fits."""
    highest = int(numbers.max())
    needed = highest + 1 if numbers.min() == 0 else highest
    possible = [axis for axis, size in zip(AXES, sides, strict=True) if size >= needed]
    exact = [axis for axis, size in zip(AXES, sides, strict=True) if size in (needed, highest + 1)]
    if len(possible) < 2:
        return possible or None
    usual = "columns" if is_published else "rows"
    return [usual] if exact == [usual] or (is_published and not exact) else []


def _what_labels_count(proposal: Proposal, labels: Field, numbers: np.ndarray | None) -> None:
    """Names, ids, or numbers from 0 or from 1 of a list."""
    names, section = _names(proposal, "semantics.classes"), proposal.made["labels"]
    if "base" in section:
        return
    texts = set(labels.texts)
    are_names = bool(names) and all(map(naming.is_numeral, names)) and "classes" not in section
    if numbers is None or are_names or (isinstance(labels.value, tuple) and texts & set(names)):
        proposal.put("labels.base", "names")
        return
    semantics = proposal.field("semantics.from")
    ids = proposal.candidates("ids", semantics.file) if semantics is not None and "classes" not in section else []
    if ids and len(set(ids[0].texts)) == len(ids[0].texts):
        proposal.put("labels.ids", proposal.at.place(ids[0]))
        proposal.put("labels.base", "names")
        return
    counted = _names(proposal, "labels.classes")
    count = len(counted) or len(names) or _count(proposal)
    low, high = int(numbers.min()), int(numbers.max())
    if low == 0 or (count and high == count):
        proposal.put("labels.base", int(low > 0))
    elif labels.file.suffix.lower() == MATLAB and semantics is not None and semantics.file.suffix.lower() == MATLAB:
        proposal.put("labels.base", 1)
    else:
        proposal.ask("labels.base", f"{low}..{high} for {count or '?'} classes: do they count from 0 or from 1?")
    if not counted:
        _ask_about_orders(proposal, names)


def _count(proposal: Proposal) -> int:
    """How many classes are described; 0 where it is not settled which side they are."""
    field, axis = proposal.field("semantics.from"), proposal.made["semantics"].get("axis")
    sides = None if field is None else _sides(field)
    if field is not None and sides is None:
        return len(field.value)
    return sides[AXES.index(axis)] if sides and axis else 0


def _ask_about_orders(proposal: Proposal, names: Sequence[str]) -> None:
    """Asks where an unused list has the same classes in another order, or unnamed numbers order them otherwise."""
    described = [naming.rough_name(name) for name in names]
    semantics = proposal.field("semantics.from")
    for field in proposal.unused():
        listed, place = [naming.rough_name(text) for text in field.texts], proposal.at.place(field)
        if len(set(listed)) < len(listed) or len(listed) < max(2, len(described)) or not described:
            continue
        is_index = semantics is not None and field.file == semantics.file and known.is_id(field.name)
        if is_index and all(map(str.isdecimal, listed)):
            if {int(number) - at for at, number in enumerate(listed)} not in ({0}, {1}):
                proposal.ask(
                    "labels.ids", f"{place} numbers the classes in another order than the lines; do labels too?"
                )
        elif listed != described and set(listed) >= set(described):
            proposal.ask(
                "labels.classes", f"{place} lists the classes in another order; what do numbers in labels count?"
            )


def _base_of_rows(proposal: Proposal) -> None:
    """A 0 in a list, or the number of rows, says from where they count; those of MATLAB files count from 1."""
    section, count = proposal.made.get("splits", {}), proposal.count_of_rows()
    fields = [proposal.at.at(section[part], f"splits.{part}") for part in ROW_PARTS if part in section]
    lists = [field for field in fields if not isinstance(field.value, tuple) and not is_mask(field, count)]
    numbers = [real(field) for field in lists]
    if not lists or "base" in section:
        return
    low, high = min(map(np.min, numbers)), max(map(np.max, numbers))
    if low == 0 or high == count:
        proposal.put("splits.base", int(low != 0))
    elif all(field.file.suffix.lower() == MATLAB for field in lists):
        proposal.put("splits.base", 1)
    else:
        proposal.ask(
            "splits.base", f"rows {low:g}..{high:g} of {count} in {lists[0].where}: do they count from 0 or from 1?"
        )


def _folders(proposal: Proposal, numbers: np.ndarray | None) -> None:
    """Classes without names are called as the folders of their pictures, where each has one of its own."""
    base = proposal.made["labels"].get("base")
    images = _names(proposal, "labels.images") or _names(proposal, "features.images")
    if numbers is None or base not in (0, 1) or len(images) != numbers.size or proposal.said("semantics.classes"):
        return
    if assemble.folders_of(numbers - base, images) is not None:
        proposal.put("semantics.classes", IMAGES)

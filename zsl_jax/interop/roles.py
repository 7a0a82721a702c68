"""What each field of the given files is: features, labels, class descriptions, splits; asked for, or told by name."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from zsl_jax.errors import InputError
from zsl_jax.interop import tables
from zsl_jax.interop.sources import Field

NAMES = {  # a field's name in small letters and digits alone
    "features": ("features", "feature", "feats", "feat", "x", "embeddings", "embedding"),
    "representations": ("representations", "representation", "r"),
    "labels": ("labels", "label", "y", "targets", "target"),
    "image names": ("imagefiles", "imagenames", "imagepaths", "images", "paths", "path", "files", "filenames"),
    "class names": ("allclassesnames", "allclasses", "classnames", "classes"),
    "semantics": ("att", "semantics", "attributes", "attribute"),
    "original semantics": ("originalatt",),
}
WORDS = {  # of which one stands in the name, where nothing above is the whole of it
    "features": {"features", "feature", "feats", "feat", "embeddings", "embedding"},
    "representations": {"representations", "representation", "paco", "supcon", "contrastive"},
    "labels": {"labels", "label", "targets", "target"},
    "semantics": {"att", "semantics", "attributes", "attribute", "predicate", "w2v", "word2vec", "glove", "sent"},
}
PART = re.compile(r"(trainval|testseen|testunseen|train|val|test|seen|unseen)(loc|rows|classes)?\d*")
FLAGS = {
    "features": "features",
    "representations": "representations",
    "labels": "labels",
    "semantics": "semantics",
    "image names": "names",
    "class names": "class-names",
}


@dataclasses.dataclass(frozen=True)
class Roles:
    """The fields that make a data set; None: not there.

    `class_names` name the classes in the order of the semantics, `label_names` in that of numbers in the labels;
    `splits` are lists of rows or of classes, by part (trainval, testseen, unseen, ...). `notes` say all that.
    """

    features: Field
    labels: Field
    semantics: Field
    representations: Field | None
    original_semantics: Field | None
    image_names: Field | None
    class_names: Field | None
    label_names: Field | None
    splits: dict[str, Field]
    notes: tuple[str, ...] = ()


def choose(fields: Sequence[Field], asked: Mapping[str, Sequence[str]]) -> Roles:
    """Decides what each field is.

    Args:
      fields: of all files.
      asked: what was said explicitly: FILE[:FIELD] by role (see `FLAGS`), for "splits" several.

    Returns:
      The roles, with a note for each field.

    Raises:
      InputError: features, labels or semantics are missing, two fields could be the same thing, or none is called as
        asked.
    """
    said = {role: _asked_field(fields, role, texts[-1]) for role, texts in asked.items() if texts and role != "splits"}
    free = [field for field in fields if not any(field is one for one in said.values())]
    told = {role: [field for field in free if role_of(field) == role] for role in NAMES}
    named = {role: _only(role, told[role]) for role in NAMES if role not in said and role != "class names"}
    found = said | {role: field for role, field in named.items() if field is not None}
    _find_by_shape(found, [field for field in free if not role_of(field)])
    for role in ("features", "labels", "semantics"):
        if role not in found:
            raise InputError(_missing(role, fields))
    class_names, label_names = _class_names(found, told["class names"])
    chosen = Roles(
        found["features"],
        found["labels"],
        found["semantics"],
        found.get("representations"),
        _beside(found.get("original semantics"), found["semantics"]),
        found.get("image names"),
        class_names,
        label_names,
        _splits(fields, asked.get("splits", ())),
    )
    return dataclasses.replace(chosen, notes=_lines(chosen, fields))


def role_of(field: Field) -> str:
    """What a field is by its name, "" where the name doesn't say; a part of a split is "split"."""
    if part_of(field):
        return "split"
    words = _words(field.name)
    whole = [role for role, names in NAMES.items() if tables.plain(_last(field.name)) in names]
    if whole == ["features"] and _words(field.file.stem) & WORDS["representations"]:
        return "representations"
    partly = [role for role, known in WORDS.items() if words & known and _is_matrix(field) == (role != "labels")]
    return (whole or (partly if len(partly) == 1 else [""]))[0]


def part_of(field: Field) -> str:
    """The part of a split that a list of rows or classes is by its name, "" where it is none."""
    match = PART.fullmatch(tables.plain(_last(field.name)))
    return match[1] if match and (match[2] == "loc" or not _is_matrix(field)) else ""


def find(fields: Sequence[Field], text: str, role: str) -> list[Field]:
    """The fields that FILE[:FIELD] names.

    Raises:
      InputError: there is none.
    """
    file, name = split_field(text)
    there = [field for field in fields if field.file == file]
    named = [field for field in there if name in ("", field.name)]
    if not named:
        raise InputError(f"--{FLAGS.get(role, role)} {text}: {file} has no {name!r}; it has {_listed(there)}")
    return named


def split_field(text: str) -> tuple[pathlib.Path, str]:
    """Divides FILE[:FIELD]; a file of exactly this name goes before."""
    file, _, name = text.rpartition(":")
    return (pathlib.Path(file), name) if file and not pathlib.Path(text).exists() else (pathlib.Path(text), "")


def _asked_field(fields: Sequence[Field], role: str, text: str) -> Field:
    """The one field that FILE[:FIELD] means for a role: by its name if the file has several."""
    named = find(fields, text, role)
    if len(named) > 1:
        alike = "features" if role == "representations" else role
        named = [field for field in named if role_of(field) in (role, alike)] or named
    if len(named) > 1:
        raise InputError(f"--{FLAGS[role]} {text}: which one? Write {text}:FIELD, FIELD one of {_listed(named)}")
    return named[0]


def _only(role: str, fields: Sequence[Field]) -> Field | None:
    """The one field of a role; fields of equal values count as one."""
    for field in fields[1:]:
        if not same(field, fields[0]):
            raise InputError(_ambiguous(role, FLAGS.get(role, role), fields[0], field))
    return fields[0] if fields else None


def same(one: Field, other: Field) -> bool:
    """Says whether two fields hold the same."""
    if isinstance(one.value, tuple) or isinstance(other.value, tuple):
        return isinstance(one.value, tuple) and isinstance(other.value, tuple) and one.value == other.value
    return bool(np.array_equal(one.value.squeeze(), other.value.squeeze()))


def _ambiguous(what: str, flag: str, one: Field, other: Field) -> str:
    return f"{one.where} and {other.where} could both be the {what}; say which by --{flag} FILE[:FIELD]"


def _find_by_shape(found: dict[str, Field], left: list[Field]) -> None:
    """Adds features, semantics and labels where exactly one unnamed field has the shape for it."""
    for role in ("features", "semantics"):
        if role not in found and (matrices := [field for field in left if _is_matrix(field)]):
            found[role] = _sole(role, matrices)
            left.remove(found[role])
    if "labels" not in found and "features" in found:
        sizes = np.shape(found["features"].value)
        if lists := [field for field in left if _may_be_labels(field, sizes)]:
            found["labels"] = _sole("labels", lists)


def _sole(role: str, fields: list[Field]) -> Field:
    if len(fields) > 1:
        raise InputError(_ambiguous(role, FLAGS[role], fields[0], fields[1]))
    return fields[0]


def _may_be_labels(field: Field, sizes: tuple[int, ...]) -> bool:
    """Says whether it is a list of whole numbers or recurring names, as long as a side of the features."""
    if isinstance(field.value, tuple):
        return len(set(field.value)) < len(field.value) in sizes
    whole = field.value.dtype.kind in "iuf" and bool(np.all(field.value == np.floor(field.value)))
    return whole and not _is_matrix(field) and field.value.size in sizes


def _is_matrix(field: Field) -> bool:
    return not isinstance(field.value, tuple) and field.value.ndim > 1 and field.value.size > max(field.value.shape)


def _missing(role: str, fields: Sequence[Field]) -> str:
    file = fields[0].file if len({field.file for field in fields}) == 1 else "the files"
    return f"{file}: no {role} found among {_listed(fields)}; say which they are by --{FLAGS[role]} FILE[:FIELD]"


def _listed(fields: Sequence[Field]) -> str:
    shown = [f"{field.name!r} ({field.shape})" for field in fields[:8]]
    return ", ".join(shown) + (f" and {len(fields) - 8} more" if len(fields) > 8 else "") if shown else "nothing"


def _beside(original: Field | None, semantics: Field) -> Field | None:
    """Original semantics only count beside those of the same file."""
    return original if original is not None and original.file == semantics.file else None


def _class_names(found: Mapping[str, Field], lists: Sequence[Field]) -> tuple[Field | None, Field | None]:
    """The names of the classes in the order of the semantics, and those that the labels' numbers count.

    A list in the file of the semantics belongs to them, if they come without names; one in the file of the labels to
    these; one in a file of its own to what is without names.
    """
    semantics, labels = found["semantics"], found["labels"]
    own = dataclasses.replace(semantics, value=semantics.names) if semantics.names else None
    of_semantics = found.get("class names") or own or _only("class names", _of_file(lists, semantics.file))
    left = [field for field in lists if field is not of_semantics]
    of_labels = _only("class names", _of_file(left, labels.file))
    alone = [field for field in left if field.file not in (semantics.file, labels.file)]
    if of_semantics is None:
        of_semantics = _only("class names", alone) or of_labels
    elif of_labels is None:
        of_labels = _only("class names", alone)
    return of_semantics, of_labels


def _of_file(fields: Sequence[Field], file: pathlib.Path) -> list[Field]:
    return [field for field in fields if field.file == file]


def _splits(fields: Sequence[Field], asked: Sequence[str]) -> dict[str, Field]:
    """Lists of rows or classes by part; of the files asked for, if any."""
    named = [field for text in asked for field in find(fields, text, "splits")] if asked else fields
    parts: dict[str, Field] = {}
    for field in named:
        part = part_of(field)
        if part in parts and not same(field, parts[part]):
            raise InputError(_ambiguous(f"{part} part of the splits", "splits", parts[part], field))
        if part:
            parts[part] = field
    if asked and not parts:
        raise InputError(f"--splits {asked[0]}: no list called trainval, unseen or the like; it has {_listed(named)}")
    return parts


def _lines(chosen: Roles, fields: Sequence[Field]) -> tuple[str, ...]:
    """Says what each field was taken for, and which were not taken."""
    names = [one.name for one in dataclasses.fields(chosen) if one.name not in ("splits", "notes")]
    roles = {name.replace("_", " "): getattr(chosen, name) for name in names}
    roles |= {f"split {part}": field for part, field in chosen.splits.items()}
    taken = {role: field for role, field in roles.items() if field is not None}
    used = {(field.file, field.name) for field in taken.values()}
    lines = [f"{role}: {one.where}, {one.shape}" + (f"; {one.note}" if one.note else "") for role, one in taken.items()]
    return (*lines, *(f"not used: {one.where}, {one.shape}" for one in fields if (one.file, one.name) not in used))


def _last(name: str) -> str:
    """The end of a name that leads through dictionaries or groups."""
    return re.split("[./]", name)[-1]


def _words(name: str) -> set[str]:
    """The words of a name in small letters, also without numbers at their end."""
    words = re.split("[^a-z0-9]+", name.casefold())
    return {*words, *(word.rstrip("0123456789") for word in words)}

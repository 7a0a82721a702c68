"""What each field of the given files is: features, labels, class descriptions, splits; asked for, or told by name."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from zsl_jax.data.importing import naming, parts
from zsl_jax.data.importing.columns import PATH_COLUMNS, plain
from zsl_jax.data.importing.fields import Field
from zsl_jax.errors import InputError

NAMES = {  # a field's name in small letters and digits alone
    "features": ("features", "feature", "feats", "feat", "x", "embeddings", "embedding"),
    "representations": ("representations", "representation", "r"),
    "labels": ("labels", "label", "y", "targets", "target"),
    "image names": (  # the first of them that a file has names its rows
        *("imagefiles", "imagenames", "imagepaths", "images", "paths", "files", "filenames", "filepaths"),
        *("fnames", "imgfiles", "imgnames", "imgpaths", *PATH_COLUMNS, "imageids", "imgids"),
    ),
    "class names": (
        *("allclassesnames", "allclasses", "classnames", "classes", "classtoidx", "idxtoclass", "idx2class"),
        *("class2idx", "id2label", "label2id", "targetnames", "labelnames"),
    ),
    "semantics": ("att", "semantics", "attributes", "attribute"),
    "original semantics": ("originalatt",),
}
WORDS = {  # of which one stands in the name, where nothing above is the whole of it
    "features": {"features", "feature", "feats", "feat", "embeddings", "embedding"},
    "representations": {"representations", "representation", "paco", "supcon", "contrastive"},
    "labels": {"labels", "label", "targets", "target"},
    "semantics": {"att", "semantics", "attributes", "attribute", "predicate", "w2v", "word2vec", "glove", "sent"},
}
LISTS = ("image names", "class names")  # of which there may be several, each of other rows or classes
MATRICES = ("features", "representations", "semantics", "original semantics")
FLAGS = {
    "features": "features",
    "representations": "representations",
    "labels": "labels",
    "semantics": "semantics",
    "image names": "names",
    "class names": "class-names",
    "label names": "label-names",
}
ALIKE = {"representations": "features", "label names": "class names"}  # what fields of a role may be called as well


@dataclasses.dataclass(frozen=True)
class Roles:
    """The fields that make a data set; None: not there.

    `image_names` name the pictures in the order of the features; `label_images` and `representation_images` in that of
    labels and representations, where another file gives them in its own. `class_names` name the classes in the order
    of the semantics, `label_names` in that of numbers in the labels; `splits` are lists of rows or of classes, by part
    (trainval, testseen, unseen, ...). `notes` say all that; `asked` are the roles that were told explicitly,
    `unused` the fields of none.
    """

    features: Field
    labels: Field
    semantics: Field
    representations: Field | None
    original_semantics: Field | None
    image_names: Field | None
    label_images: Field | None
    representation_images: Field | None
    class_names: Field | None
    label_names: Field | None
    splits: dict[str, Field]
    asked: frozenset[str] = frozenset()
    unused: tuple[Field, ...] = ()
    notes: tuple[str, ...] = ()


def choose(fields: Sequence[Field], asked: Mapping[str, Sequence[str]]) -> Roles:
    """Decides what each field is.

    Args:
      fields: of all files.
      asked: what was said explicitly: FILE[:FIELD] by role (see `FLAGS`), for "splits" several.

    Returns:
      The roles, with a note for each field.

    Raises:
      InputError: features, labels or semantics are missing, two fields could be the same thing, nothing tells which
        classes a list of names means, or none is called as asked.
    """
    given, fields = fields, [part for field in fields if field.is_usable for part in parts.spread(field)]
    said = {role: _asked_field(given, role, texts[-1]) for role, texts in asked.items() if texts and role != "splits"}
    free = [field for field in fields if not _is_taken(field, said)]
    told = {role: [field for field in free if role_of(field) == role] for role in NAMES}
    named = {role: _only(role, told[role]) for role in NAMES if role not in said and role not in LISTS}
    found = said | {role: field for role, field in named.items() if field is not None}
    _find_by_shape(found, [field for field in free if not role_of(field)])
    for role in ("features", "labels", "semantics"):
        if role not in found:
            raise InputError(_missing(role, given))
    listed = {role: [field for field in fields if role_of(field) == role] for role in LISTS}
    class_names, label_names = _class_names(found, listed["class names"])
    names = [as_texts(field) for field in listed["image names"]]
    image_names, label_images, representation_images = _image_names(found, names)
    chosen = Roles(
        features=found["features"],
        labels=found["labels"],
        semantics=found["semantics"],
        representations=found.get("representations"),
        original_semantics=_beside(found.get("original semantics"), found["semantics"]),
        image_names=image_names,
        label_images=label_images,
        representation_images=representation_images,
        class_names=class_names,
        label_names=label_names,
        splits=_splits(fields, asked.get("splits", ())),
    )
    unused = _unused(chosen, fields)
    notes = _lines(chosen, [*unused, *(one for one in given if not one.is_usable)])
    return dataclasses.replace(chosen, asked=frozenset(said), unused=unused, notes=notes)


def role_of(field: Field) -> str:
    """What a field is by its name, "" where the name doesn't say; a part of a split is "split"."""
    if part_of(field):
        return "split"
    words = _words(field.name)
    name = plain(parts.last(field.name))
    whole = [role for role, names in NAMES.items() if name in names and _may_be(field, role)]
    if whole == ["features"] and _words(field.file.stem) & WORDS["representations"]:
        return "representations"
    partly = [role for role, known in WORDS.items() if words & known and is_matrix(field) == (role != "labels")]
    return (whole or (partly if len(partly) == 1 else [""]))[0]


def part_of(field: Field) -> str:
    """The part of a split that a list of rows or classes is by its name, "" where it is none."""
    part, ending = parts.named(field.name)
    return part if ending == "loc" or not is_matrix(field) else ""


def _may_be(field: Field, role: str) -> bool:
    """Says whether a field has the form of a role: an array of two sides or more, or a list.

    A list in which most names recur says the class of each row, so it doesn't name the classes.
    """
    if role in MATRICES:
        return not isinstance(field.value, tuple) and field.value.ndim > 1
    if role == "image names":
        return isinstance(as_texts(field).value, tuple) and len(field.value) != 1
    if role == "class names" and isinstance(field.value, tuple):
        return 2 * len(set(field.value)) >= len(field.value)
    return role not in LISTS or not is_matrix(field)


def as_texts(field: Field) -> Field:
    """A list of whole numbers, such as ids, as names; other fields as they are."""
    if isinstance(field.value, tuple) or is_matrix(field) or field.value.dtype.kind not in "iuf":
        return field
    if not np.all(np.isfinite(field.value) & (field.value == np.rint(field.value))):
        return field
    return dataclasses.replace(field, value=tuple(str(int(number)) for number in field.value.ravel()))


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
        named = [field for field in named if role_of(field) in (role, ALIKE.get(role))] or named
    if len(named) > 1:
        raise InputError(f"--{FLAGS[role]} {text}: which one? Write {text}:FIELD, FIELD one of {_listed(named)}")
    if not named[0].is_usable:
        raise InputError(f"--{FLAGS[role]} {text}: {named[0].where}: {named[0].note}")
    return named[0]


def _is_taken(field: Field, said: Mapping[str, Field]) -> bool:
    """Says whether a field has its role; a matrix may also lend the names of its rows."""
    return any(field is one and not (field.names and role.endswith(" names")) for role, one in said.items())


def _only(role: str, fields: Sequence[Field]) -> Field | None:
    """The one field of a role; fields of equal values count as one."""
    for field in fields[1:]:
        if not same(field, fields[0]):
            raise InputError(ambiguous(role, FLAGS.get(role, role), fields[0], field))
    return fields[0] if fields else None


def same(one: Field, other: Field) -> bool:
    """Says whether two fields hold the same."""
    if isinstance(one.value, tuple) or isinstance(other.value, tuple):
        return isinstance(one.value, tuple) and isinstance(other.value, tuple) and one.value == other.value
    return bool(np.array_equal(one.value.squeeze(), other.value.squeeze()))


def ambiguous(what: str, flag: str, one: Field, other: Field) -> str:
    return f"{one.where} and {other.where} could both be the {what}; say which by --{flag} FILE[:FIELD]"


def _find_by_shape(found: dict[str, Field], left: list[Field]) -> None:
    """Adds features, semantics and labels where exactly one unnamed field has the shape for it."""
    for role in ("features", "semantics"):
        if role not in found and (matrices := [field for field in left if is_matrix(field)]):
            found[role] = _sole(role, matrices)
            left.remove(found[role])
    if "labels" not in found and "features" in found:
        sizes = np.shape(found["features"].value)
        if lists := [field for field in left if _may_be_labels(field, sizes)]:
            found["labels"] = _sole("labels", lists)


def _sole(role: str, fields: list[Field]) -> Field:
    if len(fields) > 1:
        raise InputError(ambiguous(role, FLAGS[role], fields[0], fields[1]))
    return fields[0]


def _may_be_labels(field: Field, sizes: tuple[int, ...]) -> bool:
    """Says whether it is a list of whole numbers or recurring names, as long as a side of the features."""
    if parts.says_division(field.name):
        return False
    if isinstance(field.value, tuple):
        return len(set(field.value)) < len(field.value) in sizes
    whole = field.value.dtype.kind in "iuf" and bool(np.all(field.value == np.floor(field.value)))
    return whole and not is_matrix(field) and field.value.size in sizes


def is_matrix(field: Field) -> bool:
    return not isinstance(field.value, tuple) and field.value.ndim > 1 and field.value.size > max(field.value.shape)


def _missing(role: str, fields: Sequence[Field]) -> str:
    file = fields[0].file if len({field.file for field in fields}) == 1 else "the files"
    return f"{file}: no {role} found among {_listed(fields)}; say which they are by --{FLAGS[role]} FILE[:FIELD]"


def _listed(fields: Sequence[Field]) -> str:
    shown = [f"{field.name!r} ({_form(field)})" for field in fields[:8]]
    return ", ".join(shown) + (f" and {len(fields) - 8} more" if len(fields) > 8 else "") if shown else "nothing"


def _form(field: Field) -> str:
    """A field's size and type, or why it can't be used."""
    return field.shape if field.is_usable else field.note


def _beside(original: Field | None, semantics: Field) -> Field | None:
    """Original semantics only count beside those of the same file."""
    return original if original is not None and original.file == semantics.file else None


def _image_names(found: Mapping[str, Field], lists: Sequence[Field]) -> tuple[Field | None, Field | None, Field | None]:
    """The names of the pictures in the order of the features, the labels and the representations.

    Where labels or representations come without names, or with the same ones, their rows are those of the features.
    """
    said = found.get("image names")
    rows = {role: found[role] for role in ("features", "labels", "representations") if role in found}
    own = {role: _own_names(field, said, lists) for role, field in rows.items()}
    files = {field.file for field in rows.values()}
    alone = [field for field in lists if field.file not in files]
    separate = said or _only("image names", alone)
    if own["features"] and separate and not same(own["features"], separate):
        raise InputError(f"{own['features'].where} and {separate.where}: other names of pictures; leave out the latter")
    wanted = own["features"] or separate or next(filter(None, own.values()), None)
    others = {
        role: field
        for role, field in own.items()
        if field and wanted and rows[role].file != rows["features"].file and not same(field, wanted)
    }
    return wanted, others.get("labels"), others.get("representations")


def _own_names(field: Field, said: Field | None, lists: Sequence[Field]) -> Field | None:
    """The names that a field's own file gives its rows."""
    if said and said.file == field.file:
        return said
    order = NAMES["image names"].index  # all of them are in the order of the rows, so any will do
    listed = min(_of_file(lists, field.file), key=lambda one: order(plain(parts.last(one.name))), default=None)
    are_names = field.names and len(set(field.names)) == len(field.names)
    return listed or (_as_list(field) if are_names else None)


def _class_names(found: Mapping[str, Field], lists: Sequence[Field]) -> tuple[Field | None, Field | None]:
    """The names of the classes in the order of the semantics, and those that the labels' numbers count.

    A list in the file of the semantics belongs to them, if they come without names; one in the file of the labels to
    these; one in a file of its own to what is without names.
    """
    semantics, labels = found["semantics"], found["labels"]
    own = _as_list(semantics) if semantics.names else None
    of_semantics = found.get("class names") or own or _only("class names", _of_file(lists, semantics.file))
    left = [field for field in lists if field is not of_semantics]
    of_labels = found.get("label names") or _only("class names", _of_file(left, labels.file))
    alone = [field for field in left if field.file not in (semantics.file, labels.file)]
    if of_semantics is None:
        of_semantics = _only("class names", alone)
        _require_names(of_semantics, semantics, of_labels)
    elif of_labels is None:
        of_labels = _only("class names", alone)
        _require_one_order(labels, of_semantics, of_labels)
    return _as_list(of_semantics), _as_list(of_labels)


def _as_list(field: Field | None) -> Field | None:
    """The names of a matrix' rows as a field of their own; a list as it is."""
    return dataclasses.replace(field, value=field.names, names=None, note="") if field and field.names else field


def _require_names(of_semantics: Field | None, semantics: Field, of_labels: Field | None) -> None:
    """Refuses a list beside the labels as that of semantics in another file, whose order may differ."""
    if of_semantics is None and of_labels is not None:
        raise InputError(
            f"{semantics.where}: no names of classes; if {of_labels.where} lists them in this order, say "
            f"--class-names {of_labels.file}:{of_labels.name}"
        )


def _require_one_order(labels: Field, of_semantics: Field, other: Field | None) -> None:
    """Refuses two lists of the same classes in different order, where labels are numbers of one of them."""
    if other is None or any(not naming.is_numeral(str(label)) for label in np.ravel(labels.value)[:1]):
        return
    one, two = (
        [naming.rough_name(str(name)) for name in field.names or field.value] for field in (of_semantics, other)
    )
    if one != two and sorted(one) == sorted(two):
        raise InputError(
            f"{labels.where}: {of_semantics.where} and {other.where} list the classes in different order; say which "
            "order numbers in the labels count by --label-names FILE[:FIELD]"
        )


def _of_file(fields: Sequence[Field], file: pathlib.Path) -> list[Field]:
    return [field for field in fields if field.file == file]


def _splits(fields: Sequence[Field], asked: Sequence[str]) -> dict[str, Field]:
    """Lists of rows or classes by part; of the files asked for, if any."""
    named = [field for text in asked for field in find(fields, text, "splits")] if asked else fields
    found: dict[str, Field] = {}
    for field in named:
        part = part_of(field)
        if part in found and not same(field, found[part]):
            raise InputError(ambiguous(f"{part} part of the splits", "splits", found[part], field))
        if part:
            found[part] = field
    if asked and not found:
        raise InputError(f"--splits {asked[0]}: no list called trainval, unseen or the like; it has {_listed(named)}")
    return found


def _taken(chosen: Roles) -> dict[str, Field]:
    """The fields that have a role, by role."""
    names = [one.name for one in dataclasses.fields(chosen) if one.name not in ("splits", "asked", "unused", "notes")]
    roles = {name.replace("_", " "): getattr(chosen, name) for name in names}
    roles |= {f"split {part}": field for part, field in chosen.splits.items()}
    return {role: field for role, field in roles.items() if field is not None}


def _unused(chosen: Roles, fields: Sequence[Field]) -> tuple[Field, ...]:
    used = {(field.file, field.name) for field in _taken(chosen).values()}
    return tuple(field for field in fields if (field.file, field.name) not in used)


def _lines(chosen: Roles, unused: Sequence[Field]) -> tuple[str, ...]:
    """Says what each field was taken for, and which were not taken."""
    lines = [
        f"{role}: {one.where}, {one.shape}" + (f"; {one.note}" if one.note else "")
        for role, one in _taken(chosen).items()
    ]
    return (*lines, *(f"not used: {one.where}, {_form(one)}" for one in unused))


def _words(name: str) -> set[str]:
    """The words of a name in small letters, also without numbers at their end."""
    words = re.split("[^a-z0-9]+", name.casefold())
    return {*words, *(word.rstrip("0123456789") for word in words)}

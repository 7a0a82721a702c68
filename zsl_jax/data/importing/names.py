"""The documented names by which fields and columns of files are known; everything else is asked for.

A name counts in small letters and digits alone, and of a way through dictionaries, groups or structs its last part:
"Image-Files", "data.image_files" and "deep/imageFiles" are `imagefiles`.
"""

import re
from collections.abc import Sequence

from zsl_jax.data.formats.tables import plain

ROLES: dict[str, tuple[str, ...]] = {
    "features": ("features", "feature", "feats", "feat", "x", "embeddings", "embedding", "awa2features"),
    "representations": ("representations", "representation", "r"),
    "labels": (
        *("labels", "label", "y", "targets", "target", "classlabels", "labelnames", "classnames"),
        *("imageclasslabels", "awa2labels"),
    ),
    "images": (  # the first that a file has names its rows
        *("imagefiles", "imagenames", "imagepaths", "images", "paths", "files", "filenames", "filepaths", "fnames"),
        *("imgfiles", "imgnames", "imgpaths", "awa2filenames", "path", "file", "filename", "filepath", "image"),
        *("imagefile", "imagename", "imagepath", "imageids", "imgids", "imageid", "imgid"),
    ),
    "classes": (
        *("allclassesnames", "allclasses", "classnames", "classes", "classtoidx", "idxtoclass", "idx2class"),
        *("class2idx", "id2label", "label2id", "targetnames", "labelnames"),
    ),
    "semantics": (
        *("att", "semantics", "attributes", "attribute", "classattributes", "w2v", "wordvectors"),
        *("predicatematrixcontinuous", "classattributelabelscontinuous"),
    ),
    "original": ("originalatt",),
    "attributes": ("attributenames", "attributes", "predicates"),
}
MATRICES = ("features", "representations", "semantics", "original")
REPRESENTATION_FILES = ("conpaco", "representations", "supcon256")  # whose features are representations

# Columns of tables.
CLASS_COLUMNS = ("class", "classname", "label", "labels", "category", "species", "target", "y")
CLASS_IDS = ("classid", "classidx", "classindex", "labelid", "labelidx", "labelindex", "categoryid")
ATTRIBUTE_COLUMNS = ("attribute", "attributes", "predicate", "predicates")  # first ones of tables that are turned
PATH_COLUMNS = ("path", "file", "filename", "filepath", "image", "imagefile", "imagename", "imagepath")
ROW_IDS = ("imageid", "imgid", "id", "idx", "index", "rowid", "rowindex", "imageindex")
DIVISIONS = ("split", "splits", "subset", "partition", "set", "fold", "istrain", "istest", "isunseen", "isseen")
SECOND_CHOICES = ("target", "y")  # of the class: else y may be a place

# Lists of the splits: a part, then what it lists.
PARTS = {
    **{part: part for part in ("trainval", "train", "val", "test", "seen", "unseen")},
    "testseen": "test_seen", "testunseen": "test_unseen", "training": "train", "testing": "test",
    "validation": "val", "base": "train", "novel": "unseen",
}  # fmt: skip
OF_ROWS = ("loc", "rows", "indices", "index", "idx", "mask", "ids")
OF_CLASSES = ("classes", "classnames", "class", "cls", "names", "list")
PART = re.compile(f"({'|'.join(sorted(PARTS, key=len, reverse=True))})({'|'.join((*OF_ROWS, *OF_CLASSES))})?\\d*")
SPLIT_WORDS = frozenset(("split", "splits", "partition", "subset", "fold", "valid", *PARTS))
UNNAMED = re.compile(r"(unnamed\d*)?")  # as data frames write the numbers of their lines


def last(name: str) -> str:
    """The end of a name that leads through dictionaries or groups."""
    return re.split("[./]", name)[-1]


def roles(name: str) -> tuple[str, ...]:
    """What a field called so may be."""
    short = plain(last(name))
    return tuple(role for role, known in ROLES.items() if short in known)


def part(name: str) -> tuple[str, str]:
    """The part of a split that a field's name means, and what it lists: "rows", "classes" or "" (either); "": none."""
    match = PART.fullmatch(plain(last(name)))
    if not match:
        return "", ""
    return PARTS[match[1]], "rows" if match[2] in OF_ROWS else "classes" if match[2] else ""


def class_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """What the column of classes may be called among these: "target" and "y" only where no other is called so."""
    first = tuple(name for name in CLASS_COLUMNS if name not in SECOND_CHOICES)
    return first if any(plain(column) in first for column in columns) else CLASS_COLUMNS


def text_columns(columns: Sequence[str]) -> list[int]:
    """Which columns of a table hold text, whatever their entries look like."""
    known = {*class_columns(columns), *CLASS_IDS, *PATH_COLUMNS, *ROW_IDS, *DIVISIONS, "name"}
    return [at for at, column in enumerate(columns) if plain(column) in known]


def says_split(name: str) -> bool:
    """Says whether a word of a name is one of splits: "test_ids", "isTrain", "my_split"."""
    apart = re.sub("(?<=[a-z0-9])(?=[A-Z])", " ", last(name))
    words = {word.rstrip("0123456789") for word in re.split("[^a-z0-9]+", apart.casefold())}
    return bool(words & SPLIT_WORDS) or plain(last(name)) in DIVISIONS


def is_id(column: str) -> bool:
    """Says whether a column numbers lines or classes, so that it describes nothing: "id", "bird_id", no name at all."""
    short = plain(column)
    ends = re.search(r"(?:[\W_]|[a-z0-9](?=I))(?:id|idx|Id|ID|Idx)$", column.strip())
    return short in (*ROW_IDS, *CLASS_IDS) or ends is not None or UNNAMED.fullmatch(short) is not None

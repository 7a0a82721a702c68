"""`dataset.toml`: what each field of which file is, so that a data set can be made of the files again.

A manifest is a dictionary of sections, each a dictionary from key to value; `KEYS` says what there is. A place is
"FILE:FIELD", or "FILE" of a file that holds one thing; FILE is relative to the key `folder`, and that to the manifest.
"""

import csv
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zsl_jax import files
from zsl_jax.data.formats.readers import require_text
from zsl_jax.errors import InputError

FILE = "dataset.toml"
AXES = ("rows", "columns")
IMAGES = "images"  # in the place of names of classes: the folders that pictures are in
TOP = ""  # the section of keys without one
PLACE, PLACES = "a place FILE:FIELD", "a place FILE:FIELD, or a list of them"
TEXTS, COUNT, SHARE, TEXT = "a list of texts", "a whole number", "a number between 0 and 1", "a text"
CLASSES = "a list of names of classes, a place of such a list, a number of classes or a share of them"
ROW_PARTS = ("trainval", "test_seen", "test_unseen", "train", "val", "test")
CLASS_PARTS = ("seen_classes", "unseen_classes", "train_classes", "val_classes")

# Section -> key -> (what it is, or the values that it may have; what it means).
KEYS: dict[str, dict[str, tuple[str | tuple[Any, ...], str]]] = {
    TOP: {
        "dataset": (TEXT, "name of the data set"),
        "root": (TEXT, "folder that gets a folder of this name"),
        "folder": (TEXT, "where the files below are"),
        "seed": (COUNT, "of what is drawn"),
    },
    "features": {
        "from": (PLACES, "features; of several places the rows one after another"),
        "axis": (AXES, "what pictures are in it: rows is [N, D]"),
        "columns": (TEXTS, "of a table: the columns that are features, joined by name across files"),
        "images": (PLACES, "names of its rows"),
    },
    "representations": {
        "from": (PLACES, "representations"),
        "axis": (AXES, "what pictures are in it: rows is [N, R]"),
        "columns": (TEXTS, "as of features"),
        "images": (PLACES, "names of its rows, where they may have another order"),
    },
    "labels": {
        "from": (PLACES, "class of each row, a name or a number"),
        "base": ((0, 1, "names"), "number of the first class; names: labels, also numbers, are names of classes"),
        "classes": (PLACE, "names that numbers in the labels count; without it those of the descriptions"),
        "ids": (PLACE, "the label of each class, in the order of the descriptions"),
        "images": (PLACES, "names of its rows, where they may have another order"),
        "undescribed": (("refuse", "leave out"), "what to do with rows of classes without description"),
    },
    "semantics": {
        "from": (PLACE, "descriptions"),
        "axis": (AXES, "what classes are in it: rows is [C, A]"),
        "columns": (TEXTS, "of a table: the columns that describe"),
        "attributes": (PLACE, "names of the attributes"),
        "classes": (PLACE, 'names of the classes in its order; "images": the folders that pictures are in'),
        "original": (PLACE, "the descriptions before any scaling"),
        "scaling": (("validation", "none", "maximum", "l2", "standard"), "how training scales them"),
    },
    "splits": {
        **dict.fromkeys(ROW_PARTS, (PLACE, "rows: their numbers, a mask or their names")),
        "base": ((0, 1), "number of the first row"),
        "column": (PLACE, "the part of each row by its name"),
        "pieces": (TEXTS, "of features from several places: the part that each place is"),
        **dict.fromkeys(CLASS_PARTS, (CLASSES, "classes; in place of rows")),
        "test_fraction": (SHARE, "of each seen class's rows, set aside for test_seen where no list says which"),
    },
    "sha256": {},
    "made": {},
}
CHECKED = {name for name in KEYS if name not in ("sha256", "made")}
Manifest = dict[str, dict[str, Any]]


def read(path: Path) -> Manifest:
    """Reads and checks a manifest; a relative `folder` becomes one relative to where we are.

    Raises:
      InputError: it can't be read, or has an unknown key or a value of another kind.
    """
    with files.opened(path) as stream:
        files.require_room(path, files.size_of(stream))
        raw = stream.read()
    try:
        said = tomllib.loads(raw.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as TOML ({error})") from error
    made: Manifest = {TOP: {key: value for key, value in said.items() if not isinstance(value, dict)}}
    made |= {key: value for key, value in said.items() if isinstance(value, dict)}
    for section, values in made.items():
        for key, value in values.items():
            require_value(f"{path}: ", section, key, value)
    top = made[TOP]
    for key, otherwise in (("folder", "."), ("root", "")):
        if said_path := top.get(key, otherwise):
            top[key] = str(path.parent / Path(said_path).expanduser())
    return made


def put(made: Manifest, text: str) -> None:
    """Sets a key from KEY=VALUE, KEY as in `features.from`; raises InputError, see `read`."""
    key, is_set, value = text.partition("=")
    section, _, name = key.strip().rpartition(".")
    if not is_set or not name:
        raise InputError(f"--set {text}: KEY=VALUE is needed, e.g. features.axis=columns")
    require_text(text)
    try:
        read_value = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        read_value = value.strip()
    require_value("--set ", section, name, read_value)
    made.setdefault(section, {})[name] = read_value


def require_value(where: str, section: str, key: str, value: Any) -> None:
    """Raises InputError for an unknown key, or a value of another kind than the key's."""
    name = f"{section}.{key}" if section else key
    if section in KEYS and section not in CHECKED:
        return
    if key not in KEYS.get(section, {}):
        known = KEYS.get(section) or [*KEYS[TOP], *sorted(CHECKED - {TOP})]
        raise InputError(f"{where}{name}: unknown; there are {', '.join(known)}")
    kind, _ = KEYS[section][key]
    if isinstance(kind, tuple):
        if value not in kind or isinstance(value, bool):
            raise InputError(f"{where}{name}: {value!r}; one of {', '.join(map(str, kind))} is needed")
    elif not _is_kind(value, kind):
        raise InputError(f"{where}{name}: {str(value)[:60]!r}; {kind} is needed")


def _is_kind(value: Any, kind: str) -> bool:
    is_text = isinstance(value, str) and bool(value.strip())
    is_list = isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    is_share = isinstance(value, float) and 0 < value < 1
    return {
        TEXT: is_text, PLACE: is_text, PLACES: is_text or is_list, TEXTS: is_list, COUNT: is_count, SHARE: is_share,
        CLASSES: is_text or is_list or is_count or is_share,
    }[kind]  # fmt: skip


def render(made: Manifest) -> str:
    """The manifest as TOML; reading it gives the same."""
    lines = [f"# How this data set was made. Edit it, and make it again: zsl-jax data import {FILE}"]
    for section in [name for name in KEYS if made.get(name)]:
        lines += ["", f"[{section}]"] if section else []
        lines += [f"{_key(key)} = {_value(value)}" for key, value in made[section].items()]
    return "\n".join(lines) + "\n"


def places(value: Any) -> Sequence[str]:
    """One place or several as several."""
    return [value] if isinstance(value, str) else value


def _key(key: str) -> str:
    return key if key.replace("_", "").isascii() and key.replace("_", "").isalnum() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(part)}" for key, part in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def classes(text: str) -> Any:
    """Classes as one text says them: names between commas (quoted where they have some), a number or a share.

    Raises:
      InputError: a number that is neither.
    """
    try:
        number = float(text)
    except ValueError:
        return [name for name in next(csv.reader([text], skipinitialspace=True)) if name]
    if text.strip().isdecimal() and number >= 1:
        return int(text)
    if not 0 < number < 1:
        raise InputError(f"--unseen {text}: classes, a number of them or a share between 0 and 1 is needed")
    return number

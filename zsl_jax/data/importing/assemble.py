"""A data set from a manifest, strictly: everything it says is checked, nothing is guessed."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from zsl_jax.data import checks
from zsl_jax.data.columns import joined
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.importing import dividing, leaks, naming
from zsl_jax.data.importing.fields import NUMBERS, Field, real, squeezed
from zsl_jax.data.importing.manifest import IMAGES, TOP, Manifest, places
from zsl_jax.data.importing.places import Places
from zsl_jax.errors import InputError

FEATURES, REPRESENTATIONS, SEMANTICS = "features", "representations", "att"  # what the files will be called
LEFT_OUT = -1  # the class of rows that are left out

Notes = tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Assembled:
    """A data set to be written.

    Attributes:
      dataset: the data set; its notes are what was decided beyond the manifest.
      original_semantics: descriptions before any scaling [C, A] float64.
      image_names: of the rows [N], or None.
    """

    dataset: Dataset
    original_semantics: np.ndarray
    image_names: tuple[str, ...] | None


def assemble(made: Manifest, at: Places) -> Assembled:
    """Puts a data set together.

    Args:
      made: the manifest, complete.
      at: the files.

    Returns:
      The data set, with notes on what a person should know.

    Raises:
      InputError: a key is missing, or what lies at a place contradicts the manifest, is damaged, or holds the labels
        among the features.
    """
    for section in ("features", "labels", "semantics"):
        if "from" not in made.get(section, {}):
            raise InputError(f"{section}.from: is missing; say it by --set {section}.from=FILE:FIELD")
    x = matrix(made, "features", at)
    r = matrix(made, "representations", at) if "from" in made.get("representations", {}) else None
    images = row_names(made, "features", at, len(x))
    semantics, original, attributes = descriptions(made, at)
    class_names = names_of_classes(made, at, len(semantics))
    of_classes = _check_semantics(semantics, class_names, made["semantics"]["from"])
    labels, of_labels = numbers_of_classes(made, at, class_names, len(x))
    labels, of_order = in_order(labels, made, "labels", at, images)
    if r is not None:
        r, moved = in_order(r, made, "representations", at, images)
        of_order += moved
    files = [places(made[one]["from"])[0].rpartition(":")[0] for one in ("features", "labels")]
    if images is None and len(set(files)) > 1:
        of_order += ("labels and features are joined by position: nothing names the rows of both",)
    if images and len(set(images)) < len(images):
        of_order += (f"{len(images) - len(set(images))} names of images occur before; are rows in there twice?",)
    kept = labels > LEFT_OUT
    rows = dividing.read_rows(made, at, labels.size, images)
    if rows and made["labels"].get("images") and places(made["labels"]["from"]) != places(made["features"]["from"]):
        _require_rows_of_features(made, at)
    rows = {part: (np.cumsum(kept) - 1)[numbers[kept[numbers]]] for part, numbers in rows.items()}
    labels = labels[kept]
    splits, of_splits = dividing.divide(made, at, labels, class_names, rows)
    absent = np.setdiff1d(np.arange(len(class_names)), labels)
    unscored = f"described but without rows, so never scored: {naming.listed([class_names[one] for one in absent])}"
    for section, view in (("features", x), ("representations", r)):
        if view is not None:
            leaks.require_none(view[kept], labels, str(places(made[section]["from"])[0]))
    dataset = Dataset(
        name=made[TOP]["dataset"],
        views={"x": x[kept]} | ({} if r is None else {"r": r[kept]}),
        origins={"x": FEATURES} | ({} if r is None else {"r": REPRESENTATIONS}),
        semantics_name=SEMANTICS,
        labels=labels.astype(np.int32),
        semantics=checks.float32(semantics),
        splits=splits,
        class_names=class_names,
        notes=(*of_classes, *of_labels, *of_order, *of_splits, *([unscored] if absent.size else [])),
        attribute_names=attributes,
    )
    names = None if images is None else tuple(np.array(images, dtype=object)[kept])
    return Assembled(dataset, original, names)


def matrix(made: Manifest, section: str, at: Places) -> np.ndarray:
    """Features or representations [N, d] float32, finite; of several places their rows one after another.

    Raises:
      InputError: a place holds no such matrix, or other columns than the first.
    """
    said = made[section]
    found = [at.at(place, f"{section}.from") for place in places(said["from"])]
    parts = []
    for field in found:
        rows = joined(turned(field, said, section), field.columns, found[0].columns, str(field.file))
        if parts and rows.shape[1] != parts[0].shape[1]:
            raise InputError(
                f"{field.where}: {rows.shape[1]} numbers a row, but {found[0].where} has {parts[0].shape[1]}"
            )
        parts.append(rows)
    x = checks.float32(np.concatenate(parts))
    if found[0].columns and "columns" in said:
        x = np.ascontiguousarray(x[:, _chosen(found[0], said["columns"], section)])
    checks.require_finite(x, f"{found[0].where} (one row per image)")
    return x


def turned(field: Field, said: Mapping[str, Any], section: str) -> np.ndarray:
    """A matrix with a row for each picture or class."""
    array = squeezed(real(field))
    if array.ndim != 2:
        raise InputError(f"{section}.from: {field.where}: shape {array.shape}; a matrix is needed")
    return array if field.has_rows or said.get("axis", "rows") == "rows" else array.T


def _chosen(field: Field, columns: list[str], section: str) -> list[int]:
    """The places of named columns in a table."""
    if len(set(columns)) < len(columns):
        raise InputError(f"{section}.columns: names a column twice")
    if unknown := [name for name in columns if name not in field.columns]:
        raise InputError(f"{section}.columns: {field.file} has no column of numbers {unknown[0]!r}")
    return [field.columns.index(name) for name in columns]


def texts_at(at: Places, place: str, key: str) -> tuple[str, ...]:
    """The names at a place: a list of texts or whole numbers, or the names of a matrix' rows."""
    field = at.at(place, key)
    if not (found := field.rows or field.texts):
        raise InputError(f"{key}: {field.where}: {field.shape}; a list of names is needed")
    return found


def row_names(made: Manifest, section: str, at: Places, n_rows: int) -> tuple[str, ...] | None:
    """The names of the rows of features, representations or labels [N]; None: the manifest has none."""
    said = made[section].get("images")
    if said is None:
        return None
    key = f"{section}.images"
    found = tuple(name for place in places(said) for name in texts_at(at, place, key))
    if len(found) != n_rows:
        raise InputError(f"{key}: {said}: {len(found)} names of images, but there are {n_rows} rows")
    return found


def descriptions(made: Manifest, at: Places) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Descriptions [C, A], the original ones [C, A], both float64, and the attributes' names, if there are any."""
    said = made["semantics"]
    field = at.at(said["from"], "semantics.from")
    values = turned(field, said, "semantics").astype(np.float64)
    attributes = field.columns
    if attributes and "columns" in said:
        values = values[:, _chosen(field, said["columns"], "semantics")]
        attributes = tuple(said["columns"])
    original = values
    if "original" in said:
        original = turned(at.at(said["original"], "semantics.original"), said, "semantics").astype(np.float64)
        if original.shape != values.shape:
            raise InputError(f"semantics.original: {original.shape}, but the descriptions are {values.shape}")
    if "attributes" in said:
        attributes = texts_at(at, said["attributes"], "semantics.attributes")
        if len(attributes) != values.shape[1]:
            raise InputError(
                f"semantics.attributes: {said['attributes']}: {len(attributes)} names, but there are "
                f"{values.shape[1]} attributes"
            )
    return values, original, attributes


def _check_semantics(values: np.ndarray, names: tuple[str, ...], where: str) -> Notes:
    """Refuses what describes nothing; says where classes are described alike."""
    checks.require_finite(checks.float32(values), f"{where} (one row per class)")
    empty = ~values.any(axis=1)
    if empty.any():
        raise InputError(f"{where}: class {names[int(np.argmax(empty))]!r} is described by zeros alone")
    _, first, counts = np.unique(values, axis=0, return_index=True, return_counts=True)
    alike = [names[number] for number in first[counts > 1]]
    return (f"{where}: other classes are described just like {naming.listed(alike)}",) if alike else ()


def names_of_classes(made: Manifest, at: Places, count: int) -> tuple[str, ...]:
    """The names of the classes in the order of their descriptions [C]."""
    said = made["semantics"].get("classes")
    if said == IMAGES:
        return _names_of_folders(made, at, count)
    if said is None:
        return tuple(f"class {number}" for number in range(1, count + 1))
    found = texts_at(at, said, "semantics.classes")
    if len(found) != count:
        raise InputError(f"semantics.classes: {said}: {len(found)} names, but {count} classes are described")
    naming.require_different(found, said)
    return found


def _names_of_folders(made: Manifest, at: Places, count: int) -> tuple[str, ...]:
    """The folder that all pictures of a class are in; numbers for classes without pictures.

    Raises:
      InputError: pictures of a class are in several folders, or a folder has pictures of several classes.
    """
    numbers, base = labels_of(made, at), made["labels"].get("base", 1)
    images = row_names(made, "labels", at, numbers.size) or row_names(made, "features", at, numbers.size)
    if images is None or base == "names":
        raise InputError('semantics.classes: "images" needs features.images and labels that are numbers')
    found = folders_of(checks.whole_numbers(numbers, "labels.from", base, count - 1 + base) - base, images)
    if found is None:
        raise InputError("semantics.classes: pictures of a class are not in a folder of their own; give names")
    return tuple(found.get(number, f"class {number + 1}") for number in range(count))


def folders_of(numbers: np.ndarray, images: tuple[str, ...]) -> dict[int, str] | None:
    """The folder of each class's pictures, where each class has one of its own; else None."""
    pairs = set(zip(numbers.tolist(), map(folder_of, images), strict=True))
    found = dict(sorted(pairs))
    is_own = len(pairs) == len(found) == len(set(found.values())) and "" not in found.values()
    return found if is_own else None


def folder_of(image: str) -> str:
    """The name of the folder that a picture is in; "" for none."""
    return image.replace("\\", "/").rpartition("/")[0].rpartition("/")[2]


def labels_of(made: Manifest, at: Places) -> np.ndarray:
    """The labels [N] as they stand: numbers, or texts as objects."""
    found = [at.at(place, "labels.from") for place in places(made["labels"]["from"])]
    if any(isinstance(field.value, tuple) for field in found):
        return np.array([text for field in found for text in texts_at(at, at.place(field), "labels.from")], object)
    for field in found:
        if field.is_matrix or field.name == NUMBERS:
            raise InputError(f"labels.from: {field.where}: {field.shape}; one row or one column is needed")
    return np.concatenate([real(field).ravel() for field in found])


def numbers_of_classes(
    made: Manifest, at: Places, class_names: tuple[str, ...], n_rows: int
) -> tuple[np.ndarray, Notes]:
    """The class of each row [N] int64, 0-based, `LEFT_OUT` of rows without description that are to be left out.

    Raises:
      InputError: a label is no class, out of range, or there are more or fewer than rows.
    """
    said, values = made["labels"], labels_of(made, at)
    where = "labels.from: " + ", ".join(places(said["from"]))
    if values.size != n_rows:
        raise InputError(
            f"{where}: {values.size} labels, but there are {n_rows} rows of features; are these of one set?"
        )
    base = said.get("base", "names")
    if base != "names":
        if values.dtype == object:
            values = np.array([naming.number(text, where) for text in values])
        counted = texts_at(at, said["classes"], "labels.classes") if "classes" in said else class_names
        numbers = (
            checks.whole_numbers(values, f"{where} ({len(counted)} classes)", base, len(counted) - 1 + base) - base
        )
        shown = ", ".join(
            f"{n + base} is {counted[n]!r}" for n in sorted({0, min(1, len(counted) - 1), len(counted) - 1})
        )
        note = (f"labels count {said.get('classes', 'the descriptions')} from {base}: {shown}",)
        if "classes" not in said:
            return numbers, note
        texts = tuple(counted[number] for number in numbers)
    else:
        texts, note = _as_texts(values, where), ()
    described = class_names
    if "ids" in said:
        described = texts_at(at, said["ids"], "labels.ids")
        if len(described) != len(class_names):
            raise InputError(f"labels.ids: {said['ids']}: {len(described)} ids, but {len(class_names)} classes")
        note = (f"labels are the ids of {said['ids']}",)
    matched, of_names = _matched(texts, described, where, said.get("undescribed") == "leave out")
    return matched, (*note, *of_names)


def _as_texts(values: np.ndarray, where: str) -> tuple[str, ...]:
    if values.dtype == object:
        return tuple(values)
    return tuple(map(str, checks.whole_numbers(values, where, 0, 2**31 - 1)))


def _matched(
    texts: tuple[str, ...], described: tuple[str, ...], where: str, leave_out: bool
) -> tuple[np.ndarray, Notes]:
    """Labels by name."""
    naming.require_different(described, where)
    found, rough = naming.match(texts, described, where)
    numbers = np.array([LEFT_OUT if found[text] is None else found[text] for text in texts], dtype=np.int64)
    unknown = [name for name, number in found.items() if number is None]
    if len(unknown) == len(found):
        raise InputError(f"{where}: no class, e.g. {unknown[0]!r}, is described; there are {naming.listed(described)}")
    if not unknown:
        return numbers, rough
    rows = int(np.sum(numbers < 0))
    if not leave_out:
        raise InputError(
            f"{where}: {rows} rows of class {naming.listed([repr(name) for name in unknown])}, which is not described; "
            "describe it, or say --set labels.undescribed='leave out'"
        )
    return numbers, (*rough, f"left out: {rows} rows of classes without description, {naming.listed(unknown)}")


def in_order(
    values: np.ndarray, made: Manifest, section: str, at: Places, order: tuple[str, ...] | None
) -> tuple[np.ndarray, Notes]:
    """Brings labels or representations, whose rows the manifest names, into the order of the features."""
    names = row_names(made, section, at, len(values))
    if names is None or order is None or names == order:
        return values, ()
    place = {name: row for row, name in enumerate(names)}
    if len(place) < len(names) or set(order) != set(place) or len(order) != len(names):
        odd = min(set(names) ^ set(order), default=collections.Counter(names).most_common(1)[0][0])
        raise InputError(
            f"{section}.images and features.images list different pictures, or one twice (e.g. {odd!r}); both must "
            "name each once, alike"
        )
    rows = np.array([place[name] for name in order])
    moved = int(np.sum(rows != np.arange(rows.size)))
    return values[rows], (f"{section}: joined with the features by name, {moved} rows change their place",)


def _require_rows_of_features(made: Manifest, at: Places) -> None:
    """Refuses lists of row numbers in the labels' file, whose rows are in another order than the features'."""
    of_labels = {at.at(place, "labels.from").file for place in places(made["labels"]["from"])}
    for key, value in made.get("splits", {}).items():
        if key in dividing.ROW_PARTS and at.at(value, f"splits.{key}").file in of_labels:
            raise InputError(
                f"splits.{key}: {value}: rows of the labels' file, which are in another order than the features; bring "
                "both into one order"
            )

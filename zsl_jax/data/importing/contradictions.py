"""What files say beside a manifest, and against it: rows and classes that they name in another order, or otherwise."""

import pathlib
from collections.abc import Sequence

import numpy as np

from zsl_jax.data.formats.tables import plain
from zsl_jax.data.importing import assemble, naming
from zsl_jax.data.importing.fields import Field
from zsl_jax.data.importing.manifest import IMAGES, Manifest, places
from zsl_jax.data.importing.places import Places

ROWS = ("features", "labels", "representations")


def questions(made: Manifest, at: Places, unused: Sequence[Field]) -> list[str]:
    """A line, beginning with a key of the manifest, for each contradiction.

    Args:
      made: the manifest, complete.
      at: the files.
      unused: fields that the manifest does not name.
    """
    said = made["semantics"].get("classes")
    if said in (None, IMAGES):
        return _orders_of_rows(made, at)
    names = assemble.texts_at(at, said, "semantics.classes")
    return [*_orders_of_rows(made, at), *_order_of_classes(made, at, names), *_labels(made, at, names, unused)]


def _files(made: Manifest, at: Places, section: str, key: str) -> list[pathlib.Path]:
    """The file that a key names, if it is one."""
    found = places(made.get(section, {}).get(key, []))
    return [at.at(found[0], f"{section}.{key}").file] if len(found) == 1 else []


def _lists(at: Places, file: pathlib.Path, count: int) -> dict[str, tuple[str, ...]]:
    """Lists of so many different texts in a file, by name."""
    return {one.name: one.texts for one in at.fields(file) if len(set(one.texts)) == len(one.texts) == count}


def _orders_of_rows(made: Manifest, at: Places) -> list[str]:
    """Rows of two files that are joined by position, though lists in both order the same names otherwise."""
    files = [
        file
        for one in ROWS
        if one == "features" or "images" not in made.get(one, {})
        for file in _files(made, at, one, "from")
    ]
    files += _files(made, at, "features", "images")
    count = assemble.labels_of(made, at).size
    found = []
    for file in dict.fromkeys(files[1:]):
        pairs = [
            (one, other) for one in _lists(at, files[0], count).items() for other in _lists(at, file, count).items()
        ]
        for (name, one), (other_name, other) in pairs:
            is_named = plain(name) == plain(other_name) or not all(map(naming.is_numeral, one))
            if one != other and set(one) == set(other) and is_named:
                both = f"{name!r} in {files[0]} and {other_name!r} in {file}"
                found.append(
                    f"features.images: {both} order the same names otherwise; say images of all that have them"
                )
    return found


def _order_of_classes(made: Manifest, at: Places, names: tuple[str, ...]) -> list[str]:
    """Names of classes that the file of the descriptions orders otherwise."""
    (file,) = _files(made, at, "semantics", "from")
    lists = _lists(at, file, len(names)).items()
    odd = [name for name, texts in lists if set(texts) == set(names) and texts != names]
    return [f"semantics.classes: {name!r} in {file} has them in another order; which is right?" for name in odd]


def _labels(made: Manifest, at: Places, names: tuple[str, ...], unused: Sequence[Field]) -> list[str]:
    """Lists of the class of each row, and pictures in folders called like classes, that say other ones than labels."""
    number = {naming.rough_name(name): place for place, name in enumerate(names)}
    labels, _ = assemble.numbers_of_classes(made, at, names, assemble.labels_of(made, at).size)
    joined, _ = assemble.in_order(labels, made, "labels", at, assemble.row_names(made, "features", at, labels.size))
    found = []
    for field in unused:
        spelt = _numbers(field.texts, number)
        if len(spelt) == labels.size and min(spelt) >= 0 and spelt not in (labels.tolist(), joined.tolist()):
            found.append(f"labels.from: {at.place(field)} names other classes; which is right?")
    key = "labels" if "images" in made["labels"] else "features"
    images = assemble.row_names(made, key, at, labels.size) or ()
    folders = np.array(_numbers([assemble.folder_of(name) for name in images], number))
    odd = np.flatnonzero((folders != labels) & (folders >= 0) & (labels >= 0)) if folders.size else folders
    if odd.size and np.unique(folders).size > 1:
        first = images[int(odd[0])]
        found.append(
            f"labels.from: {odd.size} pictures lie in folders called like other classes, e.g. {first!r} is "
            f"{names[labels[odd[0]]]!r}; which is right? Leave {key}.images out where the folders mean nothing"
        )
    return found


def _numbers(texts: Sequence[str], number: dict[str, int]) -> list[int]:
    """The classes of these names, -1 for others."""
    return [number.get(naming.rough_name(text), -1) for text in texts]

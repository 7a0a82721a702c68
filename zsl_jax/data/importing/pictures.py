"""Embeddings of one's own pictures: a folder for each class, or one CSV with the class of each row."""

from pathlib import Path
from typing import Any

from zsl_jax.data.importing import folders, parts, roles, sources, store
from zsl_jax.data.importing.fields import Field
from zsl_jax.errors import InputError

OF_ROWS = ("labels", "image names")  # in a file of descriptions, they belong to other pictures


def read(images: Path, semantics: Path, orientation: str, unseen: str) -> tuple[list[Field], list[dict[str, Any]]]:
    """Fields of the pictures and of the descriptions of their classes, and what the provenance says of the files."""
    fields, described = read_images(images, orientation)
    classes = [field for field in sources.read(semantics, names_first=True) if _is_of_classes(field, unseen)]
    return [*fields, *classes], [described, *store.describe_files([semantics])]


def read_images(path: Path, orientation: str) -> tuple[list[Field], dict[str, Any]]:
    """Features and labels of a folder or a CSV file, and what the provenance says of it.

    Args:
      path: the folder or file.
      orientation: see `folders.read`.

    Raises:
      InputError: see `folders.read` and `sources.read`; a CSV has no column of classes, or two.
    """
    if path.is_dir():
        found = folders.files(path)
        every = [file for files in found.values() for file in files]
        return folders.read(path, found, orientation), store.describe_folder(path, every)
    fields = sources.read(path)
    if others := [field.name for field in fields if field.name != "labels" and roles.role_of(field) == "labels"]:
        raise InputError(f"{path}: column {others[0]!r} could hold the classes too; keep one of such columns")
    if not {"features", "labels"} <= {field.name for field in fields}:
        raise InputError(f"{path}: a folder, or a CSV with the columns path, class and features, is needed")
    (described,) = store.describe_files([path])
    return fields, described


def _is_of_classes(field: Field, unseen: str) -> bool:
    """Says whether a field of the file of descriptions counts; lists of classes don't where --unseen names them.

    Raises:
      InputError: a list may be one of classes, but holds numbers.
    """
    role = roles.role_of(field)
    if role != "split":
        return role not in OF_ROWS
    if unseen or parts.named(field.name)[1] in ("loc", "rows"):
        return False
    if not isinstance(field.value, tuple):
        raise InputError(
            f"{field.where}: numbers; if they are classes, write their names, or say --unseen; if rows, leave it out"
        )
    return True

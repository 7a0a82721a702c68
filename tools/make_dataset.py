"""Makes a data set in the field's layout out of embeddings of one's own pictures and descriptions of their classes.

    python tools/make_dataset.py IMAGES --semantics CLASSES.csv --dataset NAME --root ROOT

IMAGES is a folder with a folder for each class (or a file for each class), in it embeddings as .npy, .npz, .pt, .csv or
.safetensors: a file for each picture, or one with a row for each. Or it is one CSV with columns path, class and the
features. CLASSES.csv has a line for each class: its name, then numbers that describe it; other files with descriptions
and names of classes, such as att_splits.mat, do too. Unseen classes, test rows and
validation classes are drawn by seed, unless --unseen names them. Writes ROOT/NAME with provenance.json, after the data
check.
"""

import sys
from pathlib import Path
from typing import Any

from absl import flags

from zsl_jax.data.importing import folders, own_data, parts, roles, sources, store
from zsl_jax.data.importing.fields import Field
from zsl_jax.errors import InputError
from zsl_jax.experiment import runs

OF_ROWS = ("labels", "image names")  # in a file of descriptions, they belong to other pictures
FLAGS = flags.FlagValues()  # of its own, so that a process may import several programs
own_data.define(FLAGS)
flags.DEFINE_string(
    "semantics", None, "CSV with a line for each class: name, description; or FILE[:FIELD].", flag_values=FLAGS
)
flags.DEFINE_enum(
    "orientation", None, ["rows", "columns"], "Where pictures lie in a file of several: rows is [n, D].",
    flag_values=FLAGS,
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    return runs.exit_code(lambda: make_dataset(arguments))


def make_dataset(arguments: list[str]) -> int:
    """Reads, assembles, checks and writes."""
    given, said = own_data.parse(FLAGS, arguments, __doc__)
    if len(given) != 1:
        raise InputError(f"{len(given)} sources; give one: a folder with a folder for each class, or a CSV file")
    if not said["semantics"]:
        raise InputError("--semantics is missing; give a CSV file with a line for each class: name, description")
    images, semantics = Path(given[0]), roles.split_field(said["semantics"])[0]
    fields, described = read_images(images, said["orientation"] or "")
    classes = [field for field in sources.read(semantics, names_first=True) if _is_of_classes(field, said["unseen"])]
    files = [described, *store.describe_files([semantics])]
    said |= {"orientation": None} if images.is_dir() else {}  # it spoke of the files, not of all rows together
    own_data.make(said, arguments, [*fields, *classes], {"semantics": [said["semantics"]]}, files)
    return 0


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


if __name__ == "__main__":
    sys.exit(main(sys.argv))

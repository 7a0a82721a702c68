"""Makes a data set in the field's layout out of files as they come: features, labels, descriptions of classes, splits.

    zsl-jax data import PICTURES --semantics CLASSES.csv --dataset NAME --root ROOT
    zsl-jax data import FILE... --dataset NAME --root ROOT

PICTURES is a folder with a folder for each class (or a file for each class), in it embeddings as .npy, .npz, .pt, .csv
or .safetensors: a file for each picture, or one with a row for each. Or it is one CSV with columns path, class and the
features. CLASSES.csv has a line for each class: its name, then numbers that describe it; other files with descriptions
and names of classes, such as att_splits.mat, do too.

FILE: .mat (5 and 7.3), .npz, .npy, .pt .pth .tar .pkl .pickle (what torch and pickle save, read without running it),
.safetensors, .h5 .hdf5, .csv, .json, .txt. What each field is, its name says (features, labels, image_files, att,
allclasses_names, trainval_loc, testclasses, ...), else its shape, else a flag.

A folder, and one CSV beside --semantics, is taken as pictures, anything else as files; --as says it. Unseen classes,
test rows and validation classes are drawn by seed where nothing names them. Everything decided is printed; what can't
be told ends in one line that names the flag for it. Writes ROOT/NAME with provenance.json, after the data check.
"""

import argparse
from pathlib import Path
from typing import Any

from zsl_jax.commands import cli
from zsl_jax.errors import InputError

AXES = ("rows", "columns")
FRACTION = 0.2
ROLES = ("features", "representations", "labels", "semantics", "names", "class-names", "label-names")


def flags(parser: cli.Parser) -> None:
    """Adds the flags."""
    add = parser.add_argument
    add("sources", nargs="*", type=cli.path, help="The pictures, or files.")
    add("--as", dest="kind", choices=["pictures", "files"], help="What the sources are; default: as they look.")
    add("--dataset", help="Name of the new data set: its folder below the root.")
    add("--root", type=cli.path, help="Folder of the data sets, made if needed.")
    add("--unseen", default="", help="Unseen classes: names (a,b,...), or a number or share (0.2) to be drawn.")
    add("--test-fraction", type=float, default=FRACTION, help="Share of each seen class's rows set aside for testing.")
    add("--label-base", type=int, choices=[0, 1], help="Number of the first class in labels.")
    add("--split-base", type=int, choices=[0, 1], help="Number of the first row in lists of rows.")
    add("--seed", type=cli.number(int, 0), default=0, help="Of what is drawn (0).")
    cli.switch(parser, "leave-out-undescribed", False, "Leave out rows of classes without description.")
    cli.switch(parser, "overwrite", False, "Replace a data set that this command made.")
    for role in ROLES:
        add(f"--{role}", type=cli.expanded, metavar="FILE[:FIELD]", help=f"Where the {role.replace('-', ' ')} are.")
    add(
        "--splits",
        type=cli.expanded,
        action="append",
        default=[],
        help="FILE with lists of rows or classes; may be given again.",
    )
    add("--orientation", choices=AXES, help="Where pictures lie in features: rows is [N, D].")
    add("--semantics-orientation", choices=AXES, help="Where classes lie: rows is [C, A].")


def run(said: argparse.Namespace) -> int:
    """Reads, assembles, checks and writes."""
    from zsl_jax.data.importing import own_data
    from zsl_jax.data.importing.sources import require_text

    for argument in said.arguments:
        require_text(argument)
    cli.require(said, dataset="MINE --root data", root="data --dataset MINE")
    given = vars(said)
    own_data.target(given)  # refused before anything is read
    as_pictures = said.kind == "pictures" or (said.kind is None and looks_like_pictures(said))
    fields, asked, files = (read_pictures if as_pictures else read_files)(said)
    if as_pictures and said.sources[0].is_dir():
        given = given | {"orientation": None}  # it spoke of the files, not of all rows together
    own_data.make(given, ["zsl-jax", "data", "import", *said.arguments], fields, asked, files)
    return 0


def looks_like_pictures(said: argparse.Namespace) -> bool:
    """Whether the sources are a folder, or a CSV with descriptions of the classes beside it."""
    only = said.sources[0] if len(said.sources) == 1 else Path()
    return len(said.sources) == 1 and (only.is_dir() or (only.suffix == ".csv" and bool(said.semantics)))


def read_pictures(said: argparse.Namespace) -> tuple[list[Any], dict[str, list[str]], list[dict[str, Any]]]:
    """Fields, what is asked for by role, and the files, of embeddings of pictures."""
    from zsl_jax.data.importing import pictures, roles

    if len(said.sources) != 1:
        raise InputError(f"{len(said.sources)} sources; give one: a folder with a folder for each class, or a CSV file")
    if not said.semantics:
        raise InputError("--semantics is missing; give a CSV file with a line for each class: name, description")
    semantics = roles.split_field(said.semantics)[0]
    fields, files = pictures.read(said.sources[0], semantics, said.orientation or "", said.unseen)
    return fields, {"semantics": [said.semantics]}, files


def read_files(said: argparse.Namespace) -> tuple[list[Any], dict[str, list[str]], list[dict[str, Any]]]:
    """The same of files whose fields are to be told by their names."""
    from zsl_jax.data.importing import roles, sources, store

    named = {role: getattr(said, flag.replace("-", "_")) for role, flag in roles.FLAGS.items()}
    asked = {role: [text] for role, text in named.items() if text} | {"splits": said.splits}
    others = [str(roles.split_field(text)[0]) for texts in asked.values() for text in texts]
    files = [Path(name) for name in dict.fromkeys([*map(str, said.sources), *others])]
    if not files:
        raise InputError("no files; e.g. features.npz attributes.csv --dataset MINE --root data")
    described = {roles.split_field(text)[0] for text in asked.get("semantics", ())}
    fields = [field for file in files for field in sources.read(file, names_first=file in described)]
    return fields, asked, store.describe_files(files)

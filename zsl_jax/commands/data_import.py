"""Makes a data set in the field's layout out of files as they come: features, labels, descriptions of classes, splits.

    zsl-jax data import PICTURES --semantics CLASSES.csv --dataset NAME --root ROOT
    zsl-jax data import FILE... --dataset NAME --root ROOT
    zsl-jax data import ROOT/NAME/dataset.toml

PICTURES is a folder with a folder for each class (or a file for each class), in it embeddings as .npy, .npz, .pt, .csv
or .safetensors: a file for each picture, or one with a row for each. Or it is one CSV with columns path, class and the
features. CLASSES.csv has a line for each class: its name, then numbers that describe it.

FILE: .mat (5 to 7.3), .npz, .npy, .pt .pth .tar .pkl .pickle (what torch and pickle save, read without running it),
.safetensors, .h5 .hdf5, .csv .tsv, .json, .txt. What each field is, its exact name says (features, labels, image_files,
att, allclasses_names, trainval_loc, testclasses, ...: docs/own_data.md has the table), sizes say what is a row. What
they leave open is asked, all at once; --set KEY=VALUE answers. Unseen classes, test rows and validation classes are
drawn by seed where nothing names them. Writes ROOT/NAME with dataset.toml, the manifest, which says all that and can be
edited and imported again.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from zsl_jax.commands import cli
from zsl_jax.errors import InputError


def flags(parser: cli.Parser) -> None:
    """Adds the flags."""
    add = parser.add_argument
    add("sources", nargs="*", type=cli.path, help="The pictures, files, or a manifest.")
    add("--semantics", type=cli.path, help="The file that describes the classes, a line or row for each.")
    add("--dataset", help="Name of the new data set: its folder below the root.")
    add("--root", type=cli.path, help="Folder of the data sets, made if needed.")
    add("--unseen", default="", help="Unseen classes: names (a,b,...), or a number or share (0.2) to be drawn.")
    add("--seed", type=cli.number(int, 0), help="Of what is drawn (0).")
    add("--set", action="append", default=[], help="KEY=VALUE of the manifest; may be given again.")
    cli.switch(parser, "overwrite", False, "Replace a data set that this command made.")


def run(said: argparse.Namespace) -> int:
    """Proposes or reads a manifest, makes the data set, and prints what was decided and how to train on it."""
    from zsl_jax.data import check
    from zsl_jax.data.formats.readers import require_text
    from zsl_jax.data.importing import manifest, own_data

    for argument in said.arguments:
        require_text(argument)
    if len(said.sources) > 1 and (manifests := [path for path in said.sources if path.suffix == ".toml"]):
        raise InputError(f"{manifests[0]}: a manifest stands alone, it names its files; --set changes what it says")
    file = said.sources[0] if len(said.sources) == 1 and said.sources[0].suffix == ".toml" else None
    sources = [] if file else [*dict.fromkeys(path.absolute() for path in (*said.sources, said.semantics) if path)]
    made = begun(said, file, sources)
    own_data.require_place(made)
    place = Path(made[manifest.TOP]["root"], made[manifest.TOP]["dataset"])
    is_its_own = file is not None and file.absolute().parent == place.absolute()
    described = said.semantics and said.semantics.absolute()
    found = own_data.make(made, sources, described, said.overwrite or is_its_own)
    print("\n".join([*own_data.words(found), "", check.render(found.report), "", "Train on it:", ""]))
    print(f"  {own_data.training_command(found)}")
    return 0


def begun(said: argparse.Namespace, file: Path | None, sources: list[Path]) -> dict[str, Any]:
    """What is said of the manifest: by the file, if it is one, and by flags.

    Raises:
      InputError: nothing says which files or which data set, or a key or value is unknown.
    """
    from zsl_jax.data.importing import manifest

    if file and said.semantics:
        raise InputError(
            f"--semantics {said.semantics}: {file} says what describes the classes; change semantics there"
        )
    if not file:
        cli.require(said, dataset="MINE --root data", root="data --dataset MINE")
        if not sources and not said.set:
            raise InputError("no files; e.g. images.csv --semantics classes.csv --dataset MINE --root data")
    above = os.path.commonpath([path.parent for path in sources]) if sources else os.getcwd()
    made = manifest.read(file) if file else {manifest.TOP: {"folder": above}}
    flags = {"dataset": said.dataset, "root": said.root and str(said.root), "seed": said.seed}
    made[manifest.TOP] |= {name: value for name, value in flags.items() if value is not None}
    if said.unseen:
        made.setdefault("splits", {})["unseen_classes"] = manifest.classes(said.unseen)
    for text in said.set:
        manifest.put(made, text)
    return made

"""Makes synthetic features with the generator of a finished run, or with imported nets; nothing is trained.

    zsl-jax synthesize --workdir runs/awa1 --classes zebra,otter --num 300 --out x.npz
    zsl-jax synthesize --workdir runs/awa1 --semantics new_animals.csv --num 300 --out new.npz

Classes are those of the run's data, by name, or "seen", "unseen", "all"; or new ones that a file describes: a .csv with
names in the first column, or a .npy [C, A] whose rows --classes names. Columns with names are joined by name with those
of the run's data. Descriptions of new classes are taken in the numbers of the run's data as they were before
normalisation, and normalised as these were.

The .npz gets x [n, D] and, where the generator makes them, r [n, R] (float32), labels [n] (int32: places in
class_names), class_names [C], semantics [C, A] as the generator took them, and provenance (JSON as text). Rows are
comparable with the run's feature files (--units source), or as the generator makes them, scaled (model). A row depends
on the seed, on its class's name and description, and on its number alone: not on --num or on the other classes.
"""

import argparse

from zsl_jax.commands import cli
from zsl_jax.config.options import MOST_SEED
from zsl_jax.errors import InputError


def flags(parser: cli.Parser) -> None:
    """Adds the flags."""
    cli.workdir_flags(parser)
    add = parser.add_argument
    add("--classes", type=cli.listed, default=[], help="Names, or one of seen, unseen, all.")
    add("--num", type=cli.number(int, 1), default=300, help="Rows of each class (300).")
    add("--out", type=cli.path, help="The .npz file to write; must not be there yet.")
    add("--sampler", help="one_step or progressive; by default the generator's first.")
    add("--seed", type=cli.number(int, 0, MOST_SEED), default=0, help="Of the synthetic rows (0).")
    add("--semantics", type=cli.path, help="File that describes new classes.")
    add("--units", choices=["source", "model"], help="By default source where the run's rows are at hand.")


def run(said: argparse.Namespace) -> int:
    """Makes the rows and writes them."""
    cli.require(said, workdir="runs/digits", out="x.npz")
    if said.out.suffix != ".npz":
        raise InputError(f"--out {said.out}: a name that ends with .npz is needed")
    from zsl_jax.data.scaling import undo_scaler
    from zsl_jax.experiment import class_choice, comparison, rescoring, runs, synthesis, synthetic_rows
    from zsl_jax.experiment.versions import versions

    workdir = rescoring.open_workdir(said.workdir)
    cli.require_new(said.out, workdir.path)
    config = comparison.with_data(workdir.config, said.data)
    runs.prepare(config, aloud=False)
    made = synthesis.load(workdir, config)
    source = class_choice.source_of(workdir, config, made, said.units == "source", said.semantics is None)
    classes = class_choice.chosen_classes(source, tuple(said.classes), said.semantics, workdir)
    class_choice.require_width(classes, made)
    synthetic_rows.require_room(classes, said.num, made)
    sampler = synthetic_rows.chosen_sampler(said.sampler, made.method)
    scalers = synthetic_rows.scalers_of(source.rows, config, made) if said.units != "model" else None
    rows = synthetic_rows.draw_all(made, classes, said.num, sampler, said.seed)
    if scalers is not None:
        rows = {view: undo_scaler(scalers[view], values) for view, values in rows.items()}
    units = synthetic_rows.units_in_words(source.rows if scalers else None, config, made)
    asked = {"sampler": sampler, "seed": said.seed, "num": said.num, "units": units, "versions": versions()}
    origin = synthetic_rows.provenance(workdir, made, classes, said.semantics) | asked
    synthetic_rows.write(said.out, synthetic_rows.arrays_of(rows, classes, said.num, origin))
    shapes = ", ".join(f"{view} {list(values.shape)}" for view, values in rows.items())
    print(f"{said.out}: {shapes}, {said.num} rows of each of {len(classes.names)} classes")
    print(f"generator: stage {made.stage} after epoch {made.epoch}, sampler {sampler}, seed {said.seed}")
    print("\n".join([f"classes: {classes.origin}", f"units: {units}", *(f"note: {note}" for note in source.notes)]))
    return 0

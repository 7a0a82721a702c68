"""Makes synthetic features with the generator of a finished run, or with imported nets; nothing is trained.

    python -m zsl_jax.commands.synthesize --workdir runs/awa1 --classes zebra,otter --num 300 --out x.npz
    python -m zsl_jax.commands.synthesize --workdir runs/awa1 --semantics new_animals.csv --num 300 --out new.npz

Classes are those of the run's data, by name, or "seen", "unseen", "all"; or new ones that a file describes: a .csv with
names in the first column, or a .npy [C, A] whose rows --classes names. Descriptions of new classes are taken in the
numbers of the run's data as they were before normalisation, and normalised as these were.

The .npz gets x [n, D] and, where the generator makes them, r [n, R] (float32), labels [n] (int32: places in
class_names), class_names [C], semantics [C, A] as the generator took them, and provenance (JSON as text). Rows are
comparable with the run's feature files (--units source), or as the generator makes them, scaled (model). A row depends
on the seed, on its class's name and description, and on its number alone: not on --num or on the other classes.
"""

import difflib
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from zsl_jax import data, files
from zsl_jax.commands import evaluate
from zsl_jax.data import checks
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.importing import sources
from zsl_jax.data.importing.fields import real
from zsl_jax.data.scaling import Scaler, fit_scaler, undo_scaler
from zsl_jax.data.sources import layout, xlsa17
from zsl_jax.errors import InputError
from zsl_jax.evaluation.rows import FLOAT_BYTES
from zsl_jax.evaluation.scoring import derive
from zsl_jax.experiment import rescoring, runs, synthesis
from zsl_jax.experiment.checks import MOST_SEED
from zsl_jax.experiment.synthesis import Generator
from zsl_jax.experiment.versions import versions
from zsl_jax.train_steps.method import Method, Params

CHUNK = 128  # rows drawn at once, all of one class: a row has its place in its chunk, whatever else is asked for
GROUPS = ("seen", "unseen", "all")
NEAREST = 3  # names that are proposed for one that is unknown

FLAGS = flags.FlagValues()  # of its own, so that a process may import several programs
flags.DEFINE_string("workdir", None, "Folder of the run or of the import.", flag_values=FLAGS)
flags.DEFINE_list("classes", None, "Names, or one of seen, unseen, all.", flag_values=FLAGS)
flags.DEFINE_integer("num", 300, "Rows of each class.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_string("out", None, "The .npz file to write; must not be there yet.", flag_values=FLAGS)
flags.DEFINE_string("sampler", None, "one_step or progressive; by default the generator's first.", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Of the synthetic rows.", lower_bound=0, upper_bound=MOST_SEED, flag_values=FLAGS)
flags.DEFINE_string("semantics", None, "File that describes new classes.", flag_values=FLAGS)
flags.DEFINE_enum(
    "units", None, ("source", "model"), "By default source where the run's rows are at hand.", flag_values=FLAGS
)
flags.DEFINE_multi_string("data", [], "FIELD=VALUE of the data section, e.g. root=ROOT.", flag_values=FLAGS)


class Classes(NamedTuple):
    """Classes to choose from: names, descriptions [C, A] as the generator takes them, what these are in words."""

    names: tuple[str, ...]
    semantics: np.ndarray
    origin: str


class Source(NamedTuple):
    """What is known of the run's data.

    classes: of the data; None where these are not at hand. groups: names of the seen and of the unseen classes.
    rows: with the views that the generator learnt to make, not scaled; None where they are not at hand. notes: to say.
    """

    classes: Classes | None
    groups: dict[str, tuple[str, ...]]
    rows: Dataset | None
    notes: tuple[str, ...]


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    return runs.exit_code(lambda: synthesize(arguments))


def synthesize(arguments: list[str]) -> int:
    """Makes the rows and writes them."""
    runs.parse_plain(FLAGS, arguments, __doc__ or "", {"workdir": "runs/digits", "out": "x.npz"})
    out, workdir = Path(FLAGS.out), rescoring.open_workdir(Path(FLAGS.workdir))
    require_name(out, workdir)
    config = evaluate.with_data(workdir.config, FLAGS.data)
    runs.prepare(config, aloud=False)
    made = synthesis.load(workdir, config)
    described = Path(FLAGS.semantics) if FLAGS.semantics is not None else None
    source = source_of(workdir, config, made, FLAGS.units == "source", described is None)
    classes = chosen_classes(source, tuple(FLAGS.classes or ()), described, config.data.normalize_semantics)
    require_width(classes, made)
    require_room(classes, FLAGS.num, made)
    sampler = chosen_sampler(FLAGS.sampler, made.method)
    scalers = scalers_of(source.rows, config, made) if FLAGS.units != "model" else None
    rows = draw_all(made, classes, FLAGS.num, sampler, FLAGS.seed)
    if scalers is not None:
        rows = {view: undo_scaler(scalers[view], values) for view, values in rows.items()}
    units = units_in_words(source.rows if scalers else None, config, made)
    asked = {"sampler": sampler, "seed": FLAGS.seed, "num": FLAGS.num, "units": units}
    write(out, arrays_of(rows, classes, FLAGS.num, provenance(workdir, made, classes, described) | asked))
    shapes = ", ".join(f"{view} {list(values.shape)}" for view, values in rows.items())
    print(f"{out}: {shapes}, {FLAGS.num} rows of each of {len(classes.names)} classes")
    print(f"generator: stage {made.stage} after epoch {made.epoch}, sampler {sampler}, seed {FLAGS.seed}")
    print("\n".join([f"classes: {classes.origin}", f"units: {units}", *(f"note: {note}" for note in source.notes)]))
    return 0


def require_name(out: Path, workdir: rescoring.Workdir) -> None:
    """Raises InputError when the rows can't go into a file of this name."""
    if out.suffix != ".npz":
        raise InputError(f"--out {out}: a name that ends with .npz is needed")
    evaluate.require_new(out, workdir.path)


def chosen_sampler(asked: str | None, method: Method) -> str:
    """The sampler that is asked for, else the method's first; raises InputError if it has no such sampler."""
    if asked is not None and asked not in method.samplers:
        raise InputError(f"--sampler {asked}: {method.name} has {', '.join(method.samplers)}")
    return asked or method.samplers[0]


def source_of(
    workdir: rescoring.Workdir, config: Any, made: Generator, rows_needed: bool, classes_needed: bool
) -> Source:
    """What is known of the run's data: all of it where it is at hand, else names and descriptions of its classes.

    Args:
      workdir, config: of the run.
      made: its generator.
      rows_needed: whether there is no doing without the rows.
      classes_needed: whether the classes are to be chosen from those of the data.

    Raises:
      InputError: what is needed is not at hand.
    """
    try:
        rows = views_of_run(workdir, config, made)
    except InputError as error:
        if rows_needed:
            raise InputError(f"--units source: needs the run's rows; {first_line(error)}") from error
        classes = described_classes(config) if classes_needed else None
        return Source(classes, groups_of_result(workdir), None, (f"no rows of the run's data: {first_line(error)}",))
    names = np.array(rows.class_names)
    groups = {"seen": tuple(names[rows.seen].tolist()), "unseen": tuple(names[rows.unseen].tolist())}
    taken = "as the run took them" if made.views else rows.semantics_name
    classes = Classes(rows.class_names, rows.semantics, f"of the data, {taken}")
    return Source(classes, groups, rows, other_data(workdir, made, rows))


def first_line(error: Exception) -> str:
    """The first line of what an exception says: missing data are answered with a whole tree of files."""
    return str(error).splitlines()[0]


def views_of_run(workdir: rescoring.Workdir, config: Any, made: Generator) -> Dataset:
    """The rows that the generator learnt from, not scaled: of the data, or of the views that the run made of them.

    Raises:
      InputError: they are not at hand, or of other widths.
    """
    rows = data.load(view_options(workdir.path, config, made.views) if made.views else config.data, config.seed)
    for view, width in made.widths.items():
        found = {"x": rows.x, "r": rows.r}[view]
        if found is None or found.shape[1] != width:
            there = "none" if found is None else f"{found.shape[1]} columns"
            raise InputError(f"{rows.name}: the generator makes {view} of {width} columns, the data have {there}")
    return rows


def view_options(path: Path, config: Any, made: Mapping[str, str]) -> Any:
    """A data section that loads the views which a run left in its folder `features`.

    Args:
      path: the workdir.
      config: of the run.
      made: names of the methods that made views, by view.

    Raises:
      InputError: the files are not there.
    """
    views = sorted(path.glob("features/*/*.mat"))
    stems = {file.stem for file in views if not file.stem.endswith("_splits")}
    found = {view: [stem for stem in stems if stem.endswith(f"_{name}")] for view, name in made.items()}
    rest = [stem for stem in stems if not any(stem in own for own in found.values())]
    found |= {view: rest for view in ("x", "r") if view not in found}
    if len({file.parent for file in views}) != 1 or len(found["x"]) != 1 or len(found["r"]) > 1:
        raise InputError(f"{path / 'features'}: does not hold the views that the run made; restore it")
    options = config.data.copy_and_resolve_references()
    options.unlock()
    options.update({"source": "xlsa17", "root": str(path / "features"), "dataset": views[0].parent.name})
    options.update({"features": found["x"][0], "representations": "".join(found["r"]), "labels": "", "percent": 100})
    options.update({"semantics": "att", "original_semantics": False, "normalize_semantics": False})
    options.validation_classes = 0
    return options


def other_data(workdir: rescoring.Workdir, made: Generator, rows: Dataset) -> tuple[str, ...]:
    """A note where the rows are not those of the run."""
    if made.views or workdir.fingerprint in ("", rows.fingerprint()):
        return ()
    return (f"other data than those of the run, whose fingerprint is {workdir.fingerprint[:12]}",)


def described_classes(config: Any) -> Classes:
    """Names and descriptions of the classes from the split file alone.

    Raises:
      InputError: it is not there.
    """
    try:
        path = layout.mat_file(config.data, "semantics", "_splits.mat")
    except InputError as error:
        raise InputError(
            f"{first_line(error)}; the classes are described there: give --data root=ROOT, or --semantics FILE"
        ) from error
    semantics, name, _ = xlsa17.read_semantics(path, config.data)
    return Classes(xlsa17.read_class_names(path, len(semantics)), semantics, f"of {path.name}, {name}")


def groups_of_result(workdir: rescoring.Workdir) -> dict[str, tuple[str, ...]]:
    """Names of the seen and of the unseen classes, as the result lists them; {} if it does not."""
    headline = (workdir.result or {}).get("headline")
    per_class = headline.get("per_class") if isinstance(headline, dict) else None
    if not isinstance(per_class, dict):
        return {}
    return {group: tuple(per_class[group]) for group in ("seen", "unseen") if isinstance(per_class.get(group), dict)}


def chosen_classes(source: Source, asked: tuple[str, ...], described: Path | None, normalize: bool) -> Classes:
    """The classes that are asked for.

    Args:
      source: what is known of the run's data.
      asked: names, or one of `GROUPS`.
      described: a file that describes new classes.
      normalize: whether the run's descriptions were normalised.

    Raises:
      InputError: a name is unknown or stands there twice, or none is given.
    """
    if len(set(asked)) < len(asked):
        raise InputError(f"--classes {','.join(asked)}: a name stands there twice")
    if described is not None:
        return new_classes(described, asked, normalize)
    if not asked or source.classes is None:
        raise InputError("--classes is missing; e.g. --classes unseen, or names")
    names, group = source.classes.names, ",".join(asked)
    if group not in GROUPS or group in names:
        return pick(source.classes, asked)
    members = names if group == "all" else source.groups.get(group, ())
    if not members:
        raise InputError(f"--classes {group}: only the labels of the run's data say which these are; give names")
    return pick(source.classes, members)


def pick(classes: Classes, asked: Sequence[str]) -> Classes:
    """The classes of these names, in this order.

    Raises:
      InputError: one is unknown; with the nearest names.
    """
    places = []
    for name in asked:
        if name not in classes.names:
            near = difflib.get_close_matches(name, classes.names, n=NEAREST, cutoff=0.4)
            hint = f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(classes.names[:10])}, ..."
            raise InputError(f"--classes: no class {name!r}; {hint}")
        places.append(classes.names.index(name))
    return Classes(tuple(asked), classes.semantics[places], classes.origin)


def new_classes(path: Path, asked: tuple[str, ...], normalize: bool) -> Classes:
    """Classes that a file describes, prepared as those of the run were.

    Args:
      path: a matrix [C, A], perhaps with names of its rows.
      asked: names of the rows; of a file with names those to take, none or "all" for all.
      normalize: whether the run's descriptions were normalised.

    Raises:
      InputError: the file is no such matrix, has a class twice, or a class can't be normalised.
    """
    values, names = read_descriptions(path)
    if names is None and len(asked) != len(values):
        raise InputError(f"--semantics {path}: {len(values)} rows without names, {len(asked)} names in --classes")
    own = asked if names is None else names
    if twice := [name for place, name in enumerate(own) if name in own[:place]]:
        raise InputError(f"--semantics {path}: describes {twice[0]!r} twice")
    values = xlsa17.normalize_semantics(values, f"--semantics {path}") if normalize else values
    how = "L2-normalised for each class" if normalize else "as they stand"
    classes = Classes(own, checks.float32(values), f"of {path.name}, {how}, as the run's")
    return classes if asked in ((), ("all",)) else pick(classes, asked)


def read_descriptions(path: Path) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Descriptions [C, A] float64, and names where the file has some.

    Raises:
      InputError: the file holds no such matrix, or several, or an entry is not finite.
    """
    fields = [one for one in sources.read(path, names_first=True) if not isinstance(one.value, tuple)]
    if len(fields) != 1:
        raise InputError(
            f"--semantics {path}: holds {len(fields)} arrays of numbers; one is needed, a row for each class"
        )
    values = real(fields[0]).astype(np.float64)
    if values.ndim != 2 or not values.size:
        raise InputError(
            f"--semantics {path}: of shape {list(values.shape)}; a row of numbers for each class is needed"
        )
    checks.require_finite(checks.float32(values), f"--semantics {path}")
    return values, fields[0].names


def require_width(classes: Classes, made: Generator) -> None:
    """Raises InputError when the generator takes descriptions of another width."""
    width = classes.semantics.shape[1]
    if width != made.a_dim:
        raise InputError(f"classes {classes.origin}: {width} numbers a class, the generator takes {made.a_dim}")


def scalers_of(rows: Dataset | None, config: Any, made: Generator) -> dict[str, Scaler] | None:
    """The scalers of the run by view, fitted on the training rows as then; None without rows."""
    if rows is None:
        return None
    views = {"x": rows.x, "r": rows.r}
    trained = {view: values[rows.splits.trainval] for view, values in views.items() if values is not None}
    return {view: fit_scaler(config.data.scaling, trained[view]) for view in made.widths}


def units_in_words(rows: Dataset | None, config: Any, made: Generator) -> str:
    """What the rows are measured in: as in the files of `rows`, or as the generator makes them."""
    if rows is None:
        return f"model, scaled as the run's rows ({config.data.scaling})"
    names = {"x": rows.features, "r": rows.representations}
    return "source, " + ", ".join(f"{view} as in {names[view]}" for view in made.widths)


def require_room(classes: Classes, num: int, made: Generator) -> None:
    """Raises InputError when the rows would take more than half of the memory."""
    n_bytes = FLOAT_BYTES * len(classes.names) * num * sum(made.widths.values())
    if n_bytes > files.MAX_BYTES:
        raise InputError(f"--num {num}: the rows would take {n_bytes / 1e9:.1f} GB, more than half of the memory")


def draw_all(made: Generator, classes: Classes, num: int, sampler: str, seed: int) -> dict[str, np.ndarray]:
    """`num` rows of each class, class by class, by view [n, D]."""
    key, params = jax.random.key(seed), jax.device_put(made.params)
    parts: dict[str, list[np.ndarray]] = {view: [] for view in made.widths}
    for name, semantics in zip(classes.names, classes.semantics, strict=True):
        own, row = derive(key, "class", name), jnp.asarray(semantics)
        for start in range(0, num, CHUNK):
            drawn = draw(made.method, sampler, params, row, own, np.int32(start))
            for view in parts:
                parts[view].append(np.asarray(drawn[view])[: num - start])
    return {view: np.concatenate(rows) for view, rows in parts.items()}


@partial(jax.jit, static_argnames=("method", "sampler"))
def draw(
    method: Method, sampler: str, params: dict[str, Params], semantics: jax.Array, key: jax.Array, start: jax.Array
) -> dict[str, jax.Array]:
    """`CHUNK` rows of one class from number `start` on, by view [CHUNK, D]; semantics [A]."""
    assert method.synthesize is not None
    numbers = start + jnp.arange(CHUNK, dtype=jnp.int32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)
    return method.synthesize(params, jnp.broadcast_to(semantics, (CHUNK, len(semantics))), keys, sampler)


def provenance(workdir: rescoring.Workdir, made: Generator, classes: Classes, described: Path | None) -> dict[str, Any]:
    """Where the rows come from."""
    return {
        "workdir": str(workdir.path),
        "method": made.method.name,
        "stage": made.stage,
        "epoch": made.epoch,
        "imported": made.imported,
        "data_fingerprint": workdir.fingerprint,
        "classes": classes.origin,
        "semantics_sha256": sources.sha256(described) if described else "",
        "config": workdir.config.to_dict(),
        "versions": versions(),
    }


def arrays_of(
    rows: Mapping[str, np.ndarray], classes: Classes, num: int, origin: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The arrays of the file by name."""
    return dict(rows) | {
        "labels": np.repeat(np.arange(len(classes.names), dtype=np.int32), num),
        "class_names": np.array(classes.names),
        "semantics": classes.semantics,
        "provenance": np.array(files.to_json(origin)),
    }


def write(out: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a .npz, whole or not at all; raises InputError where it can't be written."""
    with files.replacing(out) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

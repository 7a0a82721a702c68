"""The classes that a generator is to make rows of: of its run's data, as far as these are at hand, or new ones."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zsl_jax import data
from zsl_jax.data import columns
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.importing import propose
from zsl_jax.data.scaling import SEMANTICS, scale_semantics
from zsl_jax.data.sources import layout, xlsa17
from zsl_jax.errors import InputError
from zsl_jax.experiment import rescoring
from zsl_jax.experiment.synthesis import Generator

GROUPS = ("seen", "unseen", "all")
NEAREST = 3  # names that are proposed for one that is unknown


class Classes(NamedTuple):
    """Classes to choose from: names, descriptions [C, A] as the generator takes them, what these are in words."""

    names: tuple[str, ...]
    semantics: np.ndarray
    origin: str


class Source(NamedTuple):
    """What is known of the run's data.

    classes: of the data; None where they are not at hand or not needed. groups: names of the seen and the unseen ones.
    rows: with the views that the generator learnt to make, not scaled; None where they are not at hand. notes: to say.
    """

    classes: Classes | None
    groups: dict[str, tuple[str, ...]]
    rows: Dataset | None
    notes: tuple[str, ...]


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
      InputError: what is needed is not at hand, or the classes are described by other columns.
    """
    try:
        rows = views_of_run(workdir, config, made)
    except InputError as error:
        if rows_needed:
            raise InputError(f"--units source: needs the run's rows; {first_line(error)}") from error
        classes = described_classes(config, workdir) if classes_needed else None
        return Source(classes, groups_of_result(workdir), None, (f"no rows of the run's data: {first_line(error)}",))
    names = np.array(rows.class_names)
    groups = {"seen": tuple(names[rows.seen].tolist()), "unseen": tuple(names[rows.unseen].tolist())}
    taken = "as the run took them" if made.views else rows.described_by
    classes = None
    if classes_needed:
        semantics = columns.joined(rows.semantics, rows.attribute_names, workdir.attribute_names, rows.name)
        classes = Classes(rows.class_names, semantics, f"of the data, {taken}")
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
    files = sorted(path.glob("features/*/*.mat"))
    stems = {file.stem for file in files if not file.stem.endswith("_splits")}
    found = {view: [stem for stem in stems if stem.endswith(f"_{name}")] for view, name in made.items()}
    rest = [stem for stem in stems if not any(stem in own for own in found.values())]
    found |= {view: rest for view in ("x", "r") if view not in found}
    if len({file.parent for file in files}) != 1 or len(found["x"]) != 1 or len(found["r"]) > 1:
        raise InputError(f"{path / 'features'}: does not hold the views that the run made; restore it")
    options = config.data.copy_and_resolve_references()
    options.unlock()
    options.update({"source": "xlsa17", "root": str(path / "features"), "dataset": files[0].parent.name})
    options.update({"features": found["x"][0], "representations": "".join(found["r"]), "labels": "", "percent": 100})
    options.update({"semantics": "att", "original_semantics": False, "semantics_scaling": "none"})
    options.validation_classes = 0
    return options


def other_data(workdir: rescoring.Workdir, made: Generator, rows: Dataset) -> tuple[str, ...]:
    """A note where the rows are not those of the run."""
    if made.views or workdir.fingerprint in ("", rows.fingerprint()):
        return ()
    return (f"other data than those of the run, whose fingerprint is {workdir.fingerprint[:12]}",)


def described_classes(config: Any, workdir: rescoring.Workdir) -> Classes:
    """Names and descriptions of the classes from the split file alone.

    Raises:
      InputError: it is not there, or has other columns than the run's data.
    """
    try:
        path = layout.mat_file(config.data, "semantics", "_splits.mat")
    except InputError as error:
        raise InputError(
            f"{first_line(error)}; the classes are described there: give --data root=ROOT, or --semantics FILE"
        ) from error
    semantics, name, _ = xlsa17.read_semantics(path, config.data)
    named = xlsa17.read_attribute_names(path, semantics.shape[1])
    semantics = columns.joined(semantics, named, workdir.attribute_names, str(path))
    semantics = scale_semantics(workdir.scaler, semantics, str(path))
    return Classes(xlsa17.read_class_names(path, len(semantics)), semantics, f"of {path.name}, {name}, as the run's")


def groups_of_result(workdir: rescoring.Workdir) -> dict[str, tuple[str, ...]]:
    """Names of the seen and of the unseen classes, as the result lists them; {} if it does not."""
    headline = (workdir.result or {}).get("headline")
    per_class = headline.get("per_class") if isinstance(headline, dict) else None
    if not isinstance(per_class, dict):
        return {}
    return {group: tuple(per_class[group]) for group in ("seen", "unseen") if isinstance(per_class.get(group), dict)}


def chosen_classes(
    source: Source, asked: tuple[str, ...], described: Path | None, workdir: rescoring.Workdir
) -> Classes:
    """The classes that are asked for.

    Args:
      source: what is known of the run's data.
      asked: names, or one of `GROUPS`.
      described: a file that describes new classes.
      workdir: of the run.

    Raises:
      InputError: a name is unknown or stands there twice, or none is given.
    """
    if len(set(asked)) < len(asked):
        raise InputError(f"--classes {','.join(asked)}: a name stands there twice")
    if described is not None:
        wanted = workdir.attribute_names or (source.rows.attribute_names if source.rows else ())
        return new_classes(described, asked, workdir, wanted)
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


def new_classes(path: Path, asked: tuple[str, ...], workdir: rescoring.Workdir, wanted: tuple[str, ...]) -> Classes:
    """Classes that a file describes, prepared as those of the run were.

    Args:
      path: a matrix [C, A], perhaps with names of its rows and columns.
      asked: names of the rows; of a file with names those to take, none or "all" for all.
      workdir: of the run.
      wanted: names of the columns of the run's descriptions, or none.

    Raises:
      InputError: the file is no such matrix, has a class twice, other columns, or a class can't be normalised.
    """
    scaler, where = workdir.scaler, f"--semantics {path}"
    values, names, attributes = propose.descriptions(path)
    if not names and len(asked) != len(values):
        raise InputError(f"{where}: {len(values)} rows without names, {len(asked)} names in --classes")
    own = names or asked
    if twice := [name for place, name in enumerate(own) if name in own[:place]]:
        raise InputError(f"{where}: describes {twice[0]!r} twice")
    values = columns.joined(values, attributes, wanted, where)
    if scaler.shift.size not in (1, values.shape[1]):
        raise InputError(f"{where}: {values.shape[1]} numbers a class, the run's descriptions have {scaler.shift.size}")
    how = [SEMANTICS[scaler.kind] or "as they stand", "as the run's", columns.in_words(attributes, wanted)]
    origin = ", ".join([f"of {path.name}", *filter(None, how)])
    classes = Classes(own, scale_semantics(scaler, values, where), origin)
    return classes if asked in ((), ("all",)) else pick(classes, asked)


def require_width(classes: Classes, made: Generator) -> None:
    """Raises InputError when the generator takes descriptions of another width."""
    width = classes.semantics.shape[1]
    if width != made.a_dim:
        raise InputError(f"classes {classes.origin}: {width} numbers a class, the generator takes {made.a_dim}")

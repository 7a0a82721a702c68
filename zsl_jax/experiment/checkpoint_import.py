"""From archives of the published programs to a workdir: which stages they hold, sizes, configuration, nets."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zsl_jax.config import options
from zsl_jax.config.options import flat
from zsl_jax.data.formats import tensors
from zsl_jax.errors import InputError
from zsl_jax.experiment import checks
from zsl_jax.interop import published, state_dicts, systems
from zsl_jax.interop.published import Equation, Net
from zsl_jax.interop.state_dicts import Found
from zsl_jax.interop.systems import System, key_of, stages_in, where
from zsl_jax.train_steps.method import Spec, vector_spec
from zsl_jax.training import imported, workdir

VIEWS = {"finetune_x": "x", "finetune_r": "r"}  # stages whose width is that of a view
RUN_FILES = (workdir.CONFIG, workdir.RESULT, "checkpoints", "validation")


FILES = {"drg": "zerodiff_awa2", "d2sc_drg": "d2sc_awa2", "tfvaegan": "tfvaegan_awa2"}  # by first stage
EXAMPLES = {"gan": "gan_zoo:wgan,awa2", "autoencoder": "autoencoders:vae,awa2"}  # where there are many
# What is taken to be equal where archives leave it open: as the published programs have it.
ALIKE: dict[str, tuple[tuple[str, str], ...]] = {
    "drg": (("a", "time_dim"),),
    "d2sc_drg": (("a", "time_dim"),),
    "gan": (("z_dim", "a"), ("categories", "a"), ("continuous", "a")),
    "autoencoder": (("z_dim", "a"),),
}


class FoundNet(NamedTuple):
    """A net in an archive: its stage and our name of it, how it is published, archive, key there, tensors."""

    stage: str
    name: str
    net: Net
    archive: str
    key: str
    tensors: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Import:
    """What is to be written, and what there is to say about it.

    Attributes:
      system: whose archives these are.
      file: configuration file that the options start from.
      config: the whole configuration.
      changes: fields that differ from the file's, with the file's values.
      sizes: of the data ("x", "r", "a") and of the nets ("stage.field").
      nets: parameters by stage and net.
      pieces: where each net came from.
      missing: nets that no archive has, by stage.
      ignored: what else the archives hold, by archive.
      notes: decisions.
    """

    system: str
    file: str
    config: Any
    changes: dict[str, Any]
    sizes: dict[str, int]
    nets: dict[str, dict[str, Any]]
    pieces: list[FoundNet]
    missing: dict[str, list[str]]
    ignored: dict[str, list[str]]
    notes: list[str]


def read(
    paths: Sequence[str], workdir: Path, file: str = "", stages: Sequence[str] = (), assignments: Sequence[str] = ()
) -> Import:
    """Reads archives; nothing is written.

    Args:
      paths: archives of `torch.save`, or .safetensors files.
      workdir: where the nets are to go; nets that were imported there before count too.
      file: configuration file, maybe with an argument; "": the system's own.
      stages: of the system, where the archives do not say which it is.
      assignments: FIELD=VALUE, options that the archives do not tell.

    Raises:
      InputError: an archive is damaged or hostile; its nets are incomplete, ambiguous or of sizes that contradict each
        other; or the workdir holds a run.
    """
    require_no_run(workdir)
    if len(set(paths)) < len(paths):
        raise InputError(f"{', '.join(paths)}: an archive is named twice")
    archives = {path: state_dicts.read(path) for path in paths}
    said = [found.stage for found in archives.values() if found.stage in published.LAYOUTS]
    there = imported.stages(workdir, published.LAYOUTS)
    configured = options.load(file).stages if file else ()
    wanted = systems.wanted(configured, [*stages, *said, *there])
    archives = {path: named(found, stages) for path, found in archives.items()}
    system = systems.choose(archives, wanted)
    asked, file = file, file or default_file(system, next(iter(archives)))
    config = options.load(file)
    at_first = flat(config.to_dict())
    resume(config, workdir)
    bound = dict(options.assign(config, text, "--set ") for text in assignments)
    settle(config)
    checks.check_options(config)
    pieces = find_pieces(archives, system, config)
    require_new(pieces, workdir)
    sizes, notes = find_sizes(pieces, equations_before(workdir, config, system), bound)
    set_sizes(config, sizes)
    if asked and there:
        require_same(config, asked, assignments, sizes)
    nets = trees(pieces, sizes)
    require_stages(config, [*there, *nets])
    require_fit(config, sizes, nets)
    changes = {name: at_first[name] for name, value in flat(config.to_dict()).items() if at_first[name] != value}
    missing = {stage: sorted(set(layout(config, stage)) - set(found)) for stage, found in nets.items()}
    ignored = {path: unused(path, found, pieces) for path, found in archives.items()}
    return Import(system.name, file, config, changes, sizes, nets, pieces, missing, ignored, notes)


def write(made: Import, workdir: Path) -> None:
    """Leaves what `read` made in the workdir, beside what was imported there before.

    Raises:
      InputError: the folder cannot be written.
    """
    (imported.add if imported.read_config(workdir) else imported.write)(
        workdir, made.config, made.nets, spec_of(made.sizes)
    )


def require_no_run(workdir: Path) -> None:
    """Raises InputError when the workdir is no folder, or a run has begun there."""
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"{workdir}: no folder; name another with --out")
    for name in RUN_FILES:
        if (workdir / name).exists():
            raise InputError(f"{workdir}: holds a run ({name}); import into another folder with --out")


# Where options come from, and which nets.


def named(found: Found, stages: Sequence[str]) -> Found:
    """What an archive holds, a net without a name taken as the generator of the one stage that is asked for."""
    said = [found.stage] if found.stage in published.LAYOUTS else stages
    return systems.as_generator(found, said[0]) if len(said) == 1 else found


def default_file(system: System, path: str) -> str:
    """The configuration file of a system.

    Raises:
      InputError: there are many, and archives do not say which.
    """
    first = system.stages[0]
    if first not in FILES:
        raise InputError(f"{path}: of {system.name}, and does not say which; give e.g. --config {EXAMPLES[first]}")
    return FILES[first]


def resume(config: Any, workdir: Path) -> None:
    """Takes over the options of what was imported into the workdir before.

    Raises:
      InputError: they are not of this version.
    """
    try:
        config.update(imported.read_config(workdir))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{workdir}: its imported options are not of this version; import anew") from error


def require_same(config: Any, file: str, assignments: Sequence[str], sizes: Mapping[str, int]) -> None:
    """Raises InputError when a configuration file says other things than what was imported before, sizes apart."""
    other = options.load(file, assignments)
    settle(other)
    set_sizes(other, sizes)
    if found := workdir.differences(config.to_dict(), other.to_dict()):
        raise InputError(
            f"--config {file}: not what the nets there were imported with: {found}; leave --config out, or import all "
            "archives at once into a new --out"
        )


def require_stages(config: Any, stages: Iterable[str]) -> None:
    """Raises InputError unless the stages are in the configuration."""
    if missing := [stage for stage in stages if stage not in config.stages]:
        raise InputError(f"config.stages: {tuple(config.stages)} lacks {missing[0]}, whose nets are imported; add it")


def layout(config: Any, stage: str) -> dict[str, Net]:
    """How the nets of a stage are published, with the options of a configuration."""
    return published.LAYOUTS[stage](config[stage])


def find_pieces(archives: Mapping[str, Found], system: System, config: Any) -> list[FoundNet]:
    """The nets in archives.

    Raises:
      InputError: a net is in two archives, or one that is needed is in none.
    """
    pieces = [piece for path, found in archives.items() for piece in pieces_of(path, found, system, config)]
    archive_of: dict[str, str] = {}
    for piece in pieces:
        if archive_of.setdefault(piece.stage, piece.archive) != piece.archive:
            raise InputError(
                f"{piece.archive}: stage {piece.stage} is in {archive_of[piece.stage]} too; give one of them"
            )
    return pieces


def pieces_of(path: str, found: Found, system: System, config: Any) -> list[FoundNet]:
    """The nets in one archive; a key that two stages have, as that of V2S, is the later stage's."""
    pieces: dict[str, FoundNet] = {}
    for stage in reversed(stages_in(found, system)):
        for name, net in layout(config, stage).items():
            key = key_of(found, net)
            if key is None and net.needed:
                raise InputError(f"{path}: stage {stage} needs {net.keys[0]}, which is missing")
            if key is not None and key not in pieces:
                pieces[key] = FoundNet(stage, name, net, path, key, found.nets[key])
    return list(pieces.values())


def equations_before(workdir: Path, config: Any, system: System) -> list[Equation]:
    """What the nets say of sizes that were imported into the workdir before."""
    given = []
    for stage in imported.stages(workdir, system.stages):
        nets = imported.read(workdir, stage) or {}
        for name, net in layout(config, stage).items():
            if name in nets:
                said = published.tree_equations(net, nets[name], f"{imported.file_of(workdir, stage)}: {name}/")
                given += [scoped(equation, stage) for equation in said]
    return given


def require_new(pieces: Sequence[FoundNet], workdir: Path) -> None:
    """Raises InputError when a stage was imported into the workdir before."""
    for stage in imported.stages(workdir, dict.fromkeys(piece.stage for piece in pieces)):
        raise InputError(f"{imported.file_of(workdir, stage)}: stage {stage} is there already; name another --out")


def unused(path: str, found: Found, pieces: Sequence[FoundNet]) -> list[str]:
    """What of an archive is not imported: nets, layers that do nothing, anything else."""
    taken = {piece.key: piece for piece in pieces if piece.archive == path}
    idle = [
        f"{key}.{layer.name}" if key else layer.name
        for key, piece in taken.items()
        for layer in piece.net.idle
        if f"{layer.name}.weight" in piece.tensors
    ]
    return [key or "tensors" for key in found.nets if key not in taken] + idle + found.ignored


# Which sizes and options.


def find_sizes(
    pieces: Sequence[FoundNet], before: Sequence[Equation], bound: Mapping[str, Any]
) -> tuple[dict[str, int], list[str]]:
    """All sizes that nets have, those of a stage as "stage.field"; and a note for each that was not in the archives.

    Args:
      pieces: nets of one system.
      before: what is known of further nets.
      bound: options that were set by hand.

    Raises:
      InputError: shapes contradict each other or what was set, or leave a size open.
    """
    given = [*before, *(equation for piece in pieces for equation in equations(piece))]
    names = {name for equation in given for name in equation.sizes if not name.isdecimal()}
    sizes = published.solve(given, {name: value for name, value in bound.items() if name in names and value})
    notes = []
    for stage in dict.fromkeys(piece.stage for piece in pieces):
        for name, like in (scoped_names(pair, stage) for pair in ALIKE.get(stage, ())):
            found = solve_alike(given, sizes, name, like) if name in names - set(sizes) else sizes
            if name in found and name not in sizes:
                notes.append(f"{name} is taken to be as wide as {like} ({found[like]}), as published")
            sizes = found
    if open_ := sorted(names - set(sizes) - {"gan.classes"}):
        problem = f"{pieces[0].archive}: it does not say how wide {', '.join(open_)} are"
        raise left_open(problem, next(name for name in open_ if "." in name))
    return require_consistent(given, sizes, notes), notes


def equations(piece: FoundNet) -> list[Equation]:
    """What a net says of sizes."""
    said = published.equations(piece.net, piece.tensors, where(piece.archive, piece.key))
    return [scoped(equation, piece.stage) for equation in said]


def require_consistent(given: Sequence[Equation], sizes: dict[str, int], notes: Sequence[str]) -> dict[str, int]:
    """The sizes, if they solve all equations; else an InputError that also tells what was taken for granted."""
    try:
        return published.solve(given, sizes)
    except InputError as error:
        raise (InputError("; ".join([str(error), *notes])) if notes else error) from error


def scoped(equation: Equation, stage: str) -> Equation:
    """An equation whose sizes are named as options of the whole configuration."""
    return equation._replace(sizes=scoped_names(equation.sizes, stage))


def scoped_names(names: Iterable[str], stage: str) -> tuple[str, ...]:
    """Names of sizes: those of the data as they are, of the others the options that set them."""
    return tuple(name if name in published.DATA or name.isdecimal() else f"{stage}.{name}" for name in names)


def solve_alike(given: Sequence[Equation], sizes: Mapping[str, int], name: str, like: str) -> dict[str, int]:
    """Sizes, with one of them taken to be equal to another, if that solves it; an InputError where it cannot be so."""
    replaced = [
        equation._replace(sizes=tuple(like if size == name else size for size in equation.sizes)) for equation in given
    ]
    told = name if "." in name else f"{like.partition('.')[0]}.z_dim"
    try:
        found = published.solve(replaced, sizes)
    except InputError as error:
        raise left_open(f"{error}, with {name} taken to be as wide as {like}, as published", told) from error
    return found | ({name: found[like]} if like in found else {})


def left_open(problem: str, name: str) -> InputError:
    """What to say when archives do not determine sizes, of which one might be told."""
    return InputError(f"{problem}; give what is known by --set {name}=WIDTH")


def set_sizes(config: Any, sizes: Mapping[str, int]) -> None:
    """Sets the options that are sizes of the nets, or of the views that the nets see."""
    for name, size in sizes.items():
        stage, _, field = name.partition(".")
        if field not in config.get(stage, {}) or (config[stage][field] == 0 and size == sizes["a"]):
            continue  # the class head of a critic; or what is as wide as the semantics anyway
        config[stage][field] = size
    for stage, view in VIEWS.items():
        if stage in config.stages and view in sizes:
            config[stage].width = sizes[view]


def settle(config: Any) -> None:
    """Sets what must be so with imported nets: nothing is validated, and no classifier trained for a finished GAN."""
    config.validate, config.upstream = False, "last"
    for stage in ("gan", "autoencoder"):
        if stage in config.stages:
            config.stages = tuple(name for name in config.stages if name != "seen_classifier")
            config[stage].cls_weight = 0.0


# What is made of it.


def trees(pieces: Sequence[FoundNet], sizes: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Parameters by stage and net."""
    nets: dict[str, dict[str, Any]] = {}
    for piece in pieces:
        own = {name.removeprefix(f"{piece.stage}."): size for name, size in sizes.items()}
        nets.setdefault(piece.stage, {})[piece.name] = published.to_ours(piece.net, piece.tensors, own)
    return nets


def spec_of(sizes: Mapping[str, int]) -> Spec:
    """Sizes of the data that nets were made for; features of one number where no net shows their width."""
    return vector_spec(sizes.get("x", 1), sizes.get("r", 0), sizes["a"], n_classes=1)


def require_fit(config: Any, sizes: Mapping[str, int], nets: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises InputError unless the stages of the configuration, built for these sizes, have nets like these."""
    for stage, outline in checks.outlines(config, spec_of(sizes)).items():
        if stage in nets:
            arrays = tensors.flatten(nets[stage])
            if found := imported.differences(arrays, outline.state.params, nets[stage]):
                raise InputError(f"stage {stage} does not fit the configuration: {found[0]}")

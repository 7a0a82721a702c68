"""From archives of the published programs to a workdir: which stages they hold, widths, configuration, nets."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zsl_jax.config import options
from zsl_jax.config.options import flat
from zsl_jax.data.formats import tensors
from zsl_jax.errors import InputError
from zsl_jax.experiment import checks
from zsl_jax.interop import conversion, state_dicts, systems
from zsl_jax.interop.published import ALIKE, LAYOUTS, Net
from zsl_jax.interop.state_dicts import Found
from zsl_jax.interop.systems import SYSTEMS, key_of, stages_in, where
from zsl_jax.train_steps.method import Spec, vector_spec
from zsl_jax.training import imported, workdir

VIEWS = {"finetune_x": "x", "finetune_r": "r"}  # stages whose width is that of a view
FILES = {"ZeroDiff": "zerodiff_awa2", "D2SC": "d2sc_awa2", "TF-VAEGAN": "tfvaegan_awa2"}
EXAMPLES = {"the zoo's GANs": "gan_zoo:wgan,awa2", "the zoo's autoencoders": "autoencoders:vae,awa2"}  # of many


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
    """What is to be written, and what there is to say about it."""

    system: str  # whose archives these are
    file: str  # configuration file that the options start from
    config: Any  # the whole configuration
    changes: dict[str, Any]  # fields that differ from the file's, with the file's values
    sizes: dict[str, int]  # of the data ("x", "r", "a") and of the nets ("stage.field")
    nets: dict[str, dict[str, Any]]  # parameters by stage and net
    pieces: list[FoundNet]  # where each net came from
    missing: dict[str, list[str]]  # nets that no archive has, by stage
    ignored: dict[str, list[str]]  # what else the archives hold, by archive
    notes: list[str]  # decisions


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
      InputError: an archive is damaged or hostile; its nets are incomplete, ambiguous or of sizes that don't fit.
    """
    if len(set(paths)) < len(paths):
        raise InputError(f"{', '.join(paths)}: an archive is named twice")
    there = imported.stages(workdir, LAYOUTS)
    archives = {path: state_dicts.read(path) for path in paths}
    said = [found.stage for found in archives.values() if found.stage in LAYOUTS]
    archives = {path: systems.as_generator(one, [one.stage] if one.stage else stages) for path, one in archives.items()}
    system = systems.choose(archives, options.load(file).stages if file else (), [*stages, *said, *there])
    if not file and system not in FILES:
        raise InputError(f"{paths[0]}: of {system}, and does not say which; give e.g. --config {EXAMPLES[system]}")
    config = options.load(file or FILES[system])
    at_first = flat(config.to_dict())
    resume(config, workdir)
    bound = dict(options.assign(config, text, "--set ") for text in assignments)
    settle(config)
    checks.check_options(config)
    pieces = [piece for path, found in archives.items() for piece in pieces_of(path, found, system, config)]
    require_apart(pieces)
    sizes, notes = find_sizes(pieces, sizes_before(workdir, config, system), bound)
    set_sizes(config, sizes)
    if file and there:
        require_same(config, file, assignments, sizes)
    nets: dict[str, dict[str, Any]] = {}
    for one in pieces:
        own = {name.removeprefix(f"{one.stage}."): size for name, size in sizes.items()}
        nets.setdefault(one.stage, {})[one.name] = conversion.to_ours(one.net, one.tensors, own)
    if missing := [stage for stage in [*there, *nets] if stage not in config.stages]:
        raise InputError(f"config.stages: {tuple(config.stages)} lacks {missing[0]}, whose nets are imported; add it")
    require_fit(config, sizes, nets)
    changes = {name: at_first[name] for name, value in flat(config.to_dict()).items() if at_first[name] != value}
    missing = {stage: sorted(set(LAYOUTS[stage](config[stage])) - set(found)) for stage, found in nets.items()}
    ignored = {path: unused(path, found, pieces) for path, found in archives.items()}
    return Import(system, file or FILES[system], config, changes, sizes, nets, pieces, missing, ignored, notes)


def write(made: Import, workdir: Path) -> None:
    """Leaves what `read` made in the workdir, beside what was imported there before.

    Raises:
      InputError: the folder holds a run, or one of the stages already, or cannot be written.
    """
    leave = imported.add if imported.read_config(workdir) else imported.write
    leave(workdir, made.config, made.nets, spec_of(made.sizes))


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


# Which nets.


def require_apart(pieces: Sequence[FoundNet]) -> None:
    """Raises InputError when a stage is in two archives."""
    archive_of: dict[str, str] = {}
    for piece in pieces:
        if (other := archive_of.setdefault(piece.stage, piece.archive)) != piece.archive:
            raise InputError(f"{piece.archive}: stage {piece.stage} is in {other} too; give one of them")


def pieces_of(path: str, found: Found, system: str, config: Any) -> list[FoundNet]:
    """The nets in one archive; a key that two stages have, as that of V2S, is the later stage's."""
    pieces: dict[str, FoundNet] = {}
    for stage in reversed(stages_in(found, system)):
        for name, net in LAYOUTS[stage](config[stage]).items():
            key = key_of(found, net)
            if key is None and net.needed:
                raise InputError(f"{path}: stage {stage} needs {net.keys[0]}, which is missing")
            if key is not None and key not in pieces:
                pieces[key] = FoundNet(stage, name, net, path, key, found.nets[key])
    return list(pieces.values())


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


# Which widths and options.


def sizes_before(workdir: Path, config: Any, system: str) -> dict[str, int]:
    """Sizes of the nets that were imported into the workdir before."""
    sizes = {}
    for stage in imported.stages(workdir, SYSTEMS[system]):
        layout = LAYOUTS[stage](config[stage])
        for name, tree in (imported.read(workdir, stage) or {}).items():
            sizes |= conversion.told_by(layout[name], tree, stage)
    return sizes


def find_sizes(
    pieces: Sequence[FoundNet], before: Mapping[str, int], bound: Mapping[str, Any]
) -> tuple[dict[str, int], list[str]]:
    """All sizes that nets have, those of a stage as "stage.field"; and a note for each that was not in the archives.

    Args:
      pieces: nets of one system.
      before: sizes of further nets.
      bound: options that were set by hand.

    Raises:
      InputError: shapes contradict each other or what was set, or leave a size open.
    """
    given, alike = [], {}
    for one in pieces:
        given += conversion.axes(one.net, one.tensors, where(one.archive, one.key), one.stage)
        likes = ALIKE.get(one.stage, {}).items()
        alike |= {conversion.scoped(name, one.stage): conversion.scoped(like, one.stage) for name, like in likes}
    names = {name for axis in given for name in conversion.names(axis.of) if not name.isdecimal()}
    told = {name: bound[name] for name in (names | before.keys()) & bound.keys() if bound[name]}
    if other := [name for name in told if before.get(name, told[name]) != told[name]]:
        raise InputError(f"--set {other[0]}={told[other[0]]}: the nets there have {before[other[0]]}")
    sizes, taken = conversion.widths(given, {**before, **told}, alike)
    if left := sorted(names - sizes.keys()):
        raise InputError(
            f"{pieces[0].archive}: it does not say how wide {left[-1]} is; say it by --set {left[-1]}=WIDTH"
        )
    return sizes, [
        f"{name} is taken to be as wide as {like} ({sizes[name]}), as published" for name, like in taken.items()
    ]


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


def spec_of(sizes: Mapping[str, int]) -> Spec:
    """Sizes of the data that nets were made for; features of one number where no net shows their width."""
    return vector_spec(sizes.get("x", 1), sizes.get("r", 0), sizes["a"], n_classes=1)


def require_fit(config: Any, sizes: Mapping[str, int], nets: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises InputError unless the stages of the configuration, built for these sizes, have nets like these."""
    for stage, outline in checks.outlines(config, spec_of(sizes)).items():
        if stage in nets and (
            found := imported.differences(tensors.flatten(nets[stage]), outline.state.params, nets[stage])
        ):
            raise InputError(f"stage {stage} does not fit the configuration: {found[0]}")

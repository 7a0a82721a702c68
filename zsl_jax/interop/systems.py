"""Which published system archives are of: known by the layers of its generators, or asked for."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zsl_jax.errors import InputError
from zsl_jax.interop import published
from zsl_jax.interop.published import Net
from zsl_jax.interop.state_dicts import Found

MOST_SHOWN, MOST_LETTERS = 10, 60
UNNAMED = "whose generator a net without a name is, --stage says"


@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """A published system: its stages, and options that its archives may have been made with, by which layers differ."""

    name: str
    stages: tuple[str, ...]
    variants: tuple[dict[str, Any], ...]


DIFFUSION = tuple({"use_r": use_r, "embed_type": "VA", "train_s2v": False} for use_r in (True, False))
ZOO = ({"objective": "ae", "meant": False}, {"objective": "vae", "meant": False})
SYSTEMS = (
    System("ZeroDiff", ("drg", "dfg"), DIFFUSION),
    System("D2SC", ("d2sc_drg", "d2sc_dfg"), DIFFUSION),
    System("TF-VAEGAN", ("tfvaegan",), ({},)),
    System("the zoo's GANs", ("gan",), ({"objective": "wgan"},)),
    System("the zoo's autoencoders", ("autoencoder",), ZOO),
)


def wanted(configured: Iterable[str], stages: Sequence[str]) -> list[System]:
    """The systems that have all the stages that were named, and one of those of a configuration (if it has any).

    Raises:
      InputError: there is none.
    """
    known = [stage for system in SYSTEMS for stage in system.stages]
    one_of = set(configured) or set(known)
    found = [system for system in SYSTEMS if set(stages) <= set(system.stages) and one_of & set(system.stages)]
    if not found:
        asked = ", ".join(dict.fromkeys(stages)) or ", ".join(configured)
        raise InputError(f"stages {asked}: nets can be imported for {', '.join(known)}, those of one system at a time")
    return found


def choose(archives: Mapping[str, Found], systems: Sequence[System]) -> System:
    """The one system that all archives can be of; of several that which knows most of their keys.

    Raises:
      InputError: there is none, or there are several.
    """
    stages_of = {system: [stages_in(found, system) for found in archives.values()] for system in systems}
    held = {
        system: (sum(map(len, stages)), sum(len(keys_of(system) & set(found.nets)) for found in archives.values()))
        for system, stages in stages_of.items()
        if all(stages)
    }
    fitting = [system for system, counts in held.items() if counts == max(held.values())]
    first = next(iter(archives))
    if len(fitting) > 1:
        names = " or of ".join(system.name for system in fitting)
        stages = " or --stage ".join(stages_of[system][0][0] for system in fitting)
        raise InputError(
            f"{first}: may be of {names}, which look alike; say it by --stage {stages}, or by --config FILE"
        )
    if fitting:
        return fitting[0]
    for path, found in archives.items():
        if not any(stages_in(found, system) for system in systems):
            raise misfit(path, found, systems)
    raise InputError(f"{', '.join(archives)}: not of one system; import those of each into a folder of its own")


def stages_in(found: Found, system: System) -> list[str]:
    """The stages of a system that an archive may hold."""
    layouts = {stage: [published.LAYOUTS[stage](options) for options in system.variants] for stage in system.stages}
    return [stage for stage, tables in layouts.items() if any(fits(found, first_of(table)) for table in tables)]


def keys_of(system: System) -> set[str]:
    """All keys that a system's archives have nets under."""
    tables = (published.LAYOUTS[stage](options) for stage in system.stages for options in system.variants)
    return {key for table in tables for net in table.values() for key in net.keys}


def as_generator(found: Found, stage: str) -> Found:
    """What an archive holds, with a net that is alone there and has no name taken as a stage's generator."""
    system = next(system for system in SYSTEMS if stage in system.stages)
    keys = first_of(published.LAYOUTS[stage](system.variants[0])).keys
    return found if list(found.nets) != [""] or "" in keys else found._replace(nets={keys[0]: found.nets[""]})


def first_of(table: Mapping[str, Net]) -> Net:
    """The net by which a stage is known: its generator, or what stands for one."""
    return next(iter(table.values()))


def key_of(found: Found, net: Net) -> str | None:
    """The key that an archive has a net under."""
    return next((key for key in net.keys if key in found.nets), None)


def fits(found: Found, net: Net) -> bool:
    """Whether an archive has a net with these layers."""
    key = key_of(found, net)
    names = {layer.name for layer in net.layers}
    return key is not None and names == layers_of(found, key) - {layer.name for layer in net.idle}


def layers_of(found: Found, key: str) -> set[str]:
    """Names of the layers that an archive's net has tensors of."""
    return {name.rpartition(".")[0] for name in found.nets[key]}


def misfit(path: str, found: Found, systems: Sequence[System]) -> InputError:
    """What is wrong with an archive that is none of some systems: of the net that comes nearest, or of all."""
    nets = [
        first_of(published.LAYOUTS[stage](options))
        for system in systems
        for stage in system.stages
        for options in system.variants
    ]
    near = [net for net in nets if key_of(found, net) is not None]
    if near:
        layers = {id(net): layers_of(found, key_of(found, net) or "") for net in near}
        net = max(near, key=lambda net: len(layers[id(net)] & {layer.name for layer in net.layers}))
        key = key_of(found, net) or ""
        try:
            published.equations(net, found.nets[key], where(path, key))
        except InputError as error:
            return InputError(f"{error}; {UNNAMED}") if not key and len(systems) > 1 else error
    held = shown([key or "one without a name" for key in found.nets]) or "none"
    known = ", ".join(dict.fromkeys(net.keys[0] for net in nets))
    more = f"; {UNNAMED}" if "" in found.nets else ""
    more += f"; passed over: {shown(found.ignored)}" if found.ignored else ""
    return InputError(
        f"{path}: no generator of {' or '.join(one.name for one in systems)} ({known}); its nets: {held}{more}"
    )


def shown(names: Sequence[str]) -> str:
    """The first of some names."""
    return ", ".join(name[:MOST_LETTERS] for name in names[:MOST_SHOWN])


def where(path: str, key: str) -> str:
    """What stands before a tensor's name in messages."""
    return f"{path}: {key}." if key else f"{path}: "

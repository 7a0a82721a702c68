"""Which published system archives are of: known by the layers of its generators, or asked for."""

from collections.abc import Mapping, Sequence

from zsl_jax.errors import InputError
from zsl_jax.interop import conversion
from zsl_jax.interop.published import LAYOUTS, Linear, Net
from zsl_jax.interop.state_dicts import Found

SYSTEMS = {
    "ZeroDiff": ("drg", "dfg"), "D2SC": ("d2sc_drg", "d2sc_dfg"), "TF-VAEGAN": ("tfvaegan",),
    "the zoo's GANs": ("gan",), "the zoo's autoencoders": ("autoencoder",),
}  # fmt: skip
# Options that archives may have been made with, by which the layers of generators differ.
VARIANTS = (
    {"use_r": True, "embed_type": "VA", "train_s2v": False, "objective": "ae", "meant": False},
    {"use_r": False, "embed_type": "VA", "train_s2v": False, "objective": "vae", "meant": False},
)
TABLES = {stage: [table(options) for options in VARIANTS] for stage, table in LAYOUTS.items()}
# By stage: its generator, or what stands for one, by whose layers it is known; and all keys of its nets.
GENERATORS = {stage: [next(iter(table.values())) for table in tables] for stage, tables in TABLES.items()}
KEYS = {
    stage: {key for table in tables for net in table.values() for key in net.keys} for stage, tables in TABLES.items()
}
UNNAMED = "whose generator a net without a name is, --stage says"


def choose(archives: Mapping[str, Found], configured: Sequence[str], named: Sequence[str]) -> str:
    """The one system that all archives can be of; of several that which knows most of their keys.

    Args:
      archives: what they hold, by path.
      configured: stages of a configuration, one of which it must have; (): any.
      named: stages, all of which it must have.

    Raises:
      InputError: there is none, or there are several.
    """
    fit = [own for own, of in SYSTEMS.items() if {*named} <= {*of} and (not configured or {*configured} & {*of})]
    if not fit:
        asked = ", ".join(dict.fromkeys(named)) or ", ".join(configured)
        raise InputError(
            f"stages {asked}: nets can be imported for {', '.join(LAYOUTS)}, those of one system at a time"
        )
    for path, found in archives.items():
        if not any(stages_in(found, system) for system in fit):
            raise misfit(path, found, fit)
    held = {}
    for system in fit:
        stages = [stages_in(found, system) for found in archives.values()]
        keys = [found.nets.keys() & KEYS[stage] for found in archives.values() for stage in SYSTEMS[system]]
        if all(stages):
            held[system] = sum(map(len, stages)), sum(map(len, keys))
    best = [system for system in held if held[system] == max(held.values())]
    if not best:
        raise InputError(f"{', '.join(archives)}: not of one system; import those of each into a folder of its own")
    if len(best) > 1:
        path, found = next(iter(archives.items()))
        names, stages = " or of ".join(best), " or --stage ".join(stages_in(found, system)[0] for system in best)
        raise InputError(
            f"{path}: may be of {names}, which look alike; say it by --stage {stages}, or by --config FILE"
        )
    return best[0]


def stages_in(found: Found, system: str) -> list[str]:
    """The stages of a system that an archive may hold: those whose generator has the layers of a net there."""
    return [stage for stage in SYSTEMS[system] if any(fits(found, net) for net in GENERATORS[stage])]


def key_of(found: Found, net: Net) -> str | None:
    """The key that an archive has a net under."""
    return next((key for key in net.keys if key in found.nets), None)


def fits(found: Found, net: Net) -> bool:
    """Whether an archive has a net with these layers."""
    return key_of(found, net) is not None and layers_of(found, net) - names(net.idle) == names(net.layers)


def names(layers: Sequence[Linear]) -> set[str]:
    """Names of layers."""
    return {layer.name for layer in layers}


def layers_of(found: Found, net: Net) -> set[str]:
    """Names of the layers that an archive has tensors of, of what it has under a net's key."""
    return {name.rpartition(".")[0] for name in found.nets[key_of(found, net) or ""]}


def as_generator(found: Found, stages: Sequence[str]) -> Found:
    """What an archive holds, with a net that is alone there and has no name taken as the generator of the one stage."""
    keys = GENERATORS[stages[0]][0].keys if len(stages) == 1 and stages[0] in LAYOUTS else ("",)
    return found if "" in keys or list(found.nets) != [""] else found._replace(nets={keys[0]: found.nets[""]})


def misfit(path: str, found: Found, fit: Sequence[str]) -> InputError:
    """What is wrong with an archive that is of none of some systems: of the net that comes nearest, or of all."""
    nets = [net for system in fit for stage in SYSTEMS[system] for net in GENERATORS[stage]]
    if near := [net for net in nets if key_of(found, net) is not None]:
        nearest = max(near, key=lambda net: len(layers_of(found, net) & names(net.layers)))
        key = key_of(found, nearest) or ""
        try:
            conversion.axes(nearest, found.nets[key], where(path, key))
        except InputError as error:
            return InputError(f"{error}; {UNNAMED}") if not key and len(fit) > 1 else error
    held = shown([key or "one without a name" for key in found.nets]) or "none"
    known = ", ".join(dict.fromkeys(net.keys[0] for net in nets))
    more = f"; {UNNAMED}" if "" in found.nets else ""
    more += f"; passed over: {shown(found.ignored)}" if found.ignored else ""
    return InputError(f"{path}: no generator of {' or '.join(fit)} ({known}); its nets: {held}{more}")


def shown(several: Sequence[str]) -> str:
    """The first of some names."""
    return ", ".join(name[:60] for name in several[:10])


def where(path: str, key: str) -> str:
    """What stands before a tensor's name in messages."""
    return f"{path}: {key}." if key else f"{path}: "

"""Which published system archives are of: known by the layers of its generators, or asked for."""

from collections.abc import Mapping, Sequence

from zsl_jax.errors import InputError
from zsl_jax.interop import conversion
from zsl_jax.interop.published import LAYOUTS, Net
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
    fit = [
        own for own in SYSTEMS if set(named) <= {*SYSTEMS[own]} and (not configured or {*configured} & {*SYSTEMS[own]})
    ]
    if not fit:
        known = ", ".join(stage for own in SYSTEMS.values() for stage in own)
        asked = ", ".join(dict.fromkeys(named)) or ", ".join(configured)
        raise InputError(f"stages {asked}: nets can be imported for {known}, those of one system at a time")
    for path, found in archives.items():
        if not any(stages_in(found, system) for system in fit):
            raise misfit(path, found, fit)
    held = {}
    for system in fit:
        stages = [stages_in(found, system) for found in archives.values()]
        if all(stages):
            held[system] = (
                sum(map(len, stages)),
                sum(len(keys_of(system) & {*found.nets}) for found in archives.values()),
            )
    best = [system for system in held if held[system] == max(held.values())]
    if not best:
        raise InputError(f"{', '.join(archives)}: not of one system; import those of each into a folder of its own")
    path, found = next(iter(archives.items()))
    if len(best) > 1:
        stages = " or --stage ".join(stages_in(found, system)[0] for system in best)
        names = " or of ".join(best)
        raise InputError(
            f"{path}: may be of {names}, which look alike; say it by --stage {stages}, or by --config FILE"
        )
    return best[0]


def stages_in(found: Found, system: str) -> list[str]:
    """The stages of a system that an archive may hold: those whose generator has the layers of a net there."""
    return [stage for stage in SYSTEMS[system] if any(fits(found, net) for net in generators(stage))]


def generators(stage: str) -> list[Net]:
    """The net by which a stage is known, its generator or what stands for one, in its variants."""
    return [next(iter(LAYOUTS[stage](options).values())) for options in VARIANTS]


def keys_of(system: str) -> set[str]:
    """All keys that a system's archives have nets under."""
    tables = [LAYOUTS[stage](options) for stage in SYSTEMS[system] for options in VARIANTS]
    return {key for table in tables for net in table.values() for key in net.keys}


def key_of(found: Found, net: Net) -> str | None:
    """The key that an archive has a net under."""
    return next((key for key in net.keys if key in found.nets), None)


def fits(found: Found, net: Net) -> bool:
    """Whether an archive has a net with these layers."""
    key = key_of(found, net)
    idle, layers = ({layer.name for layer in part} for part in (net.idle, net.layers))
    return key is not None and layers == layers_of(found, key) - idle


def layers_of(found: Found, key: str | None) -> set[str]:
    """Names of the layers that an archive's net has tensors of."""
    return {name.rpartition(".")[0] for name in found.nets.get(key or "", ())}


def as_generator(found: Found, stages: Sequence[str]) -> Found:
    """What an archive holds, with a net that is alone there and has no name taken as the generator of the one stage."""
    if len(stages) != 1 or stages[0] not in LAYOUTS or list(found.nets) != [""]:
        return found
    keys = generators(stages[0])[0].keys
    return found if "" in keys else found._replace(nets={keys[0]: found.nets[""]})


def misfit(path: str, found: Found, fit: Sequence[str]) -> InputError:
    """What is wrong with an archive that is of none of some systems: of the net that comes nearest, or of all."""
    nets = [net for system in fit for stage in SYSTEMS[system] for net in generators(stage)]
    near = [net for net in nets if key_of(found, net) is not None]
    near.sort(key=lambda net: -len(layers_of(found, key_of(found, net)) & {layer.name for layer in net.layers}))
    for net in near[:1]:
        key = key_of(found, net) or ""
        try:
            conversion.axes(net, found.nets[key], where(path, key))
        except InputError as error:
            return InputError(f"{error}; {UNNAMED}") if not key and len(fit) > 1 else error
    held = shown([key or "one without a name" for key in found.nets]) or "none"
    known = ", ".join(dict.fromkeys(net.keys[0] for net in nets))
    more = f"; {UNNAMED}" if "" in found.nets else ""
    more += f"; passed over: {shown(found.ignored)}" if found.ignored else ""
    return InputError(f"{path}: no generator of {' or '.join(fit)} ({known}); its nets: {held}{more}")


def shown(names: Sequence[str]) -> str:
    """The first of some names."""
    return ", ".join(name[:60] for name in names[:10])


def where(path: str, key: str) -> str:
    """What stands before a tensor's name in messages."""
    return f"{path}: {key}." if key else f"{path}: "

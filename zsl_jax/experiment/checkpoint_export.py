"""Nets of a run or of an import under the published programs' names, for those programs or for another import."""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zsl_jax.data.formats import tensors
from zsl_jax.errors import InputError
from zsl_jax.experiment import rescoring
from zsl_jax.files import replacing
from zsl_jax.interop import conversion, published
from zsl_jax.interop.state_dicts import STAGE, SUFFIX
from zsl_jax.training import checkpoints, imported

TORCH = (".pt", ".pth", ".tar", ".pkl")
FLAT = ("autoencoder",)  # stages whose nets are one net of torch, saved without a dictionary around it
KEYS = re.compile(r"\['([^']*)'\]")


class Nets(NamedTuple):
    """Published nets {key: {tensor: array}} of a stage; where they are from, in words."""

    stage: str
    nets: dict[str, dict[str, np.ndarray]]
    origin: str


def read(workdir: Path, stage: str = "", epoch: int | None = None, net: str = "") -> Nets:
    """The nets of a stage, as they are published; nothing is written.

    Args:
      workdir: of a run or of an import.
      stage: "": the last one that is there.
      epoch: training epoch, from 0, whose state is meant; None: the last.
      net: our name of one net alone, which then has the key ""; "": all of them.

    Raises:
      InputError: there is no such stage, state or net, or files are damaged.
    """
    config = rescoring.open_workdir(workdir).config
    stage = stage or last_stage(config, workdir)
    if stage not in published.LAYOUTS or stage not in config.stages:
        known = ", ".join(name for name in config.stages if name in published.LAYOUTS)
        raise InputError(f"--stage {stage}: the run's stages that are published nets are {known or 'none'}")
    params, origin = parameters(workdir, stage, epoch)
    table = published.LAYOUTS[stage](config[stage])
    if net and net not in params:
        raise InputError(f"--net {net}: stage {stage} has {', '.join(params)}")
    names = [net] if net else [name for name in table if name in params]
    return Nets(
        stage,
        {"" if net else table[name].keys[0]: conversion.to_published(table[name], params[name]) for name in names},
        origin,
    )


def last_stage(config: Any, workdir: Path) -> str:
    """The last stage that has a published form and something in the workdir."""
    there = [name for name in config.stages if folder(workdir, name).is_dir() or imported.stages(workdir, [name])]
    found = [name for name in there if name in published.LAYOUTS]
    if not found:
        raise InputError(f"{workdir}: no nets of {', '.join(config.stages)} to export")
    return found[-1]


def folder(workdir: Path, stage: str) -> Path:
    """Where a stage's checkpoints are."""
    return workdir / "checkpoints" / stage


def parameters(workdir: Path, stage: str, epoch: int | None) -> tuple[dict[str, Any], str]:
    """A stage's parameters by net, and where they are from."""
    if folder(workdir, stage).is_dir():
        return of_checkpoint(folder(workdir, stage), epoch)
    nets = imported.read(workdir, stage)
    if nets is None:
        raise InputError(f"{workdir}: nothing of stage {stage} is there; train or import it first")
    if epoch is not None:
        raise InputError(f"--epoch {epoch}: stage {stage} was imported, and has one state; leave --epoch out")
    return nets, "imported"


def of_checkpoint(directory: Path, epoch: int | None) -> tuple[dict[str, Any], str]:
    """The parameters of a checkpoint by net.

    Raises:
      InputError: that epoch's state was not kept, or is damaged.
    """
    with checkpoints.open_checkpoints(directory, read_only=True) as opened:
        steps = opened.steps()
        if not steps:
            raise InputError(f"{directory}: no checkpoint is there")
        arrays = opened.arrays(steps[-1])
        per_epoch = int(arrays[rescoring.PER_EPOCH])
        if epoch is not None:
            if (epoch + 1) * per_epoch not in steps:
                kept = ", ".join(str(step // per_epoch - 1) for step in steps)
                raise InputError(f"--epoch {epoch}: {directory} keeps the epochs {kept}")
            arrays = opened.arrays((epoch + 1) * per_epoch)
    found = {tuple(KEYS.findall(name)): array for name, array in arrays.items() if name.startswith("params[")}
    nets = tensors.unflatten({tensors.SEPARATOR.join(keys): array for keys, array in found.items()})
    return nets, f"epoch {steps[-1] // per_epoch - 1 if epoch is None else epoch}"


def write(path: Path, made: Nets) -> None:
    """Writes nets to .safetensors, or as `torch.save` does to .pt, .pth, .tar or .pkl.

    Raises:
      InputError: another suffix, torch is not installed, the file is there, or it cannot be written.
    """
    if path.exists():
        raise InputError(f"{path}: is there already; name another --out")
    if path.suffix == SUFFIX:
        tensors.write(path, joined(made.nets), {STAGE: made.stage})
    elif path.suffix in TORCH:
        write_torch(path, joined(made.nets) if made.stage in FLAT or "" in made.nets else made.nets)
    else:
        raise InputError(f"{path}: the suffix says how to write; use {', '.join((SUFFIX, *TORCH))}")


def joined(nets: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Tensors of all nets by names such as "state_dict_G.fc1.weight"."""
    return {f"{key}.{name}" if key else name: array for key, net in nets.items() for name, array in net.items()}


def write_torch(path: Path, value: Mapping[str, Any]) -> None:
    """Writes arrays, or dictionaries of them, as tensors.

    Raises:
      InputError: torch is not installed, or the file cannot be written.
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise InputError(f"{path}: torch is not installed; name a {SUFFIX} file, which needs none") from error

    def tensor(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {key: tensor(inner) for key, inner in part.items()}
        return torch.from_numpy(np.array(part))

    with replacing(path) as temporary:
        torch.save(tensor(value), temporary)

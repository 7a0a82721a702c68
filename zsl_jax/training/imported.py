"""Nets that were trained elsewhere, in `WORKDIR/imported`: a stage that has some there starts finished with them.

The folder holds `<stage>.safetensors`, whose arrays are named `<net>/<path>`, and `config.json`, a configuration with
the sizes of the nets. It is made whole or not at all, and never changed by a run; stages may be added before one.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zsl_jax import files
from zsl_jax.data.formats import tensors
from zsl_jax.errors import InputError
from zsl_jax.train_steps.method import Params, Spec, TrainState
from zsl_jax.training.workdir import CONFIG, SIZES

FOLDER = "imported"
SUFFIX = ".safetensors"
MAX_DIFFERENCES = 5


def write(workdir: Path, config: Any, nets: Mapping[str, Mapping[str, Params]], sizes: Spec | None = None) -> None:
    """Leaves nets in a workdir, for training, evaluation and synthesis to start from.

    Args:
      workdir: made if need be.
      config: a whole configuration, with the sizes of the nets.
      nets: parameters by stage, by net, named as in `TrainState.params` of the stage.
      sizes: of the data that they were made for; None: not known.

    Raises:
      InputError: there is a run or an import already, or the folder cannot be written.
    """
    workdir = Path(workdir)
    for taken in (FOLDER, CONFIG, "checkpoints"):
        if (workdir / taken).exists():
            raise InputError(f"{workdir}: holds a run or an import already ({taken}); choose another folder")
    made_here = not workdir.exists()
    try:
        with files.replacing_folder(workdir / FOLDER) as folder:
            for stage, params in nets.items():
                tensors.write(folder / f"{stage}{SUFFIX}", tensors.flatten(params), {"stage": stage})
            files.write_json(folder / CONFIG, record(config, sizes))
    finally:
        if made_here and workdir.is_dir() and not any(workdir.iterdir()):
            workdir.rmdir()


def record(config: Any, sizes: Spec | None) -> dict[str, Any]:
    """What is written of a configuration and of the sizes of the data."""
    return config.to_dict() | ({} if sizes is None else {SIZES: dataclasses.asdict(sizes)})


def add(workdir: Path, config: Any, nets: Mapping[str, Mapping[str, Params]], sizes: Spec | None = None) -> None:
    """Leaves nets of further stages beside those that `write` left; the files that are there stay as they are.

    Args:
      workdir: holds an import, and no run.
      config, nets, sizes: as for `write`; the configuration fits all nets, and takes the place of that which is there.

    Raises:
      InputError: a run has begun, a stage is there already, or the folder cannot be written.
    """
    workdir = Path(workdir)
    taken = [name for name in (CONFIG, "checkpoints") if (workdir / name).exists()]
    if taken or stages(workdir, nets):
        what = taken[0] if taken else f"stage {stages(workdir, nets)[0]}"
        raise InputError(f"{workdir}: holds {what} already; choose another folder")
    # The configuration first: it fits all nets, so also those that are there when a crash comes between.
    files.write_json(workdir / FOLDER / CONFIG, record(config, sizes))
    for stage, params in nets.items():
        tensors.write(file_of(workdir, stage), tensors.flatten(params), {"stage": stage})


def file_of(directory: Path, stage: str) -> Path:
    """Where the nets of a stage lie, if they were imported."""
    return Path(directory) / FOLDER / f"{stage}{SUFFIX}"


def read(directory: Path, stage: str) -> dict[str, Params] | None:
    """The imported parameters of a stage by net, as numpy arrays; None if there are none.

    Raises:
      InputError: the file is damaged.
    """
    arrays = read_arrays(directory, stage)
    return None if arrays is None else tensors.unflatten(arrays)


def read_arrays(directory: Path, stage: str) -> dict[str, np.ndarray] | None:
    """The imported parameters of a stage by `<net>/<path>`; None if there are none."""
    path = file_of(directory, stage)
    if not path.exists():
        return None
    return tensors.read(path)[0]


def read_config(workdir: Path) -> dict[str, Any]:
    """The configuration that nets were imported with; {} if there is none.

    Raises:
      InputError: its file is damaged.
    """
    path = Path(workdir) / FOLDER / CONFIG
    found = files.read_json(path) if path.exists() else {}
    if not isinstance(found, dict):
        raise InputError(f"{path}: not a configuration; import anew")
    return {name: value for name, value in found.items() if name != SIZES}


def stages(directory: Path, names: Iterable[str]) -> list[str]:
    """Which of the named stages were imported."""
    return [name for name in names if file_of(directory, name).is_file()]


def digest(directory: Path, stage: str) -> str:
    """SHA-256 (hex) of a stage's file."""
    return hashlib.sha256(file_of(directory, stage).read_bytes()).hexdigest()


def differences(arrays: Mapping[str, Any], params: Mapping[str, Params], needed: Iterable[str]) -> list[str]:
    """Says in which names and sizes imported nets differ from those of a run; nothing if they fit.

    Args:
      arrays: imported, by `<net>/<path>`.
      params: shapes of all parameters of the stage by net.
      needed: names, among which are those of nets that must be there; the others are there whole or not at all.
    """
    nets = {net_of(name) for name in arrays} | set(needed)
    wanted = named({net: tree for net, tree in params.items() if net in nets})
    changed = [
        f"{name} is {form(arrays[name])}, this run has {form(leaf)}"
        for name, leaf in wanted.items()
        if name in arrays and form(arrays[name]) != form(leaf)
    ]
    missing = [f"{name} is missing" for name in wanted if name not in arrays]
    return changed + missing + [f"{name} is unknown to this run" for name in arrays if name not in wanted]


def broken(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Says which arrays have numbers that are not finite."""
    return [f"{name} has numbers that are not finite" for name, array in arrays.items() if not np.isfinite(array).all()]


def trees(state: TrainState) -> dict[str, Any]:
    """What imported nets can hold of a state: parameters by net, and its running statistics under the name "stats"."""
    return dict(state.params) | ({"stats": state.stats} if state.stats else {})


def with_trees(state: TrainState, held: Mapping[str, Any]) -> TrainState:
    """The state with these in place of its own; undoes `trees`."""
    params = {net: tree for net, tree in held.items() if net in state.params}
    return state._replace(params=params, stats=held.get("stats", state.stats))


def named(params: Mapping[str, Params]) -> dict[str, Any]:
    """Parameters, or their shapes, by `<net>/<path>`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(dict(params))
    return {name_of(path): leaf for path, leaf in leaves}


def name_of(path: tuple) -> str:
    """`<net>/<path>` of a place in a tree of parameters."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def net_of(name: str) -> str:
    """The net that an array belongs to."""
    return name.partition("/")[0]


def form(array: Any) -> str:
    """Dtype and shape."""
    return f"{np.dtype(array.dtype).name}{list(array.shape)}"


def require_fit(
    path: Path, arrays: Mapping[str, Any], params: Mapping[str, Params], needed: Iterable[str], options: str = ""
) -> None:
    """Raises InputError when `differences` has any; `options`: in which fields the run differs from the import."""
    found = differences(arrays, params, needed) or broken(arrays)
    if not found:
        return
    more = f"; and {len(found) - MAX_DIFFERENCES} more" if len(found) > MAX_DIFFERENCES else ""
    hint = f". Set the options as imported: {options}" if options else ""
    raise InputError(f"{path}: does not fit this run: {'; '.join(found[:MAX_DIFFERENCES])}{more}{hint}")

"""Nets by name in what an archive holds, however it is nested."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zsl_jax.data.formats import pickles, tensors
from zsl_jax.errors import InputError

Tensors = dict[str, np.ndarray]
# Around nets, and say nothing of which.
WRAPPERS = (
    "state_dict", "model_state_dict", "model", "params", "nets", "net", "checkpoint", "state", "weights", "module",
    "_orig_mod",
)  # fmt: skip
PARALLEL = ("module", "_orig_mod")  # what parallel and compiled nets have before names
PREFIX = "state_dict_"
LONGEST = 200
SUFFIX = ".safetensors"
STAGE = "stage"  # the name under which such a file says its stage


class Found(NamedTuple):
    """Nets by published name ("" for one without a name); what else is there, by place; the stage, where it is said."""

    nets: dict[str, Tensors]
    ignored: list[str]
    stage: str = ""


def read(path: str | os.PathLike) -> Found:
    """The nets of an archive of `torch.save` or of a .safetensors file, float32.

    Raises:
      InputError: the file is no such archive, or two tensors that differ have one name.
    """
    value, texts = tensors.read(path) if Path(path).suffix == SUFFIX else (pickles.load(path), {})
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds {type(value).__name__}, but a dictionary of nets is needed")
    nets: dict[str, Tensors] = {}
    ignored = []
    for where, net, name, array in _tensors(value, "", ""):
        if not where.isprintable() or len(where) > LONGEST:
            raise InputError(f"{path}: something is named {where!a:.60}; names of nets and tensors are short texts")
        if array is None:
            ignored.append(where)
            continue
        read, known = _float32(array), nets.setdefault(net, {})
        if name in known and not np.array_equal(read, known[name]):
            raise InputError(f"{path}: two tensors are {net or 'a net'}'s {name!a:.80}, and differ; save one of them")
        known[name] = read
    return Found(nets, ignored, texts.get(STAGE, ""))


def _tensors(value: Mapping[Any, Any], where: str, net: str) -> Iterator[tuple[str, str, str, np.ndarray | None]]:
    """(place, net, name in the net, array) of each tensor; without an array what is no part of a net."""
    for key, part in value.items():
        place = f"{where}.{key}" if where else str(key)
        if isinstance(part, np.ndarray):
            owner, name = _divide(str(key), net)
            yield place, owner, name, part if "." in name else None
        elif isinstance(part, dict) and (named := _net_name(str(key))):
            yield from _tensors(part, place, named)
        elif isinstance(part, dict) and key in WRAPPERS:
            yield from _tensors(part, place, net)
        else:
            yield place, "", "", None


def _float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # too large numbers become infinite, and are found as such
        return array.astype(np.float32) if array.dtype.kind == "f" else array


def _divide(key: str, net: str) -> tuple[str, str]:
    """The net that a tensor belongs to and its name there; the zoo's autoencoders are one net of two."""
    first, *rest = [part for part in key.split(".") if part not in PARALLEL] or [key]
    named = _net_name(first) or (first if first in ("encoder", "decoder") else "")
    return (named, ".".join(rest)) if named and not net and len(rest) > 1 else (net, ".".join([first, *rest]))


def _net_name(key: str) -> str:
    """The published name of a net that is called `state_dict_G`, `netG` or `netG_state_dict`; else ""."""
    for prefix in (PREFIX, "net"):
        if key.startswith(prefix) and key not in WRAPPERS:
            return PREFIX + key.removeprefix(prefix).removesuffix("_state_dict")
    return ""

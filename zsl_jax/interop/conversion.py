"""Tensors of published nets as trees of ours and back, and the widths that their shapes tell by the tables."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from zsl_jax.data.formats import tensors
from zsl_jax.errors import InputError
from zsl_jax.interop.published import DATA, Net

Tensors = Mapping[str, np.ndarray]
Sizes = Mapping[str, int]
NOTHING: Mapping[str, str] = {}


def to_ours(net: Net, found: Tensors, sizes: Sizes) -> dict[str, Any]:
    """Our parameter tree of a published net, by name of tensor, with the sizes of `widths`."""
    flat: dict[str, np.ndarray] = {}
    for layer in net.layers:
        ends = np.cumsum([width(sizes, of) for _, of in layer.columns])
        blocks = np.split(found[f"{layer.name}.weight"].T, ends[:-1])
        flat |= {path: np.array(block, order="C") for (path, _), block in zip(layer.columns, blocks, strict=True)}
        flat[layer.bias] = found[f"{layer.name}.bias"]
    return tensors.unflatten(flat)


def to_published(net: Net, tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Undoes `to_ours`; idle layers are zeros, unless their size is unknown."""
    flat = tensors.flatten(tree)
    made: dict[str, np.ndarray] = {}
    for layer in net.layers:
        kernel = np.concatenate([flat[path] for path, _ in layer.columns])
        made |= {f"{layer.name}.weight": np.array(kernel.T, order="C"), f"{layer.name}.bias": flat[layer.bias]}
    sizes, _ = widths(axes(net, made), {})
    for layer in net.idle:
        if {*names(layer.rows), *names(layer.width)} <= set(sizes):
            shape = width(sizes, layer.rows), width(sizes, layer.width)
            made |= {
                f"{layer.name}.weight": np.zeros(shape, np.float32),
                f"{layer.name}.bias": np.zeros(shape[:1], np.float32),
            }
    return made


def names(of: str) -> list[str]:
    """The widths in a sum."""
    return of.replace("=", "").split("+")


def width(sizes: Sizes, of: str) -> int:
    """A sum of widths; a name that is a number is that number."""
    return sum(int(name) if name.isdecimal() else sizes[name] for name in names(of))


# What the shapes of an archive say.


class Axis(NamedTuple):
    """An axis of a tensor: `where` names both; `found` is its length, `of` the sum that it is."""

    where: str
    found: int
    of: str


def axes(net: Net, found: Tensors, where: str = "", stage: str = "") -> list[Axis]:
    """The axes of a net's tensors, in the table's order.

    Args:
      net: how it is published.
      found: its tensors.
      where: stands before their names in messages.
      stage: stands before the names of widths, but for those of the data.

    Raises:
      InputError: a tensor is missing, unknown, of another rank or type, or has entries that are not finite.
    """
    layers = [*net.layers, *(layer for layer in net.idle if f"{layer.name}.weight" in found)]
    known = {f"{layer.name}.{part}" for layer in layers for part in ("weight", "bias")}
    if unknown := sorted(set(found) - known):
        there = ", ".join(layer.name for layer in net.layers)
        raise InputError(f"{where}{unknown[0]}: no tensor of this net, which has the layers {there}")
    made = []
    for layer in layers:
        weight, bias = (
            _tensor(found, f"{layer.name}.{part}", rank, where) for part, rank in (("weight", 2), ("bias", 1))
        )
        rows, columns = scoped(layer.rows, stage), scoped(layer.width, stage)
        name = f"{where}{layer.name}"
        made.append(Axis(f"{name}.weight: {weight.shape[0]} rows", weight.shape[0], rows))
        made.append(Axis(f"{name}.weight: {weight.shape[1]} columns", weight.shape[1], columns))
        made.append(Axis(f"{name}.bias: {bias.shape[0]} entries", bias.shape[0], rows.replace("=", "")))
    return made


def told_by(net: Net, tree: Mapping[str, Any], stage: str) -> dict[str, int]:
    """The widths that our tree of a net shows, in which each input is by itself."""
    flat = tensors.flatten(tree)
    columns = [(path, scoped(of, stage).replace("=", "")) for layer in net.layers for path, of in layer.columns]
    return {of: len(flat[path]) for path, of in columns if "+" not in of}


def scoped(of: str, stage: str) -> str:
    """A sum with the stage's name before widths, but for those of the data."""
    return re.sub(r"[a-z]\w*", lambda name: name[0] if not stage or name[0] in DATA else f"{stage}.{name[0]}", of)


def _tensor(found: Tensors, name: str, rank: int, where: str) -> np.ndarray:
    if name not in found:
        raise InputError(f"{where}{name} is missing")
    tensor = found[name]
    if tensor.ndim != rank or tensor.dtype != np.float32 or not tensor.size:
        what = f"{tensor.dtype.name}{list(tensor.shape)}"
        raise InputError(f"{where}{name}: {what}, but float32 with {rank} axes and at least one entry is needed")
    if not np.isfinite(tensor).all():
        raise InputError(f"{where}{name}: {np.count_nonzero(~np.isfinite(tensor))} entries are NaN or infinite")
    return tensor


def widths(
    given: Sequence[Axis], known: Sizes, alike: Mapping[str, str] = NOTHING
) -> tuple[dict[str, int], dict[str, str]]:
    """All widths, each read where the table says "="; and which of them were taken to be as wide as which others.

    Args:
      given: axes of all nets.
      known: widths that were told.
      alike: what is taken to be as wide as something else, where an axis leaves several widths open.

    Raises:
      InputError: an axis is of another length than the widths make.
    """
    sizes, taken = dict(known), {}
    told = [axis for axis in given if "=" in axis.of]
    for axis in told:
        if "+" not in axis.of:
            sizes.setdefault(axis.of[1:], axis.found)
    for axis in sorted(told, key=lambda axis: len(_open(names(axis.of), sizes))):
        left = _open(names(axis.of), sizes)
        likes = {name: alike[name] for name in left if name in alike and len(left) > 1}
        terms = [likes.get(name, name) for name in names(axis.of)]
        if len(left := _open(terms, sizes)) == 1 and f"={left[0]}" in axis.of.split("+"):
            rest = axis.found - width({**sizes, left[0]: 0}, "+".join(terms))
            if rest <= 0 or rest % terms.count(left[0]):
                raise _misfit(axis, sizes, "which {} cannot make", taken | likes)
            sizes[left[0]] = rest // terms.count(left[0])
        taken |= {name: like for name, like in likes.items() if like in sizes}
        sizes |= {name: sizes[like] for name, like in likes.items() if like in sizes}
    for axis in given:
        if not _open(names(axis.of), sizes) and axis.found != width(sizes, axis.of):
            raise _misfit(axis, sizes, f"but {width(sizes, axis.of)} are needed ({{}})", taken)
    return sizes, taken


def _open(terms: Sequence[str], sizes: Sizes) -> list[str]:
    """The widths that are not known yet."""
    return [name for name in dict.fromkeys(terms) if name not in sizes and not name.isdecimal()]


def _misfit(axis: Axis, sizes: Sizes, what: str, taken: Mapping[str, str]) -> InputError:
    terms = " + ".join(f"{name} {sizes[name]}" if name in sizes else name for name in names(axis.of))
    more = "".join(f", with {name} taken to be as wide as {like}, as published" for name, like in taken.items())
    if taken:
        field = next((name for name in taken if "." in name), f"{next(iter(taken.values())).partition('.')[0]}.z_dim")
        more += f"; give what is known by --set {field}=WIDTH"
    return InputError(f"{axis.where}, {what.format(terms)}{more}")

"""Recorded PyTorch weights in the layout of our nets."""

from typing import Any

import numpy as np

from zsl_jax.interop import conversion, published

Layout = dict[str, published.Net]


def layout(options: dict[str, Any], *stages: str) -> Layout:
    """Nets of diffusion systems by recorded name (netG is what archives have as state_dict_G); later stages win."""
    options = {"use_r": True, "embed_type": options["embed_type"], "train_s2v": True}
    nets = [net for stage in stages for net in published.LAYOUTS[stage](options).values()]
    return {net.keys[0].replace("state_dict_", "net"): net for net in nets}


def tree(net: published.Net, tensors: dict[str, np.ndarray], sizes: dict[str, int]) -> dict[str, Any]:
    """Our parameter tree of one recorded net; `tensors` by state_dict key, `sizes` those that its shapes leave open."""
    return conversion.to_ours(net, tensors, conversion.widths(conversion.axes(net, tensors), sizes)[0])


def tensors_of(arrays: dict[str, np.ndarray], start: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `start`, by the rest of their names."""
    return {key[len(start) :]: value for key, value in arrays.items() if key.startswith(start)}


def nets(layout: Layout, names: dict[str, str], arrays: dict[str, np.ndarray], prefix: str, sizes: dict[str, int]):
    """Parameter trees {ours: tree} of the recorded nets {ours: theirs} below `prefix`."""
    found = {ours: tensors_of(arrays, f"{prefix}/{theirs}.") for ours, theirs in names.items()}
    return {ours: tree(layout[names[ours]], tensors, sizes) for ours, tensors in found.items()}

"""Recorded PyTorch weights in the layout of our nets."""

from typing import Any

import numpy as np

from zsl_jax.interop import published

OPTIONS = {"use_r": True, "embed_type": "VA", "train_s2v": True}
# Recorded names of the diffusion systems' nets: netG is what archives have as state_dict_G.
NETS = {
    net.keys[0].replace("state_dict_", "net"): net
    for stage in ("drg", "d2sc_drg", "dfg", "d2sc_dfg")
    for net in published.LAYOUTS[stage](OPTIONS).values()
}


def tree(net: published.Net, tensors: dict[str, np.ndarray], sizes: dict[str, int]) -> dict[str, Any]:
    """Our parameter tree of one recorded net; `tensors` by state_dict key, `sizes` those that its shapes leave open."""
    return published.to_ours(net, tensors, published.solve(published.equations(net, tensors, ""), sizes))


def net(name: str, tensors: dict[str, np.ndarray], sizes: dict[str, int]) -> dict[str, Any]:
    """Our parameter tree of one recorded net of a diffusion system."""
    return tree(NETS[name], tensors, sizes)


def tensors_of(arrays: dict[str, np.ndarray], start: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `start`, by the rest of their names."""
    return {key[len(start) :]: value for key, value in arrays.items() if key.startswith(start)}


def nets(names: dict[str, str], arrays: dict[str, np.ndarray], prefix: str, sizes: dict[str, int]) -> dict:
    """Parameter trees {ours: tree} of the recorded nets {ours: theirs} below `prefix`."""
    return {ours: net(theirs, tensors_of(arrays, f"{prefix}/{theirs}."), sizes) for ours, theirs in names.items()}

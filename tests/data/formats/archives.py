"""State dicts of published nets with random weights, of any sizes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zsl_jax.interop import conversion, published

SIZES = {
    "x": 10, "r": 6, "a": 4, "z_dim": 3, "time_dim": 4, "embed_dim": 4, "generator_width": 8, "critic_width": 7,
    "decoder_width": 9, "encoder_width": 5, "categories": 2, "continuous": 3, "classes": 12,
}  # fmt: skip
OPTIONS = {"use_r": True, "embed_type": "VA", "train_s2v": False, "objective": "wgan", "meant": False}


def state_dict(net: published.Net, sizes: Mapping[str, int] = SIZES, seed: int = 0) -> dict[str, np.ndarray]:
    """Tensors of one net by name; layers that it never uses among them."""
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in (*net.layers, *net.idle):
        rows, columns = conversion.width(sizes, layer.rows), conversion.width(sizes, layer.width)
        tensors[f"{layer.name}.weight"] = random.normal(size=(rows, columns)).astype(np.float32)
        tensors[f"{layer.name}.bias"] = random.normal(size=rows).astype(np.float32)
    return tensors


def stage(name: str, nets: tuple[str, ...] = (), options: Mapping[str, Any] = OPTIONS, **sizes: int) -> dict[str, Any]:
    """The nets of a stage by key, all or those of our names."""
    layout = published.LAYOUTS[name](options)
    wanted = {ours: net for ours, net in layout.items() if not nets or ours in nets}
    return {net.keys[0]: state_dict(net, SIZES | sizes, seed) for seed, net in enumerate(wanted.values())}


def drg(**sizes: int) -> dict[str, Any]:
    """As ZeroDiff saves its first stage."""
    return stage("drg", ("generator",), OPTIONS, **sizes)


def dfg(**sizes: int) -> dict[str, Any]:
    """As ZeroDiff saves its second stage."""
    return stage("dfg", ("generator", "decoder", "x0", "xt", "xc"), OPTIONS, **sizes)

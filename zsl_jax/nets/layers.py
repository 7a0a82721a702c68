"""Layers shared by the nets: initialisation, timestep embeddings and a dense layer over several inputs."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

MAX_PERIOD = 10_000.0
LEAKY_SLOPE = 0.2
WEIGHT_DEVIATION = 0.02

published_init = nn.initializers.normal(WEIGHT_DEVIATION)


def draw_published(key: jax.Array, shapes: Any) -> Any:
    """Draws parameters for a tree of shapes, as published: weights N(0, 0.02), biases 0.

    One draw for all weights: compiling a generator for each of some fifty kernels would take longer than training
    a small model.

    Args:
      key: PRNG key.
      shapes: tree of `jax.ShapeDtypeStruct`, as `jax.eval_shape(module.init, ...)` returns.
    """
    leaves, structure = jax.tree.flatten(shapes)
    sizes = [math.prod(leaf.shape) if len(leaf.shape) > 1 else 0 for leaf in leaves]
    parts = jnp.split(WEIGHT_DEVIATION * jax.random.normal(key, (sum(sizes),)), np.cumsum(sizes)[:-1])
    drawn = [
        part.reshape(leaf.shape) if size else jnp.zeros(leaf.shape)
        for part, leaf, size in zip(parts, leaves, sizes, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)


def init_published(key: jax.Array, nets: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Draws parameters of nets by name, as `draw_published`; `nets` has each with rows it may see: (net, *inputs)."""
    shapes = {name: jax.eval_shape(net.init, jax.random.key(0), *rows) for name, (net, *rows) in nets.items()}
    return draw_published(key, {name: variables["params"] for name, variables in shapes.items()})


def apply(net: nn.Module, params: Any, *inputs: Any, method: Any = None) -> Any:
    """What a module makes of its inputs with the given parameters; no other collections take part."""
    return net.apply({"params": params}, *inputs, method=method)


def leaky_relu(x: jax.Array) -> jax.Array:
    """Leaky ReLU with the slope that every published net uses."""
    return jnp.where(x > 0, x, LEAKY_SLOPE * x)


def dense(features: int, name: str | None = None, use_bias: bool = True) -> nn.Dense:
    """A dense layer with weights N(0, 0.02) and zero bias, as published."""
    return nn.Dense(features, use_bias=use_bias, kernel_init=published_init, name=name)


def timestep_embedding(t: np.ndarray, dim: int) -> np.ndarray:
    """Sinusoidal embedding, cosines first: t [n] (may be fractional) -> [n, dim] float32; an odd last column is zero.

    Source: Ho et al. 2020, after Vaswani et al. 2017.
    """
    half = dim // 2
    exponents = -np.float32(np.log(MAX_PERIOD)) * np.arange(half, dtype=np.float32)
    # Rounded once, from float64: at t = 999 one unit in the last place of a frequency moves the cosine by 6e-5.
    frequencies = np.exp((exponents / np.float32(max(half, 1))).astype(np.float64)).astype(np.float32)
    angles = t.astype(np.float32)[:, None] * frequencies[None, :]
    return np.concatenate([np.cos(angles), np.sin(angles), np.zeros((len(t), dim % 2), np.float32)], axis=1)


class Embedding(nn.Module):
    """Dense-SiLU-Dense: [..., K] -> [..., features]."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return dense(self.features, "out")(nn.silu(dense(self.features, "hidden")(x)))


class TimeEmbedding(nn.Module):
    """Learned embedding of a diffusion step: t [..., B] in 0..n_steps-1 -> [..., B, features].

    Embeds the n_steps sinusoids once and picks rows, instead of embedding every row of a batch.
    """

    n_steps: int
    dim: int
    features: int

    @nn.compact
    def __call__(self, t: jax.Array) -> jax.Array:
        table = jnp.asarray(timestep_embedding(np.arange(self.n_steps), self.dim))
        return Embedding(self.features, name="mlp")(table)[t]


class SplitDense(nn.Module):
    """A dense layer on the concatenation of named inputs [..., K_i] -> [..., features], one kernel for each input.

    The same function as concatenating first; but gradients flow into the inputs that need them only, and no
    concatenated copy of a wide input is made.
    """

    features: int

    @nn.compact
    def __call__(self, inputs: Mapping[str, jax.Array]) -> jax.Array:
        out = self.param("bias", nn.initializers.zeros, (self.features,))
        out = out[(None,) * (next(iter(inputs.values())).ndim - 1)]
        for name, value in inputs.items():
            kernel = self.param(name, published_init, (value.shape[-1], self.features))
            out = out + value @ kernel
        return out

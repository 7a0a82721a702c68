"""Small perceptrons that turn raw features into rectified embeddings."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class RectifiedMLP(nn.Module):
    """Dense-ReLU layers [B, D] -> [B, widths[-1]]; the output is non-negative, about half zeros."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for depth, width in enumerate(self.widths):
            x = nn.relu(nn.Dense(width, kernel_init=nn.initializers.he_normal(), name=f"layer{depth}")(x))
        return x


class Projector(nn.Module):
    """Dense-ReLU-Dense onto the unit sphere, [B, W] -> [B, dim]: where samples are contrasted."""

    dim: int

    @nn.compact
    def __call__(self, embedding: jax.Array) -> jax.Array:
        hidden = nn.relu(nn.Dense(embedding.shape[-1], kernel_init=nn.initializers.he_normal())(embedding))
        return unit_rows(nn.Dense(self.dim)(hidden))


def unit_rows(x: jax.Array) -> jax.Array:
    """Divides each row of [B, E] by its Euclidean length; a zero row stays zero, with a finite gradient."""
    return x * jax.lax.rsqrt(jnp.maximum((x**2).sum(axis=-1, keepdims=True), 1e-24))

"""The critics of the zoo's adversarial objectives, and InfoGAN's net that reads codes.

Widths as published (Zero-shot-Generative-Models): 4096 hidden units everywhere. The generator is
`zsl_jax.nets.autoencoders.RectifiedPerceptron` of a and z.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from zsl_jax.nets.layers import LEAKY_SLOPE, dense, leaky_relu


class Comparison(NamedTuple):
    """Outputs of K rows [B, K, out] and at a point between two of them [B, out]; gradients there [B, D]."""

    outputs: jax.Array
    middle: jax.Array
    gradients: jax.Array


class Critic(nn.Module):
    """[x, a] -> Dense-lrelu-Dense: a score, or what an autoencoder critic makes of [x, a].

    Attributes:
      width: hidden units.
      out: 1, or D + A.
    """

    width: int
    out: int = 1

    def setup(self):
        self.x = dense(self.width, use_bias=False)
        self.a = dense(self.width)
        self.score = dense(self.out)

    def __call__(self, x: jax.Array, a: jax.Array) -> jax.Array:
        """x [..., D], a [..., A] -> [..., out]."""
        return self.score(leaky_relu(self.x(x) + self.a(a)))

    def compare(self, x: jax.Array, a: jax.Array, noise: jax.Array, alpha: jax.Array) -> Comparison:
        """All that a critic update needs, in one pass.

        The middle is alpha * first + (1 - alpha) * last row, with semantics a. The first layer is linear, so its hidden
        inputs are interpolated instead; and the gradient of the outputs' sum is known in closed form, so a penalty on
        it needs no second differentiation.

        Args:
          x: rows [B, K, D]. a: their semantics [B, A]. noise: what is added to these [B, K, A]. alpha: [B, 1].
        """
        first, given, last = (layer.variables["params"] for layer in (self.x, self.a, self.score))
        rows, shared = x @ first["kernel"], a @ given["kernel"]
        inputs = add_bias(rows + shared[:, None] + noise @ given["kernel"], given["bias"])
        middle = alpha * rows[:, 0] + (1 - alpha) * rows[:, -1] + shared + given["bias"][None, :]
        slopes = jnp.where(middle > 0, 1.0, LEAKY_SLOPE)
        gradients = (slopes * jnp.sum(last["kernel"], axis=1)[None, :]) @ first["kernel"].T
        outputs = add_bias(leaky_relu(inputs) @ last["kernel"], last["bias"])
        return Comparison(outputs, self.score(leaky_relu(middle)), gradients)


def add_bias(values: jax.Array, bias: jax.Array) -> jax.Array:
    """values [B, K, H] + bias [H], whose gradient is summed over B for each of the K first.

    What cancels between real and generated rows then leaves nothing, as in the published programs, which score them one
    after the other. Residues of rounding would become full steps of Adam.
    """
    each = jnp.broadcast_to(bias[None, :], (values.shape[1], len(bias)))
    return values + jax.lax.optimization_barrier(each)[None]


class CodeReader(nn.Module):
    """InfoGAN's Q(c | x): x -> Dense-relu-Dense -> logits of the category, then the continuous code.

    Attributes:
      width: hidden units.
      categories, continuous: sizes of both codes.
    """

    width: int
    categories: int
    continuous: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """x [..., D] -> [..., categories] and [..., continuous]."""
        codes = dense(self.categories + self.continuous, "out")(nn.relu(dense(self.width, "hidden")(x)))
        return codes[..., : self.categories], codes[..., self.categories :]

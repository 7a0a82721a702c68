"""The networks of the zoo's autoencoders: two-layer perceptrons, and encoders with a mean and a log-variance.

Widths as published (Zero-shot-Generative-Models): 4096 hidden units everywhere.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax

from zsl_jax.nets.layers import SplitDense, dense, leaky_relu


class RectifiedPerceptron(nn.Module):
    """Named inputs -> Dense-lrelu-Dense-relu: features from semantics and noise, semantics from features.

    Attributes:
      width: hidden units.
      out: width of the output, which is not negative.
    """

    width: int
    out: int

    @nn.compact
    def __call__(self, inputs: Mapping[str, jax.Array]) -> jax.Array:
        """Arrays [..., K_i] by name -> [..., out]."""
        hidden = leaky_relu(SplitDense(self.width, name="hidden")(inputs))
        return nn.relu(dense(self.out, "out")(hidden))


class GaussianEncoder(nn.Module):
    """Named inputs -> Dense-lrelu -> mean and log-variance of a latent vector.

    Attributes:
      width: hidden units.
      latent_dim: width L of the latent vector.
    """

    width: int
    latent_dim: int

    @nn.compact
    def __call__(self, inputs: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Arrays [..., K_i] by name -> two arrays [..., L]."""
        hidden = leaky_relu(SplitDense(self.width, name="hidden")(inputs))
        return dense(self.latent_dim, "mean")(hidden), dense(self.latent_dim, "log_variance")(hidden)

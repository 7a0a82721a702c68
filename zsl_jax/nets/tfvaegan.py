"""The networks of TF-VAEGAN (Narayan et al., ECCV 2020) that ZeroDiff has not: a generator that takes feedback, and F.

Encoder, critic and V2S decoder are those of `zsl_jax.nets.zerodiff`. Widths as published: 4096 hidden units everywhere.
"""

import flax.linen as nn
import jax

from zsl_jax.nets.layers import SplitDense, dense, leaky_relu


class Generator(nn.Module):
    """[z, a] -> Dense-lrelu (+ feedback) -Dense-sigmoid, in two halves: feedback enters between them.

    Attributes:
      width: hidden units.
      out: width of what is generated.
    """

    width: int
    out: int

    def setup(self):
        self.first = SplitDense(self.width)
        self.last = dense(self.out)

    def __call__(self, z: jax.Array, a: jax.Array) -> jax.Array:
        """One pass without feedback: z [..., Z], a [..., A] -> [..., out] in 0..1."""
        return self.finish(self.begin(z, a))

    def begin(self, z: jax.Array, a: jax.Array) -> jax.Array:
        """The hidden layer [..., width], which all passes share; leading axes of z that a lacks share a's product."""
        return leaky_relu(self.first({"z": z, "a": a}))

    def finish(self, hidden: jax.Array) -> jax.Array:
        """What is generated [..., out] from a hidden layer [..., width], with or without feedback added to it."""
        return nn.sigmoid(self.last(hidden))


class Feedback(nn.Module):
    """F: hidden layer of V2S -> Dense-lrelu-Dense-lrelu, as wide as the generator's hidden layer.

    Source: section 3.2; published, both hidden layers have one width.
    """

    width: int

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        """hidden [..., W] -> [..., width]."""
        return leaky_relu(dense(self.width, "out")(leaky_relu(dense(self.width, "hidden")(hidden))))

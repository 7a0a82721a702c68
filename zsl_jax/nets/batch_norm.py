"""Batch normalisation as torch computes it, so that nets trained there can be read (Ioffe and Szegedy, ICML 2015)."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
    """y = scale (x - mean) / sqrt(variance + epsilon) + bias, over all axes but the last; x [..., F] -> y [..., F].

    In training, mean and (biased) variance are the batch's, and the running ones in the collection "stats" move by
    `momentum` towards the batch's mean and unbiased variance; else the running ones are taken. (Linen's own layer moves
    the running variance towards the biased one, which drifts from torch's.) Statistics are float32; y has x's dtype.

    Attributes:
      momentum: of the running statistics, torch's 0.1.
      epsilon: added to the variance.
      axis_name: named axis over which a batch is split, see `zsl_jax.train_steps.mapped`; None: x is the whole batch.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        width = x.shape[-1:]
        running_mean = self.variable("stats", "mean", jnp.zeros, width)
        running_variance = self.variable("stats", "variance", jnp.ones, width)
        rows = x.astype(jnp.float32).reshape(-1, *width)
        mean, variance = running_mean.value, running_variance.value
        if train:
            mean = self._over_devices(rows.mean(0))
            variance = self._over_devices(jnp.square(rows - mean[None, :]).mean(0))
            if not self.is_initializing():
                count = len(rows) * (1 if self.axis_name is None else jax.lax.axis_size(self.axis_name))
                unbiased = variance * (count / max(count - 1, 1))
                running_mean.value += self.momentum * (mean - running_mean.value)
                running_variance.value += self.momentum * (unbiased - running_variance.value)
        scale = self.param("scale", nn.initializers.ones, width)
        bias = self.param("bias", nn.initializers.zeros, width)
        scale *= jax.lax.rsqrt(variance + self.epsilon)
        return ((rows - mean[None, :]) * scale[None, :] + bias[None, :]).astype(x.dtype).reshape(x.shape)

    def _over_devices(self, mean: jax.Array) -> jax.Array:
        return mean if self.axis_name is None else jax.lax.pmean(mean, self.axis_name)

"""The networks of ZeroDiff (ICLR 2025), both stages: generators, encoder, critics and the V2S decoder.

Widths as published: 4096 hidden units everywhere, x and r 2048, embeddings as wide as the semantics.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from zsl_jax.nets.layers import LEAKY_SLOPE, Embedding, SplitDense, TimeEmbedding, dense, leaky_relu

NORM_EPSILON = 1e-12


class Generator(nn.Module):
    """[z, a, (emb(r)), noisy input, e(t)] -> Dense-lrelu-Dense-sigmoid; R without `r`, G with it.

    Attributes:
      width: hidden units.
      out: width of what is generated.
      n_steps, time_dim, embed_dim: diffusion steps, width of the sinusoids, width of both embeddings.
    """

    width: int
    out: int
    n_steps: int
    time_dim: int
    embed_dim: int

    @nn.compact
    def __call__(
        self, z: jax.Array, a: jax.Array, noisy: jax.Array, t: jax.Array, r: jax.Array | None = None
    ) -> jax.Array:
        """z [..., Z], a [..., A], noisy [..., out], t [...] int, r [..., R] -> [..., out] in 0..1."""
        inputs = {"z": z, "a": a, "noisy": noisy}
        if r is not None:
            inputs["r"] = Embedding(self.embed_dim, name="embed_r")(r)
        inputs["t"] = TimeEmbedding(self.n_steps, self.time_dim, self.embed_dim, name="embed_t")(t)
        hidden = leaky_relu(SplitDense(self.width, name="hidden")(inputs))
        return nn.sigmoid(dense(self.out, "out")(hidden))


class Encoder(nn.Module):
    """[x, a] ("VA") or x alone ("V") -> mean and log-variance of the latent noise."""

    width: int
    z_dim: int
    embed_type: str = "VA"

    @nn.compact
    def __call__(self, x: jax.Array, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        """x [..., D], a [..., A] -> two arrays [..., Z]."""
        inputs = {"x": x, "a": a} if self.embed_type == "VA" else {"x": x}
        hidden = leaky_relu(SplitDense(self.width, name="hidden1")(inputs))
        hidden = leaky_relu(dense(2 * self.z_dim, "hidden2")(hidden))
        mean = dense(self.z_dim, "mean")(hidden)
        return mean, dense(self.z_dim, "log_variance")(hidden)


class Scores(NamedTuple):
    """Critic scores of real and fake rows [B] and input-gradient norms at their interpolation [B]."""

    real: jax.Array
    fake: jax.Array
    gradient_norms: jax.Array


class Conditions(nn.Module):
    """What a critic sees beside its first argument: any of x_{t+1}, a, emb(r), e(t); a part of its hidden layer."""

    width: int
    n_steps: int
    time_dim: int
    embed_dim: int

    @nn.compact
    def __call__(self, given: dict[str, jax.Array]) -> jax.Array:
        """Any of "next" [B, D], "a" [B, A], "r" [B, R], "t" [B] int -> [B, width]."""
        inputs = dict(given)
        if "r" in given:
            inputs["r"] = Embedding(self.embed_dim, name="embed_r")(given["r"])
        if "t" in given:
            inputs["t"] = TimeEmbedding(self.n_steps, self.time_dim, self.embed_dim, name="embed_t")(given["t"])
        return SplitDense(self.width, name="hidden")(inputs)


class Critic(nn.Module):
    """WGAN critic of one array under conditions: Dense-lrelu-Dense 1. Which one it is follows from its conditions.

    x0: {"a"}; xt: {"next", "a", "r", "t"}; xc: {"r"}; r0: {"a"}; rt: {"next", "a", "t"}.
    """

    width: int
    n_steps: int
    time_dim: int
    embed_dim: int

    def setup(self):
        self.x = dense(self.width, use_bias=False)
        self.conditions = Conditions(self.width, self.n_steps, self.time_dim, self.embed_dim)
        self.score = dense(1)

    def __call__(self, x: jax.Array, given: dict[str, jax.Array]) -> jax.Array:
        """Scores [B] of rows x [B, D] under conditions `given`."""
        return self.score(leaky_relu(self.x(x) + self.conditions(given)))[..., 0]

    def compare(self, real: jax.Array, fake: jax.Array, alpha: jax.Array, given: dict[str, jax.Array]) -> Scores:
        """All that a critic update needs, in one pass: real and fake [B, D], alpha [B, 1].

        The first layer is linear, so the hidden inputs at alpha real + (1 - alpha) fake are the interpolation of the
        two hidden inputs; and the score's gradient with respect to x is known in closed form, so the penalty
        needs no second differentiation. The last bias has no effect on any loss of real minus fake: its gradient is
        stopped, since rounding residues would become full steps of Adam.
        """
        conditions = self.conditions(given)
        first, last = (layer.variables["params"] for layer in (self.x, self.score))
        bias = jax.lax.stop_gradient(last["bias"])
        scores = compare_rows(first["kernel"], last["kernel"][:, 0], conditions, real, fake, alpha)
        return Scores(scores.real + bias, scores.fake + bias, scores.gradient_norms)


@jax.custom_vjp
def compare_rows(
    first: jax.Array, last: jax.Array, conditions: jax.Array, real: jax.Array, fake: jax.Array, alpha: jax.Array
) -> Scores:
    """Scores of a two-layer critic without its last bias, and its input-gradient norms between real and fake rows.

    Differentiated by hand: real rows, fake rows and the penalty share one product for the gradient of the first
    kernel, by far the largest array of a step, so that it is written once. Rows and alpha are constants.

    Args:
      first: kernel [D, H] of the rows. last: kernel [H] of the score.
      conditions: hidden inputs that come from elsewhere [B, H]. real, fake: [B, D]. alpha: [B, 1].
    """
    return _compare_rows(first, last, conditions, real, fake, alpha)[0]


def _compare_rows(first, last, conditions, real, fake, alpha):
    rows = jnp.concatenate([real, fake])
    inputs = rows @ first + jnp.concatenate([conditions, conditions])
    real_inputs, fake_inputs = jnp.split(inputs, 2)
    real_scores, fake_scores = jnp.split(leaky_relu(inputs) @ last, 2)
    middle = _slopes(alpha * real_inputs + (1 - alpha) * fake_inputs)
    gradients = (middle * last[None, :]) @ first.T
    # A norm of zero gets a gradient of zero instead of NaN.
    norms = jnp.sqrt(jnp.maximum(jnp.sum(gradients**2, axis=-1), NORM_EPSILON**2))
    return Scores(real_scores, fake_scores, norms), (first, last, rows, inputs, middle, gradients, norms)


def _compare_rows_backward(saved, cotangents: Scores):
    first, last, rows, inputs, middle, gradients, norms = saved
    scores = jnp.concatenate([cotangents.real, cotangents.fake])[:, None]
    by_inputs = scores * _slopes(inputs) * last[None, :]
    by_norms = jnp.where(norms > NORM_EPSILON, cotangents.gradient_norms / norms, 0.0)
    by_gradients = by_norms[:, None] * gradients
    by_last = jnp.sum(scores * leaky_relu(inputs), axis=0) + jnp.sum(middle * (by_gradients @ first), axis=0)
    by_first = jnp.concatenate([rows, by_gradients]).T @ jnp.concatenate([by_inputs, middle * last[None, :]])
    real, fake = jnp.split(by_inputs, 2)
    constant = jnp.zeros((len(real), rows.shape[1]), rows.dtype)
    return by_first, by_last, real + fake, constant, constant, jnp.zeros((len(real), 1), rows.dtype)


def _slopes(inputs: jax.Array) -> jax.Array:
    """Derivative of the leaky ReLU."""
    return jnp.where(inputs > 0, 1.0, LEAKY_SLOPE)


compare_rows.defvjp(_compare_rows, _compare_rows_backward)


class SemanticDecoder(nn.Module):
    """V2S: features (or representations) -> semantics; its hidden layer is a feature of its own.

    Attributes:
      width: hidden units.
      a_dim: semantics width A.
      normalize: L2-normalise the output, when the semantics are.
    """

    width: int
    a_dim: int
    normalize: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """x [..., D] -> semantics [..., A] and hidden layer [..., width]."""
        hidden = leaky_relu(dense(self.width, "hidden")(x))
        out = dense(self.a_dim, "out")(hidden)
        if self.normalize:
            # A row of zeros (a rectified row without one active entry, before biases move) stays zero, and its gradient
            # is zero too: divided by an epsilon, as published, it would be 1e12 times too large for Adam to forget.
            squares = jnp.sum(out**2, axis=-1, keepdims=True)
            positive = squares > NORM_EPSILON**2
            out = out * jnp.where(positive, jax.lax.rsqrt(jnp.where(positive, squares, 1.0)), 0.0)
        return out, hidden

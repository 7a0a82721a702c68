"""The generative-prototype classifier: class descriptions become prototypes, rows are compared with them by angle.

An MLP maps the semantics of each class to a prototype in feature space; the score of a class is 25 times the cosine
between row and prototype. As published with CramerGAN's tricks (zero-shot generative models, "classifier with class
norm"): Adam(5e-4, weight decay 1e-4 added to the gradient), rate divided by 10 every 25 epochs.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

SMALLEST_NORM = 1e-12
VARIANCE_EPSILON = 1e-8


@dataclasses.dataclass(frozen=True)
class Options:
    """How the classifier is trained, as published.

    lr, weight_decay: of Adam. hidden: units of both hidden layers. epochs, batch: of the fit. decay, decay_every: the
    rate is multiplied by `decay` every so many epochs. scale: of the cosine. class_norm: standardise hidden units over
    the classes (Skorokhodov and Elhoseiny, "Class normalization for (continual)? generalized zero-shot learning", 2021;
    in the published file but not used by its scripts).
    """

    lr: float = 5e-4
    weight_decay: float = 1e-4
    hidden: int = 1024
    epochs: int = 50
    batch: int = 256
    decay: float = 0.1
    decay_every: int = 25
    scale: float = 25.0
    class_norm: bool = False


class Layer(NamedTuple):
    """kernel [K, N] and bias [N]."""

    kernel: jax.Array
    bias: jax.Array


class Net(NamedTuple):
    """Semantics [C, A] -> Dense, ReLU -> Dense -> Dense, ReLU: prototypes [C, F]."""

    hidden1: Layer
    hidden2: Layer
    out: Layer


def init(key: jax.Array, a_dim: int, n_features: int, options: Options) -> Net:
    """Draws a net: weights N(0, 2 / K) for K inputs, biases 0."""
    widths = (a_dim, options.hidden, options.hidden, n_features)
    keys = jax.random.split(key, 3)
    draw = jax.nn.initializers.he_normal()
    return Net(*(Layer(draw(k, pair), jnp.zeros(pair[1])) for k, *pair in zip(keys, widths, widths[1:], strict=False)))


def apply(layer: Layer, rows: jax.Array) -> jax.Array:
    """Dense layer on rows [..., K]."""
    return rows @ layer.kernel + layer.bias[None, :]


def class_norm(units: jax.Array) -> jax.Array:
    """Hidden units [C, H] minus the classes' mean, divided by their unbiased variance (as published, not its root)."""
    return (units - units.mean(0)[None, :]) / (units.var(0, ddof=1)[None, :] + VARIANCE_EPSILON)


def prototypes(net: Net, semantics: jax.Array, normalised: bool) -> jax.Array:
    """Prototypes [C, F] of classes described by semantics [C, A].

    normalised: with class normalisation before and after an activation of the second layer, which else has none.
    """
    units = apply(net.hidden2, jax.nn.relu(apply(net.hidden1, semantics)))
    return jax.nn.relu(apply(net.out, class_norm(jax.nn.relu(class_norm(units))) if normalised else units))


def unit(rows: jax.Array) -> jax.Array:
    """Rows [n, F] of length 1; a row of zeros stays zero, with a gradient of zero."""
    squares = jnp.sum(rows**2, axis=-1, keepdims=True)
    positive = squares > SMALLEST_NORM**2
    return rows * jnp.where(positive, jax.lax.rsqrt(jnp.where(positive, squares, 1.0)), 0.0)


def scores(net: Net, semantics: jax.Array, features: jax.Array, options: Options) -> jax.Array:
    """Class scores [n, C] of features [n, F] for classes described by semantics [C, A]: scaled cosines."""
    made = prototypes(net, semantics, options.class_norm)
    return options.scale * unit(features) @ unit(made).T


def optimiser(options: Options, batches: int) -> optax.GradientTransformation:
    """Adam with weight decay in the gradient and a rate that falls in steps; `batches` minibatches are an epoch."""
    steps = optax.exponential_decay(-options.lr, options.decay_every * batches, options.decay, staircase=True)
    decay = optax.add_decayed_weights(options.weight_decay)
    return optax.chain(decay, optax.scale_by_adam(), optax.scale_by_schedule(steps))

"""Fine-tuning of raw features: a perceptron trained with cross-entropy, whose rectified last layer becomes `x`.

The published features are pooled outputs of a ResNet-101 that was tuned with cross-entropy on the seen classes
(ZeroDiff, ICLR 2025); this is the same idea where only ready-made features exist. Input features should be
standardised on the training rows: the input noise is in their units.
"""

from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from zsl_jax.errors import InputError
from zsl_jax.nets.layers import apply
from zsl_jax.nets.mlp import RectifiedMLP
from zsl_jax.train_steps.method import Batch, Entry, Method, Metrics, Numbers, Spec, TrainState, Trees, Views

OPTIMISERS = ("sgd", "adam")
NUMBERS = ("lr", "momentum", "weight_decay", "input_noise", "input_dropout", "embedding_dropout")


class ViewNoise(NamedTuple):
    """Draws for one view of a batch: normal `noise` [B, D]; uniform `dropout` [B, D], `embedding_dropout` [B, W]."""

    noise: jax.Array
    dropout: jax.Array
    embedding_dropout: jax.Array


class Nets(NamedTuple):
    """Modules of the cross-entropy perceptron: [B, D] -> encoder -> [B, W] -> head -> [B, C]; one of `OPTIMISERS`."""

    encoder: RectifiedMLP
    head: nn.Dense
    optimiser: str


def finetune_ce(config: Any, spec: Spec) -> Method:
    """Cross-entropy perceptron: features -> `hidden` layers -> `width` rectified units (the space 'x') -> classes.

    Args:
      config: its section `finetune_x` has hidden (tuple of widths before the embedding), width, optimiser ('sgd' |
        'adam'), lr, momentum (b1 for Adam), weight_decay, label_smoothing, input_noise (standard deviation),
        input_dropout and embedding_dropout (shares), batch_size.
      spec: x_dim and n_classes count; labels are classes of the whole data set, of which some may never occur.

    Returns:
      A method with `scores` (class logits) and `embed` for the space 'x'.

    Raises:
      InputError: for impossible sizes.
    """
    section = config.finetune_x
    check_section(section, "finetune_x", spec)
    nets = Nets(RectifiedMLP((*section.hidden, section.width)), nn.Dense(spec.n_classes), section.optimiser)
    return Method(
        name="finetune_ce",
        batches_per_step=1,
        init=lambda key, upstream, hyper, tables=None: init(nets, spec, hyper, key),
        train_step=lambda state, batches, key, tables=None: train_step(nets, state, batches, key),
        inference=lambda state: state.params,
        embed=lambda params, views, space: apply(nets.encoder, params["encoder"], views["x"]),
        spaces=("x",),
        scores=lambda params, views, tables=None: scores(nets, params, views),
        kind="view",
        produces="x",
        views=("x",),
    )


def draw_noise(key: jax.Array, batch: int, x_dim: int, width: int) -> ViewNoise:
    """Draws what one view of `batch` rows needs."""
    noise, dropout, embedding = jax.random.split(key, 3)
    return ViewNoise(
        noise=jax.random.normal(noise, (batch, x_dim)),
        dropout=jax.random.uniform(dropout, (batch, x_dim)),
        embedding_dropout=jax.random.uniform(embedding, (batch, width)),
    )


def drop(values: jax.Array, uniform: jax.Array, rate: jax.Array | float) -> jax.Array:
    """Zeroes entries whose uniform draw lies below `rate` and scales the others by 1 / (1 - rate)."""
    return jnp.where(uniform < rate, 0.0, values / (1.0 - rate))


def view(x: jax.Array, draws: ViewNoise, hyper: Numbers) -> jax.Array:
    """One random view of feature vectors [B, D]: Gaussian noise, then dropped entries."""
    return drop(x + hyper["input_noise"] * draws.noise, draws.dropout, hyper["input_dropout"])


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: jax.Array | float) -> jax.Array:
    """Mean cross-entropy of logits [B, C] against labels [B], with the share `smoothing` spread over all classes."""
    one_hot = jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype)
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(one_hot, smoothing)).mean()


def ce_loss(params: Trees, nets: Nets, batch: Batch, draws: ViewNoise, hyper: Numbers) -> tuple[jax.Array, jax.Array]:
    """Returns the loss of one view of a batch and its class logits [B, C]."""
    embedding = apply(nets.encoder, params["encoder"], view(batch.x, draws, hyper))
    dropped = drop(embedding, draws.embedding_dropout, hyper["embedding_dropout"])
    logits = apply(nets.head, params["head"], dropped)
    return cross_entropy(logits, batch.labels, hyper["label_smoothing"]), logits


def optimiser(name: str, hyper: Numbers) -> optax.GradientTransformation:
    """SGD with momentum (`sgd`: decay is added to the gradient) or Adam with decoupled weight decay (`adam`)."""
    if name == "adam":
        return optax.adamw(hyper["lr"], b1=hyper["momentum"], weight_decay=hyper["weight_decay"])
    decay = optax.add_decayed_weights(hyper["weight_decay"])
    return optax.chain(decay, optax.sgd(hyper["lr"], momentum=hyper["momentum"]))


def update_nets(
    tool: optax.GradientTransformation, grads: Trees, opt: dict[str, Any], params: Trees
) -> tuple[Trees, dict[str, Any]]:
    """One optimiser step of every net; returns (params, opt)."""
    with jax.numpy_dtype_promotion("standard"):  # optax raises Adam's decay rates to its int32 step counter
        pairs = {net: tool.update(grads[net], opt[net], params[net]) for net in grads}
    new = {net: optax.apply_updates(params[net], updates) for net, (updates, _) in pairs.items()}
    return new, {net: state for net, (_, state) in pairs.items()}


def step_metrics(loss: jax.Array, logits: jax.Array, labels: jax.Array, grads: Any) -> Metrics:
    """Loss, percentage of rows whose largest logit is the label's, Euclidean length of the whole gradient."""
    hits = logits.argmax(axis=1).astype(labels.dtype) == labels
    return {"loss": loss, "accuracy": 100 * hits.mean(dtype=jnp.float32), "grad_norm": optax.tree.norm(grads)}


def one_batch(batches: Batch) -> Batch:
    """Takes the only batch off the leading axis, after checking shapes."""
    chex.assert_shape(batches.labels, (1, *batches.x.shape[1:2]))
    return jax.tree.map(lambda rows: rows[0], batches)


def check_section(config: Any, section: str, spec: Spec) -> None:
    """Raises InputError when sizes, shares or the optimiser of a fine-tuning section make no sense."""
    if config.optimiser not in OPTIMISERS:
        raise InputError(f"{section}.optimiser is {config.optimiser!r}: use one of {', '.join(OPTIMISERS)}")
    sizes = [("width", config.width), ("batch_size", config.batch_size)]
    for name, size in [*sizes, *(("hidden", width) for width in config.hidden)]:
        if size < 1:
            raise InputError(f"{section}.{name} has the size {size}: use 1 or more")
    for name in ("input_dropout", "embedding_dropout"):
        if not 0.0 <= config[name] < 1.0:
            raise InputError(f"{section}.{name} is {config[name]}: use a share of at least 0 and below 1")
    if spec.x_dim < 1:
        raise InputError(f"{section} needs features, found a width of {spec.x_dim}")


def init(nets: Nets, spec: Spec, hyper: Numbers, key: jax.Array) -> TrainState:
    """Fresh parameters and optimiser states."""
    encoder, head = jax.random.split(key)
    params = {
        "encoder": nets.encoder.init(encoder, jnp.zeros((1, spec.x_dim)))["params"],
        "head": nets.head.init(head, jnp.zeros((1, nets.encoder.widths[-1])))["params"],
    }
    tool = optimiser(nets.optimiser, hyper)
    return TrainState(params, {net: tool.init(params[net]) for net in params}, {}, jax.tree.map(jnp.copy, hyper), {})


def train_step(nets: Nets, state: TrainState, batches: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
    """One update of encoder and head on one batch (leading axis 1)."""
    batch = one_batch(batches)
    draws = draw_noise(key, *batch.x.shape, width=nets.encoder.widths[-1])
    differentiate = jax.value_and_grad(ce_loss, has_aux=True)
    (loss, logits), grads = differentiate(state.params, nets, batch, draws, state.hyper)
    params, opt = update_nets(optimiser(nets.optimiser, state.hyper), grads, state.opt, state.params)
    return state._replace(params=params, opt=opt), step_metrics(loss, logits, batch.labels, grads)


def scores(nets: Nets, params: Trees, views: Views) -> jax.Array:
    """Class logits [n, C] of features without noise."""
    return apply(nets.head, params["head"], apply(nets.encoder, params["encoder"], views["x"]))


STAGES = {"finetune_x": Entry(finetune_ce, (*NUMBERS, "label_smoothing"), raw=True)}

"""Fine-tuning of raw features by parametric contrastive learning: the rectified embedding becomes `r`.

Two random views of each feature vector go through a query encoder and its moving average, the key encoder; their
projections and a queue of earlier keys are contrasted, and class centres score the query's embedding (PaCo, Cui et
al., ICCV 2021, on MoCo's queue and key encoder, He et al., CVPR 2020). Input features should be standardised.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from zsl_jax.errors import InputError
from zsl_jax.losses.paco import PacoWeights, empty_queue, enqueue, momentum_average, paco_loss
from zsl_jax.nets.layers import apply
from zsl_jax.nets.mlp import Projector, RectifiedMLP
from zsl_jax.train_steps import finetune
from zsl_jax.train_steps.finetune import ViewNoise
from zsl_jax.train_steps.method import Batch, Entry, Method, Metrics, Numbers, Spec, TrainState, Trees, Views

FOLLOWED = ("encoder", "projector")  # nets whose moving average makes the keys
NUMBERS = (
    *finetune.NUMBERS, "paco.alpha", "paco.beta", "paco.gamma", "paco.temperature", "paco.centre_temperature",
    "paco.momentum",
)  # fmt: skip
QUEUE = ("queue", "queue_labels", "queue_pointer")


class Nets(NamedTuple):
    """Modules: [B, D] -> encoder -> [B, W]; from there projector -> [B, dim] and centres -> [B, C]. Queue: its rows."""

    encoder: RectifiedMLP
    projector: Projector
    centres: nn.Dense
    optimiser: str
    queue: int


def finetune_paco(config: Any, spec: Spec) -> Method:
    """PaCo head: features -> `hidden` layers -> `width` rectified units (the space 'r') -> projection and centres.

    Args:
      config: its section `finetune_r` has the fields of `finetune_x` but label_smoothing, and a section `paco`: alpha,
        beta, gamma, temperature, centre_temperature, queue (rows, a multiple of batch_size, or 0), momentum (of the
        key encoder), dim (of the projection). Batches must hold batch_size rows when there is a queue.
      spec: x_dim and n_classes count; labels are classes of the whole data set, of which some may never occur.

    Returns:
      A method with `scores` (class centre logits) and `embed` for the space 'r'.

    Raises:
      InputError: for impossible sizes.
    """
    section = config.finetune_r
    finetune.check_section(section, "finetune_r", spec)
    _check_paco(section)
    encoder, centres = RectifiedMLP((*section.hidden, section.width)), nn.Dense(spec.n_classes)
    nets = Nets(encoder, Projector(section.paco.dim), centres, section.optimiser, section.paco.queue)
    return Method(
        name="finetune_paco",
        batches_per_step=1,
        init=lambda key, upstream, hyper, tables=None: init(nets, spec, hyper, key),
        train_step=lambda state, batches, key, tables=None: train_step(nets, state, batches, key),
        inference=lambda state: {net: state.params[net] for net in ("encoder", "centres")},
        embed=lambda params, views, space: apply(nets.encoder, params["encoder"], views["x"]),
        spaces=("r",),
        scores=lambda params, views, tables=None: scores(nets, params, views),
        kind="view",
        produces="r",
        views=("x",),
    )


def draw_noise(key: jax.Array, batch: int, x_dim: int, width: int) -> tuple[ViewNoise, ViewNoise]:
    """Draws what the two views of a batch need, of the query encoder and of the key encoder."""
    query, other = (finetune.draw_noise(view_key, batch, x_dim, width) for view_key in jax.random.split(key))
    return query, other


def query_loss(
    params: Trees, nets: Nets, batch: Batch, keys: jax.Array, draws: ViewNoise, state: TrainState
) -> tuple[jax.Array, jax.Array]:
    """PaCo loss of the query view against keys [B, dim] and the queue in `state`.

    Returns:
      The loss and the centre logits [B, C]. Only `params` get gradients.
    """
    hyper = state.hyper
    embedding = apply(nets.encoder, params["encoder"], finetune.view(batch.x, draws, hyper))
    queries = apply(nets.projector, params["projector"], embedding)
    dropped = finetune.drop(embedding, draws.embedding_dropout, hyper["embedding_dropout"])
    logits = apply(nets.centres, params["centres"], dropped)
    features = jnp.concatenate([queries, keys, state.extra["queue"]])
    labels = jnp.concatenate([batch.labels, batch.labels, state.extra["queue_labels"]])
    return paco_loss(features, labels, logits, loss_weights(hyper)), logits


def loss_weights(hyper: Numbers) -> PacoWeights:
    """The loss's numbers among the hyper-parameters; base temperature = temperature, so the loss is not rescaled."""
    own = {name: hyper[f"paco.{name}"] for name in PacoWeights._fields if name != "base_temperature"}
    return PacoWeights(base_temperature=hyper["paco.temperature"], **own)


def init(nets: Nets, spec: Spec, hyper: Numbers, key: jax.Array) -> TrainState:
    """Fresh parameters and optimiser states; the key encoder starts as a copy of the query encoder, the queue empty."""
    keys = jax.random.split(key, 3)
    embedding = jnp.zeros((1, nets.encoder.widths[-1]))
    params = {
        "encoder": nets.encoder.init(keys[0], jnp.zeros((1, spec.x_dim)))["params"],
        "projector": nets.projector.init(keys[1], embedding)["params"],
        "centres": nets.centres.init(keys[2], embedding)["params"],
    }
    tool = finetune.optimiser(nets.optimiser, hyper)
    followers = {f"key_{net}": jax.tree.map(jnp.copy, params[net]) for net in FOLLOWED}
    return TrainState(
        params={**params, **followers},
        opt={net: tool.init(params[net]) for net in params},
        frozen={},
        hyper=jax.tree.map(jnp.copy, hyper),
        extra=dict(zip(QUEUE, empty_queue(nets.queue, nets.projector.dim), strict=True)),
    )


def train_step(nets: Nets, state: TrainState, batches: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
    """One iteration on one batch (leading axis 1): key encoder, keys, loss, update, queue - in this order."""
    batch = finetune.one_batch(batches)
    query_draws, key_draws = draw_noise(key, *batch.x.shape, width=nets.encoder.widths[-1])
    params = {net: state.params[net] for net in state.opt}
    followers = {net: state.params[f"key_{net}"] for net in FOLLOWED}
    followers = momentum_average(followers, {net: params[net] for net in FOLLOWED}, state.hyper["paco.momentum"])
    embedding = apply(nets.encoder, followers["encoder"], finetune.view(batch.x, key_draws, state.hyper))
    keys = apply(nets.projector, followers["projector"], embedding)
    differentiate = jax.value_and_grad(query_loss, has_aux=True)
    (loss, logits), grads = differentiate(params, nets, batch, keys, query_draws, state)
    params, opt = finetune.update_nets(finetune.optimiser(nets.optimiser, state.hyper), grads, state.opt, params)
    queue, queue_labels, pointer = (state.extra[name] for name in QUEUE)
    queue = enqueue(queue, queue_labels, pointer, keys, batch.labels)
    state = state._replace(
        params={**params, **{f"key_{net}": followers[net] for net in FOLLOWED}},
        opt=opt,
        extra=dict(zip(QUEUE, queue, strict=True)),
    )
    return state, finetune.step_metrics(loss, logits, batch.labels, grads)


def scores(nets: Nets, params: Trees, views: Views) -> jax.Array:
    """Class centre logits [n, C] of features without noise."""
    return apply(nets.centres, params["centres"], apply(nets.encoder, params["encoder"], views["x"]))


def _check_paco(section: Any) -> None:
    """Raises InputError when the queue, the projection or a temperature makes no sense."""
    paco, batch = section.paco, section.batch_size
    if paco.queue < 0 or paco.queue % batch:
        raise InputError(
            f"finetune_r.paco.queue is {paco.queue}: use 0 or a multiple of finetune_r.batch_size ({batch})"
        )
    if paco.dim < 1:
        raise InputError(f"finetune_r.paco.dim is {paco.dim}: use 1 or more")
    for name in ("temperature", "centre_temperature"):
        if paco[name] <= 0:
            raise InputError(f"finetune_r.paco.{name} is {paco[name]}: use a number above 0")


STAGES = {"finetune_r": Entry(finetune_paco, NUMBERS, raw=True)}

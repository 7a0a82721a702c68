"""A linear softmax classifier of the seen classes, trained on real rows for the generators of later stages.

Frozen, it tells a generator whether its rows are recognised as their class (f-CLSWGAN, Xian et al. 2018, equation 4).
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from zsl_jax.errors import InputError
from zsl_jax.nets.layers import draw_published
from zsl_jax.train_steps import adversarial, mapped
from zsl_jax.train_steps.method import Batch, Entry, Method, Metrics, Numbers, Params, Spec, TrainState, Trees

NAME = "seen_classifier"  # of the stage
NEVER = -1e9  # logit of a class without training rows


def logits_of(classifier: Params, x: jax.Array) -> jax.Array:
    """Class logits [..., C] of rows x [..., D] by {"kernel" [D, C], "bias" [C]}."""
    flat = x.reshape(-1, x.shape[-1]) @ classifier["kernel"] + classifier["bias"][None, :]
    return flat.reshape(*x.shape[:-1], -1)


def negative_log_likelihood(classifier: Params, x: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over rows x [..., D] of -log softmax at labels [...]."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits_of(classifier, x), labels))


def among(classifier: Params, seen: jax.Array) -> Params:
    """The classifier among the classes that were seen [C] (0 or 1) alone: other classes never have a share."""
    return classifier | {"bias": jnp.where(seen > 0, classifier["bias"], NEVER)}


def train_step(
    state: TrainState, batches: Batch, key: jax.Array, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step on one batch (leading axis 1); nothing is drawn. `axis`: see `mapped`."""
    del key
    chex.assert_shape(batches.labels, (1, None))
    x, labels = batches.x[0], batches.labels[0]
    own = jnp.max(jax.nn.one_hot(labels, state.extra["seen"].shape[0]), axis=0)
    seen = jnp.maximum(state.extra["seen"], jnp.ceil(mapped.mean(own, axis)))

    def loss(trained: Trees) -> tuple[jax.Array, Metrics]:
        value = negative_log_likelihood(among(trained["classifier"], seen), x, labels)
        return value, {"loss": value}

    state, metrics = adversarial.minimise(state, loss, {"classifier": state.hyper["lr"]}, axis)
    return state._replace(extra={"seen": seen}), metrics


def init(spec: Spec, key: jax.Array, hyper: Numbers) -> TrainState:
    """Fresh weights; which classes have training rows is found out while training."""
    shapes = {"kernel": (spec.x_dim, spec.n_classes), "bias": (spec.n_classes,)}
    drawn = draw_published(key, {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()})
    return adversarial.fresh_state({"classifier": drawn}, {}, hyper, {"seen": jnp.zeros(spec.n_classes)})


def inference(state: TrainState) -> Trees:
    """The classifier among the classes that have training rows."""
    return {"classifier": among(state.params["classifier"], state.extra["seen"])}


def frozen_from(upstream: Trees) -> Trees:
    """The frozen nets of a later stage: {"classifier": ...} if an earlier one trained it, else none."""
    return {"classifier": upstream[NAME]["classifier"]} if NAME in upstream else {}


def require_classifier(config: Any, section: str) -> None:
    """Raises InputError when a section's `cls_weight` is above 0, but no earlier stage trains the classifier."""
    stages, weight = tuple(config.stages), config[section].cls_weight
    earlier = stages[: stages.index(section)] if section in stages else stages
    if weight > 0 and NAME not in earlier:
        raise InputError(
            f"config.{section}.cls_weight: {weight} needs the stage {NAME!r} before {section!r} in config.stages; "
            "add it, or set cls_weight to 0"
        )


def build(config: Any, spec: Spec) -> Method:
    """The classifier as a method; it takes nothing but `seen_classifier.lr` from the configuration."""
    del config
    return Method(
        name="seen classifier",
        batches_per_step=1,
        init=lambda key, upstream, hyper, tables=None: init(spec, key, hyper),
        **mapped.steps(train_step),
        inference=inference,
        scores=lambda params, views, tables=None: logits_of(params["classifier"], views["x"]),
        kind="auxiliary",
        views=("x",),
    )


STAGES = {NAME: Entry(build, ("lr",))}

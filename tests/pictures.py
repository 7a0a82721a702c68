"""A method of one's own on small pictures: convolution, batch normalisation, cosines with the classes' semantics.

It scores directly, keeps running statistics, and makes features of pictures for a stage after it.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from tests import linear
from zsl_jax.config import defaults
from zsl_jax.nets.batch_norm import BatchNorm
from zsl_jax.train_steps import registry, sampling
from zsl_jax.train_steps.method import Entry, Method, Spec, TrainState

BRIGHTEST = 16.0
SCALE = 10.0  # of cosines
CONFIG = """
from tests import pictures


def get_config():
    return pictures.tiny_run({arguments})
"""


class Net(nn.Module):
    """Pictures [B, H, W, 1] -> hidden features [B, F] and semantics [B, A], float32."""

    a_dim: int
    dtype: Any

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
        x = image.astype(self.dtype) / BRIGHTEST
        x = nn.relu(BatchNorm()(nn.Conv(8, (3, 3), use_bias=False, dtype=self.dtype)(x), train))
        x = nn.relu(BatchNorm()(nn.Conv(8, (3, 3), strides=2, use_bias=False, dtype=self.dtype)(x), train))
        hidden, dense = x.reshape(len(x), -1), nn.Dense(self.a_dim, dtype=self.dtype)
        return hidden.astype(jnp.float32), dense(hidden).astype(jnp.float32)


def unit(rows: jax.Array) -> jax.Array:
    return rows / (jnp.linalg.norm(rows, axis=-1, keepdims=True) + 1e-6)


def build(config: Any, spec: Spec, section: str = "pictures") -> Method:
    """The whole method; its options are a section of the configuration."""
    options = config[section]
    net = Net(spec.a_dim, jnp.dtype(options.compute_dtype))

    def init(key, upstream, hyper, tables):
        del upstream, tables
        made = net.init(key, jnp.zeros((1, *spec.views["image"])), train=False)
        momenta = jax.tree.map(jnp.zeros_like, made["params"])
        return TrainState({"net": made["params"]}, {"net": momenta}, {}, hyper, {}, {"net": made["stats"]})

    def train_step(state: TrainState, batches, key, tables):
        del key
        image, labels = batches.views["image"][0], batches.labels[0]

        def loss(params):
            variables = {"params": params, "stats": state.stats["net"]}
            (_, semantics), moved = net.apply(variables, image, train=True, mutable=["stats"])
            logits = SCALE * unit(semantics) @ unit(tables.semantics).T
            logits = jnp.where(tables.is_seen[None, :], logits, -1e9)
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels)), moved["stats"]

        (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(state.params["net"])
        momenta = jax.tree.map(lambda m, g: state.hyper["momentum"] * m + g, state.opt["net"], gradient)
        params = jax.tree.map(lambda p, m: p - state.hyper["lr"] * m, state.params["net"], momenta)
        return state._replace(params={"net": params}, opt={"net": momenta}, stats={"net": stats}), {"loss": value}

    def look(params, views) -> tuple[Any, Any]:
        variables = {"params": params["net"], "stats": params["stats"]["net"]}
        hidden, semantics = net.apply(variables, views["image"], train=False)
        return hidden, semantics

    return Method(
        name="pictures",
        batches_per_step=1,
        init=init,
        train_step=train_step,
        inference=lambda state: state.params | {"stats": state.stats},
        embed=lambda params, views, space: look(params, views)[0],
        scores=lambda params, views, tables: SCALE * unit(look(params, views)[1]) @ unit(tables.semantics).T,
        read=lambda params, views: {"semantics": look(params, views)[1]},
        kind=options.kind,
        produces=options.produces,
        views=("image",),
        draw=sampling.balanced if options.balanced else sampling.uniform,
    )


def config(*stages: str, kind: str = "classifier", produces: str = "") -> Any:
    """A run on the pictures of the digits: this method alone, or before the linear generator on what it makes."""
    made = defaults.run("pictures")
    made.stages = stages or ("pictures",)
    registry.register("pictures", Entry(build, ("lr", "momentum"), raw=True))
    if "linear" in made.stages:
        made.linear = linear.config("linear").linear
    options = {"epochs": 2, "batch_size": 32, "lr": 0.05, "momentum": 0.9, "compute_dtype": "float32"}
    options |= {"kind": kind, "produces": produces, "balanced": False, "steps_per_epoch": 0}
    made.pictures = ConfigDict(options | {"holdout": 0.1, "eval_every": 1, "patience": 0})
    made.data.source = made.data.dataset = "digits"
    made.data.pictures = True
    made.data.original_semantics, made.data.semantics_scaling = False, "none"
    made.eval.first, made.eval.every = 0, 1
    made.eval.spaces, made.eval.samplers = ("V",), ("one_step",)
    made.figures = False
    return made


def tiny_run(*stages: str, **options: Any) -> Any:
    """The same with few iterations."""
    made = config(*stages, **options)
    made.pictures.steps_per_epoch, made.log_every = 6, 4
    return made


def write_config(path: Any, *stages: str, **options: Any) -> str:
    """Writes a configuration file of `tiny_run`; returns its path."""
    arguments = [*map(repr, stages), *(f"{name}={value!r}" for name, value in options.items())]
    path.write_text(CONFIG.format(arguments=", ".join(arguments)))
    return str(path)

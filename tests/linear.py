"""A method of one's own in one file: a linear map from semantics to features, plus noise.

It trains and compiles in no time, for tests of what trains, scores and compares any method.
"""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from tests import tiny
from zsl_jax.config import defaults
from zsl_jax.train_steps import adversarial, registry
from zsl_jax.train_steps.method import Entry, Method, Spec, TrainState

INPUT_NOISE, DEVIATION = 0.02, 0.1  # of the semantics in training, of synthetic rows
CONFIG = """
from tests import linear


def get_config():
    return linear.tiny_run({stages})
"""


def predict(weights, a):
    return a @ weights["kernel"] + weights["bias"][None, :]


def build(config: Any, spec: Spec) -> Method:
    """The whole method. A second stage of it goes on from the map that the first one left."""
    del config

    def init(key, upstream, hyper, tables):
        del tables
        kernel = 0.02 * jax.random.normal(key, (spec.a_dim, spec.x_dim))
        fresh = {"map": {"kernel": kernel, "bias": jnp.zeros(spec.x_dim)}}
        return adversarial.fresh_state([fresh, *(one for one in upstream.values() if "map" in one)][-1], {}, hyper, {})

    def train_step(state: TrainState, batches, key, tables):
        del tables
        a = batches.a[0] + INPUT_NOISE * jax.random.normal(key, batches.a[0].shape)

        def loss(weights):
            return jnp.mean((predict(weights, a) - batches.x[0]) ** 2)

        value, gradient = jax.value_and_grad(loss)(state.params["map"])
        return adversarial.update(state, {"map": gradient}, {"map": state.hyper["lr"]}), {"loss": value}

    def synthesize(params, semantics, keys, sampler):
        del sampler
        noise = jax.vmap(lambda key: jax.random.normal(key, (spec.x_dim,)))(keys)
        return {"x": predict(params["map"], semantics) + DEVIATION * noise}

    return Method(
        name="linear",
        batches_per_step=1,
        init=init,
        train_step=train_step,
        inference=lambda state: state.params,
        synthesize=synthesize,
        embed=lambda params, views, space: views["x"],
        spaces=("V",),
        samplers=("one_step",),
    )


def config(*stages: str) -> Any:
    """A run of stages of this method, which are registered by these names."""
    made = defaults.run("linear")
    made.stages = stages
    for stage in stages:
        registry.register(stage, Entry(build, ("lr",)))
        made[stage] = ConfigDict({"epochs": 40, "batch_size": 64, "lr": 0.02, "syn_num": 50, "classifier_lr": 1e-2})
    made.data.representations = ""
    made.eval.spaces, made.eval.samplers = ("V",), ("one_step",)
    made.figures = False
    return made


def tiny_run(*stages: str) -> Any:
    """The same on a small synthetic data set."""
    made = tiny.synthetic(config(*stages))
    made.data.synthetic.r_dim = 0
    made.eval.spaces = ("V",)
    return made


def write_config(path: Any, *stages: str) -> str:
    """Writes a configuration file of `tiny_run`; returns its path."""
    path.write_text(CONFIG.format(stages=", ".join(map(repr, stages))))
    return str(path)

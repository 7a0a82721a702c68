"""A method of one's own takes one file: it is registered here, configured and trained by the usual program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zsl_jax import main
from zsl_jax.train_steps import adversarial, registry
from zsl_jax.train_steps.method import Method, TrainState
from zsl_jax.training.writers import read_json

CONFIG = '''
"""A linear map from semantics to features, plus noise."""

from ml_collections import ConfigDict

from zsl_jax import defaults


def get_config():
    config = defaults.run("linear")
    config.stages = ("linear",)
    config.linear = ConfigDict({"epochs": 40, "batch_size": 64, "lr": 0.02, "syn_num": 50, "classifier_lr": 1e-2})
    config.data.source = config.data.dataset = "digits"
    config.data.representations = ""
    config.data.original_semantics = config.data.normalize_semantics = False
    config.eval.first, config.eval.every = 19, 20
    config.eval.spaces, config.eval.samplers = ("V",), ("one_step",)
    config.figures = False
    return config
'''
DEVIATION = 0.1  # of the noise


def predict(weights, a):
    return a @ weights["kernel"] + weights["bias"][None, :]


def build(config, spec) -> Method:
    """The whole method."""

    def init(key, upstream, hyper):
        del upstream
        kernel = 0.02 * jax.random.normal(key, (spec.a_dim, spec.x_dim))
        return adversarial.fresh_state({"map": {"kernel": kernel, "bias": jnp.zeros(spec.x_dim)}}, {}, hyper, {})

    def train_step(state: TrainState, batches, key):
        del key

        def loss(weights):
            return jnp.mean((predict(weights, batches.a[0]) - batches.x[0]) ** 2)

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
        numbers=("lr",),
    )


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_a_method_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_added", {})
    registry.register("linear", build)
    (tmp_path / "linear.py").write_text(CONFIG)
    workdir = tmp_path / "run"
    assert main.main(["main", f"--config={tmp_path / 'linear.py'}", f"--workdir={workdir}"]) == 0
    result = read_json(workdir / "result.json")
    assert result["method"] == "linear"
    assert result["headline"]["protocol"] == "validated"
    # A linear map is what ESZSL learns too: it must leave chance (33.3) well behind.
    assert result["headline"]["T1"] > 50
    assert np.isfinite(result["headline"]["AUSUC"])

"""The recorded ZeroDiff steps as our methods' nets, batches and noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from tests.parity.recorded import GRADIENT, STEP, assert_close
from zsl_jax.train_steps.adversarial import PairNoise
from zsl_jax.train_steps.method import Batch, Spec, TrainState, vector_spec


def sizes(options: dict[str, Any]) -> dict[str, int]:
    """The sizes that the shapes of a recorded net alone may leave open."""
    return {"z_dim": options["noiseSize"], "a": options["attSize"], "x": options["resSize"], "r": options["conSize"]}


def spec(options: dict[str, Any]) -> Spec:
    """Sizes of a recording."""
    return vector_spec(options["resSize"], options["conSize"], options["attSize"], options["nclass_all"])


def config(options: dict[str, Any]) -> ConfigDict:
    """A configuration (sections "drg" and "dfg") with the options of a recording."""
    shared = {
        "n_steps": options["n_T"], "beta_min": options["ddpmbeta1"], "beta_max": options["ddpmbeta2"],
        "schedule": "linear" if options["use_linear_betas"] else "variance_preserving",
        "time_dim": options["dim_t"], "embed_dim": 0, "z_dim": options["noiseSize"],
        "generator_width": options["generator_hidden"], "critic_width": options["critic_hidden"],
        "decoder_width": options["v2s_hidden"], "encoder_width": options["encoder_hidden"],
        "semantics_scaling": "l2" if options["class_embedding_norm"] else "none", "embed_type": options["embed_type"],
        "critic_iter": options["critic_iter"], "feed": "current", "x0_gates_xt": True, "use_r": True,
        "freeze_decoder": options.get("freeze_dec", True),
        "lr": options["lr"], "dec_lr": options["dec_lr"], "penalty_weight": options["lambda1"],
        "gamma_x0": options["gamma_x0"], "gamma_xt": options["gamma_xt"], "gamma_xc": 1.0,
        "gamma_adv": options.get("gamma_ADV", 1.0), "gamma_vae": options.get("gamma_VAE", 1.0),
        "gamma_recons": options.get("gamma_recons", 1.0), "gamma_dist": options.get("gamma_dist", 0.0),
        "factor_dist": options.get("factor_dist", 1.0),
    }  # fmt: skip
    return ConfigDict({"drg": dict(shared), "dfg": dict(shared)})


def pair_noise(rng: dict[str, np.ndarray]) -> PairNoise:
    """The recorded draws of a diffused pair."""
    return PairNoise(
        t=jnp.asarray(rng["ts"], jnp.int32),
        current=jnp.asarray(rng["noise_xt"]),
        following=jnp.asarray(rng["noise_xtp1"]),
        posterior=jnp.asarray(rng["noise_posterior"]),
    )


def batch(x: np.ndarray, r: np.ndarray, a: np.ndarray, labels: np.ndarray) -> Batch:
    """A recorded batch."""
    return Batch({"x": jnp.asarray(x), "r": jnp.asarray(r)}, jnp.asarray(a), jnp.asarray(labels, jnp.int32))


def assert_trees_close(actual: dict, recorded: dict, tolerance: float, what: str, scale: dict | None = None) -> None:
    """Leaf by leaf `assert_close`; `scale` is a tree of reference arrays."""
    paths = jax.tree_util.tree_leaves_with_path(recorded)
    ours = dict(jax.tree_util.tree_leaves_with_path(actual))
    scales = dict(jax.tree_util.tree_leaves_with_path(scale)) if scale is not None else {}
    assert set(ours) == {path for path, _ in paths}
    for path, leaf in paths:
        assert_close(ours[path], leaf, tolerance, scales.get(path), f"{what}{jax.tree_util.keystr(path)}")


def assert_step_close(before: dict, after: dict, recorded: dict, what: str) -> None:
    """Updated weights agree within STEP of the largest step recorded."""
    steps = jax.tree.map(lambda new, old: np.asarray(new) - np.asarray(old), recorded, before)
    largest = max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(steps))
    assert largest > 0, what
    scale = jax.tree.map(lambda leaf: np.full(leaf.shape, largest), steps)
    assert_trees_close(after, recorded, STEP, what, scale)


def assert_gradients_close(actual: dict, recorded: dict, what: str) -> None:
    """Gradients agree within GRADIENT of each array's largest entry."""
    assert_trees_close(actual, recorded, GRADIENT, what)


def as_jax(tree: dict) -> dict:
    """Arrays on the device."""
    return jax.tree.map(jnp.asarray, tree)


def state_with(state: TrainState, params: dict) -> TrainState:
    """`state` with the recorded parameters in place of its own."""
    expected = jax.tree.map(jnp.shape, {name: state.params[name] for name in params})
    assert expected == jax.tree.map(jnp.shape, params)
    return state._replace(params=dict(state.params) | params)

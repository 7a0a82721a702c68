"""The recorded ZeroDiff steps as our methods' nets, batches and noise."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from tests.parity.recorded import GRADIENT, OUTPUT, ROUNDING, STEP
from zsl_jax.train_steps import adversarial
from zsl_jax.train_steps.adversarial import PairNoise
from zsl_jax.train_steps.method import Batch, Spec, TrainState, vector_spec

TINY = 1e-30  # a gradient of zero


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


def largest(tree: Any) -> float:
    """The largest absolute entry of a tree of arrays."""
    return max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(tree))


def assert_trees_close(actual: Any, recorded: Any, allowed: Any, what: str) -> None:
    """Trees of equal shapes whose entries differ by no more than those of `allowed`, a tree that broadcasts."""
    assert jax.tree.map(jnp.shape, actual) == jax.tree.map(jnp.shape, recorded), what
    errors = jax.tree.map(lambda ours, theirs: np.abs(np.asarray(ours) - theirs), actual, recorded)
    for (path, error), limit in zip(jax.tree_util.tree_leaves_with_path(errors), jax.tree.leaves(allowed), strict=True):
        where = f"{what}{jax.tree_util.keystr(path)}"
        assert np.all(error <= limit), f"{where}: error {np.max(error):.3g} where {np.min(limit):.3g} is allowed"


def assert_gradients_close(actual: dict, recorded: dict, what: str) -> None:
    """Gradients {net: tree} agree within GRADIENT of each array's largest entry, or OUTPUT of the net's.

    A gradient is a sum: where it cancels, its rounding is that of the terms.
    """
    for net, tree in recorded.items():
        least = OUTPUT * largest(tree)
        allowed = jax.tree.map(lambda leaf, least=least: max(GRADIENT * largest(leaf), least), tree)
        assert_trees_close(actual[net], tree, allowed, f"{what} {net}")
    assert set(actual) == set(recorded)


def assert_step_close(before: dict, after: dict, recorded: dict, gradients: dict, what: str) -> None:
    """Weights {net: tree} after a step of Adam agree within STEP of the net's largest step recorded.

    Adam divides a gradient by its size, which makes a step of the rounding of a gradient of zero: an entry may be off
    by as much of a step as ROUNDING of the net's largest gradient (recorded: `gradients`) is of its own.
    """
    for net, tree in recorded.items():
        step, size = largest(jax.tree.map(np.subtract, tree, before[net])), largest(gradients[net])
        assert step > 0, f"{what} {net}"
        allowed = jax.tree.map(
            lambda leaf, step=step, size=size: step * (STEP + ROUNDING * size / np.maximum(np.abs(leaf), TINY)),
            gradients[net],
        )
        assert_trees_close(after[net], tree, allowed, f"{what} {net}")


def check_step(before: TrainState, after: TrainState, recorded: dict, gradients: dict, what: str) -> TrainState:
    """`assert_step_close` of the nets in `recorded`, {net: tree}; no other net moved.

    Returns:
      `after` with the recorded nets, so that what is left to rounding does not reach the next update.
    """
    assert_step_close(before.params, after.params, recorded, gradients, what)
    for name in set(before.params) - set(recorded):
        assert jax.tree.all(jax.tree.map(np.array_equal, before.params[name], after.params[name])), f"{what} {name}"
    return state_with(after, as_jax(recorded))


def as_jax(tree: dict) -> dict:
    """Arrays on the device."""
    return jax.tree.map(jnp.asarray, tree)


def state_with(state: TrainState, params: dict) -> TrainState:
    """`state` with the recorded parameters in place of its own."""
    expected = jax.tree.map(jnp.shape, {name: state.params[name] for name in params})
    assert expected == jax.tree.map(jnp.shape, params)
    return state._replace(params=dict(state.params) | params)


def start(
    init: Callable, upstream: dict, hyper: dict, params: dict, frozen: dict | None = None, extra: dict | None = None
) -> TrainState:
    """The state before the first step with recorded parameters, in the form that `init` gives it.

    `init` itself is not run: compiling its draws takes longer than compiling a step.
    """
    state = adversarial.fresh_state(as_jax(params), as_jax(frozen or {}), as_jax(hyper), extra or {})
    made = jax.eval_shape(init, jax.random.key(0), upstream, hyper)
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, made)
    return state

"""Every recorded iteration of TF-VAEGAN, in both loops: losses, gradients, updated weights, lambda, synthesis."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.parity import weights, zerodiff
from tests.parity.recorded import assert_close, assert_sum_close, last, load, under
from zsl_jax.interop import published
from zsl_jax.nets.layers import apply
from zsl_jax.train_steps import tfvaegan
from zsl_jax.train_steps.method import Batch, TrainState, hyper_parameters, vector_spec

ARRAYS, META = load("tfvaegan")
OPTIONS = META["options"]
UPDATES = OPTIONS["critic_iter"]
BLOCKS = [(tag, loop) for tag in OPTIONS["tags"] for loop in OPTIONS["loops"]]
# Ours -> recorded: the nets, and the optimisers that step them.
NETS = {"generator": "netG", "feedback": "netF", "encoder": "netE", "critic": "netD", "decoder": "netDec"}
OPTIMISERS = {
    "generator": "optimizerG", "feedback": "optimizerF", "encoder": "optimizer", "critic": "optimizerD",
    "decoder": "optimizerDec",
}  # fmt: skip
LAYOUT = published.tfvaegan({})
SIZES = {"x": OPTIONS["resSize"], "a": OPTIONS["attSize"], "z_dim": OPTIONS["latent_size"]}


def recorded(prefix: str, name: str) -> Any:
    """Our parameter tree of the net `name` as recorded below `prefix`."""
    tensors = weights.tensors_of(ARRAYS, f"{prefix}/{NETS[name]}.")
    return zerodiff.as_jax(weights.tree(LAYOUT[name], tensors, SIZES))


def config(tag: str) -> ConfigDict:
    """A section "tfvaegan" with the options of a recording."""
    stage = {
        "z_dim": OPTIONS["latent_size"], "generator_width": OPTIONS["generator_hidden"],
        "encoder_width": OPTIONS["encoder_hidden"], "critic_width": OPTIONS["ndh"], "decoder_width": OPTIONS["ngh"],
        "semantics_scaling": "l2", "feedback_from": "reconstruction", "critic_iter": UPDATES,
        "encoded_noise": OPTIONS["tags"][tag]["encoded_noise"], "freeze_decoder": OPTIONS["tags"][tag]["freeze_dec"],
        "lr": OPTIONS["lr"], "dec_lr": OPTIONS["dec_lr"], "feed_lr": OPTIONS["feed_lr"], "gamma_d": OPTIONS["gammaD"],
        "gamma_g": OPTIONS["gammaG"], "gamma_recons": OPTIONS["recons_weight"], "a1": OPTIONS["a1"],
        "a2": OPTIONS["a2"], "penalty_weight": OPTIONS["lambda1"],
    }  # fmt: skip
    return ConfigDict({"tfvaegan": stage})


@functools.cache
def nets(tag: str) -> tfvaegan.Nets:
    return tfvaegan.make_nets(config(tag).tfvaegan, SPEC)


SPEC = vector_spec(OPTIONS["resSize"], 0, OPTIONS["attSize"], OPTIONS["nclass_all"])


@functools.cache
def compiled(tag: str, function: str, **options: Any) -> Any:
    return jax.jit(functools.partial(getattr(tfvaegan, function), nets(tag), **options))


def start(tag: str, loop: int) -> TrainState:
    """The state before a recorded iteration: the first of its loop."""
    method = tfvaegan.build(config(tag), SPEC)
    hyper = hyper_parameters(config(tag).tfvaegan, tfvaegan.HYPER)
    extra = {"penalty_weight": jnp.float32(hyper["penalty_weight"]), "iteration": jnp.int32(loop)}
    params = {name: recorded(f"{tag}/loop{loop}/w0", name) for name in NETS}
    return zerodiff.start(method.init, {}, hyper, params, extra=extra)


def nth(values: dict[str, np.ndarray], name: str, place: int) -> np.ndarray:
    """The recorded value number `place`, from 1, of a variable."""
    return values[name if place == 1 else f"{name}__{place}"]


def batch_of(block: str, update: int) -> Batch:
    """The rows of critic update number `update`, from 1."""
    value = under(ARRAYS, f"{block}/val")
    x, a = (jnp.asarray(nth(value, name, update)) for name in ("input_resv", "input_attv"))
    return Batch({"x": x}, a, jnp.zeros(len(x), jnp.int32))


def critic_noise(block: str, update: int) -> tfvaegan.CriticNoise:
    rng = under(ARRAYS, f"{block}/rng")
    drawn = rng.get(f"c{update}_eps", rng.get(f"c{update}_noise"))
    return tfvaegan.CriticNoise(jnp.asarray(drawn), jnp.asarray(rng[f"c{update}_alpha"]))


def generator_noise(block: str) -> tfvaegan.GeneratorNoise:
    rng = under(ARRAYS, f"{block}/rng")
    eps = jnp.asarray(rng["G_eps"])
    return tfvaegan.GeneratorNoise(eps, jnp.asarray(rng.get("G_noise", np.zeros((len(eps), 0), np.float32))))


def check_step(before: TrainState, after: TrainState, block: str, counts: dict[str, int]) -> TrainState:
    """The nets of `counts` are as recorded after the step of that number of their optimisers; no other net moved."""
    expected = {name: recorded(f"{block}/after/{OPTIMISERS[name]}_{k}", name) for name, k in counts.items()}
    gradients = {name: recorded(f"{block}/grad/{OPTIMISERS[name]}_{k}", name) for name, k in counts.items()}
    return zerodiff.check_step(before, after, expected, gradients, block)


def check_gradient(gradient: Any, block: str, name: str, count: int) -> None:
    expected = recorded(f"{block}/grad/{OPTIMISERS[name]}_{count}", name)
    zerodiff.assert_gradients_close({name: gradient}, {name: expected}, block)


@functools.cache
def fakes_function(tag: str, loop: int) -> Any:
    """(parameters, batch, noise) -> latents and features that a critic update sees, made update by update."""

    def fakes(params, batch, noise):
        z = tfvaegan.critic_latents(nets(tag), params, batch, noise)
        hidden = tfvaegan.begin(nets(tag), params, z, batch.a)
        first = tfvaegan.finish(nets(tag), params, hidden)
        decoded = tfvaegan.decoder_hidden(nets(tag), params, first)
        feedback = apply(nets(tag).feedback, params["feedback"], decoded)
        fake = tfvaegan.features(nets(tag), params, hidden, jnp.float32(OPTIONS["a1"]) if loop else None)
        return z, {"first": first, "decoded": decoded, "feedback": feedback, "fake": fake}

    return jax.jit(fakes)


def check_fakes(value: dict[str, np.ndarray], z: jax.Array, made: dict[str, jax.Array], loop: int, k: int) -> None:
    assert_close(z, nth(value, "z", k), what="z")
    if not loop:
        assert_close(made["fake"], nth(value, "fake", k), what="fake")
        return
    assert_close(made["first"], nth(value, "fake", 2 * k - 1), what="first pass")
    assert_close(made["decoded"], nth(value, "dec_hidden_feat", k), what="V2S hidden")
    assert_close(made["feedback"], nth(value, "feedback_out", k), what="feedback")
    assert_close(made["fake"], nth(value, "fake", 2 * k), what="second pass")


@functools.cache
def decoder_update(tag: str) -> Any:
    """(state, batch) -> gradient and terms of the decoder's loss; state after its step."""

    def update(state, batch):
        loss = functools.partial(tfvaegan.decoder_loss, nets(tag))
        differentiated = jax.grad(loss, has_aux=True)(state.params["decoder"], batch, state.hyper)
        return differentiated, tfvaegan.decoder_step(nets(tag), state, batch)[0]

    return jax.jit(update)


def check_decoder_update(state: TrainState, tag: str, block: str, k: int) -> TrainState:
    (gradient, metrics), after = decoder_update(tag)(state, batch_of(block, k))
    assert_close(metrics["loss/decoder"], nth(under(ARRAYS, f"{block}/val"), "R_cost", k), what="R_cost")
    check_gradient(gradient, block, "decoder", k)
    return check_step(state, after, block, {"decoder": k})


@functools.cache
def critic_update(tag: str) -> Any:
    """(state, batch, fakes, alpha) -> gradient and terms of the critic's loss; state after its step."""

    def update(state, batch, fake, alpha):
        def loss(critic):
            weight = state.extra["penalty_weight"]
            return tfvaegan.critic_loss(nets(tag), critic, batch, fake, alpha, state.hyper, weight)

        differentiated = jax.grad(loss, has_aux=True)(state.params["critic"])
        return differentiated, tfvaegan.critic_step(nets(tag), state, batch, fake, alpha)[0]

    return jax.jit(update)


def check_critic_update(state: TrainState, tag: str, loop: int, k: int) -> TrainState:
    block = f"{tag}/loop{loop}"
    state = check_decoder_update(state, tag, block, k)
    batch, noise, value = batch_of(block, k), critic_noise(block, k), under(ARRAYS, f"{block}/val")
    z, made = fakes_function(tag, loop)(state.params, batch, noise)
    check_fakes(value, z, made, loop, k)
    (gradient, metrics), after = critic_update(tag)(state, batch, made["fake"], noise.alpha)
    gamma = OPTIONS["gammaD"]
    penalty = nth(value, "gradient_penalty", k)
    assert_sum_close(metrics["loss/critic"], [-nth(value, "Wasserstein_D", k), penalty], "D_cost")
    scores = nth(value, "criticD_real", 2 * k - 1)  # the estimate is a difference of scores that may be larger
    assert_close(metrics["wasserstein/critic"], nth(value, "Wasserstein_D", k) / gamma, scale=scores, what="W")
    assert_close(gamma * metrics["penalty/critic"], penalty, what="penalty")
    check_gradient(gradient, block, "critic", k)
    return check_step(state, after, block, {"critic": k})


@functools.cache
def generator_update(tag: str, loop: int) -> Any:
    """(state, batch, noise) -> gradients and terms of the generator's loss; state after the step."""

    def update(state, batch, noise):
        names = tfvaegan.generator_rates(nets(tag), state.hyper, feedback=bool(loop))

        def loss(trained):
            return tfvaegan.generator_loss(nets(tag), trained, state.params, batch, noise, state.hyper, bool(loop))

        differentiated = jax.grad(loss, has_aux=True)({name: state.params[name] for name in names})
        return differentiated, tfvaegan.generator_step(nets(tag), state, batch, noise, feedback=bool(loop))[0]

    return jax.jit(update)


def check_generator_update(state: TrainState, tag: str, loop: int) -> None:
    block = f"{tag}/loop{loop}"
    value, noise, batch = under(ARRAYS, f"{block}/val"), generator_noise(block), batch_of(block, UPDATES)
    np.testing.assert_array_equal(batch.x, ARRAYS[f"{block}/in/x_last"])
    np.testing.assert_array_equal(batch.a, ARRAYS[f"{block}/in/att_last"])
    (gradients, metrics), after = generator_update(tag, loop)(state, batch, noise)
    assert_close(metrics["loss/vae"], value["vae_loss_seen"], what="vae_loss_seen")
    assert_close(metrics["loss/adversarial"], value["G_cost"], what="G_cost")
    assert_close(metrics["loss/decoder_fake"], nth(value, "R_cost", UPDATES + 1), what="R_cost")
    assert_close(metrics["loss/generator"], last(value, "errG"), what="errG")
    steps = {name: UPDATES + 1 if name == "decoder" else 1 for name in gradients}
    for name, count in steps.items():
        check_gradient(gradients[name], block, name, count)
    check_step(state, after, block, steps)


@pytest.mark.parametrize(("tag", "loop"), BLOCKS)
def test_updates_equal_recorded(tag, loop):
    state = start(tag, loop)
    for k in range(1, UPDATES + 1):
        state = check_critic_update(state, tag, loop, k)
    check_generator_update(state, tag, loop)


def smallest_gradients(block: str, name: str) -> Any:
    """Of the gradients of a net in all critic updates, each entry's smallest."""
    gradients = [recorded(f"{block}/grad/{OPTIMISERS[name]}_{k}", name) for k in range(1, UPDATES + 1)]
    return jax.tree.map(lambda *leaves: np.min(np.abs(leaves), axis=0), *gradients)


@pytest.mark.parametrize(("tag", "loop"), BLOCKS)
def test_all_critic_updates_at_once_equal_recorded(tag, loop):
    """As training does them: the decoder's steps first, then both passes of G for all updates, then the critic's."""
    block, state = f"{tag}/loop{loop}", start(tag, loop)
    value, updates = under(ARRAYS, f"{block}/val"), range(1, UPDATES + 1)
    batches = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(batch_of(block, k) for k in updates))
    noise = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(critic_noise(block, k) for k in updates))
    assert bool(tfvaegan.in_feedback_loop(state)) == bool(loop)
    after, metrics = compiled(tag, "critic_updates")(state, batches, noise, tfvaegan.in_feedback_loop(state))
    expected = {name: recorded(f"{block}/after/{OPTIMISERS[name]}_{UPDATES}", name) for name in ("decoder", "critic")}
    gradients = {name: smallest_gradients(block, name) for name in expected}
    zerodiff.check_step(state, after, expected, gradients, block)
    assert_close(metrics["loss/decoder"], np.mean([nth(value, "R_cost", k) for k in updates]), what="R_cost")
    normalised = nth(value, "gp_sum", UPDATES + 2)
    assert_close(metrics["penalty/critic"] / state.extra["penalty_weight"], normalised, what="gp_sum")
    adapted = tfvaegan.adapt_penalty_weight(after, metrics["penalty/critic"])
    assert_close(adapted.extra["penalty_weight"], ARRAYS[f"{block}/lambda1_after"], what="lambda1")


def test_synthesis_equals_recorded():
    tag, syn = next(iter(OPTIONS["tags"])), OPTIONS["syn"]
    params = {name: recorded("syn/w", name) for name in NETS} | {"a2": jnp.float32(OPTIONS["a2"])}
    z = jnp.concatenate([ARRAYS[f"syn/rng/c{k}_noise"] for k in range(len(syn["classes"]))])
    labels = np.repeat(syn["classes"], syn["num"])
    np.testing.assert_array_equal(labels, ARRAYS["syn/label"])
    a = jnp.asarray(ARRAYS["data/attribute"])[labels]
    assert_close(compiled(tag, "sample")(params, a, z), ARRAYS["syn/feature"])

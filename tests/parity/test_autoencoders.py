"""The recorded updates of the zoo's autoencoders: losses, gradients, updated weights."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.parity import weights, zerodiff
from tests.parity.recorded import OUTPUT, assert_close, last, load, under
from zsl_jax.interop import published
from zsl_jax.train_steps import autoencoders
from zsl_jax.train_steps.method import hyper_parameters, vector_spec

ARRAYS, META = load("gan_zoo")
OPTIONS = META["options"]
BLOCKS = {"ae": "AE", "ae2": "AE2", "vae": "VAE", "bir_vae": "BIR_VAE"}
PREFIXES = {"ae": "autoencoder.", "ae2": "", "vae": "vae.", "bir_vae": "birvae."}
APART = {"ae2": {"encoder": "optimizer_encoder", "decoder": "optimizer_decoder"}}  # the others have one optimiser
SPEC = vector_spec(OPTIONS["resSize"], 0, OPTIONS["attSize"], OPTIONS["nclass_all"])
SIZES = {"a": SPEC.a_dim}
LATENT = ("vae", "bir_vae")


@pytest.fixture(params=BLOCKS)
def objective(request) -> str:
    return request.param


def section(objective):
    full = OPTIONS["full"][BLOCKS[objective]]
    return ConfigDict(
        {
            "objective": objective, "meant": False, "z_dim": full["nz"], "encoder_width": full["ngh"],
            "decoder_width": full["ndh"], "lr": full["lr"], "cls_weight": full["cls_weight"],
            "weight_decay": full["REG_W_LAMBDA"], "information_rate": 13.3,
        }
    )  # fmt: skip


def recorded(objective, what):
    """Parameters of our nets, as recorded under `what`."""
    nets = {}
    for net, layout in published.autoencoder({"objective": objective, "meant": False}).items():
        folder = f"{BLOCKS[objective]}/{what}" + (
            "" if what == "w0" else f"/{APART.get(objective, {}).get(net, 'optimizer')}"
        )
        tensors = weights.tensors_of(ARRAYS, f"{folder}/{PREFIXES[objective]}{net}.")
        for layer in layout.layers:  # a missing gradient is one of zero
            rows = len(tensors[f"{layer.name}.weight"])
            tensors.setdefault(f"{layer.name}.bias", np.zeros(rows, np.float32))
        nets[net] = weights.tree(layout, tensors, SIZES)
    return nets


def batch_of(objective):
    given = under(ARRAYS, f"{BLOCKS[objective]}/in")
    empty = np.zeros((len(given["x"]), 0), np.float32)
    return zerodiff.batch(given["x"], empty, given["att"], given["mapped_label"])


def noise_of(objective, nets):
    """The recorded draws; those of BIR-VAE's latent were recorded after scaling."""
    rng = under(ARRAYS, f"{BLOCKS[objective]}/rng")
    empty = np.zeros((len(rng["noise"]), 0), np.float32)
    deviation = 0.25 ** (13.3 / nets.widths.latent) if objective == "bir_vae" else 1.0
    latent = rng.get("epsilon", rng.get("eps_reparam_numpy", empty)) / deviation
    draws = (rng["noise"], latent, rng.get("eps_mmd", empty))
    return autoencoders.Noise(*(jnp.asarray(array, jnp.float32) for array in draws))


@functools.cache
def start(objective):
    """The recorded state before the update, and the nets."""
    options = section(objective)
    nets = autoencoders.make_nets(options, SPEC)
    linear = weights.tensors_of(ARRAYS, f"{BLOCKS[objective]}/w0/pretrain_cls.fc.")
    classifier = {"kernel": linear["weight"].T, "bias": linear["bias"]}
    upstream = {"seen_classifier": {"classifier": zerodiff.as_jax(classifier)}}
    hyper = hyper_parameters(options, autoencoders.NUMBERS)
    init = partial(autoencoders.init, nets, SPEC)
    return nets, zerodiff.start(init, upstream, hyper, recorded(objective, "w0"), upstream["seen_classifier"])


@functools.cache
def update(objective):
    """The loss and its terms, its gradients, and the state after the recorded update."""
    nets, state = start(objective)

    @jax.jit
    def run(state, batch, noise):
        def loss(params):
            return autoencoders.loss(nets, params, state.frozen, batch, noise, state.hyper)

        values, gradients = jax.value_and_grad(loss, has_aux=True)(state.params)
        return values, gradients, autoencoders.update(nets, state, batch, noise)[0]

    return run(state, batch_of(objective), noise_of(objective, nets))


def test_losses_equal_recorded(objective):
    nets, _ = start(objective)
    value = under(ARRAYS, f"{BLOCKS[objective]}/val")
    assert jax.tree.map(lambda draws: draws.shape[1], noise_of(objective, nets)) == nets.widths
    total, metrics = update(objective)[0]
    wanted = {
        "loss/features": value["recon_visual_loss"],
        "loss/classification": value["c_errG_fake"],
        "loss/decay": last(value, "reg_loss")[0],
    }
    if objective == "bir_vae":
        wanted["loss/mmd"] = value["mmd_loss"]
    else:
        wanted["loss/semantics"] = value["recon_att_loss"]
    for name, theirs in wanted.items():
        assert_close(metrics[name], theirs, what=name)
    both = value["encoder_loss"] + value["decoder_loss"] if objective == "ae2" else value["total_loss"]
    assert_close(total, both[0], what="total")
    assert set(metrics) == {"loss", *wanted}


def test_reconstructions_and_latents_equal_recorded(objective):
    nets, state = start(objective)
    value = under(ARRAYS, f"{BLOCKS[objective]}/val")
    given = (batch_of(objective), noise_of(objective, nets), state.hyper)
    x, _ = jax.jit(partial(nets.objective.reconstruct, nets))(state.params, *given)
    assert_close(x, value["recon_visual"])
    if objective in LATENT:
        mean, log_variance = jax.jit(partial(autoencoders.encode, nets))(state.params, a=given[0].a, z=given[1].z)
        assert_close(mean, value["mu"])
        assert_close(log_variance, value["log_var"])


def test_rows_are_synthesised_as_they_are_reconstructed(objective):
    """The published scripts synthesise by the same pass, on other semantics and fresh noise."""
    nets, state = start(objective)
    noise = noise_of(objective, nets)
    generate = jax.jit(partial(nets.objective.generate, nets))
    x = generate(state.params, batch_of(objective).a, noise, autoencoders.inference(state)["numbers"])
    assert_close(x, ARRAYS[f"{BLOCKS[objective]}/val/recon_visual"], OUTPUT)


def test_gradients_equal_recorded(objective):
    zerodiff.assert_gradients_close(update(objective)[1], recorded(objective, "grad"), BLOCKS[objective])


def test_updates_equal_recorded(objective):
    (_, state), after = start(objective), update(objective)[2]
    expected, gradients = (recorded(objective, what) for what in ("after", "grad"))
    zerodiff.assert_step_close(state.params, after.params, expected, gradients, BLOCKS[objective])

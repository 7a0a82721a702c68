"""Every recorded adversarial objective of the zoo: losses, penalties, gradients, updated weights, extra numbers."""

import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity import weights, zerodiff
from tests.parity.recorded import assert_close, assert_sum_close, last, load, under
from zsl_jax.config import defaults
from zsl_jax.interop import published
from zsl_jax.train_steps import gan_objectives, gan_zoo
from zsl_jax.train_steps.gan_zoo import CriticNoise, Noise
from zsl_jax.train_steps.method import hyper_parameters, vector_spec

ARRAYS, META = load("gan_zoo")
OPTIONS = META["options"]
SPEC = vector_spec(OPTIONS["resSize"], 0, OPTIONS["attSize"], OPTIONS["nclass_all"])
# Recorded block by our objective; "main" is CramerGAN with the zoo's tricks.
BLOCKS = {
    "wgan": "WGAN", "cramergan": "CramerGAN", "lsgan": "LSGAN", "nsgan": "NSGAN", "mmgan": "MMGAN",
    "ransgan": "RaNSGAN", "dragan": "DRAGAN", "fishergan": "FisherGAN", "began": "BEGAN", "infogan": "InfoGAN",
    "main": "main", "fgan_squared_hellinger": "fGAN_hellinger",
} | {f"fgan_{name}": f"fGAN_{name}" for name in ("total_variation", "forward_kl", "reverse_kl", "pearson", "jensen_shannon")}  # fmt: skip # noqa: E501
# Options that a program takes but does not use.
UNUSED = {"wgan": {"cls_weight": 0.0, "weight_decay": 0.0}, "main": {"cls_weight": 0.0, "penalty": "unit"}}
STARTS = {"fishergan": {"lambda": OPTIONS["fisher"]["LAMBDA_start"]}, "began": {"k": OPTIONS["began"]["K_start"]}}
SIZES = {"x": SPEC.x_dim, "a": SPEC.a_dim}
LAYOUT = published.gan({"objective": "infogan"}) | published.gan({"objective": "wgan"})
AUTOENCODING = published.gan({"objective": "began"})["critic"]


@pytest.fixture(params=BLOCKS)
def name(request) -> str:
    return request.param


def folders(name: str) -> list[str]:
    """Folders of the recorded iterations of an objective."""
    block = BLOCKS[name]
    count = OPTIONS["iterations"].get(block, OPTIONS["iterations"]["default"])
    return [block] if count == 1 else [f"{block}/it{k + 1}" for k in range(count)]


@functools.cache
def section(name: str) -> Any:
    full = OPTIONS["full"][BLOCKS[name]]
    config = defaults.gan("cramergan" if name == "main" else name)
    config.update(
        {
            "critic_iter": full["critic_iter"], "z_dim": full.get("z_dim", full["nz"]),
            "categories": full.get("disc_dim", 0), "continuous": full.get("cont_dim", 0),
            "generator_width": full["ngh"], "critic_width": full["ndh"], "lr": full["lr"],
            "penalty_weight": float(full["lambda1"]), "cls_weight": full["cls_weight"],
            "weight_decay": full["REG_W_LAMBDA"], "rho": OPTIONS["fisher"]["RHO"],
            "semantic_noise": OPTIONS["main_att_noise"] if name == "main" else 0.0,
            "synthesis_noise": OPTIONS["main_syn"]["att_noise"] if name == "main" else 0.0,
        } | UNUSED.get(name, {})
    )  # fmt: skip
    return config


@functools.cache
def nets(name: str) -> gan_zoo.Nets:
    return gan_zoo.make_nets(section(name), SPEC)


def tensors_of(folder: str, net: str) -> dict[str, np.ndarray]:
    return weights.tensors_of(ARRAYS, f"{folder}/{net}.")


def classifier_of(folder: str) -> dict[str, np.ndarray]:
    tensors = tensors_of(folder, "pretrain_cls")
    return {"kernel": tensors["fc.weight"].T, "bias": tensors["fc.bias"]}


def generator_of(folder: str) -> dict:
    return weights.tree(LAYOUT["generator"], tensors_of(folder, "netG"), SIZES)


def critic_of(folder: str) -> dict:
    tensors = tensors_of(folder, "netD")
    return weights.tree(AUTOENCODING if "encoder.weight" in tensors else LAYOUT["critic"], tensors, SIZES)


def reader_of(folder: str) -> dict:
    return weights.tree(LAYOUT["reader"], tensors_of(folder, "netQ"), SIZES)


NETS = {
    "critic": ("optimizerD", critic_of),
    "generator": ("optimizerG", generator_of),
    "reader": ("optimizerQ", reader_of),
}


def recorded(folder: str, what: str, net: str) -> dict:
    """Recorded gradient ("grad") or updated parameters ("after") of one of our nets."""
    optimiser, convert = NETS[net]
    return convert(f"{folder}/{what}/{optimiser}")


def start(name: str):
    block = BLOCKS[name]
    upstream = {"seen_classifier": {"classifier": classifier_of(f"{block}/w0")}}
    hyper = hyper_parameters(section(name), gan_zoo.NUMBERS)
    params = {net: convert(f"{block}/w0") for net, (_, convert) in NETS.items() if net != "reader" or info(name)}
    extra = {key: jnp.float32(value) for key, value in {**nets(name).objective.extra, **STARTS.get(name, {})}.items()}
    init = partial(gan_zoo.init, nets(name), SPEC)
    return zerodiff.start(init, upstream, hyper, params, upstream["seen_classifier"], extra)


def info(name: str) -> bool:
    """Whether there is a net that reads codes."""
    return bool(nets(name).objective.info)


def batch_of(folder: str):
    given = under(ARRAYS, f"{folder}/in")
    empty = np.zeros((len(given["x"]), 0), np.float32)
    return zerodiff.batch(given["x"], empty, given["att"], given["mapped_label"])


def noise_of(folder: str, *which: tuple[str, str]) -> Noise:
    """Recorded noise of rows beside each other [B, K, ...]; `which`: names of the latent's and the semantics' draws."""
    rng = under(ARRAYS, f"{folder}/rng")

    def latent(end: str) -> np.ndarray:
        if f"z_{end}" not in rng:
            return rng[f"noise_{end}"]
        category = np.eye(OPTIONS["full"][folder.split("/")[0]]["disc_dim"], dtype=np.float32)[rng[f"cat_{end}"]]
        return np.concatenate([rng[f"z_{end}"], category, rng[f"cont_{end}"]], axis=1)

    z = np.stack([latent(end) for end, _ in which], axis=1)
    zero = np.zeros((len(z), SPEC.a_dim), np.float32)
    semantics = np.stack([rng.get(f"att_noise_{number}", zero) for _, number in which], axis=1)
    return Noise(jnp.asarray(z), jnp.asarray(semantics))


def critic_noise_of(name: str, folder: str) -> CriticNoise:
    """The fake of the penalty is the last one."""
    rng = under(ARRAYS, f"{folder}/rng")
    rows = noise_of(folder, ("2", "2"), ("1", "1")) if "noise_2" in rng else noise_of(folder, ("D", ""))
    uniform = rng.get("perturb_uniform", np.zeros((len(rng["alpha"]), 0), np.float32))
    return CriticNoise(rows, jnp.asarray(rng["alpha"]), jnp.asarray(uniform))


@functools.cache
def critic_update(name: str):
    """(state, batch, noise) -> fakes; gradient and terms of the critic's loss; state and metrics after its step."""

    def update(state, batch, noise):
        fakes = gan_zoo.make_fakes(nets(name), state, batch.a, noise.rows)

        def loss(critic):
            return gan_zoo.critic_loss(nets(name), critic, batch, fakes, noise, state.extra, state.hyper)

        differentiated = jax.grad(loss, has_aux=True)(state.params["critic"])
        return fakes[0], differentiated, gan_zoo.critic_step(nets(name), state, batch, noise)

    return jax.jit(update)


def check_critic(name: str, state, folder: str):
    """Losses and gradient of the critic; returns the updated state."""
    value, batch, noise = under(ARRAYS, f"{folder}/val"), batch_of(folder), critic_noise_of(name, folder)
    fake, (gradient, metrics), (after, stepped) = critic_update(name)(state, batch, noise)
    assert_close(np.asarray(fake)[:, -1], value["fake"], what="fake")
    total = value["disc_loss"] if "disc_loss" in value and name != "infogan" else value["D_cost"]
    assert_close(metrics["penalty"], value["gradient_penalty"], what="gradient_penalty")
    assert_close(metrics["loss/critic"], total.reshape(()), what="critic loss")
    if "OMEGA" in value:
        assert_close(metrics["omega"], value["OMEGA"], what="OMEGA")
    if "DX_loss" in value:
        assert_close(metrics["score/real"], value["DX_loss"], what="DX_loss")
        assert_close(metrics["score/fake"], value["DG_loss"], what="DG_loss")
    check_gradient(gradient, folder, "critic")
    return check_step(state, after, folder, "critic"), stepped


def check_gradient(gradient, folder: str, net: str):
    zerodiff.assert_gradients_close({net: gradient}, {net: recorded(folder, "grad", net)}, folder)


def check_step(before, after, folder: str, net: str):
    expected, gradients = ({net: recorded(folder, what, net)} for what in ("after", "grad"))
    return zerodiff.check_step(before, after, expected, gradients, folder)


@functools.cache
def generator_update(name: str):
    """(state, batch, noise) -> gradient and terms of the generator's loss; state after its step."""

    def update(state, batch, noise):
        def loss(params):
            return gan_zoo.generator_loss(nets(name), params, state, batch, noise)

        differentiated = jax.grad(loss, has_aux=True)({"generator": state.params["generator"]})
        return differentiated, gan_zoo.generator_step(nets(name), state, batch, noise)[0]

    return jax.jit(update)


def check_generator(name: str, state, folder: str):
    """Terms and gradient of the generator; returns the updated state."""
    value, batch, noise = under(ARRAYS, f"{folder}/val"), batch_of(folder), noise_of(folder, ("G", "3"))
    (gradient, metrics), after = generator_update(name)(state, batch, noise)
    likelihood = value.get("c_errG_fake", value.get("c_errG"))
    scale = max(np.abs(value["G_cost"]), np.max(np.abs(value.get("criticG_fake", 0))))  # the mean of scores of any sign
    assert_close(metrics["loss/adversarial"], value["G_cost"], scale=scale, what="G_cost")
    assert_close(metrics["loss/classification"], state.hyper["cls_weight"] * likelihood, what="c_errG")
    if name != "wgan":
        assert_close(metrics["loss/decay"], last(value, "reg_loss").reshape(()), what="reg_loss")
    constant = -value["gen_loss"] if name == "cramergan" else np.float32(0)  # without a gradient
    assert_sum_close(metrics["loss/generator"], [value["errG"].reshape(()), constant], "errG")
    check_gradient(gradient["generator"], folder, "generator")
    return check_step(state, after, folder, "generator")


@functools.cache
def reader_update(name: str):
    """(state, batch, noise) -> information and its gradient; state after the reader's step."""

    def update(state, batch, noise):
        fake, _ = gan_zoo.make_fakes(nets(name), state, batch.a, noise)

        def loss(reader):
            return gan_zoo.information(nets(name), reader, fake, noise.z)

        differentiated = jax.value_and_grad(loss)(state.params["reader"])
        return differentiated, gan_zoo.reader_step(nets(name), state, batch, noise)[0]

    return jax.jit(update)


def check_reader(name: str, state, folder: str):
    value, batch, noise = under(ARRAYS, f"{folder}/val"), batch_of(folder), noise_of(folder, ("Q", ""))
    (information, gradient), after = reader_update(name)(state, batch, noise)
    assert_close(information, value["MI_loss"], what="MI_loss")
    check_gradient(gradient, folder, "reader")
    check_step(state, after, folder, "reader")


def check_control(state, metrics, value):
    """BEGAN's K, and the best measure of convergence so far, which a little better is not."""
    before, extra = state.extra["best"], gan_objectives.control(state.extra, metrics, state.hyper)
    assert_close(extra["k"], value["K_update"], what="K")
    better = value["convergence"] < (1 - gan_objectives.PLATEAU_THRESHOLD) * before
    assert_close(extra["best"], value["convergence"] if better else before, what="best convergence")
    return state._replace(extra=extra)


def test_updates_equal_recorded(name):
    state = start(name)
    for folder in folders(name):
        value = under(ARRAYS, f"{folder}/val")
        state, metrics = check_critic(name, state, folder)
        if "LAMBDA" in value:
            assert_close(state.extra["lambda"], value["LAMBDA"].reshape(()), what="LAMBDA")
        state = check_generator(name, state, folder)
        if "K_update" in value:
            state = check_control(state, metrics, value)
        if info(name):
            check_reader(name, state, folder)


def test_all_adversarial_blocks_are_checked():
    adversarial = {
        block for block, options in OPTIONS["full"].items() if options["script"].startswith(("GAN/", "main"))
    }
    assert set(BLOCKS.values()) == adversarial
    assert set(BLOCKS) - {"main"} == set(gan_objectives.PUBLISHED)


def test_synthesis_equals_recorded():
    """Half of a class's rows are made of its semantics as they are, the others of noisy ones."""
    rng, options = under(ARRAYS, "main_syn/rng"), OPTIONS["main_syn"]
    generator = zerodiff.as_jax(generator_of("main_syn/w"))
    made, make_rows = [], jax.jit(partial(gan_zoo.make_rows, nets("main")))
    for place, label in enumerate(options["classes"]):
        half = len(rng[f"c{place}_noise_1"])
        a = jnp.asarray(np.tile(ARRAYS["main_syn/attribute"][label], (options["num"], 1)))
        z = np.concatenate([rng[f"c{place}_noise_1"], rng[f"c{place}_noise_2"]])
        semantics = np.concatenate([np.zeros((half, SPEC.a_dim), np.float32), rng[f"c{place}_att_noise"]])
        noisy = np.arange(options["num"]) >= half
        deviation = jnp.asarray(options["att_noise"] * noisy[:, None], jnp.float32)
        noise = Noise(jnp.asarray(z), jnp.asarray(semantics))
        made.append(make_rows(generator, a, noise, deviation)[0])
    assert_close(np.concatenate(made), ARRAYS["main_syn/feature"])

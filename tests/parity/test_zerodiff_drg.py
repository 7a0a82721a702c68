"""Every recorded step of stage 1 (DRG): losses, gradients, updated weights, sampling."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.parity import weights, zerodiff
from tests.parity.recorded import assert_close, assert_sum_close, load, under
from zsl_jax.train_steps import zerodiff_drg
from zsl_jax.train_steps.method import hyper_parameters

ARRAYS, META = load("zerodiff_drg_step")
OPTIONS = META["options"]
SIZES = zerodiff.sizes(OPTIONS)
LAYOUT = weights.layout(OPTIONS, "drg")
NETS = zerodiff_drg.make_nets(zerodiff.config(OPTIONS).drg, zerodiff.spec(OPTIONS))
CRITIC_NAMES = {"r0": "netD_r0", "rt": "netD_rt", "decoder": "netDec"}
GENERATOR_NAMES = {"generator": "netR"}
NAMES = CRITIC_NAMES | GENERATOR_NAMES
BLOCKS = [f"D{k + 1}" for k in range(OPTIONS["n_D_steps"])]


def recorded(prefix, names=NAMES):
    return weights.nets(LAYOUT, names, ARRAYS, prefix, SIZES)


def fresh_state():
    config = zerodiff.config(OPTIONS)
    method = zerodiff_drg.build(config, zerodiff.spec(OPTIONS))
    hyper = hyper_parameters(config.drg, zerodiff_drg.HYPER)
    return zerodiff.start(method.init, {}, hyper, recorded("w0"))


def batch_of(block):
    given = under(ARRAYS, f"{block}/in")
    empty = np.zeros((len(given["label"]), 0), np.float32)
    return zerodiff.batch(empty, given["r_0_real"], given["att_0_real"], given["label"])


def generator_noise_of(block):
    rng = under(ARRAYS, f"{block}/rng")
    return zerodiff_drg.GeneratorNoise(jnp.asarray(rng["z"]), zerodiff.pair_noise(rng))


def critic_noise_of(block):
    rng = under(ARRAYS, f"{block}/rng")
    alphas = {name: jnp.asarray(rng[f"alpha_gp_{name}"]) for name in zerodiff_drg.CRITICS}
    return zerodiff_drg.CriticNoise(*generator_noise_of(block), alphas)


@jax.jit
def critic_update(state, batch, noise):
    """Pairs, gradients and metrics, the state after the step."""
    pairs = zerodiff_drg.make_pairs(NETS, state.params["generator"], batch.r, batch.a, noise)

    def loss(params):
        return zerodiff_drg.critic_loss(NETS, params, pairs, batch.a, noise.alphas, state.hyper)

    differentiated = jax.grad(loss, has_aux=True)({name: state.params[name] for name in CRITIC_NAMES})
    return pairs, differentiated, zerodiff_drg.critic_step(NETS, state, batch, noise)[0]


def check_critic_block(block, pairs, gradients, metrics):
    value = under(ARRAYS, f"{block}/val")
    for ours, theirs in {
        "real_t": "r_t_real",
        "following": "r_tp1_real",
        "fake": "r_0_fake",
        "fake_t": "r_t_fake",
    }.items():
        assert_close(getattr(pairs, ours), value[theirs], what=theirs)
    assert_close(metrics["penalty/r0"], value["gp_r0"], what="gp_r0")
    assert_close(metrics["penalty/rt"], value["gp_rt"], what="gp_rt")
    assert_close(metrics["loss/decoder"], value["R_cost"], what="R_cost")
    for name in zerodiff_drg.CRITICS:
        fake = {"r0": "criticD_fake_r0", "rt": "criticG_fake_rt"}[name]
        assert_sum_close(metrics[f"wasserstein/{name}"], [-value[f"criticD_real_{name}"], -value[fake]], f"W_{name}")
    terms = [value[name] for name in ("criticD_real", "criticD_fake", "gp")]
    assert_sum_close(metrics["loss/critic"], terms, "critic loss")
    zerodiff.assert_gradients_close(gradients, recorded(f"{block}/grad", CRITIC_NAMES), block)


@jax.jit
def generator_update(state, batch, noise):
    """Gradient and metrics, the state after the step."""

    def loss(generator):
        return zerodiff_drg.generator_loss(NETS, generator, state.params, batch, noise, state.hyper)

    differentiated = jax.grad(loss, has_aux=True)(state.params["generator"])
    return differentiated, zerodiff_drg.generator_step(NETS, state, batch, noise)[0]


def check_generator_block(block, gradient, metrics):
    value = under(ARRAYS, f"{block}/val")
    costs = [value[f"criticG_fake_{name}"] for name in zerodiff_drg.CRITICS]
    assert_close(metrics["loss/generator"], value["G_cost"], scale=costs, what="G_cost")
    assert_close(metrics["loss/decoder_fake"], value["loss_att_mse"], what="loss_att_mse")
    zerodiff.assert_gradients_close({"generator": gradient}, recorded(f"{block}/grad", GENERATOR_NAMES), block)


def check_step(before, after, block, names):
    expected, gradients = (recorded(f"{block}/{what}", names) for what in ("after", "grad"))
    return zerodiff.check_step(before, after, expected, gradients, block)


def test_steps_equal_recorded():
    state = fresh_state()
    for block in BLOCKS:
        pairs, differentiated, after = critic_update(state, batch_of(block), critic_noise_of(block))
        check_critic_block(block, pairs, *differentiated)
        state = check_step(state, after, block, CRITIC_NAMES)
    differentiated, after = generator_update(state, batch_of(BLOCKS[-1]), generator_noise_of("G"))
    check_generator_block("G", *differentiated)
    check_step(state, after, "G", GENERATOR_NAMES)


def test_sample_equals_recorded():
    generator = zerodiff.as_jax(recorded("G/after", GENERATOR_NAMES))["generator"]
    rng = under(ARRAYS, "sample/rng")
    r = zerodiff_drg.sample(
        NETS, generator, jnp.asarray(ARRAYS["sample/in/att"]), jnp.asarray(rng["z"]), jnp.asarray(rng["r_t"])
    )
    assert_close(r, ARRAYS["sample/out"])

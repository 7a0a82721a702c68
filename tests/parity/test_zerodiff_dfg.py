"""Every recorded step of stage 2 (DFG): losses, gradients, updated weights, lambda, sampling, V2S."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity import weights, zerodiff
from tests.parity.recorded import assert_close, assert_sum_close, last, load, under
from zsl_jax import losses
from zsl_jax.nets.layers import apply
from zsl_jax.train_steps import zerodiff_dfg
from zsl_jax.train_steps.method import hyper_parameters

ARRAYS, META = load("zerodiff_dfg_step")
OPTIONS = META["options"]
SIZES = zerodiff.sizes(OPTIONS)
LAYOUT = weights.layout(OPTIONS, "drg", "dfg")
NETS = zerodiff_dfg.make_nets(zerodiff.config(OPTIONS), zerodiff.spec(OPTIONS))
CRITIC_NAMES = {"x0": "netD_x0", "xt": "netD_xt", "xc": "netD_xc", "decoder": "netDec"}
GENERATOR_NAMES = {"encoder": "netE", "generator": "netG"}
if not OPTIONS["freeze_dec"]:
    GENERATOR_NAMES["decoder"] = "netDec"
BLOCKS = [f"D{k + 1}" for k in range(OPTIONS["n_D_steps"])]


def recorded(prefix, names):
    return weights.nets(LAYOUT, names, ARRAYS, prefix, SIZES)


def fresh_state():
    config = zerodiff.config(OPTIONS)
    method = zerodiff_dfg.build(config, zerodiff.spec(OPTIONS))
    hyper = hyper_parameters(config.dfg, zerodiff_dfg.HYPER)
    representation = recorded("w0", {"representation": "netR"})
    upstream = {"drg": {"generator": representation["representation"]}}
    extra = {"penalty_weight": jnp.float32(hyper["penalty_weight"])}
    params = recorded("w0", CRITIC_NAMES | GENERATOR_NAMES)
    return zerodiff.start(method.init, upstream, hyper, params, representation, extra)


def batch_of(block):
    given = under(ARRAYS, f"{block}/in")
    return zerodiff.batch(given["x_0_real"], given["con_0_real"], given["att_0_real"], given["label"])


def generator_noise_of(block):
    rng = under(ARRAYS, f"{block}/rng")
    return zerodiff_dfg.GeneratorNoise(jnp.asarray(rng["eps_E"]), zerodiff.pair_noise(rng))


def critic_noise_of(block):
    rng = under(ARRAYS, f"{block}/rng")
    alphas = {name: jnp.asarray(rng[f"alpha_gp_{name}"]) for name in zerodiff_dfg.CRITICS}
    return zerodiff_dfg.CriticNoise(*generator_noise_of(block), alphas)


@jax.jit
def critic_update(state, batch, noise):
    """Pairs and latents, gradients and metrics, the state after the step."""
    pairs, *latents = zerodiff_dfg.make_pairs(NETS, state.params, batch, noise)

    def loss(params):
        weight = state.extra["penalty_weight"]
        return zerodiff_dfg.critic_loss(NETS, params, pairs, batch, noise.alphas, state.hyper, weight)

    differentiated = jax.grad(loss, has_aux=True)({name: state.params[name] for name in CRITIC_NAMES})
    return (pairs, *latents), differentiated, zerodiff_dfg.critic_step(NETS, state, batch, noise)[0]


def check_critic_block(block, made, gradients, metrics):
    value, (pairs, mean, log_variance) = under(ARRAYS, f"{block}/val"), made
    assert_close(mean, value["means"], what="means")
    assert_close(log_variance, value["log_var"], what="log_var")
    for ours, theirs in {
        "real_t": "x_t_real",
        "following": "x_tp1_real",
        "fake": "x_0_fake",
        "fake_t": "x_t_fake",
    }.items():
        assert_close(getattr(pairs, ours), value[theirs], what=theirs)
    for name in zerodiff_dfg.CRITICS:
        assert_close(metrics[f"penalty/{name}"], value[f"gp_{name}"], what=f"gp_{name}")
        scores = last(value, f"criticD_real_{name}")
        assert_close(
            metrics[f"wasserstein/{name}"], value[f"Wasserstein_D_{name}"].mean(), scale=scores, what=f"W_{name}"
        )
    assert_close(metrics["loss/mutual"], last(value, "distill_loss"), what="distill_loss")
    assert_close(metrics["loss/decoder"], value["R_cost"], what="R_cost")
    assert_close(metrics["penalty/sum"], value["gp"], what="gp")
    terms = [last(value, name) for name in ("criticD_real", "criticD_fake", "gp")]
    assert_sum_close(metrics["loss/critic"], terms, "critic loss")
    zerodiff.assert_gradients_close(gradients, recorded(f"{block}/grad", CRITIC_NAMES), block)


@jax.jit
def generator_update(state, batch, noise):
    """Gradients and metrics, the state after the step."""

    def loss(trained):
        return zerodiff_dfg.generator_loss(NETS, trained, state.params, batch, noise, state.hyper)

    differentiated = jax.grad(loss, has_aux=True)({name: state.params[name] for name in GENERATOR_NAMES})
    return differentiated, zerodiff_dfg.generator_step(NETS, state, batch, noise)[0]


def check_generator_block(block, gradients, metrics):
    value = under(ARRAYS, f"{block}/val")
    assert_close(metrics["loss/vae"], value["vae_loss_seen"], what="vae_loss")
    costs = [value[f"criticG_fake_{name}"] for name in zerodiff_dfg.CRITICS]
    assert_close(metrics["loss/adversarial"], value["G_cost"], scale=costs, what="G_cost")
    assert_close(metrics["loss/decoder_fake"], value["R_cost"], what="R_cost")
    assert_close(metrics["loss/generator"], last(value, "errG"), scale=[value["vae_loss_seen"], *costs], what="errG")
    zerodiff.assert_gradients_close(gradients, recorded(f"{block}/grad", GENERATOR_NAMES), block)


def check_step(before, after, block, names):
    expected, gradients = (recorded(f"{block}/{what}", names) for what in ("after", "grad"))
    return zerodiff.check_step(before, after, expected, gradients, block)


def test_steps_equal_recorded():
    state = fresh_state()
    for block in BLOCKS:
        made, differentiated, after = critic_update(state, batch_of(block), critic_noise_of(block))
        check_critic_block(block, made, *differentiated)
        state = check_step(state, after, block, CRITIC_NAMES)
    differentiated, after = generator_update(state, batch_of(BLOCKS[-1]), generator_noise_of("G"))
    check_generator_block("G", *differentiated)
    check_step(state, after, "G", GENERATOR_NAMES)


def test_lambda_rule_equals_recorded():
    start = OPTIONS["lambda1"]
    for penalty, expected in ARRAYS["lam/rule"]:
        assert_close(losses.adapt_lambda(jnp.float32(start), jnp.float32(penalty)), expected, what=f"g={penalty}")


def test_lambda_uses_the_sum_over_critics_over_a_one_critic_normaliser():
    state = fresh_state()
    gamma = OPTIONS["gamma_ADV"]
    weights_seen, sums = ARRAYS["lam/lambda1"], ARRAYS["lam/gp_sum"]
    for before, total, after in zip(weights_seen[:-1], sums, weights_seen[1:], strict=True):
        given = state._replace(extra={"penalty_weight": jnp.float32(before)})
        mean = jnp.float32(total / OPTIONS["critic_iter"])
        adapted = zerodiff_dfg.adapt_penalty_weight(given, mean)
        assert_close(adapted.extra["penalty_weight"], after, what=f"lambda {before}, sum {total}, gamma {gamma}")


@pytest.mark.parametrize("sampler", ["oneshot", "progressive"])
def test_samples_equal_recorded(sampler):
    params = zerodiff.as_jax(recorded("sample/w", {"generator": "netG", "representation": "netR"}))
    rng = under(ARRAYS, f"sample/{sampler}/rng")
    steps = [rng.get(f"noise_posterior_step{i}", np.zeros_like(rng["x_T"])) for i in range(NETS.schedule.n_steps)]
    noise = zerodiff_dfg.SamplingNoise(
        z=jnp.asarray(rng["z"]),
        z_r=jnp.asarray(rng["z_con"]),
        x_t=jnp.asarray(rng["x_T"]),
        r_t=jnp.asarray(rng["r_T"]),
        posterior=jnp.asarray(np.stack(steps)),
    )
    sample = jax.jit(partial(zerodiff_dfg.sample, NETS), static_argnums=3)
    made = sample(params, jnp.asarray(ARRAYS["sample/in/att"]), noise, sampler == "progressive")
    assert_close(made["x"], ARRAYS[f"sample/{sampler}/x_0_fake"], what="x")
    assert_close(made["r"], ARRAYS[f"sample/{sampler}/r_0_fake"], what="r")


def test_decoder_equals_recorded():
    decoder = zerodiff.as_jax(recorded("v2s/w", {"decoder": "netDec"}))["decoder"]
    out, hidden = apply(NETS.decoder, decoder, jnp.asarray(ARRAYS["v2s/in"]))
    assert_close(out, ARRAYS["v2s/out"])
    assert_close(hidden, ARRAYS["v2s/hidden"])
    target = jnp.asarray(ARRAYS[f"{BLOCKS[:2][-1]}/in/att_0_real"][: len(out)])
    assert_close(losses.weighted_l1(out, target), ARRAYS["v2s/WeightedL14att"])

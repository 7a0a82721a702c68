"""Every recorded step of D2SC, both stages: losses, gradients before and after clipping, updated weights, sampling."""

import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.parity import weights, zerodiff
from tests.parity.recorded import GRADIENT, OUTPUT, assert_close, assert_sum_close, last, load, under
from zsl_jax import losses
from zsl_jax.nets.layers import apply
from zsl_jax.train_steps import adversarial, d2sc, zerodiff_dfg, zerodiff_drg
from zsl_jax.train_steps.adversarial import CriticNoise, GeneratorNoise
from zsl_jax.train_steps.method import Batch, TrainState, hyper_parameters

ARRAYS, META = load("d2sc_step")
OPTIONS = META["options"]
SIZES = zerodiff.sizes(OPTIONS)
SPEC = zerodiff.spec(OPTIONS)
DRG_CRITICS = {"r0": "netD_c0", "rt": "netD_ct", "decoder": "netDec"}
DFG_CRITICS = {"x0": "netD_x0", "xt": "netD_xt", "xc": "netD_xc", "decoder": "netDec"}
DFG_GENERATORS = {"encoder": "netE", "generator": "netG"}
if not OPTIONS["dfg"]["freeze_dec"]:
    DFG_GENERATORS["decoder"] = "netDec"
BLOCKS = [f"D{k + 1}" for k in range(OPTIONS["n_D_steps"])]
NEGATIVES = {"none": "none", "mismatch_att": "mismatched"}
MISMATCHED = OPTIONS["drg"]["drg_neg_sampling"] == "mismatch_att"


def config() -> Any:
    drg, dfg = OPTIONS["drg"], OPTIONS["dfg"]
    lowest, highest = dfg["kld_clamp"]
    assert lowest == 0
    first: Any = zerodiff.config({**OPTIONS, **drg})
    second: Any = zerodiff.config({**OPTIONS, **dfg})
    made = {d2sc.DRG: first.drg.to_dict(), d2sc.DFG: second.dfg.to_dict()}
    made[d2sc.DRG] |= {
        "gamma_con_step": drg["gamma_CON_step"], "negatives": NEGATIVES[drg["drg_neg_sampling"]],
        "negative_ratio": drg["drg_neg_ratio"],
    }  # fmt: skip
    made[d2sc.DFG] |= {
        "kl_limit": highest, "gamma_mmd": dfg["gamma_mmd"], "mmd_sigma": dfg["mmd_sigma"],
        "gamma_center": dfg["gamma_center"], "clip_norm": dfg["clip_max_norm"], "train_s2v": False, "unseen_bias": 0.0,
    }  # fmt: skip
    return ConfigDict(made)


LAYOUTS = {
    "drg": weights.layout(OPTIONS["drg"], d2sc.DRG),
    "dfg": weights.layout(OPTIONS["dfg"], d2sc.DRG, d2sc.DFG),
}
DRG_NETS = d2sc.make_prior_nets(config(), SPEC)
DFG_NETS = d2sc.make_feature_nets(config(), SPEC)


def recorded(prefix: str, names: dict[str, str]) -> dict[str, Any]:
    return weights.nets(LAYOUTS[prefix.split("/")[0]], names, ARRAYS, prefix, SIZES)


def fresh_state(stage: str) -> TrainState:
    method = d2sc.STAGES[stage].build(config(), SPEC)
    hyper = hyper_parameters(config()[stage], d2sc.STAGES[stage].numbers)
    if stage == d2sc.DRG:
        return zerodiff.start(method.init, {}, hyper, recorded("drg/w0", DRG_CRITICS | {"generator": "netG_con"}))
    frozen = recorded("dfg/w0", {"representation": "netG_con", "s2v": "netS2V"})
    upstream = {d2sc.DRG: {"generator": frozen["representation"]}}
    seen = jnp.full((SPEC.n_classes, SPEC.a_dim), jnp.inf)
    extra = {"penalty_weight": jnp.float32(hyper["penalty_weight"]), "seen": seen}
    params = recorded("dfg/w0", DFG_CRITICS | DFG_GENERATORS)
    return zerodiff.start(method.init, upstream, hyper, params, frozen, extra)


def batch_of(block: str) -> Batch:
    given = under(ARRAYS, f"{block}/in")
    x = given.get("x_0_real", np.zeros((len(given["label"]), 0), np.float32))
    return zerodiff.batch(x, given["con_0_real"], given["att_0_real"], given["label"])


def generator_noise_of(block: str) -> GeneratorNoise:
    rng = under(ARRAYS, f"{block}/rng")
    return GeneratorNoise(jnp.asarray(rng["eps_E" if block.startswith("dfg") else "z"]), zerodiff.pair_noise(rng))


def critic_noise_of(block: str, names: dict[str, str]) -> CriticNoise:
    rng = under(ARRAYS, f"{block}/rng")
    critics = {ours: theirs.removeprefix("netD_") for ours, theirs in names.items() if ours != "decoder"}
    alphas = {ours: jnp.asarray(rng[f"alpha_gp_{theirs}"]) for ours, theirs in critics.items()}
    return CriticNoise(*generator_noise_of(block), alphas)


def assert_values(values: dict[str, Any], recorded_values: dict[str, np.ndarray], names: dict[str, str]) -> None:
    for ours, theirs in names.items():
        assert_close(values[ours], recorded_values[theirs], what=theirs)


def check_step(state: TrainState, after: TrainState, block: str, names: dict[str, str]) -> TrainState:
    expected, gradients = (recorded(f"{block}/{what}", names) for what in ("after", "grad"))
    return zerodiff.check_step(state, after, expected, gradients, block)


# Stage 1.


def negatives_of(block: str) -> d2sc.Negatives:
    rng = under(ARRAYS, f"{block}/rng")
    if not MISMATCHED:
        a = batch_of(block).a
        return d2sc.Negatives(a, jnp.zeros(len(a)))
    noise = d2sc.NegativeNoise(jnp.argsort(jnp.asarray(rng["neg_idx_perm"])), jnp.asarray(rng["neg_att_perm"]))
    return d2sc.make_negatives(noise, batch_of(block).a, jnp.float32(OPTIONS["drg"]["drg_neg_ratio"]))


@jax.jit
def drg_critics(state: TrainState, batch: Batch, noise: CriticNoise, negatives: d2sc.Negatives):
    """A critic update's pairs, gradients and metrics, and the state after it."""
    pairs = zerodiff_drg.make_pairs(DRG_NETS, state.params["generator"], batch.r, batch.a, noise)

    def loss(params):
        return d2sc.prior_critic_loss(DRG_NETS, params, pairs, batch.a, noise.alphas, negatives, state.hyper)

    gradients, metrics = jax.grad(loss, has_aux=True)({name: state.params[name] for name in DRG_CRITICS})
    after, _ = d2sc.update_prior_critics(DRG_NETS, state, pairs, batch.a, noise.alphas, negatives)
    return pairs, gradients, metrics, after


def check_drg_critics(block: str, pairs, gradients, metrics) -> None:
    value = under(ARRAYS, f"{block}/val")
    names = {"real_t": "con_t_real", "following": "con_tp1_real", "fake": "con_0_fake", "fake_t": "con_t_fake"}
    assert_values(pairs._asdict(), value, names)
    assert_values(metrics, value, {"penalty/r0": "gp_c0", "penalty/rt": "gp_ct", "loss/decoder": "R_cost"})
    assert_sum_close(metrics["wasserstein/r0"], [-value["criticD_real_c0"], -value["criticD_fake_c0"]], "W_c0")
    assert_sum_close(metrics["wasserstein/rt"], [-value["criticD_real_ct"], -value["criticG_fake_ct"]], "W_ct")
    if MISMATCHED:
        assert_close(metrics["score/mismatched"], value["criticD_mismatch_c0"], what="criticD_mismatch_c0")
    terms = [last(value, name) for name in ("criticD_real", "criticD_fake", "gp")]
    assert_sum_close(metrics["loss/critic"], terms, "critic loss")
    zerodiff.assert_gradients_close(gradients, recorded(f"{block}/grad", DRG_CRITICS), block)


def check_negatives(block: str) -> None:
    value, negatives = under(ARRAYS, f"{block}/val"), negatives_of(block)
    assert set(np.flatnonzero(negatives.weights)) == set(value["idx"])
    assert np.count_nonzero(negatives.weights) == value["n_neg"]
    assert_close(negatives.a[value["idx"]], value["att_mismatch"], what="att_mismatch")


def drg_generator(state: TrainState):
    batch, noise = batch_of(f"drg/{BLOCKS[-1]}"), generator_noise_of("drg/G")

    def loss(generator):
        return d2sc.prior_generator_loss(DRG_NETS, generator, state.params, batch, noise, state.hyper)

    gradient, metrics = jax.grad(loss, has_aux=True)(state.params["generator"])
    pairs = zerodiff_drg.make_pairs(DRG_NETS, state.params["generator"], batch.r, batch.a, noise)
    return pairs, {"generator": gradient}, metrics, d2sc.prior_generator_step(DRG_NETS, state, batch, noise)[0]


def check_drg_generator(pairs, gradients, metrics) -> None:
    value, names = under(ARRAYS, "drg/G/val"), {"generator": "netG_con"}
    assert_values(pairs._asdict(), value, {"fake": "con_0_fake", "fake_t": "con_t_fake", "real_t": "con_t_real"})
    assert_values(metrics, value, {
        "loss/consistency": "con_step_consistency", "loss/decoder_fake": "loss_att_mse",
    })  # fmt: skip
    consistency = OPTIONS["drg"]["gamma_CON_step"] * value["con_step_consistency"]
    assert_sum_close(metrics["loss/generator"], [value["G_cost"], consistency], "errG")
    zerodiff.assert_gradients_close(gradients, recorded("drg/G/grad", names), "drg/G")


def test_representation_steps_equal_recorded():
    state = fresh_state(d2sc.DRG)
    for block in (f"drg/{block}" for block in BLOCKS):
        given = batch_of(block), critic_noise_of(block, DRG_CRITICS), negatives_of(block)
        pairs, gradients, metrics, after = drg_critics(state, *given)
        check_drg_critics(block, pairs, gradients, metrics)
        if MISMATCHED:
            check_negatives(block)
        state = check_step(state, after, block, DRG_CRITICS)
    pairs, gradients, metrics, after = jax.jit(drg_generator)(state)
    check_drg_generator(pairs, gradients, metrics)
    check_step(state, after, "drg/G", {"generator": "netG_con"})


# Stage 2.


@jax.jit
def dfg_critics(state: TrainState, batch: Batch, noise: CriticNoise):
    """As `drg_critics`; gradients before and after clipping, and the latents."""
    pairs, mean, log_variance = zerodiff_dfg.make_pairs(DFG_NETS, state.params, batch, noise)
    z = mean + jnp.exp(0.5 * log_variance) * noise.z
    latents = {"means": mean, "log_var": log_variance, "z": z}

    def loss(params):
        weight = state.extra["penalty_weight"]
        return zerodiff_dfg.critic_loss(DFG_NETS, params, pairs, batch, noise.alphas, state.hyper, weight)

    gradients, metrics = jax.grad(loss, has_aux=True)({name: state.params[name] for name in DFG_CRITICS})
    clipped = adversarial.clip(gradients, state.hyper["clip_norm"])
    after, norms = zerodiff_dfg.update_critics(DFG_NETS, state, pairs, batch, noise.alphas)
    return pairs, latents, gradients, clipped, metrics | norms, after


def check_clipping(block: str, names: dict[str, str], gradients, clipped, metrics, suffix: str = "") -> None:
    zerodiff.assert_gradients_close(gradients, recorded(f"{block}/preclip", names), f"{block} before")
    zerodiff.assert_gradients_close(clipped, recorded(f"{block}/grad", names), f"{block} after")
    for ours, theirs in names.items():
        norm = ARRAYS[f"{block}/gradnorm/{theirs}"]
        assert_close(metrics[f"grad_norm/{ours}{suffix}"], norm, GRADIENT, what=theirs)


def check_dfg_critics(block: str, pairs, latents, metrics) -> None:
    value = under(ARRAYS, f"{block}/val")
    for name, array in latents.items():
        assert_close(array, value[name], what=name)
    names = {"real_t": "x_t_real", "following": "x_tp1_real", "fake": "x_0_fake", "fake_t": "x_t_fake"}
    assert_values(pairs._asdict(), value, names)
    for name in zerodiff_dfg.CRITICS:
        assert_close(metrics[f"penalty/{name}"], value[f"gp_{name}"], what=f"gp_{name}")
        scores = last(value, f"criticD_real_{name}")
        assert_close(
            metrics[f"wasserstein/{name}"], value[f"Wasserstein_D_{name}"].mean(), scale=scores, what=f"W_{name}"
        )
    assert_values(metrics, value, {"loss/mutual": "distill_loss__2", "loss/decoder": "R_cost", "penalty/sum": "gp"})
    terms = [last(value, name) for name in ("criticD_real", "criticD_fake", "gp")]
    assert_sum_close(metrics["loss/critic"], terms, "critic loss")


def check_test_scores(state: TrainState, block: str) -> None:
    """The scores of test rows of seen classes that the published program logs, after the update."""
    value, t = under(ARRAYS, f"{block}/val"), jnp.asarray(ARRAYS[f"{block}/rng/ts"], jnp.int32)
    a, r, next_x = (jnp.asarray(value[f"test_seen_{name}"]) for name in ("att_0_real", "con_0_real", "x_tp1_real"))
    given = {"x0": {"a": a}, "xt": {"next": next_x, "a": a, "r": r, "t": t}, "xc": {"r": r}}
    rows = {"x0": "x_0_real", "xt": "x_t_real", "xc": "x_0_real"}
    for name, condition in given.items():
        x = jnp.asarray(value[f"test_seen_{rows[name]}"])
        scores = apply(DFG_NETS.critics[name], state.params[name], x, condition)
        assert_close(scores[:, None], value[f"criticD_test_real_{name}"], what=f"criticD_test_real_{name}")


def dfg_generator(state: TrainState):
    batch, noise = batch_of(f"dfg/{BLOCKS[-1]}"), generator_noise_of("dfg/G")
    frozen = state.frozen | state.params

    def loss(trained):
        return d2sc.feature_generator_loss(DFG_NETS, trained, frozen, batch, noise, state.hyper)

    trained = {name: state.params[name] for name in DFG_GENERATORS} | {"s2v": state.frozen["s2v"]}
    gradients, metrics = jax.grad(loss, has_aux=True)(trained)
    s2v = gradients.pop("s2v")
    clipped = adversarial.clip(gradients, state.hyper["clip_norm"])
    after, norms = d2sc.feature_generator_step(DFG_NETS, state, batch, noise)
    made = zerodiff_dfg.make_pairs(DFG_NETS, state.params, batch, noise)
    return made, gradients, clipped, s2v, metrics | norms, after


def check_dfg_generator(made, metrics) -> None:
    value, recons = under(ARRAYS, "dfg/G/val"), under(ARRAYS, "dfg/G/loss_fn")
    pairs, mean, log_variance = made
    assert_values(pairs._asdict(), value, {"fake": "x_0_fake", "fake_t": "x_t_fake", "real_t": "x_t_real"})
    assert_close(mean, value["means"], what="means")
    assert_close(losses.mean_squared(pairs.fake, pairs.real), recons["Recon"], what="Recon")
    assert_close(losses.kl_to_standard_normal(mean, log_variance), recons["KLD"], what="KLD")
    assert_values(metrics, value, {
        "loss/vae": "vae_loss_seen", "loss/center": "center", "loss/decoder_fake": "R_cost",
    })  # fmt: skip
    assert_close(metrics["loss/mmd"], value["mmd"], scale=mean_kernel(value["x_0_fake"]), what="mmd")
    costs = [value[f"criticG_fake_{name}"] for name in zerodiff_dfg.CRITICS]
    assert_close(metrics["loss/adversarial"], value["G_cost"], scale=costs, what="G_cost")
    assert_close(metrics["loss/generator"], last(value, "errG"), scale=[value["vae_loss_seen"], *costs], what="errG")


def test_feature_steps_equal_recorded():
    state = fresh_state(d2sc.DFG)
    total = 0.0
    for block in (f"dfg/{block}" for block in BLOCKS):
        given = batch_of(block), critic_noise_of(block, DFG_CRITICS)
        pairs, latents, gradients, clipped, metrics, after = dfg_critics(state, *given)
        check_dfg_critics(block, pairs, latents, metrics)
        check_clipping(block, DFG_CRITICS, gradients, clipped, metrics)
        total += float(metrics["penalty/sum"])
        assert_close(total, ARRAYS[f"{block}/val/gp_sum__2"], what="gp_sum")
        state = check_step(state, after, block, DFG_CRITICS)
        check_test_scores(state, block)
    made, gradients, clipped, s2v, metrics, after = jax.jit(dfg_generator)(state)
    check_dfg_generator(made, metrics)
    check_clipping("dfg/G", DFG_GENERATORS, gradients, clipped, metrics, "_step")
    check_step(state, after, "dfg/G", DFG_GENERATORS)
    # What the published code computes for S2V and never uses.
    zerodiff.assert_gradients_close({"s2v": s2v}, recorded("dfg/G/stray_grad", {"s2v": "netS2V"}), "stray")
    np.testing.assert_array_equal(after.frozen["s2v"]["kernel"], state.frozen["s2v"]["kernel"])


def test_centres_equal_recorded():
    s2v = zerodiff.as_jax(recorded("dfg/w0", {"s2v": "netS2V"}))["s2v"]
    made = d2sc.centres(s2v, jnp.asarray(ARRAYS["dfg/G/val/centers"]))
    assert_close(made, ARRAYS["dfg/G/val/visual_semantic_centers"])


# Losses alone.


def mean_kernel(rows: np.ndarray) -> np.ndarray:
    """Of a sample [B, D] with itself: a term of the discrepancy, in which it may nearly cancel."""
    squares = np.sum((rows[:, None] - rows[None]) ** 2, axis=-1)
    return np.mean(np.exp(-squares / (2 * OPTIONS["dfg"]["mmd_sigma"] ** 2)))


@pytest.mark.parametrize("case", sorted({key.split("/")[1] for key in ARRAYS if key.startswith("mmd/")}))
def test_discrepancy_equals_recorded(case):
    found = under(ARRAYS, f"mmd/{case}")
    if "x" not in found:  # rows of the real size are not stored: of any, the kernels between different rows underflow
        rows, width = (int(part[1:]) for part in case.split("_"))
        drawn = np.random.default_rng(0).random((2, rows, width)).astype(np.float32)
        found |= {"x": drawn[0], "y": drawn[1]}
    loss = jax.jit(jax.value_and_grad(losses.gaussian_discrepancy))
    value, gradient = loss(jnp.asarray(found["x"]), jnp.asarray(found["y"]), OPTIONS["dfg"]["mmd_sigma"])
    assert_close(value, found["value"], scale=mean_kernel(found["x"]))
    if "grad_x" in found:
        assert_close(gradient, found["grad_x"], GRADIENT)
        assert_close(jnp.linalg.norm(gradient), found["gradnorm"], GRADIENT)
    else:
        assert_close(jnp.linalg.norm(gradient), found["gradnorm"], scale=found["value"])


def test_centre_distance_equals_recorded():
    """The original looks its centres up by label and forces labels into the table; ours takes each row's centre."""
    found = under(ARRAYS, "center")
    rows = found["centers"][np.clip(found["labels"], 0, len(found["centers"]) - 1)]
    loss = jax.jit(jax.value_and_grad(losses.centre_distance))
    value, gradient = loss(jnp.asarray(found["features"]), jnp.asarray(rows))
    assert_close(value, found["value"])
    assert_close(gradient, found["grad_features"], GRADIENT)


@pytest.mark.parametrize("case", OPTIONS["kld"])
def test_vae_loss_equals_recorded(case):
    found = under(ARRAYS, f"loss_fn/{case}")
    limit = OPTIONS["dfg"]["kld_clamp"][1]
    given = [jnp.asarray(found[name]) for name in ("recon_x", "mean", "log_var")]

    def loss(fake, mean, log_variance):
        return d2sc.vae_loss(fake, jnp.asarray(found["x"]), mean, log_variance, jnp.float32(limit), None)

    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(*given)
    assert_close(value, found["value"])
    for gradient, name in zip(gradients, ("recon", "mean", "log_var"), strict=True):
        assert_close(gradient, found[f"grad_{name}"], GRADIENT, what=name)
    assert_close(losses.mean_squared(given[0], jnp.asarray(found["x"])), found["val/Recon"])
    assert_close(losses.kl_to_standard_normal(*given[1:]), found["val/KLD"])


# Sampling.


@functools.cache
def sampling_params(bias: float) -> dict[str, Any]:
    params = zerodiff.as_jax(recorded("dfg/sample/w", {"generator": "netG", "representation": "netG_con"}))
    table = jnp.asarray(ARRAYS["dfg/G/val/centers"])
    seen = (
        jnp.full_like(table, jnp.inf).at[np.array(OPTIONS["seenclasses"])].set(table[np.array(OPTIONS["seenclasses"])])
    )
    return params | {"latents": {"bias": jnp.float32(bias), "seen": seen}}


@pytest.mark.parametrize("sampler", ["one", "pro"])
@pytest.mark.parametrize("case", OPTIONS["sample_classes"])
def test_samples_equal_recorded(case, sampler):
    """As published the bias is added only to as many rows as there are unseen classes: that is what `n3` has."""
    found = under(ARRAYS, f"dfg/sample/{case}_{sampler}")
    rng = under(found, "rng")
    classes = OPTIONS["sample_classes"][case]
    biased = len(classes) == len(OPTIONS["unseenclasses"])
    assert biased == ("val/z__2" in found)
    params = sampling_params(OPTIONS["dfg"]["unseen_bias"] if biased else 0.0)
    steps = [rng.get(f"noise_posterior_step{i}", np.zeros_like(rng["x_T"])) for i in range(DFG_NETS.schedule.n_steps)]
    z, z_r, x_t, r_t = (jnp.asarray(rng[name]) for name in ("z", "z_con", "x_T", "con_T"))
    noise = zerodiff_dfg.SamplingNoise(z, z_r, x_t, r_t, jnp.asarray(np.stack(steps)))
    a = jnp.asarray(found["in/att"])
    assert_close(noise.z + d2sc.latent_bias(params["latents"], a), found["val/z__2" if biased else "val/z"], OUTPUT)
    made = jax.jit(partial(d2sc.sample, DFG_NETS), static_argnums=3)(params, a, noise, sampler == "pro")
    assert_close(made["x"], found["x_0_fake"], what="x")
    assert_close(made["r"], found["con_0_fake"], what="r")


def test_bias_of_unseen_classes_equals_recorded():
    recorded_bias = ARRAYS["dfg/w0/unseen_bias"]
    table = ARRAYS["dfg/G/val/centers"]
    bias = d2sc.latent_bias(sampling_params(OPTIONS["dfg"]["unseen_bias"])["latents"], jnp.asarray(table))
    unseen = np.array(OPTIONS["unseenclasses"])
    assert_close(np.broadcast_to(bias[unseen], recorded_bias.shape), recorded_bias)
    assert not np.delete(np.asarray(bias), unseen, axis=0).any()

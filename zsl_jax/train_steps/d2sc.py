"""D2SC (dual-stage diffusion-guided semantic-visual coupling): ZeroDiff with regularised stages.

Stage "d2sc_drg" (its contrastive prior regulariser) is ZeroDiff's DRG with
- timestep consistency: gamma_con_step times the mean squared error of the sampled r_t from the real r_t, in R's loss;
- mismatched semantics, as an option: a share of the rows keeps its real r but takes another row's semantics, and the
  score that the r_0 critic gives them joins the fake side of its loss, times the share.

Stage "d2sc_dfg" (its visual feature synthesizer) is ZeroDiff's DFG with
- a mean squared error over all entries instead of the summed cross-entropy, and the KL clamped to 0..kl_limit;
- gamma_mmd times the squared maximum mean discrepancy of the fake from the real batch;
- gamma_center times the mean squared distance of fake x from S2V(a), S2V one dense layer from semantics to features;
- gradients of every net clipped to the global norm clip_norm.

What the published code declares and never applies. By default these are as published, i.e. off:
- `unseen_bias` (published 1.3; 0 is off) was meant to move the latent noise of unseen classes in synthesis. As
  published it is added only when as many rows are asked for as there are unseen classes, which never happens, and then
  to row i whatever its class. Here it is added to the latents of every class that the stage was not trained on.
- `train_s2v` (off) gives S2V an optimiser. As published it is in none, so that the "centres" are a fixed random map of
  the semantics; the centre loss gives it a gradient, which is the one used here.

Kept as published: the mean squared error is about 2048 times lighter than ZeroDiff's cross-entropy, and with sigma 1 on
2048 dimensions the kernel underflows: the discrepancy is 2 / B, its gradient about 1e-16 (see `mmd_sigma`).
The name notwithstanding, there is no contrastive term; prototypes stand in the published options without code.

Source: the published code; no paper is known to us.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from zsl_jax import losses
from zsl_jax.errors import InputError
from zsl_jax.nets.layers import apply
from zsl_jax.train_steps import adversarial, mapped, zerodiff_dfg, zerodiff_drg
from zsl_jax.train_steps.adversarial import GeneratorNoise, Pairs
from zsl_jax.train_steps.method import Batch, Entry, Method, Metrics, Numbers, Params, Spec, TrainState, Trees

DRG, DFG = "d2sc_drg", "d2sc_dfg"
NEGATIVES = ("none", "mismatched")
PRIOR_HYPER = (*zerodiff_drg.HYPER, "gamma_con_step", "negative_ratio")
FEATURE_HYPER = (
    *zerodiff_dfg.HYPER, "kl_limit", "gamma_mmd", "mmd_sigma", "gamma_center", "clip_norm", "unseen_bias",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class PriorNets(zerodiff_drg.Nets):
    """ZeroDiff's stage 1, and whether the r_0 critic also sees mismatched semantics."""

    mismatched: bool


@dataclasses.dataclass(frozen=True)
class FeatureNets(zerodiff_dfg.Nets):
    """ZeroDiff's stage 2, and whether S2V is trained."""

    train_s2v: bool


class NegativeNoise(NamedTuple):
    """Noise of mismatched rows, int32 [..., B]: rank of each row (the lowest are taken), and whose semantics it gets.

    Both are permutations of a batch. As published, a row's partner may be of its own class, or the row itself.
    """

    rank: jax.Array
    partner: jax.Array


class Negatives(NamedTuple):
    """Mismatched rows: semantics a [..., B, A], weights [..., B] of mean 1 over rows, 0 where the row is not taken."""

    a: jax.Array
    weights: jax.Array


# Stage 1: representations.


def make_prior_nets(config, spec: Spec) -> PriorNets:
    """Builds the nets of a whole configuration (with a section "d2sc_drg") for the sizes of `spec`."""
    negatives = config[DRG].negatives
    if negatives not in NEGATIVES:
        raise InputError(f"config.{DRG}.negatives: {negatives!r}; choose one of {NEGATIVES}")
    nets = zerodiff_drg.make_nets(config[DRG], spec, DRG)
    return PriorNets(**vars(nets), mismatched=negatives == "mismatched")


def draw_negative_noise(key: jax.Array, shape: tuple[int, ...]) -> NegativeNoise:
    """Draws the noise of mismatched rows for batches of `shape` [..., B]."""
    rows = jnp.broadcast_to(jnp.arange(shape[-1], dtype=jnp.int32), shape)
    permutations = [jax.random.permutation(k, rows, axis=-1, independent=True) for k in jax.random.split(key)]
    return NegativeNoise(*permutations)


def make_negatives(noise: NegativeNoise, a: jax.Array, ratio: jax.Array) -> Negatives:
    """Gives floor(ratio B) rows of each batch another row's semantics; a [..., B, A], ratio a scalar in 0..1."""
    rows = a.shape[-2]
    taken = jnp.floor(ratio * rows).astype(jnp.int32)
    weights = jnp.where(noise.rank < taken, rows / jnp.maximum(taken, 1), 0.0)
    return Negatives(jnp.take_along_axis(a, noise.partner[..., None], axis=-2), weights)


def prior_critic_loss(
    nets: PriorNets, params: Trees, pairs: Pairs, a: jax.Array, alphas: Numbers, negatives: Negatives, hyper: Numbers
) -> tuple[jax.Array, Metrics]:
    """ZeroDiff's loss of critics and decoder, and the r_0 critic's mean score of mismatched rows, times their share."""
    loss, metrics = zerodiff_drg.critic_loss(nets, params, pairs, a, alphas, hyper)
    scores = apply(nets.critics["r0"], params["r0"], pairs.real, {"a": negatives.a})
    mismatched = jnp.mean(negatives.weights * scores)
    extra = hyper["gamma_x0"] * hyper["negative_ratio"] * mismatched
    changed = {"loss/critic": metrics["loss/critic"] + extra, "score/mismatched": mismatched}
    return loss + extra, metrics | changed


update_prior_critics = partial(zerodiff_drg.update_critics, objective=prior_critic_loss)


def prior_generator_loss(
    nets: PriorNets, generator: Params, frozen: Trees, batch: Batch, noise: GeneratorNoise, hyper: Numbers
) -> tuple[jax.Array, Metrics]:
    """ZeroDiff's loss of R and timestep consistency: the sampled r_t shall be near the real r_t."""
    pairs = zerodiff_drg.make_pairs(nets, generator, batch.r, batch.a, noise)
    loss, metrics = zerodiff_drg.generator_objective(nets, frozen, pairs, batch.a, hyper)
    consistency = losses.mean_squared(pairs.fake_t, pairs.real_t)
    loss += hyper["gamma_con_step"] * consistency
    return loss, metrics | {"loss/generator": loss, "loss/consistency": consistency}


prior_generator_step = partial(zerodiff_drg.generator_step, objective=prior_generator_loss)


def prior_train_step(
    nets: PriorNets, state: TrainState, batches: Batch, key: jax.Array, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """ZeroDiff's iteration with D2SC's updates; `axis`: see `mapped`. Mismatched rows come from the whole batch."""
    if not nets.mismatched:
        return zerodiff_drg.train_step(nets, state, batches, key, axis, generator=prior_generator_step)
    key, negative_key = jax.random.split(key)
    everyone = mapped.gather_rows(batches.a, axis, dim=1)
    noise = draw_negative_noise(negative_key, everyone.shape[:2])
    negatives = make_negatives(noise, everyone, state.hyper["negative_ratio"])
    negatives = mapped.own_rows(negatives, batches.a.shape[1], axis, dim=1)
    updates = {"critics": update_prior_critics, "generator": prior_generator_step, "extras": (negatives,)}
    return zerodiff_drg.train_step(nets, state, batches, key, axis, **updates)


def build_prior(config, spec: Spec) -> Method:
    """D2SC's representation stage as a method; `config` is a whole configuration with a section "d2sc_drg"."""
    nets = make_prior_nets(config, spec)
    return zerodiff_drg.as_method("D2SC DRG", nets, spec, config[DRG].critic_iter, prior_train_step)


# Stage 2: features.


def make_feature_nets(config, spec: Spec) -> FeatureNets:
    """Builds the nets of a whole configuration (sections "d2sc_dfg" and "d2sc_drg") for the sizes of `spec`."""
    nets = zerodiff_dfg.make_nets(config, spec, DRG, DFG)
    return FeatureNets(**vars(nets), train_s2v=config[DFG].train_s2v)


def centres(s2v: Numbers, a: jax.Array) -> jax.Array:
    """S2V: visual centres [n, D] of semantics a [n, A]."""
    return a @ s2v["kernel"] + s2v["bias"][None, :]


def clamp_mean(value: jax.Array, highest: jax.Array, axis: str | None) -> jax.Array:
    """A mean over rows clamped to 0..highest, where each device has the mean over its own rows.

    What decides is the mean over the whole batch; within bounds the result is the device's own, so that the mean over
    devices has the value and the gradient of one device.
    """
    whole = mapped.mean(jax.lax.stop_gradient(value), axis)
    clamped = jnp.clip(whole, 0.0, highest)
    return jnp.where(whole == clamped, value, clamped)


def vae_loss(
    fake: jax.Array, x: jax.Array, mean: jax.Array, log_variance: jax.Array, kl_limit: jax.Array, axis: str | None
) -> jax.Array:
    """Mean squared error of fake [B, D] from x, and the clamped KL of N(mean, exp(log_variance)) [B, Z]; scalar."""
    kl = losses.kl_to_standard_normal(mean, log_variance)
    return losses.mean_squared(fake, x) + clamp_mean(kl, kl_limit, axis)


def alignment(
    fake: jax.Array, batch: Batch, s2v: Numbers, hyper: Numbers, axis: str | None
) -> tuple[jax.Array, Metrics]:
    """The weighted discrepancy of fake x [B, D] from the real batch and distance from S2V's centres, and both terms."""
    everyone, real = mapped.gather_rows((fake, batch.x), axis)
    discrepancy = losses.gaussian_discrepancy(everyone, real, hyper["mmd_sigma"])
    distance = losses.centre_distance(fake, centres(s2v, batch.a))
    loss = hyper["gamma_mmd"] * discrepancy + hyper["gamma_center"] * distance
    return loss, {"loss/mmd": discrepancy, "loss/center": distance}


def feature_generator_loss(
    nets: FeatureNets,
    trained: Trees,
    frozen: Trees,
    batch: Batch,
    noise: GeneratorNoise,
    hyper: Numbers,
    axis: str | None = None,
) -> tuple[jax.Array, Metrics]:
    """The loss of E and G (and of decoder and S2V when they are in `trained`, else in `frozen`), and its terms."""
    pairs, mean, log_variance = zerodiff_dfg.make_pairs(nets, trained, batch, noise)
    cost = zerodiff_dfg.adversarial_cost(nets, frozen, pairs, batch, hyper)
    vae = vae_loss(pairs.fake, batch.x, mean, log_variance, hyper["kl_limit"], axis)
    reconstruction = zerodiff_dfg.decoded_error(nets, trained, frozen, pairs.fake, batch.a)
    loss, metrics = zerodiff_dfg.weigh_generator_terms(vae, cost, reconstruction, hyper)
    aligned, terms = alignment(pairs.fake, batch, trained.get("s2v", frozen["s2v"]), hyper, axis)
    loss += aligned
    return loss, metrics | terms | {"loss/generator": loss}


def feature_generator_step(
    nets: FeatureNets, state: TrainState, batch: Batch, noise: GeneratorNoise, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step with clipped gradients of E and G, and of decoder and S2V if they are trained, on one batch."""
    frozen, hyper = state.frozen | state.params, state.hyper

    def loss(trained):
        return feature_generator_loss(nets, trained, frozen, batch, noise, hyper, axis)

    rates = zerodiff_dfg.generator_rates(nets, hyper) | ({"s2v": hyper["dec_lr"]} if nets.train_s2v else {})
    return adversarial.minimise(state, loss, rates, axis, zerodiff_dfg.BETA1, hyper["clip_norm"], "_step")


def feature_train_step(
    nets: FeatureNets, state: TrainState, batches: Batch, key: jax.Array, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """ZeroDiff's iteration with D2SC's updates, which remembers the semantics of classes seen; `axis`: see `mapped`."""
    state, metrics = zerodiff_dfg.train_step(nets, state, batches, key, axis, feature_generator_step)
    labels, a = mapped.gather_rows((batches.labels, batches.a), axis, dim=1)
    return state._replace(extra=state.extra | {"seen": state.extra["seen"].at[labels].set(a)}), metrics


def init_features(nets: FeatureNets, hyper: Numbers, spec: Spec, key: jax.Array, upstream: Trees) -> TrainState:
    """As ZeroDiff's, with S2V (among the frozen nets, unless it is trained) and no class seen (all infinite).

    S2V, kernel [A, D] and bias [D], is uniform within 1 / sqrt(A), as torch starts a linear layer.

    Raises:
      InputError: there are no representations, or stage 1 is missing.
    """
    key, s2v_key = jax.random.split(key)
    state = zerodiff_dfg.init(nets, hyper, spec, key, upstream, DRG, DFG)
    bound = spec.a_dim**-0.5
    drawn = jax.random.uniform(s2v_key, (spec.a_dim + 1, spec.x_dim), minval=-bound, maxval=bound)
    s2v = {"s2v": {"kernel": drawn[:-1], "bias": drawn[-1]}}
    state = state._replace(extra=state.extra | {"seen": jnp.full((spec.n_classes, spec.a_dim), jnp.inf)})
    if not nets.train_s2v:
        return state._replace(frozen=state.frozen | s2v)
    return state._replace(params=state.params | s2v, opt=state.opt | adversarial.init_adam(s2v))


def inference(state: TrainState) -> Trees:
    """What synthesis and the feature spaces need."""
    latents = {"bias": state.hyper["unseen_bias"], "seen": state.extra["seen"]}
    return zerodiff_dfg.inference(state) | {"latents": latents}


def latent_bias(latents: Numbers, a: jax.Array) -> jax.Array:
    """What is added to the latents [n, 1] of semantics a [n, A]: `bias` for classes not in `seen` [C, A], else 0."""
    known = jnp.any(jnp.all(a[:, None, :] == latents["seen"][None, :, :], axis=-1), axis=-1)
    return jnp.where(known, 0.0, latents["bias"])[:, None]


def sample(
    nets: FeatureNets, params: dict[str, Any], a: jax.Array, noise: zerodiff_dfg.SamplingNoise, progressive: bool
) -> Numbers:
    """Synthetic {"x": [n, D], "r": [n, R]} as ZeroDiff's, the latents of unseen classes moved by the bias."""
    moved = noise._replace(z=noise.z + latent_bias(params["latents"], a))
    return zerodiff_dfg.sample(nets, params, a, moved, progressive)


def synthesize(nets: FeatureNets, params: dict[str, Any], semantics: jax.Array, keys: jax.Array, sampler: str) -> dict:
    """Synthetic {"x", "r"}; row i from semantics[i] and keys[i]; sampler "one_step" or "progressive"."""
    progressive = sampler == "progressive"
    noise = zerodiff_dfg.draw_sampling_noise(nets, keys, progressive)
    return sample(nets, params, semantics, noise, progressive)


def build_features(config, spec: Spec) -> Method:
    """D2SC's feature stage as a method; `config` is a whole configuration with both sections."""
    nets = make_feature_nets(config, spec)
    return Method(
        name="D2SC DFG",
        batches_per_step=config[DFG].critic_iter,
        init=lambda key, upstream, hyper, tables=None: init_features(nets, hyper, spec, key, upstream),
        **mapped.steps(partial(feature_train_step, nets)),
        inference=inference,
        synthesize=partial(synthesize, nets),
        embed=partial(zerodiff_dfg.embed, nets),
        spaces=zerodiff_dfg.SPACES,
        samplers=zerodiff_dfg.SAMPLERS,
    )


STAGES = {DRG: Entry(build_prior, PRIOR_HYPER), DFG: Entry(build_features, FEATURE_HYPER)}

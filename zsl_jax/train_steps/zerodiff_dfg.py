"""Stage 2 of ZeroDiff (ICLR 2025, sections 3.3 and 3.4): the diffusion-based feature generator G, R frozen.

G turns latent noise, class semantics, a representation r and a noisy feature into a feature x. One iteration is
`critic_iter` updates of three critics (on x_0, on x_t and on the pair of x and r) and of the semantic decoder, then one
update of the encoder E and of G, then one adjustment of the gradient-penalty weight lambda.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax import diffusion, losses
from zsl_jax.errors import InputError
from zsl_jax.nets.layers import apply, init_published
from zsl_jax.nets.zerodiff import Critic, Encoder, Generator, Scores, SemanticDecoder
from zsl_jax.train_steps import adversarial, mapped, zerodiff_drg
from zsl_jax.train_steps.adversarial import CriticNoise, GeneratorNoise, Pairs, draw_critic_noise, draw_generator_noise
from zsl_jax.train_steps.method import Batch, Entry, Method, Metrics, Numbers, Spec, TrainState, Trees, Views

CRITICS = ("x0", "xt", "xc")
HYPER = (
    "lr", "dec_lr", "gamma_adv", "gamma_vae", "gamma_recons", "gamma_x0", "gamma_xt", "gamma_xc", "gamma_dist",
    "factor_dist", "penalty_weight",
)  # fmt: skip
SPACES = ("V", "VS", "C", "VC", "VCS")
SAMPLERS = ("one_step", "progressive")
EMBED_TYPES = ("VA", "V")
BETA1 = {"encoder": 0.9}  # of the others: the published 0.5


@dataclasses.dataclass(frozen=True)
class Nets(adversarial.DiffusionNets):
    """The static side of the stage: modules, switches, and the frozen stage 1.

    freeze_decoder: the generator update does not train the decoder.
    use_r: G and the x_t critic see r (an ablation: without it they don't; switch the x_c critic off with gamma_xc = 0).
    x0_gates_xt: the real x_t term is switched off together with the x_0 critic's weight instead of with its own, as the
    published code does.
    """

    encoder: Encoder
    freeze_decoder: bool
    use_r: bool
    x0_gates_xt: bool
    representation: zerodiff_drg.Nets


class SamplingNoise(NamedTuple):
    """Noise of synthesis: z, z_r [n, Z]; x_t [n, D], r_t [n, R]; posterior [T, n, D] (index t; progressive only)."""

    z: jax.Array
    z_r: jax.Array
    x_t: jax.Array
    r_t: jax.Array
    posterior: jax.Array


def make_nets(config, spec: Spec, drg_name: str = "drg", dfg_name: str = "dfg") -> Nets:
    """Builds the nets of a whole configuration (with sections of the given names) for the sizes of `spec`."""
    dfg = config[dfg_name]
    if dfg.embed_type not in EMBED_TYPES:
        raise InputError(f"config.{dfg_name}.embed_type: {dfg.embed_type!r}; choose one of {EMBED_TYPES}")
    steps, time_dim = dfg.n_steps, dfg.time_dim or spec.a_dim
    z_dim = dfg.z_dim or spec.a_dim
    critic = Critic(dfg.critic_width, steps, time_dim, spec.a_dim)
    return Nets(
        generator=Generator(dfg.generator_width, spec.x_dim, steps, time_dim, dfg.embed_dim or spec.a_dim),
        encoder=Encoder(dfg.encoder_width, z_dim, dfg.embed_type),
        critics=dict.fromkeys(CRITICS, critic),
        decoder=SemanticDecoder(dfg.decoder_width, spec.a_dim, dfg.semantics_scaling == "l2"),
        schedule=diffusion.make_schedule(dfg.beta_min, dfg.beta_max, steps, dfg.schedule),
        z_dim=z_dim,
        freeze_decoder=dfg.freeze_decoder,
        use_r=dfg.use_r,
        x0_gates_xt=dfg.x0_gates_xt,
        representation=zerodiff_drg.make_nets(config[drg_name], spec, drg_name),
    )


def make_pairs(
    nets: Nets, params: Trees, batch: Batch, noise: CriticNoise | GeneratorNoise
) -> tuple[Pairs, jax.Array, jax.Array]:
    """Encodes and diffuses real x [..., B, D] and lets G generate; also the latent mean and log-variance."""
    mean, log_variance = apply(nets.encoder, params["encoder"], batch.x, batch.a)
    z = mean + jnp.exp(0.5 * log_variance) * noise.z
    r = batch.r if nets.use_r else None

    def generate(_: jax.Array, following: jax.Array) -> jax.Array:
        return apply(nets.generator, params["generator"], z, batch.a, following, noise.pair.t, r)

    return adversarial.make_pairs(nets.schedule, batch.x, noise.pair, generate), mean, log_variance


def conditions(nets: Nets, pairs: Pairs, a: jax.Array, r: jax.Array) -> dict[str, Numbers]:
    """What each critic sees beside its first argument."""
    noisy = {"next": pairs.following, "a": a} | ({"r": r} if nets.use_r else {}) | {"t": pairs.t}
    return {"x0": {"a": a}, "xt": noisy, "xc": {"r": r}}


def critic_weights(nets: Nets, hyper: Numbers) -> tuple[Numbers, Numbers]:
    """Weights of each critic's fake score (and penalty), and of its real score."""
    fake = {name: hyper[f"gamma_{name}"] for name in CRITICS}
    real = dict(fake)
    if nets.x0_gates_xt:
        real["xt"] = jnp.where(hyper["gamma_x0"] > 0, hyper["gamma_xt"], 0.0)
    return fake, real


def compare(nets: Nets, params: Trees, pairs: Pairs, batch: Batch, alphas: Numbers) -> dict[str, Scores]:
    """Scores of real and fake rows and penalty gradients of the three critics, each in one pass."""
    given = conditions(nets, pairs, batch.a, batch.r)
    clean, noisy = (pairs.real, pairs.fake), (pairs.real_t, pairs.fake_t)
    rows = {"x0": clean, "xt": noisy, "xc": clean}
    return {
        name: apply(nets.critics[name], params[name], *rows[name], alphas[name], given[name], method=Critic.compare)
        for name in CRITICS
    }


def distillation(nets: Nets, scores: dict[str, Scores], t: jax.Array, hyper: Numbers) -> jax.Array:
    """Mutual learning between the critics; one that is switched off takes part as a constant zero."""
    estimates = {
        name: jnp.where(hyper[f"gamma_{name}"] > 0, score.real - score.fake, 0.0) for name, score in scores.items()
    }
    ratio = diffusion.pick(nets.schedule.sqrt_alphas_bar, t)[:, 0]
    return losses.mutual_learning(**estimates, weights=ratio ** hyper["factor_dist"])


def critic_loss(
    nets: Nets, params: Trees, pairs: Pairs, batch: Batch, alphas: Numbers, hyper: Numbers, penalty_weight: jax.Array
) -> tuple[jax.Array, Metrics]:
    """The loss of critics and decoder: WGAN-GP, mutual learning and the decoder's weighted L1 on real x; and its terms.

    "penalty/sum" is the sum of the weighted penalties that the adaptation of lambda looks at.
    """
    scores = compare(nets, params, pairs, batch, alphas)
    fake_weights, real_weights = critic_weights(nets, hyper)
    metrics, adversarial_loss, penalty = {}, jnp.float32(0), jnp.float32(0)
    for name, score in scores.items():
        real, fake = jnp.mean(score.real), jnp.mean(score.fake)
        adversarial_loss += fake_weights[name] * fake - real_weights[name] * real
        one_penalty = penalty_weight * losses.gradient_penalty(score.gradient_norms)
        penalty += fake_weights[name] * one_penalty
        metrics |= {f"wasserstein/{name}": real - fake, f"penalty/{name}": one_penalty}
    decoded, _ = apply(nets.decoder, params["decoder"], batch.x)
    reconstruction = hyper["gamma_recons"] * losses.weighted_l1(decoded, batch.a)
    mutual = hyper["gamma_dist"] * distillation(nets, scores, pairs.t, hyper)
    penalty = hyper["gamma_adv"] * penalty
    critic = hyper["gamma_adv"] * adversarial_loss + penalty
    metrics |= {"loss/critic": critic, "loss/decoder": reconstruction, "loss/mutual": mutual, "penalty/sum": penalty}
    return critic + mutual + reconstruction, metrics


def update_critics(
    nets: Nets, state: TrainState, pairs: Pairs, batch: Batch, alphas: Numbers, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step of critics and decoder on given pairs [B, D]; a "clip_norm" in hyper clips the gradient of each."""

    def loss(params):
        return critic_loss(nets, params, pairs, batch, alphas, state.hyper, state.extra["penalty_weight"])

    rates = dict.fromkeys(CRITICS, state.hyper["lr"]) | {"decoder": state.hyper["dec_lr"]}
    return adversarial.minimise(state, loss, rates, axis, max_norm=state.hyper.get("clip_norm"))


def critic_step(nets: Nets, state: TrainState, batch: Batch, noise: CriticNoise) -> tuple[TrainState, Metrics]:
    """One critic update on one batch [B, ...]."""
    pairs, _, _ = make_pairs(nets, state.params, batch, noise)
    return update_critics(nets, state, pairs, batch, noise.alphas)


def generator_loss(
    nets: Nets, trained: Trees, frozen: Trees, batch: Batch, noise: GeneratorNoise, hyper: Numbers
) -> tuple[jax.Array, Metrics]:
    """VAE, adversarial and semantic reconstruction loss of E and G (and of the decoder when it is in `trained`)."""
    pairs, mean, log_variance = make_pairs(nets, trained, batch, noise)
    cost = adversarial_cost(nets, frozen, pairs, batch, hyper)
    vae = losses.binary_cross_entropy(pairs.fake, batch.x) + losses.kl_to_standard_normal(mean, log_variance)
    reconstruction = decoded_error(nets, trained, frozen, pairs.fake, batch.a)
    return weigh_generator_terms(vae, cost, reconstruction, hyper)


def adversarial_cost(nets: Nets, frozen: Trees, pairs: Pairs, batch: Batch, hyper: Numbers) -> jax.Array:
    """The critics' weighted mean scores of what was generated, negated; scalar."""
    given = conditions(nets, pairs, batch.a, batch.r)
    rows = {"x0": pairs.fake, "xt": pairs.fake_t, "xc": pairs.fake}
    scores = {name: apply(nets.critics[name], frozen[name], rows[name], given[name]) for name in CRITICS}
    return jnp.asarray(-sum(hyper[f"gamma_{name}"] * jnp.mean(score) for name, score in scores.items()))


def decoded_error(nets: Nets, trained: Trees, frozen: Trees, fake: jax.Array, a: jax.Array) -> jax.Array:
    """The decoder's weighted L1 on fake x [B, D] of semantics a [B, A]; scalar. The decoder may be in either tree."""
    decoder = trained.get("decoder", frozen["decoder"])
    decoded, _ = apply(nets.decoder, decoder, fake)
    return losses.weighted_l1(decoded, a)


def weigh_generator_terms(
    vae: jax.Array, cost: jax.Array, reconstruction: jax.Array, hyper: Numbers
) -> tuple[jax.Array, Metrics]:
    """The loss of a generator update from its terms (scalars), and all of them as metrics."""
    loss = hyper["gamma_vae"] * vae + hyper["gamma_adv"] * cost + hyper["gamma_recons"] * reconstruction
    metrics = {"loss/generator": loss, "loss/vae": vae, "loss/adversarial": cost, "loss/decoder_fake": reconstruction}
    return loss, metrics


def generator_rates(nets: Nets, hyper: Numbers) -> Numbers:
    """Learning rates of what a generator update trains."""
    decoder = {} if nets.freeze_decoder else {"decoder": hyper["dec_lr"]}
    return {"encoder": hyper["lr"], "generator": hyper["lr"]} | decoder


def generator_step(
    nets: Nets, state: TrainState, batch: Batch, noise: GeneratorNoise, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step of E and G, and of the decoder unless it is frozen, on one batch [B, ...]."""

    def loss(params):
        return generator_loss(nets, params, state.params, batch, noise, state.hyper)

    return adversarial.minimise(state, loss, generator_rates(nets, state.hyper), axis, BETA1, suffix="_step")


def adapt_penalty_weight(state: TrainState, penalty: jax.Array) -> TrainState:
    """Adjusts lambda from the mean over updates of the weighted penalties' sum (scalar)."""
    weight = state.extra["penalty_weight"]
    weight = losses.adapt_lambda(weight, penalty / (state.hyper["gamma_adv"] * weight))
    return state._replace(extra=state.extra | {"penalty_weight": weight})


def train_step(
    nets: Any, state: TrainState, batches: Batch, key: jax.Array, axis: str | None = None,
    generator: Callable = generator_step,
) -> tuple[TrainState, Metrics]:  # fmt: skip
    """`critic_iter` critic updates, the adaptation of lambda, then one update of E and G on the last batch.

    E and G are frozen while the critics learn, so their fakes for all updates are made in one pass. For `axis` see
    `zsl_jax.train_steps.mapped`. A system that extends this one passes its nets with a `generator_step` of its own.
    """
    updates, rows, width = batches.x.shape
    chex.assert_shape(batches.a, (updates, rows, None))
    chex.assert_shape(batches.r, (updates, rows, nets.representation.generator.out))
    chex.assert_equal(width, nets.generator.out)
    critic_key, generator_key = jax.random.split(key)
    everyone = mapped.all_rows(rows, axis)
    noise = mapped.own_rows(draw_critic_noise(nets, critic_key, (updates, everyone)), rows, axis, dim=1)
    pairs, _, _ = make_pairs(nets, state.params, batches, noise)

    def one_update(state, given):
        return update_critics(nets, state, *given, axis=axis)

    state, metrics = jax.lax.scan(one_update, state, (pairs, batches, noise.alphas))
    metrics = {name: jnp.mean(value) for name, value in metrics.items()}
    state = adapt_penalty_weight(state, metrics["penalty/sum"])
    last = jax.tree.map(lambda leaf: leaf[-1], batches)
    last_noise = mapped.own_rows(draw_generator_noise(nets, generator_key, (everyone,)), rows, axis)
    state, generated = generator(nets, state, last, last_noise, axis)
    return state, metrics | generated | {"lambda": state.extra["penalty_weight"]}


def init(
    nets: Nets,
    hyper: Numbers,
    spec: Spec,
    key: jax.Array,
    upstream: Trees,
    drg_name: str = "drg",
    dfg_name: str = "dfg",
) -> TrainState:
    """Fresh parameters and optimiser states; `upstream[drg_name]` holds stage 1.

    Raises:
      InputError: there are no representations, or stage 1 is missing.
    """
    zerodiff_drg.require_representations(spec)
    if drg_name not in upstream:
        raise InputError(
            f"config.stages: {dfg_name!r} needs {drg_name!r} before it, which makes the representations it builds on"
        )
    x, r, a, z = (jnp.zeros((1, width)) for width in (spec.x_dim, spec.r_dim, spec.a_dim, nets.z_dim))
    t = jnp.zeros((1,), jnp.int32)
    given = conditions(nets, Pairs(x, x, x, x, x, t), a, r)
    seen: dict[str, Any] = {name: (nets.critics[name], x, given[name]) for name in CRITICS}
    seen |= {"decoder": (nets.decoder, x), "encoder": (nets.encoder, x, a)}
    seen |= {"generator": (nets.generator, z, a, x, t, r if nets.use_r else None)}
    frozen = {"representation": upstream[drg_name]["generator"]}
    extra = {"penalty_weight": hyper["penalty_weight"]}
    return adversarial.fresh_state(init_published(key, seen), frozen, hyper, extra)


def draw_sampling_noise(nets: Nets, keys: jax.Array, progressive: bool) -> SamplingNoise:
    """Draws the noise of synthetic rows, each from its own key [n]; `posterior` is empty unless progressive."""
    width, r_width = nets.generator.out, nets.representation.generator.out
    steps = nets.schedule.n_steps if progressive else 0
    widths = [nets.z_dim, nets.representation.z_dim, width, r_width, steps * width]
    drawn = jax.vmap(lambda key: jax.random.normal(key, (sum(widths),)))(keys)
    z, z_r, x_t, r_t, posterior = jnp.split(drawn, np.cumsum(widths)[:-1], axis=1)
    return SamplingNoise(z, z_r, x_t, r_t, jnp.swapaxes(posterior.reshape(len(keys), steps, width), 0, 1))


def sample(nets: Nets, params: Trees, a: jax.Array, noise: SamplingNoise, progressive: bool) -> Numbers:
    """Synthetic {"x": [n, D], "r": [n, R]} of semantics a [n, A].

    r comes from R in one step; x from G in one step at t = T - 1, or progressively: T steps through the posterior,
    of which the last prediction of x_0 is kept.
    """
    r = zerodiff_drg.sample(nets.representation, params["representation"], a, noise.z_r, noise.r_t)

    def generate(x_next: jax.Array, step: int) -> tuple[jax.Array, jax.Array]:
        t = jnp.full(a.shape[:1], step, jnp.int32)
        return apply(nets.generator, params["generator"], noise.z, a, x_next, t, r if nets.use_r else None), t

    x, t = generate(noise.x_t, nets.schedule.n_steps - 1)
    x_next = noise.x_t
    for step in reversed(range(nets.schedule.n_steps - 1)) if progressive else ():
        x_next = diffusion.posterior_sample(nets.schedule, x, x_next, t, noise.posterior[step + 1])
        x, t = generate(x_next, step)
    return {"x": x, "r": r}


def synthesize(nets: Nets, params: Trees, semantics: jax.Array, keys: jax.Array, sampler: str) -> dict:
    """Synthetic {"x", "r"}; row i from semantics[i] and keys[i]; sampler "one_step" or "progressive"."""
    progressive = sampler == "progressive"
    return sample(nets, params, semantics, draw_sampling_noise(nets, keys, progressive), progressive)


def embed(nets: Nets, params: Trees, views: Views, space: str) -> jax.Array:
    """Classifier inputs [n, F] of a space: V = x; S = [V2S(x), its hidden layer]; C = r; concatenated as named."""
    parts = []
    if "V" in space:
        parts.append(views["x"])
    if "S" in space:
        parts.extend(apply(nets.decoder, params["decoder"], views["x"]))
    if "C" in space:
        parts.append(views["r"])
    return jnp.concatenate(parts, axis=-1)


def inference(state: TrainState) -> Trees:
    """What synthesis and the feature spaces need."""
    return {name: state.params[name] for name in ("generator", "decoder")} | state.frozen


def build(config, spec: Spec) -> Method:
    """ZeroDiff's feature stage as a method; `config` is a whole configuration with sections "drg" and "dfg"."""
    nets = make_nets(config, spec)
    return Method(
        name="ZeroDiff DFG",
        batches_per_step=config.dfg.critic_iter,
        init=lambda key, upstream, hyper, tables=None: init(nets, hyper, spec, key, upstream),
        **mapped.steps(partial(train_step, nets)),
        inference=inference,
        synthesize=partial(synthesize, nets),
        embed=partial(embed, nets),
        spaces=SPACES,
        samplers=SAMPLERS,
    )


STAGES = {"dfg": Entry(build, HYPER)}

"""Stage 1 of ZeroDiff (ICLR 2025, section 3.3): the diffusion-based representation generator R.

R turns noise, class semantics and a noisy representation into a supervised-contrastive representation r. One iteration
is `critic_iter` updates of the critics (on r_0 and on r_t) and of the semantic decoder, then one update of R.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from zsl_jax import diffusion, losses
from zsl_jax.errors import InputError
from zsl_jax.nets.layers import apply, draw_published
from zsl_jax.nets.zerodiff import Critic, Generator, SemanticDecoder
from zsl_jax.train_steps import adversarial, mapped
from zsl_jax.train_steps.adversarial import (
    CriticNoise,
    GeneratorNoise,
    Pairs,
    draw_critic_noise,
    draw_generator_noise,
)
from zsl_jax.train_steps.method import Batch, Entry, Method, Metrics, Params, Spec, TrainState

CRITICS = ("r0", "rt")
FEEDS = ("current", "following")
HYPER = ("lr", "dec_lr", "gamma_x0", "gamma_xt", "penalty_weight")


@dataclasses.dataclass(frozen=True)
class Nets:
    """The static side of the stage: modules, schedule, latent width and what R is fed while training.

    feed: "current" gives R the less noisy r_t, as the published code does (its authors report that the evidently meant
    r_{t+1} scores clearly worse); "following" gives it r_{t+1}.
    """

    generator: Generator
    critics: dict[str, Critic]
    decoder: SemanticDecoder
    schedule: diffusion.Schedule
    z_dim: int
    feed: str


def make_nets(config, spec: Spec, section: str = "drg") -> Nets:
    """Builds the nets of `config` (a "drg" section, of the given name) for the sizes of `spec`."""
    if config.feed not in FEEDS:
        raise InputError(f"config.{section}.feed: {config.feed!r}; choose one of {FEEDS}")
    steps, embed = config.n_steps, config.embed_dim or spec.a_dim
    critic = Critic(config.critic_width, steps, config.time_dim or spec.a_dim, spec.a_dim)
    return Nets(
        generator=Generator(config.generator_width, spec.r_dim, steps, config.time_dim or spec.a_dim, embed),
        critics=dict.fromkeys(CRITICS, critic),
        decoder=SemanticDecoder(config.decoder_width, spec.a_dim, config.normalize_decoder),
        schedule=diffusion.make_schedule(config.beta_min, config.beta_max, steps, config.schedule),
        z_dim=config.z_dim or spec.a_dim,
        feed=config.feed,
    )


def make_pairs(nets: Nets, generator: Params, r: jax.Array, a: jax.Array, noise: CriticNoise | GeneratorNoise) -> Pairs:
    """Diffuses r [..., B, R] and lets R generate for semantics a [..., B, A]."""
    pair = noise.pair
    real_t, following = diffusion.q_sample_pair(nets.schedule, r, pair.t, pair.current, pair.following)
    noisy = real_t if nets.feed == "current" else following
    fake = apply(nets.generator, generator, noise.z, a, noisy, pair.t)
    return adversarial.complete_pairs(nets.schedule, r, real_t, following, fake, pair)


def conditions(pairs: Pairs, a: jax.Array) -> dict[str, dict[str, jax.Array]]:
    """What each critic sees beside its first argument."""
    return {"r0": {"a": a}, "rt": {"next": pairs.following, "a": a, "t": pairs.t}}


def critic_loss(
    nets: Nets, params: dict[str, Params], pairs: Pairs, a: jax.Array, alphas: dict[str, jax.Array], hyper: dict
) -> tuple[jax.Array, Metrics]:
    """WGAN-GP loss of both critics plus the decoder's squared error on real r; scalar and its terms."""
    given = conditions(pairs, a)
    rows = {"r0": (pairs.real, pairs.fake), "rt": (pairs.real_t, pairs.fake_t)}
    gammas = {"r0": hyper["gamma_x0"], "rt": hyper["gamma_xt"]}
    loss, metrics = jnp.float32(0), {}
    for name in CRITICS:
        scores = apply(nets.critics[name], params[name], *rows[name], alphas[name], given[name], method=Critic.compare)
        wasserstein = jnp.mean(scores.real) - jnp.mean(scores.fake)
        penalty = hyper["penalty_weight"] * losses.gradient_penalty(scores.gradient_norms)
        loss += gammas[name] * (penalty - wasserstein)
        metrics |= {f"wasserstein/{name}": wasserstein, f"penalty/{name}": penalty}
    decoded, _ = apply(nets.decoder, params["decoder"], pairs.real)
    reconstruction = losses.mean_squared(decoded, a)
    metrics |= {"loss/critic": loss, "loss/decoder": reconstruction}
    return loss + reconstruction, metrics


def critic_rates(hyper: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Learning rates of what a critic update trains."""
    return dict.fromkeys(CRITICS, hyper["lr"]) | {"decoder": hyper["dec_lr"]}


def update_critics(
    nets: Nets, state: TrainState, pairs: Pairs, a: jax.Array, alphas: dict[str, jax.Array], axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step of critics and decoder on given pairs [B, R]."""

    def loss(params):
        return critic_loss(nets, params, pairs, a, alphas, state.hyper)

    state, metrics, norms = adversarial.minimise(state, loss, critic_rates(state.hyper), axis)
    return state, metrics | norms


def critic_step(nets: Nets, state: TrainState, batch: Batch, noise: CriticNoise) -> tuple[TrainState, Metrics]:
    """One critic update on one batch [B, ...]."""
    pairs = make_pairs(nets, state.params["generator"], batch.r, batch.a, noise)
    return update_critics(nets, state, pairs, batch.a, noise.alphas)


def generator_loss(
    nets: Nets, generator: Params, frozen: dict[str, Params], batch: Batch, noise: GeneratorNoise, hyper: dict
) -> tuple[jax.Array, Metrics]:
    """The loss of R on one batch [B, ...], and its terms."""
    return generator_objective(nets, frozen, make_pairs(nets, generator, batch.r, batch.a, noise), batch.a, hyper)


def generator_objective(
    nets: Nets, frozen: dict[str, Params], pairs: Pairs, a: jax.Array, hyper: dict
) -> tuple[jax.Array, Metrics]:
    """The critics' mean score of what R generated, negated; the decoder's error is logged and gives no gradient."""
    given = conditions(pairs, a)
    score_r0 = jnp.mean(apply(nets.critics["r0"], frozen["r0"], pairs.fake, given["r0"]))
    score_rt = jnp.mean(apply(nets.critics["rt"], frozen["rt"], pairs.fake_t, given["rt"]))
    loss = -hyper["gamma_x0"] * score_r0 - hyper["gamma_xt"] * score_rt
    decoded, _ = apply(nets.decoder, frozen["decoder"], jax.lax.stop_gradient(pairs.fake))
    return loss, {"loss/generator": loss, "loss/decoder_fake": losses.mean_squared(decoded, a)}


def generator_step(
    nets: Nets, state: TrainState, batch: Batch, noise: GeneratorNoise, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step of R on one batch [B, ...]."""

    def loss(trained):
        return generator_loss(nets, trained["generator"], state.params, batch, noise, state.hyper)

    state, metrics, norms = adversarial.minimise(state, loss, {"generator": state.hyper["lr"]}, axis)
    return state, metrics | norms


def train_step(
    nets: Any,
    state: TrainState,
    batches: Batch,
    key: jax.Array,
    axis: str | None = None,
    critics: Callable[..., tuple[TrainState, Metrics]] = update_critics,
    generator: Callable[..., tuple[TrainState, Metrics]] = generator_step,
    extras: tuple[Any, ...] = (),
) -> tuple[TrainState, Metrics]:
    """`critic_iter` critic updates, then one generator update on the last batch; `axis`: see `mapped`.

    R is frozen while the critics learn, so its fakes for all updates are made in one pass. Systems that extend this one
    pass their nets with updates of their own: `critics` as `update_critics`, which gets the trees `extras` (with a
    leading axis of the critic updates) after `alphas`, and `generator` as `generator_step`.
    """
    updates, rows, width = batches.r.shape
    chex.assert_shape(batches.a, (updates, rows, None))
    chex.assert_equal(width, nets.generator.out)
    critic_key, generator_key = jax.random.split(key)
    everyone = mapped.all_rows(rows, axis)
    noise = mapped.own_rows(draw_critic_noise(nets, critic_key, (updates, everyone)), rows, axis, dim=1)
    pairs = make_pairs(nets, state.params["generator"], batches.r, batches.a, noise)

    def one_update(state, given):
        return critics(nets, state, *given, axis=axis)

    state, metrics = jax.lax.scan(one_update, state, (pairs, batches.a, noise.alphas, *extras))
    last = jax.tree.map(lambda leaf: leaf[-1], batches)
    last_noise = mapped.own_rows(draw_generator_noise(nets, generator_key, (everyone,)), rows, axis)
    state, generated = generator(nets, state, last, last_noise, axis)
    return state, {name: jnp.mean(value) for name, value in metrics.items()} | generated


def require_representations(spec: Spec) -> None:
    """Raises InputError when the data have no r."""
    if not spec.r_dim:
        raise InputError(
            "config.data.representations: the data have none; name their file, or put 'finetune_r' before 'drg' in "
            "config.stages to make them"
        )


def parameter_shapes(nets: Nets, spec: Spec) -> dict[str, Params]:
    """Shapes of all parameters by net."""

    def make(key, r, a, t):
        given = conditions(Pairs(r, r, r, r, r, t), a)
        params = {name: nets.critics[name].init(key, r, given[name])["params"] for name in CRITICS}
        params["decoder"] = nets.decoder.init(key, r)["params"]
        params["generator"] = nets.generator.init(key, jnp.zeros((1, nets.z_dim)), a, r, t)["params"]
        return params

    rows = [jnp.zeros((1, width)) for width in (spec.r_dim, spec.a_dim)]
    return jax.eval_shape(make, jax.random.key(0), *rows, jnp.zeros((1,), jnp.int32))


def init(nets: Nets, hyper: dict[str, jax.Array], spec: Spec, key: jax.Array) -> TrainState:
    """Fresh parameters and optimiser states.

    Raises:
      InputError: there are no representations.
    """
    require_representations(spec)
    params = draw_published(key, parameter_shapes(nets, spec))
    return adversarial.fresh_state(params, {}, hyper, {})


def sample(nets: Nets, generator: Params, a: jax.Array, z: jax.Array, r_t: jax.Array) -> jax.Array:
    """Representations [n, R] of semantics a [n, A] in one step from noise r_t [n, R] at t = T - 1; z [n, Z]."""
    t = jnp.full(a.shape[:1], nets.schedule.n_steps - 1, jnp.int32)
    return apply(nets.generator, generator, z, a, r_t, t)


def synthesize(nets: Nets, params: dict[str, Params], semantics: jax.Array, keys: jax.Array, sampler: str) -> dict:
    """Representations {"r": [n, R]}; row i from semantics[i] and keys[i]. There is one sampler."""
    del sampler

    width = nets.generator.out
    drawn = jax.vmap(lambda key: jax.random.normal(key, (nets.z_dim + width,)))(keys)
    z, r_t = jnp.split(drawn, [nets.z_dim], axis=1)
    return {"r": sample(nets, params["generator"], semantics, z, r_t)}


def embed(params: dict[str, Params], views, space: str) -> jax.Array:
    """Classifier input of space "C": the representation itself [n, R]."""
    del params, space
    return views["r"]


def build(config, spec: Spec) -> Method:
    """ZeroDiff's representation stage as a method; `config` is a whole configuration with a "drg" section."""
    nets = make_nets(config.drg, spec)
    return Method(
        name="ZeroDiff DRG",
        batches_per_step=config.drg.critic_iter,
        init=lambda key, upstream, hyper, tables=None: init(nets, hyper, spec, key),
        train_step=lambda state, batches, key, tables=None: train_step(nets, state, batches, key),
        mapped_step=lambda state, batches, key, axis, tables=None: train_step(nets, state, batches, key, axis),
        inference=lambda state: {"generator": state.params["generator"]},
        synthesize=lambda params, semantics, keys, sampler: synthesize(nets, params, semantics, keys, sampler),
        embed=embed,
        spaces=("C",),
        samplers=("one_step",),
    )


STAGES = {"drg": Entry(build, HYPER)}

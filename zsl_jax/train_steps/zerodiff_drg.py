"""Stage 1 of ZeroDiff (ICLR 2025, section 3.3): the diffusion-based representation generator R.

R turns noise, class semantics and a noisy representation into a supervised-contrastive representation r. One iteration
is `critic_iter` updates of the critics (on r_0 and on r_t) and of the semantic decoder, then one update of R.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp

from zsl_jax import diffusion, losses
from zsl_jax.errors import InputError
from zsl_jax.nets.layers import apply, init_published
from zsl_jax.nets.zerodiff import Critic, Generator, SemanticDecoder
from zsl_jax.train_steps import adversarial, mapped
from zsl_jax.train_steps.adversarial import CriticNoise, GeneratorNoise, Pairs, draw_critic_noise, draw_generator_noise
from zsl_jax.train_steps.method import Batch, Entry, Method, Metrics, Numbers, Params, Spec, TrainState, Trees

CRITICS = ("r0", "rt")
FEEDS = ("current", "following")
HYPER = ("lr", "dec_lr", "gamma_x0", "gamma_xt", "penalty_weight")


@dataclasses.dataclass(frozen=True)
class Nets(adversarial.DiffusionNets):
    """The static side of the stage, and what R is fed while training.

    feed: "current" gives R the less noisy r_t, as the published code does (its authors report that the evidently meant
    r_{t+1} scores clearly worse); "following" gives it r_{t+1}.
    """

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
        decoder=SemanticDecoder(config.decoder_width, spec.a_dim, config.semantics_scaling == "l2"),
        schedule=diffusion.make_schedule(config.beta_min, config.beta_max, steps, config.schedule),
        z_dim=config.z_dim or spec.a_dim,
        feed=config.feed,
    )


def make_pairs(nets: Nets, generator: Params, r: jax.Array, a: jax.Array, noise: CriticNoise | GeneratorNoise) -> Pairs:
    """Diffuses r [..., B, R] and lets R generate for semantics a [..., B, A]."""

    def generate(real_t: jax.Array, following: jax.Array) -> jax.Array:
        noisy = real_t if nets.feed == "current" else following
        return apply(nets.generator, generator, noise.z, a, noisy, noise.pair.t)

    return adversarial.make_pairs(nets.schedule, r, noise.pair, generate)


def conditions(pairs: Pairs, a: jax.Array) -> dict[str, Numbers]:
    """What each critic sees beside its first argument."""
    return {"r0": {"a": a}, "rt": {"next": pairs.following, "a": a, "t": pairs.t}}


def critic_loss(
    nets: Nets, params: Trees, pairs: Pairs, a: jax.Array, alphas: Numbers, hyper: Numbers
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


def update_critics(
    nets: Nets, state: TrainState, *given: Any, axis: str | None = None, objective: Callable = critic_loss
) -> tuple[TrainState, Metrics]:
    """One Adam step of critics and decoder on given pairs [B, R], a [B, A], penalty weights: see `objective`."""

    def loss(params):
        return objective(nets, params, *given, state.hyper)

    rates = dict.fromkeys(CRITICS, state.hyper["lr"]) | {"decoder": state.hyper["dec_lr"]}
    return adversarial.minimise(state, loss, rates, axis)


def critic_step(nets: Nets, state: TrainState, batch: Batch, noise: CriticNoise) -> tuple[TrainState, Metrics]:
    """One critic update on one batch [B, ...]."""
    pairs = make_pairs(nets, state.params["generator"], batch.r, batch.a, noise)
    return update_critics(nets, state, pairs, batch.a, noise.alphas)


def generator_loss(
    nets: Nets, generator: Params, frozen: Trees, batch: Batch, noise: GeneratorNoise, hyper: Numbers
) -> tuple[jax.Array, Metrics]:
    """The loss of R on one batch [B, ...], and its terms."""
    return generator_objective(nets, frozen, make_pairs(nets, generator, batch.r, batch.a, noise), batch.a, hyper)


def generator_objective(
    nets: Nets, frozen: Trees, pairs: Pairs, a: jax.Array, hyper: Numbers
) -> tuple[jax.Array, Metrics]:
    """The critics' mean score of what R generated, negated; the decoder's error is logged and gives no gradient."""
    given = conditions(pairs, a)
    score_r0 = jnp.mean(apply(nets.critics["r0"], frozen["r0"], pairs.fake, given["r0"]))
    score_rt = jnp.mean(apply(nets.critics["rt"], frozen["rt"], pairs.fake_t, given["rt"]))
    loss = -hyper["gamma_x0"] * score_r0 - hyper["gamma_xt"] * score_rt
    decoded, _ = apply(nets.decoder, frozen["decoder"], jax.lax.stop_gradient(pairs.fake))
    return loss, {"loss/generator": loss, "loss/decoder_fake": losses.mean_squared(decoded, a)}


def generator_step(
    nets: Nets, state: TrainState, batch: Batch, noise: GeneratorNoise, axis: str | None = None,
    objective: Callable = generator_loss,
) -> tuple[TrainState, Metrics]:  # fmt: skip
    """One Adam step of R down its `objective` on one batch [B, ...]."""

    def loss(trained):
        return objective(nets, trained["generator"], state.params, batch, noise, state.hyper)

    return adversarial.minimise(state, loss, {"generator": state.hyper["lr"]}, axis)


def train_step(
    nets: Any, state: TrainState, batches: Batch, key: jax.Array, axis: str | None = None,
    critics: Callable = update_critics, generator: Callable = generator_step, extras: tuple[Any, ...] = (),
) -> tuple[TrainState, Metrics]:  # fmt: skip
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


def init(nets: Nets, hyper: Numbers, spec: Spec, key: jax.Array) -> TrainState:
    """Fresh parameters and optimiser states.

    Raises:
      InputError: there are no representations.
    """
    require_representations(spec)
    r, a, z = (jnp.zeros((1, width)) for width in (spec.r_dim, spec.a_dim, nets.z_dim))
    t = jnp.zeros((1,), jnp.int32)
    given = conditions(Pairs(r, r, r, r, r, t), a)
    seen: dict[str, Any] = {name: (nets.critics[name], r, given[name]) for name in CRITICS}
    seen |= {"decoder": (nets.decoder, r), "generator": (nets.generator, z, a, r, t)}
    return adversarial.fresh_state(init_published(key, seen), {}, hyper, {})


def sample(nets: Nets, generator: Params, a: jax.Array, z: jax.Array, r_t: jax.Array) -> jax.Array:
    """Representations [n, R] of semantics a [n, A] in one step from noise r_t [n, R] at t = T - 1; z [n, Z]."""
    t = jnp.full(a.shape[:1], nets.schedule.n_steps - 1, jnp.int32)
    return apply(nets.generator, generator, z, a, r_t, t)


def synthesize(nets: Nets, params: Trees, semantics: jax.Array, keys: jax.Array, sampler: str) -> dict:
    """Representations {"r": [n, R]}; row i from semantics[i] and keys[i]. There is one sampler."""
    del sampler
    drawn = jax.vmap(lambda key: jax.random.normal(key, (nets.z_dim + nets.generator.out,)))(keys)
    z, r_t = jnp.split(drawn, [nets.z_dim], axis=1)
    return {"r": sample(nets, params["generator"], semantics, z, r_t)}


def as_method(name: str, nets: Nets, spec: Spec, critic_iter: int, train_step: Callable = train_step) -> Method:
    """A representation stage as a method."""
    return Method(
        name=name,
        batches_per_step=critic_iter,
        init=lambda key, upstream, hyper, tables=None: init(nets, hyper, spec, key),
        **mapped.steps(partial(train_step, nets)),
        inference=lambda state: {"generator": state.params["generator"]},
        synthesize=partial(synthesize, nets),
        embed=lambda params, views, space: views["r"],
        spaces=("C",),
        samplers=("one_step",),
    )


def build(config, spec: Spec) -> Method:
    """ZeroDiff's representation stage as a method; `config` is a whole configuration with a "drg" section."""
    return as_method("ZeroDiff DRG", make_nets(config.drg, spec), spec, config.drg.critic_iter)


STAGES = {"drg": Entry(build, HYPER)}

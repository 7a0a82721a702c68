"""What stages share: Adam's steps of named nets, for all but fine-tuning; noisy pairs, for those with a diffusion."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from zsl_jax import diffusion
from zsl_jax.nets.zerodiff import Critic, Generator, SemanticDecoder
from zsl_jax.train_steps import mapped
from zsl_jax.train_steps.method import Metrics, Numbers, Params, TrainState, Trees

PUBLISHED_BETA1 = 0.5
PUBLISHED_BETA2 = 0.999
ADAM_EPSILON = 1e-8
CLIP_EPSILON = 1e-6

Loss = Callable[[Trees], tuple[jax.Array, Metrics]]  # of the nets that are trained


class Pairs(NamedTuple):
    """Real and generated rows at steps 0, t and t + 1; arrays [..., B, D], t [..., B].

    `following` is the real x_{t+1}, from which both the real and the fake x_t descend.
    """

    real: jax.Array
    fake: jax.Array
    real_t: jax.Array
    fake_t: jax.Array
    following: jax.Array
    t: jax.Array


class PairNoise(NamedTuple):
    """Noise of diffused pairs: t [..., B] int32; current, following and posterior standard normal [..., B, D]."""

    t: jax.Array
    current: jax.Array
    following: jax.Array
    posterior: jax.Array


class GeneratorNoise(NamedTuple):
    """All that generated rows draw: standard normal z [..., B, Z] and the pairs' noise."""

    z: jax.Array
    pair: PairNoise


class CriticNoise(NamedTuple):
    """All that a critic update draws: as `GeneratorNoise`, and penalty weights {critic: [..., B, 1]} in 0..1."""

    z: jax.Array
    pair: PairNoise
    alphas: Numbers


@dataclasses.dataclass(frozen=True)
class DiffusionNets:
    """The static side of a stage with a diffusion: modules, schedule, width of the latent noise."""

    generator: Generator
    critics: dict[str, Critic]
    decoder: SemanticDecoder
    schedule: diffusion.Schedule
    z_dim: int


def draw_generator_noise(nets: DiffusionNets, key: jax.Array, shape: tuple[int, ...]) -> GeneratorNoise:
    """Draws the noise of generated rows of `shape`; all normals at once, which compiles and runs faster."""
    t_key, normal_key = jax.random.split(key)
    width = nets.generator.out
    normals = jax.random.normal(normal_key, (*shape, nets.z_dim + 3 * width))
    z, current, following, posterior = jnp.split(normals, np.cumsum([nets.z_dim, width, width]), axis=-1)
    t = jax.random.randint(t_key, shape, 0, nets.schedule.n_steps)
    return GeneratorNoise(z, PairNoise(t, current, following, posterior))


def draw_critic_noise(nets: DiffusionNets, key: jax.Array, shape: tuple[int, ...]) -> CriticNoise:
    """Draws the noise of critic updates on rows of `shape`."""
    generator_key, alpha_key = jax.random.split(key)
    uniform = jax.random.uniform(alpha_key, (*shape, len(nets.critics)))
    alphas = {name: uniform[..., k : k + 1] for k, name in enumerate(nets.critics)}
    return CriticNoise(*draw_generator_noise(nets, generator_key, shape), alphas)


def make_pairs(schedule: diffusion.Schedule, real: jax.Array, noise: PairNoise, generate: Callable) -> Pairs:
    """Diffuses real rows; `generate` makes the fake x_0 of (x_t, x_{t+1}); the posterior gives the fake x_t of both."""
    real_t, following = diffusion.q_sample_pair(schedule, real, noise.t, noise.current, noise.following)
    fake = generate(real_t, following)
    fake_t = diffusion.posterior_sample(schedule, fake, following, noise.t, noise.posterior)
    return Pairs(real, fake, real_t, fake_t, following, noise.t)


def init_adam(params: Trees) -> dict[str, optax.ScaleByAdamState]:
    """Adam's state for each net (it does not depend on the rates)."""
    zeros = optax.tree.zeros_like
    return {
        name: optax.ScaleByAdamState(jnp.zeros((), jnp.int32), zeros(tree), zeros(tree))
        for name, tree in params.items()
    }


def fresh_state(params: Trees, frozen: Trees, hyper: dict, extra: dict) -> TrainState:
    """A state before its first step. It holds no array twice and none of the caller's, since training donates it."""
    return TrainState(params, init_adam(params), *jax.tree.map(jnp.copy, (frozen, hyper, extra)))


def descend(
    gradients: Params, opt: optax.ScaleByAdamState, params: Params, rate: jax.Array, beta1: float = PUBLISHED_BETA1
) -> tuple[Params, optax.ScaleByAdamState]:
    """One step of Adam at learning rate `rate` (scalar array); returns parameters and optimiser state.

    As `optax.scale_by_adam`, but parameters move by moments that are finished: left to itself, XLA computes the moments
    a second time within the parameters' loop, and copies the old ones for it (see docs/performance.md).
    """
    mean = optax.tree.update_moment(gradients, opt.mu, beta1, 1)
    square = optax.tree.update_moment_per_elem_norm(gradients, opt.nu, PUBLISHED_BETA2, 2)
    mean, square = jax.lax.optimization_barrier((mean, square))
    count = opt.count + jnp.int32(1)
    steps = count.astype(jnp.float32)
    mean_scale, square_scale = 1 / (1 - beta1**steps), 1 / (1 - PUBLISHED_BETA2**steps)

    def move(p, m, v):
        return p - rate * (m * mean_scale / (jnp.sqrt(v * square_scale) + ADAM_EPSILON))

    return jax.tree.map(move, params, mean, square), optax.ScaleByAdamState(count, mean, square)


def gradient_norms(gradients: Trees) -> Numbers:
    """Global gradient norm of each net, as metrics."""
    return {f"grad_norm/{name}": optax.tree.norm(tree) for name, tree in gradients.items()}


def clip(gradients: Trees, max_norm: jax.Array) -> Trees:
    """Shrinks each net's gradient to a global norm of at most `max_norm` (scalar), as torch's `clip_grad_norm_`."""

    def shrink(tree: Params) -> Params:
        factor = jnp.minimum(max_norm / (optax.tree.norm(tree) + CLIP_EPSILON), 1.0)
        return jax.tree.map(lambda leaf: factor * leaf, tree)

    return {name: shrink(tree) for name, tree in gradients.items()}


def update(state: TrainState, gradients: Trees, rates: Numbers, beta1: dict[str, float] | None = None) -> TrainState:
    """One Adam step of each net in `gradients` at its own rate (and beta1, if not the published 0.5)."""
    params, opt = dict(state.params), dict(state.opt)
    for name, gradient in gradients.items():
        beta = (beta1 or {}).get(name, PUBLISHED_BETA1)
        params[name], opt[name] = descend(gradient, opt[name], params[name], rates[name], beta)
    return state._replace(params=params, opt=opt)


def minimise(
    state: TrainState, loss: Loss, rates: Numbers, axis: str | None = None,
    beta1: dict[str, float] | None = None, max_norm: jax.Array | None = None, suffix: str = "",
) -> tuple[TrainState, Metrics]:  # fmt: skip
    """One Adam step down `loss` of each net named in `rates`; returns state, and the loss's metrics and gradient norms.

    Args:
      state: has the nets' parameters and optimiser states.
      loss: of the parameters of those nets alone, {name: tree}; a mean over the rows of a batch.
      rates: learning rate of each net.
      axis: see `mapped`.
      beta1: as `update`.
      max_norm: clips the gradient of each net; the norms returned are those before.
      suffix: of the norms' names, where a net has several updates.
    """
    trained = {name: state.params[name] for name in rates}
    gradients, metrics = mapped.mean(jax.grad(loss, has_aux=True)(trained), axis)
    norms = {f"{name}{suffix}": norm for name, norm in gradient_norms(gradients).items()}
    gradients = gradients if max_norm is None else clip(gradients, max_norm)
    return update(state, gradients, rates, beta1), metrics | norms

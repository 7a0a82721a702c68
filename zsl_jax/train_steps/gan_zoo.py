"""The zoo's adversarial generators (Zero-shot-Generative-Models): one loop for a table of objectives.

A generator G makes features x from semantics a and noise z; a critic sees (x, a). One iteration is `critic_iter`
updates of the critic, then one of G. `gan_objectives` has what tells the objectives apart. What they have in common, as
published: a gradient penalty; in G's loss `cls_weight` times the negative log-likelihood of a frozen linear classifier
of the seen classes (f-CLSWGAN, Xian et al. 2018) and `weight_decay` times the sum of squared weights; Gaussian noise of
deviation `semantic_noise` on the semantics that G is fed in training, and of `synthesis_noise` on half of the rows in
synthesis.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from zsl_jax import losses
from zsl_jax.nets.autoencoders import RectifiedPerceptron
from zsl_jax.nets.gan_zoo import CodeReader, Critic
from zsl_jax.nets.layers import apply, init_published
from zsl_jax.train_steps import adversarial, mapped
from zsl_jax.train_steps.gan_objectives import PENALTIES, Objective, Scores, choose
from zsl_jax.train_steps.method import Batch, Entry, Method, Metrics, Numbers, Params, Spec, TrainState, Trees
from zsl_jax.train_steps.seen_classifier import frozen_from, negative_log_likelihood, require_classifier

NUMBERS = (
    "lr", "penalty_weight", "cls_weight", "weight_decay", "semantic_noise", "synthesis_noise",
    "energy_weight", "rho", "diversity", "k_rate", "plateau_epochs", "info_weight",
)  # fmt: skip
Fakes = tuple[jax.Array, jax.Array]  # generated rows [..., D] and the noise that was added to their semantics [..., A]


class Nets(NamedTuple):
    """The static side: modules, objective, widths of normal noise z and of InfoGAN's codes (0: none)."""

    generator: RectifiedPerceptron
    critic: Critic
    reader: CodeReader
    objective: Objective
    z_dim: int
    categories: int
    continuous: int


def make_nets(section: Any, spec: Spec) -> Nets:
    """Builds the nets of a "gan" section for the sizes of `spec`; raises InputError as `choose`."""
    objective = choose(section)
    categories = (section.categories or spec.a_dim) if objective.info else 0
    continuous = (section.continuous or spec.a_dim) if objective.info else 0
    return Nets(
        generator=RectifiedPerceptron(section.generator_width, spec.x_dim),
        critic=Critic(section.critic_width, spec.x_dim + spec.a_dim if objective.autoencoder else 1),
        reader=CodeReader(section.critic_width, categories, continuous),
        objective=objective,
        z_dim=section.z_dim or spec.a_dim,
        categories=categories,
        continuous=continuous,
    )


class Noise(NamedTuple):
    """What generated rows draw, [..., Z] and standard normal [..., A]: z with its codes last, noise of semantics."""

    z: jax.Array
    semantics: jax.Array


class CriticNoise(NamedTuple):
    """What a critic update draws: rows [B, K, ...]; alpha [B, 1] and uniform [B, D] (or [B, 0]) in 0..1."""

    rows: Noise
    alpha: jax.Array
    uniform: jax.Array


def draw_noise(nets: Nets, a_dim: int, key: jax.Array, shape: tuple[int, ...]) -> Noise:
    """Draws the noise of generated rows of `shape`."""
    key, code_key = jax.random.split(key)
    normals = jax.random.normal(key, (*shape, nets.z_dim + nets.continuous + a_dim))
    z, continuous, semantics = jnp.split(normals, np.cumsum([nets.z_dim, nets.continuous]), axis=-1)
    if not nets.categories:
        return Noise(z, semantics)
    category = jax.nn.one_hot(jax.random.randint(code_key, shape, 0, nets.categories), nets.categories)
    return Noise(jnp.concatenate([z, category, continuous], axis=-1), semantics)


def draw_critic_noise(nets: Nets, a_dim: int, key: jax.Array, shape: tuple[int, ...]) -> CriticNoise:
    """Draws the noise of critic updates on rows of `shape`."""
    row_key, alpha_key, uniform_key = jax.random.split(key, 3)
    rows = draw_noise(nets, a_dim, row_key, (*shape, nets.objective.fakes))
    width = nets.generator.out if nets.objective.partner else 0
    uniform = jax.random.uniform(uniform_key, (*shape, width))
    return CriticNoise(rows, jax.random.uniform(alpha_key, (*shape, 1)), uniform)


def make_rows(nets: Nets, generator: Params, a: jax.Array, noise: Noise, deviation: jax.Array) -> Fakes:
    """Rows [..., D] generated for semantics a [..., A] with noise of a deviation, and that noise [..., A]."""
    added = deviation * noise.semantics
    return apply(nets.generator, generator, {"a": a + added, "z": noise.z}), added


def read(nets: Nets, outputs: jax.Array, x: jax.Array, a: jax.Array) -> jax.Array:
    """Scores [...] from a critic's outputs [..., out] for rows x, a."""
    if nets.objective.autoencoder:
        return jnp.sum(jnp.abs(outputs - jnp.concatenate([x, a], axis=-1)), axis=-1)
    return outputs[..., 0]


def score(nets: Nets, critic: Params, x: jax.Array, a: jax.Array) -> jax.Array:
    """The critic's scores [...] of rows x [..., D] with semantics a [..., A]."""
    return read(nets, apply(nets.critic, critic, x, a), x, a)


def gradient_norms(nets: Nets, middle: jax.Array, gradients: jax.Array) -> jax.Array:
    """Norms [B] of what is penalised, from the critic's outputs there [B, out] and its gradients [B, D]."""
    norms = losses.row_norms(gradients)
    if not nets.objective.probability:
        return norms
    probability = jax.nn.sigmoid(middle[:, 0])
    return norms * probability * (1 - probability)


def all_rows(objective: Objective, batch: Batch, fakes: Fakes, noise: CriticNoise) -> Fakes:
    """Real and generated rows and the noise of their semantics [B, ., ...]; last, if not a fake, the penalty's end."""
    x, added = [batch.x[:, None], fakes[0]], [jnp.zeros_like(batch.a)[:, None], fakes[1]]
    if objective.partner:
        x.append(objective.partner(batch.x, fakes[0][:, -1], noise.uniform)[:, None])
        added.append(added[0])
    return jnp.concatenate(x, axis=1), jnp.concatenate(added, axis=1)


def critic_loss(
    nets: Nets, critic: Params, batch: Batch, fakes: Fakes, noise: CriticNoise,
    extra: Numbers, hyper: Numbers
) -> tuple[jax.Array, Metrics]:  # fmt: skip
    """The critic's loss on a batch [B, ...] and on `make_fakes`, and its terms."""
    objective = nets.objective
    rows, added = all_rows(objective, batch, fakes, noise)
    compared = apply(nets.critic, critic, rows, batch.a, added, noise.alpha, method=Critic.compare)
    found = read(nets, compared.outputs, rows, batch.a[:, None] + added)
    scores = Scores(found[:, 0], found[:, 1 : 1 + objective.fakes], extra, hyper)
    norms = gradient_norms(nets, compared.middle, compared.gradients)
    penalty = hyper["penalty_weight"] * PENALTIES[objective.penalty](norms)
    loss = objective.critic(scores) + penalty
    means = {"score/real": jnp.mean(scores.real), "score/fake": jnp.mean(scores.fake)}
    return loss, {"loss/critic": loss, "penalty": penalty} | means | objective.watch(scores)


def rates(state: TrainState, names: tuple[str, ...]) -> Numbers:
    """The learning rate, which BEGAN scales for critic and generator alike."""
    return dict.fromkeys(names, state.hyper["lr"] * state.extra.get("rate_scale", jnp.float32(1)))


def update_critic(
    nets: Nets, state: TrainState, batch: Batch, fakes: Fakes, noise: CriticNoise, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step of the critic on given rows; `axis`: see `mapped`."""

    def loss(trained: Trees):
        return critic_loss(nets, trained["critic"], batch, fakes, noise, state.extra, state.hyper)

    after, metrics = adversarial.minimise(state, loss, rates(state, ("critic",)), axis)
    return after._replace(extra=nets.objective.after_update(state.extra, metrics, state.hyper)), metrics


def critic_step(nets: Nets, state: TrainState, batch: Batch, noise: CriticNoise) -> tuple[TrainState, Metrics]:
    """One critic update on one batch [B, ...]."""
    return update_critic(nets, state, batch, make_fakes(nets, state, batch.a, noise.rows), noise)


def make_fakes(nets: Nets, state: TrainState, a: jax.Array, noise: Noise) -> Fakes:
    """K generated rows beside each of a [..., B, A]: features and noise of the semantics [..., B, K, ...]."""
    return make_rows(nets, state.params["generator"], a[..., None, :], noise, state.hyper["semantic_noise"])


def information(nets: Nets, reader: Params, x: jax.Array, z: jax.Array) -> jax.Array:
    """How badly Q reads the codes in z [..., Z] from rows x [..., D]: cross-entropy and mean squared error."""
    _, category, continuous = jnp.split(z, np.cumsum([nets.z_dim, nets.categories]), axis=-1)
    logits, values = apply(nets.reader, reader, x)
    return jnp.mean(optax.softmax_cross_entropy(logits, category)) + losses.mean_squared(values, continuous)


def generator_loss(
    nets: Nets, params: Trees, state: TrainState, batch: Batch, noise: Noise
) -> tuple[jax.Array, Metrics]:
    """The generator's loss on a batch [B, ...] with noise [B, K, ...], and its terms.

    `params` are those that learn; the critic, as published, is shown the semantics without their noise.
    """
    objective, hyper = nets.objective, state.hyper
    fake, _ = make_rows(nets, params["generator"], batch.a[:, None], noise, hyper["semantic_noise"])
    a = jnp.broadcast_to(batch.a[:, None], (*fake.shape[:2], batch.a.shape[1]))
    critic = state.params["critic"]
    scores = Scores(score(nets, critic, batch.x, batch.a), score(nets, critic, fake, a), state.extra, hyper)
    terms = {"adversarial": objective.generator(scores)}
    terms["decay"] = hyper["weight_decay"] * losses.squared_weights(params["generator"])
    if "classifier" in state.frozen:
        labels = jnp.broadcast_to(batch.labels[:, None], fake.shape[:2])
        likelihood = negative_log_likelihood(state.frozen["classifier"], fake, labels)
        terms["classification"] = hyper["cls_weight"] * likelihood
    if objective.info == "joint":
        terms["information"] = hyper["info_weight"] * information(nets, params["reader"], fake, noise.z)
    loss = sum(terms.values(), jnp.float32(0))
    return loss, {"loss/generator": loss} | {f"loss/{name}": term for name, term in terms.items()}


def generator_step(
    nets: Nets, state: TrainState, batch: Batch, noise: Noise, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step of the generator (and of a joint InfoGAN's Q) on one batch [B, ...]; noise [B, K, ...]."""
    names = ("generator", "reader") if nets.objective.info == "joint" else ("generator",)

    def loss(params: Trees):
        return generator_loss(nets, params, state, batch, noise)

    return adversarial.minimise(state, loss, rates(state, names), axis)


def reader_step(
    nets: Nets, state: TrainState, batch: Batch, noise: Noise, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step of InfoGAN's Q alone, on newly generated rows; noise [B, K, ...]."""
    fake, _ = make_fakes(nets, state, batch.a, noise)

    def loss(trained: Trees) -> tuple[jax.Array, Metrics]:
        value = information(nets, trained["reader"], fake, noise.z)
        return value, {"loss/information": value}

    return adversarial.minimise(state, loss, rates(state, ("reader",)), axis)


def generator_steps(objective: Objective) -> tuple[Callable, ...]:
    """What follows the critic's updates, each step with noise of its own."""
    return (generator_step, reader_step) if objective.info == "apart" else (generator_step,)


def train_step(
    nets: Nets, state: TrainState, batches: Batch, key: jax.Array, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """`critic_iter` critic updates, then one generator update on the last batch; `axis`: see `mapped`.

    The generator is frozen while the critic learns, so its rows for all updates are made in one pass.
    """
    updates, rows, a_dim = batches.a.shape
    chex.assert_shape(batches.x, (updates, rows, nets.generator.out))
    keys = jax.random.split(key, 3)
    everyone = mapped.all_rows(rows, axis)
    noise = mapped.own_rows(draw_critic_noise(nets, a_dim, keys[0], (updates, everyone)), rows, axis, dim=1)
    fakes = make_fakes(nets, state, batches.a, noise.rows)

    def one_update(state, given):
        return update_critic(nets, state, *given, axis=axis)

    state, metrics = jax.lax.scan(one_update, state, (batches, fakes, noise))
    last = jax.tree.map(lambda leaf: leaf[-1], (batches, metrics))
    for step, step_key in zip(generator_steps(nets.objective), keys[1:], strict=False):
        drawn = draw_noise(nets, a_dim, step_key, (everyone, nets.objective.generator_fakes))
        state, found = step(nets, state, last[0], mapped.own_rows(drawn, rows, axis), axis)
        metrics |= found
    extra = nets.objective.after_iteration(state.extra, last[1], state.hyper)
    numbers = {f"state/{name}": value for name, value in extra.items() if name != "best"}
    return state._replace(extra=extra), {name: jnp.mean(value) for name, value in metrics.items()} | numbers


def init(nets: Nets, spec: Spec, key: jax.Array, upstream: Trees, hyper: Numbers) -> TrainState:
    """Fresh parameters and optimiser states; the classifier of seen classes is frozen, if there is one."""
    extra = {name: jnp.float32(value) for name, value in nets.objective.extra.items()}
    x, a = jnp.zeros((1, spec.x_dim)), jnp.zeros((1, spec.a_dim))
    z = jnp.zeros((1, nets.z_dim + nets.categories + nets.continuous))
    seen = {"critic": (nets.critic, x, a), "generator": (nets.generator, {"a": a, "z": z})}
    seen |= {"reader": (nets.reader, x)} if nets.objective.info else {}
    return adversarial.fresh_state(init_published(key, seen), frozen_from(upstream), hyper, extra)


def inference(state: TrainState) -> Trees:
    """The generator, and the one number that synthesis needs."""
    return {"generator": state.params["generator"], "synthesis_noise": state.hyper["synthesis_noise"]}


def synthesize(nets: Nets, params: Trees, semantics: jax.Array, keys: jax.Array, sampler: str) -> dict:
    """Features {"x": [n, D]}; row i from semantics[i] and keys[i], whose coin says if its semantics get noise."""
    del sampler

    def draw(key):
        coin, row = jax.random.split(key)
        return jax.random.bernoulli(coin).astype(jnp.float32), draw_noise(nets, semantics.shape[1], row, ())

    coins, noise = jax.vmap(draw)(keys)
    deviation = params["synthesis_noise"] * coins[:, None]
    return {"x": make_rows(nets, params["generator"], semantics, noise, deviation)[0]}


def build(config: Any, spec: Spec) -> Method:
    """An adversarial generator as a method; `config` is a whole configuration with a "gan" section.

    Objectives with statistics of a whole batch other than means (`Objective.additive`) have no `mapped_step`.

    Raises:
      InputError: there is no such objective, or the stage it needs is missing.
    """
    nets = make_nets(config.gan, spec)
    require_classifier(config, "gan")
    return Method(
        name=f"gan {config.gan.objective}",
        batches_per_step=config.gan.critic_iter,
        init=lambda key, upstream, hyper, tables=None: init(nets, spec, key, upstream, hyper),
        **mapped.steps(partial(train_step, nets), nets.objective.additive),
        inference=inference,
        synthesize=partial(synthesize, nets),
        embed=lambda params, views, space: views["x"],
        spaces=("V",),
        samplers=("one_step",),
    )


STAGES = {"gan": Entry(build, NUMBERS)}

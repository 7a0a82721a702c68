"""TF-VAEGAN (Narayan et al., "Latent Embedding Feedback and Discriminative Features for Zero-Shot Classification", ECCV
2020): a VAE-GAN of features whose generator gets feedback from the semantic decoder, in training and in synthesis.

One iteration is `critic_iter` updates of the V2S decoder (on real features) and of the critic, the adaptation of the
gradient-penalty weight lambda, then one update of the encoder E and of the generator G. There are two kinds of passes
over the training rows, by turns: loop 0 without feedback; and loop 1, where G runs twice, the second time with the
feedback F(hidden layer of V2S on the first output) added to its own hidden layer, and F is trained. A pass of either
loop counts as one epoch here: n published epochs are 2n epochs.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from zsl_jax import losses
from zsl_jax.errors import InputError
from zsl_jax.nets.layers import apply, init_published
from zsl_jax.nets.tfvaegan import Feedback, Generator
from zsl_jax.nets.zerodiff import Critic, Encoder, SemanticDecoder
from zsl_jax.train_steps import adversarial, mapped
from zsl_jax.train_steps.method import Batch, Entry, Method, Metrics, Numbers, Params, Spec, TrainState, Trees, Views

HYPER = ("lr", "dec_lr", "feed_lr", "gamma_d", "gamma_g", "gamma_recons", "a1", "a2", "penalty_weight")
SPACES = ("V", "VS")
SAMPLERS = ("one_step",)
FEEDBACK_FROM = ("reconstruction", "fake")
LOOPS = 2
BETA1 = {"encoder": 0.9}  # of the others: the published 0.5


@dataclasses.dataclass(frozen=True)
class Nets:
    """The static side: modules, latent width and switches.

    encoded_noise: the critic sees what G makes of the encoder's latents; else what it makes of N(0, 1).
    freeze_decoder: the generator update does not train the decoder.
    feedback_from: without encoded noise, what the feedback of the fakes is computed from in the generator update:
      "reconstruction", that of the real rows, as the published code does; "fake", the fakes' own first pass.
    """

    generator: Generator
    feedback: Feedback
    encoder: Encoder
    critic: Critic
    decoder: SemanticDecoder
    z_dim: int
    encoded_noise: bool
    freeze_decoder: bool
    feedback_from: str


class GeneratorNoise(NamedTuple):
    """Noise of a generator update: `z` [B, Z] of the encoder's latents, `prior` [B, Z] (encoded noise: [B, 0])."""

    z: jax.Array
    prior: jax.Array


class CriticNoise(NamedTuple):
    """Noise of critic updates: z [..., B, Z], of the encoder's latents or in their place; alpha [..., B, 1] in 0..1."""

    z: jax.Array
    alpha: jax.Array


class Made(NamedTuple):
    """What a generator update makes [B, D], and the latent mean and log-variance [B, Z]."""

    reconstruction: jax.Array
    fake: jax.Array
    mean: jax.Array
    log_variance: jax.Array


def make_nets(config, spec: Spec) -> Nets:
    """Builds the nets of `config` (a "tfvaegan" section) for the sizes of `spec`."""
    if config.feedback_from not in FEEDBACK_FROM:
        raise InputError(f"config.tfvaegan.feedback_from: {config.feedback_from!r}; choose one of {FEEDBACK_FROM}")
    z_dim = config.z_dim or spec.a_dim
    return Nets(
        generator=Generator(config.generator_width, spec.x_dim),
        feedback=Feedback(config.generator_width),
        encoder=Encoder(config.encoder_width, z_dim),
        critic=Critic(config.critic_width, n_steps=1, time_dim=1, embed_dim=1),  # it sees no timestep and no r
        decoder=SemanticDecoder(config.decoder_width, spec.a_dim, config.semantics_scaling == "l2"),
        z_dim=z_dim,
        encoded_noise=config.encoded_noise,
        freeze_decoder=config.freeze_decoder,
        feedback_from=config.feedback_from,
    )


def draw_generator_noise(nets: Nets, key: jax.Array, rows: int) -> GeneratorNoise:
    """Draws the noise of a generator update on so many rows."""
    drawn = jax.random.normal(key, (rows, nets.z_dim * (1 if nets.encoded_noise else 2)))
    return GeneratorNoise(*jnp.split(drawn, [nets.z_dim], axis=-1))


def draw_critic_noise(nets: Nets, key: jax.Array, shape: tuple[int, ...]) -> CriticNoise:
    """Draws the noise of critic updates on rows of `shape`."""
    normal_key, alpha_key = jax.random.split(key)
    z = jax.random.normal(normal_key, (*shape, nets.z_dim))
    return CriticNoise(z, jax.random.uniform(alpha_key, (*shape, 1)))


def begin(nets: Nets, params: Trees, z: jax.Array, a: jax.Array) -> jax.Array:
    """G's hidden layer [..., W] of latents z [..., Z] and semantics a [..., A]."""
    return apply(nets.generator, params["generator"], z, a, method=Generator.begin)


def finish(nets: Nets, params: Trees, hidden: jax.Array) -> jax.Array:
    """Features [..., D] from G's hidden layer [..., W]."""
    return apply(nets.generator, params["generator"], hidden, method=Generator.finish)


def decoder_hidden(nets: Nets, params: Trees, x: jax.Array) -> jax.Array:
    """V2S's hidden layer of generated x [..., D]; no gradient flows through it, as published."""
    return jax.lax.stop_gradient(apply(nets.decoder, params["decoder"], x)[1])


def second_pass(nets: Nets, params: Trees, hidden: jax.Array, decoded: jax.Array, amount: jax.Array) -> jax.Array:
    """Features [..., D] from G's hidden layer and `amount` times F's feedback on V2S's (`decoded`), both [..., W]."""
    return finish(nets, params, hidden + amount * apply(nets.feedback, params["feedback"], decoded))


def features(nets: Nets, params: Trees, hidden: jax.Array, amount: jax.Array | None) -> jax.Array:
    """Features [..., D] from G's hidden layer [..., W]: of one pass, or after `amount` of feedback from that one."""
    first = finish(nets, params, hidden)
    if amount is None:
        return first
    return second_pass(nets, params, hidden, decoder_hidden(nets, params, first), amount)


def critic_latents(nets: Nets, params: Trees, batch: Batch, noise: CriticNoise) -> jax.Array:
    """What G generates from for the critic [..., B, Z]: the encoder's latents, or the noise itself."""
    if not nets.encoded_noise:
        return noise.z
    mean, log_variance = apply(nets.encoder, params["encoder"], batch.x, batch.a)
    return mean + jnp.exp(0.5 * log_variance) * noise.z


def decoder_loss(nets: Nets, decoder: Params, batch: Batch, hyper: Numbers) -> tuple[jax.Array, Metrics]:
    """Weighted L1 between V2S of real x and its semantics."""
    decoded, _ = apply(nets.decoder, decoder, batch.x)
    loss = hyper["gamma_recons"] * losses.weighted_l1(decoded, batch.a)
    return loss, {"loss/decoder": loss}


def decoder_step(nets: Nets, state: TrainState, batch: Batch, axis: str | None = None) -> tuple[TrainState, Metrics]:
    """One Adam step of the decoder on real rows [B, D]; it comes first in every critic update."""

    def loss(trained):
        return decoder_loss(nets, trained["decoder"], batch, state.hyper)

    return adversarial.minimise(state, loss, {"decoder": state.hyper["dec_lr"]}, axis)


def critic_loss(
    nets: Nets, critic: Params, batch: Batch, fake: jax.Array, alpha: jax.Array,
    hyper: Numbers, penalty_weight: jax.Array,
) -> tuple[jax.Array, Metrics]:  # fmt: skip
    """WGAN-GP on real and generated rows [B, D], times gamma_d; and its terms."""
    scores = apply(nets.critic, critic, batch.x, fake, alpha, {"a": batch.a}, method=Critic.compare)
    wasserstein = jnp.mean(scores.real) - jnp.mean(scores.fake)
    penalty = penalty_weight * losses.gradient_penalty(scores.gradient_norms)
    loss = hyper["gamma_d"] * (penalty - wasserstein)
    return loss, {"loss/critic": loss, "wasserstein/critic": wasserstein, "penalty/critic": penalty}


def critic_step(
    nets: Nets, state: TrainState, batch: Batch, fake: jax.Array, alpha: jax.Array, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step of the critic on real rows and given fakes [B, D]."""

    def loss(trained):
        return critic_loss(nets, trained["critic"], batch, fake, alpha, state.hyper, state.extra["penalty_weight"])

    return adversarial.minimise(state, loss, {"critic": state.hyper["lr"]}, axis)


def update_decoder(
    nets: Nets, state: TrainState, batches: Batch, first: jax.Array, feedback: jax.Array, axis: str | None
) -> tuple[TrainState, jax.Array, Metrics]:
    """The decoder's steps on batches [U, B, ...], and after each the V2S hidden layer of G's first pass [U, B, D].

    Nothing in these steps depends on the critic, so they can come before all of its updates. Without feedback (bool
    scalar) the hidden layers [U, B, W] are zeros.
    """

    def one_step(state: TrainState, given: tuple[Batch, jax.Array]):
        batch, x = given
        state, metrics = decoder_step(nets, state, batch, axis)
        empty = jnp.zeros((len(x), nets.decoder.width), x.dtype)
        hidden = jax.lax.cond(feedback, lambda: decoder_hidden(nets, state.params, x), lambda: empty)
        return state, (hidden, metrics)

    state, (decoded, metrics) = jax.lax.scan(one_step, state, (batches, first))
    return state, decoded, metrics


def critic_updates(
    nets: Nets, state: TrainState, batches: Batch, noise: CriticNoise, feedback: jax.Array, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """All updates of decoder and critic of an iteration on batches [U, B, ...]; metrics are means over them.

    E, G and F are frozen meanwhile, so both of G's passes are made for all updates at once.
    """
    hidden = begin(nets, state.params, critic_latents(nets, state.params, batches, noise), batches.a)
    first = finish(nets, state.params, hidden)
    state, decoded, of_decoder = update_decoder(nets, state, batches, first, feedback, axis)
    params, amount = state.params, state.hyper["a1"]
    fake = jax.lax.cond(feedback, lambda: second_pass(nets, params, hidden, decoded, amount), lambda: first)

    def one_step(state: TrainState, given):
        return critic_step(nets, state, *given, axis=axis)

    state, of_critic = jax.lax.scan(one_step, state, (batches, fake, noise.alpha))
    return state, jax.tree.map(jnp.mean, of_decoder | of_critic)


def generate(nets: Nets, params: Trees, batch: Batch, noise: GeneratorNoise, amount: jax.Array | None) -> Made:
    """The reconstruction of real rows and the fakes of a generator update; `amount` of feedback, None in loop 0."""
    mean, log_variance = apply(nets.encoder, params["encoder"], batch.x, batch.a)
    z = mean + jnp.exp(0.5 * log_variance) * noise.z
    if nets.encoded_noise:
        x = features(nets, params, begin(nets, params, z, batch.a), amount)
        return Made(x, x, mean, log_variance)
    hidden = begin(nets, params, jnp.stack([z, noise.prior]), batch.a[None])
    if amount is None or nets.feedback_from == "fake":
        reconstruction, fake = features(nets, params, hidden, amount)
    else:
        reconstruction = features(nets, params, hidden[0], amount)
        fake = second_pass(nets, params, hidden[1], decoder_hidden(nets, params, reconstruction), amount)
    return Made(reconstruction, fake, mean, log_variance)


def generator_loss(
    nets: Nets, trained: Trees, frozen: Trees, batch: Batch, noise: GeneratorNoise, hyper: Numbers, feedback: bool
) -> tuple[jax.Array, Metrics]:
    """VAE, adversarial and semantic reconstruction loss of the nets in `trained`; `frozen` holds the others."""
    params = frozen | trained
    made = generate(nets, params, batch, noise, hyper["a1"] if feedback else None)
    vae = losses.binary_cross_entropy(made.reconstruction, batch.x)
    vae += losses.kl_to_standard_normal(made.mean, made.log_variance)
    cost = -jnp.mean(apply(nets.critic, params["critic"], made.fake, {"a": batch.a}))
    decoded, _ = apply(nets.decoder, params["decoder"], made.fake)
    reconstruction = losses.weighted_l1(decoded, batch.a)
    loss = vae + hyper["gamma_g"] * cost + hyper["gamma_recons"] * reconstruction
    metrics = {"loss/generator": loss, "loss/vae": vae, "loss/adversarial": cost, "loss/decoder_fake": reconstruction}
    return loss, metrics


def generator_rates(nets: Nets, hyper: Numbers, feedback: bool) -> Numbers:
    """Learning rates of the nets that a generator update trains."""
    rates = {"encoder": hyper["lr"], "generator": hyper["lr"]}
    rates |= {"feedback": hyper["feed_lr"]} if feedback else {}
    return rates if nets.freeze_decoder else rates | {"decoder": hyper["dec_lr"]}


def generator_step(
    nets: Nets, state: TrainState, batch: Batch, noise: GeneratorNoise, feedback: bool, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step of E and G on one batch [B, ...]; of F in loop 1 (`feedback`), of the decoder unless frozen."""

    def loss(trained):
        return generator_loss(nets, trained, state.params, batch, noise, state.hyper, feedback)

    rates = generator_rates(nets, state.hyper, feedback)
    state, metrics = adversarial.minimise(state, loss, rates, axis, BETA1, suffix="_step")
    return state, {"grad_norm/feedback_step": jnp.float32(0)} | metrics


def adapt_penalty_weight(state: TrainState, penalty: jax.Array) -> TrainState:
    """Adjusts lambda from the mean over updates of the weighted penalty (scalar, lambda in it, gamma_d not)."""
    weight = state.extra["penalty_weight"]
    weight = losses.adapt_lambda(weight, penalty / weight)
    return state._replace(extra=state.extra | {"penalty_weight": weight})


def in_feedback_loop(state: TrainState) -> jax.Array:
    """Whether the next iteration is one of loop 1 (bool scalar): passes over the training rows take turns."""
    steps = state.hyper["steps_per_epoch"].astype(jnp.int32)
    return state.extra["iteration"] // steps % LOOPS == 1


def train_step(
    nets: Nets, state: TrainState, batches: Batch, key: jax.Array, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """`critic_iter` updates of decoder and critic, the adaptation of lambda, then a generator update on the last batch.

    For `axis` see `zsl_jax.train_steps.mapped`.
    """
    updates, rows, width = batches.x.shape
    chex.assert_shape(batches.a, (updates, rows, None))
    chex.assert_equal(width, nets.generator.out)
    critic_key, generator_key = jax.random.split(key)
    everyone, feedback = mapped.all_rows(rows, axis), in_feedback_loop(state)
    noise = mapped.own_rows(draw_critic_noise(nets, critic_key, (updates, everyone)), rows, axis, dim=1)
    state, metrics = critic_updates(nets, state, batches, noise, feedback, axis)
    state = adapt_penalty_weight(state, metrics["penalty/critic"])
    last = jax.tree.map(lambda leaf: leaf[-1], batches)
    last_noise = mapped.own_rows(draw_generator_noise(nets, generator_key, everyone), rows, axis)

    def generator_update(feedback: bool):
        return lambda state: generator_step(nets, state, last, last_noise, feedback, axis)

    state, generated = jax.lax.cond(feedback, generator_update(True), generator_update(False), state)
    state = state._replace(extra=state.extra | {"iteration": state.extra["iteration"] + jnp.int32(1)})
    return state, metrics | generated | {"lambda": state.extra["penalty_weight"]}


def init(nets: Nets, hyper: Numbers, spec: Spec, key: jax.Array) -> TrainState:
    """Fresh parameters and optimiser states; `extra` holds lambda and the number of iterations done (int32)."""
    rows = (spec.x_dim, spec.a_dim, nets.z_dim, nets.decoder.width)
    x, a, z, hidden = (jnp.zeros((1, width)) for width in rows)
    seen = {
        "generator": (nets.generator, z, a),
        "feedback": (nets.feedback, hidden),
        "encoder": (nets.encoder, x, a),
        "critic": (nets.critic, x, {"a": a}),
        "decoder": (nets.decoder, x),
    }
    extra = {"penalty_weight": hyper["penalty_weight"], "iteration": jnp.int32(0)}
    return adversarial.fresh_state(init_published(key, seen), {}, hyper, extra)


def inference(state: TrainState) -> Trees:
    """What synthesis and the feature spaces need: nets, and the amount of feedback a2 (scalar)."""
    nets = {name: state.params[name] for name in ("generator", "feedback", "decoder")}
    return nets | {"a2": state.hyper["a2"]}


def sample(nets: Nets, params: Trees, a: jax.Array, z: jax.Array) -> jax.Array:
    """Features [n, D] of semantics a [n, A] from noise z [n, Z], in two passes with feedback a2."""
    return features(nets, params, begin(nets, params, z, a), params["a2"])


def synthesize(nets: Nets, params: Trees, semantics: jax.Array, keys: jax.Array, sampler: str) -> dict:
    """Features {"x": [n, D]}; row i from semantics[i] and keys[i]. There is one sampler."""
    del sampler
    z = jax.vmap(lambda key: jax.random.normal(key, (nets.z_dim,)))(keys)
    return {"x": sample(nets, params, semantics, z)}


def embed(nets: Nets, params: Trees, views: Views, space: str) -> jax.Array:
    """Classifier inputs [n, F]: "V" = x; "VS" = [x, V2S(x), its hidden layer], as published (section 3.3)."""
    x = views["x"]
    return x if space == "V" else jnp.concatenate([x, *apply(nets.decoder, params["decoder"], x)], axis=-1)


def build(config, spec: Spec) -> Method:
    """TF-VAEGAN as a method; `config` is a whole configuration with a "tfvaegan" section."""
    nets = make_nets(config.tfvaegan, spec)
    return Method(
        name="TF-VAEGAN",
        batches_per_step=config.tfvaegan.critic_iter,
        init=lambda key, upstream, hyper, tables=None: init(nets, hyper, spec, key),
        **mapped.steps(partial(train_step, nets)),
        inference=inference,
        synthesize=partial(synthesize, nets),
        embed=partial(embed, nets),
        spaces=SPACES,
        samplers=SAMPLERS,
    )


STAGES = {"tfvaegan": Entry(build, HYPER)}

"""The zoo's autoencoders (Zero-shot-Generative-Models): AE in two variants, VAE and BIR-VAE.

Each makes features from class semantics a and noise, and learns by the squared error to a real row of the class. The
published objectives encode a and noise, never the features:

    ae       x' = E(a, z); the decoder maps x' back to a; both learn from both errors
    ae2      the same nets apart: D learns a from real x, E learns x from (a, z)
    vae      E(a, z) -> mean, variance of a latent l that is drawn towards a; x' = D(l); no Kullback-Leibler term
    bir_vae  likewise with a fixed variance and l drawn to N(0, 1) by its maximum mean discrepancy (MMD)

`config.autoencoder.meant` gives what their sources describe or the code evidently means to do:

    ae2      E also learns from what D reads in x', as freezing D before E's update was for
    vae      E encodes (x, a), D decodes (l, a), and the latent pays its divergence from N(0, 1): the conditional VAE of
             Mishra et al. (CVPR workshops 2018); rows are synthesised from l ~ N(0, 1)
    bir_vae  likewise (Braithwaite and Kleijn 2018): the deviation is the root of the fixed variance, as which the
             published code takes the variance itself; the MMD is a mean over pairs, free of the batch size

All errors are sums over a batch, as published; the frozen seen-class classifier's term is a mean.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax import losses
from zsl_jax.errors import InputError
from zsl_jax.nets.autoencoders import GaussianEncoder, RectifiedPerceptron
from zsl_jax.nets.layers import apply, init_published
from zsl_jax.train_steps import adversarial, mapped
from zsl_jax.train_steps.method import Batch, Entry, Method, Metrics, Numbers, Spec, TrainState, Trees
from zsl_jax.train_steps.seen_classifier import frozen_from, negative_log_likelihood, require_classifier

NUMBERS = ("lr", "cls_weight", "weight_decay", "information_rate")
NET_NAMES: tuple[str, ...] = ("encoder", "decoder")

Terms = Numbers
Rows = tuple[jax.Array | None, jax.Array]  # x (unless it is not encoded) and a


class Noise(NamedTuple):
    """Standard normal draws of an update: z [B, Z] is encoded with a, latent [B, L] scaled, prior [B, L] compared.

    Of no width where an objective has no use for them. As a record of widths: see `Nets`.
    """

    z: Any
    latent: Any
    prior: Any


class Nets(NamedTuple):
    """The static side of the stage: modules, widths of the noise, and the objective."""

    encoder: nn.Module
    decoder: nn.Module
    widths: Noise
    objective: "Objective"


class Objective(NamedTuple):
    """An autoencoder as a value.

    Attributes:
      make: (section, sizes) -> encoder, decoder, widths of the noise.
      inputs: (a row of x, of a, of z, of the latent) -> inputs of encoder and decoder, for their shapes.
      reconstruct: (nets, params, batch, noise, numbers) -> features [B, D] and the losses beside their squared error.
      generate: (nets, params, semantics [n, A], noise, numbers) -> features [n, D].
      decayed: nets whose weights decay.
      additive: whether all losses are sums over rows.
    """

    make: Callable[[Any, Spec], tuple[nn.Module, nn.Module, Noise]]
    inputs: Callable[..., tuple[dict, dict]]
    reconstruct: Callable[[Nets, Trees, Batch, Noise, Numbers], tuple[jax.Array, Terms]]
    generate: Callable[[Nets, Trees, jax.Array, Noise, Numbers], jax.Array]
    decayed: tuple[str, ...] = NET_NAMES
    additive: bool = True


def encode(nets: Nets, params: Trees, **inputs: jax.Array) -> Any:
    """What the encoder makes of named rows."""
    return apply(nets.encoder, params["encoder"], inputs)


def decode(nets: Nets, params: Trees, **inputs: jax.Array) -> jax.Array:
    """What the decoder makes of named rows."""
    return apply(nets.decoder, params["decoder"], inputs)


# AE: the encoder makes features, the decoder reads semantics in them.


def make_direct(section: Any, spec: Spec) -> tuple[nn.Module, nn.Module, Noise]:
    """Encoder [a, z] -> x and decoder x -> a."""
    encoder = RectifiedPerceptron(section.encoder_width, spec.x_dim)
    return encoder, RectifiedPerceptron(section.decoder_width, spec.a_dim), Noise(section.z_dim or spec.a_dim, 0, 0)


def direct_inputs(x: jax.Array, a: jax.Array, z: jax.Array, latent: jax.Array) -> tuple[dict, dict]:
    """Inputs of both nets of an AE."""
    del latent
    return {"a": a, "z": z}, {"x": x}


def generate_direct(nets: Nets, params: Trees, a: jax.Array, noise: Noise, hyper: Numbers) -> jax.Array:
    """Features [n, D] straight from semantics [n, A] and noise."""
    del hyper
    return encode(nets, params, a=a, z=noise.z)


def joint(nets: Nets, params: Trees, batch: Batch, noise: Noise, hyper: Numbers) -> tuple[jax.Array, Terms]:
    """AE: semantics are decoded from the reconstructed features."""
    x = generate_direct(nets, params, batch.a, noise, hyper)
    return x, {"semantics": losses.sum_squared(decode(nets, params, x=x), batch.a)}


def apart(nets: Nets, params: Trees, batch: Batch, noise: Noise, hyper: Numbers) -> tuple[jax.Array, Terms]:
    """AE2: semantics are decoded from real features, which teaches the encoder nothing."""
    x = generate_direct(nets, params, batch.a, noise, hyper)
    return x, {"semantics": losses.sum_squared(decode(nets, params, x=batch.x), batch.a)}


def apart_but_read(nets: Nets, params: Trees, batch: Batch, noise: Noise, hyper: Numbers) -> tuple[jax.Array, Terms]:
    """AE2 as meant: the decoder, frozen, also reads the reconstructed features."""
    x, terms = apart(nets, params, batch, noise, hyper)
    read = decode(nets, jax.lax.stop_gradient(params), x=x)
    return x, terms | {"semantics_of_reconstruction": losses.sum_squared(read, batch.a)}


# VAE and BIR-VAE: the encoder gives the density of a latent, the decoder makes features of it.


class Density(NamedTuple):
    """Mean and log-variance of the latent and a draw from it, each [B, L]."""

    mean: jax.Array
    log_variance: jax.Array
    latent: jax.Array


class Latent(NamedTuple):
    """What tells autoencoders with a latent density apart.

    Attributes:
      conditional: as meant, (x, a) is encoded and (l, a) decoded; as published, (a, z) is encoded and l alone decoded.
      anchored: whether l is as wide as the semantics; if not, as z.
      deviation: (log-variance [B, L], information rate) -> standard deviation of the latent [B, L] or [].
      penalty: its losses.
      compares: whether these compare l with draws from N(0, 1), row with row.
    """

    conditional: bool
    anchored: bool
    deviation: Callable[[jax.Array, jax.Array], jax.Array]
    penalty: Callable[[Density, Batch, Noise], Terms]
    compares: bool


def make_latent(kind: Latent, section: Any, spec: Spec) -> tuple[nn.Module, nn.Module, Noise]:
    """Encoder -> density of the latent, and decoder -> x."""
    z_dim = section.z_dim or spec.a_dim
    latent_dim = spec.a_dim if kind.anchored else z_dim
    widths = Noise(0 if kind.conditional else z_dim, latent_dim, latent_dim if kind.compares else 0)
    encoder = GaussianEncoder(section.encoder_width, latent_dim)
    return encoder, RectifiedPerceptron(section.decoder_width, spec.x_dim), widths


def latent_inputs(
    kind: Latent, x: jax.Array | None, a: jax.Array, z: jax.Array, latent: jax.Array
) -> tuple[dict, dict]:
    """Inputs of both nets."""
    return ({"x": x, "a": a}, {"z": latent, "a": a}) if kind.conditional else ({"a": a, "z": z}, {"z": latent})


def bounded_variance(log_variance: jax.Array, rate: jax.Array) -> jax.Array:
    """The variance at which L latent entries carry `rate` bits in all: 4^(-rate / L) (BIR-VAE, section 2)."""
    return 0.25 ** (rate / log_variance.shape[-1])


def through_latent(
    kind: Latent, nets: Nets, params: Trees, rows: Rows, noise: Noise, hyper: Numbers
) -> tuple[jax.Array, Density]:
    """Encodes `rows` (x, a), draws the latent, decodes it."""
    encoded, _ = latent_inputs(kind, *rows, noise.z, noise.latent)
    mean, log_variance = encode(nets, params, **encoded)
    latent = mean + kind.deviation(log_variance, hyper["information_rate"]) * noise.latent
    _, decoded = latent_inputs(kind, *rows, noise.z, latent)
    return decode(nets, params, **decoded), Density(mean, log_variance, latent)


def latent_objective(kind: Latent) -> Objective:
    """An autoencoder with a latent density."""

    def reconstruct(nets, params, batch, noise, hyper) -> tuple[jax.Array, Terms]:
        x, density = through_latent(kind, nets, params, (batch.x, batch.a), noise, hyper)
        return x, kind.penalty(density, batch, noise)

    def generate(nets, params, a, noise, hyper) -> jax.Array:
        if kind.conditional:  # there is no x to encode: the latent comes from its prior
            return decode(nets, params, z=noise.latent, a=a)
        return through_latent(kind, nets, params, (None, a), noise, hyper)[0]

    make, inputs = functools.partial(make_latent, kind), functools.partial(latent_inputs, kind)
    return Objective(make, inputs, reconstruct, generate, additive=not kind.compares)


PUBLISHED = {
    "ae": Objective(make_direct, direct_inputs, joint, generate_direct),
    "ae2": Objective(make_direct, direct_inputs, apart, generate_direct, decayed=("encoder",)),
    "vae": latent_objective(
        Latent(
            conditional=False, anchored=True, compares=False,
            deviation=lambda log_variance, rate: jnp.exp(log_variance / 2),
            penalty=lambda density, batch, noise: {"semantics": losses.sum_squared(density.mean, batch.a)},
        )
    ),
    "bir_vae": latent_objective(
        Latent(
            conditional=False, anchored=False, compares=True,
            deviation=bounded_variance,
            penalty=lambda density, batch, noise: {"mmd": losses.discrepancy(noise.prior, density.latent)},
        )
    ),
}  # fmt: skip
MEANT = {
    "ae2": Objective(make_direct, direct_inputs, apart_but_read, generate_direct, decayed=("encoder",)),
    "vae": latent_objective(
        Latent(
            conditional=True, anchored=False, compares=False,
            deviation=lambda log_variance, rate: jnp.exp(log_variance / 2),
            penalty=lambda density, batch, noise: {
                "kl": len(batch.x) * losses.kl_to_standard_normal(density.mean, density.log_variance)
            },
        )
    ),
    "bir_vae": latent_objective(
        Latent(
            conditional=True, anchored=False, compares=True,
            deviation=lambda log_variance, rate: jnp.sqrt(bounded_variance(log_variance, rate)),
            penalty=lambda density, batch, noise: {
                "mmd": losses.discrepancy(noise.prior, density.latent) / len(batch.x)
            },
        )
    ),
}  # fmt: skip


def make_nets(section: Any, spec: Spec) -> Nets:
    """Builds the nets of an "autoencoder" section for the sizes of `spec`.

    Raises:
      InputError: there is no such objective.
    """
    table = MEANT if section.meant else PUBLISHED
    if section.objective not in table:
        which = f"{tuple(table)}{' with meant=True' if section.meant else ''}"
        raise InputError(f"config.autoencoder.objective: {section.objective!r}; choose one of {which}")
    objective = table[section.objective]
    return Nets(*objective.make(section, spec), objective)


def draw_noise(nets: Nets, key: jax.Array, shape: tuple[int, ...]) -> Noise:
    """Draws the noise of rows of `shape`."""
    normals = jax.random.normal(key, (*shape, sum(nets.widths)))
    return Noise(*jnp.split(normals, np.cumsum(nets.widths)[:-1], axis=-1))


def loss(
    nets: Nets, params: Trees, frozen: Trees, batch: Batch, noise: Noise, hyper: Numbers,
    shares: int = 1
) -> tuple[jax.Array, Metrics]:  # fmt: skip
    """The objective's loss of a batch [B, ...], a scalar, and its terms.

    Args:
      nets: modules and objective.
      params: of encoder and decoder.
      frozen: maybe the seen classes' "classifier", whose likelihood of the reconstructed rows takes part then.
      batch, noise: rows and draws.
      hyper: `NUMBERS`.
      shares: into how many equal parts the whole batch was divided. Their losses' mean is the loss of the whole.
    """
    x, terms = nets.objective.reconstruct(nets, params, batch, noise, hyper)
    terms = {name: shares * term for name, term in ({"features": losses.sum_squared(x, batch.x)} | terms).items()}
    total = sum(terms.values(), jnp.float32(0))
    if frozen:
        terms["classification"] = negative_log_likelihood(frozen["classifier"], x, batch.labels)
        total += hyper["cls_weight"] * terms["classification"]
    terms["decay"] = hyper["weight_decay"] * losses.squared_weights([params[name] for name in nets.objective.decayed])
    total += terms["decay"]
    return total, {"loss": total} | {f"loss/{name}": term for name, term in terms.items()}


def update(
    nets: Nets, state: TrainState, batch: Batch, noise: Noise, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One Adam step of encoder and decoder on one batch [B, ...]; `axis`: see `mapped`.

    The nets of AE2 have losses of their own, which share no parameter: one step on their sum is a step on each.
    """
    shares = mapped.all_rows(1, axis)

    def of(params: Trees) -> tuple[jax.Array, Metrics]:
        return loss(nets, params, state.frozen, batch, noise, state.hyper, shares)

    return adversarial.minimise(state, of, dict.fromkeys(NET_NAMES, state.hyper["lr"]), axis)


def train_step(
    nets: Nets, state: TrainState, batches: Batch, key: jax.Array, axis: str | None = None
) -> tuple[TrainState, Metrics]:
    """One update on one batch (leading axis 1)."""
    _, rows, _ = batches.x.shape
    chex.assert_shape(batches.a, (1, rows, None))
    noise = mapped.own_rows(draw_noise(nets, key, (mapped.all_rows(rows, axis),)), rows, axis)
    return update(nets, state, jax.tree.map(lambda leaf: leaf[0], batches), noise, axis)


def init(nets: Nets, spec: Spec, key: jax.Array, upstream: Trees, hyper: Numbers) -> TrainState:
    """Fresh parameters and optimiser states; the seen classes' classifier is frozen, if there is one."""
    widths = (spec.x_dim, spec.a_dim, nets.widths.z, nets.widths.latent)
    encoded, decoded = nets.objective.inputs(*(jnp.zeros((1, width)) for width in widths))
    seen = {"encoder": (nets.encoder, encoded), "decoder": (nets.decoder, decoded)}
    return adversarial.fresh_state(init_published(key, seen), frozen_from(upstream), hyper, {})


def inference(state: TrainState) -> Trees:
    """Encoder and decoder, and the one number that synthesis needs."""
    return state.params | {"numbers": {"information_rate": state.hyper["information_rate"]}}


def synthesize(nets: Nets, params: Trees, semantics: jax.Array, keys: jax.Array, sampler: str) -> dict:
    """Features {"x": [n, D]}; row i from semantics[i] and keys[i]. There is one sampler."""
    del sampler
    noise = jax.vmap(lambda key: draw_noise(nets, key, ()))(keys)
    return {"x": nets.objective.generate(nets, params, semantics, noise, params["numbers"])}


def build(config: Any, spec: Spec) -> Method:
    """An autoencoder as a method; `config` is a whole configuration with an "autoencoder" section.

    BIR-VAE compares all pairs of a batch's rows, so it has no `mapped_step`.

    Raises:
      InputError: there is no such objective, or the stage it needs is missing.
    """
    nets = make_nets(config.autoencoder, spec)
    require_classifier(config, "autoencoder")
    return Method(
        name=f"autoencoder {config.autoencoder.objective}",
        batches_per_step=1,
        init=lambda key, upstream, hyper, tables=None: init(nets, spec, key, upstream, hyper),
        **mapped.steps(functools.partial(train_step, nets), nets.objective.additive),
        inference=inference,
        synthesize=functools.partial(synthesize, nets),
        embed=lambda params, views, space: views["x"],
        spaces=("V",),
        samplers=("one_step",),
    )


STAGES = {"autoencoder": Entry(build, NUMBERS)}

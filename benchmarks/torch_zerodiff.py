# pyright: basic, reportMissingImports=false
"""ZeroDiff's training iterations in plain eager PyTorch, timed on request: the other side of a comparison.

    python benchmarks/torch_zerodiff.py '{"stage": "drg", "device": "cpu", "threads": 2, "sizes": {"batch": 64}}'

Needs torch and numpy only. It computes what `zsl_jax/train_steps/zerodiff_{drg,dfg}.py` compute, in the way the
published program does: inputs concatenated, each critic called anew for real rows, fake rows, interpolated rows and
(stage 2) mutual learning, every penalty by a second differentiation, each part of the loss differentiated on its own,
`torch.optim.Adam` as it comes, no compilation. Its logging passes over test rows are left out.

The argument is one JSON object:
    stage      drg | dfg | classifier | matmul
    device     cpu | cuda
    threads    CPU threads, null: torch's choice
    precision  float32 | tf32 (cuda only) | bfloat16 (autocast over float32 weights; matmul: bfloat16 operands)
    seed       of weights, data and noise
    sizes      fields of GanSizes, ClassifierSizes or MatmulSizes below; absent ones as published for AWA2

When all is built it prints {"ready": true, "torch": version, "threads": n, "device": name}. Then for each line
{"iterations": N} on standard input it runs N iterations (classifier: fits; matmul: products of each shape) between two
device synchronisations and prints {"seconds": total, "losses": {the last ones}, "peak_bytes": n}; matmul also says
"shape_seconds". The first request should be a small one, to warm up. It ends at {"iterations": 0} or the end of input;
bad arguments end it with one line on standard error and exit code 2.

On Linux a third of the time on CPUs can go into page faults, since the C library gives every large array back to the
system. MALLOC_MMAP_THRESHOLD_=8000000000 MALLOC_TRIM_THRESHOLD_=16000000000 in the environment makes it keep them.
"""

import dataclasses
import functools
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEVICES = ("cpu", "cuda")
PRECISIONS = ("float32", "tf32", "bfloat16")
EMBED_TYPES = ("VA", "V")
MAX_PERIOD = 10_000.0
LEAKY_SLOPE = 0.2
WEIGHT_DEVIATION = 0.02
FIRST_BETA = 1e-8
SMALLEST_TIME = 1e-3
SMALLEST_VARIANCE = 1e-20
BETAS = (0.5, 0.999)
ENCODER_BETAS = (0.9, 0.999)

Nets = dict[str, nn.Module]
Terms = dict[str, Tensor]
Given = dict[str, Tensor]


class ArgumentError(ValueError):
    """What the caller asked for cannot be done; the message says why."""


# Sizes


@dataclasses.dataclass(frozen=True)
class GanSizes:
    """Sizes and hyper-parameters of both ZeroDiff stages; each stage ignores what it does not use."""

    batch: int = 64
    rows: int = 23_527  # training rows kept on the device
    n_classes: int = 50
    x_dim: int = 2048
    r_dim: int = 2048
    a_dim: int = 85
    z_dim: int = 85
    time_dim: int = 85
    embed_dim: int = 85  # of the generator; the critics embed into a_dim
    n_steps: int = 4
    beta_min: float = 0.1
    beta_max: float = 20.0
    generator_width: int = 4096
    critic_width: int = 4096
    decoder_width: int = 4096
    encoder_width: int = 4096
    embed_type: str = "VA"
    normalize_decoder: bool = True
    freeze_decoder: bool = True
    critic_iter: int = 5
    lr: float = 5e-4
    dec_lr: float = 1e-4
    penalty_weight: float = 10.0
    gamma_adv: float = 10.0
    gamma_vae: float = 1.0
    gamma_recons: float = 1.0
    gamma_x0: float = 1.0
    gamma_xt: float = 1.0
    gamma_xc: float = 1.0
    gamma_dist: float = 5.0
    factor_dist: float = 1.5

    def __post_init__(self):
        check_batch(self.batch, self.rows)
        if self.embed_type not in EMBED_TYPES:
            raise ArgumentError(f"sizes.embed_type: {self.embed_type!r}; choose one of {EMBED_TYPES}")
        if not 0 < self.beta_min < self.beta_max:
            raise ArgumentError(f"sizes: betas {self.beta_min}..{self.beta_max}; use 0 < beta_min < beta_max")


@dataclasses.dataclass(frozen=True)
class ClassifierSizes:
    """Sizes of a softmax classifier's fit."""

    n_features: int = 2048
    n_classes: int = 50
    rows: int = 20_400
    batch: int = 400
    epochs: int = 25
    lr: float = 1e-3

    def __post_init__(self):
        check_batch(self.batch, self.rows)


@dataclasses.dataclass(frozen=True)
class MatmulSizes:
    """Shapes [m, k, n] of products [m, k] @ [k, n]."""

    shapes: list

    def __post_init__(self):
        for shape in self.shapes:
            if not (isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)):
                raise ArgumentError(f"sizes.shapes: {shape!r}; each shape is a list of three positive integers")


def check_batch(batch: int, rows: int) -> None:
    """Raises ArgumentError when there are not enough rows for one batch."""
    if batch > rows:
        raise ArgumentError(f"sizes: a batch of {batch} out of {rows} rows; use batch <= rows")


# Nets


def dense(inputs: int, outputs: int) -> nn.Linear:
    """A dense layer with weights N(0, 0.02) and zero bias, as published."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, 0.0, WEIGHT_DEVIATION)
    nn.init.zeros_(layer.bias)
    return layer


def embedding(inputs: int, outputs: int) -> nn.Sequential:
    """Dense-SiLU-Dense: [B, inputs] -> [B, outputs]."""
    return nn.Sequential(dense(inputs, outputs), nn.SiLU(), dense(outputs, outputs))


def sinusoids(t: Tensor, dim: int) -> Tensor:
    """Sinusoidal embedding, cosines first: t [B] -> [B, dim]; an odd last column is zero."""
    half = dim // 2
    frequencies = torch.exp(-math.log(MAX_PERIOD) * torch.arange(half, device=t.device) / max(half, 1))
    angles = t[:, None].float() * frequencies[None]
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, dim % 2))


class Generator(nn.Module):
    """[z, a, (emb(r)), noisy input, e(t)] -> Dense-lrelu-Dense-sigmoid; stage 1's R without r, stage 2's G with it."""

    def __init__(self, sizes: GanSizes, out: int, with_r: bool):
        super().__init__()
        self.time_dim = sizes.time_dim
        self.embed_t = embedding(sizes.time_dim, sizes.embed_dim)
        self.embed_r = embedding(sizes.r_dim, sizes.embed_dim) if with_r else None
        embedded = sizes.embed_dim * (2 if with_r else 1)
        self.hidden = dense(sizes.z_dim + sizes.a_dim + out + embedded, sizes.generator_width)
        self.out = dense(sizes.generator_width, out)

    def forward(self, z: Tensor, a: Tensor, noisy: Tensor, t: Tensor, r: Tensor) -> Tensor:
        """z [B, Z], a [B, A], noisy [B, out], t [B], r [B, R] -> [B, out] in 0..1."""
        middle = [] if self.embed_r is None else [self.embed_r(r)]
        inputs = torch.cat([z, a, *middle, noisy, self.embed_t(sinusoids(t, self.time_dim))], dim=1)
        hidden = F.leaky_relu(self.hidden(inputs), LEAKY_SLOPE)
        return torch.sigmoid(self.out(hidden).float())


class Encoder(nn.Module):
    """[x, a] ("VA") or x alone ("V") -> mean and log-variance of the latent noise."""

    def __init__(self, sizes: GanSizes):
        super().__init__()
        self.sees_a = sizes.embed_type == "VA"
        self.hidden1 = dense(sizes.x_dim + sizes.a_dim * self.sees_a, sizes.encoder_width)
        self.hidden2 = dense(sizes.encoder_width, 2 * sizes.z_dim)
        self.mean = dense(2 * sizes.z_dim, sizes.z_dim)
        self.log_variance = dense(2 * sizes.z_dim, sizes.z_dim)

    def forward(self, x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, D], a [B, A] -> two arrays [B, Z]."""
        inputs = torch.cat([x, a], dim=1) if self.sees_a else x
        hidden = F.leaky_relu(self.hidden1(inputs), LEAKY_SLOPE)
        hidden = F.leaky_relu(self.hidden2(hidden), LEAKY_SLOPE)
        return self.mean(hidden).float(), self.log_variance(hidden).float()


class Critic(nn.Module):
    """WGAN critic, Dense-lrelu-Dense 1, of [x, (x_{t+1}), (a), (emb(r)), (e(t))]: `sees` names what stands beside x."""

    def __init__(self, sizes: GanSizes, x_dim: int, sees: tuple[str, ...]):
        super().__init__()
        self.sees = sees
        self.time_dim = sizes.time_dim
        self.embed_r = embedding(sizes.r_dim, sizes.a_dim) if "r" in sees else None
        self.embed_t = embedding(sizes.time_dim, sizes.a_dim) if "t" in sees else None
        widths = {"next": x_dim, "a": sizes.a_dim, "r": sizes.a_dim, "t": sizes.a_dim}
        self.hidden = dense(x_dim + sum(widths[name] for name in sees), sizes.critic_width)
        self.score = dense(sizes.critic_width, 1)

    def forward(self, x: Tensor, given: Given) -> Tensor:
        """Scores [B] of rows x [B, D] under conditions "next" [B, D], "a" [B, A], "r" [B, R], "t" [B]."""
        inputs = [x]
        for name in self.sees:
            value = given[name]
            if name == "r" and self.embed_r is not None:
                value = self.embed_r(value)
            elif name == "t" and self.embed_t is not None:
                value = self.embed_t(sinusoids(value, self.time_dim))
            inputs.append(value)
        hidden = F.leaky_relu(self.hidden(torch.cat(inputs, dim=1)), LEAKY_SLOPE)
        return self.score(hidden).float()[:, 0]


class Decoder(nn.Module):
    """V2S, features (or representations) -> semantics: Dense-lrelu-Dense, L2-normalised when the semantics are."""

    def __init__(self, sizes: GanSizes, x_dim: int):
        super().__init__()
        self.normalize = sizes.normalize_decoder
        self.hidden = dense(x_dim, sizes.decoder_width)
        self.out = dense(sizes.decoder_width, sizes.a_dim)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, D] -> [B, A]."""
        out = self.out(F.leaky_relu(self.hidden(x), LEAKY_SLOPE)).float()
        return F.normalize(out, dim=1) if self.normalize else out


# Diffusion


class Schedule(NamedTuple):
    """Coefficients: sigmas, sqrt_alphas, sqrt_alphas_bar, sigmas_bar [T + 1]; the posterior's [T], float32."""

    sigmas: Tensor
    sqrt_alphas: Tensor
    sqrt_alphas_bar: Tensor
    sigmas_bar: Tensor
    mean_coef1: Tensor
    mean_coef2: Tensor
    deviation: Tensor


def make_schedule(sizes: GanSizes, device: torch.device) -> Schedule:
    """The variance-preserving schedule of denoising-diffusion GANs (Xiao et al. 2022) and its posterior.

    The posterior's deviation is 0 at t = 0, where no noise is added. In float32 throughout, as published, where the
    first of the betas is lost.
    """
    times = np.arange(sizes.n_steps + 1, dtype=np.float32) / np.float32(sizes.n_steps)
    times = times * np.float32(1 - SMALLEST_TIME) + np.float32(SMALLEST_TIME)
    slope, level = np.float32(sizes.beta_max - sizes.beta_min), np.float32(sizes.beta_min)
    # By way of the variance 1 - alphas_bar, as published; its rounding is part of the schedule.
    alphas_bar = 1 - (1 - np.exp(-0.5 * slope * times**2 - level * times))
    rest = 1 - alphas_bar[1:] / alphas_bar[:-1]
    betas = np.append(np.float32(FIRST_BETA), rest)
    sqrt_alphas = np.sqrt(1 - betas)
    sqrt_alphas_bar = np.cumprod(sqrt_alphas)
    kept = np.cumprod(1 - rest)
    before = np.append(np.float32(1), kept[:-1])
    variance = np.maximum(rest * (1 - before) / (1 - kept), np.float32(SMALLEST_VARIANCE))
    arrays = (
        np.sqrt(betas),
        sqrt_alphas,
        sqrt_alphas_bar,
        np.sqrt(1 - sqrt_alphas_bar**2),
        rest * np.sqrt(before) / (1 - kept),
        (1 - before) * np.sqrt(1 - rest) / (1 - kept),
        np.sqrt(variance) * (np.arange(sizes.n_steps) > 0),
    )
    return Schedule(*(torch.tensor(array, dtype=torch.float32, device=device) for array in arrays))


class Batch(NamedTuple):
    """Real rows: x [B, D] (stage 1: no columns), r [B, R], semantics a [B, A]."""

    x: Tensor
    r: Tensor
    a: Tensor


class Noise(NamedTuple):
    """All that a step draws: z [B, Z], t [B], three normals [B, D], penalty weights {critic: [B, 1]} in 0..1."""

    z: Tensor
    t: Tensor
    current: Tensor
    following: Tensor
    posterior: Tensor
    alphas: dict[str, Tensor]


class Pairs(NamedTuple):
    """Real and generated rows [B, D] at steps 0 and t, the real x_{t+1}, t [B]; latent mean, log-variance [B, Z]."""

    real: Tensor
    fake: Tensor
    real_t: Tensor
    fake_t: Tensor
    following: Tensor
    t: Tensor
    latent: tuple[Tensor, Tensor] | None = None


def diffuse(schedule: Schedule, x0: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """x_t and x_{t+1} of the same path from x_0: all [B, D]."""
    t = noise.t
    x_t = schedule.sqrt_alphas_bar[t, None] * x0 + schedule.sigmas_bar[t, None] * noise.current
    return x_t, schedule.sqrt_alphas[t + 1, None] * x_t + schedule.sigmas[t + 1, None] * noise.following


def posterior_sample(schedule: Schedule, x0: Tensor, following: Tensor, noise: Noise) -> Tensor:
    """x_t ~ q(x_t | x_0, x_{t+1}): all [B, D]."""
    t = noise.t
    mean = schedule.mean_coef1[t, None] * x0 + schedule.mean_coef2[t, None] * following
    return mean + schedule.deviation[t, None] * noise.posterior


# Losses


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, alpha: Tensor, given: Given) -> Tensor:
    """Mean squared deviation from 1 of the critic's gradient norm at alpha real + (1 - alpha) fake; a scalar."""
    middle = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    scores = critic(middle, given)
    (gradient,) = torch.autograd.grad(scores, middle, torch.ones_like(scores), create_graph=True)
    return ((gradient.norm(2, dim=1) - 1) ** 2).mean()


def weighted_l1(predicted: Tensor, target: Tensor) -> Tensor:
    """L1 distance of semantics [B, A], each entry weighted by d^2 / ||d||, summed over A, mean over B."""
    difference = predicted - target
    weights = difference**2 / (difference**2).sum(dim=1, keepdim=True).sqrt()
    return (weights * difference.abs()).sum() / len(predicted)


def vae_loss(predicted: Tensor, target: Tensor, latent: tuple[Tensor, Tensor]) -> Tensor:
    """Binary cross-entropy of rows [B, D] and KL of the latent noise from N(0, 1), summed over widths, mean over B."""
    with torch.autocast(predicted.device.type, enabled=False):
        entropy = F.binary_cross_entropy(predicted + 1e-12, target, reduction="sum")
    mean, log_variance = latent
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
    return (entropy + divergence) / len(predicted)


def mutual_learning(x0: Tensor, xt: Tensor, xc: Tensor, weights: Tensor) -> Tensor:
    """Draws each critic's Wasserstein estimates [B] to the other two's; `weights` [B] of the terms with x_t."""

    def towards(estimate: Tensor, target: Tensor) -> Tensor:
        return (estimate - target.detach()) ** 2

    noisy = towards(x0, xt) + towards(xt, x0) + towards(xc, xt) + towards(xt, xc)
    return (weights * noisy + towards(x0, xc) + towards(xc, x0)).mean()


def wasserstein_losses(
    nets: Nets,
    rows: dict[str, tuple[Tensor, Tensor]],
    given: dict[str, Given],
    weights: dict[str, float],
    alphas: dict[str, Tensor],
    penalty_weight: float,
) -> tuple[Terms, Terms]:
    """The critics' WGAN-GP loss in three parts with graphs of their own, and each critic's penalty.

    Args:
      nets: the critics by name.
      rows: real and fake rows [B, D] by critic.
      given: what each critic sees beside them.
      weights: of the critics.
      alphas: position of the interpolated rows [B, 1] by critic.
      penalty_weight: lambda.
    """
    real = [weights[name] * nets[name](pair[0], given[name]).mean() for name, pair in rows.items()]
    fake = [weights[name] * nets[name](pair[1], given[name]).mean() for name, pair in rows.items()]
    penalties = {
        name: penalty_weight * gradient_penalty(nets[name], *pair, alphas[name], given[name])
        for name, pair in rows.items()
    }
    total = torch.stack([weights[name] * penalty for name, penalty in penalties.items()]).sum()
    parts = {"loss/real": -torch.stack(real).sum(), "loss/fake": torch.stack(fake).sum(), "penalty/sum": total}
    return parts, {f"penalty/{name}": penalty for name, penalty in penalties.items()}


# Stage 1


def drg_pairs(nets: Nets, schedule: Schedule, batch: Batch, noise: Noise) -> Pairs:
    """Diffuses r and lets R generate from the less noisy r_t, as published."""
    real_t, following = diffuse(schedule, batch.r, noise)
    fake = nets["generator"](noise.z, batch.a, real_t, noise.t, batch.r)
    fake_t = posterior_sample(schedule, fake, following, noise)
    return Pairs(batch.r, fake, real_t, fake_t, following, noise.t)


def drg_conditions(pairs: Pairs, batch: Batch) -> dict[str, Given]:
    """What each critic sees beside its first argument."""
    return {"r0": {"a": batch.a}, "rt": {"next": pairs.following, "a": batch.a, "t": pairs.t}}


def drg_critic_losses(
    nets: Nets, schedule: Schedule, pairs: Pairs, batch: Batch, noise: Noise, sizes: GanSizes, penalty_weight: float
) -> tuple[Terms, Terms]:
    """Parts of the loss: WGAN-GP of both critics, the decoder's squared error on real r; and others to log."""
    del schedule
    rows = {"r0": (pairs.real, pairs.fake), "rt": (pairs.real_t, pairs.fake_t)}
    weights = {"r0": sizes.gamma_x0, "rt": sizes.gamma_xt}
    given = drg_conditions(pairs, batch)
    parts, terms = wasserstein_losses(nets, rows, given, weights, noise.alphas, penalty_weight)
    parts["loss/decoder"] = F.mse_loss(nets["decoder"](pairs.real), batch.a)
    return parts, terms


def drg_generator_loss(
    nets: Nets, schedule: Schedule, batch: Batch, noise: Noise, sizes: GanSizes
) -> tuple[Tensor, Terms]:
    """The critics' mean score of what R generates, negated; the decoder's error is logged and gives no gradient."""
    pairs = drg_pairs(nets, schedule, batch, noise)
    given = drg_conditions(pairs, batch)
    score_r0 = nets["r0"](pairs.fake, given["r0"]).mean()
    score_rt = nets["rt"](pairs.fake_t, given["rt"]).mean()
    loss = -sizes.gamma_x0 * score_r0 - sizes.gamma_xt * score_rt
    with torch.no_grad():
        decoded = F.mse_loss(nets["decoder"](pairs.fake), batch.a)
    return loss, {"loss/generator": loss, "loss/decoder_fake": decoded}


def drg_nets(sizes: GanSizes) -> Nets:
    """Fresh nets of stage 1."""
    return {
        "generator": Generator(sizes, sizes.r_dim, with_r=False),
        "r0": Critic(sizes, sizes.r_dim, ("a",)),
        "rt": Critic(sizes, sizes.r_dim, ("next", "a", "t")),
        "decoder": Decoder(sizes, sizes.r_dim),
    }


# Stage 2


def dfg_pairs(nets: Nets, schedule: Schedule, batch: Batch, noise: Noise) -> Pairs:
    """Encodes and diffuses real x and lets G generate from x_{t+1}."""
    mean, log_variance = nets["encoder"](batch.x, batch.a)
    z = mean + torch.exp(0.5 * log_variance) * noise.z
    real_t, following = diffuse(schedule, batch.x, noise)
    fake = nets["generator"](z, batch.a, following, noise.t, batch.r)
    fake_t = posterior_sample(schedule, fake, following, noise)
    return Pairs(batch.x, fake, real_t, fake_t, following, noise.t, (mean, log_variance))


def dfg_conditions(pairs: Pairs, batch: Batch) -> dict[str, Given]:
    """What each critic sees beside its first argument."""
    noisy = {"next": pairs.following, "a": batch.a, "r": batch.r, "t": pairs.t}
    return {"x0": {"a": batch.a}, "xt": noisy, "xc": {"r": batch.r}}


def dfg_gammas(sizes: GanSizes) -> dict[str, float]:
    """Weight of each critic."""
    return {"x0": sizes.gamma_x0, "xt": sizes.gamma_xt, "xc": sizes.gamma_xc}


def dfg_critic_losses(
    nets: Nets, schedule: Schedule, pairs: Pairs, batch: Batch, noise: Noise, sizes: GanSizes, penalty_weight: float
) -> tuple[Terms, Terms]:
    """Parts of the loss: WGAN-GP, mutual learning (on scores computed anew), the decoder on real x; others to log."""
    clean, noisy = (pairs.real, pairs.fake), (pairs.real_t, pairs.fake_t)
    rows, given = {"x0": clean, "xt": noisy, "xc": clean}, dfg_conditions(pairs, batch)
    weights = {name: sizes.gamma_adv * gamma for name, gamma in dfg_gammas(sizes).items()}
    parts, terms = wasserstein_losses(nets, rows, given, weights, noise.alphas, penalty_weight)
    estimates = {
        name: nets[name](real, given[name]) - nets[name](fake, given[name]) for name, (real, fake) in rows.items()
    }
    ratios = schedule.sqrt_alphas_bar[pairs.t] ** sizes.factor_dist
    parts["loss/mutual"] = sizes.gamma_dist * mutual_learning(**estimates, weights=ratios)
    parts["loss/decoder"] = sizes.gamma_recons * weighted_l1(nets["decoder"](batch.x), batch.a)
    return parts, terms


def dfg_generator_loss(
    nets: Nets, schedule: Schedule, batch: Batch, noise: Noise, sizes: GanSizes
) -> tuple[Tensor, Terms]:
    """VAE, adversarial and semantic reconstruction loss of E and G (and of the decoder unless it is frozen)."""
    pairs = dfg_pairs(nets, schedule, batch, noise)
    given, gammas = dfg_conditions(pairs, batch), dfg_gammas(sizes)
    rows = {"x0": pairs.fake, "xt": pairs.fake_t, "xc": pairs.fake}
    cost = -sum(gammas[name] * nets[name](fake, given[name]).mean() for name, fake in rows.items())
    assert pairs.latent is not None
    vae = vae_loss(pairs.fake, batch.x, pairs.latent)
    decoded = weighted_l1(nets["decoder"](pairs.fake), batch.a)
    loss = sizes.gamma_vae * vae + sizes.gamma_adv * cost + sizes.gamma_recons * decoded
    return loss, {"loss/generator": loss, "loss/vae": vae, "loss/adversarial": cost, "loss/decoder_fake": decoded}


def dfg_nets(sizes: GanSizes) -> Nets:
    """Fresh nets of stage 2; the frozen R of stage 1 takes no part in training."""
    return {
        "encoder": Encoder(sizes),
        "generator": Generator(sizes, sizes.x_dim, with_r=True),
        "x0": Critic(sizes, sizes.x_dim, ("a",)),
        "xt": Critic(sizes, sizes.x_dim, ("next", "a", "r", "t")),
        "xc": Critic(sizes, sizes.x_dim, ("r",)),
        "decoder": Decoder(sizes, sizes.x_dim),
    }


# Training


class Method(NamedTuple):
    """How a stage differs from the other: its critics, its generating nets and its functions."""

    critics: tuple[str, ...]
    generators: tuple[str, ...]
    make_nets: Callable[[GanSizes], Nets]
    pairs: Callable[..., Pairs]
    critic_losses: Callable[..., tuple[Terms, Terms]]
    generator_loss: Callable[..., tuple[Tensor, Terms]]


DRG = Method(("r0", "rt"), ("generator",), drg_nets, drg_pairs, drg_critic_losses, drg_generator_loss)
DFG = Method(("x0", "xt", "xc"), ("encoder", "generator"), dfg_nets, dfg_pairs, dfg_critic_losses, dfg_generator_loss)


def make_optimisers(nets: Nets, sizes: GanSizes) -> dict[str, torch.optim.Optimizer]:
    """Adam as it comes, for each net: (0.5, 0.999), the encoder's (0.9, 0.999)."""
    return {
        name: torch.optim.Adam(
            net.parameters(),
            lr=sizes.dec_lr if name == "decoder" else sizes.lr,
            betas=ENCODER_BETAS if name == "encoder" else BETAS,
        )
        for name, net in nets.items()
    }


def require_gradients(nets: Nets, names: Iterable[str], required: bool) -> None:
    """Switches the gradients of the named nets' parameters on or off."""
    for name in names:
        nets[name].requires_grad_(required)


def detached(terms: Terms) -> Terms:
    """The values without their history."""
    return {name: value.detach() for name, value in terms.items()}


class Gan:
    """A stage in training: nets, optimisers, the rows it trains on and the penalty weight lambda."""

    def __init__(self, method: Method, sizes: GanSizes, device: torch.device, precision: str):
        self.method, self.sizes, self.device = method, sizes, device
        self.mixed = precision == "bfloat16"
        self.schedule = make_schedule(sizes, device)
        self.nets = {name: net.to(device) for name, net in method.make_nets(sizes).items()}
        self.optimisers = make_optimisers(self.nets, sizes)
        self.penalty_weight = sizes.penalty_weight
        self.x = torch.rand(sizes.rows, sizes.x_dim if method is DFG else 0, device=device)
        self.r = torch.rand(sizes.rows, sizes.r_dim, device=device)
        self.labels = torch.randint(sizes.n_classes, (sizes.rows,), device=device)
        self.semantics = F.normalize(torch.rand(sizes.n_classes, sizes.a_dim, device=device), dim=1)

    def draw_batch(self) -> Batch:
        """Rows at the head of a random permutation of all, as the published loader draws them."""
        chosen = torch.randperm(self.sizes.rows, device=self.device)[: self.sizes.batch]
        return Batch(self.x[chosen], self.r[chosen], self.semantics[self.labels[chosen]])

    def draw_noise(self, batch: Batch) -> Noise:
        """The noise of one step on `batch`."""
        rows, like = len(batch.a), batch.x if self.method is DFG else batch.r
        return Noise(
            z=torch.randn(rows, self.sizes.z_dim, device=self.device),
            t=torch.randint(self.sizes.n_steps, (rows,), device=self.device),
            current=torch.randn_like(like),
            following=torch.randn_like(like),
            posterior=torch.randn_like(like),
            alphas={name: torch.rand(rows, 1, device=self.device) for name in self.method.critics},
        )

    def autocast(self) -> torch.autocast:
        """The context of forward passes: mixed precision when asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    def step(self, names: Iterable[str], losses: Iterable[Tensor]) -> None:
        """Differentiates each loss, which adds up, and steps the named nets."""
        for loss in losses:
            loss.backward()
        for name in names:
            self.optimisers[name].step()

    def zero_gradients(self, names: Iterable[str]) -> None:
        """Forgets the named nets' gradients."""
        for name in names:
            self.optimisers[name].zero_grad()

    def critic_step(self, batch: Batch, noise: Noise) -> Terms:
        """One Adam step of critics and decoder on one batch."""
        names = (*self.method.critics, "decoder")
        self.zero_gradients(names)
        with self.autocast():
            with torch.no_grad():
                pairs = self.method.pairs(self.nets, self.schedule, batch, noise)
            parts, terms = self.method.critic_losses(
                self.nets, self.schedule, pairs, batch, noise, self.sizes, self.penalty_weight
            )
        self.step(names, parts.values())
        return detached(parts | terms)

    def generator_step(self, batch: Batch, noise: Noise) -> Terms:
        """One Adam step of the generating nets (and of an unfrozen decoder); gradients pass through the critics."""
        trains_decoder = self.method is DFG and not self.sizes.freeze_decoder
        names = (*self.method.generators, "decoder") if trains_decoder else self.method.generators
        idle = self.method.critics if trains_decoder else (*self.method.critics, "decoder")
        require_gradients(self.nets, idle, False)
        self.zero_gradients(names)
        with self.autocast():
            loss, terms = self.method.generator_loss(self.nets, self.schedule, batch, noise, self.sizes)
        self.step(names, [loss])
        require_gradients(self.nets, idle, True)
        return detached(terms)

    def adapt_penalty_weight(self, penalties: float) -> None:
        """Adjusts lambda (stage 2) from the weighted penalties' sum over critics and updates."""
        mean = penalties / (self.sizes.gamma_adv * self.penalty_weight * self.sizes.critic_iter)
        if mean > 1.05:
            self.penalty_weight *= 1.1
        elif mean < 1.001:
            self.penalty_weight /= 1.1

    def iterate(self) -> Terms:
        """One training iteration: the critic updates, lambda, one update of the generating nets on the last batch."""
        penalties = torch.zeros((), device=self.device)
        batch, terms = None, {}
        for _ in range(self.sizes.critic_iter):
            batch = self.draw_batch()
            terms = self.critic_step(batch, self.draw_noise(batch))
            penalties += terms["penalty/sum"]
        if self.method is DFG:
            self.adapt_penalty_weight(penalties.item())
        assert batch is not None
        return terms | self.generator_step(batch, self.draw_noise(batch))

    def run(self, iterations: int) -> dict[str, Any]:
        """Trains; says the last iteration's losses."""
        terms = {}
        for _ in range(iterations):
            terms = self.iterate()
        losses = {name: float(value) for name, value in terms.items()}
        return {"losses": losses | {"lambda": self.penalty_weight}}


# The final classifier


class ShuffledStream:
    """Minibatches out of shuffled passes: rows left over at the end of a pass are joined with the next one's first.

    As published, each shuffle permutes the table itself, which was already permuted.
    """

    def __init__(self, features: Tensor, labels: Tensor, batch: int, draw: Callable[[], Tensor]):
        """features [n, F], labels [n]; `draw` makes a permutation [n]."""
        self.features, self.labels, self.batch, self.draw = features, labels, batch, draw
        self.position = len(labels)

    def take(self, count: int) -> tuple[Tensor, Tensor]:
        """The next `count` rows of this pass."""
        part = slice(self.position, self.position + count)
        self.position += count
        return self.features[part], self.labels[part]

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Features [batch, F] and labels [batch]."""
        left = len(self.labels) - self.position
        if left >= self.batch:
            return self.take(self.batch)
        rest = self.take(left)
        order = self.draw()
        self.features, self.labels, self.position = self.features[order], self.labels[order], 0
        first = self.take(self.batch - left)
        return (torch.cat([rest[0], first[0]]), torch.cat([rest[1], first[1]])) if left else first


def fit(linear: nn.Linear, stream: ShuffledStream, epochs: int, lr: float, autocast: torch.autocast) -> list[Tensor]:
    """Trains a linear softmax classifier with Adam(lr, 0.5, 0.999); the loss of each minibatch."""
    optimiser, losses = torch.optim.Adam(linear.parameters(), lr=lr, betas=BETAS), []
    for _ in range(epochs * math.ceil(len(stream.labels) / stream.batch)):
        features, labels = stream.next_batch()
        optimiser.zero_grad()
        with autocast:
            loss = F.nll_loss(F.log_softmax(linear(features), dim=1), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return losses


class Classifier:
    """The final linear softmax classifier, each time from fresh weights."""

    def __init__(self, sizes: ClassifierSizes, device: torch.device, precision: str):
        self.sizes, self.device = sizes, device
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
        self.features = torch.rand(sizes.rows, sizes.n_features, device=device)
        self.labels = torch.randint(sizes.n_classes, (sizes.rows,), device=device)

    def run(self, iterations: int) -> dict[str, Any]:
        """Fits `iterations` classifiers; says the last loss."""
        losses = []
        for _ in range(iterations):
            linear = dense(self.sizes.n_features, self.sizes.n_classes).to(self.device)
            draw = functools.partial(torch.randperm, self.sizes.rows, device=self.device)
            stream = ShuffledStream(self.features, self.labels, self.sizes.batch, draw)
            losses = fit(linear, stream, self.sizes.epochs, self.sizes.lr, self.autocast)
        return {"losses": {"loss/classifier": float(losses[-1])}}


# Matrix products


class Matmul:
    """Plain products of random matrices."""

    def __init__(self, sizes: MatmulSizes, device: torch.device, precision: str):
        self.device = device
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self.operands = [
            (torch.randn(m, k, device=device, dtype=dtype), torch.randn(k, n, device=device, dtype=dtype))
            for m, k, n in sizes.shapes
        ]

    def run(self, iterations: int) -> dict[str, Any]:
        """Multiplies each pair `iterations` times; says the seconds of each shape."""
        seconds = []
        for left, right in self.operands:
            began = now(self.device)
            for _ in range(iterations):
                torch.matmul(left, right)
            seconds.append(now(self.device) - began)
        return {"losses": {}, "shape_seconds": seconds}


# The worker


STAGES: dict[str, tuple[type, Callable[[Any, torch.device, str], Gan | Classifier | Matmul]]] = {
    "drg": (GanSizes, lambda sizes, device, precision: Gan(DRG, sizes, device, precision)),
    "dfg": (GanSizes, lambda sizes, device, precision: Gan(DFG, sizes, device, precision)),
    "classifier": (ClassifierSizes, Classifier),
    "matmul": (MatmulSizes, Matmul),
}


@dataclasses.dataclass(frozen=True)
class Job:
    """What the caller asked for; `sizes` as yet unread."""

    stage: str
    device: str = "cpu"
    threads: int | None = None
    precision: str = "float32"
    seed: int = 0
    sizes: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name, choices in (("stage", tuple(STAGES)), ("device", DEVICES), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ArgumentError(f"{name}: {getattr(self, name)!r}; choose one of {choices}")
        if self.threads is not None and (type(self.threads) is not int or self.threads < 1):
            raise ArgumentError(f"threads: {self.threads!r}; give a positive integer or null")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ArgumentError("device: 'cuda', but torch sees no such device")
        if self.device == "cpu" and self.precision == "tf32":
            raise ArgumentError("precision: 'tf32' needs device 'cuda'")


def read(cls: type, values: Any, where: str) -> Any:
    """Makes the dataclass `cls` from a JSON object; a number must be of the field's kind and not negative.

    Raises:
      ArgumentError: a field is unknown, missing or of another kind.
    """
    if not isinstance(values, dict):
        raise ArgumentError(f"{where}: expected a JSON object, got {values!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if unknown := sorted(set(values) - set(fields)):
        raise ArgumentError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(fields)}")
    absent = (dataclasses.MISSING, dataclasses.MISSING)
    needed = [name for name, field in fields.items() if (field.default, field.default_factory) == absent]
    if missing := sorted(set(needed) - set(values)):
        raise ArgumentError(f"{where}: {', '.join(missing)} missing")
    for name, value in values.items():
        kind, least = fields[name].type, 0 if name == "seed" else 1
        if kind is int and (type(value) is not int or value < least):
            raise ArgumentError(f"{where}: {name} is {value!r}; give an integer of at least {least}")
        if kind is float and (type(value) not in (int, float) or not 0 <= value < math.inf):
            raise ArgumentError(f"{where}: {name} is {value!r}; give a number of at least 0")
        if kind in (bool, str, list, dict) and type(value) is not kind:
            raise ArgumentError(f"{where}: {name} is {value!r}; give a {kind.__name__}")
    return cls(**values)


def parse(text: str, where: str) -> Any:
    """JSON, or an ArgumentError."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ArgumentError(f"{where}: not JSON ({error})") from None


def prepare(job: Job) -> torch.device:
    """Sets seed, threads and the precision of float32 products; returns the device."""
    torch.manual_seed(job.seed)
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    torch.set_float32_matmul_precision("high" if job.precision == "tf32" else "highest")
    return torch.device(job.device)


def now(device: torch.device) -> float:
    """Seconds on a clock, once all work given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_bytes(device: torch.device) -> int:
    """Most memory in use so far: of the device, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def say(**values: Any) -> None:
    """Prints one line of JSON at once."""
    print(json.dumps(values), flush=True)


def read_iterations(line: str) -> int:
    """The number in a request {"iterations": N}."""
    request = parse(line, "request")
    count = request.get("iterations") if isinstance(request, dict) else None
    if type(count) is not int or count < 0:
        raise ArgumentError(f'request: {line.strip()!r}; write {{"iterations": N}} with an integer of at least 0')
    return count


def serve(work: Gan | Classifier | Matmul, device: torch.device, requests: Iterable[str]) -> None:
    """Answers each request until one for no iterations."""
    for line in filter(str.strip, requests):
        count = read_iterations(line)
        if count == 0:
            return
        began = now(device)
        result = work.run(count)
        say(seconds=now(device) - began, **result, peak_bytes=peak_bytes(device))


def main(arguments: list[str]) -> int:
    """Builds what the argument asks for and serves requests; returns the exit code."""
    try:
        if len(arguments) != 1:
            raise ArgumentError(f"expected one argument, a JSON object, got {len(arguments)}")
        job = read(Job, parse(arguments[0], "argument"), "argument")
        sizes_type, build = STAGES[job.stage]
        sizes = read(sizes_type, job.sizes, "sizes")
        device = prepare(job)
        work = build(sizes, device, job.precision)
        name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
        say(ready=True, torch=torch.__version__, threads=torch.get_num_threads(), device=name)
        serve(work, device, sys.stdin)
    except ArgumentError as error:
        print(f"torch_zerodiff: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

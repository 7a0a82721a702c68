# pyright: basic, reportMissingImports=false
"""ZeroDiff's training iterations in plain eager PyTorch, timed on request: the other side of a comparison.

    python benchmarks/torch_zerodiff.py '{"stage": "drg", "device": "cpu", "threads": 2, "sizes": {"batch": 64}}'

Needs torch and numpy only. It computes what `zsl_jax/train_steps/zerodiff_{drg,dfg}.py` compute, in the way the
published program does: inputs concatenated, each critic called anew for real rows, fake rows, interpolated rows and
(stage 2) mutual learning, every penalty by a second differentiation, each part of the loss differentiated on its own,
`torch.optim.Adam` as it comes, no compilation. Its logging passes over test rows are left out.

The argument is one JSON object:
    stage      drg | dfg | classifier
    device     cpu | cuda
    threads    CPU threads, null: torch's choice
    precision  float32 | tf32 (cuda only) | bfloat16 (autocast over float32 weights)
    seed       of weights, data and noise
    sizes      fields of GanSizes or ClassifierSizes below; absent ones as published for AWA2

When all is built it prints {"ready": true, "torch": version, "threads": n, "device": name}. Then for each line
{"iterations": N} on standard input it runs N iterations (classifier: fits) between two device synchronisations and
prints {"seconds": total, "losses": {the last ones}}. The first request should be a small one, to warm up.

On Linux a third of the time on CPUs can go into page faults, since the C library gives every large array back to the
system. MALLOC_MMAP_THRESHOLD_=8000000000 MALLOC_TRIM_THRESHOLD_=16000000000 in the environment makes it keep them.
"""

import json
import math
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_PERIOD = 10_000.0
LEAKY_SLOPE = 0.2
WEIGHT_DEVIATION = 0.02
FIRST_BETA = 1e-8
SMALLEST_TIME = 1e-3
SMALLEST_VARIANCE = 1e-20
BETAS = (0.5, 0.999)
ENCODER_BETAS = (0.9, 0.999)

Terms = dict[str, Tensor]
Given = dict[str, Tensor]  # what a critic sees beside a row, by name


@dataclass(frozen=True)
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
    embed_type: str = "VA"  # what the encoder sees: x and a, or "V": x alone
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


@dataclass(frozen=True)
class ClassifierSizes:
    """Sizes of a softmax classifier's fit."""

    n_features: int = 2048
    n_classes: int = 50
    rows: int = 20_400
    batch: int = 400
    epochs: int = 25
    lr: float = 1e-3


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

    def __init__(self, sizes: GanSizes, x_dim: int, *sees: str):
        super().__init__()
        self.sees, self.time_dim = sees, sizes.time_dim
        self.embed = nn.ModuleDict()
        for name, inputs in (("r", sizes.r_dim), ("t", sizes.time_dim)):
            if name in sees:
                self.embed[name] = embedding(inputs, sizes.a_dim)
        beside = sum(x_dim if name == "next" else sizes.a_dim for name in sees)
        self.hidden = dense(x_dim + beside, sizes.critic_width)
        self.score = dense(sizes.critic_width, 1)

    def forward(self, x: Tensor, given: Given) -> Tensor:
        """Scores [B] of rows x [B, D] under conditions "next" [B, D], "a" [B, A], "r" [B, R], "t" [B]."""
        raw = {name: sinusoids(given[name], self.time_dim) if name == "t" else given[name] for name in self.sees}
        beside = [self.embed[name](value) if name in self.embed else value for name, value in raw.items()]
        hidden = F.leaky_relu(self.hidden(torch.cat([x, *beside], dim=1)), LEAKY_SLOPE)
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
    """Real and generated rows [B, D] of each critic, what it sees beside them, and the latent mean and log-variance."""

    real: Terms
    fake: Terms
    given: dict[str, Given]
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


# Training


class Gan:
    """A stage in training: nets, optimisers, the rows it trains on and the penalty weight lambda."""

    generators: tuple[str, ...]
    gammas: dict[str, float]  # weights of the critics in the adversarial loss
    adversarial = 1.0  # weight of that loss
    view = "r"  # what is generated

    def __init__(self, sizes: GanSizes, device: torch.device, precision: str):
        self.sizes, self.device, self.mixed = sizes, device, precision == "bfloat16"
        self.schedule = make_schedule(sizes, device)
        self.nets = {name: net.to(device) for name, net in self.make_nets().items()}
        self.optimisers = {name: self.make_optimiser(name) for name in self.nets}
        self.penalty_weight = sizes.penalty_weight
        self.x = torch.rand(sizes.rows, sizes.x_dim if self.view == "x" else 0, device=device)
        self.r = torch.rand(sizes.rows, sizes.r_dim, device=device)
        self.labels = torch.randint(sizes.n_classes, (sizes.rows,), device=device)
        self.semantics = F.normalize(torch.rand(sizes.n_classes, sizes.a_dim, device=device), dim=1)

    def make_nets(self) -> dict[str, nn.Module]:
        """Fresh nets by name."""
        raise NotImplementedError

    def pairs(self, batch: Batch, noise: Noise) -> Pairs:
        """Diffuses real rows and generates."""
        raise NotImplementedError

    def more_critic_losses(self, pairs: Pairs, batch: Batch, noise: Noise) -> Terms:
        """Parts of the critics' loss beside WGAN-GP, the decoder's among them."""
        raise NotImplementedError

    def generator_loss(self, pairs: Pairs, batch: Batch, cost: Tensor) -> tuple[Tensor, Terms]:
        """The generating nets' loss, and terms to log; `cost`: the weighted scores of what they made, negated."""
        raise NotImplementedError

    def make_optimiser(self, name: str) -> torch.optim.Optimizer:
        """Adam as it comes."""
        rate = self.sizes.dec_lr if name == "decoder" else self.sizes.lr
        betas = ENCODER_BETAS if name == "encoder" else BETAS
        return torch.optim.Adam(self.nets[name].parameters(), lr=rate, betas=betas)

    def draw_batch(self) -> Batch:
        """Rows at the head of a random permutation of all, as the published loader draws them."""
        chosen = torch.randperm(self.sizes.rows, device=self.device)[: self.sizes.batch]
        return Batch(self.x[chosen], self.r[chosen], self.semantics[self.labels[chosen]])

    def draw_noise(self, batch: Batch) -> Noise:
        """The noise of one step on `batch`."""
        rows, like = len(batch.a), getattr(batch, self.view)
        return Noise(
            z=torch.randn(rows, self.sizes.z_dim, device=self.device),
            t=torch.randint(self.sizes.n_steps, (rows,), device=self.device),
            current=torch.randn_like(like),
            following=torch.randn_like(like),
            posterior=torch.randn_like(like),
            alphas={name: torch.rand(rows, 1, device=self.device) for name in self.gammas},
        )

    def zero_gradients(self, names: Iterable[str]) -> None:
        """Forgets the named nets' gradients."""
        for name in names:
            self.optimisers[name].zero_grad()

    def update(self, names: Iterable[str], losses: Iterable[Tensor]) -> None:
        """Differentiates each loss, which adds up, and steps the named nets."""
        for loss in losses:
            loss.backward()
        for name in names:
            self.optimisers[name].step()

    def wasserstein_losses(self, pairs: Pairs, alphas: dict[str, Tensor]) -> tuple[Terms, Terms]:
        """The critics' WGAN-GP loss in three parts with graphs of their own, and each critic's penalty."""
        weights = {name: self.adversarial * gamma for name, gamma in self.gammas.items()}

        def mean_scores(rows: Terms) -> Tensor:
            scores = [weights[name] * self.nets[name](rows[name], pairs.given[name]).mean() for name in weights]
            return torch.stack(scores).sum()

        parts = {"loss/real": -mean_scores(pairs.real), "loss/fake": mean_scores(pairs.fake)}
        penalties = {
            name: self.penalty_weight
            * gradient_penalty(self.nets[name], pairs.real[name], pairs.fake[name], alphas[name], pairs.given[name])
            for name in weights
        }
        parts["penalty/sum"] = torch.stack([weights[name] * one for name, one in penalties.items()]).sum()
        return parts, {f"penalty/{name}": one for name, one in penalties.items()}

    def critic_step(self, batch: Batch, noise: Noise) -> Terms:
        """One Adam step of critics and decoder on one batch."""
        names = (*self.gammas, "decoder")
        self.zero_gradients(names)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            with torch.no_grad():
                pairs = self.pairs(batch, noise)
            parts, terms = self.wasserstein_losses(pairs, noise.alphas)
            parts |= self.more_critic_losses(pairs, batch, noise)
        self.update(names, parts.values())
        return detached(parts | terms)

    def generator_step(self, batch: Batch, noise: Noise) -> Terms:
        """One Adam step of the generating nets; gradients pass through the critics, which stay as they are."""
        idle = [self.nets[name] for name in self.nets if name not in self.generators]
        for net in idle:
            net.requires_grad_(False)
        self.zero_gradients(self.generators)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            pairs = self.pairs(batch, noise)
            scores = {name: self.nets[name](pairs.fake[name], pairs.given[name]).mean() for name in self.gammas}
            cost = -sum(gamma * scores[name] for name, gamma in self.gammas.items())
            loss, terms = self.generator_loss(pairs, batch, cost)
        self.update(self.generators, [loss])
        for net in idle:
            net.requires_grad_(True)
        return detached({"loss/generator": loss} | terms)

    def adapt(self, penalties: Tensor) -> None:
        """Adjusts lambda (stage 2) by the weighted penalties' sum over critics and updates."""

    def iterate(self) -> Terms:
        """One training iteration: the critic updates, lambda, one update of the generating nets on the last batch."""
        penalties, terms = torch.zeros((), device=self.device), {}
        for _ in range(self.sizes.critic_iter):
            batch = self.draw_batch()
            terms = self.critic_step(batch, self.draw_noise(batch))
            penalties += terms["penalty/sum"]
        self.adapt(penalties)
        return terms | self.generator_step(batch, self.draw_noise(batch))

    def run(self, iterations: int) -> dict[str, float]:
        """Trains; says the last iteration's losses."""
        terms = {}
        for _ in range(iterations):
            terms = self.iterate()
        return {name: float(value) for name, value in terms.items()} | {"lambda": self.penalty_weight}


def detached(terms: Terms) -> Terms:
    """The values without their history."""
    return {name: value.detach() for name, value in terms.items()}


class Drg(Gan):
    """Stage 1: R generates representations r."""

    generators = ("generator",)

    def make_nets(self) -> dict[str, nn.Module]:
        """R, two critics and the decoder."""
        sizes = self.sizes
        self.gammas = {"r0": sizes.gamma_x0, "rt": sizes.gamma_xt}
        return {
            "generator": Generator(sizes, sizes.r_dim, with_r=False),
            "r0": Critic(sizes, sizes.r_dim, "a"),
            "rt": Critic(sizes, sizes.r_dim, "next", "a", "t"),
            "decoder": Decoder(sizes, sizes.r_dim),
        }

    def pairs(self, batch: Batch, noise: Noise) -> Pairs:
        """Diffuses r and lets R generate from the less noisy r_t, as published."""
        real_t, following = diffuse(self.schedule, batch.r, noise)
        fake = self.nets["generator"](noise.z, batch.a, real_t, noise.t, batch.r)
        fake_t = posterior_sample(self.schedule, fake, following, noise)
        given = {"r0": {"a": batch.a}, "rt": {"next": following, "a": batch.a, "t": noise.t}}
        return Pairs({"r0": batch.r, "rt": real_t}, {"r0": fake, "rt": fake_t}, given)

    def more_critic_losses(self, pairs: Pairs, batch: Batch, noise: Noise) -> Terms:
        """The decoder's squared error on real r."""
        return {"loss/decoder": F.mse_loss(self.nets["decoder"](batch.r), batch.a)}

    def generator_loss(self, pairs: Pairs, batch: Batch, cost: Tensor) -> tuple[Tensor, Terms]:
        """The adversarial loss alone; the decoder's error is logged and gives no gradient."""
        with torch.no_grad():
            decoded = F.mse_loss(self.nets["decoder"](pairs.fake["r0"]), batch.a)
        return cost, {"loss/decoder_fake": decoded}


class Dfg(Gan):
    """Stage 2: E and G generate features x; the frozen R of stage 1 takes no part in training."""

    view = "x"

    def make_nets(self) -> dict[str, nn.Module]:
        """E, G, three critics and the decoder."""
        sizes = self.sizes
        self.generators = ("encoder", "generator") if sizes.freeze_decoder else ("encoder", "generator", "decoder")
        self.gammas = {"x0": sizes.gamma_x0, "xt": sizes.gamma_xt, "xc": sizes.gamma_xc}
        self.adversarial = sizes.gamma_adv
        return {
            "encoder": Encoder(sizes),
            "generator": Generator(sizes, sizes.x_dim, with_r=True),
            "x0": Critic(sizes, sizes.x_dim, "a"),
            "xt": Critic(sizes, sizes.x_dim, "next", "a", "r", "t"),
            "xc": Critic(sizes, sizes.x_dim, "r"),
            "decoder": Decoder(sizes, sizes.x_dim),
        }

    def pairs(self, batch: Batch, noise: Noise) -> Pairs:
        """Encodes and diffuses real x and lets G generate from x_{t+1}."""
        mean, log_variance = self.nets["encoder"](batch.x, batch.a)
        z = mean + torch.exp(0.5 * log_variance) * noise.z
        real_t, following = diffuse(self.schedule, batch.x, noise)
        fake = self.nets["generator"](z, batch.a, following, noise.t, batch.r)
        fake_t = posterior_sample(self.schedule, fake, following, noise)
        noisy = {"next": following, "a": batch.a, "r": batch.r, "t": noise.t}
        return Pairs(
            {"x0": batch.x, "xt": real_t, "xc": batch.x},
            {"x0": fake, "xt": fake_t, "xc": fake},
            {"x0": {"a": batch.a}, "xt": noisy, "xc": {"r": batch.r}},
            (mean, log_variance),
        )

    def more_critic_losses(self, pairs: Pairs, batch: Batch, noise: Noise) -> Terms:
        """Mutual learning, on scores computed anew, and the decoder on real x."""
        estimates = {
            name: self.nets[name](pairs.real[name], given) - self.nets[name](pairs.fake[name], given)
            for name, given in pairs.given.items()
        }
        ratios = self.schedule.sqrt_alphas_bar[noise.t] ** self.sizes.factor_dist
        return {
            "loss/mutual": self.sizes.gamma_dist * mutual_learning(**estimates, weights=ratios),
            "loss/decoder": self.sizes.gamma_recons * weighted_l1(self.nets["decoder"](batch.x), batch.a),
        }

    def generator_loss(self, pairs: Pairs, batch: Batch, cost: Tensor) -> tuple[Tensor, Terms]:
        """VAE, adversarial and semantic reconstruction loss of E and G (and of the decoder unless it is frozen)."""
        assert pairs.latent is not None
        sizes, vae = self.sizes, vae_loss(pairs.fake["x0"], batch.x, pairs.latent)
        decoded = weighted_l1(self.nets["decoder"](pairs.fake["x0"]), batch.a)
        loss = sizes.gamma_vae * vae + sizes.gamma_adv * cost + sizes.gamma_recons * decoded
        return loss, {"loss/vae": vae, "loss/adversarial": cost, "loss/decoder_fake": decoded}

    def adapt(self, penalties: Tensor) -> None:
        """Adjusts lambda by the penalties' mean."""
        mean = penalties.item() / (self.sizes.gamma_adv * self.penalty_weight * self.sizes.critic_iter)
        if mean > 1.05:
            self.penalty_weight *= 1.1
        elif mean < 1.001:
            self.penalty_weight /= 1.1


class Classifier:
    """The final linear softmax classifier, each time from fresh weights."""

    def __init__(self, sizes: ClassifierSizes, device: torch.device, precision: str):
        self.sizes, self.device, self.mixed = sizes, device, precision == "bfloat16"
        self.features = torch.rand(sizes.rows, sizes.n_features, device=device)
        self.labels = torch.randint(sizes.n_classes, (sizes.rows,), device=device)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Minibatches out of shuffled passes: rows left over at the end of one are joined with the next one's first.

        As published, each shuffle permutes the table itself, which was already permuted.
        """
        features, labels, position, size = self.features, self.labels, self.sizes.rows, self.sizes.batch
        while True:
            rest = features[position : position + size], labels[position : position + size]
            position += size
            if (lacking := size - len(rest[1])) > 0:
                order = torch.randperm(self.sizes.rows, device=self.device)
                features, labels, position = features[order], labels[order], lacking
                first = features[:lacking], labels[:lacking]
                rest = tuple(map(torch.cat, zip(rest, first, strict=True))) if len(rest[1]) else first
            yield rest

    def fit(self) -> Tensor:
        """Trains with Adam(lr, 0.5, 0.999); the loss of the last minibatch."""
        linear = dense(self.sizes.n_features, self.sizes.n_classes).to(self.device)
        optimiser, loss = torch.optim.Adam(linear.parameters(), lr=self.sizes.lr, betas=BETAS), torch.zeros(())
        steps = self.sizes.epochs * math.ceil(self.sizes.rows / self.sizes.batch)
        for _, (features, labels) in zip(range(steps), self.batches(), strict=False):
            optimiser.zero_grad()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                loss = F.nll_loss(F.log_softmax(linear(features), dim=1), labels)
            loss.backward()
            optimiser.step()
        return loss.detach()

    def run(self, iterations: int) -> dict[str, float]:
        """Fits so many classifiers; says the last loss."""
        return {"loss/classifier": [float(self.fit()) for _ in range(iterations)][-1]}


# The worker

STAGES = {"drg": (GanSizes, Drg), "dfg": (GanSizes, Dfg), "classifier": (ClassifierSizes, Classifier)}


@dataclass(frozen=True)
class Job:
    """What the caller asked for."""

    stage: str
    device: str = "cpu"
    threads: int | None = None
    precision: str = "float32"
    seed: int = 0
    sizes: dict[str, Any] = field(default_factory=dict)


def build(job: Job) -> Gan | Classifier:
    """Sets seed, threads and the precision of float32 products; makes what is to be run."""
    torch.manual_seed(job.seed)
    if job.threads is not None:
        torch.set_num_threads(job.threads)
    torch.set_float32_matmul_precision("high" if job.precision == "tf32" else "highest")
    sizes, stage = STAGES[job.stage]
    return stage(sizes(**job.sizes), torch.device(job.device), job.precision)


def now(device: torch.device) -> float:
    """Seconds on a clock, once all work given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def say(**values: Any) -> None:
    """Prints one line of JSON at once."""
    print(json.dumps(values), flush=True)


def main(argument: str, requests: Iterable[str]) -> None:
    """Builds what the argument asks for and answers each request."""
    work = build(Job(**json.loads(argument)))
    name = torch.cuda.get_device_name() if work.device.type == "cuda" else "cpu"
    say(ready=True, torch=torch.__version__, threads=torch.get_num_threads(), device=name)
    for line in requests:
        count = json.loads(line)["iterations"]
        began = now(work.device)
        losses = work.run(count)
        say(seconds=now(work.device) - began, losses=losses)


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin)

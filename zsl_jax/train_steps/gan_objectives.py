"""The zoo's adversarial objectives (Zero-shot-Generative-Models) as values: losses, penalties, extra state.

A critic gives a score to a row; losses are functions of the scores of real and generated rows. `PUBLISHED` has what the
published programs compute. `MEANT` has what the sources (or the evident intent of the code) say, where that differs:

    cramergan  the energy distance, which as published carries no gradient, trains G (Bellemare et al. 2017,
               algorithm 1); its critic's penalty is (norm - 1)^2 instead of norm^6
    ransgan    both losses compare real and fake rows (Jolicoeur-Martineau 2018, section 4.2); as published the critic's
               sigmoid goes through another one, and G is that of nsgan
    dragan     the penalty lies around perturbed real rows (Kodali et al. 2017, equation 1), not between real and
               perturbed generated ones
    began      no gradient penalty (Berthelot et al. 2017, section 3.4)
    infogan    the information term trains G too (Chen et al. 2016, equation 6), on G's own rows
    fgan_jensen_shannon  with its logarithms (Nowozin et al. 2016, table 2)
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax import losses
from zsl_jax.errors import InputError
from zsl_jax.train_steps.method import Numbers

LOG_EPSILON = 1e-8
PLATEAU_THRESHOLD, PLATEAU_FACTOR = 0.01, 0.5
PERTURBATION = 0.5  # of real rows, in units of their deviation (DRAGAN)

Log = Callable[[jax.Array], jax.Array]


class Scores(NamedTuple):
    """What losses are made of: real [B], fake [B, K] for K generated rows beside each real one; extra, hyper."""

    real: jax.Array
    fake: jax.Array
    extra: Numbers
    hyper: Numbers


Loss = Callable[[Scores], jax.Array]


@dataclasses.dataclass(frozen=True)
class Objective:
    """An adversarial objective as a value.

    Attributes:
      critic, generator: losses of both, penalty and classification apart.
      fakes, generator_fakes: rows generated beside each real one in an update of the critic, of the generator.
      penalty: which of `PENALTIES`.
      probability: the penalty is on the gradient of sigmoid(score).
      autoencoder: the critic reconstructs [x, a]; a row's score is its absolute error.
      partner: (real, fake, uniform 0..1; [B, D]) -> other end of the penalty's interpolation; None: the last fake.
      info: "": no codes; "apart": Q alone learns to read them; "joint": Q and G do.
      extra: numbers that change in training, at their start.
      watch: further metrics of a critic update, from its scores.
      after_update, after_iteration: (extra, metrics of the last critic update, hyper) -> extra.
      additive: whether all losses are means over rows, so that devices may each take a share of them.
    """

    critic: Loss
    generator: Loss
    fakes: int = 1
    generator_fakes: int = 1
    penalty: str = "unit"
    probability: bool = False
    autoencoder: bool = False
    partner: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None
    info: str = ""
    extra: Mapping[str, float] = dataclasses.field(default_factory=dict)
    watch: Callable[[Scores], Numbers] = lambda scores: {}
    after_update: Callable[[Numbers, Numbers, Numbers], Numbers] = lambda extra, metrics, hyper: extra
    after_iteration: Callable[[Numbers, Numbers, Numbers], Numbers] = lambda extra, metrics, hyper: extra
    additive: bool = True


PENALTIES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "unit": losses.gradient_penalty,  # Gulrajani et al. 2017
    "sixth_power": lambda norms: jnp.mean(norms**6),
    "none": lambda norms: jnp.float32(0),
}


def published_log(score: jax.Array) -> jax.Array:
    """log(sigmoid(score) + 1e-8)."""
    return jnp.log(jax.nn.sigmoid(score) + LOG_EPSILON)


def wasserstein(scores: Scores) -> jax.Array:
    """Critic of WGAN (Arjovsky et al. 2017)."""
    return jnp.mean(scores.fake) - jnp.mean(scores.real)


def raise_score(scores: Scores) -> jax.Array:
    """Generator: the critic's score, negated."""
    return -jnp.mean(scores.fake)


def cramer(scores: Scores) -> jax.Array:
    """Critic of CramerGAN (algorithm 1): minus E[f(real) - f(fake)], f(x) = |h(x) - h(other fake)| - |h(x)|."""
    real, other, fake = scores.real, *scores.fake.T
    return -jnp.mean(jnp.abs(real - other) - jnp.abs(real) - jnp.abs(fake - other) + jnp.abs(fake))


def energy(scores: Scores) -> jax.Array:
    """The energy distance of real rows from two generated ones, up to E|real - real'|."""
    real, other, fake = scores.real, *scores.fake.T
    return jnp.mean(jnp.abs(real - fake) + jnp.abs(real - other) - jnp.abs(fake - other))


def raise_score_and_approach(scores: Scores) -> jax.Array:
    """Generator of CramerGAN as meant."""
    return raise_score(scores) + scores.hyper["energy_weight"] * energy(scores)


def least_squares(scores: Scores) -> jax.Array:
    """Critic of LSGAN (Mao et al. 2017, equation 9)."""
    return 0.5 * jnp.mean((scores.real - 1) ** 2) + 0.5 * jnp.mean(scores.fake**2)


def discriminate(log: Log, scores: Scores) -> jax.Array:
    """Critic of the first GANs (Goodfellow et al. 2014): cross-entropy of real against fake; `log` of a probability."""
    return -jnp.mean(log(scores.real)) - jnp.mean(log(-scores.fake))


def seem_real(log: Log, scores: Scores) -> jax.Array:
    """Generator of the non-saturating GAN."""
    return -jnp.mean(log(scores.fake))


def twice_squashed(log: Log, scores: Scores) -> jax.Array:
    """Critic of RaNSGAN as published: probabilities are compared, and go through a second sigmoid."""
    real, fake = jax.nn.sigmoid(scores.real), jax.nn.sigmoid(scores.fake)
    return -0.5 * (jnp.mean(log(real - jnp.mean(fake))) + jnp.mean(log(1 - fake)))


def relativistic(log: Log, scores: Scores) -> jax.Array:
    """Critic of RaNSGAN: real rows beat the mean fake, fakes don't beat the mean real row."""
    real, fake = scores.real - jnp.mean(scores.fake), scores.fake - jnp.mean(scores.real)
    return -jnp.mean(log(real)) - jnp.mean(log(-fake))


def second_moments(scores: Scores) -> jax.Array:
    """Omega of FisherGAN: how far the mean second moment of the scores is below 1."""
    return 1 - 0.5 * jnp.mean(scores.real**2) - 0.5 * jnp.mean(scores.fake**2)


def fisher(scores: Scores) -> jax.Array:
    """Critic of FisherGAN (Mroueh and Sercu 2017, equation 11): the mean difference, its second moments held at 1."""
    omega, rho = second_moments(scores), scores.hyper["rho"]
    return wasserstein(scores) - scores.extra["lambda"] * omega + 0.5 * rho * omega**2


def move_multiplier(extra: Numbers, metrics: Numbers, hyper: Numbers) -> Numbers:
    """FisherGAN's lambda descends after each critic update."""
    return {"lambda": extra["lambda"] - hyper["rho"] * metrics["omega"]}


def equilibrium(scores: Scores) -> jax.Array:
    """Critic of BEGAN: errors on real rows less K times those on fakes."""
    return jnp.mean(scores.real) - scores.extra["k"] * jnp.mean(scores.fake)


def control(extra: Numbers, metrics: Numbers, hyper: Numbers) -> Numbers:
    """BEGAN's K follows the balance of both errors (section 3.3); a stagnant measure of convergence halves the rate."""
    gap = hyper["diversity"] * metrics["score/real"] - metrics["score/fake"]
    k = jnp.clip(extra["k"] + hyper["k_rate"] * gap, 0.0, 1.0)
    patience = hyper["plateau_epochs"] * hyper["steps_per_epoch"]
    return {"k": k} | plateau(extra, metrics["score/real"] + jnp.abs(gap), patience)


def plateau(extra: Numbers, measure: jax.Array, patience: jax.Array) -> Numbers:
    """Halves "rate_scale" when more than `patience` calls brought no measure 1 % below the best, as torch does."""
    better = measure < (1 - PLATEAU_THRESHOLD) * extra["best"]
    stale = jnp.where(better, 0.0, extra["stale"] + 1)
    over = stale > patience
    return {
        "best": jnp.where(better, measure, extra["best"]),
        "stale": jnp.where(over, 0.0, stale),
        "rate_scale": jnp.where(over, PLATEAU_FACTOR, 1.0) * extra["rate_scale"],
    }


def half_tanh(score: jax.Array) -> jax.Array:
    """Total variation: 0.5 tanh, for which f* is the identity."""
    return 0.5 * jnp.tanh(score)


def fgan(activate: Log, conjugate: Log) -> Objective:
    """The f-GAN of a divergence (Nowozin et al. 2016, equation 6); `conjugate` is f* of the output activation.

    Where the activation falls with the score, the critic just changes sign.
    """
    return Objective(
        lambda scores: jnp.mean(conjugate(scores.fake)) - jnp.mean(activate(scores.real)),
        lambda scores: -jnp.mean(conjugate(scores.fake)),
    )


def with_log(log: Log) -> tuple[dict[str, Objective], dict[str, Objective]]:
    """The tables of objectives as published and as meant; `log`: score -> log of the probability to be real."""
    wgan = Objective(wasserstein, raise_score)
    binary = partial(Objective, partial(discriminate, log), probability=True)
    dragan = partial(Objective, wasserstein, raise_score, additive=False)
    began = Objective(
        equilibrium, lambda scores: jnp.mean(scores.fake), autoencoder=True, after_iteration=control,
        extra={"k": 0.0, "best": np.inf, "stale": 0.0, "rate_scale": 1.0},
    )  # fmt: skip
    published = {
        "wgan": wgan,
        "cramergan": Objective(cramer, raise_score, fakes=2, penalty="sixth_power"),
        "lsgan": Objective(least_squares, lambda scores: 0.5 * jnp.mean((scores.fake - 1) ** 2)),
        "nsgan": binary(partial(seem_real, log)),
        "mmgan": binary(lambda scores: jnp.mean(log(-scores.fake))),
        "ransgan": Objective(partial(twice_squashed, log), partial(seem_real, log), probability=True, additive=False),
        "dragan": dragan(partner=lambda real, fake, uniform: fake + jnp.std(fake, ddof=1) * uniform),
        "fishergan": Objective(
            fisher, raise_score, extra={"lambda": 0.0}, additive=False,
            watch=lambda scores: {"omega": second_moments(scores)}, after_update=move_multiplier,
        ),
        "began": began,
        "infogan": dataclasses.replace(wgan, info="apart"),
        "fgan_total_variation": fgan(half_tanh, half_tanh),
        "fgan_forward_kl": fgan(lambda v: v, lambda v: jnp.exp(v - 1)),
        "fgan_reverse_kl": fgan(lambda v: -jnp.exp(v), lambda v: -1 - v),
        "fgan_pearson": fgan(lambda v: v, lambda v: 0.25 * v**2 + v),
        "fgan_squared_hellinger": fgan(lambda v: 1 - jnp.exp(v), lambda v: jnp.exp(-v) - 1),
        "fgan_jensen_shannon": fgan(lambda v: 1 - jnp.exp(-v), lambda v: jnp.exp(v) - 2),
    }  # fmt: skip
    meant = {
        "cramergan": Objective(cramer, raise_score_and_approach, fakes=2, generator_fakes=2),
        "ransgan": Objective(
            partial(relativistic, log), additive=False,
            generator=lambda scores: relativistic(log, scores._replace(real=scores.fake, fake=scores.real)),
        ),
        "dragan": dragan(partner=lambda real, fake, uniform: real + PERTURBATION * jnp.std(real, ddof=1) * uniform),
        "began": dataclasses.replace(began, penalty="none"),
        "infogan": dataclasses.replace(wgan, info="joint"),
        "fgan_jensen_shannon": fgan(
            lambda v: jnp.log(2.0) - jax.nn.softplus(-v), lambda v: jax.nn.softplus(v) - jnp.log(2.0)
        ),
    }  # fmt: skip
    return published, meant


PUBLISHED, MEANT = with_log(published_log)
SAFE_PUBLISHED, SAFE_MEANT = with_log(jax.nn.log_sigmoid)  # the same without an epsilon, and finite for all scores


def choose(section: Any) -> Objective:
    """The objective that a "gan" section asks for.

    Raises:
      InputError: there is no such objective or penalty, or nothing else is meant than is published.
    """
    published, meant = (SAFE_PUBLISHED, SAFE_MEANT) if section.safe_logs else (PUBLISHED, MEANT)
    table = meant if section.meant else published
    if section.objective not in table:
        which = f"{tuple(table)}{' with meant=True' if section.meant else ''}"
        raise InputError(f"config.gan.objective: {section.objective!r}; choose one of {which}")
    objective = table[section.objective]
    penalty = section.penalty or objective.penalty
    if penalty not in PENALTIES:
        raise InputError(f"config.gan.penalty: {penalty!r}; choose one of {tuple(PENALTIES)}, or '' for the own one")
    return dataclasses.replace(objective, penalty=penalty)

"""What a generative method has to beat: chance, two linear methods in closed form (ESZSL and SAE), and the simplest
classifier of its own rows (1-nearest neighbour).
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from zsl_jax.data.dataset import Task, array
from zsl_jax.data.scaling import affine
from zsl_jax.evaluation import linear, metrics, rows, scoring
from zsl_jax.evaluation.protocol import SCORES
from zsl_jax.evaluation.scoring import Scorer
from zsl_jax.train_steps.method import Params

FEATURES = ("standard", "none", "minmax", "l2")  # how features may be prepared
FIRST_POWERS = (-3, 3)  # of ten, lowest and highest: the first grid of each weight
MOST_POWER = 8  # where widening the grid ends
TINY = 1e-12  # keeps rows of zeros what they are


class Features(NamedTuple):
    """Features of a task's three parts [n, D] float64, prepared in one way, the training rows decomposed."""

    train: np.ndarray
    test_seen: np.ndarray
    test_unseen: np.ndarray
    side: linear.Side


def prepared(task: Task, view: str, kind: str) -> Features:
    """Features of a task, prepared for a map without bias.

    Args:
      task: where the rows are.
      view: "x", "r" or "xr" (both, side by side).
      kind: "standard" (mean 0, deviation 1 on the training rows), "minmax" (0 to 1 there), "l2" (rows of length 1) or
        "none".
    """
    parts = (task.train, task.test_seen, task.test_unseen)
    raw = [np.concatenate([array(part.views, name) for name in view], 1).astype(np.float64) for part in parts]
    if kind == "l2":
        ready = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), TINY) for rows in raw]
    else:
        shift, scale = affine(kind, raw[0])
        ready = [(rows - shift[None, :]) * scale[None, :] for rows in raw]
    train, test_seen, test_unseen = ready
    return Features(train, test_seen, test_unseen, linear.decomposed(train))


def centred_semantics(task: Task) -> np.ndarray:
    """Semantics [C, A] from their mean over training rows: the map from features to them has no bias."""
    semantics = np.asarray(task.semantics, np.float64)
    return semantics - semantics[task.train.labels].mean(0)[None, :]


def cosines(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosines [n, m] of rows [n, A] with other rows [m, A]; 0 where one is a row of zeros."""
    lengths = (np.linalg.norm(given, axis=1, keepdims=True) for given in (rows, others))
    one, other = (g / np.where(n > 0, n, 1.0) for g, n in zip((rows, others), lengths, strict=True))
    return one @ other.T


def unseen_accuracy(task: Task, scores: np.ndarray) -> float:
    """T1 (a share) of scores [n, unseen classes] of the rows of unseen classes."""
    right = scoring.positions(task.test_unseen.labels, task.unseen)
    return metrics.mean_accuracy(metrics.predict(scores), right, np.arange(len(task.unseen)))


Weights = tuple[float, ...]
Predict = Callable[[Weights, np.ndarray, np.ndarray], np.ndarray]  # (weights, x [n, D], classes) -> [n, c]


def train_eszsl(task: Task, features: Features) -> Predict:
    """ESZSL of weights (gamma, lam) trained on a task."""
    parts = linear.eszsl_spectrum(features.side, features.train, task.train.labels, task.semantics, task.seen)
    return lambda weights, x, classes: x @ (linear.solve_eszsl(parts, *weights) @ task.semantics[classes].T)


def train_sae(task: Task, features: Features) -> Predict:
    """SAE of weights (lam,) trained on a task, with semantics centred; classes are found by cosines of semantics."""
    semantics = centred_semantics(task)
    own = semantics[task.train.labels]
    parts = linear.spectrum(features.side, own, features.train.T @ own)
    return lambda weights, x, classes: cosines(x @ linear.solve_sae(parts, *weights), semantics[classes])


class Method(NamedTuple):
    """A closed form: how it is trained, names of its weights, whether larger (1) or smaller (-1) ones regularise more.

    SAE's weight is that of the encoding error: the smaller it is, the more the reconstruction decides.
    """

    train: Callable[[Task, Features], Predict]
    weights: tuple[str, ...]
    stronger: int


METHODS = {"ESZSL": Method(train_eszsl, ("gamma", "lam"), 1), "SAE": Method(train_sae, ("lam",), -1)}


class Choice(NamedTuple):
    """What suits a closed form best on the validation task.

    features: how they are prepared, one of `FEATURES`. weights: of the method. t1: T1 in percent on each draw of
    validation classes. gamma: calibration of highest H, the mean over the draws. at_edge: the best weight is the last
    one that was tried.
    """

    features: str
    weights: Weights
    t1: tuple[float, ...]
    gamma: float
    at_edge: bool


def search(score: Callable[[Weights], float], n_weights: int, stronger: int) -> tuple[Weights, bool]:
    """The weights of the highest score on a grid of powers of ten.

    It widens while the best lies at its edge and is better than before.

    Args:
      score: of weights.
      n_weights: how many there are.
      stronger: sign of the stronger regularisation, which wins among equal scores.

    Returns:
      The weights, and whether the best still lay at the edge where widening ends.
    """
    bounds, known, before = [FIRST_POWERS] * n_weights, {}, -np.inf
    while True:
        for powers in itertools.product(*(range(low, high + 1) for low, high in bounds)):
            if powers not in known:
                known[powers] = score(tuple(10.0**power for power in powers))
        best = max(known, key=lambda powers: (known[powers], stronger * sum(powers)))
        wider = [
            (low - (power == low > -MOST_POWER), high + (power == high < MOST_POWER))
            for power, (low, high) in zip(best, bounds, strict=True)
        ]
        better = known[best] > before
        if wider == bounds or not better:
            at_edge = better and any(abs(power) == MOST_POWER for power in best)
            return tuple(10.0**power for power in best), at_edge
        bounds, before = wider, known[best]


def choose(
    variants: Mapping[str, Sequence[Task]], view: str, methods: Iterable[str] = tuple(METHODS)
) -> dict[str, dict[str, Choice]]:
    """Chooses preparation and weights of closed forms by the mean T1 over draws of validation classes.

    Args:
      variants: by name, the draws' tasks; variants have the same rows and may differ in the semantics.
      view: features, "x", "r" or "xr".
      methods: names among `METHODS`.

    Returns:
      by variant and method: the choice; of equals the first preparation of `FEATURES`.
    """
    found: dict[str, dict[str, Choice]] = {variant: {} for variant in variants}
    for kind in FEATURES:
        features = [prepared(task, view, kind) for task in next(iter(variants.values()))]
        for variant, draws in variants.items():
            for name in methods:
                choice = best_weights(METHODS[name], kind, draws, features)
                if name not in found[variant] or np.mean(choice.t1) > np.mean(found[variant][name].t1):
                    found[variant][name] = choice
    return found


def best_weights(method: Method, kind: str, draws: Sequence[Task], features: Sequence[Features]) -> Choice:
    """The best weights of a closed form for features prepared in one way, see `choose`."""
    trained = [(task, own, method.train(task, own)) for task, own in zip(draws, features, strict=True)]

    def t1(weights: Weights) -> tuple[float, ...]:
        shares = (
            unseen_accuracy(task, predict(weights, own.test_unseen, task.unseen)) for task, own, predict in trained
        )
        return tuple(100 * share for share in shares)

    weights, at_edge = search(lambda weights: float(np.mean(t1(weights))), len(method.weights), method.stronger)
    gammas = [metrics.best_gamma(gains(*one, weights)) for one in trained]
    return Choice(kind, weights, t1(weights), float(np.mean(gammas)), at_edge)


def gains(task: Task, features: Features, predict: Predict, weights: Weights) -> metrics.Gains:
    """What the test rows of a task add to S and U."""
    return scoring.gains_of(task, *class_scores(task, features, predict, weights))


def class_scores(task: Task, features: Features, predict: Predict, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Scores of test_seen and test_unseen [n, C]: columns of the seen, then of the unseen classes."""
    classes = np.concatenate([task.seen, task.unseen])
    return predict(weights, features.test_seen, classes), predict(weights, features.test_unseen, classes)


def all_scores(task: Task, seen: np.ndarray, unseen: np.ndarray, gamma: float) -> dict[str, Any]:
    """Scores in percent of class scores [n, C] of both test parts: T1, U, S, H, AUSUC, and calibrated with `gamma`."""
    of_rows = scoring.gains_of(task, seen, unseen)
    _, *curve = metrics.seen_unseen_curve(of_rows)

    def at(gamma: float) -> dict[str, float]:
        u, s = metrics.at_gamma(of_rows, np.float64(gamma))
        return in_percent(U=u, S=s, H=metrics.harmonic_mean(u, s))

    t1 = unseen_accuracy(task, unseen[:, len(task.seen) :])
    found = in_percent(T1=t1, AUSUC=metrics.area(*curve)) | at(0.0)
    return {name: found[name] for name in SCORES} | {"calibrated": {"gamma": gamma} | at(gamma)}


def in_percent(**shares: Any) -> dict[str, float]:
    """Shares as percentages, rounded to 1e-4."""
    return {name: round(100 * float(share), 4) for name, share in shares.items()}


def closed_forms(draws: Sequence[Task], test: Task, view: str) -> dict[str, dict[str, Any]]:
    """Trains ESZSL and SAE on the test task, with what the validation task chose, and scores them.

    Args:
      draws: the validation task, for each draw of classes; none: all is chosen on the test task itself, an oracle to be
        labelled as such.
      test: task to score.
      view: features, "x", "r" or "xr".

    Returns:
      by method: T1, U, S, H, AUSUC in percent; "calibrated": U, S, H at the gamma chosen; "chosen": features, weights,
      and T1 on each draw.
    """
    (choices,) = choose({"": draws or [test]}, view).values()
    features = {kind: prepared(test, view, kind) for kind in {choice.features for choice in choices.values()}}
    found = {}
    for name, choice in choices.items():
        own = features[choice.features]
        predict = METHODS[name].train(test, own)
        chosen = {"features": choice.features, **dict(zip(METHODS[name].weights, choice.weights, strict=True))}
        found[name] = all_scores(test, *class_scores(test, own, predict, choice.weights), choice.gamma)
        found[name]["chosen"] = chosen | {"T1": list(choice.t1), "at_edge": choice.at_edge}
    return found


def chance(task: Task) -> dict[str, float]:
    """Expected scores in percent of uniform guesses; AUSUC of guesses tilted from all seen to all unseen."""
    n_seen, n_unseen = len(task.seen), len(task.unseen)
    any_class = 100 / (n_seen + n_unseen)
    return {"T1": 100 / n_unseen, "U": any_class, "S": any_class, "H": any_class, "AUSUC": 50 / (n_seen * n_unseen)}


def nearest_neighbour(
    scorer: Scorer, params: dict[str, Params], key: jax.Array, space: str, sampler: str
) -> dict[str, dict[str, float]]:
    """Scores the 1-nearest-neighbour classifier of the rows that `Scorer.evaluate` trains classifiers on.

    Args:
      scorer, params, key: the same key gives the same rows.
      space, sampler: which rows.

    Returns:
      T1, U, S, H, AUSUC in percent, under the name "1-NN INPUT"; nothing for a method that makes no rows.
    """
    if scorer.method.synthesize is None:
        return {}
    scorer = scorer.with_classifier(classifier="nearest", seen_factor=1.0)
    given = rows.input_of(space)
    (scores,) = scorer.score_space([scorer.synthesise(params, key, sampler)], given, key, gamma=0.0)
    return {f"1-NN {given}": {name: scores[name][0] for name in SCORES}}

"""What a generative method has to beat: chance, two linear methods in closed form (ESZSL and SAE), and the simplest
classifier of its own rows (1-nearest neighbour).

Sources: Romera-Paredes and Torr, "An embarrassingly simple approach to zero-shot learning", ICML 2015 (ESZSL); Kodirov,
Xiang and Gong, "Semantic autoencoder for zero-shot learning", CVPR 2017 (SAE).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from zsl_jax.data.dataset import Task, array
from zsl_jax.evaluation import metrics, scoring
from zsl_jax.evaluation.protocol import SCORES
from zsl_jax.evaluation.scoring import Scorer
from zsl_jax.train_steps.method import Params

POWERS = tuple(10.0**i for i in range(-3, 4))
SINGULAR = 1e-10  # eigenvalues below this share of the largest are rounding errors
GRID = tuple((gamma, lam) for gamma in POWERS for lam in POWERS)


class Spectrum(NamedTuple):
    """Eigenvectors and eigenvalues of X'X (features) and of S S' (semantics), and X'Y S' (SAE: X'S') between them."""

    feature_vectors: np.ndarray
    feature_values: np.ndarray
    semantic_vectors: np.ndarray
    semantic_values: np.ndarray
    cross: np.ndarray


def spectrum(x: np.ndarray, semantics: np.ndarray, between: np.ndarray) -> Spectrum:
    """Decomposes what is inverted, once for all weights: features [n, D], semantics [m, A], `between` them [D, A]."""
    feature_values, feature_vectors = np.linalg.eigh(x.T @ x)
    semantic_values, semantic_vectors = np.linalg.eigh(semantics.T @ semantics)
    cross = feature_vectors.T @ between @ semantic_vectors
    return Spectrum(feature_vectors, feature_values, semantic_vectors, semantic_values, cross)


def eszsl_spectrum(x: np.ndarray, labels: np.ndarray, semantics: np.ndarray, seen: np.ndarray) -> Spectrum:
    """What ESZSL inverts; the arguments are those of `eszsl`."""
    x, own = np.asarray(x, np.float64), np.asarray(semantics, np.float64)[seen]
    signs = np.where(labels[:, None] == np.asarray(seen)[None, :], 1.0, -1.0)
    return spectrum(x, own, x.T @ signs @ own)


def solve(parts: Spectrum, gamma: float, lam: float) -> np.ndarray:
    """V = (X'X + gamma I)^-1 X'Y S' (S S' + lam I)^-1 [D, A] from its decomposition."""
    shrunk = parts.cross / ((parts.feature_values + gamma)[:, None] * (parts.semantic_values + lam)[None, :])
    return parts.feature_vectors @ shrunk @ parts.semantic_vectors.T


def eszsl(
    x: np.ndarray, labels: np.ndarray, semantics: np.ndarray, seen: np.ndarray, gamma: float, lam: float
) -> np.ndarray:
    """The bilinear map V of ESZSL; the score of class c for row x is x V semantics[c].

    Args:
      x: training features [n, D].
      labels: their classes [n].
      semantics: of all classes [C, A].
      seen: classes to train on [c].
      gamma: regulariser on the feature side, > 0.
      lam: regulariser on the semantic side, > 0.

    Returns:
      V [D, A] float64 (equation 5 of the paper, with targets +1 and -1).
    """
    return solve(eszsl_spectrum(x, labels, semantics, seen), gamma, lam)


class Features(NamedTuple):
    """Features of a task's three parts [n, D]."""

    train: np.ndarray
    test_seen: np.ndarray
    test_unseen: np.ndarray


Predict = Callable[[tuple[float, ...], np.ndarray, np.ndarray], np.ndarray]  # (weights, x [n, D], classes) -> [n, c]


def standardised(task: Task, view: str) -> Features:
    """Features with mean 0 and deviation 1 on the training rows: ESZSL has no bias, so an offset would cost it points.

    Args:
      task: where the rows are; how it is scaled doesn't matter then.
      view: "x", "r" or "xr" (both, side by side).
    """
    parts = (task.train, task.test_seen, task.test_unseen)
    train, *tests = (np.concatenate([array(part.views, name) for name in view], 1).astype(np.float64) for part in parts)
    mean, deviation = train.mean(0), train.std(0)
    deviation[deviation == 0] = 1.0
    return Features(*((rows - mean[None, :]) / deviation[None, :] for rows in (train, *tests)))


def centred_semantics(task: Task) -> np.ndarray:
    """Semantics [C, A] from their mean over training rows: the map from standardised features has no bias either."""
    semantics = np.asarray(task.semantics, np.float64)
    return semantics - semantics[task.train.labels].mean(0)[None, :]


def solve_sae(parts: Spectrum, lam: float) -> np.ndarray:
    """V [D, A] of SAE from its decomposition; see `sae`."""
    sums = lam * parts.feature_values[:, None] + parts.semantic_values[None, :]
    determined = sums > SINGULAR * sums.max()
    shrunk = np.where(determined, (1 + lam) * parts.cross / np.where(determined, sums, 1.0), 0.0)
    return parts.feature_vectors @ shrunk @ parts.semantic_vectors.T


def sae(x: np.ndarray, semantics: np.ndarray, lam: float) -> np.ndarray:
    """The encoder of SAE: x V are a row's semantics, and x V V' is the row again.

    Solves S S' W + lam W X X' = (1 + lam) S X' (section 3 of the paper; W = V', rows as columns) in the eigenvectors of
    both sides, where it is a division for each entry. Where neither features nor semantics span their spaces, the
    equation leaves entries open (a general solver would divide by rounding errors): they are zero, which makes the
    shortest solution.

    Args:
      x: training features [n, D].
      semantics: of the rows' classes [n, A].
      lam: weight of the encoding error against the reconstruction's, > 0.

    Returns:
      V [D, A] float64.
    """
    return solve_sae(spectrum(x, semantics, x.T @ semantics), lam)


def cosines(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Cosines [n, m] of rows [n, A] with other rows [m, A]; 0 where one is a row of zeros."""
    lengths = (np.linalg.norm(given, axis=1, keepdims=True) for given in (rows, others))
    one, other = (g / np.where(n > 0, n, 1.0) for g, n in zip((rows, others), lengths, strict=True))
    return one @ other.T


def unseen_accuracy(task: Task, scores: np.ndarray) -> float:
    """T1 (a share) of scores [n, unseen classes] of the rows of unseen classes."""
    return metrics.mean_accuracy(task.unseen[scores.argmax(1)], task.test_unseen.labels, task.unseen)


def all_scores(task: Task, seen_scores: np.ndarray, unseen_scores: np.ndarray) -> dict[str, float]:
    """T1, U, S, H and AUSUC in percent of class scores [n, C] of both test parts: seen classes, then unseen ones."""
    gains = scoring.gains_of(task, seen_scores, unseen_scores)
    u, s = (float(value) for value in metrics.at_gamma(gains, 0.0))
    _, curve_u, curve_s = metrics.seen_unseen_curve(gains)
    shares = {
        "T1": unseen_accuracy(task, unseen_scores[:, len(task.seen) :]),
        "U": u,
        "S": s,
        "H": metrics.harmonic_mean(u, s),
    }
    shares["AUSUC"] = metrics.area(curve_u, curve_s)
    return {name: round(100 * float(value), 4) for name, value in shares.items()}


def eszsl_on(task: Task, view: str) -> tuple[Features, Predict]:
    """Features of a task, and ESZSL of weights (gamma, lam) trained on it."""
    features = standardised(task, view)
    parts = eszsl_spectrum(features.train, task.train.labels, task.semantics, task.seen)
    return features, lambda weights, x, classes: x @ (solve(parts, *weights) @ task.semantics[classes].T)


def sae_on(task: Task, view: str) -> tuple[Features, Predict]:
    """Features of a task, and SAE of weights (lam,) trained on it; classes are found by cosines of semantics."""
    features, semantics = standardised(task, view), centred_semantics(task)
    own = semantics[task.train.labels]
    parts = spectrum(features.train, own, features.train.T @ own)
    return features, lambda weights, x, classes: cosines(x @ solve_sae(parts, *weights), semantics[classes])


def chosen_and_scored(
    train: Callable[[Task, str], tuple[Features, Predict]],
    validation: Task | None,
    test: Task,
    view: str,
    grid: Sequence[tuple[float, ...]],
) -> tuple[dict[str, float], tuple[float, ...]]:
    """Scores on the test task with the weights that have the highest T1 on the other one, the first of equals."""
    choosing = validation or test
    features, predict = train(choosing, view)
    x, unseen = features.test_unseen, choosing.unseen
    weights = max(grid, key=lambda weights: unseen_accuracy(choosing, predict(weights, x, unseen)))
    features, predict = train(test, view)
    classes = np.concatenate([test.seen, test.unseen])
    seen, unseen = (predict(weights, x, classes) for x in (features.test_seen, features.test_unseen))
    return all_scores(test, seen, unseen), weights


def eszsl_scores(
    validation: Task | None, test: Task, view: str = "x", grid: Sequence[tuple[float, float]] = GRID
) -> dict[str, float]:
    """Trains ESZSL on the (standardised) training rows of the test task and scores it.

    Args:
      validation: task on which the regularisers are chosen by T1; None: they are chosen on the test task itself, an
        oracle to be labelled as such.
      test: task to score.
      view: features, "x", "r" or "xr".
      grid: pairs (gamma, lam) to choose from.

    Returns:
      T1, U, S, H, AUSUC in percent, and the gamma and lam chosen.
    """
    found, (gamma, lam) = chosen_and_scored(eszsl_on, validation, test, view, grid)
    return {**found, "gamma": gamma, "lam": lam}


def sae_scores(
    validation: Task | None, test: Task, view: str = "x", grid: Sequence[float] = POWERS
) -> dict[str, float]:
    """Trains SAE as `eszsl_scores` does ESZSL, on semantics centred on the training rows; `grid`: of lam."""
    found, (lam,) = chosen_and_scored(sae_on, validation, test, view, [(lam,) for lam in grid])
    return {**found, "lam": lam}


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
      T1, U, S, H, AUSUC in percent, under the name "1-NN <space>"; nothing for a method that makes no rows.
    """
    if scorer.method.synthesize is None:
        return {}
    scorer = scorer.with_classifier(classifier="nearest", seen_factor=1.0)
    (scores,) = scorer.score_space([scorer.synthesise(params, key, sampler)], space, key, gamma=0.0)
    return {f"1-NN {space}": {name: scores[name][0] for name in SCORES}}

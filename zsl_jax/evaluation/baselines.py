"""What a generative method has to beat: chance, and a linear method in closed form (ESZSL).

Source of ESZSL: Romera-Paredes and Torr, "An embarrassingly simple approach to zero-shot learning", ICML 2015.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from zsl_jax.data.dataset import Task
from zsl_jax.evaluation import metrics

POWERS = tuple(10.0**i for i in range(-3, 4))
GRID = tuple((gamma, lam) for gamma in POWERS for lam in POWERS)


class Spectrum(NamedTuple):
    """Eigenvectors and eigenvalues of X'X (rows, values) and of S S' (semantics), and X'Y S' between them."""

    feature_vectors: np.ndarray
    feature_values: np.ndarray
    semantic_vectors: np.ndarray
    semantic_values: np.ndarray
    cross: np.ndarray


def spectrum(x: np.ndarray, labels: np.ndarray, semantics: np.ndarray, seen: np.ndarray) -> Spectrum:
    """Decomposes what ESZSL inverts, once for all regularisers.

    Args:
      x: training features [n, D].
      labels: their classes [n].
      semantics: of all classes [C, A].
      seen: classes to train on [c].
    """
    x, own = np.asarray(x, np.float64), np.asarray(semantics, np.float64)[seen]
    signs = np.where(labels[:, None] == np.asarray(seen)[None, :], 1.0, -1.0)
    feature_values, feature_vectors = np.linalg.eigh(x.T @ x)
    semantic_values, semantic_vectors = np.linalg.eigh(own.T @ own)
    cross = feature_vectors.T @ (x.T @ signs @ own) @ semantic_vectors
    return Spectrum(feature_vectors, feature_values, semantic_vectors, semantic_values, cross)


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
    return solve(spectrum(x, labels, semantics, seen), gamma, lam)


class Features(NamedTuple):
    """Features of a task's three parts [n, D]."""

    train: np.ndarray
    test_seen: np.ndarray
    test_unseen: np.ndarray


def standardised(task: Task, view: str) -> Features:
    """Features with mean 0 and deviation 1 on the training rows: ESZSL has no bias, so an offset would cost it points.

    Args:
      task: where the rows are; how it is scaled doesn't matter then.
      view: "x", "r" or "xr" (both, side by side).
    """
    parts = (task.train, task.test_seen, task.test_unseen)
    train, *tests = (np.concatenate([part.views()[name] for name in view], 1).astype(np.float64) for part in parts)
    mean, deviation = train.mean(0), train.std(0)
    deviation[deviation == 0] = 1.0
    return Features(*((rows - mean[None, :]) / deviation[None, :] for rows in (train, *tests)))


def unseen_accuracy(task: Task, features: Features, v: np.ndarray) -> float:
    """T1 (a share) of a bilinear map [D, A]."""
    predicted = task.unseen[(features.test_unseen @ v @ task.semantics[task.unseen].T).argmax(1)]
    return metrics.mean_accuracy(predicted, task.test_unseen.labels, task.unseen)


def all_scores(task: Task, features: Features, v: np.ndarray) -> dict[str, float]:
    """T1, U, S, H and AUSUC in percent of a bilinear map [D, A]."""
    n_seen = len(task.seen)
    of_class = v @ task.semantics[np.concatenate([task.seen, task.unseen])].T
    seen_labels = np.searchsorted(task.seen, task.test_seen.labels)
    unseen_labels = np.searchsorted(task.unseen, task.test_unseen.labels) + n_seen
    gains = metrics.gains(
        jnp.asarray(np.concatenate([features.test_seen @ of_class, features.test_unseen @ of_class]), jnp.float32),
        jnp.asarray(np.concatenate([seen_labels, unseen_labels]), jnp.int32),
        jnp.asarray(np.concatenate([metrics.class_balance(seen_labels), metrics.class_balance(unseen_labels)])),
        n_seen,
    )
    u, s = (float(value) for value in metrics.at_gamma(gains, 0.0))
    _, curve_u, curve_s = metrics.seen_unseen_curve(gains)
    shares = {"T1": unseen_accuracy(task, features, v), "U": u, "S": s, "H": metrics.harmonic_mean(u, s)}
    shares["AUSUC"] = metrics.area(curve_u, curve_s)
    return {name: round(100 * float(value), 4) for name, value in shares.items()}


def search(task: Task, view: str, grid: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The (gamma, lam) of `grid` with the highest T1 on `task`; the first of equals."""
    features = standardised(task, view)
    parts = spectrum(features.train, task.train.labels, task.semantics, task.seen)
    return max(grid, key=lambda pair: unseen_accuracy(task, features, solve(parts, *pair)))


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
    gamma, lam = search(validation or test, view, grid)
    features = standardised(test, view)
    v = eszsl(features.train, test.train.labels, test.semantics, test.seen, gamma, lam)
    return {**all_scores(test, features, v), "gamma": gamma, "lam": lam}


def chance(task: Task) -> dict[str, float]:
    """Expected scores in percent of uniform guesses; AUSUC of guesses tilted from all seen to all unseen."""
    n_seen, n_unseen = len(task.seen), len(task.unseen)
    any_class = 100 / (n_seen + n_unseen)
    return {"T1": 100 / n_unseen, "U": any_class, "S": any_class, "H": any_class, "AUSUC": 50 / (n_seen * n_unseen)}

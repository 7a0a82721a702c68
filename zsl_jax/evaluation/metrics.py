"""Scores of (generalised) zero-shot learning: per-class accuracy, T1, U, S, H and the seen-unseen curve.

Everything is a share between 0 and 1; `percent` is applied where results are reported.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

Empty = Literal["skip", "zero", "nan"]


def per_class_accuracy(predicted, labels, classes, empty: Empty = "skip") -> np.ndarray:
    """Share of rows classified rightly, class by class.

    Args:
      predicted: classes predicted [n].
      labels: true classes [n].
      classes: the classes to score [c].
      empty: what a class without rows counts. "skip": it is left out (as ReZSL does; never NaN); "zero": 0, which
        lowers the mean (as the GAN zoo does); "nan": NaN, so that the mean is NaN too (as ZeroDiff, TF-VAEGAN and
        SC-EGG do).

    Returns:
      accuracies in the order of `classes`: [c], or fewer where "skip" left some out.

    Raises:
      ValueError: unknown `empty`, or `predicted` and `labels` are not of one length.
    """
    if empty not in ("skip", "zero", "nan"):
        raise ValueError(f"empty={empty!r}: expected 'skip', 'zero' or 'nan'")
    predicted, labels, classes = np.asarray(predicted), np.asarray(labels), np.asarray(classes)
    if predicted.shape != labels.shape:
        raise ValueError(f"predicted {predicted.shape} and labels {labels.shape}: one label for each row is needed")
    of_class = labels[None, :] == classes[:, None]
    rows = of_class.sum(1)
    right = (of_class & (predicted == labels)[None, :]).sum(1)
    accuracy = np.where(rows > 0, right / np.maximum(rows, 1), np.nan if empty == "nan" else 0.0)
    return accuracy[rows > 0] if empty == "skip" else accuracy


def predict(scores: np.ndarray) -> np.ndarray:
    """Column of the highest score of each row [n]; -1, which is no class, where that is not finite."""
    return np.where(np.isfinite(scores.max(1)), scores.argmax(1), -1)


def mean_accuracy(predicted, labels, classes, empty: Empty = "skip") -> float:
    """Mean of `per_class_accuracy` (T1, U or S, depending on what was predicted); 0 where no class is left."""
    accuracy = per_class_accuracy(predicted, labels, classes, empty)
    return float(accuracy.mean()) if accuracy.size else 0.0


def module_of(*arrays):
    """`jax.numpy` if one is an array of jax, else `numpy`, which compiles nothing for each new shape."""
    return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def harmonic_mean(u, s):
    """H = 2 U S / (U + S), and 0 where both are 0. Takes floats or arrays of one shape."""
    xp = module_of(u, s)
    return 2 * u * s / xp.where(u + s > 0, u + s, xp.ones_like(u + s))


def class_balance(labels) -> np.ndarray:
    """Weight of each row [n] float32, of its class [n], such that a weighted sum of hits is the mean class accuracy."""
    _, index, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    return (1.0 / (counts[index] * max(len(counts), 1))).astype(np.float32)


def weighted_accuracy(scores: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """Sum of the weights [n] of the rows whose highest score [n, C] is at `labels` [n] and finite (inside jit)."""
    right = jnp.isfinite(scores.max(1)) & (scores.argmax(1).astype(labels.dtype) == labels)
    return jnp.sum(weights * right.astype(weights.dtype))


class Gains(NamedTuple):
    """What each test row adds to S or U, depending on which kind of class wins.

    margin [n]: highest score of a seen class minus the highest of an unseen one. With gamma subtracted from all seen
    scores, a row goes to an unseen class where margin < gamma (at a tie the seen class wins).
    seen [n]: what the row adds to S when a seen class wins (0 for rows of unseen classes, and where that class is
    wrong). unseen [n]: what it adds to U when an unseen class wins.
    """

    margin: jax.Array
    seen: jax.Array
    unseen: jax.Array


def gains(scores, labels, weights, n_seen: int) -> Gains:
    """Reads the class scores of test rows down to what calibrated stacking needs; arrays of jax or of numpy.

    Args:
      scores: [n, C], seen classes in the first `n_seen` columns, unseen ones after them.
      labels: true columns [n] int32.
      weights: what a right answer counts [n], see `class_balance` (0: the row doesn't count).
      n_seen: number of seen classes.

    Returns:
      gains per row; a row whose scores are not finite counts as wrong.
    """
    seen, unseen = scores[:, :n_seen], scores[:, n_seen:]
    with np.errstate(invalid="ignore"):  # of scores that are not finite
        margin = seen.max(1) - unseen.max(1)
    valid = module_of(margin).isfinite(margin)
    seen_right = valid & (seen.argmax(1).astype(labels.dtype) == labels)
    unseen_right = valid & (unseen.argmax(1).astype(labels.dtype) + n_seen == labels)
    return Gains(margin, weights * seen_right.astype(weights.dtype), weights * unseen_right.astype(weights.dtype))


def at_gamma(rows: Gains, gamma):
    """U and S, with `gamma` subtracted from the scores of seen classes (calibrated stacking, Chao et al. 2016).

    Args:
      rows: gains of all test rows.
      gamma: a number, or a scalar of the margins' dtype.

    Returns:
      (U, S), scalars.
    """
    to_unseen, xp = rows.margin < gamma, module_of(rows.margin)
    zero = xp.zeros_like(rows.seen)
    return xp.where(to_unseen, rows.unseen, zero).sum(), xp.where(to_unseen, zero, rows.seen).sum()


def seen_unseen_curve(rows: Gains) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The exact curve of calibrated stacking: one point for each set of predictions that some gamma gives.

    Args:
      rows: gains of all test rows.

    Returns:
      (gamma, U, S), each [k] float64, gamma ascending: from "no row is unseen" to "every row is unseen". A gamma lies
      midway between the margins at which the predictions change; the area under S over U (`area`) is the AUSUC.
    """
    margin, seen, unseen = (np.asarray(array, np.float64) for array in rows)
    counts = (seen > 0) | (unseen > 0)
    thresholds, index = np.unique(margin[counts], return_inverse=True)
    if not thresholds.size:
        return np.zeros(1), np.zeros(1), np.zeros(1)
    u = np.concatenate([[0.0], np.cumsum(np.bincount(index, unseen[counts]))])
    lost = np.concatenate([[0.0], np.cumsum(np.bincount(index, seen[counts]))])
    middle = (thresholds[1:] + thresholds[:-1]) / 2
    gamma = np.concatenate([[thresholds[0]], middle, [thresholds[-1] + 1.0]])
    return gamma, u, np.maximum(lost[-1] - lost, 0.0)


def area(u: np.ndarray, s: np.ndarray) -> float:
    """AUSUC: area under S over U, both as `seen_unseen_curve` returns them (trapezoids: ties count half)."""
    return float(np.trapezoid(s, u))


def best_gamma(rows: Gains) -> float:
    """The gamma of highest H, as `calibrate` finds it, of numpy arrays."""
    gamma, u, s = seen_unseen_curve(rows)
    h = harmonic_mean(u, s)
    return float(gamma[h.argmax()]) if h.any() else 0.0


def calibrate(rows: Gains) -> tuple[jax.Array, jax.Array, jax.Array]:
    """AUSUC and the best calibration, exactly, by sorting the margins (for use inside jit).

    Args:
      rows: gains of all test rows.

    Returns:
      (AUSUC, gamma, H): area under the seen-unseen curve; the gamma of highest H (0 where H is 0 everywhere); that H.
    """
    counts = (rows.seen > 0) | (rows.unseen > 0)
    margin = jnp.where(counts, rows.margin, jnp.inf)
    order = jnp.argsort(margin)
    margin = margin[order]
    # Rows of equal margin change sides together: every one of them gets the point after the last of them.
    after = jnp.searchsorted(margin, margin, side="right")
    lost = jnp.cumsum(rows.seen[order])[after - 1]
    u = jnp.cumsum(rows.unseen[order])[after - 1]
    u, s = jnp.pad(u, (1, 0)), jnp.maximum(lost[-1] - jnp.pad(lost, (1, 0)), 0)
    ausuc = jnp.sum((s[1:] + s[:-1]) * (u[1:] - u[:-1])) / 2
    h = harmonic_mean(u, s)
    best = jnp.argmax(h)
    below = margin[jnp.maximum(best - 1, 0)]
    above = margin[jnp.minimum(jnp.pad(after, (1, 0))[best], margin.size - 1)]
    middle = (below + jnp.where(jnp.isfinite(above), above, below + 1)) / 2
    # Between neighbouring floats the middle rounds to one of them; only the upper one is a threshold above `below`.
    gamma = jnp.where(middle > below, middle, above)
    return ausuc, jnp.where(h[best] > 0, gamma, jnp.zeros_like(gamma)), h[best]


def intervals(
    per_class_seen, per_class_unseen, per_class_zsl, seed: int, draws: int = 10_000, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Intervals of the scores over classes like these: the error of having few classes.

    Student's t of the mean over classes; of H by simulation, U and S drawn from their t distributions. A percentile
    bootstrap over so few classes is too narrow: of 3 it covers 74 % where it says 95 (tests/evaluation).

    Args:
      per_class_seen: accuracies of the seen classes, scored among all classes [c_seen], shares.
      per_class_unseen: accuracies of the unseen classes, scored among all classes [c_unseen].
      per_class_zsl: accuracies of the unseen classes, scored among themselves [c_unseen].
      seed: of the draws.
      draws: number of samples for H.
      level: probability inside an interval.

    Returns:
      (low, high) for "T1", "U", "S" and "H", within 0 and 1; without those that rest on a single class.
    """
    random = np.random.default_rng(seed)
    parts = {"T1": per_class_zsl, "U": per_class_unseen, "S": per_class_seen}
    accuracies = {name: np.asarray(values, np.float64) for name, values in parts.items() if len(values) > 1}
    ends, found, samples = (0.5 - level / 2, 0.5 + level / 2), {}, {}
    for name, values in accuracies.items():
        freedom, error = values.size - 1, values.std(ddof=1) / np.sqrt(values.size)
        found[name] = values.mean() + error * stats.t.ppf(ends, freedom)
        samples[name] = np.clip(values.mean() + error * random.standard_t(freedom, draws), 0, 1)
    if "U" in samples and "S" in samples:
        found["H"] = np.quantile(harmonic_mean(samples["U"], samples["S"]), ends)
    return {name: tuple(np.clip(bounds, 0, 1).tolist()) for name, bounds in found.items()}

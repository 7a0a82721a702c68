"""Scaling of features, fitted on training rows, and of descriptions, fitted on seen classes."""

import dataclasses

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from zsl_jax.data.checks import float32
from zsl_jax.errors import InputError

KINDS = ("minmax", "standard", "none")
VALIDATED = "validated"  # of descriptions: chosen on the validation task, see zsl_jax/experiment/settling.py
SEMANTICS = {  # kinds of scaling of descriptions, in words; the earlier one wins where none is clearly better
    "maximum": "divided by the largest entry",
    "none": "",
    "l2": "L2-normalised",
    "standard": "standardised",
}
UNIT_TOLERANCE = 1e-6  # rows this near to unit length are left as they are: normalising twice changes nothing


@dataclasses.dataclass(frozen=True)
class Scaler:
    """An affine map per dimension: x -> (x - shift [D]) * scale [D], both float32."""

    shift: np.ndarray
    scale: np.ndarray


def fit_scaler(kind: str, train: np.ndarray, divide: bool = True) -> Scaler:
    """Fits a scaler on training rows.

    "minmax" maps each dimension to [0, 1], "standard" gives each dimension mean 0 and variance 1. The published
    loaders then divide everything by the largest training entry, after "standard" too, which leaves variances far
    below 1. Dimensions that are constant in training are only shifted, as scikit-learn does.

    Args:
      kind: "minmax", "standard" or "none".
      train: training rows [n, D].
      divide: whether the largest training entry becomes 1.

    Returns:
      The scaler.

    Raises:
      InputError: an unknown kind, or no rows.
    """
    if kind not in KINDS:
        raise InputError(f"config.data.scaling: {kind!r} is unknown; one of {', '.join(KINDS)}")
    if not train.shape[0]:
        raise InputError("config.data: no training rows to fit the scaler on")
    shift, scale = affine(kind, train)
    largest = float(np.max((train.max(axis=0) - shift) * scale)) if divide and kind != "none" else 1.0
    return Scaler(float32(shift), float32(scale / largest if largest > 0 else scale))


def apply_scaler(scaler: Scaler, x: np.ndarray) -> np.ndarray:
    """Scales rows x [n, D]; returns float32 [n, D]."""
    return float32((x - scaler.shift[None, :]) * scaler.scale[None, :])


def undo_scaler(scaler: Scaler, x: np.ndarray) -> np.ndarray:
    """The rows [n, D] whose scaled ones are x [n, D], but for rounding; float32."""
    return float32(x / scaler.scale[None, :] + scaler.shift[None, :])


def affine(kind: str, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale [D] float64 of a kind fitted on rows [n, D], before the division by the largest entry."""
    if kind == "minmax":
        minmax = MinMaxScaler().fit(train)
        return np.asarray(minmax.data_min_, np.float64), np.asarray(minmax.scale_, np.float64)
    if kind == "standard":
        standard = StandardScaler().fit(train)
        return np.asarray(standard.mean_), 1.0 / np.asarray(standard.scale_)
    return np.zeros(train.shape[1]), np.ones(train.shape[1])


@dataclasses.dataclass(frozen=True)
class SemanticsScaler:
    """How descriptions are scaled: a - shift [A], times scale [A] (both float64); of "l2" each class to length 1."""

    kind: str
    shift: np.ndarray
    scale: np.ndarray


def fit_semantics(kind: str, semantics: np.ndarray) -> SemanticsScaler:
    """Fits a scaling of descriptions on those of the seen classes [c, A].

    "maximum" divides by the largest absolute entry, "standard" gives each attribute mean 0 and variance 1 (constant
    ones are shifted alone), "l2" each class unit length, "none" changes nothing.

    Raises:
      InputError: the kind is unknown.
    """
    if kind not in SEMANTICS:
        raise InputError(f"config.data.semantics_scaling: {kind!r}; choose one of {', '.join((*SEMANTICS, VALIDATED))}")
    shift, scale = np.zeros(semantics.shape[1]), np.ones(semantics.shape[1])
    if kind == "standard":
        shift, scale = affine("standard", semantics)
    if kind == "maximum":
        scale = scale / (np.abs(semantics).max(initial=0.0) or 1.0)
    return SemanticsScaler(kind, shift, scale)


def scale_semantics(scaler: SemanticsScaler, semantics: np.ndarray, where: str) -> np.ndarray:
    """Scales descriptions [C, A]; returns float32.

    Raises:
      InputError: a class to be brought to unit length is all zero; begins with `where`.
    """
    semantics = (np.asarray(semantics, np.float64) - scaler.shift[None, :]) * scaler.scale[None, :]
    if scaler.kind != "l2":
        return float32(semantics)
    norms = np.linalg.norm(semantics, axis=1, keepdims=True)
    if (norms == 0).any():
        raise InputError(f"{where}: class {np.argmin(norms) + 1} is all zero, so it can't be normalised")
    return float32(semantics / np.where(np.abs(norms - 1) < UNIT_TOLERANCE, 1.0, norms))

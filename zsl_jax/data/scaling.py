"""Scaling of features, fitted on training rows."""

import dataclasses

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from zsl_jax.data.checks import float32
from zsl_jax.errors import InputError

KINDS = ("minmax", "standard", "none")


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
    shift, scale = _affine(kind, train)
    largest = float(np.max((train.max(axis=0) - shift) * scale)) if divide and kind != "none" else 1.0
    return Scaler(float32(shift), float32(scale / largest if largest > 0 else scale))


def apply_scaler(scaler: Scaler, x: np.ndarray) -> np.ndarray:
    """Scales rows x [n, D]; returns float32 [n, D]."""
    return float32((x - scaler.shift[None, :]) * scaler.scale[None, :])


def undo_scaler(scaler: Scaler, x: np.ndarray) -> np.ndarray:
    """The rows [n, D] whose scaled ones are x [n, D], but for rounding; float32."""
    return float32(x / scaler.scale[None, :] + scaler.shift[None, :])


def _affine(kind: str, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns shift and scale [D] in float64 before the division by the largest entry."""
    if kind == "minmax":
        minmax = MinMaxScaler().fit(train)
        return np.asarray(minmax.data_min_, np.float64), np.asarray(minmax.scale_, np.float64)
    if kind == "standard":
        standard = StandardScaler().fit(train)
        return np.asarray(standard.mean_), 1.0 / np.asarray(standard.scale_)
    return np.zeros(train.shape[1]), np.ones(train.shape[1])

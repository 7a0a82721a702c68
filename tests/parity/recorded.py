"""Recorded numbers of the original implementations, and how near ours must come."""

import json
import os
import pathlib
from typing import Any

import numpy as np

OUTPUT = 1e-5  # error of outputs and losses, relative to the array's largest entry
GRADIENT = 1e-4
STEP = 1e-3  # error of an updated weight, relative to the largest step taken
ROUNDING = 1e-6  # error of an entry of a gradient, relative to the net's largest, where all its terms cancel


def folder() -> pathlib.Path:
    """Where the recordings are: ZSL_JAX_PARITY_DIR, or the vectors beside this file."""
    return pathlib.Path(os.environ.get("ZSL_JAX_PARITY_DIR") or pathlib.Path(__file__).parent / "vectors")


def load(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays and the description of one recording."""
    with np.load(folder() / f"{name}.npz", allow_pickle=False) as archive:
        arrays = dict(archive)
    return arrays, json.loads((folder() / f"{name}.json").read_text())


def under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Returns the arrays below `prefix/`, keyed by the rest of their name."""
    return {key[len(prefix) + 1 :]: value for key, value in arrays.items() if key.startswith(prefix + "/")}


def last(values: dict[str, np.ndarray], name: str) -> np.ndarray:
    """The last recorded value of a variable: `name`, or the `name__k` of the highest k."""
    found = {int(key.partition("__")[2] or 1): value for key, value in values.items() if key.partition("__")[0] == name}
    return found[max(found)]


def assert_close(actual, recorded, tolerance: float = OUTPUT, scale=None, what: str = "") -> None:
    """Asserts equal shapes and max|actual - recorded| <= tolerance * max|scale| (default: the recorded array)."""
    actual, recorded = np.asarray(actual), np.asarray(recorded)
    assert actual.shape == recorded.shape, f"{what}: shape {actual.shape}, recorded {recorded.shape}"
    reference = np.max(np.abs(recorded if scale is None else scale), initial=0.0)
    error = np.max(np.abs(actual.astype(np.float64) - recorded.astype(np.float64)), initial=0.0)
    assert error <= tolerance * reference, f"{what}: error {error:.3g} against {tolerance:.0e} x {reference:.3g}"


def assert_sum_close(actual, terms, what: str = "") -> None:
    """Asserts that `actual` is the sum of recorded terms, within OUTPUT of the largest of them: they may cancel."""
    assert_close(actual, sum(terms), scale=terms, what=what)

"""What lets a step work on one device's share of a batch under a named axis (`jax.pmap`) with one device's numbers.

Noise is drawn for the whole batch on every device, which then keeps its own rows; gradients and metrics, all of them
means over rows, are averaged over the axis. Without an axis (None) these functions change nothing.
"""

from collections.abc import Callable
from typing import Any

import jax


def all_rows(rows: int, axis: str | None) -> int:
    """Rows of the whole batch, where one device has `rows` of them."""
    return rows if axis is None else rows * jax.lax.axis_size(axis)


def own_rows(tree: Any, rows: int, axis: str | None, dim: int = 0) -> Any:
    """This device's `rows` consecutive entries along `dim` of every array of a tree."""
    if axis is None:
        return tree
    first = rows * jax.lax.axis_index(axis)
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, rows, dim), tree)


def gather_rows(tree: Any, axis: str | None, dim: int = 0) -> Any:
    """The rows of all devices, along `dim` of every array of a tree: undoes `own_rows`."""
    if axis is None:
        return tree
    return jax.tree.map(lambda leaf: jax.lax.all_gather(leaf, axis, axis=dim, tiled=True), tree)


def steps(train_step: Callable, additive: bool = True) -> dict[str, Any]:
    """A method's `train_step`, and its `mapped_step` where losses are means over rows (`additive`), else None.

    Args:
      train_step: (state, batches, key, axis) -> (state, metrics); it needs no tables.
      additive: whether devices may share a batch.
    """

    def mapped_step(state, batches, key, axis, tables=None):
        del tables
        return train_step(state, batches, key, axis)

    whole = lambda state, batches, key, tables=None: train_step(state, batches, key, None)  # noqa: E731
    return {"train_step": whole, "mapped_step": mapped_step if additive else None}


def mean(tree: Any, axis: str | None) -> Any:
    """The mean over devices of every array of a tree."""
    return tree if axis is None else jax.lax.pmean(tree, axis)

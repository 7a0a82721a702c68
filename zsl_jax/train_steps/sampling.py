"""Which training rows a batch takes: pure functions (key, rows by class, shape) -> row numbers.

Batch k of a run is a function of the run's key and of k alone. There is no state and no pass over the rows, so one
device, several, and a resumed run see the same rows in the same order.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class RowsByClass(NamedTuple):
    """Where the rows of each class are.

    n_rows: number of training rows, int32 scalar. order [N] int32: their numbers, class after class (behind them
    padding, for no class). starts, counts [C] int32: place in `order` and number of the rows of each class.
    """

    n_rows: Any
    order: Any
    starts: Any
    counts: Any


Draw = Callable[[jax.Array, RowsByClass, tuple[int, int]], jax.Array]  # -> [updates, B] int32


def rows_by_class(labels: np.ndarray, n_classes: int, capacity: int = 0) -> RowsByClass:
    """The table of labels [n], as numpy arrays; `order` is padded to `capacity` entries."""
    counts = np.bincount(labels, minlength=n_classes).astype(np.int32)
    order = np.argsort(labels, kind="stable").astype(np.int32)
    order = np.pad(order, (0, max(0, capacity - len(labels))))
    starts = (np.cumsum(counts) - counts).astype(np.int32)
    return RowsByClass(np.asarray(np.int32(len(labels))), order, starts, counts)


def floyd(key: jax.Array, count: Any, shape: tuple[int, int]) -> jax.Array:
    """Sets of `size` different numbers of 0 .. count - 1 [updates, size], in no random order; of too few, some repeat.

    Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987), in time independent of `count`.
    """
    updates, size = shape
    highest = jnp.maximum(count - size + jnp.arange(size, dtype=jnp.int32), 0)
    candidates = jax.random.randint(key, shape, 0, highest[None, :] + 1)

    def take(k: jax.Array, drawn: jax.Array) -> jax.Array:
        taken = jnp.any(drawn == candidates[:, k, None], axis=1)
        return drawn.at[:, k].set(jnp.where(taken, highest[k], candidates[:, k]))

    return jax.lax.fori_loop(0, size, take, jnp.full((updates, size), -1, jnp.int32))


def uniform(key: jax.Array, table: RowsByClass, shape: tuple[int, int]) -> jax.Array:
    """Each batch of B rows without replacement; there must be at least B rows.

    The published generators draw a permutation of all rows for each batch and keep its head, which is the same
    distribution over sets of rows.
    """
    return floyd(key, table.n_rows, shape)


def shuffled_classes(key: jax.Array, table: RowsByClass) -> tuple[jax.Array, jax.Array]:
    """The classes that have rows in random order, the others behind them [C] int32; how many have rows."""
    places = jnp.where(table.counts > 0, jax.random.uniform(key, table.counts.shape), 2.0)
    return jnp.argsort(places).astype(jnp.int32), jnp.sum(table.counts > 0, dtype=jnp.int32)


def episodes(ways: int, shots: int) -> Draw:
    """Episodes as ReZSL samples them: `ways` different classes, of each `shots` different rows, class by class.

    Batches must hold a multiple of ways * shots rows: that many independent episodes, one after another. Classes are
    equally likely whatever their size. Of fewer classes than `ways`, or rows than `shots`, some repeat.
    """

    def of_class(key: jax.Array, table: RowsByClass, number: jax.Array) -> jax.Array:
        rows_key, order_key = jax.random.split(key)
        places = jax.random.permutation(order_key, floyd(rows_key, table.counts[number], (1, shots))[0])
        return table.order[table.starts[number] + places]

    def one(key: jax.Array, table: RowsByClass) -> jax.Array:
        classes_key, rows_key = jax.random.split(key)
        classes, count = shuffled_classes(classes_key, table)
        drawn = classes[jnp.arange(ways, dtype=jnp.int32) % count]
        keys = jax.random.split(rows_key, ways)
        return jax.vmap(of_class, (0, None, 0))(keys, table, drawn).reshape(-1)

    def draw(key: jax.Array, table: RowsByClass, shape: tuple[int, int]) -> jax.Array:
        updates, size = shape
        keys = jax.random.split(key, updates * (size // (ways * shots)))
        return jax.vmap(one, (0, None))(keys, table).reshape(shape)

    return draw


def balanced(key: jax.Array, table: RowsByClass, shape: tuple[int, int]) -> jax.Array:
    """As many rows of each class as of any other: B // c of each of c classes, one more of B % c classes drawn.

    Where there are more classes than rows, B different classes get one row each. Rows of a class are drawn with
    replacement, as SC-EGG does; its batches leave the rest of B / c out, these are filled.
    """
    updates, size = shape

    def one(key: jax.Array) -> jax.Array:
        order_key, rows_key = jax.random.split(key)
        classes, count = shuffled_classes(order_key, table)
        drawn = classes[jnp.arange(size, dtype=jnp.int32) % count]  # all once before any comes twice
        places = jax.random.randint(rows_key, (size,), 0, table.counts[drawn])
        return table.order[table.starts[drawn] + places]

    return jax.vmap(one)(jax.random.split(key, updates))

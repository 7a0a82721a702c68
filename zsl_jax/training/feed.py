"""Training rows on their way into compiled steps: resident on the devices, or streamed from the host.

Both give iteration k the rows that `Method.draw` draws from the key of iteration k, so both train to the same bits.
"""

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.data import rows as row_sources
from zsl_jax.data.dataset import Part
from zsl_jax.train_steps.method import Batch, Method, Tables
from zsl_jax.train_steps.sampling import RowsByClass, rows_by_class

WINDOW_SHARE = 8  # a window of streamed batches takes at most this part of the memory allowed

Place = Callable[[tuple[int, ...], Callable[[Any], np.ndarray]], jax.Array]  # (shape, index -> array) -> on devices


class Resident(NamedTuple):
    """Training data on the devices: rows by class, views by name [N, ...], labels [N] int32, tables.

    The first `rows.n_rows` rows count; the rest pads all problems of a run to one size, so that they share compiled
    programs.
    """

    rows: RowsByClass
    views: dict[str, Any]
    labels: Any
    tables: Tables


class Window(NamedTuple):
    """Batches of some consecutive iterations: views by name [slots, updates, B, ...], labels [slots, updates, B]."""

    views: dict[str, Any]
    labels: Any
    tables: Tables


def resident(part: Part, tables: Tables, capacity: int = 0) -> Resident:
    """Training rows as numpy arrays, padded with zeros to `capacity` rows."""
    padding = max(0, capacity - len(part))

    def pad(array: np.ndarray) -> np.ndarray:
        return np.pad(array, [(0, padding)] + [(0, 0)] * (array.ndim - 1))

    table = rows_by_class(part.labels, len(tables.semantics), capacity)
    numbers = np.arange(len(part))
    views = {name: pad(row_sources.read(view, numbers)) for name, view in part.views.items()}
    return Resident(table, views, pad(part.labels), tables)


def must_stream(part: Part, memory_mb: float) -> bool:
    """Whether the views are read from sources, or take more than `memory_mb` megabytes (2^20 bytes)."""
    arrays = all(isinstance(view, np.ndarray) for view in part.views.values())
    return not arrays or sum(map(row_sources.n_bytes, part.views.values())) > memory_mb * 2**20


def iteration_keys(key: jax.Array, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Keys of the rows and of everything else that is random in an iteration."""
    rows_key, step_key = jax.random.split(jax.random.fold_in(key, step))
    return rows_key, step_key


def gather(data: Resident, rows: jax.Array) -> Batch:
    """The batches of row numbers [updates, B]."""
    labels = data.labels[rows]
    return Batch({name: view[rows] for name, view in data.views.items()}, data.tables.semantics[labels], labels)


def at(window: Window, slot: jax.Array) -> Batch:
    """The batches of one iteration of a window."""
    labels = window.labels[slot]
    return Batch({name: view[slot] for name, view in window.views.items()}, window.tables.semantics[labels], labels)


@functools.partial(jax.jit, static_argnames=("method", "batch_size", "slots"))
def draw_window(
    method: Method, batch_size: int, slots: int, table: RowsByClass, key_data: jax.Array, first: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Row numbers of consecutive iterations and a random word for each [slots, updates, B], int32 and uint32."""
    key, shape = jax.random.wrap_key_data(key_data), (method.batches_per_step, batch_size)

    def one(step: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows_key, _ = iteration_keys(key, step)
        return method.draw(rows_key, table, shape), jax.random.bits(jax.random.fold_in(rows_key, 1), shape)

    return jax.lax.map(one, first + jnp.arange(slots, dtype=jnp.int32))


class Streamed:
    """Training rows that stay on the host: read as they are needed, the next window while the devices work on one.

    A window holds the batches of at most as many iterations as fit into a share of the memory allowed.
    """

    def __init__(self, part: Part, tables: Tables, memory_mb: float):
        self.part, self.tables = part, tables
        self._limit = memory_mb * 2**20 / WINDOW_SHARE
        self._table = rows_by_class(part.labels, len(tables.semantics))
        self._reader = ThreadPoolExecutor(1, "zsl_jax-feed")
        self._ahead: dict[Any, Future[Window]] = {}

    def slots(self, method: Method, batch_size: int, most: int) -> int:
        """Iterations in a window, at least one and at most `most`."""
        n_bytes = sum(map(row_sources.n_bytes, self.part.views.values())) / max(len(self.part), 1)
        return max(1, min(most, int(self._limit / max(n_bytes * batch_size * method.batches_per_step, 1))))

    def window(self, method: Method, batch_size: int, slots: int, key: np.ndarray, first: int, place: Place) -> Window:
        """The batches of iterations first .. first + slots - 1 on the devices; begins to read those that follow.

        Raises:
          InputError: a row cannot be read.
        """

        def ask(start: int) -> Future[Window]:
            return self._reader.submit(self._read, method, batch_size, slots, key, start, place)

        name = (method, batch_size, slots, key.tobytes())
        now = self._ahead.pop((*name, first), None) or ask(first)
        self._ahead = {(*name, first + slots): ask(first + slots)}
        return now.result()

    def _read(self, method: Method, batch_size: int, slots: int, key: np.ndarray, first: int, place: Place) -> Window:
        drawn = draw_window(method, batch_size, slots, self._table, key, np.int32(first))
        rows, words = (np.asarray(array) for array in drawn)

        def on_devices(shape: tuple[int, ...], read: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> jax.Array:
            """Each process reads what its devices get, no more."""

            def part_of(index: Any) -> np.ndarray:
                numbers = rows[index[:3]]
                return read(numbers.ravel(), words[index[:3]].ravel()).reshape(*numbers.shape, *shape)

            return place((*rows.shape, *shape), part_of)

        views = {
            name: on_devices(view.shape[1:], functools.partial(row_sources.read, view))
            for name, view in self.part.views.items()
        }
        return Window(views, on_devices((), lambda numbers, _: self.part.labels[numbers]), self.tables)

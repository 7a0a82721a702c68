"""The inner loop: many iterations as one compiled program over data that stay on the device."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.data.dataset import Part
from zsl_jax.train_steps.method import Batch, Method, Metrics, TrainState
from zsl_jax.training.parallel import Layout


class Resident(NamedTuple):
    """Training data of a stage: x [N, D], r [N, R] (R = 0: none), labels [N] int32, semantics [C, A].

    The first `n_rows` (int32 scalar) rows count; the rest pads all problems of a run to one size, so that they share
    compiled programs.
    """

    n_rows: Any
    x: Any
    r: Any
    labels: Any
    semantics: Any


class Plan(NamedTuple):
    """When what happens in a stage, in iterations: an epoch ends, metrics are logged (the longest chunk)."""

    steps_per_epoch: int
    epochs: int
    log_every: int

    @property
    def total(self) -> int:
        """Iterations of the whole stage."""
        return self.steps_per_epoch * self.epochs


# (state, data, stage key as raw data, first step, number of steps) -> (state, metrics by name [log_every])
Chunk = Callable[[TrainState, Resident, np.ndarray, Any, Any], tuple[TrainState, Metrics]]


def steps_per_epoch(n_rows: int, batch_size: int) -> int:
    """Iterations of an epoch: as many batches as hold the training rows."""
    return -(-n_rows // batch_size)


def pad(part: Part, semantics: np.ndarray, capacity: int = 0) -> Resident:
    """Training rows as numpy arrays, padded with zeros to `capacity` rows."""
    r = np.zeros((len(part.x), 0), np.float32) if part.r is None else part.r
    padding = max(0, capacity - len(part.x))
    rows = [np.pad(array, [(0, padding)] + [(0, 0)] * (array.ndim - 1)) for array in (part.x, r, part.labels)]
    return Resident(*map(np.asarray, (np.int32(len(part.x)), *rows, semantics)))


def draw_rows(key: jax.Array, n_rows: int | jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Row numbers [updates, B] int32: each batch of B rows without replacement, in time independent of n_rows.

    Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987). The published code draws a permutation of all rows for
    each batch and keeps its head, which is the same distribution over sets of rows. There must be at least B rows.
    """
    updates, size = shape
    highest = n_rows - size + jnp.arange(size, dtype=jnp.int32)
    candidates = jax.random.randint(key, shape, 0, highest[None, :] + 1)

    def take(k: jax.Array, rows: jax.Array) -> jax.Array:
        taken = jnp.any(rows == candidates[:, k, None], axis=1)
        return rows.at[:, k].set(jnp.where(taken, highest[k], candidates[:, k]))

    return jax.lax.fori_loop(0, size, take, jnp.full((updates, size), -1, jnp.int32))


def gather(data: Resident, rows: jax.Array) -> Batch:
    """The batches of row numbers [updates, B]."""
    labels = data.labels[rows]
    return Batch(data.x[rows], data.r[rows], data.semantics[labels], labels)


def chunk_function(method: Method, batch_size: int, log_every: int, layout: Layout) -> Chunk:
    """The program of up to `log_every` iterations, not compiled yet.

    The number of iterations is traced, so one compilation serves chunks of any length. Iteration k draws its rows and
    its noise from the stage's key folded with k: where chunks begin does not matter.
    """

    def one(state: TrainState, data: Resident, key: jax.Array, step: jax.Array) -> tuple[TrainState, Metrics]:
        rows_key, step_key = jax.random.split(jax.random.fold_in(key, step))
        rows = draw_rows(rows_key, data.n_rows, (method.batches_per_step, batch_size))
        return layout.step(method, state, functools.partial(gather, data), rows, step_key)

    def run(state, data, key_data, first, length):
        key = jax.random.wrap_key_data(key_data)
        shapes = jax.eval_shape(one, state, data, key, first)[1]
        empty = {name: jnp.zeros((log_every,), shape.dtype) for name, shape in shapes.items()}

        def body(k, carry):
            state, logged = carry
            state, metrics = one(state, data, key, first + k)
            return state, {name: logged[name].at[k].set(value) for name, value in metrics.items()}

        return jax.lax.fori_loop(0, length, body, (state, empty))

    return run


@functools.lru_cache(maxsize=8)
def make_chunk(method: Method, batch_size: int, log_every: int, layout: Layout) -> Chunk:
    """Compiles up to `log_every` iterations into one program; the state is donated."""
    return layout.compile(chunk_function(method, batch_size, log_every, layout))


def chunk_ends(plan: Plan, start: int) -> Iterator[int]:
    """Ends of the chunks from iteration `start` on: every `log_every` iterations and at the end of every epoch."""
    step = start
    while step < plan.total:
        in_epoch = step % plan.steps_per_epoch
        log_end = (in_epoch // plan.log_every + 1) * plan.log_every
        step += min(log_end, plan.steps_per_epoch) - in_epoch
        yield step


def first_bad(metrics: dict[str, np.ndarray]) -> tuple[str, int] | None:
    """The first term that is not finite and its place in the chunk, or None; metrics by name [length].

    In one iteration a loss comes before what follows from it, such as a gradient norm.
    """
    broken = {name: ~np.isfinite(values) for name, values in metrics.items()}
    bad = [(int(np.argmax(where)), not name.startswith("loss"), name) for name, where in broken.items() if where.any()]
    place, _, name = min(bad, default=(0, False, ""))
    return (name, place) if bad else None

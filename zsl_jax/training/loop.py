"""The inner loop: many iterations as one compiled program over data on the devices."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.train_steps.method import Method, Metrics, TrainState
from zsl_jax.training import feed
from zsl_jax.training.parallel import Layout


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
Data = feed.Resident | feed.Window
Chunk = Callable[[TrainState, Data, np.ndarray, Any, Any], tuple[TrainState, Metrics]]


def steps_per_epoch(n_rows: int, batch_size: int) -> int:
    """Iterations of an epoch: as many batches as hold the training rows."""
    return -(-n_rows // batch_size)


def chunk_function(method: Method, batch_size: int, log_every: int, layout: Layout) -> Chunk:
    """The program of up to `log_every` iterations, not compiled yet.

    The number of iterations is traced, so one compilation serves chunks of any length. Iteration k draws its rows and
    its noise from the stage's key folded with k: where chunks begin does not matter.
    """

    def one(
        state: TrainState, data: Data, key: jax.Array, first: jax.Array, k: jax.Array
    ) -> tuple[TrainState, Metrics]:
        rows_key, step_key = feed.iteration_keys(key, first + k)
        if isinstance(data, feed.Window):
            return layout.step(method, state, feed.at(data, k), step_key, data.tables)
        rows = method.draw(rows_key, data.rows, (method.batches_per_step, batch_size))
        return layout.step_on_rows(method, state, data, rows, step_key)

    def run(state, data, key_data, first, length):
        key = jax.random.wrap_key_data(key_data)
        shapes = jax.eval_shape(one, state, data, key, first, first)[1]
        empty = {name: jnp.zeros((log_every,), shape.dtype) for name, shape in shapes.items()}

        def body(k, carry):
            state, logged = carry
            state, metrics = one(state, data, key, first, k)
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

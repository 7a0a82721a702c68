"""Runs trained side by side: each asks for a chunk of iterations, equal chunks of several runs are one program.

A run is a generator: it yields a `Request` and is sent the `Answer`; what it returns is its result. `drive` serves one
run, `drive_all` many: requests for the same program, steps and data shapes are stacked along a leading axis of runs
and vmapped, the axis split over the devices where it can be.
"""

import collections
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Generator, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.train_steps.method import Method, Metrics, Tables
from zsl_jax.training import feed, loop
from zsl_jax.training.parallel import AXIS, Devices, Layout, Sharded

SHARE = 0.5  # of a device's memory that stacked states may take
COPIES = 3  # of a state that are alive at once
MOST = 64  # runs under way unless asked for: each holds files open


class Program(NamedTuple):
    """What is compiled: see `loop.make_chunk`."""

    method: Method
    batch_size: int
    log_every: int
    layout: Layout


class Rows(NamedTuple):
    """Training data, as numpy arrays or streamed, and a digest by which runs with the same rows share one copy."""

    digest: str
    data: feed.Resident | feed.Streamed


@dataclasses.dataclass(frozen=True)
class DeviceState:
    """A run's state on the devices: alone, or number `index` of states stacked along a leading axis."""

    stack: Any
    index: int | None = None

    def state(self) -> Any:
        """The state alone."""
        if self.index is None:
            return self.stack
        # A slice of what is split over devices is on all of them: take the first one's.
        return jax.tree.map(lambda leaf: leaf[self.index].addressable_data(0), self.stack)


class Request(NamedTuple):
    """A chunk that a run needs: iterations first .. first + length - 1; `held` is used up."""

    program: Program
    held: DeviceState
    rows: Rows
    key: np.ndarray
    first: int
    length: int


class Answer(NamedTuple):
    """The state after a chunk, its metrics by name [length], and the run's share of the seconds that it took.

    The seconds of a program are divided by the runs in it, so that those of all runs add up to the time spent.
    """

    held: DeviceState
    metrics: dict[str, np.ndarray]
    seconds: float


type Run[Result] = Generator[Request, Answer, Result]
type Finish = Callable[[int, Any], None]


class Uploads:
    """Data on the devices, the latest few: uploaded once, whoever asks."""

    def __init__(self, most: int):
        self._most, self._kept = most, collections.OrderedDict()

    def get(self, name: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` made when `name` was first asked for."""
        if name not in self._kept:
            while len(self._kept) >= self._most:
                self._kept.popitem(last=False)
            self._kept[name] = make()
        self._kept.move_to_end(name)
        return self._kept[name]


def drive[Result](run: Run[Result]) -> Result:
    """Serves one run to its end; returns its result or raises what ended it."""
    uploads = Uploads(1)
    try:
        request = next(run)
        while True:
            request = run.send(serve(request, uploads))
    except StopIteration as stop:
        return stop.value


def serve(request: Request, uploads: Uploads) -> Answer:
    """Executes one chunk."""
    began = time.perf_counter()
    rows, layout = request.rows, request.program.layout
    if isinstance(rows.data, feed.Streamed):
        tables = uploads.get((layout, rows.digest), lambda: layout.place(rows.data.tables))
        state, metrics = serve_stream(request, rows.data, tables)
    else:
        data = uploads.get((layout, rows.digest), lambda: layout.place(rows.data))
        chunk = loop.make_chunk(*request.program)
        state, logged = chunk(
            request.held.state(), data, request.key, np.int32(request.first), np.int32(request.length)
        )
        metrics = _cut(jax.device_get(logged), request.length)
    return Answer(DeviceState(state), metrics, time.perf_counter() - began)


def serve_stream(request: Request, stream: feed.Streamed, tables: Tables) -> tuple[Any, dict[str, np.ndarray]]:
    """The state after a chunk whose batches are read window by window, and its metrics [length]."""
    method, batch_size, log_every, layout = request.program
    slots = stream.slots(method, batch_size, log_every)
    chunk = loop.make_chunk(method, batch_size, slots, layout)
    state, parts, end = request.held.state(), [], request.first + request.length
    for first in range(request.first, end, slots):
        window = stream.window(method, batch_size, slots, request.key, first, layout.place_shares)
        length = min(slots, end - first)
        window = window._replace(tables=tables)
        state, logged = chunk(state, window, request.key, np.int32(first), np.int32(length))
        parts.append(_cut(jax.device_get(logged), length))
    return state, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Live(NamedTuple):
    """A run that waits for an answer."""

    number: int
    run: Run[Any]
    request: Request


def drive_all(runs: Sequence[Run[Any]], most: int, devices: Devices, finish: Finish) -> None:
    """Serves many runs to their ends.

    Args:
      runs: generators.
      most: how many may be under way at a time; 0: as memory allows, see `fitting`.
      devices: over which stacks are split, where their sizes are multiples of the number of devices.
      finish: called with the number of a run and its result, or the exception that ended it, as soon as it ends.
    """
    uploads, waiting = Uploads(2), collections.deque(enumerate(runs))
    live: list[_Live] = []
    limit = most or 1
    while live or waiting:
        while waiting and len(live) < limit:
            if started := _advance(*waiting.popleft(), None, finish):
                live.append(started)
                limit = most or fitting(started.request, devices[0])
        if not live:
            return
        group = _largest_group(live)
        group = group[: even(min(len(group), most or fitting(group[0].request, devices[0])), len(devices))]
        try:
            answers: list[Any] = serve_together([one.request for one in group], devices, uploads)
        except Exception as error:  # e.g. out of memory: the other groups go on
            answers = [error] * len(group)
        served = {one.number: answer for one, answer in zip(group, answers, strict=True)}
        # Nothing here may keep an answer's arrays alive beyond its run: a stage that is over frees its stack.
        del group, answers
        after = [
            _advance(one.number, one.run, served.pop(one.number), finish) if one.number in served else one
            for one in live
        ]
        live = [one for one in after if one is not None]


def even(count: int, devices: int) -> int:
    """The most runs, up to `count`, that devices share evenly; fewer than devices are not split."""
    return count - count % devices if count > devices else count


def fitting(request: Request, device: Any) -> int:
    """How many runs like this one fit into a device's memory: a state, its update, as much for gradients, the rows."""
    held = request.held
    stacked = sum(leaf.nbytes for leaf in jax.tree.leaves(held.stack))
    state = stacked if held.index is None else stacked // len(jax.tree.leaves(held.stack)[0])
    data = request.rows.data
    rows = 0 if isinstance(data, feed.Streamed) else sum(leaf.nbytes for leaf in jax.tree.leaves(data))
    return min(MOST, max(1, int(SHARE * memory_of(device) / max(COPIES * state + rows, 1))))


def memory_of(device: Any) -> int:
    """Bytes that a device has; CPU devices share the machine's memory."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // jax.local_device_count()


def _advance(number: int, run: Run[Any], answer: Answer | Exception | None, finish: Finish) -> _Live | None:
    """Lets a run go on to its next request, or end with an exception; None when it has ended."""
    try:
        if isinstance(answer, Exception):
            return _Live(number, run, run.throw(answer))
        return _Live(number, run, next(run) if answer is None else run.send(answer))
    except StopIteration as stop:
        finish(number, stop.value)
    except Exception as error:
        finish(number, error)
    return None


def _largest_group(live: Sequence[_Live]) -> list[_Live]:
    """Runs whose requests are one program. Those that are alone wait, so that runs which drift apart meet again."""
    groups: dict[Hashable, list[_Live]] = {}
    for one in live:
        groups.setdefault(_likeness(one.request), []).append(one)
    return max(groups.values(), key=len)


def _likeness(request: Request) -> Hashable:
    """Equal for requests that can be one program."""
    data = request.rows.data
    if isinstance(data, feed.Streamed):  # never alike: each reads rows of its own
        return id(data)
    shapes = tuple((leaf.shape, leaf.dtype.name) for leaf in jax.tree.leaves(data))
    return request.program, request.first, request.length, shapes


def serve_together(requests: Sequence[Request], devices: Devices, uploads: Uploads) -> list[Answer]:
    """Executes chunks that are alike as one program over a leading axis of runs."""
    first = requests[0]
    if len(requests) == 1:
        return [serve(first, uploads)]
    began = time.perf_counter()
    layout = Sharded(devices if len(requests) % len(devices) == 0 else devices[:1])
    digests = tuple(request.rows.digest for request in requests)
    if shared := len(set(digests)) == 1:
        data = uploads.get((layout, digests[0]), lambda: layout.place(first.rows.data))
    else:
        data = uploads.get((layout, digests), lambda: _stack([request.rows.data for request in requests], layout))
    stack = _stack_states([request.held for request in requests], layout)
    keys = np.stack([request.key for request in requests])
    chunk = make_stacked_chunk(first.program, shared)
    stack, logged = chunk(stack, data, keys, np.int32(first.first), np.int32(first.length))
    logged = jax.device_get(logged)
    share = (time.perf_counter() - began) / len(requests)
    of_runs = ({name: values[number] for name, values in logged.items()} for number in range(len(requests)))
    return [
        Answer(DeviceState(stack, number), _cut(metrics, first.length), share) for number, metrics in enumerate(of_runs)
    ]


@functools.lru_cache(maxsize=8)
def make_stacked_chunk(program: Program, shared_data: bool) -> Callable[..., tuple[Any, Metrics]]:
    """Compiles a chunk over a leading axis of runs; the stacked states are donated."""
    one_run = loop.chunk_function(*program)
    return jax.jit(jax.vmap(one_run, in_axes=(0, None if shared_data else 0, 0, None, None)), donate_argnums=0)


def _stack_states(held: Sequence[DeviceState], layout: Sharded) -> Any:
    """The states along a leading axis; untouched where they are just such a stack already."""
    stack = held[0].stack
    together = all(one.stack is stack and one.index == number for number, one in enumerate(held))
    if together and jax.tree.leaves(stack)[0].shape[0] == len(held):
        return stack
    return _stack([one.state() for one in held], layout)


def _stack(trees: Sequence[Any], layout: Sharded) -> Any:
    """Arrays of several runs along a leading axis, which is split over the devices."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
    return jax.device_put(stacked, layout.sharding(AXIS))


def _cut(logged: dict[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
    return {name: values[:length] for name, values in logged.items()}

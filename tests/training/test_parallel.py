"""One device, eight, a pmap over eight, runs stacked on one another, chunks of any length: the same numbers."""

import dataclasses
import functools
import itertools
import types
from collections.abc import Callable
from typing import Any

import chex
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests import linear, tiny
from tests.tiny import SPEC, TABLES, batches, bits
from zsl_jax.config import defaults
from zsl_jax.data.dataset import Part
from zsl_jax.errors import InputError
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Method, TrainState, hyper_parameters
from zsl_jax.training import feed, lockstep, loop
from zsl_jax.training.lockstep import DeviceState, Program, Request, Uploads
from zsl_jax.training.parallel import Layout, Mapped, Sharded, check_batch_sizes, make_layout
from zsl_jax.training.stage import raw

STAGES = ("finetune_x", "finetune_r", "drg", "dfg")
ROWS, STEPS = 16, 3
ONE, EIGHT = Sharded((jax.devices()[0],)), Sharded(tuple(jax.devices()))
PMAP = Mapped(tuple(jax.devices()))


@functools.cache
def config() -> Any:
    """Of ZeroDiff's stages, and of the linear method for what has nothing to do with the method."""
    made = tiny.narrow(defaults.zerodiff())
    made.finetune_r.paco.queue = ROWS
    made.linear = linear.config("linear").linear
    for name in (*STAGES, "linear"):
        made[name].batch_size = ROWS
    return made


def upstream(stage: str) -> dict[str, Any]:
    if stage != "dfg":
        return {}
    drg = registry.build(config(), "drg", SPEC)
    shapes = jax.eval_shape(drg.init, jax.random.key(0), {}, tiny.hyper(config(), "drg", drg))
    return {"drg": {"generator": jax.tree.map(np.asarray, tiny.random_like(shapes.params["generator"]))}}


@functools.cache
def starting(method: Method) -> Callable[..., TrainState]:
    """The function that makes a first state: one for each method, so that it is compiled once."""
    return lambda key_data, given, numbers: method.init(jax.random.wrap_key_data(key_data), given, numbers, TABLES)


def request(stage: str, layout: Layout, rate: float | None = None, seed: int = 0, n_rows: int = 40) -> Request:
    """The first chunk of a stage."""
    method = registry.build(config(), stage, SPEC)
    hyper = hyper_parameters(config()[stage], registry.find(stage).numbers) | (
        {} if rate is None else {"lr": np.float32(rate)}
    )
    drawn = batches((n_rows,))
    arrays = feed.resident(Part(jax.device_get(drawn.views), np.asarray(drawn.labels)), TABLES)
    rows = lockstep.Rows(f"{seed} {n_rows}", arrays)
    state = layout.start(starting(method), raw(jax.random.key(seed)), upstream(stage), hyper)
    key = raw(jax.random.key(100 + seed))
    return Request(Program(method, ROWS, STEPS, layout), DeviceState(state), rows, key, 0, STEPS)


@functools.cache
def trained(stage: str, layout: Layout) -> tuple[Any, dict[str, np.ndarray]]:
    answer = lockstep.serve(request(stage, layout), Uploads(1))
    return jax.device_get(layout.local(answer.held.state())), answer.metrics


def assert_alike(one: Any, other: Any, tolerance: float = 2e-5) -> None:
    """Equal but for the order of sums, relative to the largest entry of each array."""
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        largest = max(float(np.abs(left).max(initial=0)), 1e-3)
        np.testing.assert_allclose(
            np.asarray(right, np.float64), np.asarray(left, np.float64), atol=tolerance * largest
        )


# Each method has a step of its own under pmap; to what the compiler shards all are programs: two of them will do.
@pytest.mark.parametrize(
    ("stage", "layout"),
    [*((stage, PMAP) for stage in STAGES), ("finetune_r", EIGHT), ("dfg", EIGHT)],
    ids=[*(f"{stage}-pmap" for stage in STAGES), "finetune_r-sharded", "dfg-sharded"],
)
def test_eight_devices_have_the_numbers_of_one(stage, layout):
    state, metrics = trained(stage, ONE)
    spread_state, spread_metrics = trained(stage, layout)
    assert_alike(metrics, spread_metrics, 1e-4)
    # Adam makes full steps of rounding errors where a gradient is zero: compare what it averages, not where it goes.
    assert_alike(first_moments(state), first_moments(spread_state), 1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_the_same_bits_however_iterations_are_chunked(stage):
    whole, uploads, asked = trained(stage, ONE), Uploads(1), request(stage, ONE)
    for first, length in ((0, 1), (1, STEPS - 1)):
        answer = lockstep.serve(asked._replace(first=first, length=length), uploads)
        asked = asked._replace(held=answer.held)
    assert bits(asked.held.state()) == bits(whole[0])


def test_chunks_of_all_lengths_are_one_program():
    asked = request("linear", ONE)
    chex.clear_trace_counter()
    counted = chex.assert_max_traces(asked.program.method.train_step, n=2)  # shapes of the metrics; the program
    method = dataclasses.replace(asked.program.method, train_step=counted)
    asked = asked._replace(program=asked.program._replace(method=method))
    for first, length in ((0, 1), (1, 2), (3, 3)):
        asked = asked._replace(first=first, length=length)
        asked = asked._replace(held=lockstep.serve(asked, Uploads(1)).held)


def first_moments(state: Any) -> dict[str, Any]:
    """Adam's running means of the gradients, by name."""
    leaves = jax.tree_util.tree_leaves_with_path(state.opt)
    named = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    return {name: leaf for name, leaf in named.items() if ".mu" in name}


def test_eight_devices_share_the_rows_of_a_batch():
    """No device computes a whole batch: the program of one of eight does under half the work of one alone."""
    made = request("drg", EIGHT)
    chunk = loop.make_chunk(*made.program)
    data = EIGHT.place(made.rows.data)
    spread = chunk.lower(made.held.state(), data, made.key, np.int32(0), np.int32(STEPS)).compile()
    whole = request("drg", ONE)
    alone = loop.make_chunk(*whole.program).lower(
        whole.held.state(), ONE.place(whole.rows.data), whole.key, np.int32(0), np.int32(STEPS)
    )
    share = spread.cost_analysis()["flops"] / alone.compile().cost_analysis()["flops"]
    assert share < 0.5


def test_a_checkpoint_of_one_layout_restores_into_another():
    for layout in (ONE, EIGHT, PMAP):
        tree = {"w": np.arange(6.0, dtype=np.float32).reshape(2, 3)}
        placed = layout.unstored(layout.place(tree) if layout is not PMAP else tree)
        stored = layout.stored(placed)
        np.testing.assert_array_equal(np.asarray(jax.tree.leaves(stored)[0]), tree["w"])


def test_stacked_runs_have_the_numbers_of_single_ones(monkeypatch):
    rates, seeds = (1e-4, 1e-3, 5e-4), (0, 0, 1)
    cells = [{"rate": rate, "seed": seed} for rate, seed in zip(rates, seeds, strict=True)]
    singles = [lockstep.serve(request("drg", ONE, **cell), Uploads(1)) for cell in cells]
    monkeypatch.setattr(lockstep, "time", types.SimpleNamespace(perf_counter=itertools.count(0, 6).__next__))
    stacked = lockstep.serve_together([request("drg", ONE, **cell) for cell in cells], ONE.devices, Uploads(3))
    for single, one in zip(singles, stacked, strict=True):
        assert one.seconds == 6 / len(cells)
        assert_alike(single.metrics, one.metrics, 1e-4)
        assert_alike(first_moments(single.held.state()), first_moments(one.held.state()), 1e-4)
    assert not np.allclose(stacked[0].metrics["loss/critic"], stacked[2].metrics["loss/critic"])


def test_stacks_are_split_over_devices_and_kept_between_chunks():
    uploads = Uploads(3)
    asked = [request("linear", ONE, seed=seed) for seed in range(8)]
    answers = lockstep.serve_together(asked, EIGHT.devices, uploads)
    leaf = jax.tree.leaves(answers[0].held.stack)[0]
    assert len(leaf.sharding.device_set) == 8
    again = [ask._replace(held=answer.held, first=STEPS) for ask, answer in zip(asked, answers, strict=True)]
    assert lockstep._stack_states([ask.held for ask in again], EIGHT) is answers[0].held.stack
    longer = lockstep.serve_together(again, EIGHT.devices, uploads)
    assert all(np.isfinite(answer.metrics["loss"]).all() for answer in longer)


def counting_run(chunks: int, finished: list[int], number: int, breaks: bool = False):
    """A run of `chunks` chunks of a stage, which may break at its end."""
    asked = request("linear", ONE, seed=number)
    for chunk in range(chunks):
        answer = yield asked._replace(first=chunk * STEPS)
        asked = asked._replace(held=answer.held)
    if breaks:
        raise ValueError("broken")
    finished.append(number)
    return number


@pytest.mark.parametrize(("most", "devices"), [(3, ONE.devices), (4, EIGHT.devices[:2]), (0, EIGHT.devices[:4])])
def test_runs_of_different_lengths_all_end(most, devices):
    finished: list[int] = []
    ends: dict[int, Any] = {}
    runs = [counting_run(chunks, finished, number, breaks=number == 2) for number, chunks in enumerate((2, 1, 2, 3))]
    lockstep.drive_all(runs, most=most, devices=devices, finish=ends.__setitem__)
    assert sorted(finished) == [0, 1, 3]
    assert {number: end for number, end in ends.items() if number != 2} == {0: 0, 1: 1, 3: 3}
    assert isinstance(ends[2], ValueError)


def test_methods_that_differ_in_numbers_are_one():
    other: Any = ConfigDict(config().to_dict())
    other.seed, other.drg.lr, other.drg.gamma_x0, other.eval.every = 7, 0.5, 0.0, 3
    assert registry.build(other, "drg", SPEC) is registry.build(config(), "drg", SPEC)
    other.drg.generator_width += 1
    assert registry.build(other, "drg", SPEC) is not registry.build(config(), "drg", SPEC)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "shards", "devices": 1}, "config.parallel.mode: 'shards'; choose one of"),
        ({"mode": "pmap", "devices": 9}, "config.parallel.devices: 9, but there are 8"),
        ({"mode": "sharded", "devices": -1}, "config.parallel.devices: -1"),
    ],
)
def test_impossible_layouts_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        make_layout(ConfigDict(options))


def test_layouts_and_batches():
    assert make_layout(ConfigDict({"mode": "sharded", "devices": 0})) == EIGHT
    assert make_layout(ConfigDict({"mode": "pmap", "devices": 8})) == PMAP
    uneven: Any = ConfigDict(config().to_dict())
    uneven.dfg.batch_size = 20
    check_batch_sizes(uneven, ONE)
    with pytest.raises(InputError, match="20 rows cannot be split over 8 devices"):
        check_batch_sizes(uneven, EIGHT)

"""Row sampling, chunk boundaries and the compiled chunk."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zsl_jax.data.dataset import Part
from zsl_jax.train_steps import sampling
from zsl_jax.train_steps.method import Method, Tables, TrainState
from zsl_jax.training import feed, loop
from zsl_jax.training.parallel import Sharded
from zsl_jax.training.stage import raw

LAYOUT = Sharded((jax.devices()[0],))
TABLES = Tables(np.eye(4, dtype=np.float32), np.ones(4, bool), np.zeros((4, 0), np.float32))


def counting_method(trace_limit: int = 1) -> Method:
    """A method whose state sums what it sees."""

    @chex.assert_max_traces(n=trace_limit)
    def train_step(state, batches, key, tables):
        del tables
        seen = jnp.mean(batches.x) + jax.random.normal(key)
        total = state.params["total"] + seen
        return state._replace(params={"total": total}), {"seen": seen, "total": total}

    def init(key, upstream, hyper, tables):
        del key, upstream, hyper, tables
        return TrainState({"total": jnp.float32(0)}, {}, {}, {}, {})

    counted: Any = train_step
    return Method("counting", 3, init, counted, inference=lambda state: state.params)


def begin(method: Method) -> TrainState:
    return LAYOUT.place(jax.device_get(method.init(jax.random.key(0), {}, {}, TABLES)))


def data(n_rows: int = 40) -> feed.Resident:
    x = np.arange(n_rows, dtype=np.float32)[:, None]
    return LAYOUT.place(feed.resident(Part({"x": x}, (np.arange(n_rows) % 4).astype(np.int32)), TABLES))


def test_padding_rows_are_never_drawn():
    method, key = counting_method(trace_limit=4), jax.random.key(5)
    part = Part({"x": np.ones((6, 1), np.float32)}, np.zeros(6, np.int32))
    padded = LAYOUT.place(feed.resident(part, TABLES, capacity=50))
    assert padded.views["x"].shape == (50, 1)
    rows = sampling.uniform(key, padded.rows, (50, 4))
    assert int(rows.max()) < 6
    run = loop.make_chunk(method, 4, 3, LAYOUT)
    _, logged = run(begin(method), padded, raw(key), 0, 3)
    _, unpadded = run(begin(method), LAYOUT.place(feed.resident(part, TABLES)), raw(key), 0, 3)
    np.testing.assert_array_equal(logged["seen"], unpadded["seen"])


@pytest.mark.parametrize("start", [0, 3, 10, 14, 20])
def test_chunks_end_at_logs_and_epochs(start):
    ends = list(loop.chunk_ends(loop.Plan(steps_per_epoch=10, epochs=2, log_every=4), start))
    assert ends == [end for end in (4, 8, 10, 14, 18, 20) if end > start]


def test_chunks_of_any_length_are_one_trace_and_the_same_numbers():
    method = counting_method(trace_limit=2)  # one for the shapes of the metrics, one for the program
    run = loop.make_chunk(method, batch_size=4, log_every=6, layout=LAYOUT)
    key, rows = jax.random.key(3), data()
    whole, logged = run(begin(method), rows, raw(key), 0, 6)
    state = begin(method)
    parts = []
    for first, length in ((0, 1), (1, 3), (4, 2)):
        state, metrics = run(state, rows, raw(key), first, length)
        parts.append(np.asarray(metrics["seen"])[:length])
    np.testing.assert_array_equal(np.asarray(logged["seen"]), np.concatenate(parts))
    assert float(whole.params["total"]) == float(state.params["total"])


def test_the_first_bad_term_is_named():
    fine, late, early = np.zeros(4), np.array([0, 0, 0, np.nan]), np.array([0, np.inf, 0, 0])
    assert loop.first_bad({"fine": fine}) is None
    assert loop.first_bad({"fine": fine, "late": late, "early": early}) == ("early", 1)

"""A stage from outside: it resumes to the same bits, stops early, stops when asked, and stops when numbers break."""

import dataclasses
import functools
import os
import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tiny import StopAfter, bits, difference, untimed
from zsl_jax.data.dataset import Part
from zsl_jax.errors import InputError
from zsl_jax.train_steps.method import Method, Tables, TrainState
from zsl_jax.training import processes
from zsl_jax.training.checkpoints import open_checkpoints
from zsl_jax.training.lockstep import drive
from zsl_jax.training.parallel import Sharded
from zsl_jax.training.stage import Diverged, Stage, load_inference, run_stage
from zsl_jax.training.stopping import Interrupted, StopRequest, watch_signals
from zsl_jax.training.workdir import METRICS, RunWriter, read_metrics

ROWS, BATCH, PER_EPOCH = 20, 5, 4


@functools.cache
def method(breaks_at: int = -1) -> Method:
    """A noisy descent towards the mean row; its loss is NaN in iteration `breaks_at` (1-based)."""

    def init(key, upstream, hyper, tables):
        del upstream, hyper, tables
        return TrainState({"net": jax.random.normal(key, (3,))}, {}, {}, {}, {"done": jnp.int32(0)})

    def train_step(state, batches, key, tables):
        del tables
        gradient = state.params["net"] - jnp.mean(batches.x, axis=(0, 1)) + jax.random.normal(key, (3,))
        done = state.extra["done"] + jnp.int32(1)
        loss = jnp.where(done == breaks_at, jnp.nan, jnp.sum(gradient**2))
        state = state._replace(params={"net": state.params["net"] - 0.1 * gradient}, extra={"done": done})
        return state, {"loss/critic": loss, "norm": jnp.max(gradient)}

    return Method("descent", 2, init, train_step, inference=lambda state: state.params)


def evaluate(scores: tuple[float, ...], params: Any, epoch: int, key: jax.Array) -> dict[str, Any]:
    """An evaluation with a known score that depends on the state and on the key too."""
    found = {"net": np.asarray(params["net"]), "draw": float(jax.random.normal(key))}
    return {"scores": found, "log": {"first": found["net"][0]}, "score": scores[epoch]}


def make_stage(directory: Path, scores: tuple[float, ...] = (1.0, 3.0, 2.0), breaks_at: int = -1, **fields) -> Stage:
    rows = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
    stage = Stage(
        name="toy",
        method=method(breaks_at),
        train=Part({"x": rows}, np.zeros(ROWS, np.int32)),
        tables=Tables(np.zeros((1, 2), np.float32), np.ones(1, bool), np.zeros((2, 0), np.float32)),
        digest="",
        key=jax.random.key(4),
        directory=directory,
        batch_size=BATCH,
        epochs=len(scores),
        log_every=3,
        eval_first=0,
        eval_every=1,
        checkpoint_every=0,
        upstream={},
        evaluate=functools.partial(evaluate, scores),
        hyper={},
        layout=Sharded((jax.devices()[0],)),
    )
    return dataclasses.replace(stage, **fields)


def run(stage: Stage, stop: StopRequest | None = None):
    stage.directory.mkdir(exist_ok=True)
    with RunWriter(stage.directory, tensorboard=False) as writer:
        return drive(run_stage(stage, writer, ("before", stage.name, "after"), stop or StopRequest()))


def kept(stage: Stage) -> list[int]:
    with open_checkpoints(stage.directory / "checkpoints" / stage.name) as checkpoints:
        return checkpoints.steps()


def traces(stage: Stage) -> tuple[Any, ...]:
    """All that a run leaves: metrics without times, evaluations."""
    files = sorted((stage.directory / "evaluations").iterdir())
    return untimed(read_metrics(stage.directory / METRICS)), {path.name: path.read_bytes() for path in files}


def interrupt_until_done(stage: Stage, stop: type[StopRequest], error: type[BaseException]) -> tuple[Any, int]:
    """Runs a stage again and again, each run ended by `stop`; returns where it came to and the number of runs."""
    for runs in range(1, 20):
        try:
            return run(stage, stop()), runs
        except error:
            continue
    raise AssertionError("the stage never ends")


class StopSoon(StopAfter):
    """SIGTERM after the first chunk."""

    chunks = 1


class Crash(StopAfter):
    """A failure that nothing is saved for, in the third chunk."""

    chunks = 3

    @property
    def signum(self):
        if super().signum is not None:
            raise MemoryError
        return None


@pytest.mark.parametrize("fields", [{}, {"eval_every": 2, "checkpoint_every": 1, "log_every": 2}])
@pytest.mark.parametrize(("stop", "error"), [(StopSoon, Interrupted), (Crash, MemoryError)])
def test_a_run_that_was_ended_again_and_again_leaves_the_same(tmp_path, stop, error, fields):
    whole, parts = (make_stage(tmp_path / name, **fields) for name in ("whole", "parts"))
    straight = run(whole)
    resumed, runs = interrupt_until_done(parts, stop, error)
    assert runs > 2
    assert bits(resumed.state) == bits(straight.state)
    assert int(resumed.state.extra["done"]) == whole.plan.total
    assert traces(parts) == traces(whole)
    assert kept(parts) == kept(whole)


def test_a_stop_is_saved_and_says_where(tmp_path):
    stage = make_stage(tmp_path)
    with pytest.raises(Interrupted, match="SIGTERM in stage toy after 3 iterations, saved") as caught:
        run(stage, StopSoon())
    assert caught.value.signum == signal.SIGTERM
    assert kept(stage) == [3]


def test_a_finished_stage_is_left_alone(tmp_path):
    stage = make_stage(tmp_path)
    first = run(stage)
    lines = (tmp_path / METRICS).read_bytes()
    again = run(dataclasses.replace(stage, evaluate=lambda *_: pytest.fail("evaluated again")))
    assert bits(again.state) == bits(first.state)
    assert [one["epoch"] for one in again.evaluations] == [0, 1, 2]
    assert (tmp_path / METRICS).read_bytes() == lines


def test_latest_best_and_chosen_epochs_are_kept(tmp_path):
    stage = make_stage(tmp_path, scores=(1.0, 2.0, 9.0, 3.0, 1.0, 0.0), keep_epochs=(1,))
    done = run(stage)
    assert kept(stage) == [stage.step_of(epoch) for epoch in (1, 2, 5)]
    for epoch in (1, 2, 5):
        params = load_inference(stage, epoch)
        np.testing.assert_array_equal(params["net"], done.evaluations[epoch]["scores"]["net"])
    with pytest.raises(InputError, match="no checkpoint of step 16"):
        load_inference(stage, 3)


def test_early_stopping(tmp_path):
    stage = make_stage(tmp_path, scores=(1.0, 3.0, 2.0, 3.0, 9.0, 9.0), patience=2)
    done = run(stage)
    assert [one["score"] for one in done.evaluations] == [1.0, 3.0, 2.0, 3.0]  # an equal score is no better one
    assert kept(stage) == [stage.step_of(1), stage.step_of(3)]
    again = run(dataclasses.replace(stage, evaluate=lambda *_: pytest.fail("went on")))
    assert again.step == stage.step_of(3)


def test_a_number_that_breaks_stops_the_run_and_the_last_good_checkpoint_stays(tmp_path):
    stage = make_stage(tmp_path, breaks_at=7)
    for _ in range(2):  # the same command again comes to the same end
        with pytest.raises(Diverged, match=r"stage toy: loss/critic is nan in iteration 7; .* of step 4 in .*toy"):
            run(stage)
        assert kept(stage) == [4]
    assert np.isfinite(load_inference(stage, 0)["net"]).all()
    assert max(record["step"] for record in read_metrics(tmp_path / METRICS)) == 4


def test_a_number_that_breaks_before_the_first_checkpoint(tmp_path):
    stage = make_stage(tmp_path, breaks_at=2)
    with pytest.raises(Diverged, match="iteration 2; there is no checkpoint yet"):
        run(stage)
    assert kept(stage) == []


def test_more_rows_to_a_batch_than_there_are(tmp_path):
    with pytest.raises(InputError, match=r"config.toy.batch_size: 21, but there are 20 training rows"):
        run(make_stage(tmp_path, batch_size=21))


def test_padding_to_a_common_size_changes_nothing(tmp_path):
    plain, padded = make_stage(tmp_path / "plain"), make_stage(tmp_path / "padded", capacity=50)
    assert difference(run(plain).state, run(padded).state) < 1e-5  # of two programs: not to the bit on any machine


@pytest.mark.parametrize(
    ("eval_first", "eval_every", "checkpoint_every", "evaluated", "saved"),
    [
        (0, 1, 0, "01234", "01234"),
        (0, 3, 0, "034", "034"),
        (2, 3, 0, "24", "24"),
        (0, 3, 2, "034", "0134"),
        (0, 9, 0, "04", "04"),
        (9, 1, 0, "4", "4"),
    ],
)
def test_when_epochs_are_evaluated_and_saved(tmp_path, eval_first, eval_every, checkpoint_every, evaluated, saved):
    fields = {"eval_first": eval_first, "eval_every": eval_every, "checkpoint_every": checkpoint_every}
    stage = make_stage(tmp_path, scores=(0.0,) * 5, **fields)
    assert stage.plan.steps_per_epoch == PER_EPOCH
    assert "".join(str(epoch) for epoch in range(5) if stage.evaluates(epoch)) == evaluated
    assert "".join(str(epoch) for epoch in range(5) if stage.saves(epoch)) == saved


@pytest.fixture
def usual_signals():
    """Handlers as in a terminal; a process started in the background inherits that SIGINT is ignored."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {signum: signal.signal(signum, handler) for signum, handler in usual.items()}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.usefixtures("usual_signals")
def test_signals_are_noted_once_and_then_act_as_usual():
    with watch_signals() as stop:
        assert stop.signum is None
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signum == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signum == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_stage_goes_on_with_other_devices(tmp_path):
    one, eight = (Sharded(tuple(jax.devices()[:count])) for count in (1, 8))
    whole = run(make_stage(tmp_path / "whole"))
    with pytest.raises(Interrupted):
        run(make_stage(tmp_path / "parts", layout=eight, batch_size=8), StopSoon())
    shared = run(make_stage(tmp_path / "parts", layout=one, batch_size=8))
    alone = run(make_stage(tmp_path / "alone", batch_size=8))
    assert difference(shared.state.params, alone.state.params) < 1e-4
    assert difference(whole.state.params, alone.state.params) > 1e-2


def test_the_first_process_scores_decide(tmp_path, monkeypatch):
    """As in another process of the run, whose own scores (1, 3, 2) would have kept the second epoch."""

    def received(value):
        return value | {"score": -value["score"]} if isinstance(value, dict) and "score" in value else value

    monkeypatch.setattr(processes, "of_first", received)
    stage = make_stage(tmp_path / "run")
    done = run(stage)
    assert [evaluation["score"] for evaluation in done.evaluations] == [-1.0, -3.0, -2.0]
    assert kept(stage) == [stage.step_of(0), stage.step_of(2)]


def test_scores_that_cannot_be_written_end_the_run(tmp_path):
    stage = make_stage(tmp_path)
    (tmp_path / "evaluations").touch()
    with pytest.raises(InputError, match=r"evaluations.*: cannot be written"):
        run(stage)

"""Checkpoints: bit-exact round trips, what is kept, what is refused, and kills in the middle of a save."""

import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from zsl_jax.errors import InputError
from zsl_jax.train_steps.method import TrainState
from zsl_jax.training.checkpoints import open_checkpoints


def train_state(seed: int = 0) -> TrainState:
    """A state with all that occurs: nested dicts, optimiser states, integers, empty dicts and empty arrays."""
    kernel, bias = jax.random.normal(jax.random.key(seed), (2, 37, 11))
    params = {"G": {"Dense_0": {"kernel": kernel, "bias": bias[0]}}, "critic/x.0": {"w": bias}}
    clipped = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    opt = {"G": optax.adam(1e-3).init(params["G"]), "critic/x.0": clipped.init(params["critic/x.0"])}
    extra = {
        "steps": jnp.int32(7),
        "queue": jnp.zeros((0, 5), jnp.float32),
        "half": jnp.array([1.5, -0.0, math.nan], jnp.bfloat16),
        "mask": np.array([True, False]),
        "nothing": {},
    }
    return TrainState(params, opt, {}, {"lambda": jnp.float32(math.inf)}, extra)


def bits(tree) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def small(value: float) -> dict:
    return {"w": jnp.full((4,), value, jnp.float32)}


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_round_trip_is_bit_exact(tmp_path, impl):
    state, key = train_state(), jax.random.split(jax.random.key(3, impl=impl), 2)
    with open_checkpoints(tmp_path / "drg") as checkpoints:
        checkpoints.save(5, state, key, {"score": 1.0}, {"epoch": 2, "scores": {"V": [1.5, None]}})
    with open_checkpoints(tmp_path / "drg") as checkpoints:
        restored, restored_key, info = checkpoints.restore(5, train_state(seed=1))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert [leaf.dtype for leaf in jax.tree.leaves(restored)] == [leaf.dtype for leaf in jax.tree.leaves(state)]
    assert bits(restored) == bits(state)
    assert jax.random.key_impl(restored_key) == jax.random.key_impl(key)
    assert bits(jax.random.key_data(restored_key)) == bits(jax.random.key_data(key))
    assert info == {"epoch": 2, "scores": {"V": [1.5, None]}}


def test_restores_to_the_sharding_asked_for(tmp_path):
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    rows = jnp.arange(48, dtype=jnp.float32).reshape(16, 3)
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {"rows": rows}, jax.random.key(0))
        like = {"rows": jax.ShapeDtypeStruct(rows.shape, rows.dtype, sharding=sharding)}
        restored, _, _ = checkpoints.restore(0, like)
        checkpoints.save(1, restored, jax.random.key(1))
        again, _, _ = checkpoints.restore(1, {"rows": rows})
    assert restored["rows"].sharding.is_equivalent_to(sharding, 2)
    np.testing.assert_array_equal(again["rows"], rows)


def test_state_may_be_donated_or_deleted_right_after_save(tmp_path):
    update = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)
    state = update({f"w{i}": jnp.full((1000, 500), i, jnp.float32) for i in range(8)})
    wanted = {name: np.array(leaf, copy=True) for name, leaf in state.items()}
    with open_checkpoints(tmp_path, keep_steps=[1]) as checkpoints:
        checkpoints.save(1, state, jax.random.key(0))
        state = update(update(state))
        checkpoints.wait()
        checkpoints.save(2, state, jax.random.key(1))
        doubled = {name: np.array(leaf, copy=True) for name, leaf in state.items()}
        for leaf in state.values():
            leaf.delete()
        first, _, _ = checkpoints.restore(1, wanted)
        second, _, _ = checkpoints.restore(2, wanted)
    for name in wanted:
        np.testing.assert_array_equal(first[name], wanted[name])
        np.testing.assert_array_equal(second[name], doubled[name])


def test_keeps_latest_best_and_chosen_steps(tmp_path):
    scores = {1: 0.5, 2: 0.9, 3: None, 4: 0.9, 5: math.nan, 6: 0.1, 7: None}
    with open_checkpoints(tmp_path, keep_steps=[3]) as checkpoints:
        assert (checkpoints.latest(), checkpoints.steps()) == (None, [])
        for step, score in scores.items():
            metrics = {"loss": 1.0} if score is None else {"loss": 1.0, "score": score}
            checkpoints.save(step, small(step), jax.random.key(step), metrics)
    with open_checkpoints(tmp_path, keep_steps=[3]) as checkpoints:
        assert checkpoints.steps() == [2, 3, 7], "of equal scores the earliest"
        assert checkpoints.latest() == 7
        restored, _, _ = checkpoints.restore(2, small(0))
    np.testing.assert_array_equal(restored["w"], small(2)["w"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "7"], "nothing else is left behind"


def test_reading_alone_leaves_no_trace(tmp_path):
    with open_checkpoints(tmp_path / "drg") as checkpoints:
        checkpoints.save(3, train_state(), jax.random.key(0), {"score": 1.0}, {"epoch": 2})
    for left in ("deleted", "4.orbax-checkpoint-tmp-0"):
        (tmp_path / "drg" / left).mkdir()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.rglob("*"))}
    with open_checkpoints(tmp_path / "drg", read_only=True) as checkpoints:
        assert checkpoints.steps() == [3]
        assert checkpoints.info(3) == {"epoch": 2}
        assert tuple(checkpoints.forms(3)["params['G']['Dense_0']['kernel']"].shape) == (37, 11)
        assert bits(checkpoints.restore(3, train_state(seed=1))[0]) == bits(train_state())
        with pytest.raises(InputError, match=r"no checkpoint of step 4; there are \[3\]"):
            checkpoints.info(4)
    with pytest.raises(InputError, match="none: no checkpoints here"):
        open_checkpoints(tmp_path / "none", read_only=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.rglob("*"))} == before


def test_no_step_is_best_without_a_score(tmp_path):
    with open_checkpoints(tmp_path) as checkpoints:
        for step, score in [(1, math.nan), (2, math.inf)]:
            checkpoints.save(step, small(step), jax.random.key(step), {"score": score})
        checkpoints.save(3, small(3), jax.random.key(3))
        checkpoints.wait()
        assert checkpoints.steps() == [3]


def test_saving_a_step_twice_keeps_the_first(tmp_path):
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small(1), jax.random.key(0))
        checkpoints.save(1, small(2), jax.random.key(1))
        restored, _, _ = checkpoints.restore(1, small(0))
    np.testing.assert_array_equal(restored["w"], small(1)["w"])


def test_an_earlier_step_replaces_the_later_ones(tmp_path):
    with open_checkpoints(tmp_path, keep_steps=range(10)) as checkpoints:
        for step in (2, 4, 6):
            checkpoints.save(step, small(step), jax.random.key(step), {"score": float(step)})
        checkpoints.save(3, small(3), jax.random.key(30), {"score": 0.0})
        checkpoints.wait()
        assert (checkpoints.steps(), checkpoints.latest()) == ([2, 3], 3)
    with open_checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [2, 3]


@pytest.mark.parametrize(
    ("like", "said"),
    [
        ({"w": jnp.zeros(5)}, r"\['w'\] is float32\[4\], this run has float32\[5\]"),
        ({"w": jnp.zeros(4, jnp.int32)}, r"this run has int32\[4\]"),
        ({"v": jnp.zeros(4)}, r"\['v'\] is missing; \['w'\] is unknown"),
    ],
)
def test_refuses_another_state(tmp_path, like, said):
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small(1), jax.random.key(0))
        with pytest.raises(InputError, match=said) as caught:
            checkpoints.restore(1, like)
    assert str(tmp_path / "1") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_a_step_that_is_not_there(tmp_path):
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small(1), jax.random.key(0))
        with pytest.raises(InputError, match=r"no checkpoint of step 2; there are \[1\]"):
            checkpoints.restore(2, small(1))


def remove(folder, name):
    shutil.rmtree(folder / name)


def truncate_record(folder):
    path = folder / "record" / "metadata"
    path.write_bytes(path.read_bytes()[:-5])


def change_a_byte(folder):
    """Flips one bit in the middle of the largest file, the numbers themselves."""
    path = max(folder.rglob("d/*"), key=lambda file: file.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [lambda folder: remove(folder, "state"), lambda folder: remove(folder, "record"), truncate_record, change_a_byte],
    ids=["no state", "no record", "half a record", "one bit"],
)
def test_names_a_damaged_checkpoint(tmp_path, damage):
    state = {"w": jax.random.normal(jax.random.key(0), (300, 300))}
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state, jax.random.key(1))
    damage(tmp_path / "3")
    with open_checkpoints(tmp_path) as checkpoints, pytest.raises(InputError, match="step 3 is damaged") as caught:
        checkpoints.restore(3, state)
    assert "Delete this folder" in str(caught.value)


def test_names_damaged_metrics(tmp_path):
    with open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, small(1), jax.random.key(1), {"score": 1.0})
    (tmp_path / "3" / "metrics" / "metrics").write_text('{"sco')
    with pytest.raises(InputError, match=r"3: the checkpoint of step 3 is damaged"):
        open_checkpoints(tmp_path)


def test_refuses_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not usable for checkpoints"):
        open_checkpoints(tmp_path / "file")


ENDLESS_RUN = """
import pathlib, sys
import jax, jax.numpy as jnp, numpy as np
from zsl_jax.training.checkpoints import open_checkpoints

def state(step):
    return {f"w{i}": jnp.full((1300, 1000), step + i, jnp.float32) for i in range(10)}

checkpoints = open_checkpoints(pathlib.Path(sys.argv[1]))
step = checkpoints.latest() or 0
if step:
    restored, key, info = checkpoints.restore(step, state(0))
    same = all(np.array_equal(restored[name], leaf) for name, leaf in state(step).items())
    assert same and info == {"step": step} and jax.random.key_data(key)[1] == step
print("from", step, flush=True)
while True:
    step += 1
    checkpoints.save(step, state(step), jax.random.key(step), {"score": -float(step)}, {"step": step})
    print("saving", step, flush=True)
"""


def test_kill_during_a_save_loses_no_finished_step(tmp_path):
    """Kills a program that saves 52 MB in a loop, three times; each start goes on from a whole checkpoint."""
    moments = random.Random(0)
    last = 0
    for _ in range(3):
        command = [sys.executable, "-c", ENDLESS_RUN, str(tmp_path)]
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as program:
            assert program.stdout is not None
            start = program.stdout.readline().split()
            assert start[:1] == ["from"], "the program did not come back from the kill before"
            assert int(start[1]) >= last
            saving = [int(program.stdout.readline().split()[1]) for _ in range(2)]
            time.sleep(moments.uniform(0.0, 0.3))
            program.send_signal(signal.SIGKILL)
        last = saving[0]  # its save had ended when the next one began
    with open_checkpoints(tmp_path) as checkpoints:
        latest = checkpoints.latest() or 0
        assert latest >= last
        checkpoints.save(latest + 1, small(0), jax.random.key(0))
    assert {path.name for path in tmp_path.iterdir()} == {"1", str(latest + 1)}, "what the kill left is gone"

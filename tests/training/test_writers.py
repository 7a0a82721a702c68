"""What a run writes into its workdir, and how it stays whole."""

import io
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from zsl_jax.errors import InputError
from zsl_jax.training.writers import (
    RunWriter,
    claim_workdir,
    lock_workdir,
    progress,
    read_json,
    read_metrics,
    write_json,
    write_text,
)


def events(workdir) -> list[tuple[str, int, float]]:
    """Reads TensorBoard's files: records of (8 bytes length, 4 bytes check, data, 4 bytes check)."""
    found = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            size = int.from_bytes(content[:8], "little")
            event = event_pb2.Event.FromString(content[12 : 12 + size])  # pyright: ignore[reportAttributeAccessIssue]
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            content = content[16 + size :]
    return found


def log_two_stages(writer) -> None:
    for step in (0, 10, 20):
        writer.scalars("drg", step, {"loss": 1.0 + step})
    for step in (0, 10):
        writer.scalars("dfg", step, {"loss": 2.0 + step, "lambda": 10.0})


def test_metrics_are_on_disk_at_once_and_valid_json(tmp_path):
    with RunWriter(tmp_path, tensorboard=False) as writer:
        writer.scalars("drg", 3, {"loss": np.float32(0.5), "a": math.nan, "b": math.inf, "c": -math.inf})
        line = (tmp_path / "metrics.jsonl").read_text()
    record = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert record == {"stage": "drg", "step": 3, "loss": 0.5, "a": "NaN", "b": "Infinity", "c": "-Infinity"}
    (read,) = read_metrics(tmp_path / "metrics.jsonl")
    assert math.isnan(read.pop("a"))
    assert read == {"stage": "drg", "step": 3, "loss": 0.5, "b": math.inf, "c": -math.inf}
    assert not (tmp_path / "tensorboard").exists()


def test_tensorboard_gets_the_finite_values(tmp_path):
    with RunWriter(tmp_path) as writer:
        writer.scalars("drg", 3, {"loss": 0.5, "norm": math.nan})
    assert events(tmp_path) == [("drg/loss", 3, 0.5)]


def test_a_second_writer_appends_after_a_half_written_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with RunWriter(tmp_path, tensorboard=False) as writer:
        writer.scalars("drg", 0, {"loss": 1.0})
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-7])
    assert [record["step"] for record in read_metrics(path)] == [0]
    with RunWriter(tmp_path, tensorboard=False) as writer:
        writer.scalars("drg", 1, {"loss": 1.0})
    assert [record["step"] for record in read_metrics(path)] == [0, 1]


def test_truncate_forgets_later_stages_and_steps(tmp_path):
    with RunWriter(tmp_path) as writer:
        log_two_stages(writer)
        writer.truncate(("drg", "dfg"), "drg", 10)
        writer.scalars("drg", 20, {"loss": -1.0})
    kept = [(record["stage"], record["step"], record["loss"]) for record in read_metrics(tmp_path / "metrics.jsonl")]
    assert kept == [("drg", 0, 1.0), ("drg", 10, 11.0), ("drg", 20, -1.0)]
    assert events(tmp_path) == [(f"{stage}/loss", step, loss) for stage, step, loss in kept]


def test_truncate_keeps_earlier_stages_whole(tmp_path):
    with RunWriter(tmp_path, tensorboard=False) as writer:
        log_two_stages(writer)
        writer.truncate(("drg", "dfg"), "dfg", 0)
    kept = [(record["stage"], record["step"]) for record in read_metrics(tmp_path / "metrics.jsonl")]
    assert kept == [("drg", 0), ("drg", 10), ("drg", 20), ("dfg", 0)]


@pytest.mark.parametrize("line", ["{broken", "[1]", '{"stage": "drg"}', '{"stage": "a", "step": 1, "loss": "x"}'])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"stage": "drg", "step": 1}\n' + line + "\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl: line 2"):
        read_metrics(path)


def test_json_round_trip_of_what_results_hold(tmp_path):
    path = tmp_path / "deep" / "result.json"
    write_json(path, {"a": (1, 2), "n": np.float32(0.5), "v": np.arange(2), "p": Path("x"), "nan": math.nan, "t": None})
    read = read_json(path)
    assert math.isnan(read.pop("nan"))
    assert read == {"a": [1, 2], "n": 0.5, "v": [0, 1], "p": "x", "t": None}
    assert '"NaN"' in path.read_text()


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half \ud800")
    assert read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_damaged_or_missing_json_is_named(tmp_path):
    (tmp_path / "result.json").write_text('{"a": ')
    for name in ("result.json", "missing.json"):
        with pytest.raises(InputError, match=name):
            read_json(tmp_path / name)


CONFIG = {"seed": 1, "data": {"root": "/a", "name": "SUN", "unseen": (3, 6)}, "lr": 1e-4, "extra": {}}


def test_a_workdir_is_claimed_once_and_by_the_same_options(tmp_path):
    claim_workdir(tmp_path, CONFIG)
    claim_workdir(tmp_path, json.loads(json.dumps(CONFIG)))
    moved = CONFIG | {"data": CONFIG["data"] | {"root": "/b"}}
    claim_workdir(tmp_path, moved, ignore=("data.root",))
    claim_workdir(tmp_path, moved, ignore=("data",))
    assert read_json(tmp_path / "config.json")["data"]["root"] == "/a"


def test_another_config_is_refused_with_the_fields(tmp_path):
    claim_workdir(tmp_path, CONFIG)
    other = {"seed": 2, "data": CONFIG["data"] | {"root": "/b"}, "lr": 1e-4, "extra": {}, "new": True}
    with pytest.raises(InputError) as caught:
        claim_workdir(tmp_path, other, ignore=("data.root",))
    message = str(caught.value)
    assert "seed is 1 there, 2 now" in message
    assert "new is absent there, true now" in message
    assert "data" not in message.removeprefix(str(tmp_path))
    assert "another workdir" in message


def test_at_most_ten_differences_are_listed(tmp_path):
    claim_workdir(tmp_path, {f"field{i:02d}": 0 for i in range(13)})
    with pytest.raises(InputError, match=r"field09 is 0 there, 1 now; and 3 more\.") as caught:
        claim_workdir(tmp_path, {f"field{i:02d}": 1 for i in range(13)})
    assert "field10" not in str(caught.value)


def test_a_workdir_that_cannot_be_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="not usable as a workdir"), lock_workdir(path):
            pass


HOLD = """
import pathlib, sys
from zsl_jax.training.writers import lock_workdir
with lock_workdir(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_one_process_a_workdir_until_it_ends_or_is_killed(tmp_path):
    workdir = tmp_path / "new" / "run"
    command = [sys.executable, "-c", HOLD, str(workdir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another run"), lock_workdir(workdir):
            pass
        program.send_signal(signal.SIGKILL)
    for _ in range(2):
        with lock_workdir(workdir):
            pass


def test_progress_is_silent_when_not_on_a_terminal(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress(3, "drg", "it") as bar:
        for _ in range(3):
            bar.update()
    assert stream.getvalue() == ""

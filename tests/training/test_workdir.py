"""What a run writes into its workdir, and how it stays whole."""

import contextlib
import errno
import io
import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import RecordWriter

from zsl_jax.config.options import completed
from zsl_jax.errors import InputError
from zsl_jax.files import read_json
from zsl_jax.training import processes
from zsl_jax.training.workdir import RunFiles, RunWriter, claim_workdir, lock_workdir, progress, read_metrics


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


def test_a_mirror_that_cannot_be_written_is_dropped_with_one_warning(tmp_path, monkeypatch, caplog):
    """As on a disk that is full for the events alone; tensorboardX's own writer would wait for ever."""

    def full(*_):
        raise OSError(errno.EFBIG, "File too large")

    with RunWriter(tmp_path) as writer:
        writer.scalars("drg", 0, {"loss": 0.5})
        with monkeypatch.context() as patched:
            patched.setattr(RecordWriter, "write", full)
            writer.scalars("drg", 1, {"loss": 0.5})
        for step in range(2, 30):
            writer.scalars("drg", step, {"loss": 0.5})
    assert [record["step"] for record in read_metrics(tmp_path / "metrics.jsonl")] == list(range(30))
    (said,) = caplog.messages
    assert "no events for TensorBoard from here on ([Errno 27] File too large); the run goes on" in said


def test_a_mirror_that_cannot_be_opened_is_done_without(tmp_path, caplog):
    (tmp_path / "tensorboard").touch()
    with RunWriter(tmp_path) as writer:
        writer.scalars("drg", 0, {"loss": 0.5})
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == len(caplog.messages) == 1


def test_other_processes_than_the_first_touch_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "is_first", lambda: False)
    folder = tmp_path / "run"
    with RunWriter(folder) as writer, contextlib.ExitStack() as held:
        log_two_stages(writer)
        writer.truncate(("drg", "dfg"), "drg", 10)
        files = RunFiles(folder)
        files.own(held, CONFIG)
        files.write_evaluation("drg", 3, {})
        files.write_result({})
    assert not folder.exists()


def test_scores_are_read_as_they_were_written(tmp_path):
    files = RunFiles(tmp_path)
    for epoch in (0, 12):
        files.write_evaluation("drg", epoch, {"epoch": epoch, "score": math.inf})
    assert files.read_evaluations("drg", (12, 0)) == [{"epoch": epoch, "score": math.inf} for epoch in (12, 0)]
    with pytest.raises(InputError, match=r"dfg_00012\.json"):
        files.read_evaluations("dfg", (12,))


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


CONFIG = completed({"seed": 1, "data": {"root": "/a", "name": "SUN", "unseen": (3, 6)}, "lr": 1e-4, "extra": {}})


def test_a_workdir_is_claimed_once_and_by_the_same_options(tmp_path):
    claim_workdir(tmp_path, CONFIG)
    claim_workdir(tmp_path, json.loads(json.dumps(CONFIG)))
    moved = CONFIG | {"data": CONFIG["data"] | {"root": "/b"}}
    claim_workdir(tmp_path, moved, ignore=("data.root",))
    claim_workdir(tmp_path, moved, ignore=("data",))
    assert read_json(tmp_path / "config.json")["data"]["root"] == "/a"


def test_another_config_is_refused_with_the_fields(tmp_path):
    claim_workdir(tmp_path, CONFIG)
    other = CONFIG | {"seed": 2, "data": CONFIG["data"] | {"root": "/b"}, "new": True}
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
        claim_workdir(tmp_path, completed({f"field{i:02d}": 1 for i in range(13)}))
    assert "field10" not in str(caught.value)


def test_a_workdir_that_cannot_be_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="not usable as a workdir"), lock_workdir(path):
            pass


@pytest.mark.parametrize(("name", "said"), [("birds [2024]", r"\["), ("runs\\birds", r"\\")])
def test_a_name_in_which_checkpoints_get_lost_is_refused(tmp_path, name, said):
    for workdir in (tmp_path / name, tmp_path / name / "below"):
        with pytest.raises(InputError, match=f"{said} cannot be part of a workdir's path"), lock_workdir(workdir):
            pass
    assert list(tmp_path.iterdir()) == []


HOLD = """
import pathlib, sys
from zsl_jax.training.workdir import lock_workdir
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

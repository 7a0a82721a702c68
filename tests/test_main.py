"""The program as its users start it: real processes, bad input, signals, kills and the same command again.

All is seen on a linear method, which trains in no time; `training/test_experiment.py` has whole runs of ZeroDiff.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from tests import linear, pictures
from tests.data.toy import write_toy
from tests.tiny import untimed
from zsl_jax import __main__ as program
from zsl_jax.training.checkpoints import open_checkpoints
from zsl_jax.training.workdir import METRICS, read_metrics

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / "configs" / "zerodiff_synthetic.py")
STAGES = ("first", "second")  # of the linear method
LONG = ["--config.second.epochs=100", "--config.eval.every=50", "--config.checkpoint_every=4", "--config.log_every=3"]
PER_EPOCH = 7
PATIENCE = 1200  # seconds for what takes a few; some machines are slow and have other work


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Processes that compile once between them, with the flags of the whole test run."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("programs"))}
    quick = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    here = {name: value for name, value in os.environ.items() if name != "ZSL_JAX_DATA"}
    return here | cache | quick | {"JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"}


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "zsl_jax.main", *options]


@pytest.fixture(scope="module")
def linear_run(tmp_path_factory) -> Callable[..., list[str]]:
    """Two stages of the linear method, the second going on from the first: (workdir, *options) -> command."""
    file = linear.write_config(tmp_path_factory.mktemp("configs") / "linear.py", *STAGES)
    options = ["--config.validate=False", "--config.upstream=last"]
    return lambda workdir, *more: command("--config", file, "--workdir", str(workdir), *options, *more)


def call(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        arguments, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def call_here(arguments: list[str], capsys) -> tuple[int, str, str]:
    """The same without a process of its own: exit code, what it printed, what it said on stderr."""
    code = program.main(["train", *arguments[3:]])  # after the interpreter and -m zsl_jax.main
    return code, *capsys.readouterr()


@contextlib.contextmanager
def started(arguments: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A process that does not outlive the block."""
    process = subprocess.Popen(arguments, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def reached(workdir: Path) -> int:
    """The last logged iteration of the last stage."""
    return max((line["step"] for line in read_metrics(workdir / METRICS) if line["stage"] == STAGES[-1]), default=0)


def wait_for(workdir: Path, step: int, process: subprocess.Popen) -> None:
    """Waits until the last stage has logged an iteration beyond `step`."""
    end = time.monotonic() + PATIENCE
    while reached(workdir) <= step:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "no progress"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def finished(linear_run, tmp_path_factory, environment) -> tuple[Path, subprocess.CompletedProcess]:
    """A run from start to end, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, call(linear_run(workdir, "--config.figures=True"), environment)


def test_a_run_leaves_a_result_and_pictures_and_prints_a_table(finished):
    workdir, process = finished
    assert process.returncode == 0, process.stderr
    result = json.loads((workdir / "result.json").read_text())
    schema = {"method", "dataset", "seed", "protocols", "headline", "seconds", "config", "versions"}
    assert schema <= set(result)
    assert result["config"]["figures"]
    claimed = json.loads((workdir / "config.json").read_text())
    assert claimed.pop("data_sizes") == {"views": {"x": [10]}, "a_dim": 4, "n_classes": 8, "word_dim": 0}
    assert claimed.pop("semantics_scaler") == {"kind": "l2", "shift": 4 * [0.0], "scale": 4 * [1.0]}
    assert claimed.pop("attribute_names") == []
    assert claimed.pop("settled") == result["settled"] == {}
    assert claimed == result["config"] | {"data_fingerprint": result["dataset"]["fingerprint"]}
    drawn = {"losses_first", "losses_second", "per_class_accuracy", "per_class_T1", "confusion_unseen", "tsne"}
    drawn |= {"seen_unseen_curve", "scores_over_epochs"}
    files = {f"{name}.{kind}" for name in drawn for kind in ("png", "pdf")}
    assert files <= {path.name for path in (workdir / "figures").iterdir()}
    assert f"T1 {result['headline']['T1']:.1f}" in process.stdout
    assert str(workdir / "figures") in process.stdout
    assert "Traceback" not in process.stderr


def test_a_result_is_there_before_its_pictures_and_without_them(linear_run, tmp_path, capsys, monkeypatch):
    results = []

    def break_down(*_, **__):
        results.append(json.loads((tmp_path / "run" / "result.json").read_text()))
        raise RuntimeError("no picture")

    monkeypatch.setattr(Figure, "savefig", break_down)
    code, printed, said = call_here(linear_run(tmp_path / "run", "--config.figures=True"), capsys)
    assert code == 0
    assert results
    assert f"T1 {results[0]['headline']['T1']:.1f}" in printed
    lines = [line for line in said.splitlines() if line.endswith(".png: not drawn (RuntimeError: no picture)")]
    assert len(lines) == len(results)
    assert "Traceback" not in said


def test_the_same_command_again_says_that_the_run_is_finished(finished, linear_run, capsys):
    workdir, first = finished
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    code, printed, _ = call_here(linear_run(workdir, "--config.data.root=elsewhere"), capsys)
    assert code == 0
    assert "this run is finished; nothing was done" in printed
    assert printed.splitlines()[0] == first.stdout.splitlines()[0]
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before


def test_a_workdir_of_other_options_is_refused_with_the_differences(finished, linear_run, capsys):
    workdir, _ = finished
    before = (workdir / "config.json").read_bytes()
    code, printed, said = call_here(linear_run(workdir, "--config.second.lr=3.5", "--config.seed=7"), capsys)
    assert (code, printed) == (2, "")
    assert "second.lr is 0.02 there, 3.5 now; seed is 0 there, 7 now" in said.splitlines()[-1]
    assert (workdir / "config.json").read_bytes() == before


def arrays(folder: Path) -> dict[str, bytes]:
    """All arrays of the latest checkpoint, by name."""
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with open_checkpoints(folder) as checkpoints:
        step = checkpoints.latest()
        assert step is not None
        forms: dict[str, Any] = dict(checkpoints.manager.item_metadata(step).state.tree)
        wanted = {name: jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=sharding) for name, one in forms.items()}
        found, _ = checkpoints._read(step, wanted)
    return {name: np.asarray(array).tobytes() for name, array in found.items()}


def scores(workdir: Path) -> dict[str, Any]:
    """What a result says that time has no part in."""
    result = json.loads((workdir / "result.json").read_text())
    return {name: result[name] for name in ("dataset", "protocols", "headline", "stages", "baselines", "nearest")}


def test_killed_and_stopped_runs_end_in_the_same_bits(linear_run, environment, tmp_path, capsys):
    whole, workdir = tmp_path / "whole", tmp_path / "parts"
    code, _, errors = call_here(linear_run(whole, *LONG), capsys)
    assert code == 0, errors
    arguments = linear_run(workdir, *LONG)
    with started(arguments, environment) as process:
        wait_for(workdir, 5 * PER_EPOCH, process)  # some epochs after the first checkpoint
        process.send_signal(signal.SIGKILL)
        assert process.wait(PATIENCE) == -signal.SIGKILL
    killed_at = reached(workdir)
    with started(arguments, environment) as process:
        wait_for(workdir, killed_at + PER_EPOCH, process)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 128 + signal.SIGTERM
    stopped_at = reached(workdir)
    assert killed_at < stopped_at < 100 * PER_EPOCH
    assert f"stopped by SIGTERM in stage second after {stopped_at} iterations, saved" in said.splitlines()[-1]
    assert not (workdir / "result.json").exists()
    process = call(arguments, environment)
    assert process.returncode == 0, process.stderr
    for stage in STAGES:
        assert arrays(workdir / "checkpoints" / stage) == arrays(whole / "checkpoints" / stage)
    assert scores(workdir) == scores(whole)
    assert untimed(read_metrics(workdir / METRICS)) == untimed(read_metrics(whole / METRICS))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--config", CONFIG, "--workdir", "run", "--config.dfg.gamma_dst=1"], "gamma_dist"),
        (
            ["--config", CONFIG, "--workdir", "run", "--config.drg.lr=fast"],
            "drg.lr: 'fast', but the field holds 0.0005",
        ),
        (["--config", CONFIG, "--workdir", "run", "stray"], "'stray' is not a flag"),
        (["--config", "nowhere.py", "--workdir", "run"], "nowhere.py"),
        (["--workdir", "run"], "--config is missing"),
        (["--config", CONFIG], "--workdir is missing"),
        (
            ["--config", f"{ROOT}/configs/zerodiff_sun.py:20", "--workdir", "run"],
            "the published shares are 100, 30, 10",
        ),
    ],
)
def test_bad_options_are_one_line_and_nothing_is_written(options, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, printed, errors = call_here(command(*options), capsys)
    assert (code, printed) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_without_data_the_file_tree_is_shown_and_a_way_to_go_on(tmp_path, capsys):
    sun = str(ROOT / "configs" / "zerodiff_sun.py")
    options = ["--config", sun, "--workdir", str(tmp_path / "run"), f"--config.data.root={tmp_path / 'none'}"]
    code, printed, errors = call_here(command(*options), capsys)
    assert (code, printed) == (2, "")
    for part in ("SUN/", "res101.mat", "att_splits.mat", "--config.data.source=synthetic"):
        assert part in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def run_pair(environment: dict[str, str], *commands: list[str]) -> list[tuple[int, str]]:
    """Exit codes and stderr of two processes of one run."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    together = ["--config.parallel.devices=0", "--coordinator", coordinator, "--processes", "2", "--process"]
    pair = [[*one, *together, str(number)] for number, one in enumerate(commands)]
    with started(pair[0], environment) as first, started(pair[1], environment) as second:
        said = [process.communicate(timeout=PATIENCE)[1] for process in (first, second)]
        return list(zip((first.returncode, second.returncode), said, strict=True))


def test_two_processes_have_the_numbers_of_one(linear_run, tmp_path, environment, capsys):
    """Two devices each; files are written by the first process only."""
    options = ["--config.matmul_precision=highest", "--config.second.epochs=3"]
    code, _, errors = call_here(linear_run(tmp_path / "alone", *options), capsys)
    assert code == 0, errors
    two_devices = environment | {"JAX_NUM_CPU_DEVICES": "2"}
    for code, said in run_pair(two_devices, *[linear_run(tmp_path / "two", *options)] * 2):
        assert code == 0, said
    one, two = (untimed(read_metrics(tmp_path / name / METRICS)) for name in ("alone", "two"))
    assert [(line["stage"], line["step"]) for line in one] == [(line["stage"], line["step"]) for line in two]
    for left, right in zip(one, two, strict=True):
        losses = [name for name in left if name.startswith("loss")]
        np.testing.assert_allclose([right[name] for name in losses], [left[name] for name in losses], rtol=1e-3)


def test_two_processes_have_the_numbers_of_one_where_rows_are_streamed(tmp_path, environment, capsys):
    """Each process reads the rows of its own devices; the numbers are those of resident rows on one device."""
    file = pictures.write_config(tmp_path / "pictures.py")
    base = ["--config", file, "--config.validate=False", "--config.upstream=last", "--config.matmul_precision=highest"]
    code, _, errors = call_here(command(*base, "--workdir", str(tmp_path / "alone")), capsys)
    assert code == 0, errors
    two = command(*base, "--workdir", str(tmp_path / "two"), "--config.memory_mb=0", "--config.parallel.devices=0")
    for code, said in run_pair(environment | {"JAX_NUM_CPU_DEVICES": "2"}, two, two):
        assert code == 0, said
    one, other = (untimed(read_metrics(tmp_path / name / METRICS)) for name in ("alone", "two"))
    losses = [[line["loss"] for line in lines if "loss" in line] for lines in (one, other)]
    assert len(losses[0]) == len(losses[1]) > 2
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


def test_processes_end_together_when_one_has_no_data(linear_run, tmp_path, environment):
    write_toy(tmp_path / "data")
    toy = ["--config.data.source=xlsa17", "--config.data.dataset=TOY", "--config.data.features=res101"]
    options = [*toy, *(f"--config.{stage}.batch_size=8" for stage in STAGES)]
    roots = [f"--config.data.root={tmp_path / name}" for name in ("data", "none")]
    ends = run_pair(environment, *(linear_run(tmp_path / "run", *options, root) for root in roots))
    missing = f"{tmp_path / 'none' / 'TOY'}: no such folder"
    for (code, said), line in zip(ends, (f"error: process 1 failed: {missing}", f"error: {missing}"), strict=True):
        assert code == 2, said
        assert line in said.splitlines()
    assert not (tmp_path / "run").exists()


def test_processes_end_together_when_the_first_cannot_write(linear_run, tmp_path, environment):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "evaluations").touch()  # where a folder is to be
    ends = run_pair(environment, *[linear_run(tmp_path / "run")] * 2)
    file = tmp_path / "run" / "evaluations" / "first_00000.json"
    for (code, said), start in zip(ends, ("error: ", "error: process 0 failed: "), strict=True):
        assert code == 2, said
        assert said.splitlines()[-1].startswith(f"{start}{file}: cannot be written")


def test_half_a_group_of_flags_is_refused(linear_run, tmp_path, capsys):
    assert call_here(linear_run(tmp_path, "--processes", "2"), capsys) == (
        2, "", "error: --coordinator, --processes and --process belong together: give all three or none\n"
    )  # fmt: skip

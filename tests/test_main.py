"""The program as its users start it: real processes, bad input, signals, kills and the same command again."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.data.toy import write_toy
from tests.tiny import untimed
from zsl_jax.training.checkpoints import open_checkpoints
from zsl_jax.training.writers import METRICS, read_metrics

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / "configs" / "zerodiff_synthetic.py")
NARROW = [f"--config.{s}.{n}_width=8" for s in ("drg", "dfg") for n in ("generator", "critic", "decoder")]
SHORT = [
    "--config.validate=False", "--config.upstream=last", "--config.log_every=3", "--config.checkpoint_every=4",
    "--config.drg.epochs=1", "--config.drg.batch_size=16", "--config.drg.syn_num=5",
    "--config.dfg.epochs=60", "--config.dfg.batch_size=16", "--config.dfg.syn_num=5", "--config.dfg.encoder_width=8",
    "--config.eval.first=0", "--config.eval.every=30", "--config.eval.classifier_epochs=2",
    "--config.eval.spaces=('VC',)", "--config.eval.samplers=('one_step',)",
    "--config.data.synthetic.trainval=100", "--config.data.synthetic.test_seen=20",
    "--config.data.synthetic.test_unseen=20",
]  # fmt: skip
PER_EPOCH = 7
PATIENCE = 300  # seconds for what takes a few


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Processes that compile once between them, with the flags of the whole test run."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("programs"))}
    quick = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    here = {name: value for name, value in os.environ.items() if name != "ZSL_JAX_DATA"}
    return here | cache | quick | {"JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"}


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "zsl_jax.main", *options]


def run_command(workdir: Path, *options: str) -> list[str]:
    return command("--config", CONFIG, "--workdir", str(workdir), *NARROW, *SHORT, *options)


def call(arguments: list[str], environment: dict[str, str], cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        arguments, env=environment, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


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
    """The last logged iteration of the feature stage."""
    return max((line["step"] for line in read_metrics(workdir / METRICS) if line["stage"] == "dfg"), default=0)


def wait_for(workdir: Path, step: int, process: subprocess.Popen) -> None:
    """Waits until the feature stage has logged an iteration beyond `step`."""
    end = time.monotonic() + PATIENCE
    while reached(workdir) <= step:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "no progress"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, environment) -> tuple[Path, subprocess.CompletedProcess]:
    """A run from start to end, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, call(run_command(workdir), environment)


def test_a_run_leaves_a_result_and_pictures_and_prints_a_table(finished):
    workdir, process = finished
    assert process.returncode == 0, process.stderr
    result = json.loads((workdir / "result.json").read_text())
    schema = {"method", "dataset", "seed", "protocols", "headline", "seconds", "config", "versions"}
    assert schema <= set(result)
    assert result["config"]["dfg"]["critic_width"] == 8
    claimed = json.loads((workdir / "config.json").read_text())
    assert claimed == result["config"] | {"data_fingerprint": result["dataset"]["fingerprint"]}
    pictures = {"losses_drg", "losses_dfg", "per_class_accuracy", "confusion_unseen", "tsne", "seen_unseen_curve"}
    assert pictures <= {path.stem for path in (workdir / "figures").iterdir()}
    assert f"T1 {result['headline']['T1']:.1f}" in process.stdout
    assert str(workdir / "figures") in process.stdout
    assert "Traceback" not in process.stderr


def test_the_same_command_again_says_that_the_run_is_finished(finished, environment):
    workdir, first = finished
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    process = call(run_command(workdir, "--config.data.root=elsewhere"), environment)
    assert process.returncode == 0
    assert "this run is finished; nothing was done" in process.stdout
    assert process.stdout.splitlines()[0] == first.stdout.splitlines()[0]
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before


def test_a_workdir_of_other_options_is_refused_with_the_differences(finished, environment):
    workdir, _ = finished
    before = (workdir / "config.json").read_bytes()
    process = call(run_command(workdir, "--config.dfg.gamma_dist=3.5", "--config.seed=7"), environment)
    assert process.returncode == 2
    error = process.stderr.splitlines()[-1]
    assert "dfg.gamma_dist is 1.0 there, 3.5 now; seed is 0 there, 7 now" in error
    assert process.stdout == ""
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
    return {name: result[name] for name in ("dataset", "protocols", "headline", "stages", "baselines")}


def test_killed_and_stopped_runs_end_in_the_same_bits(finished, environment, tmp_path):
    whole, workdir = finished[0], tmp_path / "parts"
    arguments = run_command(workdir, "--config.figures=False")
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
    assert killed_at < stopped_at < 60 * PER_EPOCH
    assert f"stopped by SIGTERM in stage dfg after {stopped_at} iterations, saved" in said.splitlines()[-1]
    assert not (workdir / "result.json").exists()
    process = call(arguments, environment)
    assert process.returncode == 0, process.stderr
    for stage in ("drg", "dfg"):
        assert arrays(workdir / "checkpoints" / stage) == arrays(whole / "checkpoints" / stage)
    assert scores(workdir) == scores(whole)
    assert untimed(read_metrics(workdir / METRICS)) == untimed(read_metrics(whole / METRICS))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--config", CONFIG, "--workdir", "run", "--config.dfg.gamma_dst=1"], "gamma_dist"),
        (["--config", CONFIG, "--workdir", "run", "--config.drg.lr=fast"], "could not convert string to float: 'fast'"),
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
def test_bad_options_are_one_line_and_nothing_is_written(options, said, environment, tmp_path):
    process = call(command(*options), environment, tmp_path)
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert process.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_without_data_the_file_tree_is_shown_and_a_way_to_go_on(environment, tmp_path):
    sun = str(ROOT / "configs" / "zerodiff_sun.py")
    options = ["--config", sun, "--workdir", str(tmp_path / "run"), f"--config.data.root={tmp_path / 'none'}"]
    process = call(command(*options), environment)
    assert process.returncode == 2
    for part in ("SUN/", "res101.mat", "att_splits.mat", "--config.data.source=synthetic"):
        assert part in process.stderr
    assert "Traceback" not in process.stderr
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


def test_two_processes_have_the_numbers_of_one(tmp_path, environment):
    """Four devices each; files are written by the first process only."""
    options = ["--config.matmul_precision=highest", "--config.dfg.epochs=3", "--config.figures=False"]
    alone = call(run_command(tmp_path / "alone", *options), environment)
    assert alone.returncode == 0, alone.stderr
    four = environment | {"JAX_NUM_CPU_DEVICES": "4"}
    for code, said in run_pair(four, *[run_command(tmp_path / "two", *options)] * 2):
        assert code == 0, said
    one, two = (untimed(read_metrics(tmp_path / name / METRICS)) for name in ("alone", "two"))
    assert [(line["stage"], line["step"]) for line in one] == [(line["stage"], line["step"]) for line in two]
    for left, right in zip(one, two, strict=True):
        losses = [name for name in left if name.startswith("loss")]
        np.testing.assert_allclose([right[name] for name in losses], [left[name] for name in losses], rtol=1e-3)


def test_processes_end_together_when_one_has_no_data(tmp_path, environment):
    write_toy(tmp_path / "data")
    toy = ["--config.data.source=xlsa17", "--config.data.dataset=TOY", "--config.data.features=res101"]
    sized = [*toy, "--config.data.representations=", "--config.stages=('finetune_r','drg','dfg')"]
    options = [*sized, *(f"--config.{stage}.batch_size=8" for stage in ("finetune_r", "drg", "dfg"))]
    roots = [f"--config.data.root={tmp_path / name}" for name in ("data", "none")]
    ends = run_pair(environment, *(run_command(tmp_path / "run", *options, root) for root in roots))
    missing = f"{tmp_path / 'none' / 'TOY'}: no such folder"
    for (code, said), line in zip(ends, (f"error: process 1 failed: {missing}", f"error: {missing}"), strict=True):
        assert code == 2, said
        assert line in said.splitlines()
    assert not (tmp_path / "run").exists()


def test_processes_end_together_when_the_first_cannot_write(tmp_path, environment):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "evaluations").touch()  # where a folder is to be
    ends = run_pair(environment, *[run_command(tmp_path / "run")] * 2)
    for (code, said), start in zip(ends, ("error: cannot write", "error: process 0 failed: cannot write"), strict=True):
        assert code == 2, said
        assert said.splitlines()[-1].startswith(start)
        assert str(tmp_path / "run" / "evaluations") in said.splitlines()[-1]


def test_half_a_group_of_flags_is_refused(tmp_path, environment):
    done = call(run_command(tmp_path, "--processes", "2"), environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr.strip() == "error: --coordinator, --processes and --process belong together: give all three or none"
    )

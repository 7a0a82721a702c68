"""The benchmark as its users start it, at tiny sizes: what it counts and writes, not how fast it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPTIONS = [
    "--config=configs/zerodiff_synthetic.py", "--iterations=1", "--repeats=2",
    *(f"--config.{s}.{n}_width=8" for s in ("drg", "dfg") for n in ("generator", "critic", "decoder")),
    "--config.dfg.encoder_width=8", "--config.drg.batch_size=8", "--config.dfg.batch_size=8",
    "--config.data.synthetic.trainval=80",
]  # fmt: skip


def bench(tmp_path: Path, *options: str) -> tuple[subprocess.CompletedProcess, Path]:
    out = tmp_path / "bench.json"
    command = [sys.executable, "-m", "zsl_jax.bench", *OPTIONS, f"--out={out}", *options]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done, out


def test_a_line_for_each_seed_count(tmp_path):
    done, out = bench(tmp_path, "--stages=drg", "--scale=seeds=1,2")
    assert done.returncode == 0, done.stderr
    one, two = json.loads(out.read_text())["rows"]
    assert (one["name"], two["name"]) == ("drg 1", "drg 2")
    assert two["flops"] == 2 * one["flops"] > 0
    assert {"share_of_matmul_rate", "share_of_bandwidth", "host_share", "peak_bytes"} <= set(one)
    assert "drg 2" in done.stdout


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--scale=colour=1", "error: --scale colour=1: write it as DIMENSION=V1,V2"),
        ("--stages=dgf", "no stage 'dgf'; did you mean"),
        ("--compare=torch", "error: --compare torch: name a Python that has torch"),
    ],
)
def test_bad_flags_are_refused(tmp_path, option, message):
    done, out = bench(tmp_path, option)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()

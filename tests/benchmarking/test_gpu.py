"""The table of a GPU: that each part reports, whatever becomes of the others; not how fast anything is."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, gpu_parts

ROOT = Path(__file__).parents[2]
# Answers each part; "dies" and "hangs" it does when asked for.
PROGRAM = """
import json, sys, time
for name, (measure, arguments) in json.loads(sys.argv[1]).items():
    if name == "dies":
        sys.exit(7)
    if name == "hangs":
        time.sleep(600)
    print(json.dumps({"rows": [{"name": name, "seconds": 0.5}]}), flush=True)
"""
TORCH = """
import json, sys
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    print(json.dumps({"seconds": json.loads(line)["iterations"]}), flush=True)
"""


def measured(*names: str, allowed: float = 600) -> dict[str, dict[str, Any]]:
    """The answers of PROGRAM to a start and parts of these names; "hangs" may take a second."""
    parts = {name: gpu.Part(1 if name == "hangs" else 300, "any") for name in (gpu.START, *names)}
    return dict(gpu.measured([sys.executable, "-c", PROGRAM], parts, time.monotonic() + allowed))


def test_a_rehearsal_reports_every_part(tmp_path):
    blocked = "raise ImportError('this machine does not have it')"
    (tmp_path / "tensorboardX.py").write_text(blocked)
    (tmp_path / "worker.py").write_text(TORCH)
    torch_python, out = tmp_path / "python", tmp_path / "gpu.json"
    torch_python.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path / 'worker.py'}\n")
    torch_python.chmod(0o700)
    # Limits grow with the minutes, so that a busy machine does not decide.
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", "--tiny", "--minutes=60", f"--out={out}"]
    done = subprocess.run(
        [*command, f"--torch-python={torch_python}"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path), "XLA_FLAGS": "--xla_backend_optimization_level=0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text())
    assert list(report["parts"]) == list(gpu.PARTS)
    assert f"\n{gpu.table(report)}\n" in done.stdout
    rows = {row["name"]: row for answer in report["parts"].values() for row in answer["rows"]}
    assert rows["copy"]["bytes_per_second"] > 0
    assert rows["64x64 @ 64x64 tf32"]["flops"] == 2 * 64**3
    assert rows["drg tf32, 16 seeds"]["flops"] == 16 * rows["drg tf32"]["flops"] > 0
    assert rows["dfg bfloat16, PyTorch"]["seconds"] == 1
    assert rows["dfg bfloat16, PyTorch"]["ratio"] == 1 / rows["dfg bfloat16"]["seconds"]
    compiled = [f"{stage} {precision}" for stage in ("drg", "dfg") for precision in ("float32", "tf32", "bfloat16")]
    for name in (*compiled, "drg tf32, 4 seeds", "evaluation tf32"):
        assert min(rows[name][field] for field in ("seconds", "compile_seconds", "peak_bytes")) > 0


def test_what_takes_too_long_or_dies_is_reported_and_the_rest_is_measured():
    found = measured("first", "hangs", "second", "dies", "third")
    assert found["hangs"]["error"] == "ended: it took longer than 1 s"
    assert found["dies"]["error"] == "the process ended with code 7"
    assert all(found[name]["rows"][0]["seconds"] == 0.5 for name in ("first", "second", "third"))


def test_nothing_is_begun_when_no_time_is_left():
    found = measured("first", "second", allowed=-1)
    assert [one["error"] for one in found.values()] == ["not begun: no time was left"] * 2


def test_a_process_that_cannot_start_is_started_once():
    parts = {name: gpu.Part(30, "any") for name in (gpu.START, "first")}
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    found = list(gpu.measured(command, parts, time.monotonic() + 60))
    assert [(name, one["error"]) for name, one in found] == [
        (gpu.START, "the process ended with code 3"),
        ("first", "not begun: start failed"),
    ]


def test_what_a_part_raises_is_its_answer(monkeypatch):
    def out_of_memory(self):
        raise RuntimeError("no room\nfor this: " + 500 * "x")

    monkeypatch.setattr(gpu_parts.Measurements, "copy", out_of_memory)
    lines = []
    gpu_parts.main({"tiny": True, "torch_python": ""}, {"copy": ("copy", []), "start": ("start", [])}, lines.append)
    failed, started = map(json.loads, lines)
    assert failed["error"].startswith("RuntimeError: no room for this: xxx")
    assert len(failed["error"]) == gpu_parts.MOST_SAID
    assert started["device"].startswith("cpu")


def test_a_full_measurement_needs_a_gpu():
    with pytest.raises(gpu_parts.InputError, match="--tiny rehearses"):
        gpu_parts.Measurements(tiny=False, torch_python="").start()


def test_the_table_shows_what_is_missing_and_why():
    rows = [{"name": "copy", "bytes_per_second": 3e12}, {"name": "drg", "seconds": 0.004, "ratio": 2.5}]
    parts = {"start": {"device": "a card"}, "copy": {"rows": rows[:1]}, "drg": {"rows": rows[1:]}}
    said = gpu.table({"parts": parts | {"late": {"error": "not begun"}}}).splitlines()
    assert said[0] == "a card"
    assert said[2].split() == ["copy", "-", "-", "-", "-", "3000", *5 * "-"][:10]
    assert said[3].split()[::9] == ["drg", "2.50"]
    assert said[4] == "late: not begun"


@pytest.mark.parametrize(
    ("packages", "option", "message"),
    [
        ({"no_such_module": "no-such"}, "gpu.json", "error: missing no-such; benchmarks/README.md says how"),
        ({}, "nowhere/gpu.json", "there is no folder"),
    ],
)
def test_what_cannot_begin_says_so_in_a_line(packages, option, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "PACKAGES", packages)
    assert gpu.main([f"--out={tmp_path / option}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line

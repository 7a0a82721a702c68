"""What a GPU gives: one table in under six minutes, and the same numbers as JSON.

    python benchmarks/gpu.py                 # on a machine with a GPU; writes gpu.json
    python benchmarks/gpu.py --tiny          # a rehearsal of every part, on CPUs too: its numbers say nothing

Copy bandwidth and matrix products; iterations of both ZeroDiff stages at AWA2's published size in float32, TF32 and
bfloat16, beside eager PyTorch on the same card; 4 and 16 runs trained as one program; one evaluation. The data are
synthetic. benchmarks/README.md says what the rows and columns mean and which packages are needed.

The parts are measured one after another by `gpu_parts.py` in a process of its own, the most important first. A part
that fails is reported with what it said; one that takes longer than its limit is ended, and a fresh process goes on
with the next. The file is written anew after each part.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

MINUTES = 6.0  # for everything, the table included
MARGIN = 5  # seconds of them that are left for the table
START = "start"  # imports, and the first use of the device


class Part(NamedTuple):
    """Seconds that a part may take, the method of `gpu_parts.Measurements` that measures it, and its arguments."""

    limit: float
    measure: str
    arguments: tuple[Any, ...] = ()


def _stages(precision: str) -> dict[str, Part]:
    """Both stages in one precision, ours and PyTorch's."""
    return {
        f"{stage} {precision}{title}": Part(limit, measure, (stage, precision))
        for stage in ("drg", "dfg")
        for title, limit, measure in (("", 90, "iterations_of"), (", PyTorch", 60, "torch_iterations"))
    }


PARTS = {
    START: Part(90, START),
    "copy": Part(30, "copy"),
    **{f"matmul {precision}": Part(45, "matmul", (precision,)) for precision in ("float32", "tf32", "bfloat16")},
    **_stages("tf32"),
    **_stages("float32"),
    **{f"drg tf32, {seeds} seeds": Part(90, "iterations_of", ("drg", "tf32", seeds)) for seeds in (4, 16)},
    "evaluation": Part(90, "evaluation", ("tf32",)),
    **_stages("bfloat16"),
}
# What gpu_parts.py imports, by the names under which pip knows them.
PACKAGES = {
    "jax": "jax[cuda13]", "flax": "flax", "optax": "optax", "orbax": "orbax-checkpoint", "chex": "chex",
    "ml_collections": "ml-collections", "absl": "absl-py", "numpy": "numpy", "scipy": "scipy", "h5py": "h5py",
    "yaml": "PyYAML", "sklearn": "scikit-learn", "matplotlib": "matplotlib", "safetensors": "safetensors",
    "tqdm": "tqdm",
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Measures all parts and prints the table; returns the exit code: 0, 1 if parts are missing, 2 for bad input."""
    options = read_options(arguments)
    deadline = time.monotonic() + 60 * options.minutes - MARGIN
    if lacking := [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]:
        print(f"error: missing {', '.join(lacking)}; benchmarks/README.md says how to bring them", file=sys.stderr)
        return 2
    if not options.out.absolute().parent.is_dir():
        print(f"error: --out {options.out}: there is no folder {options.out.parent}", file=sys.stderr)
        return 2
    program = str(Path(__file__).with_name("gpu_parts.py"))
    settings = {"tiny": options.tiny, "torch_python": options.torch_python}
    parts = {name: part._replace(limit=part.limit * options.minutes / MINUTES) for name, part in PARTS.items()}
    report: dict[str, Any] = {**settings, "parts": {}}
    for name, answer in measured([sys.executable, program, json.dumps(settings)], parts, deadline):
        report["parts"][name] = answer
        write(options.out, report)
        print(f"{name}: {answer.get('error', 'done')}, {answer.get('part_seconds', 0):.1f} s", flush=True)
    print(f"\n{table(report)}\n{options.out} has all numbers")
    return int(any("error" in answer for answer in report["parts"].values()))


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="file for all numbers; default: gpu.json")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="in all; each part's limit grows with it")
    parser.add_argument("--tiny", action="store_true", help="narrow nets, few rows and iterations: a rehearsal")
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch; default: this one")
    said = parser.parse_args(arguments)
    said.out, said.torch_python = said.out.expanduser(), os.path.expanduser(said.torch_python)
    return said


def measured(command: list[str], parts: dict[str, Part], deadline: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measures parts in order; yields the name and the answer of each.

    Args:
      command: the program that measures, which takes {name: [measure, arguments]} as its last argument and answers
        each part by a line of JSON.
      parts: what to measure. The first one is asked of every process anew.
      deadline: on `time.monotonic`, when the last part must have ended.

    Yields:
      Answers are {"rows": [...]} or {"error": why there are none}, with "part_seconds".
    """
    (start, *waiting), failed = parts, False
    while waiting and not failed and time.monotonic() < deadline:
        asked = {name: parts[name][1:] for name in (start, *waiting)}
        with answers([*command, json.dumps(asked)]) as next_answer:
            for name in asked:
                if (began := time.monotonic()) >= deadline:
                    break
                answer = next_answer(min(parts[name].limit, deadline - began))
                yield name, {**answer, "part_seconds": time.monotonic() - began}
                failed = name == start and "error" in answer
                if name != start:
                    waiting.remove(name)
                if "lost" in answer or failed:
                    break
    for name in waiting:
        yield name, {"error": f"not begun: {start} failed" if failed else "not begun: no time was left"}


@contextmanager
def answers(command: list[str]) -> Iterator[Any]:
    """Starts a program; a function (seconds) -> its next answer, or {"error", "lost": True} when none comes."""
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}  # PyTorch needs some of the memory
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    reader = threading.Thread(target=pump, args=(process.stdout, lines))
    reader.start()

    def next_answer(seconds: float) -> dict[str, Any]:
        try:
            line = lines.get(timeout=seconds)
        except queue.Empty:
            return {"error": f"ended: it took longer than {seconds:.0f} s", "lost": True}
        return json.loads(line) if line else {"error": f"the process ended with code {process.wait()}", "lost": True}

    try:
        yield next_answer
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with PyTorch's process, if one is at work
        process.wait()
        reader.join()
        process.stdout.close()


def pump(stream: Any, lines: queue.Queue[str]) -> None:
    """Hands on a stream's lines, and an empty one at its end."""
    for line in stream:
        lines.put(line)
    lines.put("")


def write(path: Path, report: dict[str, Any]) -> None:
    """Replaces the file as a whole."""
    fresh = path.with_name(path.name + ".part")
    fresh.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)


COLUMNS = {
    "compile s": lambda row: f"{row['compile_seconds']:.1f}",
    "ms": lambda row: f"{1e3 * row['seconds']:.3f}",
    "TFLOP/s": lambda row: f"{row['flops_per_second'] / 1e12:.2f}",
    "of square": lambda row: f"{100 * row['share_of_matmul_rate']:.0f} %",
    "GB/s": lambda row: f"{row['bytes_per_second'] / 1e9:.0f}",
    "of copy": lambda row: f"{100 * row['share_of_bandwidth']:.0f} %",
    "rows/s": lambda row: f"{row['samples_per_second']:.0f}",
    "peak GB": lambda row: f"{row['peak_bytes'] / 1e9:.2f}",
    "PyTorch/ours": lambda row: f"{row['ratio']:.2f}",
}


def table(report: dict[str, Any]) -> str:
    """The report as text: a line for each row; what failed, and why, below."""
    rows = [row for answer in report["parts"].values() for row in answer.get("rows", [])]
    cells = [["", *COLUMNS], *([row["name"], *(cell(show, row) for show in COLUMNS.values())] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in cells]
    device = report["parts"].get(START, {}).get("device", "no device")
    failed = [f"{name}: {one['error']}" for name, one in report["parts"].items() if "error" in one]
    return "\n".join([device, *lines, *failed])


def cell(show: Any, row: dict[str, Any]) -> str:
    """A number of a row, "-" if it has none."""
    try:
        return show(row)
    except KeyError:
        return "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

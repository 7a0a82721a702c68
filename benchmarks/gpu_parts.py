"""The measurements of gpu.py, which starts this program: here is what is measured, there is when and for how long.

Takes the settings {"tiny", "torch_python"} and the parts {name: [measure, arguments]}, both as JSON, and answers each
part by a line of JSON: {"rows": [...]}, or {"error": what went wrong}.
"""

import functools
import json
import os
import statistics
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package need not be installed

import jax

from configs import zerodiff_awa2
from zsl_jax.benchmarking import cases, costs, timing, torch_worker, work
from zsl_jax.errors import InputError
from zsl_jax.experiment import runs
from zsl_jax.training.stage import Stage

PRECISIONS = {"float32": "highest", "tf32": "default", "bfloat16": "bfloat16"}  # config.matmul_precision
# [m, k] @ [k, n] in the widest layers: forward, back, a critic's real and fake rows together, a kernel's gradient.
SHAPES, SQUARE = ((64, 2048, 4096), (64, 4096, 2048), (128, 2048, 4096), (2048, 192, 4096)), 8192
COPY = 2**31  # bytes; of fewer a GPU makes a copy in less time than it needs to begin one
TINY_SHAPES, TINY_SQUARE, TINY_COPY = ((4, 8, 16),), 64, 2**16
MOST_SAID = 300  # characters of an error: out of memory, XLA lists all buffers
SPACES = ("V", "VCS")  # of the evaluation: the narrowest and the widest

Answer = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True)
class Device(work.Machine):
    """A device whose products are held against its rate in a large square one: each shape alone takes too long."""

    rate: float = 1.0

    def floor(self, products: Counter[costs.Product]) -> float:
        """Seconds that the products would take at this rate."""
        return costs.total(products, "flops") / self.rate


class Measurements:
    """What `gpu.PARTS` names. Data, stages and rates are made when first asked for and kept."""

    def __init__(self, tiny: bool, torch_python: str):
        self.tiny, self.torch_python = tiny, torch_python
        self.iterations, self.repeats = (2, 2) if tiny else (20, 7)  # 20: a run's chunk, by default
        self.config = configuration(tiny)
        self.seconds: dict[str, float] = {}  # of our iterations, by name
        self.stage, self.device = functools.cache(self._stage), functools.cache(self._device)
        costs.COPY_BYTES = TINY_COPY if tiny else COPY

    def use(self, precision: str) -> None:
        """Sets the precision of products of float32 arrays."""
        self.config.matmul_precision = PRECISIONS[precision]
        runs.prepare(self.config, aloud=False)

    def square(self, dtype: str = "float32") -> costs.Product:
        """A product of large square matrices."""
        return product(*3 * (TINY_SQUARE if self.tiny else SQUARE,), dtype=dtype)

    def _stage(self, name: str) -> tuple[Stage, work.Work]:
        stage = cases.stage_of(cases.Case(self.config, name))
        return stage, work.of_iteration(stage, stage.rows().data)

    def _device(self, precision: str) -> Device:
        self.use(precision)
        return Device(costs.copy_bandwidth(), rate=self.square().flops / costs.seconds_of(self.square()))

    def start(self) -> Answer:
        """What computes."""
        device = jax.devices()[0]
        if device.platform == "cpu" and not self.tiny:
            raise InputError("JAX sees CPUs alone; --tiny rehearses there")
        return {"rows": [], "device": f"{device.platform}: {device.device_kind}; jax {jax.__version__}"}

    def copy(self) -> Answer:
        """Bytes read and written a second in copying an array."""
        return {"rows": [{"name": "copy", "bytes_per_second": costs.copy_bandwidth()}]}

    def matmul(self, precision: str) -> Answer:
        """Products of float32 arrays; in bfloat16 also of arrays that are bfloat16 already."""
        self.use(precision)
        found = [*(product(*shape) for shape in (TINY_SHAPES if self.tiny else SHAPES)), self.square()]
        if precision == "bfloat16":
            found.append(self.square("bfloat16"))
        return {"rows": [matmul_row(one, precision, costs.seconds_of(one)) for one in found]}

    def iterations_of(self, name: str, precision: str, seeds: int = 1) -> Answer:
        """An iteration of each of `seeds` runs, trained as one program."""
        device = self.device(precision)
        self.use(precision)
        stage, of_one = self.stage(name)
        chunks = timing.Chunks(cases.requests_of(stage, seeds, self.iterations), stage.layout.devices)
        first, *times = [chunks.seconds() for _ in range(1 + self.repeats)]
        title = f"{name} {precision}" + (f", {seeds} seeds" if seeds > 1 else "")
        row = timing.describe(title, [one / self.iterations for one in times], [], of_one.times(seeds), device)
        self.seconds[title] = row["seconds"]
        samples = seeds * stage.method.batches_per_step * stage.batch_size
        rates = {"bytes_per_second": row["bytes"] / row["seconds"], "samples_per_second": samples / row["seconds"]}
        return {"rows": [row | rates | {"compile_seconds": first - statistics.median(times)}]}

    def torch_iterations(self, name: str, precision: str) -> Answer:
        """The same in eager PyTorch, one run."""
        self.use(precision)
        job = torch_worker.stage_job(self.stage(name)[0], self.config[name])
        with torch_worker.open_worker(self.torch_python, job) as worker:
            assert worker is not None
            times = [worker.run(self.iterations) for _ in range(self.repeats)]
        title, seconds = f"{name} {precision}", statistics.median(times)
        row = {"name": f"{title}, PyTorch", "seconds": seconds, "least": min(times), "most": max(times)}
        own = self.seconds.get(title)  # absent when our part failed, or another process measured it
        return {"rows": [row | ({"ratio": seconds / own} if own else {})]}

    def evaluation(self, precision: str) -> Answer:
        """A whole evaluation of stage 2 with weights that are random: scores say nothing, seconds do."""
        self.use(precision)
        stage, _ = self.stage("dfg")
        params, key = jax.device_put(cases.random_weights(cases.params_of(stage))), stage.evaluation_key(0)
        first, *times = [costs.clock(stage.evaluate, params, 0, key) for _ in range(3)]
        seconds = statistics.median(times)
        row = {"name": f"evaluation {precision}", "seconds": seconds, "compile_seconds": first - seconds}
        return {"rows": [row | {"peak_bytes": timing.peak_bytes()}]}


def configuration(tiny: bool) -> Any:
    """AWA2's published configuration on synthetic data; `tiny`: narrow nets, few rows."""
    config = zerodiff_awa2.get_config()
    config.data.source = "synthetic"
    config.eval.spaces = SPACES
    if not tiny:
        return config
    config.drg.critic_iter = config.dfg.critic_iter = 1
    config.dfg.syn_num, config.eval.classifier_epochs = 20, 2
    config.eval.spaces, config.eval.samplers = SPACES[:1], ("one_step",)
    return cases.scaled(cases.scaled(cases.Case(config, "dfg"), "width", 16), "rows", 200).config


def product(m: int, k: int, n: int, dtype: str = "float32") -> costs.Product:
    """[m, k] @ [k, n]."""
    return costs.Product((m, k), (k, n), dtype, (((1,), (0,)), ((), ())))


def matmul_row(one: costs.Product, precision: str, seconds: float) -> Row:
    """The numbers of a product that takes so many seconds."""
    arrays = " arrays" if one.dtype == precision != "float32" else ""
    name = f"{one.left[0]}x{one.left[1]} @ {one.right[0]}x{one.right[1]} {precision}{arrays}"
    rates = {"flops_per_second": one.flops / seconds, "bytes_per_second": one.bytes / seconds}
    return {"name": name, "seconds": seconds, "flops": one.flops, "bytes": one.bytes} | rates


def answer(measure: Any, arguments: list[Any]) -> Answer:
    """What a measurement returns, or what it raised."""
    try:
        return measure(*arguments)
    except Exception as error:  # e.g. out of memory: the other parts are measured all the same
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())[:MOST_SAID]}


def main(settings: dict[str, Any], parts: dict[str, Any], say: Any) -> None:
    """Measures the parts in order; `say` is given each answer as a line."""
    measurements = Measurements(**settings)
    for measure, arguments in parts.values():
        say(json.dumps(answer(getattr(measurements, measure), arguments)) + "\n")


if __name__ == "__main__":
    # The answers alone go to standard output: what libraries print there goes to standard error.
    with os.fdopen(os.dup(1), "w", buffering=1) as out:
        os.dup2(2, 1)
        main(json.loads(sys.argv[1]), json.loads(sys.argv[2]), out.write)

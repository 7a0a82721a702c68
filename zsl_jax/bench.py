"""How fast a configuration trains, against what the machine could do and against eager PyTorch.

    python -m zsl_jax.bench --config configs/zerodiff_awa2.py --config.data.source=synthetic
    python -m zsl_jax.bench --config configs/zerodiff_awa2.py --config.data.source=synthetic \\
        --compare torch --torch-python PATH          # PATH: a Python that has torch
    python -m zsl_jax.bench --config ... --scale seeds=1,2,4    # or batch=, devices=, width=, rows=

Trains each stage for some iterations, `--repeats` times, after one chunk that compiles; nothing is scored. Prints a
table and writes all numbers to `--out`. Run it alone: anything else on the machine shows in the numbers.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from zsl_jax import costs, data, report, runs
from zsl_jax.errors import InputError
from zsl_jax.evaluation import classifier
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Batch, Method, hyper_parameters
from zsl_jax.training import checks, lockstep, loop, parallel, writers
from zsl_jax.training.lockstep import Held, Program, Request, Uploads
from zsl_jax.training.stage import raw

FLAGS = flags.FlagValues()  # of its own, so that a process may import several programs
config_flags.DEFINE_config_file("config", None, "Configuration file.", lock_config=True, flag_values=FLAGS)
flags.DEFINE_integer(
    "devices", None, "Devices to spread a batch (or the seeds) over; default: as configured.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "seeds", 1, "Runs that differ in their seed, trained as one program.", lower_bound=1, flag_values=FLAGS
)
flags.DEFINE_string("precision", None, "Precision of matrix products, as config.matmul_precision.", flag_values=FLAGS)
flags.DEFINE_integer("iterations", 5, "Iterations of one timing.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("repeats", 5, "Timings.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_list(
    "stages", [], "Stages to time; default: those of the configuration that make no view.", flag_values=FLAGS
)
flags.DEFINE_bool(
    "classifier",
    True,
    "Also time the final softmax classifier in the narrowest and the widest space.",
    flag_values=FLAGS,
)
flags.DEFINE_enum("compare", None, ["torch"], "Time the same in eager PyTorch, in turns.", flag_values=FLAGS)
flags.DEFINE_string("torch-python", None, "A Python that has torch.", flag_values=FLAGS)
flags.DEFINE_string(
    "scale",
    None,
    "DIMENSION=V1,V2,...: one line for each value of seeds, batch, devices, width, rows.",
    flag_values=FLAGS,
)
flags.DEFINE_string("out", "bench.json", "File for all numbers.", flag_values=FLAGS)

TORCH_PROGRAM = Path(__file__).parents[1] / "benchmarks" / "torch_zerodiff.py"
TORCH_STAGES = ("drg", "dfg")
# Reads and writes of an optimiser's pass over one weight: gradient, weight, both moments; weight, both moments.
ADAM_PASSES = 7


@dataclasses.dataclass(frozen=True)
class Case:
    """What is timed: a stage of a configuration at some sizes."""

    config: Any
    stage: str
    seeds: int
    label: str = ""


@dataclasses.dataclass(frozen=True)
class Machine:
    """What the machine gives: bytes a second of a copy, seconds of each matrix product measured so far."""

    bandwidth: float
    seconds: dict[costs.Product, float]

    def floor(self, counts: Any) -> float:
        """Seconds that the products alone take, each at its measured rate."""
        for product in counts:
            if product not in self.seconds:
                self.seconds[product] = costs.seconds_of(product)
        return sum(times * self.seconds[product] for product, times in counts.items())


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    return runs.exit_code(lambda: bench(arguments))


def bench(arguments: list[str]) -> int:
    """Times all cases, prints the table and writes the numbers."""
    runs.parse(FLAGS, arguments, ("config",))
    config: Any = ConfigDict(FLAGS.config.to_dict())
    if FLAGS.devices is not None:
        config.parallel.devices = FLAGS.devices
    config.matmul_precision = FLAGS.precision or config.matmul_precision
    if FLAGS.compare and not FLAGS["torch-python"].value:
        raise InputError("--compare torch: name a Python that has torch by --torch-python")
    runs.prepare(config, aloud=False)
    machine = Machine(costs.copy_bandwidth(), {})
    rows = [time_case(case, machine) for case in make_cases(config)]
    if FLAGS.classifier and not FLAGS.scale:
        rows += [time_classifier(config, width, machine) for width in classifier_widths(config)]
    numbers = {
        "rows": rows,
        "copy_bandwidth": machine.bandwidth,
        "versions": report.versions(),
        "config": config.to_dict(),
    }
    print(table(rows))
    print(f"copy bandwidth {machine.bandwidth / 1e9:.1f} GB/s; {report.versions()['device']}")
    writers.write_json(Path(FLAGS.out), numbers)
    return 0


def make_cases(config: Any) -> list[Case]:
    """The stages, or a stage for each value of the dimension to scale.

    Raises:
      InputError: an unknown stage or dimension.
    """
    stages = FLAGS.stages or [name for name in config.stages if not name.startswith("finetune")]
    for stage in stages:
        registry.find(stage)
    if not FLAGS.scale:
        return [Case(config, stage, FLAGS.seeds) for stage in stages]
    dimension, _, listed = FLAGS.scale.partition("=")
    if dimension not in SCALES or not all(value.isdigit() and int(value) for value in listed.split(",")):
        raise InputError(f"--scale {FLAGS.scale}: write it as DIMENSION=V1,V2,... with one of {', '.join(SCALES)}")
    return [
        dataclasses.replace(
            SCALES[dimension](Case(ConfigDict(config.to_dict()), stage, FLAGS.seeds), int(value)), label=value
        )
        for stage in stages
        for value in listed.split(",")
    ]


def _with_seeds(case: Case, value: int) -> Case:
    return dataclasses.replace(case, seeds=value)


def _with_batch(case: Case, value: int) -> Case:
    for stage in case.config.stages:
        case.config[stage].batch_size = value
    return case


def _with_devices(case: Case, value: int) -> Case:
    case.config.parallel.devices = value
    return case


def _with_width(case: Case, value: int) -> Case:
    for stage in (case.config.drg, case.config.dfg):
        stage.generator_width = stage.critic_width = stage.decoder_width = value
    case.config.dfg.encoder_width = value
    return case


def _with_rows(case: Case, value: int) -> Case:
    """Of the configuration's own synthetic sizes, since published presets have a fixed number of rows."""
    case.config.data.source, case.config.data.synthetic.preset = "synthetic", ""
    case.config.data.synthetic.trainval = value
    return case


SCALES = {
    "seeds": _with_seeds,
    "batch": _with_batch,
    "devices": _with_devices,
    "width": _with_width,
    "rows": _with_rows,
}


def make_request(case: Case) -> list[Request]:
    """The first chunk of each seed's run; earlier stages are as initialised."""
    config = case.config
    layout = parallel.make_layout(config.parallel) if case.seeds == 1 else parallel.Sharded((jax.devices()[0],))
    dataset = data.load(config.data, config.seed)
    spec, task = checks.spec_of(dataset), data.test_task(dataset, config.data)
    rows = lockstep.rows_of(loop.pad(task.train, task.semantics))
    return [_request_of_seed(case, layout, spec, rows, config.seed + number) for number in range(case.seeds)]


def _request_of_seed(case: Case, layout: parallel.Layout, spec: Any, rows: lockstep.Rows, seed: int) -> Request:
    upstream: dict[str, Any] = {}
    key = raw(jax.random.key(seed))
    for name in case.config.stages:
        method = registry.build(case.config, name, spec)
        hyper = hyper_parameters(case.config[name], method.numbers)
        if name == case.stage:
            state = layout.start(_initialise(method), key, upstream, hyper)
            program = Program(method, case.config[name].batch_size, FLAGS.iterations, layout)
            return Request(program, Held(state), rows, key, 0, FLAGS.iterations)
        if not method.produces:
            state = jax.jit(_initialise(method))(key, upstream, hyper)
            upstream[name] = jax.device_get(method.inference(state))
    raise InputError(f"--stages: {case.stage!r} is not in config.stages {tuple(case.config.stages)}")


def _initialise(method: Method) -> Any:
    return lambda key_data, upstream, hyper: method.init(jax.random.wrap_key_data(key_data), upstream, hyper)


def time_case(case: Case, machine: Machine) -> dict[str, Any]:
    """Times a stage: compiling, iterations, their share of what the machine gives, PyTorch in turns."""
    requests = make_request(case)
    counts, adam_bytes = work_of(requests[0])
    devices, uploads = tuple(jax.devices()), Uploads(2)

    def run() -> float:
        nonlocal requests
        began = time.perf_counter()
        answers = lockstep.serve_together(requests, devices, uploads)
        jax.block_until_ready(answers[0].held.stack)
        seconds = time.perf_counter() - began
        requests = [ask._replace(held=answer.held) for ask, answer in zip(requests, answers, strict=True)]
        return seconds

    compiling = run()
    empty = host_seconds(requests, devices, uploads)
    with torch_worker(case) as torch:
        turns = [(run(), torch.run(1) if torch else None) for _ in range(FLAGS.repeats)]
    seconds = [ours / FLAGS.iterations for ours, _ in turns]
    theirs = [other for _, other in turns if other is not None]
    name = f"{case.stage} {case.label}".strip()
    work = {"flops": case.seeds * costs.total(counts, "flops"), "floor": case.seeds * machine.floor(counts)}
    moved = case.seeds * (costs.total(counts, "bytes") + adam_bytes)
    samples = case.seeds * requests[0].program.batch_size * requests[0].program.method.batches_per_step
    row = describe(name, seconds, theirs, work, moved, machine) | {
        "compile_seconds": compiling - FLAGS.iterations * statistics.median(seconds)
    }
    return row | {
        "samples_per_second": samples / row["seconds"],
        "host_share": empty / statistics.median(seconds) / FLAGS.iterations,
    }


def host_seconds(requests: list[Request], devices: Any, uploads: Uploads) -> float:
    """Seconds of a chunk of no iterations: what Python, transfers and the launch of a program take."""
    times = []
    for _ in range(5):
        asked = [ask._replace(length=0, held=Held(jax.tree.map(jnp.copy, ask.held.state()))) for ask in requests]
        jax.block_until_ready([ask.held.stack for ask in asked])
        times.append(
            costs.clock(lambda asked=asked: [a.held.stack for a in lockstep.serve_together(asked, devices, uploads)])
        )
    return statistics.median(times)


def work_of(request: Request) -> tuple[Any, int]:
    """Matrix products of one iteration, and the bytes that its optimiser passes move."""
    method, size = request.program.method, request.program.batch_size
    data_arrays, state = request.rows.arrays, jax.eval_shape(request.held.state)
    lead = (method.batches_per_step, size)
    widths = (data_arrays.x.shape[1], data_arrays.r.shape[1], data_arrays.semantics.shape[1])
    shapes: list[Any] = [jax.ShapeDtypeStruct((*lead, width), np.float32) for width in widths]
    batches = Batch(*shapes, labels=cast(Any, jax.ShapeDtypeStruct(lead, np.int32)))
    counts = costs.products(method.train_step, state, batches, jax.eval_shape(lambda: jax.random.key(0)))
    updates = {name: 1 if name in ("generator", "encoder") else method.batches_per_step for name in state.opt}
    sizes = {name: sum(leaf.size for leaf in jax.tree.leaves(state.params[name])) for name in state.opt}
    return counts, 4 * ADAM_PASSES * sum(updates[name] * sizes[name] for name in updates)


def describe(
    name: str, seconds: list[float], theirs: list[float], work: dict[str, float], moved: float, machine: Machine
) -> dict[str, Any]:
    """The numbers of one line; `seconds` and `theirs` of one iteration, ours and PyTorch's."""
    median = statistics.median(seconds)
    row = {
        "name": name,
        "seconds": median,
        "least": min(seconds),
        "most": max(seconds),
        "flops": work["flops"],
        "flops_per_second": work["flops"] / median,
        "share_of_matmul_rate": work["floor"] / median,
        "bytes": moved,
        "share_of_bandwidth": moved / median / machine.bandwidth,
        "peak_bytes": peak_bytes(),
    }
    if theirs:
        other = statistics.median(theirs)
        row |= {"torch_seconds": other, "torch_least": min(theirs), "torch_most": max(theirs), "ratio": other / median}
    return row


def peak_bytes() -> int:
    """Most memory in use so far: of the first device, or of this process where devices are CPUs."""
    stats = jax.devices()[0].memory_stats() if jax.devices()[0].platform != "cpu" else None
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def classifier_widths(config: Any) -> list[tuple[str, int]]:
    """Widths of the narrowest and the widest space of ZeroDiff at the configuration's sizes."""
    spec = checks.spec_of(data.load(config.data, config.seed))
    wide = spec.x_dim + spec.r_dim + spec.a_dim + config.dfg.decoder_width
    return [("classifier V", spec.x_dim), ("classifier VCS", wide)]


CLASSIFIER_ROWS, CLASSIFIER_BATCH, CLASSIFIER_CLASSES, CLASSIFIER_EPOCHS = 20_400, 400, 50, 5


def time_classifier(config: Any, place: tuple[str, int], machine: Machine) -> dict[str, Any]:
    """Times epochs of the softmax classifier on 20,400 rows of 50 classes in batches of 400."""
    name, width = place
    sizes = {"n_features": width, "rows": CLASSIFIER_ROWS, "batch": CLASSIFIER_BATCH, "n_classes": CLASSIFIER_CLASSES}
    features = jax.random.uniform(jax.random.key(0), (CLASSIFIER_ROWS, width))
    labels = jax.random.randint(jax.random.key(1), (CLASSIFIER_ROWS,), 0, CLASSIFIER_CLASSES)

    @jax.jit
    def fit(features, labels, key):
        order_key, weights_key = jax.random.split(key)
        order = classifier.draw_order(order_key, CLASSIFIER_ROWS, CLASSIFIER_BATCH, CLASSIFIER_EPOCHS)
        start = classifier.init(weights_key, width, CLASSIFIER_CLASSES)
        keep = jnp.int32(CLASSIFIER_EPOCHS - 1)
        return classifier.fit(start, order, labels, lambda n: features[n], lambda _: 0, jnp.float32(1e-3), keep).losses

    key = jax.random.key(2)
    counts = costs.products(fit, features, labels, key)
    compiling = costs.clock(fit, features, labels, key)
    with torch_worker(None, {"stage": "classifier", "sizes": sizes | {"epochs": CLASSIFIER_EPOCHS}}) as torch:
        turns = [
            (costs.clock(fit, features, labels, key), torch.run(1) if torch else None) for _ in range(FLAGS.repeats)
        ]
    theirs = [other / CLASSIFIER_EPOCHS for _, other in turns if other is not None]
    work = {
        "flops": costs.total(counts, "flops") / CLASSIFIER_EPOCHS,
        "floor": machine.floor(counts) / CLASSIFIER_EPOCHS,
    }
    moved = costs.total(counts, "bytes") / CLASSIFIER_EPOCHS
    seconds = [ours / CLASSIFIER_EPOCHS for ours, _ in turns]
    return describe(f"{name}, an epoch", seconds, theirs, work, moved, machine) | {
        "compile_seconds": compiling - CLASSIFIER_EPOCHS * statistics.median(seconds)
    }


class Torch:
    """A process that trains in eager PyTorch on request."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process

    def ask(self, line: str) -> dict[str, Any]:
        """Its answer to one line.

        Raises:
          InputError: it ended.
        """
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline() if self._process.stdout else ""
        if not answer:
            raise InputError(f"--torch-python: the PyTorch program ended with code {self._process.wait()}")
        return json.loads(answer)

    def run(self, iterations: int) -> float:
        """Seconds of one of so many iterations."""
        return self.ask(json.dumps({"iterations": iterations}))["seconds"] / iterations


def torch_worker(case: Case | None, job: dict[str, Any] | None = None) -> Any:
    """A context with PyTorch's side of a case, warmed up; with None where none is asked for or fits."""
    if FLAGS.compare is None or (case is not None and (case.stage not in TORCH_STAGES or case.seeds > 1)):
        return nullcontext()
    return _started(job or torch_job(case))


@contextmanager
def _started(job: dict[str, Any]) -> Iterator[Torch]:
    platform = "cpu" if jax.devices()[0].platform == "cpu" else "cuda"
    job |= {"device": platform, "precision": torch_precision(platform)}
    command = [FLAGS["torch-python"].value, str(TORCH_PROGRAM), json.dumps(job)]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise InputError(f"--torch-python {command[0]}: {error.strerror}") from error
    with process:
        torch = Torch(process)
        try:
            torch.ask("")  # it says when it is ready
            torch.run(1)
            yield torch
        finally:
            process.kill()


def torch_precision(platform: str) -> str:
    """PyTorch's name of the precision in use."""
    chosen = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    if chosen == runs.PRECISIONS["bfloat16"]:
        return "bfloat16"
    return "tf32" if platform == "cuda" and chosen is None else "float32"


def torch_job(case: Any) -> dict[str, Any]:
    """The sizes and options of a stage as `benchmarks/torch_zerodiff.py` takes them."""
    config, section = case.config, case.config[case.stage]
    dataset = data.load(config.data, config.seed)
    spec = checks.spec_of(dataset)
    same = (
        "n_steps", "beta_min", "beta_max", "generator_width", "critic_width", "decoder_width", "critic_iter", "lr",
        "dec_lr", "penalty_weight", "gamma_x0", "gamma_xt",
    )  # fmt: skip
    more = ("encoder_width", "embed_type", "freeze_decoder", "gamma_adv", "gamma_vae", "gamma_recons", "gamma_xc")
    sizes = {name: section[name] for name in (*same, *(more if case.stage == "dfg" else ()))}
    sizes |= {name: section[name] or spec.a_dim for name in ("z_dim", "time_dim", "embed_dim")}
    sizes |= {"batch": section.batch_size, "rows": len(dataset.splits.trainval), "n_classes": spec.n_classes}
    sizes |= {"x_dim": spec.x_dim, "r_dim": spec.r_dim, "a_dim": spec.a_dim}
    sizes["normalize_decoder"] = bool(section.normalize_decoder)
    return {"stage": case.stage, "sizes": sizes}


COLUMNS = (
    ("", lambda row: row["name"]),
    ("compile s", lambda row: f"{row['compile_seconds']:.1f}"),
    ("ms", lambda row: f"{1e3 * row['seconds']:.2f}"),
    ("least-most", lambda row: f"{1e3 * row['least']:.2f}-{1e3 * row['most']:.2f}"),
    ("samples/s", lambda row: f"{row['samples_per_second']:.0f}" if "samples_per_second" in row else "-"),
    ("GFLOP", lambda row: f"{row['flops'] / 1e9:.1f}"),
    ("GFLOP/s", lambda row: f"{row['flops_per_second'] / 1e9:.0f}"),
    ("of matmul rate", lambda row: f"{100 * row['share_of_matmul_rate']:.0f} %"),
    ("GB", lambda row: f"{row['bytes'] / 1e9:.2f}"),
    ("of copy rate", lambda row: f"{100 * row['share_of_bandwidth']:.0f} %"),
    ("host", lambda row: f"{100 * row['host_share']:.2f} %" if "host_share" in row else "-"),
    ("peak GB", lambda row: f"{row['peak_bytes'] / 1e9:.1f}"),
    ("torch ms", lambda row: f"{1e3 * row['torch_seconds']:.2f}" if "ratio" in row else "-"),
    ("ratio", lambda row: f"{row['ratio']:.2f}" if "ratio" in row else "-"),
)


def table(rows: list[dict[str, Any]]) -> str:
    """The lines as text in columns."""
    cells = [[title for title, _ in COLUMNS], *([show(row) for _, show in COLUMNS] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in cells]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""The clock: iterations of a stage and epochs of the final classifier, in turns with eager PyTorch if asked for.

Each function that times something returns a row: a dictionary of numbers, all in seconds, bytes and FLOP.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from zsl_jax.benchmarking import cases, costs, torch_worker, work
from zsl_jax.benchmarking.cases import Case
from zsl_jax.benchmarking.torch_worker import Worker
from zsl_jax.benchmarking.work import Machine, Work
from zsl_jax.evaluation import classifier
from zsl_jax.training import lockstep
from zsl_jax.training.lockstep import DeviceState, Request, Uploads
from zsl_jax.training.parallel import Devices

ROWS, BATCH, CLASSES, EPOCHS, RATE = 20_400, 400, 50, 5, 1e-3  # of the classifier that is timed: about AWA2's
EMPTY_CHUNKS = 5  # timings of what a chunk costs beside its iterations


@dataclasses.dataclass(frozen=True)
class Effort:
    """Iterations of one timing, the number of timings, and a Python that has torch (empty: PyTorch is not timed)."""

    iterations: int
    repeats: int
    torch_python: str = ""


class Chunks:
    """Runs that go on by equal chunks of iterations, several as one program split over devices."""

    def __init__(self, requests: list[Request], devices: Devices):
        self.requests, self._devices, self._uploads = requests, devices, Uploads(2)

    def seconds(self) -> float:
        """Executes the next chunk."""
        began = time.perf_counter()
        answers = lockstep.serve_together(self.requests, self._devices, self._uploads)
        jax.block_until_ready(answers[0].held.stack)
        seconds = time.perf_counter() - began
        self.requests = [
            ask._replace(held=answer.held, first=ask.first + ask.length)
            for ask, answer in zip(self.requests, answers, strict=True)
        ]
        return seconds

    def empty_seconds(self) -> float:
        """A chunk of no iterations, on copies: what Python, transfers and the launch of a program take."""
        held = [DeviceState(jax.tree.map(jnp.copy, ask.held.state())) for ask in self.requests]
        copies = Chunks(
            [ask._replace(length=0, held=own) for ask, own in zip(self.requests, held, strict=True)], self._devices
        )
        copies._uploads = self._uploads
        jax.block_until_ready([own.stack for own in held])
        return copies.seconds()


def time_stage(case: Case, effort: Effort, machine: Machine) -> dict[str, Any]:
    """Times a stage: compiling, iterations, their share of what the machine gives, PyTorch in turns."""
    stage = cases.stage_of(case)
    requests = cases.requests_of(stage, case.seeds, effort.iterations)
    own_work = work.of_iteration(stage, requests[0].rows.data).times(case.seeds)
    chunks = Chunks(requests, cases.devices_of(case))
    compared = effort.torch_python and case.seeds == 1
    job = torch_worker.stage_job(stage, case.config[case.stage]) if compared else None
    first = chunks.seconds()
    empty = statistics.median(chunks.empty_seconds() for _ in range(EMPTY_CHUNKS))
    ours, theirs = time_in_turns(chunks.seconds, effort.iterations, effort, job)
    row = describe(case.name, [seconds / effort.iterations for seconds in ours], theirs, own_work, machine)
    samples = case.seeds * stage.method.batches_per_step * stage.batch_size
    return row | {
        "compile_seconds": first - statistics.median(ours),
        "samples_per_second": samples / row["seconds"],
        "host_share": empty / statistics.median(ours),
        "devices": len(cases.devices_of(case)),
    }


def time_in_turns(
    ours: Callable[[], float], iterations: int, effort: Effort, job: torch_worker.Job | None
) -> tuple[list[float], list[float]]:
    """Seconds of our timings, and of one iteration in each of PyTorch's, which has as many `iterations` as ours."""
    with torch_worker.open_worker(effort.torch_python, job) as worker:
        turns = [(ours(), their_turn(worker, iterations)) for _ in range(effort.repeats)]
    return [own for own, _ in turns], [seconds for _, other in turns for seconds in other]


def their_turn(worker: Worker | None, iterations: int) -> list[float]:
    """Seconds of one of PyTorch's iterations; nothing without a worker."""
    return [] if worker is None else [worker.run(iterations)]


def describe(name: str, seconds: list[float], theirs: list[float], own_work: Work, machine: Machine) -> dict[str, Any]:
    """The numbers of one line; `seconds` and `theirs` of one iteration (or epoch), ours and PyTorch's."""
    median = statistics.median(seconds)
    row = {
        "name": name,
        "seconds": median,
        "least": min(seconds),
        "most": max(seconds),
        "flops": own_work.flops,
        "flops_per_second": own_work.flops / median,
        "share_of_matmul_rate": machine.floor(own_work.products) / median,
        "bytes": own_work.bytes,
        "share_of_bandwidth": own_work.bytes / median / machine.bandwidth,
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


def time_classifier(space: str, width: int, effort: Effort, machine: Machine) -> dict[str, Any]:
    """Times epochs of the softmax classifier on 20,400 rows [n, width] of 50 classes in batches of 400."""
    fit, inputs = jax.jit(fit_of(EPOCHS)), classifier_inputs(width)
    sizes = {"n_features": width, "rows": ROWS, "batch": BATCH, "n_classes": CLASSES, "epochs": EPOCHS}
    first = costs.clock(fit, *inputs)
    ours, theirs = time_in_turns(
        lambda: costs.clock(fit, *inputs), 1, effort, torch_worker.make_job("classifier", sizes)
    )
    seconds, others = ([one / EPOCHS for one in fits] for fits in (ours, theirs))
    row = describe(f"classifier {space}, an epoch", seconds, others, epoch_work(width), machine)
    return row | {"compile_seconds": first - statistics.median(ours)}


def fit_of(epochs: int) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """(features [n, F], labels [n], data of a key) -> losses [epochs, batches] of a fit from fresh weights."""

    def fit(features: jax.Array, labels: jax.Array, key_data: jax.Array) -> jax.Array:
        order_key, weights_key = jax.random.split(jax.random.wrap_key_data(key_data))
        order = classifier.draw_order(order_key, len(features), BATCH, epochs)
        start = classifier.init(weights_key, features.shape[1], CLASSES)
        adam, keep = classifier.adam(jnp.float32(RATE)), jnp.int32(epochs - 1)
        return classifier.fit(start, order, labels, lambda rows: features[rows], lambda _: 0, adam, keep).losses

    return fit


def classifier_inputs(width: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Random features [n, width] and labels [n], and the data of a key, which unlike a key may be used again."""
    features_key, labels_key, key = jax.random.split(jax.random.key(0), 3)
    features = jax.random.uniform(features_key, (ROWS, width))
    return features, jax.random.randint(labels_key, (ROWS,), 0, CLASSES), jax.random.key_data(key)


def epoch_work(width: int) -> Work:
    """The work of one epoch of the classifier."""
    products = costs.products(fit_of(1), *jax.eval_shape(lambda: classifier_inputs(width)))
    linear = jax.eval_shape(lambda: classifier.init(jax.random.key(0), width, CLASSES))
    adam = jax.eval_shape(classifier.adam(jnp.float32(RATE)).init, linear)
    return Work(products, -(-ROWS // BATCH) * work.step_bytes(linear, adam))

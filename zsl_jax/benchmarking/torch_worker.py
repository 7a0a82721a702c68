"""Eager PyTorch in a process of its own, which trains on request: requests and answers are lines of JSON."""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import jax

from zsl_jax.errors import InputError
from zsl_jax.experiment import runs
from zsl_jax.training.stage import Stage

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "torch_zerodiff.py"
# Fields of a stage's section that the program takes by the same names, by the stages it knows.
SHARED = (
    "n_steps", "beta_min", "beta_max", "generator_width", "critic_width", "decoder_width", "critic_iter", "lr",
    "dec_lr", "penalty_weight", "gamma_x0", "gamma_xt",
)  # fmt: skip
FIELDS = {
    "drg": SHARED,
    "dfg": (
        *SHARED, "encoder_width", "embed_type", "freeze_decoder", "gamma_adv", "gamma_vae", "gamma_recons", "gamma_xc",
        "gamma_dist", "factor_dist",
    ),
}  # fmt: skip
# Fields that the program lacks, since it computes what was published, with the value they must have.
PUBLISHED = {"schedule": "variance_preserving", "feed": "current", "use_r": True, "x0_gates_xt": True}
Job = dict[str, Any]  # what the program takes as its argument


class Worker:
    """The other end of the process's pipes."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]):
        self._process, self._errors = process, errors

    def read(self) -> dict[str, Any]:
        """Its next answer.

        Raises:
          InputError: it ended, with its last words.
        """
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            code = self._process.wait()
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
            raise InputError(f"--torch-python: the PyTorch program ended with code {code}: {last}")
        return json.loads(answer)

    def run(self, iterations: int) -> float:
        """Seconds of one of so many iterations."""
        with contextlib.suppress(BrokenPipeError):  # if it has ended, reading says so
            print(json.dumps({"iterations": iterations}), file=self._process.stdin, flush=True)
        return self.read()["seconds"] / iterations


@contextmanager
def open_worker(python: str, job: Job | None) -> Iterator[Worker | None]:
    """PyTorch's side of a job, warmed up; None when no `python` that has torch is given or there is no job.

    Raises:
      InputError: the program cannot be started, or ends.
    """
    if not python or job is None:
        yield None
        return
    if not PROGRAM.is_file():
        raise InputError(f"--compare torch: {PROGRAM} is missing; it comes with a checkout of the project alone")
    with tempfile.TemporaryFile("w+") as errors, _started([python, str(PROGRAM), json.dumps(job)], errors) as process:
        worker = Worker(process, errors)
        worker.read()  # it says when it is ready
        worker.run(1)
        yield worker


@contextmanager
def _started(command: list[str], errors: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """A process with pipes, ended with the block."""
    try:
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True)
    except OSError as error:
        raise InputError(f"--torch-python {command[0]}: {error.strerror}") from error
    with process:
        try:
            yield process
        finally:
            process.kill()
            if process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):  # of what it did not read; the block's own error counts
                    process.stdin.close()


def stage_job(stage: Stage, section: Any) -> Job | None:
    """The sizes and options of a stage; None when the program does not know it.

    Args:
      stage: what our side trains.
      section: the stage's section of the configuration.

    Raises:
      InputError: an option is not as published, so that the program would compute something else.
    """
    if stage.name not in FIELDS:
        return None
    for field, published in PUBLISHED.items():
        if field in section and section[field] != published:
            raise InputError(
                f"config.{stage.name}.{field}: {section[field]!r}, but PyTorch's side knows {published!r} alone; "
                "use that, or leave out --compare torch"
            )
    views, (n_classes, a_dim) = stage.train.views, stage.tables.semantics.shape
    sizes = {name: section[name] for name in FIELDS[stage.name]}
    sizes |= {name: section[name] or a_dim for name in ("z_dim", "time_dim", "embed_dim")}
    sizes |= {f"{name}_dim": rows.shape[1] for name, rows in views.items()}
    sizes |= {"batch": stage.batch_size, "rows": len(stage.train), "a_dim": a_dim}
    sizes |= {"n_classes": n_classes, "normalize_decoder": section.semantics_scaling == "l2"}
    return make_job(stage.name, sizes)


def make_job(stage: str, sizes: dict[str, Any]) -> Job:
    """A job of these sizes on our kind of device, in our precision."""
    platform = "cpu" if jax.devices()[0].platform == "cpu" else "cuda"
    return {"stage": stage, "sizes": sizes, "device": platform, "precision": precision(platform)}


def precision(platform: str) -> str:
    """PyTorch's name of the precision in use."""
    chosen = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    if chosen == runs.PRECISIONS["bfloat16"]:
        return "bfloat16"
    return "tf32" if platform == "cuda" and chosen is None else "float32"

"""One run from configuration to `result.json`, as `main` starts it alone and `sweep` starts many."""

import contextlib
import dataclasses
import logging
import sys
from pathlib import Path
from typing import Any

import absl.logging
import jax

from zsl_jax import data
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.scaling import VALIDATED
from zsl_jax.errors import InputError
from zsl_jax.experiment import checks, outcome, problems, settling
from zsl_jax.experiment.versions import versions
from zsl_jax.files import read_json
from zsl_jax.training import processes, stopping, workdir
from zsl_jax.training.lockstep import Run
from zsl_jax.training.workdir import ATTRIBUTES, CONFIG, FINGERPRINT, RESULT, SCALER, SETTLED, SIZES

# Fields that may differ when a run is resumed: they change where things are or when they are written, not the numbers.
FREE_FIELDS = (
    "data.root", "stage", "figures", "checkpoint_every", "parallel", "compilation_cache", "memory_mb",
    SIZES, SETTLED, SCALER, ATTRIBUTES,
)  # fmt: skip
HOST_FIELDS = ("data.root", "compilation_cache")  # that may differ between the processes of a run
PRECISIONS = {"default": None, "high": "high", "highest": "highest", "bfloat16": "BF16_BF16_F32"}


@dataclasses.dataclass(frozen=True)
class Finished:
    """A result as in `result.json`, what its pictures show if there are to be some, whether it was over before."""

    result: dict[str, Any]
    outcome: outcome.Outcome | None
    before: bool = False


def prepare(config: Any, aloud: bool = True) -> None:
    """Sets what belongs to the process: the log, the precision of matrix products, the cache of compiled programs."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    logging.getLogger("zsl_jax").setLevel(logging.INFO if aloud else logging.WARNING)
    absl.logging.set_verbosity(absl.logging.WARNING)
    jax.config.update("jax_default_matmul_precision", matmul_precision(config.matmul_precision))
    if config.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", str(Path(config.compilation_cache).expanduser().absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def matmul_precision(name: str) -> str | None:
    """JAX's name of a `matmul_precision` option.

    Raises:
      InputError: there is no such precision.
    """
    if name not in PRECISIONS:
        raise InputError(f"config.matmul_precision: {name!r}; choose one of {tuple(PRECISIONS)}")
    return PRECISIONS[name]


def complete(config: Any, folder: Path, stop: stopping.StopRequest, bars: bool = True) -> Run[Finished]:
    """Trains and writes `result.json`, unless it is there; a generator, see `zsl_jax.training.lockstep`.

    Raises:
      InputError, Interrupted, Diverged: see `zsl_jax.training.stage.run_stage`.
    """
    before = result_of(config, folder)
    if before is not None:
        return Finished(before, None, before=True)
    if signum := stop.heard():
        raise stopping.Interrupted(signum, "before it began")
    settled, dataset = processes.all_do(lambda: problems.load(config))
    processes.in_first(checks.check_imports)(settled, dataset, folder)
    claimed = config.to_dict() | records_of(dataset) | {SETTLED: settling.values(config, settled)}
    require_same(claimed)
    files = workdir.RunFiles(folder)
    with contextlib.ExitStack() as held:
        files.own(held, claimed, FREE_FIELDS)
        runs = yield from problems.run(settled, dataset, folder, stop, bars)
        concluded = outcome.conclude(settled, runs)
        result = concluded.result | {"config": config.to_dict(), SETTLED: claimed[SETTLED], "versions": versions()}
        files.write_result(result)
    return Finished(result, concluded if config.figures else None)


def records_of(dataset: Dataset) -> dict[str, Any]:
    """What stands beside a run's configuration on its data, as plain values."""
    return {
        FINGERPRINT: dataset.fingerprint(),
        SIZES: dataclasses.asdict(checks.spec_of(dataset)),
        SCALER: scaler_of(dataset),
        ATTRIBUTES: list(dataset.attribute_names),
    }


def scaler_of(dataset: Dataset) -> dict[str, Any]:
    """How the descriptions were scaled, as plain values: what scales those of new classes."""
    scaler = dataset.semantics_scaler
    return (
        {} if scaler is None else {"kind": scaler.kind, "shift": scaler.shift.tolist(), "scale": scaler.scale.tolist()}
    )


@processes.from_first
def result_of(config: Any, folder: Path) -> dict[str, Any] | None:
    """The result of a run that is finished, None if it is not.

    Raises:
      InputError: it was made with other options, or is damaged.
    """
    if not (folder / RESULT).exists():
        return None
    workdir.claim_workdir(folder, config.to_dict(), ignore=(*FREE_FIELDS, FINGERPRINT))
    return read_json(folder / RESULT)


def compare_data(config: Any, folder: Path, known: dict[str, str]) -> str:
    """One line on whether the data of a finished run are as they were.

    Args:
      config: of the run.
      folder: of the run.
      known: fingerprints by options, to which this one's is added: runs of a sweep have the same data.

    Raises:
      InputError: they are others.
    """
    there, options = read_json(folder / CONFIG)[FINGERPRINT], config.data.to_json()
    if config.data.source == "synthetic" or config.data.semantics_scaling == VALIDATED:
        options += f" {config.seed}"
    if options not in known:
        try:
            known[options] = settling.settle(config, data.load(config.data, config.seed))[1].fingerprint()
        except InputError as error:
            return f"Its data are not at hand, so they were not compared: {str(error).splitlines()[0]}"
    if there != (now := known[options]):
        raise InputError(
            f"{folder}: finished on other data than those at hand: fingerprint {there[:12]} then, {now[:12]} now; the "
            "scores are of the former. Restore these data, or use another --workdir"
        )
    return f"Its data are as they were (fingerprint {now[:12]})."


def require_same(claimed: dict[str, Any]) -> None:
    """Raises InputError in all processes of a run when they do not have the same options and data."""
    first = processes.of_first(claimed)

    def check() -> None:
        if differing := workdir.differences(first, claimed, HOST_FIELDS):
            raise InputError(f"not what the first process has: {differing}; give all the same options and data")

    processes.all_do(check)

"""One run from configuration to `result.json`, as `main` starts it alone and `sweep` starts many."""

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import absl.logging
import jax
from absl import flags

from zsl_jax.errors import InputError
from zsl_jax.experiment import checks, outcome, problems
from zsl_jax.experiment.versions import versions
from zsl_jax.files import read_json
from zsl_jax.training import processes, stage, workdir
from zsl_jax.training.lockstep import Run
from zsl_jax.training.workdir import FINGERPRINT, RESULT, SIZES

# Fields that may differ when a run is resumed: they change where things are or when they are written, not the numbers.
FREE_FIELDS = (
    "data.root", "stage", "figures", "checkpoint_every", "parallel", "compilation_cache", "memory_mb", SIZES,
)  # fmt: skip
HOST_FIELDS = ("data.root", "compilation_cache")  # that may differ between the processes of a run
PRECISIONS = {"default": None, "high": "high", "highest": "highest", "bfloat16": "BF16_BF16_F32"}


@dataclasses.dataclass(frozen=True)
class Finished:
    """A result as in `result.json`, what its pictures show if there are to be some, whether it was over before."""

    result: dict[str, Any]
    outcome: outcome.Outcome | None
    before: bool = False


def parse(values: flags.FlagValues, arguments: list[str], required: tuple[str, ...]) -> None:
    """Reads the flags of a program that has --config; with --help it prints them and ends the process.

    Raises:
      InputError: an unknown flag or field, an unreadable config file, a missing flag.
    """
    if {"--help", "-h"} & set(arguments):
        print(sys.modules["__main__"].__doc__, values.get_help(), sep="\n")
        raise SystemExit(0)
    for name in values:
        if name.partition(".")[0] != "config":
            values[name].unparse()  # what an earlier call in this process gave
    try:
        rest = values(arguments)
        if values.config is not None:
            values.config.get("method")  # a file that could not be loaded says so when a field is looked at
    except Exception as error:  # a config file is a program: whatever it raises is an answer to what was asked
        raise InputError(plain(error)) from error
    if len(rest) > 1:
        raise InputError(f"{rest[1]!r} is not a flag; options are given as --config.field=value")
    missing = [name for name in required if getattr(values, name) is None]
    if missing:
        raise InputError(f"--{missing[0]} is missing; e.g. --config configs/zerodiff_digits.py --workdir runs/digits")


def parse_plain(
    values: flags.FlagValues, arguments: list[str], doc: str, required: dict[str, str], files: bool = False
) -> list[str]:
    """Reads the flags of a program without --config; with --help it prints `doc` and the flags and ends the process.

    Args:
      values: the program's flags.
      arguments: the program's name and its arguments.
      doc: what the program does.
      required: flags that must be given, with an example of each.
      files: whether arguments that are no flags are names of files.

    Returns:
      The arguments that are no flags.

    Raises:
      InputError: an unknown flag, a bad value, a missing flag.
    """
    if {"--help", "-h"} & set(arguments):
        print(doc, values.get_help(), sep="\n")
        raise SystemExit(0)
    for name in values:
        values[name].unparse()  # lists keep what an earlier call in this process gave
    try:
        rest = values(arguments)
    except flags.Error as error:
        raise InputError(plain(error)) from error
    if len(rest) > 1 and not files:
        raise InputError(f"{rest[1]!r} is not a flag; see --help")
    missing = [name for name in required if getattr(values, name) is None]
    if missing:
        raise InputError(f"--{missing[0]} is missing; e.g. --{missing[0]} {required[missing[0]]}")
    return rest[1:]


def plain(error: Exception) -> str:
    """What an exception says, in one line; of a traceback inside its text only the end."""
    said = error.strerror if isinstance(error, OSError) else None  # the first argument is a number
    text = str(said or (error.args[0] if error.args else error))
    if "Traceback" in text:
        text = text.strip().splitlines()[-1].partition(": ")[2]
    words = text.replace("\\n", " ").replace("\\'", "'").split()
    return " ".join(words).removeprefix("'")


def exit_code(program: Callable[[], int]) -> int:
    """Runs a program; its exit code, with one line on stderr when it can't go on.

    0: done; 1: the numbers broke (not finite); 2: bad input; 130 or 143: stopped by Ctrl-C or SIGTERM, saved.
    """
    try:
        return program()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # of a name that is too long, or in a folder that is closed
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except stage.Diverged as diverged:
        print(f"error: {diverged}", file=sys.stderr)
        return 1
    except stage.Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return 128 + interrupted.signum
    except KeyboardInterrupt:
        print("stopped at once; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


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


def complete(config: Any, folder: Path, stop: stage.StopRequest, bars: bool = True) -> Run[Finished]:
    """Trains and writes `result.json`, unless it is there; a generator, see `zsl_jax.training.lockstep`.

    Raises:
      InputError, Interrupted, Diverged: see `zsl_jax.training.stage.run_stage`.
    """
    before = result_of(config, folder)
    if before is not None:
        return Finished(before, None, before=True)
    if signum := stop.heard():
        raise stage.Interrupted(signum, "before it began")
    dataset = processes.all_do(lambda: problems.load(config))
    processes.in_first(checks.check_imports)(config, dataset, folder)
    sizes = dataclasses.asdict(checks.spec_of(dataset))
    claimed = config.to_dict() | {FINGERPRINT: dataset.fingerprint(), SIZES: sizes}
    require_same(claimed)
    files = workdir.RunFiles(folder)
    with contextlib.ExitStack() as held:
        files.own(held, claimed, FREE_FIELDS)
        runs = yield from problems.run(config, dataset, folder, stop, bars)
        concluded = outcome.conclude(config, runs)
        result = concluded.result | {"config": config.to_dict(), "versions": versions()}
        files.write_result(result)
    return Finished(result, concluded if config.figures else None)


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


def require_same(claimed: dict[str, Any]) -> None:
    """Raises InputError in all processes of a run when they do not have the same options and data."""
    first = processes.of_first(claimed)

    def check() -> None:
        if differing := workdir.differences(first, claimed, HOST_FIELDS):
            raise InputError(f"not what the first process has: {differing}; give all the same options and data")

    processes.all_do(check)

"""Trains and scores a configuration: `python -m zsl_jax.main --config configs/zerodiff_digits.py --workdir DIR`.

Options follow as `--config.section.field=value`. The same command again goes on where the last one stopped. Exit code
0: done; 1: the numbers broke (not finite); 2: bad input, one line says what to do; 130 or 143: stopped by Ctrl-C or
SIGTERM, saved.
"""

import contextlib
import logging
import sys
from pathlib import Path

import absl.logging
from absl import flags
from ml_collections import config_flags

from zsl_jax.errors import InputError

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
    "config", None, "Configuration file, e.g. configs/zerodiff_digits.py.", lock_config=True
)
flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, metrics, figures, result.json.")
flags.DEFINE_string("coordinator", None, "host:port of the first process, for runs of several without SLURM or MPI.")
flags.DEFINE_integer("processes", None, "Number of processes of the run.")
flags.DEFINE_integer("process", None, "Which of them this is, from 0.")

# Fields that may differ when a run is resumed: they change where things are or when they are written, not the numbers.
FREE_FIELDS = ("data.root", "stage", "figures", "checkpoint_every", "parallel")
FINGERPRINT = "data_fingerprint"  # kept beside the configuration, so that a run never goes on with other data


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    try:
        parse(arguments)
        return train_and_report(FLAGS.config, Path(FLAGS.workdir))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def parse(arguments: list[str]) -> None:
    """Reads the flags.

    Raises:
      InputError: an unknown flag or field, an unreadable config file, a missing flag.
    """
    try:
        rest = FLAGS(arguments)
        if FLAGS.config is not None:
            FLAGS.config.get("method")  # a file that could not be loaded says so when a field is looked at
    except Exception as error:  # a config file is a program: whatever it raises is an answer to what was asked
        raise InputError(plain(error)) from error
    if len(rest) > 1:
        raise InputError(f"{rest[1]!r} is not a flag; options are given as --config.field=value")
    missing = [name for name in ("config", "workdir") if getattr(FLAGS, name) is None]
    if missing:
        raise InputError(f"--{missing[0]} is missing; e.g. --config configs/zerodiff_digits.py --workdir runs/digits")


def plain(error: Exception) -> str:
    """What an exception says, in one line; of a traceback inside its text only the end."""
    text = str(error.args[0] if error.args else error)
    if "Traceback" in text:
        text = text.strip().splitlines()[-1].partition(": ")[2]
    words = text.replace("\\n", " ").replace("\\'", "'").split()
    return " ".join(words).removeprefix("'")


def train_and_report(config, workdir: Path) -> int:
    """Trains, draws, writes `result.json` and prints a table; returns the exit code."""
    import jax

    from zsl_jax import report
    from zsl_jax.training import experiment, lockstep, outcome, processes, stage, writers

    processes.join(FLAGS.coordinator, FLAGS.processes, FLAGS.process)
    speak(processes.is_first())
    jax.config.update("jax_default_matmul_precision", matmul_precision(config.matmul_precision))
    finished = workdir / "result.json"
    if finished.exists():
        writers.claim_workdir(workdir, config.to_dict(), ignore=(*FREE_FIELDS, FINGERPRINT))
        if processes.is_first():
            print(report.result_table(writers.read_json(finished)))
            print(f"{workdir}: this run is finished; nothing was done. Use another --workdir to train anew.")
        return 0
    dataset = experiment.load(config)
    claimed = config.to_dict() | {FINGERPRINT: dataset.fingerprint()}
    with contextlib.ExitStack() as held:
        processes.first_does(lambda: writers.own_workdir(held, workdir, claimed, FREE_FIELDS))
        try:
            with stage.watch_signals() as stop:
                runs = lockstep.drive(experiment.run(config, dataset, workdir, stop))
                concluded = outcome.conclude(config, runs)
                if not processes.is_first():
                    return 0
                pictures = report.draw(concluded, workdir) if config.figures else None
        except stage.Interrupted as interrupted:
            print(interrupted, file=sys.stderr)
            return 128 + interrupted.signum
        except KeyboardInterrupt:
            print("stopped at once; the same command goes on from the last checkpoint", file=sys.stderr)
            return 130
        except stage.Diverged as diverged:
            print(f"error: {diverged}", file=sys.stderr)
            return 1
        result = concluded.result | {"config": config.to_dict(), "versions": report.versions()}
        writers.write_json(finished, result)
    print(report.result_table(result, pictures))
    return 0


def speak(aloud: bool = True) -> None:
    """Sends this package's log (unless not `aloud`) to stderr, and of the libraries' logs the warnings."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    logging.getLogger("zsl_jax").setLevel(logging.INFO if aloud else logging.WARNING)
    absl.logging.set_verbosity(absl.logging.WARNING)


def matmul_precision(name: str) -> str | None:
    """JAX's name of a `matmul_precision` option.

    Raises:
      InputError: there is no such precision.
    """
    known = {"default": None, "high": "high", "highest": "highest"}
    if name not in known:
        raise InputError(f"config.matmul_precision: {name!r}; choose one of {tuple(known)}")
    return known[name]


if __name__ == "__main__":
    sys.exit(main(sys.argv))

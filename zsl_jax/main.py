"""Trains and scores a configuration: `python -m zsl_jax.main --config configs/zerodiff_digits.py --workdir DIR`.

Options follow as `--config.section.field=value`. The same command again goes on where the last one stopped. Exit code
0: done; 1: the numbers broke (not finite); 2: bad input, one line says what to do; 130 or 143: stopped by Ctrl-C or
SIGTERM, saved.
"""

import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from zsl_jax.experiment import runs
from zsl_jax.experiment.outcome import Outcome
from zsl_jax.report import tables
from zsl_jax.training import lockstep, processes, stage

FLAGS = flags.FlagValues()  # of its own, so that a process may import several programs
config_flags.DEFINE_config_file(
    "config", None, "Configuration file, e.g. configs/zerodiff_digits.py.", lock_config=True, flag_values=FLAGS
)
flags.DEFINE_string(
    "workdir", None, "Folder of the run: checkpoints, metrics, figures, result.json.", flag_values=FLAGS
)
flags.DEFINE_string(
    "coordinator", None, "host:port of the first process, for runs of several without SLURM or MPI.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "processes",
    None,
    "Number of processes; 1: alone, also where SLURM or MPI started several.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("process", None, "Which of them this is, from 0.", flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    return runs.exit_code(lambda: train_and_report(arguments))


def train_and_report(arguments: list[str]) -> int:
    """Trains, draws, writes `result.json` and prints a table."""
    runs.parse(FLAGS, arguments, ("config", "workdir"))
    config, workdir = FLAGS.config, Path(FLAGS.workdir)
    processes.join(FLAGS.coordinator, FLAGS.processes, FLAGS.process)
    processes.all_do(lambda: runs.prepare(config, aloud=processes.is_first()))
    with stage.watch_signals() as stop:
        finished = lockstep.drive(runs.complete(config, workdir, stop))
    if processes.is_first():
        drawn = None if finished.outcome is None else draw(finished.outcome, workdir)
        print(tables.result_table(finished.result, drawn))
        if finished.before:
            print(f"{workdir}: this run is finished; nothing was done. Use another --workdir to train anew.")
    return 0


def draw(outcome: Outcome, workdir: Path) -> Path:
    """Draws the pictures of a run that is over; returns their folder."""
    from zsl_jax.report import pictures  # here, since the libraries that draw take a second to load

    return pictures.draw(outcome, workdir)


if __name__ == "__main__":
    sys.exit(main(sys.argv))

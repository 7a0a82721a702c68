"""Trains and scores a configuration, or goes on where the same command last stopped.

    zsl-jax train zerodiff_digits --workdir runs/digits
    zsl-jax train zerodiff_sun:10 --workdir runs/sun_10 --config.data.root=ROOT --config.seed=3

The configuration is one that comes with zsl_jax, by name, or a path; what follows a colon is its argument. The workdir
gets checkpoints, metrics, figures and result.json. `python -m zsl_jax.main --config NAME_OR_PATH ...` is the same.
Exit code 0: done; 1: the numbers broke (not finite); 2: bad input, one line says what to do; 130 or 143: stopped by
Ctrl-C or SIGTERM, saved.
"""

import argparse
from pathlib import Path
from typing import Any

from zsl_jax.commands import cli


def flags(parser: cli.Parser) -> None:
    """Adds the flags."""
    cli.config_flags(parser)
    parser.add_argument("--workdir", type=cli.path, help="Folder of the run: checkpoints, metrics, figures, results.")
    parser.add_argument(
        "--dry-run", action="store_true", help="Say what would be trained; train nothing and write nothing."
    )
    parser.add_argument("--coordinator", help="host:port of the first process, for several without SLURM or MPI.")
    parser.add_argument(
        "--processes", type=int, help="Number of processes; 1: alone, also where SLURM or MPI started several."
    )
    parser.add_argument("--process", type=int, help="Which of them this is, from 0.")


def run(said: argparse.Namespace) -> int:
    """Trains, draws, writes `result.json` and prints a table."""
    config = cli.read_config(said)
    if said.dry_run:
        return dry_run(config, said)
    cli.require(said, workdir="runs/digits")
    from zsl_jax.experiment import runs
    from zsl_jax.report import tables
    from zsl_jax.training import lockstep, processes, stage

    processes.join(said.coordinator, said.processes, said.process)
    processes.all_do(lambda: runs.prepare(config, aloud=processes.is_first()))
    with stage.watch_signals() as stop:
        finished = lockstep.drive(runs.complete(config, said.workdir, stop))
    if processes.is_first():
        print(tables.result_table(finished.result, finished.outcome and draw(finished.outcome, said.workdir)))
        if finished.before:
            print(f"{said.workdir}: this run is finished; nothing was done. Use another --workdir to train anew.")
            print(runs.compare_data(config, said.workdir, {}))
    return 0


def draw(outcome: Any, workdir: Path) -> Path:
    """Draws the pictures of a run that is over; returns their folder."""
    from zsl_jax.report import pictures

    return pictures.draw(outcome, workdir)


def dry_run(config: Any, said: argparse.Namespace) -> int:
    """Prints the configuration, the rows, and the stages with their iterations."""
    from zsl_jax.experiment import preview, runs

    runs.prepare(config, aloud=False)
    lines = preview.lines(config, said.workdir)
    print("\n".join([cli.describe(cli.config_name(said), said.fields), "", *lines, "Nothing was trained or written."]))
    return 0

"""Trains every method under one protocol on one data set: a table and a figure.

    zsl-jax leaderboard --data digits --methods all --seeds 5 --workdir runs/leaderboard
    zsl-jax leaderboard --data awa1 --methods zerodiff,tfvaegan --seeds 3 --percent 100,30,10 --epochs 8 \\
        --workdir runs/awa1_leaderboard --set data.root=ROOT
    zsl-jax leaderboard --data ROOT/NAME --workdir runs/mine

The last is on a data set of one's own, made by `zsl-jax data import`, with the configurations own_data:METHOD.

Each run has a folder of its own, WORKDIR/<method>,<percent>/seed_<s>, as `zsl-jax train` would leave it but for
pictures; the seeds of a method are trained side by side. The workdir gets leaderboard.csv (a line for each run),
leaderboard.md and leaderboard.png (and .pdf), written anew after each method. The same command again goes on and skips
what is finished. With --minutes a method that takes longer is left unfinished, to be gone on with by the same command.
"""

import argparse
import sys
from pathlib import Path

from zsl_jax.commands import cli


def flags(parser: cli.Parser) -> None:
    """Adds the flags."""
    parser.fields = "", "--set FIELD=VALUE"
    add = parser.add_argument
    add(
        "--data",
        default="digits",
        help="digits, awa1, another variant of all configurations, or a folder ROOT/NAME (digits).",
    )
    add(
        "--methods", type=cli.listed, default=["all"],
        help="Names, NAME=CONFIGURATION for one's own (a name or path, in it {data} for --data), or all.",
    )  # fmt: skip
    add("--seeds", type=cli.number(int, 1), default=3, help="Number of seeds, from 0 on (3).")
    add("--percent", type=cli.listed, default=["100"], help="Shares of the training rows (100).")
    add("--epochs", type=cli.number(int, 0), default=0, help="Epochs of all generators; 0: as configured.")
    add(
        "--minutes", type=cli.number(float, 0), default=0.0,
        help="Most minutes for a method at one percentage; 0: no limit.",
    )  # fmt: skip
    add("--set", action="append", default=[], help="FIELD=VALUE, in every configuration that has the field.")
    add("--workdir", type=cli.path, help="Folder of all runs, of the table and of the figure.")


def run(said: argparse.Namespace) -> int:
    """Trains all methods and writes the table and the figure."""
    cli.require(said, workdir="runs/leaderboard")
    import jax

    from zsl_jax.experiment import ranking, runs
    from zsl_jax.report import many

    name = Path(said.data).name
    shares = ranking.percentages(said.percent)
    cells = ranking.make_cells(ranking.chosen(said.methods, said.data), said.data, shares, said.epochs, said.set)
    runs.prepare(cells[0].config, aloud=False)
    unfinished: list[str] = []
    for cell in cells:
        print(f"{cell.name}: {said.seeds} seeds", file=sys.stderr)
        unfinished += ranking.run_cell(cell, said.seeds, said.workdir, said.minutes)
        jax.clear_caches()  # the next method has programs of its own
        if rows := ranking.finished(said.workdir):
            many.write_ranking(rows, said.workdir, name)
    if rows := ranking.finished(said.workdir):
        print(many.ranking(rows, name))
    for line in unfinished:
        print(f"not in the table: {line}", file=sys.stderr)
    return 1 if unfinished else 0

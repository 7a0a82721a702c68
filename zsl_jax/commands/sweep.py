"""Trains a configuration with many values and seeds and tells how the scores depend on them.

    zsl-jax sweep zerodiff_digits --workdir runs/sweep --seeds 5 --grid dfg.gamma_dist=0,1,5 --grid dfg.lr=1e-4,5e-4

Every --grid adds a dimension; values of several --zip vary together; every --also CONFIG is a further configuration,
e.g. an ablation. Runs that differ in seeds and in numbers of the training steps alone are trained as one compiled
program. Each run has a folder of its own, WORKDIR/<cell>/seed_<s>, as `zsl-jax train` would leave it but for pictures.
The workdir gets runs.csv, table.md and a figure for each swept field. The same command again goes on and skips what is
finished.
"""

import argparse

from zsl_jax.commands import cli
from zsl_jax.errors import InputError


def flags(parser: cli.Parser) -> None:
    """Adds the flags."""
    cli.config_flags(parser, "Configuration to vary")
    add = parser.add_argument
    add("--workdir", type=cli.path, help="Folder of all runs, of runs.csv, table.md and the figures.")
    add("--seeds", type=cli.number(int, 1), default=3, help="Number of seeds, from the configuration's on (3).")
    add("--grid", action="append", default=[], help="FIELD=V1,V2,...: every value with all of the other grids.")
    add("--zip", action="append", default=[], help="FIELD=V1,V2,...: values that vary together with the other zips'.")
    add("--also", action="append", default=[], help="A further configuration, with the same values and seeds.")
    add("--most", type=cli.number(int, 0), default=0, help="Most runs trained as one program; 0: as memory allows.")


def run(said: argparse.Namespace) -> int:
    """Trains all runs and writes the tables and figures."""
    config = cli.read_config(said)
    cli.require(said, workdir="runs/sweep")
    from zsl_jax.experiment import runs, sweep
    from zsl_jax.report import many
    from zsl_jax.training import stage

    runs.prepare(config, aloud=False)
    cells = sweep.make_cells(config, said.also, said.grid, said.zip, said.fields)
    work = [(cell, config.seed + number) for cell in cells for number in range(said.seeds)]
    ends = sweep.train(work, said.workdir, said.most)
    sweep.require_known(end for _, end in ends)
    rows = [sweep.row_of(cell, seed, end.result) for (cell, seed), end in ends if isinstance(end, runs.Finished)]
    broken = [f"{cell.name}, seed {seed}: {end}" for (cell, seed), end in ends if not isinstance(end, runs.Finished)]
    if rows:
        print(many.write_sweep(rows, said.workdir, f"{config.method} on {config.data.dataset}"))
    if broken:
        diverged = all(isinstance(end, runs.Finished | stage.Diverged) for _, end in ends)
        kind = stage.Diverged if diverged else InputError
        raise kind("; ".join(broken) if len(broken) < 4 else f"{len(broken)} runs ended early, first {broken[0]}")
    return 0

"""Scores a finished run, or imported nets, once more: nothing is trained, nothing is written into the workdir.

    zsl-jax evaluate --workdir runs/awa1
    zsl-jax evaluate --workdir runs/awa1 --data root=ROOT --out again.json

Every state of the test task that was kept is scored with the keys, options, calibrations and choices of the run, on the
data of the run or on others (--data). Prints the table of `zsl-jax train` and says how many of the recorded scores were
made again and whether they are equal; a score whose state was not kept shows as "-". Of an unfinished run the stages
that are finished are scored.
"""

import argparse

from zsl_jax.commands import cli


def flags(parser: cli.Parser) -> None:
    """Adds the flags."""
    cli.workdir_flags(parser)
    parser.add_argument("--out", type=cli.path, help="File for the scores as JSON; must not be there yet.")


def run(said: argparse.Namespace) -> int:
    """Scores, prints, and writes the scores where asked to."""
    cli.require(said, workdir="runs/digits")
    from zsl_jax.experiment import comparison, rescoring
    from zsl_jax.experiment.versions import versions
    from zsl_jax.files import write_json
    from zsl_jax.report import tables

    workdir = rescoring.open_workdir(said.workdir)
    if said.out is not None:
        cli.require_new(said.out, workdir.path)
    result, lines = comparison.score(workdir, said.data)
    result |= {"versions": versions()}
    print("\n".join([tables.result_table(result), *lines]))
    if said.out is not None:
        write_json(said.out, result | {"remarks": lines})
    return 0

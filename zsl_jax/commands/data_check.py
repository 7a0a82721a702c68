"""Says what a data folder holds, what is missing and where it comes from.

    zsl-jax data check --root ROOT --dataset AWA2

Ends with 2 when a file is unusable, when nothing is found, or when the data set asked for can't be trained on; else 0.
"""

import argparse
import os
import sys

from zsl_jax.commands import cli


def flags(parser: cli.Parser) -> None:
    """Adds the flags."""
    parser.add_argument("--root", default=os.environ.get("ZSL_JAX_DATA"), help="Folder of data sets (ZSL_JAX_DATA).")
    parser.add_argument("--dataset", help="Only this one, e.g. AWA2.")


def run(said: argparse.Namespace) -> int:
    """Checks the folder, prints the result."""
    from zsl_jax.data import check

    reports = check.check_root(cli.path(said.root) if said.root else None, said.dataset)
    print("\n\n".join(check.render(report) for report in reports) + "\n\n" + check.render_sources(reports))
    problems = [problem for report in reports for problem in report.problems]
    if said.dataset and not reports[0].trainable:
        problems.append(f"{said.dataset}: can't be trained on yet; features, labels and splits are needed")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 2 if problems else 0

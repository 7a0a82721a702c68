"""How fast a configuration trains, against what the machine could do and against eager PyTorch.

    zsl-jax bench zerodiff_awa2 --config.data.source=synthetic
    zsl-jax bench zerodiff_awa2 --config.data.source=synthetic --compare torch --torch-python PATH
    zsl-jax bench zerodiff_awa2 --config.data.source=synthetic --scale seeds=1,2,4

PATH is a Python that has torch; --scale also takes batch=, devices=, width= and rows=. Trains each stage for some
iterations, --repeats times, after one chunk that compiles; nothing is scored, and what earlier stages would leave is
stood in for by random numbers. Prints a table and writes all numbers to --out. Run it alone: anything else on the
machine shows in the numbers.

TF-VAEGAN's passes over the rows are by turns without and with feedback. Its timing and the bytes of its optimisers are
of the first pass, without, unless the iterations asked for go beyond it; FLOP, bytes and rate of its products are of
the dearer pass, with feedback.
"""

import argparse
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from zsl_jax.commands import cli
from zsl_jax.errors import InputError
from zsl_jax.report.table import Row, Table


def flags(parser: cli.Parser) -> None:
    """Adds the flags."""
    cli.config_flags(parser)
    add = parser.add_argument
    add("--devices", type=int, help="Devices to spread a batch (or the seeds) over; default: as configured.")
    add("--seeds", type=cli.number(int, 1), default=1, help="Runs that differ in their seed, as one program (1).")
    add("--precision", help="Precision of matrix products, as config.matmul_precision.")
    add("--iterations", type=cli.number(int, 1), default=5, help="Iterations of one timing (5).")
    add("--repeats", type=cli.number(int, 1), default=5, help="Timings (5).")
    add("--stages", type=cli.listed, default=[], help="Stages to time; default: those that make no view.")
    cli.switch(parser, "classifier", True, "Also time the final softmax classifier in two spaces (default).")
    add("--compare", choices=["torch"], help="Time the same in eager PyTorch, in turns.")
    add("--torch-python", type=cli.expanded, default="", help="A Python that has torch.")
    add("--scale", default="", help="DIMENSION=V1,V2,...: a line for each of seeds, batch, devices, width, rows.")
    add("--out", type=cli.path, default=Path("bench.json"), help="File for all numbers (bench.json).")


def run(said: argparse.Namespace) -> int:
    """Times all cases, prints the table and writes the numbers."""
    given = cli.read_config(said)
    if said.compare and not said.torch_python:
        raise InputError("--compare torch: name a Python that has torch by --torch-python")
    if not said.out.parent.is_dir():
        raise InputError(f"--out {said.out}: there is no folder {said.out.parent}")
    from zsl_jax.benchmarking import cases, costs, timing
    from zsl_jax.benchmarking.work import Machine
    from zsl_jax.experiment import runs
    from zsl_jax.experiment.versions import versions
    from zsl_jax.files import write_json

    config = changed(given, said)
    effort = timing.Effort(said.iterations, said.repeats, said.torch_python if said.compare else "")
    runs.prepare(config, aloud=False)
    asked = cases.make_cases(config, said.stages, said.seeds, said.scale)
    machine = Machine(costs.copy_bandwidth())
    rows = [timing.time_stage(case, effort, machine) for case in asked]
    if said.classifier and not said.scale:
        widths = cases.classifier_widths(cases.Case(config, config.stages[-1]))
        rows += [timing.time_classifier(*place, effort, machine) for place in widths.items()]
    print(table(rows))
    made_by = versions()
    print(f"copy bandwidth {machine.bandwidth / 1e9:.1f} GB/s; {made_by['device']}")
    numbers = {"rows": rows, "copy_bandwidth": machine.bandwidth, "versions": made_by, "config": config.to_dict()}
    write_json(said.out, numbers)
    return 0


def changed(given: Any, said: argparse.Namespace) -> Any:
    """The configuration with what flags set in it."""
    config: Any = ConfigDict(given.to_dict())
    if said.devices is not None:
        config.parallel.devices = said.devices
    config.matmul_precision = said.precision or config.matmul_precision
    return config


COLUMNS = (
    ("", lambda row: row["name"]),
    ("compile s", lambda row: f"{row['compile_seconds']:.1f}"),
    ("ms", lambda row: f"{1e3 * row['seconds']:.2f}"),
    ("least-most", lambda row: f"{1e3 * row['least']:.2f}-{1e3 * row['most']:.2f}"),
    ("samples/s", lambda row: f"{row['samples_per_second']:.0f}" if "samples_per_second" in row else "-"),
    ("GFLOP", lambda row: f"{row['flops'] / 1e9:.1f}"),
    ("GFLOP/s", lambda row: f"{row['flops_per_second'] / 1e9:.0f}"),
    ("of matmul rate", lambda row: f"{100 * row['share_of_matmul_rate']:.0f} %"),
    ("GB", lambda row: f"{row['bytes'] / 1e9:.2f}"),
    ("of copy rate", lambda row: f"{100 * row['share_of_bandwidth']:.0f} %"),
    ("host", lambda row: f"{100 * row['host_share']:.2f} %" if "host_share" in row else "-"),
    ("peak GB", lambda row: f"{row['peak_bytes'] / 1e9:.1f}"),
    ("torch ms", lambda row: f"{1e3 * row['torch_seconds']:.2f}" if "ratio" in row else "-"),
    ("ratio", lambda row: f"{row['ratio']:.2f}" if "ratio" in row else "-"),
)


def table(rows: list[dict[str, Any]]) -> str:
    """The lines as text in columns."""
    lines = [Row([show(row) for _, show in COLUMNS]) for row in rows]
    return Table([title for title, _ in COLUMNS], lines).text()

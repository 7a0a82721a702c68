"""How fast a configuration trains, against what the machine could do and against eager PyTorch.

    python -m zsl_jax.commands.bench --config configs/zerodiff_awa2.py --config.data.source=synthetic
    python -m zsl_jax.commands.bench --config configs/zerodiff_awa2.py --config.data.source=synthetic \\
        --compare torch --torch-python PATH          # PATH: a Python that has torch
    python -m zsl_jax.commands.bench --config ... --scale seeds=1,2,4    # or batch=, devices=, width=, rows=

Trains each stage for some iterations, `--repeats` times, after one chunk that compiles; nothing is scored, and what
earlier stages would leave is stood in for by random numbers. Prints a table and writes all numbers to `--out`. Run it
alone: anything else on the machine shows in the numbers.

TF-VAEGAN's passes over the rows are by turns without and with feedback. Its timing and the bytes of its optimisers are
of the first pass, without, unless the iterations asked for go beyond it; FLOP, bytes and rate of its products are of
the dearer pass, with feedback.
"""

import sys
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from zsl_jax import files
from zsl_jax.benchmarking import cases, costs, timing
from zsl_jax.benchmarking.work import Machine
from zsl_jax.errors import InputError
from zsl_jax.experiment import runs
from zsl_jax.experiment.versions import versions
from zsl_jax.report.table import Row, Table

FLAGS = flags.FlagValues()  # of its own, so that a process may import several programs
config_flags.DEFINE_config_file("config", None, "Configuration file.", lock_config=True, flag_values=FLAGS)
flags.DEFINE_integer(
    "devices", None, "Devices to spread a batch (or the seeds) over; default: as configured.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "seeds", 1, "Runs that differ in their seed, trained as one program.", lower_bound=1, flag_values=FLAGS
)
flags.DEFINE_string("precision", None, "Precision of matrix products, as config.matmul_precision.", flag_values=FLAGS)
flags.DEFINE_integer("iterations", 5, "Iterations of one timing.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("repeats", 5, "Timings.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_list(
    "stages", [], "Stages to time; default: those of the configuration that make no view.", flag_values=FLAGS
)
flags.DEFINE_bool(
    "classifier",
    True,
    "Also time the final softmax classifier in the narrowest and the widest space.",
    flag_values=FLAGS,
)
flags.DEFINE_enum("compare", None, ["torch"], "Time the same in eager PyTorch, in turns.", flag_values=FLAGS)
flags.DEFINE_string("torch-python", None, "A Python that has torch.", flag_values=FLAGS)
flags.DEFINE_string(
    "scale",
    None,
    "DIMENSION=V1,V2,...: one line for each value of seeds, batch, devices, width, rows.",
    flag_values=FLAGS,
)
flags.DEFINE_string("out", "bench.json", "File for all numbers.", flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    return runs.exit_code(lambda: bench(arguments))


def bench(arguments: list[str]) -> int:
    """Times all cases, prints the table and writes the numbers."""
    runs.parse(FLAGS, arguments, ("config",))
    effort, out = read_effort(), read_out()
    config = read_config()
    runs.prepare(config, aloud=False)
    asked = cases.make_cases(config, FLAGS.stages, FLAGS.seeds, FLAGS.scale or "")
    machine = Machine(costs.copy_bandwidth())
    rows = [timing.time_stage(case, effort, machine) for case in asked]
    if FLAGS.classifier and not FLAGS.scale:
        widths = cases.classifier_widths(cases.Case(config, config.stages[-1]))
        rows += [timing.time_classifier(*place, effort, machine) for place in widths.items()]
    print(table(rows))
    made_by = versions()
    print(f"copy bandwidth {machine.bandwidth / 1e9:.1f} GB/s; {made_by['device']}")
    numbers = {"rows": rows, "copy_bandwidth": machine.bandwidth, "versions": made_by, "config": config.to_dict()}
    files.write_json(out, numbers)
    return 0


def read_config() -> Any:
    """The configuration with what flags set in it."""
    config: Any = ConfigDict(FLAGS.config.to_dict())
    if FLAGS.devices is not None:
        config.parallel.devices = FLAGS.devices
    config.matmul_precision = FLAGS.precision or config.matmul_precision
    return config


def read_effort() -> timing.Effort:
    """How long to time what.

    Raises:
      InputError: PyTorch is asked for, but not where it is.
    """
    python = FLAGS["torch-python"].value or ""
    if FLAGS.compare and not python:
        raise InputError("--compare torch: name a Python that has torch by --torch-python")
    return timing.Effort(FLAGS.iterations, FLAGS.repeats, python if FLAGS.compare else "")


def read_out() -> Path:
    """The file for the numbers; raises InputError when its folder is not there."""
    out = Path(FLAGS.out)
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}")
    return out


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


if __name__ == "__main__":
    sys.exit(main(sys.argv))

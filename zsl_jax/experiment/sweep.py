"""Trains a configuration with many values and seeds and tells how the scores depend on them.

    python -m zsl_jax.experiment.sweep --config configs/zerodiff_digits.py --workdir runs/sweep --seeds 5 \\
        --grid dfg.gamma_dist=0,1,5 --grid dfg.lr=1e-4,5e-4

Every --grid adds a dimension; values of several --zip vary together; every --also FILE is a further configuration, e.g.
an ablation. Runs that differ in seeds and in numbers of the training steps alone are trained as one compiled program.
Each run has a folder of its own, `WORKDIR/<cell>/seed_<s>`, as `zsl_jax.main` would leave it but for pictures. The
workdir gets `runs.csv`, `table.md` and a figure for each swept field. The same command again goes on and skips what is
finished.
"""

import ast
import dataclasses
import itertools
import re
import runpy
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags
from tqdm import tqdm

from zsl_jax.errors import InputError
from zsl_jax.evaluation.protocol import SCORES
from zsl_jax.experiment import runs
from zsl_jax.training import lockstep, stage

FLAGS = flags.FlagValues()  # of its own, so that a process may import several programs
config_flags.DEFINE_config_file("config", None, "Configuration file to vary.", lock_config=True, flag_values=FLAGS)
flags.DEFINE_string("workdir", None, "Folder of all runs, of runs.csv, table.md and the figures.", flag_values=FLAGS)
flags.DEFINE_integer("seeds", 3, "Number of seeds, from the configuration's seed on.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_multi_string(
    "grid", [], "FIELD=V1,V2,...: every value with every value of the other grids.", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "zip", [], "FIELD=V1,V2,...: values that vary together with those of the other zips.", flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "also", [], "A further configuration file, trained with the same values and seeds.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "most", 0, "Runs trained as one program at the most; 0: as memory allows.", lower_bound=0, flag_values=FLAGS
)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One combination of values: name (of its folder), values by field, configuration."""

    name: str
    values: dict[str, Any]
    config: Any


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    return runs.exit_code(lambda: sweep(arguments))


def sweep(arguments: list[str]) -> int:
    """Trains all runs and writes the tables and figures."""
    runs.parse(FLAGS, arguments, ("config", "workdir"))
    workdir = Path(FLAGS.workdir)
    runs.prepare(FLAGS.config, aloud=False)
    cells = make_cells(FLAGS.config, FLAGS.also, FLAGS.grid, FLAGS.zip, overridden())
    work = [(cell, FLAGS.config.seed + number) for cell in cells for number in range(FLAGS.seeds)]
    ends = train(work, workdir, FLAGS.most)
    require_known(end for _, end in ends)
    rows = [row_of(cell, seed, end.result) for (cell, seed), end in ends if isinstance(end, runs.Finished)]
    broken = [f"{cell.name}, seed {seed}: {end}" for (cell, seed), end in ends if not isinstance(end, runs.Finished)]
    if rows:
        from zsl_jax.report import many

        print(many.write_sweep(rows, workdir))
    if broken:
        diverged = all(isinstance(end, runs.Finished | stage.Diverged) for _, end in ends)
        kind = stage.Diverged if diverged else InputError
        raise kind("; ".join(broken) if len(broken) < 4 else f"{len(broken)} runs ended early, first {broken[0]}")
    return 0


def overridden() -> dict[str, Any]:
    """The fields that the command line sets, with their values."""
    return config_flags.get_override_values(FLAGS["config"])


def make_cells(
    config: Any, also: Sequence[str], grids: Sequence[str], zips: Sequence[str], overrides: dict[str, Any] | None = None
) -> list[Cell]:
    """All combinations of configurations and values.

    Args:
      config: the base.
      also: further configuration files; `overrides` are set in these too.
      grids, zips: "field=v1,v2" each.

    Raises:
      InputError: a field that is not there, values of another type, zips of different lengths, a file twice.
    """
    if len(set(map(title, also))) < len(also):
        raise InputError(f"--also {', '.join(also)}: two of them have the same name")
    bases = {"base": config} | {title(name): load(name, overrides or {}, "--also") for name in also}
    cells = []
    for name, base in bases.items():
        label = {"config": name} if also else {}
        crossed = [parse_values(base, text, "--grid") for text in grids]
        zipped = [parse_values(base, text, "--zip") for text in zips]
        for values in combinations(crossed, zipped):
            cells.append(Cell(folder_name(label | values), label | values, changed(base, values)))
    require_one_precision(cell.config for cell in cells)
    return cells


def changed(config: Any, values: dict[str, Any]) -> Any:
    """A copy with other values; fields that refer to a changed field follow it, as on `main`'s command line."""
    before = {field: _look_up(config, field) for field in values}
    config.update_from_flattened_dict(values)
    copy = ConfigDict(config.to_dict())
    config.update_from_flattened_dict(before)
    return copy


def title(name: str) -> str:
    """What a configuration file with its argument is called in tables."""
    path, colon, argument = name.partition(":")
    return Path(path).stem + colon + argument


def load(name: str, overrides: dict[str, Any], flag: str) -> Any:
    """A configuration file with its argument, locked, with `overrides` set in it.

    Raises:
      InputError: it cannot be loaded; begins with the flag's name.
    """
    path, colon, argument = name.partition(":")
    try:
        config = runpy.run_path(path)["get_config"](*([argument] if colon else []))
        config.lock()
        config.update_from_flattened_dict(overrides)
        return config
    except Exception as error:  # a config file is a program
        raise InputError(f"{flag} {name}: {runs.plain(error)}") from error


def parse_values(config: Any, text: str, flag: str) -> tuple[str, list[Any]]:
    """Field and values of "field=v1,v2", as Python literals where they are some, else as text.

    Raises:
      InputError: no "=", no such field, or a value of another type than the field's; begins with the flag's name.
    """
    try:
        return _field_and_values(config, text)
    except InputError as error:
        raise InputError(f"{flag} {error}") from error


def _field_and_values(config: Any, text: str) -> tuple[str, list[Any]]:
    field, equals, listed = text.partition("=")
    if not equals or not listed:
        raise InputError(f"{text}: write it as FIELD=V1,V2,...")
    if field == "seed":
        raise InputError("seed: seeds are swept by --seeds N, from --config.seed on")
    there = _look_up(config, field)
    # Values are split at commas outside of brackets, so that tuples can be swept.
    values = [_convert(field, part, there) for part in re.split(r",(?![^(]*\))", listed)]
    if len(set(map(repr, values))) < len(values):
        raise InputError(f"{text}: a value stands there twice")
    return field, values


def _look_up(config: Any, field: str) -> Any:
    try:
        for part in field.split("."):
            config = config[part]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{field}: the configuration has no such field ({runs.plain(error)})") from error
    if isinstance(config, ConfigDict):
        raise InputError(f"{field}: that is a section; name one of its fields")
    return config


def _convert(field: str, text: str, there: Any) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(there, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(there):
        raise InputError(f"{field}: {text!r}, but the field holds {there!r} ({type(there).__name__})")
    return value


def combinations(grids: Sequence[tuple[str, list]], zips: Sequence[tuple[str, list]]) -> Iterator[dict[str, Any]]:
    """Every combination of the grids' values, and of each of these with every place of the zips."""
    if len({len(values) for _, values in zips}) > 1:
        raise InputError(f"--zip: {', '.join(f'{field} has {len(values)}' for field, values in zips)} values")
    lists = [[(field, value) for value in values] for field, values in zips]
    together = zip(*lists, strict=True) if lists else [()]
    for place in map(dict, together):
        for values in itertools.product(*(values for _, values in grids)):
            yield place | dict(zip([field for field, _ in grids], values, strict=True))


def folder_name(values: dict[str, Any]) -> str:
    """A folder's name that says the values."""
    listed = ",".join(f"{field}={value}" for field, value in values.items()) or "base"
    return re.sub(r"[^A-Za-z0-9_.,=+-]", "_", listed)


def train(
    work: Sequence[tuple[Cell, int]], workdir: Path, most: int, seconds: float = 0
) -> list[tuple[tuple[Cell, int], Any]]:
    """Trains all runs side by side, for `seconds` at the most (0: no limit); returns each with what it ended with.

    That is a `runs.Finished` or an exception: `Interrupted` if a signal came or the time is up.
    """
    ends: dict[int, Any] = {}
    with (
        stage.watch_signals() as stop,
        stage.time_limit(stop, seconds),
        tqdm(total=len(work), desc="runs", unit="run", disable=None) as bar,
    ):
        started = [_start(cell, seed, workdir, stop) for cell, seed in work]

        def finish(number: int, end: Any) -> None:
            ends[number] = end
            bar.update()

        lockstep.drive_all(started, most, tuple(jax.devices()), finish)
    return [(one, ends[number]) for number, one in enumerate(work)]


def require_known(ends: Iterable[Any]) -> None:
    """Raises what a run ended with, if it is a signal, or an error that says nothing about its options or numbers."""
    broken = [end for end in ends if isinstance(end, Exception) and not isinstance(end, InputError | stage.Diverged)]
    for end in sorted(broken, key=lambda end: not isinstance(end, stage.Interrupted)):
        raise end


def require_one_precision(configs: Iterable[Any]) -> None:
    """Raises InputError when configurations of one process ask for several precisions."""
    if len({config.matmul_precision for config in configs}) > 1:
        raise InputError("matmul_precision: one process has one; sweep it by a command for each value")


def _start(cell: Cell, seed: int, workdir: Path, stop: stage.StopRequest) -> lockstep.Run[runs.Finished]:
    config: Any = ConfigDict(cell.config.to_dict())
    config.seed, config.figures = seed, False
    config.parallel.devices, config.parallel.mode = 1, "sharded"  # devices share runs, not batches
    return runs.complete(config, workdir / cell.name / f"seed_{seed}", stop, bars=False)


def row_of(cell: Cell, seed: int, result: dict[str, Any]) -> dict[str, Any]:
    """One line of runs.csv: values, seed, the headline, and all protocols in all spaces."""
    headline = result["headline"]
    row = cell.values | {"seed": seed, "protocol": headline["protocol"], "space": headline["space"]}
    row |= {score: headline[score] for score in SCORES}
    for protocol, spaces in result["protocols"].items():
        for space, scores in spaces.items():
            row |= {f"{protocol}/{space}/{score}": scores[score] for score in SCORES}
    return row


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""A configuration with many values and seeds: cells, their runs side by side, and how the scores depend on them."""

import dataclasses
import itertools
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from zsl_jax.config import options
from zsl_jax.errors import InputError
from zsl_jax.evaluation import protocol
from zsl_jax.evaluation.protocol import SCORES
from zsl_jax.experiment import runs
from zsl_jax.training import lockstep, stage, stopping
from zsl_jax.training.workdir import progress

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One combination of values: name (of its folder), values by field, configuration."""

    name: str
    values: dict[str, Any]
    config: Any


def make_cells(
    config: Any, also: Sequence[str], grids: Sequence[str], zips: Sequence[str], fields: Sequence[str] = ()
) -> list[Cell]:
    """All combinations of configurations and values.

    Args:
      config: the base.
      also: further configurations, by name or path.
      fields: "field=value" each, set in these too.
      grids, zips: "field=v1,v2" each.

    Raises:
      InputError: a field that is not there, values of another type, zips of different lengths, a file twice.
    """
    if len(set(map(options.title, also))) < len(also):
        raise InputError(f"--also {', '.join(also)}: two of them have the same name")
    bases = {"base": config} | {options.title(name): options.load(name, fields, "--also") for name in also}
    for text in (*grids, *zips):
        if text.partition("=")[0] == "seed":
            raise InputError("seed: seeds are swept by --seeds N, from --config.seed on")
    cells = []
    for name, base in bases.items():
        label = {"config": name} if also else {}
        crossed = [options.parse_values(base, text, "--grid") for text in grids]
        zipped = [options.parse_values(base, text, "--zip") for text in zips]
        for values in combinations(crossed, zipped):
            cells.append(Cell(folder_name(label | values), label | values, options.changed(base, values)))
    require_one_precision(cell.config for cell in cells)
    return cells


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
        stopping.watch_signals() as stop,
        stopping.time_limit(stop, seconds),
        progress(len(work), "runs", "run") as bar,
    ):
        started = [_start(cell, seed, workdir, stop) for cell, seed in work]

        def finish(number: int, end: Any) -> None:
            ends[number] = end
            bar.update()

        lockstep.drive_all(started, most, tuple(jax.devices()), finish)
    found = [(one, ends[number]) for number, one in enumerate(work)]
    compare_data(found, workdir)
    return found


def compare_data(ends: Iterable[tuple[tuple[Cell, int], Any]], workdir: Path) -> None:
    """Says of runs that were finished before if their data are not at hand; raises InputError if they are others."""
    known: dict[str, str] = {}
    for (cell, seed), end in ends:
        if isinstance(end, runs.Finished) and end.before:
            folder = folder_of(cell, seed, workdir)
            if "not compared" in (line := runs.compare_data(with_seed(cell, seed), folder, known)):
                log.warning("%s: %s", folder, line)


def require_known(ends: Iterable[Any]) -> None:
    """Raises what a run ended with, if it is a signal, or an error that says nothing about its options or numbers."""
    broken = [end for end in ends if isinstance(end, Exception) and not isinstance(end, InputError | stage.Diverged)]
    for end in sorted(broken, key=lambda end: not isinstance(end, stopping.Interrupted)):
        raise end


def require_one_precision(configs: Iterable[Any]) -> None:
    """Raises InputError when configurations of one process ask for several precisions."""
    if len({config.matmul_precision for config in configs}) > 1:
        raise InputError("matmul_precision: one process has one; sweep it by a command for each value")


def with_seed(cell: Cell, seed: int) -> Any:
    """The configuration of a cell's run: without pictures, on one device, since devices share runs, not batches."""
    config: Any = ConfigDict(cell.config.to_dict())
    config.seed, config.figures = seed, False
    config.parallel.devices, config.parallel.mode = 1, "sharded"
    return config


def folder_of(cell: Cell, seed: int, workdir: Path) -> Path:
    """The workdir of a cell's run."""
    return workdir / cell.name / f"seed_{seed}"


def _start(cell: Cell, seed: int, workdir: Path, stop: stopping.StopRequest) -> lockstep.Run[runs.Finished]:
    # On a terminal bars of many runs would hide each other; elsewhere one line in half a minute says where some are.
    bars = not sys.stderr.isatty()
    return runs.complete(with_seed(cell, seed), folder_of(cell, seed, workdir), stop, bars)


def row_of(cell: Cell, seed: int, result: dict[str, Any]) -> dict[str, Any]:
    """One line of runs.csv: values, seed, the headline, what was chosen, and all protocols in all spaces.

    "validation" is the score that chose on the validation task, in the space chosen.
    """
    headline, select = result["headline"], result["config"]["eval"]["select"]
    row = cell.values | {"seed": seed, "protocol": headline["protocol"], "space": headline["space"], "select": select}
    on_validation = protocol.on_validation(result)
    if on_validation:
        row |= {"validation": on_validation[headline["space"]][select]} | chosen(result)
    row |= {score: headline[score] for score in SCORES}
    for name, spaces in (result["protocols"] | {"validation": on_validation}).items():
        for space, scores in spaces.items():
            row |= {f"{name}/{space}/{score}": scores[score] for score in SCORES}
    return row


def chosen(result: dict[str, Any]) -> dict[str, Any]:
    """What the validation task chose: places and gamma of the headline, weights of closed forms."""
    headline = result["headline"]
    found = {f"chosen/{of} {part}": value for of, place in headline["found"].items() for part, value in place.items()}
    found |= {"chosen/gamma": headline["calibrated"]["gamma"]} if "calibrated" in headline else {}
    for name, scores in result["baselines"].items():
        weights = {part: value for part, value in scores.get("chosen", {}).items() if part not in ("T1", "at_edge")}
        found |= {f"chosen/{name} {part}": value for part, value in weights.items()}
    return found

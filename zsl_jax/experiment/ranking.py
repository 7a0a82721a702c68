"""Every method under one protocol on one data set: their configurations, their runs, a table and a figure."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zsl_jax.config import names, options
from zsl_jax.errors import InputError, one_line
from zsl_jax.evaluation import protocol
from zsl_jax.evaluation.protocol import SCORES
from zsl_jax.experiment import sweep
from zsl_jax.files import read_json
from zsl_jax.training import stopping

VARIATIONS_OF = {
    "clswgan_nearest": "clswgan",
    "cramergan_meant": "cramergan",
    "cramergan_tricks_meant": "cramergan_tricks",
    "ransgan_meant": "ransgan",
    "nsgan_light_penalty": "nsgan",
}
METHODS = {
    "zerodiff": "zerodiff_{data}",
    "d2sc": "d2sc_awa2:{data}",
    "tfvaegan": "tfvaegan_awa2:{data}",
    **{name: f"gan_zoo:{name},{{data}}" for name in ("clswgan", *names.GANS)},
    "cramergan_tricks": "gan_zoo:cramergan_tricks,{data}",
    **{name: f"gan_zoo:{method},{{data}}" for name, method in VARIATIONS_OF.items()},
    **{name: f"autoencoders:{name},{{data}}" for name in names.AUTOENCODERS},
}
OWN = {name: f"own_data:{VARIATIONS_OF.get(name, name)}" for name in METHODS}  # on a data set of one's own
VARIATIONS = {  # fields set beside those of the file
    "clswgan_nearest": ("eval.classifier=nearest",),
    "cramergan_meant": ("gan.meant=True", "gan.penalty_weight=10"),
    "cramergan_tricks_meant": ("gan.meant=True",),
    "ransgan_meant": ("gan.meant=True",),
    "nsgan_light_penalty": ("gan.penalty_weight=1",),
}
CALIBRATED_H = "calibrated/H"  # column of H with the chosen calibration
# What all methods have in common on a data set, whatever their own files say: descriptions of classes, classifiers.
# Those of the digits are signed, as suits most; ae and ae2, whose reconstructed semantics are rectified, lose by it.
COMMON = {
    "digits": ("data.original_semantics=False", "data.semantics_scaling=none", "eval.classifier_epochs=25"),
    "awa1": ("data.original_semantics=True", "data.semantics_scaling=l2", "eval.classifier_epochs=25"),
}
# Fields of the data section in which all methods must agree, by source (some need no representations).
SAME_DATA = {
    "xlsa17": ("dataset", "features", "semantics", "original_semantics", "semantics_scaling"),
    "digits": ("unseen", "original_semantics", "semantics_scaling"),
    "synthetic": ("synthetic", "semantics_scaling"),
}


def folder(data: str) -> tuple[str, ...]:
    """Fields that name a data set of one's own, where `data` is a path ROOT/NAME; of a variant's name none."""
    path = Path(data).expanduser().absolute()
    return (f"data.root={path.parent}", f"data.dataset={path.name}") if os.sep in data else ()


def chosen(listed: Sequence[str], data: str = "") -> dict[str, str]:
    """Configurations of the methods asked for, by name.

    Args:
      listed: names, NAME=CONFIGURATION[:ARGUMENT,ARGUMENT,...], or "all" alone: what stood between commas.
      data: see `folder`.

    Raises:
      InputError: there is no such method.
    """
    methods = OWN if folder(data) else METHODS
    if list(listed) == ["all"]:
        return methods
    found: dict[str, str] = {}
    last = ""  # one's own configuration with an argument, which may go on after a comma
    for part in listed:
        name, equals, file = part.partition("=")
        if equals or name in methods:
            found[name], last = file or methods[name], name if ":" in file else ""
        elif last:
            found[last] += f",{part}"
        else:
            raise InputError(f"--methods: no {name!r}; there are {', '.join(methods)}, or NAME=CONFIGURATION")
    return found


def percentages(listed: Sequence[str]) -> list[int]:
    """The shares of the training rows.

    Raises:
      InputError: one is not a whole number from 1 to 100, or stands there twice.
    """
    shares = [int(text) for text in listed if text.isascii() and text.isdecimal()]
    if len(set(shares)) < len(listed) or not all(1 <= share <= 100 for share in shares):
        raise InputError(f"--percent {','.join(listed)}: different whole numbers from 1 to 100 are needed")
    return shares


def make_cells(
    methods: dict[str, str], variant: str, shares: Sequence[int], epochs: int, assignments: Sequence[str]
) -> list[sweep.Cell]:
    """Each method at each share of the training rows.

    Raises:
      InputError: a file cannot be loaded, no configuration has a field that is to be set, or methods would be compared
        on different data.
    """
    configs = {name: load(name, file, variant, epochs) for name, file in methods.items()}
    for text in (*COMMON.get(variant, ()), *folder(variant), *assignments):
        assign(text, list(configs.values()))
    require_same_data(configs)
    sweep.require_one_precision(configs.values())
    cells = []
    for share in shares:
        for name, config in configs.items():
            changed = options.changed(config, {"data.percent": share})
            cells.append(sweep.Cell(f"{name},{share}", {"method": name, "percent": share}, changed))
    return cells


def load(name: str, file: str, variant: str, epochs: int) -> Any:
    """A method's configuration on a data set."""
    config = options.load(file.replace("{data}", variant), VARIATIONS.get(name, ()), "--methods")
    if epochs:
        for section in config.stages:
            if "syn_num" in config[section]:  # generators
                config[section].epochs = epochs
                config.eval.first = min(config.eval.first, epochs - 1)
    return config


def require_same_data(configs: dict[str, Any]) -> None:
    """Raises InputError when two methods' configurations have other features, semantics or splits."""
    first, *others = configs
    for field in ("source", *SAME_DATA.get(configs[first].data.source, ())):
        for name in others:
            values = [str(configs[one].data[field]) for one in (first, name)]
            if values[0] != values[1]:
                raise InputError(
                    f"data.{field} is {values[0]} for {first} and {values[1]} for {name}; "
                    f"give all the same by --set data.{field}=VALUE"
                )


def assign(text: str, configs: Sequence[Any]) -> None:
    """Sets a field in all configurations that have it.

    Raises:
      InputError: none has it, or the value is of another type.
    """
    problems = []
    for config in configs:
        try:
            options.assign(config, text, "--set ")
        except InputError as error:
            problems.append(error)
    if len(problems) == len(configs):
        raise problems[0]


def run_cell(cell: sweep.Cell, seeds: int, workdir: Path, minutes: float) -> list[str]:
    """Trains the seeds of a method side by side; returns a line for each run that did not finish.

    Raises:
      Interrupted: a signal came that was not the time limit's; all runs are saved.
    """
    ends = sweep.train([(cell, seed) for seed in range(seeds)], workdir, most=0, seconds=60 * minutes)
    lines = []
    for (_, seed), end in ends:
        if isinstance(end, stopping.Interrupted):
            if end.signum != stopping.TIME_IS_UP:
                raise end
            lines.append(f"{cell.name}, seed {seed}: not within {minutes:g} minutes; the same command goes on")
        elif isinstance(end, Exception):  # e.g. no memory: the other methods may do better
            lines.append(f"{cell.name}, seed {seed}: {type(end).__name__}: {one_line(end)}")
    return lines


def finished(workdir: Path) -> list[dict[str, Any]]:
    """A row for each finished run in the workdir, those of earlier commands too.

    Raises:
      InputError: a result is damaged, or runs are on different data.
    """
    rows = []
    for path in sorted(workdir.glob("*,*/seed_*/result.json")):
        name, _, share = path.parts[-3].rpartition(",")
        seed = path.parts[-2].removeprefix("seed_")
        if share.isdecimal() and seed.isdecimal():
            rows.append(row_of({"method": name, "percent": int(share), "seed": int(seed)}, read_json(path)))
    if len({(row["seed"], row["data"]) for row in rows}) > len({row["seed"] for row in rows}):  # seeds may draw splits
        raise InputError(f"{workdir}: holds runs on different data; give each data set a workdir of its own")
    return sorted(rows, key=lambda row: (-row["percent"], row["method"], row["seed"]))


def row_of(place: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """One line of leaderboard.csv: the run's scores by protocol, its seconds, and those of the reference rows."""
    space = result["headline"]["space"]
    row = place | {"space": space, "seconds": round(sum(leaves(result["seconds"])), 1)}
    row["data"] = result["dataset"]["fingerprint"][:12]
    for name in ("validated", "last", "oracle"):
        found = result["protocols"].get(name, {}).get(space, {})
        row |= {f"{name}/{score}": found[score] for score in SCORES if score in found}
    row |= {CALIBRATED_H: result["headline"]["calibrated"]["H"]} if "calibrated" in result["headline"] else {}
    there = protocol.on_validation(result).get(space, {})
    row |= {f"validation/{score}": there[score] for score in SCORES if score in there}
    for name, found in result["baselines"].items():
        row |= {f"{name}/{score}": found[score] for score in SCORES if score in found}
        row |= {f"{name}/{CALIBRATED_H}": found["calibrated"]["H"]} if "calibrated" in found else {}
    return row


def leaves(tree: Any) -> Iterator[float]:
    """The numbers in nested dictionaries."""
    if isinstance(tree, dict):
        for value in tree.values():
            yield from leaves(value)
    else:
        yield tree

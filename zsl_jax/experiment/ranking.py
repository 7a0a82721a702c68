"""Every method under one protocol on one data set: a table and a figure.

    python -m zsl_jax.experiment.ranking --data digits --methods all --seeds 5 --workdir runs/leaderboard
    python -m zsl_jax.experiment.ranking --data awa1 --methods zerodiff,tfvaegan --seeds 3 --percent 100,30,10 \\
        --epochs 8 --workdir runs/awa1_leaderboard --set data.root=ROOT

Each run has a folder of its own, `WORKDIR/<method>,<percent>/seed_<s>`, as `zsl_jax.main` would leave it but for
pictures; the seeds of a method are trained side by side. The workdir gets `leaderboard.csv` (a line for each run),
`leaderboard.md` and `leaderboard.png`, written anew after each method. The same command again goes on and skips what is
finished. With --minutes a method that takes longer is left unfinished, to be gone on with by the same command.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import flags

from zsl_jax.errors import InputError
from zsl_jax.evaluation.protocol import SCORES
from zsl_jax.experiment import runs, sweep
from zsl_jax.files import read_json
from zsl_jax.training import stage

CONFIGS = Path(__file__).parents[2] / "configs"
GANS = (
    "wgan", "clswgan", "cramergan", "lsgan", "nsgan", "mmgan", "ransgan", "dragan", "fishergan", "began", "infogan",
    "fgan_total_variation", "fgan_forward_kl", "fgan_reverse_kl", "fgan_pearson", "fgan_squared_hellinger",
    "fgan_jensen_shannon",
)  # fmt: skip
AUTOENCODERS = ("ae", "ae2", "vae", "bir_vae")
METHODS = {
    "zerodiff": "zerodiff_{data}.py",
    "d2sc": "d2sc_awa2.py:{data}",
    "tfvaegan": "tfvaegan_awa2.py:{data}",
    **{name: f"gan_zoo.py:{name},{{data}}" for name in GANS},
    "cramergan_tricks": "gan_zoo.py:cramergan_tricks,{data}",
    "clswgan_nearest": "gan_zoo.py:clswgan,{data}",
    "cramergan_meant": "gan_zoo.py:cramergan,{data}",
    "cramergan_tricks_meant": "gan_zoo.py:cramergan_tricks,{data}",
    "ransgan_meant": "gan_zoo.py:ransgan,{data}",
    "nsgan_light_penalty": "gan_zoo.py:nsgan,{data}",
    **{name: f"autoencoders.py:{name},{{data}}" for name in AUTOENCODERS},
}
VARIATIONS = {  # fields set beside those of the file
    "clswgan_nearest": {"eval.classifier": "nearest"},
    "cramergan_meant": {"gan.meant": True, "gan.penalty_weight": 10.0},
    "cramergan_tricks_meant": {"gan.meant": True},
    "ransgan_meant": {"gan.meant": True},
    "nsgan_light_penalty": {"gan.penalty_weight": 1.0},
}
# What all methods have in common on a data set, whatever their own files say: descriptions of classes, classifiers.
# Those of the digits are signed, as suits most; ae and ae2, whose reconstructed semantics are rectified, lose by it.
COMMON = {
    "digits": ("data.original_semantics=False", "data.normalize_semantics=False", "eval.classifier_epochs=25"),
    "awa1": ("data.original_semantics=True", "data.normalize_semantics=True", "eval.classifier_epochs=25"),
}
# Fields of the data section in which all methods must agree, by source (some need no representations).
SAME_DATA = {
    "xlsa17": ("dataset", "features", "semantics", "original_semantics", "normalize_semantics"),
    "digits": ("unseen", "original_semantics", "normalize_semantics"),
    "synthetic": ("synthetic", "normalize_semantics"),
}

FLAGS = flags.FlagValues()  # of its own, so that a process may import several programs
flags.DEFINE_string("data", "digits", "digits or awa1, or another variant that all files have.", flag_values=FLAGS)
flags.DEFINE_list("methods", ["all"], "Names, NAME=CONFIGURATION for one's own, or all.", flag_values=FLAGS)
flags.DEFINE_integer("seeds", 3, "Number of seeds, from 0 on.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_list("percent", ["100"], "Shares of the training rows.", flag_values=FLAGS)
flags.DEFINE_integer("epochs", 0, "Epochs of all generators; 0: as configured.", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_float(
    "minutes", 0, "Most minutes for a method at one percentage; 0: no limit.", lower_bound=0, flag_values=FLAGS
)
flags.DEFINE_multi_string("set", [], "FIELD=VALUE, in every configuration that has the field.", flag_values=FLAGS)
flags.DEFINE_string("workdir", None, "Folder of all runs, of the table and of the figure.", flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    return runs.exit_code(lambda: leaderboard(arguments))


def leaderboard(arguments: list[str]) -> int:
    """Trains all methods and writes the table and the figure."""
    from zsl_jax.report import many

    runs.parse_plain(FLAGS, arguments, __doc__ or "", {"workdir": "runs/leaderboard"})
    workdir = Path(FLAGS.workdir)
    cells = make_cells(chosen(FLAGS.methods), FLAGS.data, percentages(FLAGS.percent), FLAGS.epochs, FLAGS.set)
    runs.prepare(cells[0].config, aloud=False)
    unfinished: list[str] = []
    for cell in cells:
        print(f"{cell.name}: {FLAGS.seeds} seeds", file=sys.stderr)
        unfinished += run_cell(cell, FLAGS.seeds, workdir, FLAGS.minutes)
        jax.clear_caches()  # the next method has programs of its own
        if rows := finished(workdir):
            many.write_ranking(rows, workdir, FLAGS.data)
    if rows := finished(workdir):
        print(many.ranking(rows, FLAGS.data))
    for line in unfinished:
        print(f"not in the table: {line}", file=sys.stderr)
    return 1 if unfinished else 0


def chosen(names: Sequence[str]) -> dict[str, str]:
    """Configuration files of the methods asked for, by name.

    Raises:
      InputError: there is no such method.
    """
    files = {name: str(CONFIGS / file) for name, file in METHODS.items()}
    if list(names) == ["all"]:
        return files
    found: dict[str, str] = {}
    for part in names:
        name, equals, file = part.partition("=")
        if equals or name in files:
            found[name] = file or files[name]
        elif found and "=" in names[names.index(part) - 1]:  # the rest of CONFIGURATION:ARGUMENT,ARGUMENT
            found[list(found)[-1]] += f",{part}"
        else:
            raise InputError(f"--methods: no {name!r}; there are {', '.join(METHODS)}, or NAME=CONFIGURATION")
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
    for text in (*COMMON.get(variant, ()), *assignments):
        assign(text, list(configs.values()))
    require_same_data(configs)
    sweep.require_one_precision(configs.values())
    cells = []
    for share in shares:
        for name, config in configs.items():
            changed = sweep.changed(config, {"data.percent": share})
            cells.append(sweep.Cell(f"{name},{share}", {"method": name, "percent": share}, changed))
    return cells


def load(name: str, file: str, variant: str, epochs: int) -> Any:
    """A method's configuration on a data set."""
    config = sweep.load(file.replace("{data}", variant), VARIATIONS.get(name, {}), "--methods")
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
      InputError: none has it, the value is of another type, or there are several.
    """
    problems = []
    for config in configs:
        try:
            field, values = sweep.parse_values(config, text, "--set")
        except InputError as error:
            problems.append(error)
        else:
            if len(values) > 1:
                raise InputError(f"--set {text}: one value is needed")
            config.update_from_flattened_dict({field: values[0]})
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
        if isinstance(end, stage.Interrupted):
            if end.signum != stage.TIME_IS_UP:
                raise end
            lines.append(f"{cell.name}, seed {seed}: not within {minutes:g} minutes; the same command goes on")
        elif isinstance(end, Exception):  # e.g. no memory: the other methods may do better
            lines.append(f"{cell.name}, seed {seed}: {type(end).__name__}: {runs.plain(end)}")
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
    for protocol in ("validated", "last", "oracle"):
        found = result["protocols"].get(protocol, {}).get(space, {})
        row |= {f"{protocol}/{score}": found[score] for score in SCORES if score in found}
    for name, found in result["baselines"].items():
        row |= {f"{name}/{score}": found[score] for score in SCORES if score in found}
    return row


def leaves(tree: Any) -> Iterator[float]:
    """The numbers in nested dictionaries."""
    if isinstance(tree, dict):
        for value in tree.values():
            yield from leaves(value)
    else:
        yield tree


if __name__ == "__main__":
    sys.exit(main(sys.argv))

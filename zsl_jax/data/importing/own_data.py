"""What the programs that make a data set of one's own share: flags, what they print, how to train on it."""

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from zsl_jax.config import defaults
from zsl_jax.data import check, tasks
from zsl_jax.data.dataset import Dataset
from zsl_jax.data.importing import leaks, roles, store
from zsl_jax.data.importing.assemble import Assembled, assemble
from zsl_jax.data.importing.fields import Field
from zsl_jax.data.importing.options import Options
from zsl_jax.data.importing.sources import require_text
from zsl_jax.errors import InputError
from zsl_jax.experiment import runs

BATCH_SIZE = 64  # of all stages in configs/own_data.py
MOST_SHOWN = 8  # of the things in the files that can't be used
STAGES = ("finetune_r", "drg", "dfg")


def define(values: flags.FlagValues) -> None:
    """Defines the flags that both programs have."""
    values.set_gnu_getopt(True)  # files and flags in any order
    flags.DEFINE_string("dataset", None, "Name of the new data set: its folder below the root.", flag_values=values)
    flags.DEFINE_string("root", None, "Folder of the data sets, made if needed.", flag_values=values)
    flags.DEFINE_string(
        "unseen", "", "Unseen classes: names (a,b,...), or a number or share (0.2) to be drawn.", flag_values=values
    )
    flags.DEFINE_float(
        "test-fraction", 0.2, "Share of each seen class's rows that is set aside for testing.", flag_values=values
    )
    flags.DEFINE_integer(
        "label-base", None, "Number of the first class in labels.", lower_bound=0, upper_bound=1, flag_values=values
    )
    flags.DEFINE_integer("seed", 0, "Of what is drawn.", lower_bound=0, flag_values=values)
    flags.DEFINE_boolean(
        "leave-out-undescribed", False, "Leave out rows of classes without description.", flag_values=values
    )
    flags.DEFINE_boolean("overwrite", False, "Replace a data set that these programs made.", flag_values=values)


def parse(values: flags.FlagValues, arguments: Sequence[str], document: str | None) -> tuple[list[str], dict[str, Any]]:
    """Reads the flags of a program; with --help it prints them and ends the process.

    Returns:
      The arguments that are no flags, and the flags by name.

    Raises:
      InputError: an unknown flag, a bad value, no name or no root, or text that isn't UTF-8.
    """
    for argument in arguments:
        require_text(argument)
    if {"--help", "-h"} & set(arguments):
        print(document, values.get_help(), sep="\n")
        raise SystemExit(0)
    for name in values:
        values[name].unparse()  # what an earlier call in this process gave
    try:
        rest = values(list(arguments))[1:]
    except flags.Error as error:
        raise InputError(runs.plain(error)) from error
    said: dict[str, Any] = values.flag_values_dict()
    for name in ("dataset", "root"):
        if not said[name]:
            raise InputError(f"--{name} is missing; e.g. --dataset MINE --root data")
    _folder(said)  # refused before anything is read
    return rest, said


def options(said: Mapping[str, Any]) -> Options:
    """What the flags say; those that a program doesn't have stay as they are by default."""
    given = {name: said.get(name.replace("_", "-")) for name in Options.__dataclass_fields__}
    return Options(**{name: value for name, value in given.items() if value is not None})


def make(
    said: Mapping[str, Any],
    command: Sequence[str],
    fields: Sequence[Field],
    asked: Mapping[str, Sequence[str]],
    sources: Sequence[Mapping[str, Any]],
) -> None:
    """Assembles a data set, writes it, and prints what was decided, what the data check says and how to train on it.

    Args:
      said: the flags, from `parse`.
      command: the program and its arguments.
      fields: of all files.
      asked: FILE[:FIELD] by role, see `zsl_jax.data.importing.roles.choose`.
      sources: the files, for the provenance.

    Raises:
      InputError: see `roles.choose`, `assemble`, `leaks.require_none` and `store.write`; a field that may be needed
        can't be used, or the memory doesn't suffice.
    """
    folder = _folder(said)
    try:
        chosen = _choose(fields, asked)
        made = assemble(folder.name, chosen, options(said))
        leaks.require_none(made.dataset.x, made.dataset.labels, chosen.features.where)
        if made.dataset.r is not None and chosen.representations is not None:
            leaks.require_none(made.dataset.r, made.dataset.labels, chosen.representations.where)
        report = store.write(folder, made, {"command": shlex.join(["python", *command]), "sources": list(sources)})
    except MemoryError as error:
        raise InputError(f"{folder}: not made, the memory here doesn't suffice; give fewer rows") from error
    tell(made, report, folder.parent)


def _choose(fields: Sequence[Field], asked: Mapping[str, Sequence[str]]) -> roles.Roles:
    """Decides what the usable fields are; the others may stay out only if nothing could need them."""
    out = [field for field in fields if not field.is_usable]
    for field in out:
        role = roles.role_of(field)
        if role and not asked.get("splits" if role == "split" else role):
            raise InputError(f"{field.where}: {field.note}")
    chosen = roles.choose([field for field in fields if field.is_usable], asked)
    lines = [f"not used: {field.where}: {field.note}" for field in out]
    more = [f"not used: {len(lines) - MOST_SHOWN} more of this kind"] if len(lines) > MOST_SHOWN else []
    return dataclasses.replace(chosen, notes=(*chosen.notes, *lines[:MOST_SHOWN], *more))


def _folder(said: Mapping[str, Any]) -> Path:
    return store.target(Path(said["root"]), said["dataset"], said["overwrite"])


def tell(made: Assembled, report: check.Report, root: Path) -> None:
    """Prints the decisions, what the data check says, and how to train."""
    notes = "\n".join(f"- {note}" for note in made.dataset.notes)
    print(_in_its_letters(f"{notes}\n\n{check.render(report)}\n\nTrain on it:\n\n  {training_command(made, root)}"))


def _in_its_letters(text: str) -> str:
    """The text as stdout can show it, whatever its encoding lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def fewest_rows(dataset: Dataset) -> int:
    """Training rows of the stage that has fewest: of the validation task, if there can be one, after its hold-out."""
    config = defaults.zerodiff()
    config.data.source = "memory"  # all rows, without looking for the files of a share
    try:
        rows, _, _ = tasks.validation_rows(dataset, config.data, config.seed)
    except InputError:
        rows = dataset.splits.trainval
    return int((~tasks.draw_share(dataset.labels[rows], config.finetune_r.holdout, config.seed, spare=1)).sum())


def training_command(made: Assembled, root: Path) -> str:
    """The command that trains on a data set: smaller batches where there are few rows, semantics scaled if large."""
    dataset = made.dataset
    rows = fewest_rows(dataset)
    stages = STAGES if dataset.r is None else STAGES[1:]
    size = 2 ** (rows.bit_length() - 1)  # the largest power of two that the rows fill: queues are multiples of it
    smaller = [f"--config.{stage}.batch_size={size}" for stage in stages] if rows < BATCH_SIZE else []
    variant = "" if dataset.r is None else ":representations"
    config = ["--config", f"configs/own_data.py{variant}", "--workdir", f"runs/{dataset.name}"]
    data = [f"--config.data.root={root}", f"--config.data.dataset={dataset.name}"]
    if abs(made.original_semantics).max() > 1:
        data.append("--config.data.normalize_semantics=True")
    return shlex.join(["python", "-m", "zsl_jax.main", *config, *data, *smaller])

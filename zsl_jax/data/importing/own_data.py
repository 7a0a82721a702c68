"""A data set of one's own: made of what files hold, written, and said how to train on it."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zsl_jax.data import check
from zsl_jax.data.importing import leaks, roles, store
from zsl_jax.data.importing.assemble import Assembled, assemble
from zsl_jax.data.importing.fields import Field
from zsl_jax.data.importing.options import Options
from zsl_jax.errors import InputError

MOST_SHOWN = 8  # of the things in the files that can't be used


def options(said: Mapping[str, Any]) -> Options:
    """What the flags say; those that a program doesn't have stay as they are by default."""
    given = {name: said.get(name) for name in Options.__dataclass_fields__}
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
      said: the flags by name.
      command: that is being run, for the provenance.
      fields: of all files.
      asked: FILE[:FIELD] by role, see `zsl_jax.data.importing.roles.choose`.
      sources: the files, for the provenance.

    Raises:
      InputError: see `roles.choose`, `assemble`, `leaks.require_none` and `store.write`; a field that may be needed
        can't be used, or the memory doesn't suffice.
    """
    folder = target(said)
    try:
        chosen = _choose(fields, asked)
        made = assemble(folder.name, chosen, options(said))
        leaks.require_none(made.dataset.x, made.dataset.labels, chosen.features.where)
        if made.dataset.r is not None and chosen.representations is not None:
            leaks.require_none(made.dataset.r, made.dataset.labels, chosen.representations.where)
        report = store.write(folder, made, {"command": shlex.join(command), "sources": list(sources)})
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


def target(said: Mapping[str, Any]) -> Path:
    """The folder of the new data set, refused where it may not be written."""
    return store.target(Path(said["root"]), said["dataset"], said["overwrite"])


def tell(made: Assembled, report: check.Report, root: Path) -> None:
    """Prints the decisions, what the data check says, and how to train."""
    notes = "\n".join(f"- {note}" for note in made.dataset.notes)
    print(f"{notes}\n\n{check.render(report)}\n\nTrain on it:\n\n  {training_command(made, root)}")


def training_command(made: Assembled, root: Path) -> str:
    """The command that trains on a data set."""
    dataset = made.dataset
    variant = "" if dataset.r is None else ":representations"
    config = [f"own_data{variant}", "--workdir", f"runs/{dataset.name}"]
    data = [f"--config.data.root={root}", f"--config.data.dataset={dataset.name}"]
    return shlex.join(["zsl-jax", "train", *config, *data])

"""What all commands share: how arguments are read, what --help says, what a program ends with."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from zsl_jax.config import meanings, options
from zsl_jax.errors import InputError

FIELD = "--config."
EXAMPLE = "zerodiff_digits"


class Parser(argparse.ArgumentParser):
    """Reads arguments; what is wrong with them is an `InputError`.

    Attributes:
      fields: the fields of a configuration that can be set: their section ("" for all), and how; None: none can.
    """

    fields: tuple[str, str] | None = None

    def error(self, message: str) -> Any:
        """Raises InputError."""
        raise InputError(f"{' '.join(message.split())}; see --help")


def expanded(text: str) -> str:
    """A path as text, with ~ for the home folder."""
    return os.path.expanduser(text)


def path(text: str) -> Path:
    """A path, with ~ for the home folder."""
    return Path(expanded(text))


def listed(text: str) -> list[str]:
    """The parts between commas."""
    return [part.strip() for part in text.split(",")]


def number(kind: type, least: float, most: float = float("inf")) -> Callable[[str], Any]:
    """A reader of numbers in a range."""

    def read(text: str) -> Any:
        value = kind(text)
        if not least <= value <= most:
            bound = f"at least {least}" if value < least else f"at most {most}"
            raise argparse.ArgumentTypeError(f"{text}; it must be {bound}")
        return value

    read.__name__ = kind.__name__  # argparse names it in what it says of other text
    return read


def switch(parser: Parser, name: str, default: bool, what: str) -> None:
    """Adds --name and --noname."""
    parser.add_argument(f"--{name}", action="store_true", default=default, help=what)
    dest = name.replace("-", "_")
    parser.add_argument(
        f"--no{name}", action="store_false", dest=dest, help=f"Not so{'' if default else ' (default)'}."
    )


def config_flags(parser: Parser, what: str = "Configuration", needed: bool = True) -> None:
    """Adds the flags of a command that takes a configuration."""
    where = "NAME or path[:ARGUMENT]"
    if needed:
        parser.add_argument("name", nargs="*", metavar="CONFIG", help=f"{what}: {where}, e.g. {EXAMPLE}.")
    parser.add_argument("--config", metavar="CONFIG", help=f"{what}: {where}.")
    parser.fields = "", f"{FIELD}FIELD=VALUE"


def workdir_flags(parser: Parser) -> None:
    """Adds the flags of a command that reads what a run left."""
    parser.add_argument("--workdir", type=path, help="Folder of the run or of the import.")
    parser.fields = "data.", "--data FIELD=VALUE"
    parser.add_argument(
        "--data", action="append", default=[],
        help="FIELD=VALUE of the data section, where the data are others or elsewhere; root=ROOT.",
    )  # fmt: skip


def parse(command: ModuleType, title: str, arguments: Sequence[str]) -> argparse.Namespace:
    """Reads a command's arguments; with --help it prints what there is to say and ends the process.

    `--config.field=value` (or `--config.field value`) become `fields`, a list of "field=value".

    Raises:
      InputError: an unknown flag, a bad value, a missing flag.
    """
    document = command.__doc__ or ""
    parser = Parser(
        prog=title, description=document, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False, add_help=False,
    )  # fmt: skip
    command.flags(parser)
    parser.add_argument("--help", "-h", action="store_true", help="Print this and end.")
    section, how = parser.fields or ("", "")
    rest, fields = split_fields(arguments) if how.startswith(FIELD) else (list(arguments), [])
    if {"--help", "-h"} & set(rest):
        print(parser.format_help())
        if how:
            print(f"fields of the configuration, set by {how}:\n")
            print(describe(asked_for(parser, rest), fields, section))
        raise SystemExit(0)
    said = parser.parse_intermixed_args(rest)
    said.fields, said.arguments = fields, list(arguments)
    return said


def split_fields(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without `--config.field=value`, and these as "field=value"; without a value, "true" or "false"."""
    rest, fields, waiting = [], [], list(arguments)
    while waiting:
        one = waiting.pop(0)
        truth = "false" if one.startswith("--noconfig.") else "true"
        if not one.startswith((FIELD, "--noconfig.")):
            rest.append(one)
        elif "=" in one:
            fields.append(one.removeprefix(FIELD))
        elif truth == "true" and waiting and not waiting[0].startswith("--"):
            fields.append(f"{one.removeprefix(FIELD)}={waiting.pop(0)}")
        else:
            fields.append(f"{one.partition('.')[2]}={truth}")
    return rest, fields


def config_name(said: argparse.Namespace) -> str:
    """The configuration that is asked for, by position or by --config.

    Raises:
      InputError: none or several.
    """
    given = [*said.name, *([said.config] if said.config is not None else [])]
    if not given:
        raise InputError(f"--config is missing; e.g. {EXAMPLE} --workdir runs/digits")
    if len(given) > 1:
        raise InputError(f"{said.name[-1]!r} is not a flag; name one configuration, not {' and '.join(given)}")
    return given[0]


def read_config(said: argparse.Namespace) -> Any:
    """The configuration that is asked for, with the fields that are set, locked."""
    return options.load(config_name(said), said.fields)


def require(said: argparse.Namespace, **examples: str) -> None:
    """Raises InputError when a flag is missing, with an example of it."""
    for name, example in examples.items():
        if getattr(said, name) in (None, ""):
            raise InputError(f"--{name} is missing; e.g. --{name} {example}")


def require_new(out: Path, workdir: Path) -> None:
    """Raises InputError when a file is there already, would lie in the workdir, or its folder is missing."""
    if out.exists():
        raise InputError(f"--out {out}: is there already; remove it or name another file")
    if out.resolve().is_relative_to(workdir.resolve()):
        raise InputError(f"--out {out}: lies in the workdir, into which nothing is written; name a file elsewhere")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: {out.parent} is no folder; make it or name another file")


def asked_for(parser: Parser, arguments: list[str]) -> str:
    """The configuration named beside --help; "" if none is."""
    try:
        said = parser.parse_intermixed_args(arguments)
    except InputError:
        return ""
    return next(iter([*getattr(said, "name", ()), getattr(said, "config", None) or ""]))


def describe(name: str, fields: Sequence[str] = (), section: str = "") -> str:
    """A line for each field of a configuration, or of the systems' defaults: value and meaning.

    Args:
      name: of the configuration; "" for the defaults.
      fields: "field=value" each, set in it.
      section: of the fields that are listed, e.g. "data."; their lines go without it.
    """
    configs = [options.load(name, fields)] if name else meanings.everything()
    values: dict[str, Any] = {}
    for config in configs:
        values = options.flat(config.to_dict()) | values
    known = meanings.meanings()
    lines = {
        f"{field.removeprefix(section)}={value!r}": known.get(field, "")
        for field, value in values.items()
        if field.startswith(section)
    }
    width = min(max(map(len, lines)), 48)
    return "\n".join(f"  {left:<{width}}  {meaning}".rstrip() for left, meaning in lines.items())


def exit_code(program: Callable[[], int]) -> int:
    """Runs a program; its exit code, with one line on stderr when it can't go on.

    0: done; 1: the numbers broke (not finite); 2: bad input; 130 or 143: stopped by Ctrl-C or SIGTERM, saved.
    """
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # names are printed on any terminal, in escapes where it lacks their letters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return program()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # e.g. of `| head`: nobody reads on, so the rest goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # of a name that is too long, or in a folder that is closed
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped at once; the same command goes on from the last checkpoint, where there is one", file=sys.stderr)
        return 130
    except Exception as error:
        return _stopped(error)


def _stopped(error: Exception) -> int:
    """The exit code of training that was stopped or broke; other errors are raised again."""
    from zsl_jax.training import stage, stopping  # here, since it takes a second or two

    if isinstance(error, stage.Diverged):
        print(f"error: {error}", file=sys.stderr)
        return 1
    if isinstance(error, stopping.Interrupted):
        print(error, file=sys.stderr)
        return 128 + error.signum
    raise error

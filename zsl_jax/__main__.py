"""Zero-shot learning: `zsl-jax COMMAND ...`, also as `python -m zsl_jax COMMAND ...`."""

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

import zsl_jax
from zsl_jax.commands import cli
from zsl_jax.errors import InputError

COMMANDS = (
    "train", "evaluate", "synthesize", "sweep", "leaderboard", "bench", "data check", "data import",
    "checkpoint import", "checkpoint export",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return cli.exit_code(lambda: run(given))


def run(given: list[str]) -> int:
    """Finds the command that the first words name and gives it the rest.

    Raises:
      InputError: there is no such command, and what the command raises.
    """
    if given == ["--version"]:
        print(f"zsl-jax {zsl_jax.__version__}")
        return 0
    if not given or given[0] in ("--help", "-h"):
        print(overview())
        return 0 if given else 2
    for words in (2, 1):
        if (name := " ".join(given[:words])) in COMMANDS:
            return (module := load(name)).run(cli.parse(module, f"zsl-jax {name}", given[words:]))
    raise InputError(f"{' '.join(given[:2])!r}: no such command; there are {', '.join(COMMANDS)}")


def load(name: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f"zsl_jax.commands.{name.replace(' ', '_')}")


def overview() -> str:
    """What all commands do."""
    lines = [f"  {name:<18}  {(load(name).__doc__ or '').splitlines()[0]}" for name in COMMANDS]
    return "\n".join([__doc__ or "", *lines, "", "zsl-jax COMMAND --help says more; zsl-jax --version."])


if __name__ == "__main__":
    sys.exit(main())

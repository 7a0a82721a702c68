"""What is made of the standard library's things in a pickle: dictionaries, lists, texts and bytes, and nothing else."""

import dataclasses
import functools
import pathlib
from typing import Any

from zsl_jax.data.formats.pickle_machine import Make, Refused, require_key, shown

BYTES_OF_ENTRY, BYTES_OF_VALUE = 64, 4  # what entries of dictionaries and values cost of a budget
FACTORIES = ("list", "dict", "set", "int", "float", "str", "bool", "tuple")  # of default dictionaries, left out
PATHS = {
    "PosixPath": pathlib.PurePosixPath, "PurePosixPath": pathlib.PurePosixPath,
    "WindowsPath": pathlib.PureWindowsPath, "PureWindowsPath": pathlib.PureWindowsPath,
}  # fmt: skip


@dataclasses.dataclass
class Budget:
    """How many bytes may still be made."""

    rest: int

    def spend(self, size: int) -> None:
        """Takes that many; raises ValueError when they are spent."""
        self.rest -= size
        if self.rest < 0:
            raise ValueError("it would hold far more than its size")


class Options(dict):
    """argparse.Namespace."""

    def __init__(self, budget: Budget):
        super().__init__()
        self._budget = budget

    def set_state(self, state: Any) -> None:
        """The options by name."""
        if not isinstance(state, dict):
            raise ValueError(f"options as {shown(state)}")
        self._budget.spend(BYTES_OF_ENTRY * len(state))
        self.update(state)


def table(budget: Budget) -> dict[str, Make | None]:
    """Names that may occur, with what calling them makes."""
    called: dict[str, Make] = {
        "collections.OrderedDict": functools.partial(ordered, budget),
        "collections.Counter": functools.partial(counted, budget),
        "collections.defaultdict": lambda *_: {},
        "builtins.set": functools.partial(listed, budget),
        "builtins.frozenset": functools.partial(listed, budget),
        "argparse.Namespace": functools.partial(Options, budget),
        "_codecs.encode": functools.partial(encoded, budget),
        "builtins.bytes": lambda: b"",
        "builtins.bytearray": lambda raw=b"": raw,
    }
    for name, kind in PATHS.items():
        called[f"pathlib.{name}"] = called[f"pathlib._local.{name}"] = functools.partial(joined, budget, kind)
    return dict.fromkeys(f"builtins.{name}" for name in FACTORIES) | called


def ordered(budget: Budget, pairs: Any = ()) -> dict:
    """A dictionary of pairs of key and value."""
    budget.spend(BYTES_OF_ENTRY * len(pairs))
    for key, _ in pairs:
        require_key(key)
    return dict(pairs)


def counted(budget: Budget, counts: Any = None) -> dict:
    """A dictionary of counts."""
    if not isinstance(counts, dict | None):
        raise ValueError(f"counts as {shown(counts)}")
    budget.spend(BYTES_OF_ENTRY * len(counts or ()))
    return dict(counts or {})


def listed(budget: Budget, values: Any = ()) -> list:
    """A set as a list, of which nothing is hashed."""
    if not isinstance(values, list | tuple):
        raise ValueError(f"a set of {shown(values)}")
    budget.spend(BYTES_OF_VALUE * len(values))
    return list(values)


def encoded(budget: Budget, text: str, encoding: str) -> bytes:
    """Bytes that a pickle of Python 2 holds as text."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"the encoding {shown(encoding)}")
    budget.spend(len(text))
    return text.encode("latin-1")


def joined(budget: Budget, kind: type[pathlib.PurePath], *parts: str) -> str:
    """A path as text; no file is looked for."""
    budget.spend(sum(map(len, parts)))
    return str(kind(*parts))

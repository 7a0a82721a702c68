"""Pickles as values and calls that nobody made: Python's own unpickler, given nothing but operations that data need.

A first pass reads the operations without doing any, so that no length or number of a file is believed, and rewrites
some: sets become lists, dictionaries what `persistent_load` makes of a list, new objects calls. So the second pass, by
the standard library's unpickler, allocates what the file has bytes and operations for, and hashes only short keys: the
hash of tuples in tuples overflows the stack. What is named is a `Named`, called or not, and does nothing.
"""

import dataclasses
import io
import pickle
import pickletools
from collections.abc import Callable, Collection, Iterator
from typing import Any

from zsl_jax.files import Bounded

MOST_OPERATIONS = 2_000_000  # and the largest number in a memo, which is an array
MOST_ARGUMENTS = 64  # paths are called with their parts
LARGEST_KEY = 2**60  # of numbers: larger ones can be made to collide in a dictionary
LATEST = 5  # protocol
RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # modules of Python 2
OPERATIONS = {operation.code.encode("latin-1"): operation for operation in pickletools.opcodes}
REFUSED = ("INST", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER")
# A list handed to `persistent_load` is a dictionary; what the file itself hands to it comes in a tuple.
REWRITTEN = {
    "EMPTY_DICT": b"]Q", "DICT": b"lQ", "EMPTY_SET": b"]", "ADDITEMS": b"e", "FROZENSET": b"l", "NEWOBJ": b"R",
    "BINPERSID": b"\x85Q", "PROTO": b"", "FRAME": b"",
}  # fmt: skip
COUNTS = {-2: 1, -3: 4, -4: 4, -5: 8}  # by pickletools' TAKEN_FROM_ARGUMENT..: bytes of a length


class Refused(ValueError):
    """A pickle asks for something that is not read; the message says for what."""


def shown(value: Any) -> str:
    """A value for a message; of what may be large the type alone, since texts of shared lists could be endless."""
    if isinstance(value, str | bytes):
        return ascii(value[:60])[:60]
    return ascii(value)[:60] if isinstance(value, int | float | None) else type(value).__name__


def require_key(key: Any) -> None:
    """Raises Refused unless a key is None, a text or a number of 60 bits."""
    if (isinstance(key, int) and abs(key) >= LARGEST_KEY) or not isinstance(key, str | int | float | None):
        raise Refused(f"the key {shown(key)}; texts and numbers are read")


@dataclasses.dataclass(slots=True, eq=False)
class Named:
    """Something that a pickle names, e.g. "torch.FloatStorage", or (`arguments`) a call of it, then with what state.

    A dictionary is a call of "builtins.dict"; `entries` are what is set in it.
    """

    name: str
    arguments: tuple[Any, ...] | None = None
    entries: dict[Any, Any] = dataclasses.field(default_factory=dict)
    state: Any = None

    def __call__(self, *arguments: Any) -> "Named":
        if len(arguments) > MOST_ARGUMENTS:
            raise Refused(f"a call of {self.name} with {len(arguments)} arguments")
        return Named(self.name, arguments)

    def __setitem__(self, key: Any, value: Any) -> None:
        require_key(key)
        self.entries[key] = value

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read(stream: Bounded, known: Collection[str], persistent: Callable[[Any], Any]) -> Any:
    """What the pickle at the stream's position holds; the stream is then behind it.

    Args:
      stream: bytes.
      known: names that may occur, as "module.name".
      persistent: what an identifier of a value outside of the pickle stands for.

    Returns:
      None, numbers, texts, bytes, lists, tuples, `Named` and what `persistent` returned, in each other.

    Raises:
      Refused: it asks for other names, or for something that is not read.
      ValueError, IndexError, TypeError, ...: it is damaged, or no pickle.
    """

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str, /) -> Named:
            text = f"{RENAMED.get(module, module)}.{name}"
            if text not in known:
                raise Refused(shown(text))
            return Named(text)

        def persistent_load(self, pid: Any) -> Any:
            if not isinstance(pid, list):
                return persistent(pid[0] if isinstance(pid, tuple) else pid)
            made = Named("builtins.dict", ())
            for key, value in zip(pid[::2], pid[1::2], strict=True):
                made[key] = value
            return made

    operations = io.BytesIO()
    for operation in _operations(stream):
        operations.write(operation)
    operations.seek(0)
    return Unpickler(operations, encoding="latin-1").load()  # texts of Python 2 were bytes


def _operations(stream: Bounded) -> Iterator[bytes]:
    """The operations with their arguments, as the unpickler is to do them, up to the last, which is STOP."""
    for _ in range(MOST_OPERATIONS):
        code = stream.read(1)
        operation = OPERATIONS.get(code)
        if operation is None:
            raise ValueError(f"no operation of a pickle: {code!r}" if code else "it ends too early")
        if operation.name in REFUSED or operation.proto > LATEST:
            raise Refused(f"the operation {operation.name}, which data do not need")
        argument = _argument(stream, operation)
        yield REWRITTEN.get(operation.name, code + argument)
        if operation.name == "STOP":
            return
    raise Refused(f"more than {MOST_OPERATIONS:,} operations; large data belong into arrays")


def _argument(stream: Bounded, operation: pickletools.OpcodeInfo) -> bytes:
    """The bytes of an operation's argument."""
    size = operation.arg.n if operation.arg else 0
    if size == pickletools.UP_TO_NEWLINE:
        found = b"".join(stream.readline() for _ in range(2 if operation.name == "GLOBAL" else 1))
    elif size < 0:
        count = stream.read(COUNTS[size])
        found = count + stream.read(int.from_bytes(count, "little"))
    else:
        found = stream.read(size)
    if operation.name in ("PUT", "LONG_BINPUT"):
        place = int(found) if operation.name == "PUT" else int.from_bytes(found, "little")
        if place > MOST_OPERATIONS:
            raise ValueError(f"a memo of {place}")
    return found

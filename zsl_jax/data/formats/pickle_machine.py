"""A machine that reads pickles and can run nothing: names in them stay names, unless they are in the caller's table.

Python's own machine, its names restricted, can still be made to allocate gigabytes (by an index of its memo, by the
length of an array) or to overflow the stack (by the hash of a tuple in tuples). This one takes operations one at a
time, counts them, and hashes nothing but short keys.
"""

import codecs
import dataclasses
import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

MOST_OPERATIONS = 2_000_000
LARGEST_KEY = 2**60  # of numbers: larger ones can be made to collide in a dictionary
MOST_ARGUMENTS = 64  # paths are called with their parts
RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # modules of Python 2

Make = Callable[..., Any]  # what calling a name makes
OPERATIONS = {operation.code: operation for operation in pickletools.opcodes}


class Stream(Protocol):
    """Bytes to read from."""

    def read(self, count: int, /) -> bytes:
        """At most so many."""
        ...

    def readline(self) -> bytes:
        """Those up to the end of the line."""
        ...


class Refused(ValueError):
    """A pickle asks for something that is not read; the message says for what."""


class UnknownName(Refused):
    """A name that is not in the table."""

    def __init__(self, name: str):
        super().__init__(shown(name))
        self.name = name


@dataclasses.dataclass(frozen=True)
class Name:
    """Something that a pickle names, e.g. "torch.FloatStorage"."""

    text: str


def shown(value: Any) -> str:
    """A value for a message; of what may be large the type alone, since texts of shared lists could be endless."""
    return ascii(value)[:60] if value is None or isinstance(value, str | bytes | int | float) else type(value).__name__


def require_key(key: Any) -> None:
    """Raises Refused unless a key is None, a text or a number: the hash of tuples in tuples overflows stacks."""
    if (isinstance(key, int) and abs(key) >= LARGEST_KEY) or not isinstance(key, str | int | float | None):
        raise Refused(f"the key {shown(key)}; texts and numbers are read")


@runtime_checkable
class Stateful(Protocol):
    """What a pickle makes in two steps: by a call, then by setting its state."""

    def set_state(self, state: Any) -> None:
        """Takes the state."""


@dataclasses.dataclass
class Machine:
    """The values so far. `table`: names that may occur, with what calling them makes (None: nothing)."""

    table: Mapping[str, Make | None]
    persistent: Callable[[Any], Any]
    stack: list[Any] = dataclasses.field(default_factory=list)
    marks: list[int] = dataclasses.field(default_factory=list)
    memo: dict[int, Any] = dataclasses.field(default_factory=dict)

    def since_mark(self) -> list[Any]:
        """Takes off what lies above the last mark, and the mark."""
        place = self.marks.pop()
        values = self.stack[place:]
        del self.stack[place:]
        return values

    def last(self, count: int) -> list[Any]:
        """Takes off so many values."""
        if len(self.stack) < count:
            raise IndexError("nothing is there to take")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def remember(self, place: int) -> None:
        """Notes the value on top under a number of 32 bits."""
        if not 0 <= place < 2**32:
            raise ValueError(f"a memo of {place}")
        self.memo[place] = self.stack[-1]


def run(stream: Stream, table: Mapping[str, Make | None], persistent: Callable[[Any], Any]) -> Any:
    """What the pickle at the stream's position holds; the stream is then behind it.

    Args:
      stream: bytes.
      table: names that may occur: "module.name" -> what makes a value of the arguments, or None.
      persistent: what an identifier of a value outside of the pickle stands for.

    Raises:
      Refused: it asks for other names, or for something that is not read.
      ValueError, IndexError, TypeError, ...: it is damaged, or no pickle.
    """
    machine = Machine(table, persistent)
    for count, (operation, argument) in enumerate(_operations(stream)):
        if count >= MOST_OPERATIONS:
            raise Refused(f"more than {MOST_OPERATIONS:,} operations; large data belong into arrays")
        if operation in PUSHES:
            machine.stack.append(PUSHES[operation](machine, argument))
        elif operation in EFFECTS:
            EFFECTS[operation](machine, argument)
        else:
            raise Refused(f"the operation {operation}, which data do not need")
    return machine.stack.pop()


def _operations(stream: Stream) -> Iterator[tuple[str, Any]]:
    """Names and arguments of the operations up to the last, which is STOP."""
    while True:
        code = stream.read(1)
        operation = OPERATIONS.get(code.decode("latin-1"))
        if operation is None:
            raise ValueError(f"no operation of a pickle: {code!r}" if code else "it ends too early")
        if operation.name == "STOP":
            return
        yield operation.name, _argument(operation, stream)


def _argument(operation: pickletools.OpcodeInfo, stream: Stream) -> Any:
    if operation.name == "STRING":  # of Python 2, where strings were bytes: pickletools reads ASCII alone
        quoted = stream.readline().strip()
        if len(quoted) < 2 or quoted[:1] != quoted[-1:] or quoted[:1] not in (b"'", b'"'):
            raise ValueError("a string without quotes")
        return codecs.escape_decode(quoted[1:-1])[0].decode("latin-1")  # pyright: ignore[reportAttributeAccessIssue]
    return operation.arg.reader(stream) if operation.arg else None  # pyright: ignore[reportArgumentType]


def _name(machine: Machine, module: Any, name: Any) -> Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a name that is no text")
    text = f"{RENAMED.get(module, module)}.{name}"
    if text not in machine.table:
        raise UnknownName(text)
    return Name(text)


def _called(machine: Machine, function: Any, arguments: Any) -> Any:
    """What a name of the table makes of arguments."""
    make = machine.table[function.text] if isinstance(function, Name) else None
    if make is None or not isinstance(arguments, tuple) or len(arguments) > MOST_ARGUMENTS:
        raise Refused(f"a call of {function.text if isinstance(function, Name) else type(function).__name__}")
    return make(*arguments)


def _set_state(machine: Machine, state: Any) -> None:
    made = machine.stack[-1]
    if isinstance(made, Stateful):
        made.set_state(state)
    elif not isinstance(made, dict):  # attributes of a dictionary, such as versions of layers, are left out
        raise Refused(f"a state of {type(made).__name__}")


def _extend(machine: Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, list):
        raise ValueError(f"an item of {type(target).__name__}")
    target.extend(values)


def _update(machine: Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, dict):
        raise ValueError(f"an entry of {type(target).__name__}")
    target.update(_pairs(values))


def _pairs(values: list[Any]) -> dict[Any, Any]:
    """A dictionary of keys and values by turns."""
    keys = values[::2]
    for key in keys:
        require_key(key)
    return dict(zip(keys, values[1::2], strict=True))


LITERALS = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING", "SHORT_BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE",
    "BINUNICODE8", "FLOAT", "BINFLOAT",
)  # fmt: skip
# What is pushed, by operation: from the machine and the operation's argument.
PUSHES: dict[str, Callable[[Machine, Any], Any]] = {
    **dict.fromkeys(LITERALS, lambda machine, argument: argument),
    "NONE": lambda machine, _: None,
    "NEWTRUE": lambda machine, _: True,
    "NEWFALSE": lambda machine, _: False,
    "EMPTY_LIST": lambda machine, _: [],
    "EMPTY_SET": lambda machine, _: [],  # sets become lists, of which nothing is hashed
    "FROZENSET": lambda machine, _: machine.since_mark(),
    "EMPTY_TUPLE": lambda machine, _: (),
    "EMPTY_DICT": lambda machine, _: {},
    "LIST": lambda machine, _: machine.since_mark(),
    "TUPLE": lambda machine, _: tuple(machine.since_mark()),
    "TUPLE1": lambda machine, _: tuple(machine.last(1)),
    "TUPLE2": lambda machine, _: tuple(machine.last(2)),
    "TUPLE3": lambda machine, _: tuple(machine.last(3)),
    "DICT": lambda machine, _: _pairs(machine.since_mark()),
    "DUP": lambda machine, _: machine.stack[-1],
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, place: machine.memo[place]),
    "GLOBAL": lambda machine, text: _name(machine, *text.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: _name(machine, *machine.last(2)),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda machine, _: _called(machine, *machine.last(2))),
    "PERSID": lambda machine, identifier: machine.persistent(identifier),
    "BINPERSID": lambda machine, _: machine.persistent(machine.stack.pop()),
}
# What else is done to the machine.
EFFECTS: dict[str, Callable[[Machine, Any], Any]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, _: None),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, place: machine.remember(place)),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "APPEND": lambda machine, _: _extend(machine, machine.last(1)),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda machine, _: _extend(machine, machine.since_mark())),
    "SETITEM": lambda machine, _: _update(machine, machine.last(2)),
    "SETITEMS": lambda machine, _: _update(machine, machine.since_mark()),
    "BUILD": lambda machine, _: _set_state(machine, machine.stack.pop()),
}

"""Reads what `torch.save` writes, and plain pickles of arrays, without torch and without running anything of the file.

Formats: torch's zip archives (since 1.6) and its older stream of pickles; pickles of dictionaries, lists, texts,
numbers and numpy arrays by any protocol, those of Python 2 included. What else a pickle asks for is refused by name.
"""

import functools
import io
import itertools
import math
import os
import pathlib
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from zsl_jax.data.formats import unpickling
from zsl_jax.data.formats.unpickling import MOST_OPERATIONS, Named, Refused, require_key, shown
from zsl_jax.errors import InputError
from zsl_jax.files import Bounded, opened, require_room, size_of

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # at the head of torch's older format
MOST_DIMENSIONS, DEEPEST = 32, 64
AMPLE, AT_LEAST = 4, 2**18  # times the file's size, and bytes: what all values may hold, since they may share parts
BYTES_OF_VALUE = 4  # what a value costs of these
STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8",
}  # fmt: skip
Order = Literal["<", ">"]
TYPES = (*dict.fromkeys(STORAGES.values()), "uint16", "uint32", "uint64")


def load(path: str | os.PathLike) -> Any:
    """What the file holds: dictionaries, lists, tuples, numbers, texts, bytes and numpy arrays.

    Tensors are arrays of their own type and shape (bfloat16: float32), mostly read-only; they may share memory. Of
    options (`argparse.Namespace`) and counters a dictionary is made, of a set a list, of a path a text; a type or
    device is its name. A hostile file may cost time and memory; nothing in it is run, and nothing written.

    Raises:
      InputError: the file cannot be read, is damaged, too large for the memory, asks for other things than these, or
        would hold far more than its size.
    """
    with opened(path) as stream:
        require_room(path, size_of(stream))
        try:
            read = _read_zip if zipfile.is_zipfile(stream) else _read_pickles
            return read(stream, _Maker(size_of(stream)).plain)
        except Refused as refused:
            found = f"refused, since it asks for {refused}; nothing of it was run"
            advice = "save a model's state_dict() instead, or arrays, numbers and texts alone"
            raise InputError(f"{path}: {found}; {advice}") from refused
        except OSError:
            raise
        except Exception as error:  # damage shows as nearly any exception
            said = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            found = f"damaged, or neither an archive of torch.save nor a pickle of arrays ({said})"
            raise InputError(f"{path}: {found}") from error


# Torch's zip archives.


def _read_zip(stream: BinaryIO, make: Callable[[Any], Any]) -> Any:
    with zipfile.ZipFile(stream) as archive:
        root = _checked_root(archive, size_of(stream))
        pickled = archive.read(f"{root}data.pkl")
        said = archive.read(f"{root}byteorder") if f"{root}byteorder" in archive.namelist() else b"little"
        if said not in (b"little", b"big"):
            raise ValueError(f"byteorder is {shown(said)}, neither little nor big")
        fetch = functools.cache(lambda key: archive.read(f"{root}data/{key}"))
        find = functools.partial(_storage, fetch=fetch, order="<" if said == b"little" else ">")
        return make(unpickling.read(Bounded(io.BytesIO(pickled), len(pickled)), KNOWN, find))


def _checked_root(archive: zipfile.ZipFile, size: int) -> str:
    """The folder inside an archive that holds data.pkl; what `torch.save` never writes is refused.

    Torch stores entries as they are, so that all of them together are never larger than the file.
    """
    found = archive.infolist()
    names = [entry.filename for entry in found]
    if len(set(names)) < len(names):
        raise ValueError("two entries have one name")
    for entry in found:
        parts = entry.filename.split("/")
        if not entry.filename.isprintable() or "\\" in entry.filename or not {"", ".", ".."}.isdisjoint(parts):
            raise ValueError(f"an entry named {shown(entry.filename)}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ValueError(f"entry {shown(entry.filename)} is compressed or encrypted, which torch.save never does")
    if sum(entry.file_size for entry in found) > size:
        raise ValueError("its entries are larger than the file")
    roots = [name.removesuffix("data.pkl") for name in names if name.split("/")[1:] == ["data.pkl"]]
    if len(roots) != 1:
        raise ValueError(f"{len(roots)} entries NAME/data.pkl, but one is needed")
    return roots[0]


# Pickles; torch's older format begins with three: magic number, protocol, system. Then come object and storages' names
# as pickles, then each storage: its number of numbers, and these.


def _read_pickles(whole: BinaryIO, make: Callable[[Any], Any]) -> Any:
    whole.seek(0)
    stream = Bounded(whole, size_of(whole))
    read = functools.partial(unpickling.read, stream, KNOWN)
    first = read(_no_storage)
    if first != MAGIC and stream.read(1):
        raise ValueError("something follows the first object")
    return make(first if first != MAGIC else _read_older(stream, read))


def _no_storage(identifier: Any) -> Any:
    raise Refused("a value outside of the pickle")


def _read_older(stream: Bounded, read: Callable[[Callable[[Any], Any]], Any]) -> Any:
    protocol, system = read(_no_storage), read(_no_storage)
    if protocol != PROTOCOL:
        raise ValueError(f"protocol {shown(protocol)}")
    raw: dict[str, bytes] = {}
    asked: dict[str, _Storage] = {}

    def note(identifier: Any) -> _Storage:
        storage = _storage(identifier, raw.__getitem__, "<" if system.entries.get("little_endian", True) else ">")
        return asked.setdefault(storage.key, storage)

    value = read(note)
    for key in read(_no_storage):
        if not isinstance(key, str) or key in raw or key not in asked:
            raise ValueError(f"storage {shown(key)} is unknown or there twice")
        (count,) = struct.unpack("<q", stream.read(8))
        if count != asked[key].count:
            raise ValueError(f"storage {shown(key)} has {count} numbers, but {asked[key].count} are needed")
        raw[key] = stream.read(count * _stored(asked[key].dtype).itemsize)
    return value


# Storages and tensors.


class _Storage(NamedTuple):
    """A run of `count` numbers that tensors are views of; `fetch` gets the bytes of one by its key."""

    dtype: str
    key: str
    count: int
    fetch: Callable[[str], bytes]
    order: Order


def _storage(identifier: Any, fetch: Callable[[str], bytes], order: Order) -> _Storage:
    """The storage that a persistent identifier names: ("storage", type, key, device, count), and maybe a view of it."""
    kind, named, key, _, count, *view = identifier
    if kind != "storage" or not isinstance(key, str) or any(part is not None for part in view):
        raise Refused(f"{shown(kind)} {shown(key)}, no whole storage")
    return _Storage(STORAGES[named.name.rpartition(".")[2]], key, _sizes([count], "a storage")[0], fetch, order)


def _stored(dtype: str) -> np.dtype:
    return np.dtype("uint16" if dtype == "bfloat16" else dtype)


def _sizes(values: Any, what: str) -> tuple[int, ...]:
    """Sizes, steps or places as they are; raises ValueError unless they are few and whole and not negative."""
    if not isinstance(values, tuple | list) or len(values) > MOST_DIMENSIONS:
        raise ValueError(f"{what} {shown(values)}")
    for value in values:
        if type(value) is not int or not 0 <= value < 2**63:
            raise ValueError(f"{what} with {shown(value)}")
    return tuple(values)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any, dtype: str = "") -> np.ndarray:
    """torch._utils._rebuild_tensor and _rebuild_tensor_v2 [*size]; whether gradients are needed is left out."""
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    raw, needed = storage.fetch(storage.key), storage.count * _stored(storage.dtype).itemsize
    if len(raw) != needed:
        raise ValueError(f"storage {shown(storage.key)} has {len(raw)} bytes, but {needed} are needed")
    (start,), size, stride = _sizes([offset], "an offset"), _sizes(size, "a shape"), _sizes(stride, "strides")
    numbers = np.frombuffer(raw, _stored(dtype or storage.dtype).newbyteorder(storage.order))
    last = start + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    total = math.prod(size)
    if total and (last >= len(numbers) or total > len(numbers)):
        raise ValueError(f"a tensor of {total} numbers up to place {last} in a storage of {len(numbers)}")
    strides = [step * numbers.itemsize for step in stride]
    view = as_strided(numbers[start:], size, strides, writeable=False) if total else np.zeros(size, numbers.dtype)
    if (dtype or storage.dtype) == "bfloat16":  # the upper half of a float32
        return (view.astype(np.uint32) << 16).view(np.float32)
    return view.astype(dtype or storage.dtype, copy=False)


def _typed_tensor(storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any) -> Any:
    """torch._utils._rebuild_tensor_v3: of a storage of bytes."""
    if dtype not in TYPES:
        raise Refused(f"a tensor of type {shown(dtype)}")
    return _tensor(storage, offset, size, stride, dtype=dtype)


# What a pickle may name: what calls make of their arguments, then of a state.


def _array(raw: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """Bytes as an array of numpy, in the machine's byte order; raises ValueError unless the shape fits."""
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw  # Python 2
    if not isinstance(kind, str) or not re.fullmatch(r"[<>|=]?[biufSU][0-9]{1,6}", kind):
        raise Refused(f"an array of type {shown(kind)}")
    dtype, shape = np.dtype(kind), _sizes(shape, "a shape")
    if not isinstance(raw, bytes | bytearray) or math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} and type {kind} of other bytes")
    return np.frombuffer(raw, dtype).reshape(shape, order=order).astype(dtype.newbyteorder("="), copy=False)


def _ordered(pairs: Any = ()) -> dict:
    for key, _ in pairs:
        require_key(key)
    return dict(pairs)


CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "collections.Counter": lambda counts=None: {**(counts or {})},
    "collections.defaultdict": lambda *_: {},
    "builtins.dict": _ordered,
    "argparse.Namespace": _ordered,
    "builtins.set": list,  # nothing of it is hashed
    "builtins.frozenset": list,
    "builtins.bytes": lambda: b"",
    "builtins.bytearray": lambda raw=b"": raw,
    "_codecs.encode": lambda text, encoding: text.encode({"latin1": "latin-1"}[encoding]),  # bytes by protocols 0 to 2
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch.Size": lambda sizes: _sizes(sizes, "a shape"),
    "torch.device": lambda *parts: ":".join(map(shown, parts)).replace("'", ""),
    "numpy.dtype": lambda kind, *_: kind,
}
STATES: dict[str, Callable[[Any, Any], Any]] = {
    "argparse.Namespace": lambda made, options: made | options,
    "numpy.dtype": lambda kind, state: state[1] + kind,  # (version, byte order, ...)
}
for core in ("numpy.core", "numpy._core"):
    CALLS[f"{core}.multiarray.scalar"] = lambda kind, raw: _array(raw, kind, (1,), "C")[0].item()
    CALLS[f"{core}.numeric._frombuffer"] = _array  # an array by protocol 5
    CALLS[f"{core}.multiarray._reconstruct"] = lambda *_: np.zeros(0)
    # (version, shape, type, columns first, bytes)
    STATES[f"{core}.multiarray._reconstruct"] = lambda _, state: _array(state[4], state[2], state[1], "CF"[state[3]])
for module, flavour in itertools.product(("pathlib", "pathlib._local"), ("Posix", "Windows")):  # as text
    kind = getattr(pathlib, f"Pure{flavour}Path")
    for name in (f"{module}.{flavour}Path", f"{module}.Pure{flavour}Path"):
        CALLS[name] = lambda *parts, kind=kind: str(kind(*parts))
NAMES = (
    *(f"torch{module}.{storage}" for module in ("", ".storage") for storage in STORAGES),
    *(f"torch.{dtype}" for dtype in TYPES), "numpy.ndarray",
    *(f"builtins.{kind}" for kind in ("list", "int", "float", "str", "bool", "tuple")),  # of defaultdict
)  # fmt: skip
KNOWN = frozenset((*CALLS, *NAMES))


class _Maker:
    """Makes the values of a file of so many bytes."""

    def __init__(self, size: int):
        self.rest, self.values = AMPLE * size + AT_LEAST, 2 * MOST_OPERATIONS
        self.texts: dict[Named, str] = {}  # types above all, which many numbers share

    def plain(self, value: Any, depth: int = 0) -> Any:
        """The value without placeholders; raises ValueError where containers lie too deep or, shared, are too many."""
        self.values -= 1
        self.spend(BYTES_OF_VALUE)
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST}")
        if isinstance(value, Named):
            return value.name.rpartition(".")[2] if value.arguments is None else self.called(value, depth + 1)
        if isinstance(value, list | tuple) and not isinstance(value, _Storage):
            return type(value)(self.plain(part, depth + 1) for part in value)
        if not isinstance(value, str | bytes | bytearray | int | float | None):
            raise Refused("a storage by itself")
        return value

    def called(self, call: Named, depth: int) -> Any:
        """What a call gives, with its state and its entries; raises Refused where there is no such."""
        if call in self.texts:
            return self.texts[call]
        if call.name not in CALLS:
            raise Refused(f"a call of {call.name}")
        arguments = [part if isinstance(part, _Storage) else self.plain(part, depth) for part in call.arguments or ()]
        made = CALLS[call.name](*arguments)
        if call.state is not None and call.name in STATES:
            made = STATES[call.name](made, self.plain(call.state, depth))
        elif call.state is not None and not isinstance(made, dict):  # versions of layers, say, are left out
            raise Refused(f"a state of {call.name}")
        if call.entries:
            made |= {key: self.plain(part, depth) for key, part in call.entries.items()}
        if isinstance(made, str):
            self.texts[call] = made
        if not any(made is part for part in arguments):
            self.spend(made.nbytes if isinstance(made, np.ndarray) else len(made) if hasattr(made, "__len__") else 0)
        return made

    def spend(self, size: int) -> None:
        """Takes bytes of those that may still be made."""
        self.rest -= size
        if min(self.rest, self.values) < 0:
            raise ValueError("it would hold far more than its size")

"""Reads what `torch.save` writes, and plain pickles of arrays, without torch and without running anything of the file.

Formats: torch's zip archives (since 1.6) and its older stream of pickles; pickles of dictionaries, lists, texts,
numbers and numpy arrays by any protocol, those of Python 2 included. What else a pickle asks for is refused by name.
"""

import dataclasses
import io
import math
import os
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from zsl_jax.data.formats import pickle_values
from zsl_jax.data.formats.pickle_machine import Make, Name, Refused, UnknownName, run, shown
from zsl_jax.data.formats.pickle_values import BYTES_OF_VALUE, Budget
from zsl_jax.errors import InputError
from zsl_jax.files import Bounded, opened, require_room, size_of

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # at the head of torch's older format
MOST_ENTRIES, MOST_DIMENSIONS, DEEPEST = 100_000, 32, 64
LARGEST_PICKLE = 2**26  # bytes of data.pkl, which holds no numbers of tensors
AMPLE, AT_LEAST = 4, 2**18  # times the file's size, and bytes: what all values may hold, since they may share parts
STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8",
}  # fmt: skip
TYPES = (*dict.fromkeys(STORAGES.values()), "uint16", "uint32", "uint64")


def load(path: str | os.PathLike) -> Any:
    """What the file holds: dictionaries, lists, tuples, numbers, texts, bytes and numpy arrays.

    Tensors are read-only arrays of their own type and shape (bfloat16: float32); they may share memory. Of options
    (`argparse.Namespace`) and counters a dictionary is made, of a set a list, of a path a text; a type or device is its
    name.

    Raises:
      InputError: the file cannot be read, is damaged, too large for the memory, asks for other things than these, or
        would hold far more than its size.
    """
    with opened(path) as stream:
        require_room(path, size_of(stream))
        try:
            return _load(stream, Budget(AMPLE * size_of(stream) + AT_LEAST))
        except Refused as refused:
            found = f"refused, since it asks for {refused}; nothing of it was run. {_advice(refused)}"
            raise InputError(f"{path}: {found}") from refused
        except OSError:
            raise
        except Exception as error:  # damage shows as nearly any exception
            said = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            found = f"damaged, or neither an archive of torch.save nor a pickle of arrays ({said})"
            raise InputError(f"{path}: {found}") from error


def _advice(refused: Refused) -> str:
    """What to do: names of torch.nn and of unknown packages are mostly those of a model's classes."""
    name = refused.name if isinstance(refused, UnknownName) else "builtins"
    known = {*sys.stdlib_module_names, "torch", "numpy"}
    if name.startswith("torch.nn.") or name.partition(".")[0] not in known:
        return "Of a whole model save its state_dict() instead"
    return "Save the nets without it"


def _load(stream: BinaryIO, budget: Budget) -> Any:
    if zipfile.is_zipfile(stream):
        return _load_zip(stream, budget)
    stream.seek(0)
    return _load_pickles(Bounded(stream, size_of(stream)), budget)


def _load_pickles(stream: Bounded, budget: Budget) -> Any:
    first = run(stream, _table(budget), _no_storage)
    if first == MAGIC:
        return _load_stream(stream, budget)
    if stream.read(1):
        raise ValueError("something follows the first object")
    return _plain(first, budget)


def _no_storage(identifier: Any) -> Any:
    raise Refused("a value outside of the pickle")


# Storages and tensors.


@dataclasses.dataclass(frozen=True)
class _Storages:
    """The storages of a file: `fetch` gets the bytes of one by its key. `made` keeps their numbers."""

    fetch: Callable[[str], bytes]
    order: str
    budget: Budget
    made: dict[tuple[str, str], np.ndarray] = dataclasses.field(default_factory=dict)

    def numbers(self, storage: "_Storage", dtype: str) -> np.ndarray:
        """The numbers [n] of a storage, taken as those of a type."""
        if (storage.key, dtype) not in self.made:
            raw, needed = self.fetch(storage.key), storage.count * _width(storage.dtype)
            if len(raw) != needed:
                raise ValueError(f"storage {shown(storage.key)} has {len(raw)} bytes, but {needed} are needed")
            self.budget.spend(len(raw))
            self.made[storage.key, dtype] = _numbers(raw, dtype, self.order)
        return self.made[storage.key, dtype]


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A run of `count` numbers that tensors are views of."""

    dtype: str
    key: str
    count: int
    source: _Storages


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A view of a storage, made when all storages are at hand."""

    storage: _Storage
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> np.ndarray:
        """The view [*size]."""
        source = self.storage.source
        numbers = source.numbers(self.storage, self.dtype)
        self._check(len(numbers))
        source.budget.spend(math.prod(self.size) * numbers.itemsize)
        if not math.prod(self.size):
            return np.zeros(self.size, numbers.dtype)
        strides = [step * numbers.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.size, strides, writeable=False)

    def _check(self, count: int) -> None:
        """Raises ValueError unless all entries lie in a storage of `count` numbers."""
        last = self.offset + sum((size - 1) * step for size, step in zip(self.size, self.stride, strict=True))
        entries = math.prod(self.size)
        if entries and (last >= count or entries > count):
            raise ValueError(f"a tensor of {entries} numbers up to place {last} in a storage of {count}")


def _sizes(values: Any, what: str) -> tuple[int, ...]:
    """Sizes, steps or places as they are; raises ValueError unless they are few and whole and not negative."""
    if not isinstance(values, tuple | list) or len(values) > MOST_DIMENSIONS:
        raise ValueError(f"{what} {shown(values)}")
    for value in values:
        if type(value) is not int or not 0 <= value < 2**63:
            raise ValueError(f"{what} with {shown(value)}")
    return tuple(values)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
    """torch._utils._rebuild_tensor and _rebuild_tensor_v2; whether gradients are needed is left out."""
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    (place,), sizes, steps = _sizes([offset], "an offset"), _sizes(size, "a shape"), _sizes(stride, "strides")
    return _Tensor(storage, storage.dtype, place, sizes, steps)


def _typed_tensor(storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any) -> Any:
    """torch._utils._rebuild_tensor_v3: of a storage of bytes."""
    name = dtype.text.removeprefix("torch.") if isinstance(dtype, Name) else ""
    if name not in TYPES:
        raise Refused(f"a tensor of type {shown(name or dtype)}")
    return dataclasses.replace(_tensor(storage, offset, size, stride), dtype=name)


def _parameter(tensor: Any, *_: Any) -> Any:
    """torch._utils._rebuild_parameter."""
    return tensor


def _numbers(raw: bytes, dtype: str, order: str) -> np.ndarray:
    """Bytes as numbers of a type [n], in the machine's byte order."""
    if dtype == "bfloat16":  # the upper half of a float32
        return (np.frombuffer(raw, f"{order}u2").astype(np.uint32) << 16).view(np.float32)
    read = np.dtype(dtype).newbyteorder(order)  # pyright: ignore[reportArgumentType]
    return np.frombuffer(raw, read).astype(np.dtype(dtype), copy=False)


def _width(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _storage_of(identifier: Any, source: _Storages) -> _Storage:
    """The storage that a persistent identifier names: ("storage", type, key, device, count), and maybe a view of it."""
    if not isinstance(identifier, tuple) or len(identifier) not in (5, 6):
        raise ValueError("an identifier that is no storage's")
    kind, name, key, _, count, *view = identifier
    dtype = STORAGES.get(name.text.rpartition(".")[2]) if isinstance(name, Name) else None
    if kind != "storage" or dtype is None or not isinstance(key, str):
        raise ValueError(f"an identifier of {shown(kind)}, key {shown(key)}")
    if any(part is not None for part in view):
        raise Refused("a view of a storage")
    return _Storage(dtype, key, _sizes([count], "a storage")[0], source)


# Zip archives.


def _load_zip(stream: BinaryIO, budget: Budget) -> Any:
    with zipfile.ZipFile(stream) as archive:
        root = _checked_root(archive, size_of(stream))
        source = _Storages(lambda key: archive.read(f"{root}data/{key}"), _byte_order(archive, root), budget)
        if archive.getinfo(f"{root}data.pkl").file_size > LARGEST_PICKLE:
            raise ValueError(f"data.pkl has more than {LARGEST_PICKLE} bytes")
        pickled = io.BytesIO(archive.read(f"{root}data.pkl"))
        return _plain(run(pickled, _table(budget), lambda identifier: _storage_of(identifier, source)), budget)


def _checked_root(archive: zipfile.ZipFile, size: int) -> str:
    """The folder inside an archive that holds data.pkl; what `torch.save` never writes is refused.

    Torch stores entries as they are, so that all of them together are never larger than the file.
    """
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(entries) > MOST_ENTRIES:
        raise ValueError(f"{len(entries)} entries")
    if len(set(names)) < len(names):
        raise ValueError("two entries have one name")
    for entry in entries:
        if not _is_plain(entry.filename):
            raise ValueError(f"an entry named {shown(entry.filename)}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ValueError(f"entry {shown(entry.filename)} is compressed or encrypted, which torch.save never does")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("its entries are larger than the file")
    roots = [name.removesuffix("data.pkl") for name in names if name.split("/")[1:] == ["data.pkl"]]
    if len(roots) != 1:
        raise ValueError(f"{len(roots)} entries NAME/data.pkl, but one is needed")
    return roots[0]


def _is_plain(name: str) -> bool:
    """Whether a name of an entry stays below the folder that it would be unpacked to."""
    return name.isprintable() and "\\" not in name and all(part not in ("", ".", "..") for part in name.split("/"))


def _byte_order(archive: zipfile.ZipFile, root: str) -> str:
    name = f"{root}byteorder"
    said = archive.read(name) if name in archive.namelist() else b"little"
    orders = {b"little": "<", b"big": ">"}
    if said not in orders:
        raise ValueError(f"byteorder is {shown(said)}, neither little nor big")
    return orders[said]


# The older format: pickles of magic number, protocol, system, object and storages' names, then each storage.


def _load_stream(stream: Bounded, budget: Budget) -> Any:
    table = _table(budget)
    protocol, system = run(stream, table, _no_storage), run(stream, table, _no_storage)
    if protocol != PROTOCOL or not isinstance(system, dict):
        raise ValueError(f"protocol {shown(protocol)}")
    raw: dict[str, bytes] = {}
    source = _Storages(raw.__getitem__, "<" if system.get("little_endian", True) else ">", budget)
    asked: dict[str, _Storage] = {}

    def note(identifier: Any) -> _Storage:
        storage = _storage_of(identifier, source)
        return asked.setdefault(storage.key, storage)

    value = run(stream, table, note)
    for key in run(stream, table, _no_storage):
        if not isinstance(key, str) or key in raw or key not in asked:
            raise ValueError(f"storage {shown(key)} is unknown or there twice")
        raw[key] = _next_storage(stream, asked[key])
    return _plain(value, budget)


def _next_storage(stream: Bounded, storage: _Storage) -> bytes:
    """The bytes of a storage, which follow their number of numbers."""
    (count,) = struct.unpack("<q", stream.read(8))
    if count != storage.count:
        raise ValueError(f"storage {shown(storage.key)} has {count} numbers, but {storage.count} are needed")
    return stream.read(count * _width(storage.dtype))


# Arrays of numpy.


class _Type:
    """numpy.dtype: numbers and texts; its state holds the byte order."""

    def __init__(self, name: Any, *_: Any):
        text = name if isinstance(name, str) else ""
        if text[:1] not in tuple("biufSU") or not text[1:].isdecimal() or len(text) > 7:
            raise Refused(f"an array of type {shown(name)}")
        self.dtype = np.dtype(text)

    def set_state(self, state: Any) -> None:
        """(version, byte order, ...)"""
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError(f"byte order {shown(state[1])}")
        self.dtype = self.dtype.newbyteorder(state[1])


NOTHING = np.zeros(0)


class _Array:
    """numpy.ndarray: empty at first, then given its state."""

    def __init__(self, budget: Budget, value: np.ndarray = NOTHING):
        self._budget = budget
        self.value = value

    def set_state(self, state: Any) -> None:
        """(version, shape, type, columns first, bytes)"""
        _, shape, kind, fortran, raw = state
        self.value = _array(self._budget, raw, kind, shape, "F" if fortran else "C")

    def array(self) -> np.ndarray:
        """The array, in the machine's byte order."""
        self._budget.spend(self.value.nbytes)
        return self.value.astype(self.value.dtype.newbyteorder("="), copy=False)


def _array(budget: Budget, raw: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """Bytes as an array of a shape; raises ValueError unless the shape fits."""
    budget.spend(len(raw))
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw  # Python 2
    if not isinstance(raw, bytes | bytearray) or not isinstance(kind, _Type):
        raise Refused("an array of other things than numbers or texts")
    sizes = _sizes(shape, "a shape")
    if math.prod(sizes) * kind.dtype.itemsize != len(raw):
        raise ValueError(f"an array of {math.prod(sizes)} entries of {kind.dtype.itemsize} bytes in {len(raw)} bytes")
    return np.frombuffer(raw, kind.dtype).reshape(sizes, order=order)


# What a pickle may name.


def _table(budget: Budget) -> dict[str, Make | None]:
    """Names and what calling them makes."""

    def from_buffer(raw: Any, kind: Any, shape: Any, order: Any) -> _Array:  # an array by protocol 5
        return _Array(budget, _array(budget, raw, kind, shape, order))

    def scalar(kind: Any, raw: Any) -> Any:
        return _array(budget, raw, kind, (1,), "C")[0].item()

    called: dict[str, Make] = {
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_tensor_v3": _typed_tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch.Size": lambda sizes: _sizes(sizes, "a shape"),
        "torch.device": lambda *parts: ":".join(map(shown, parts)).replace("'", ""),
        "numpy.dtype": _Type,
    }
    for numpy in ("numpy.core", "numpy._core"):
        called[f"{numpy}.multiarray._reconstruct"] = lambda *_: _Array(budget)
        called[f"{numpy}.multiarray.scalar"] = scalar
        called[f"{numpy}.numeric._frombuffer"] = from_buffer
    named = [*_storage_names(), *(f"torch.{name}" for name in TYPES), "numpy.ndarray"]
    return dict.fromkeys(named) | pickle_values.table(budget) | called


def _storage_names() -> Iterator[str]:
    for name in STORAGES:
        yield f"torch.{name}"
        yield f"torch.storage.{name}"


def _plain(value: Any, budget: Budget) -> Any:
    """The value without placeholders; raises ValueError where containers lie too deep or, shared, are too many."""

    def walk(value: Any, depth: int) -> Any:
        budget.spend(BYTES_OF_VALUE)
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST}")
        if isinstance(value, _Tensor | _Array):
            return value.array()
        if isinstance(value, dict):
            return {key: walk(part, depth + 1) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(walk(part, depth + 1) for part in value)
        if isinstance(value, Name):
            return value.text.rpartition(".")[2]
        if isinstance(value, _Storage | _Type):
            raise Refused("a storage or a type by itself")
        return value

    return walk(value, 0)

"""Writes what `torch.save` writes, without torch, byte by byte: also what torch would never write."""

import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zsl_jax.data.formats.pickles import MAGIC, PROTOCOL

STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage", "float16": "HalfStorage"}
STOP = b"."


class Raw(NamedTuple):
    """Operations of a pickle as they are."""

    operations: bytes


class Tensor(NamedTuple):
    """A tensor of a storage [n] that need not fit it."""

    storage: np.ndarray
    offset: int
    size: tuple
    stride: tuple
    count: int | None = None  # numbers that the storage is said to have
    key: str | None = None
    kind: str | None = None


class Storages(dict):
    """Arrays by key, in the order in which tensors need them."""

    def key_of(self, tensor: Tensor) -> str:
        """The key of a tensor's storage, the same for the same array."""
        known = next((key for key, array in self.items() if array is tensor.storage), str(len(self)))
        key = tensor.key or known
        self[key] = tensor.storage
        return key


def name(module: str, attribute: str) -> bytes:
    """The operation that names something."""
    return f"c{module}\n{attribute}\n".encode()


def operations(value: Any, storages: Storages, legacy: bool = False) -> bytes:
    """The operations of protocol 2 that make a value."""

    def of(part: Any) -> bytes:
        return operations(part, storages, legacy)

    match value:
        case Raw():
            return value.operations
        case Tensor():
            return _tensor(value, storages, legacy)
        case np.ndarray():
            steps = tuple(step // value.itemsize for step in np.zeros(value.shape, value.dtype).strides)
            return of(Tensor(np.ravel(value), 0, value.shape, steps))
        case dict():
            return b"}(" + b"".join(of(key) + of(part) for key, part in value.items()) + b"u"
        case tuple():
            return b"(" + b"".join(map(of, value)) + b"t"
        case list():
            return b"](" + b"".join(map(of, value)) + b"e"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return _integer(value)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    assert value is None, value
    return b"N"


def _integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _tensor(tensor: Tensor, storages: Storages, legacy: bool) -> bytes:
    key = storages.key_of(tensor)
    kind = tensor.kind or STORAGES[tensor.storage.dtype.name]
    count = len(tensor.storage) if tensor.count is None else tensor.count
    pid = ("storage", Raw(name("torch", kind)), key, "cpu", count) + ((None,) if legacy else ())
    empty = Raw(name("collections", "OrderedDict") + b")R")
    arguments = (Raw(operations(pid, storages) + b"Q"), tensor.offset, tensor.size, tensor.stride, False, empty)
    return name("torch._utils", "_rebuild_tensor_v2") + operations(arguments, storages) + b"R"


def pickled(value: Any, storages: Storages | None = None, legacy: bool = False) -> bytes:
    """A whole pickle of a value."""
    return b"\x80\x02" + operations(value, Storages() if storages is None else storages, legacy) + STOP


def entries(value: Any, root: str = "archive") -> dict[str, bytes]:
    """The entries of the zip format."""
    storages = Storages()
    found = {f"{root}/data.pkl": pickled(value, storages), f"{root}/byteorder": b"little"}
    found |= {f"{root}/data/{key}": array.tobytes() for key, array in storages.items()}
    return found | {f"{root}/version": b"3\n"}


def write_zip(path: Path, found: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Writes a zip file of entries."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, data in found.items():
            archive.writestr(zipfile.ZipInfo(entry), data, compression)
    return path


def save(path: Path, value: Any) -> Path:
    """As `torch.save`."""
    return write_zip(path, entries(value))


def stream(value: Any, little: bool = True) -> bytes:
    """The older format."""
    storages = Storages()
    head = pickled(MAGIC) + pickled(PROTOCOL) + pickled({"little_endian": little, "protocol_version": PROTOCOL})
    body = pickled(value, storages, legacy=True) + pickled(list(storages))
    return head + body + b"".join(struct.pack("<q", array.size) + array.tobytes() for array in storages.values())

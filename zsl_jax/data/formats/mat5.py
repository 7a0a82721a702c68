"""A bounds-checked reader of MATLAB files of version 5 and 7: matrices of numbers, cells of strings, nothing else.

Format: "MAT-File Format", The MathWorks. Written by hand because scipy.io.loadmat crashes the whole process on some
damaged files (a wrong byte in an array's dimensions or class), where an error is wanted.
"""

import pathlib
import struct
import zlib
from collections.abc import Collection, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

HEADER_BYTES, TAG_BYTES = 128, 8
PREFIX_BYTES = 512  # enough for class, dimensions and name of any array that is wanted
MATRIX, COMPRESSED = 14, 15
NUMBER_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
NUMBER_CLASSES = ["double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
CLASS_NAMES = ["unknown", "cell", "struct", "object", "char", "sparse", *NUMBER_CLASSES]
COMPLEX_FLAG, LOGICAL_FLAG = 0x0800, 0x0200


class Header(NamedTuple):
    """What an array says of itself: its name, class, shape, and the bytes that it takes when it is read."""

    name: str
    class_name: str
    shape: tuple[int, ...]
    n_bytes: int


class Variable(NamedTuple):
    """An array as it lies in the file: its name, class, shape, and the bytes after its name; `order` is '<' or '>'."""

    name: str
    class_name: str
    shape: tuple[int, ...]
    body: memoryview
    order: str


def byte_order(header: bytes) -> str | None:
    """Returns '<' or '>' for the first 128 bytes of a version 5 or 7 file, None for anything else."""
    order = {b"IM": "<", b"MI": ">"}.get(header[126:HEADER_BYTES])
    return order if order and struct.unpack(order + "H", header[124:126])[0] == 0x0100 else None


def headers(path: pathlib.Path) -> list[Header]:
    """Lists the arrays of a file without reading them; those that keep their name elsewhere are left out.

    Raises:
      ValueError, struct.error, zlib.error: the file is damaged.
    """
    found = []
    with path.open("rb") as stream:
        order = _order(stream)
        for kind, size in _elements(stream, order):
            start = stream.read(min(size, 8 * PREFIX_BYTES))
            start, size = _inflated_start(start, order) if kind == COMPRESSED else (start, size)
            if _name(memoryview(start), order):
                variable = _variable(memoryview(start), order)
                found.append(Header(variable.name, variable.class_name, variable.shape, size))
    return found


def read_variables(path: pathlib.Path, names: Collection[str], max_bytes: int) -> dict[str, Variable]:
    """Reads the named variables that the file has.

    Args:
      path: the file.
      names: the wanted variables.
      max_bytes: larger variables are refused.

    Returns:
      Variables by name; nothing is decoded yet.

    Raises:
      ValueError, struct.error, zlib.error: the file is damaged.
    """
    found: dict[str, Variable] = {}
    with path.open("rb") as stream:
        order = _order(stream)
        for matrix in _matrices(stream, order, names, max_bytes):
            variable = _variable(matrix, order)
            if variable.name in found:
                raise ValueError(f"two variables named {variable.name}")
            found[variable.name] = variable
    return found


def numbers(variable: Variable) -> np.ndarray:
    """Decodes an array of real numbers, in the number type that it is stored in."""
    kind, data, _ = _element(variable.body, 0, variable.order)
    values = np.frombuffer(data, dtype=variable.order + NUMBER_DTYPES[kind])
    return values.reshape(variable.shape, order="F").astype(values.dtype.newbyteorder("="), copy=False)


def is_numbers(variable: Variable) -> bool:
    """Says whether the variable is an array of real numbers."""
    return variable.class_name in NUMBER_CLASSES


def strings(variable: Variable) -> list[str] | None:
    """Decodes a cell array of strings or a matrix with a string in each row; None where it is neither."""
    if variable.class_name == "char":
        return _rows_of_text(variable)
    if variable.class_name != "cell":
        return None
    cells, offset = [], 0
    while offset < len(variable.body):
        kind, data, offset = _element(variable.body, offset, variable.order)
        cell = _variable(data, variable.order) if kind == MATRIX else None
        if cell is None or cell.class_name != "char" or cell.shape[0] > 1:
            return None
        cells += _rows_of_text(cell) or [""]
    return cells


def _element(buffer: memoryview, offset: int, order: str) -> tuple[int, memoryview, int]:
    """Returns type and data of the element at `offset`, and where the next one starts."""
    first, size = struct.unpack_from(order + "II", buffer, offset)
    start, kind = offset + TAG_BYTES, first
    if first >> 16:  # the short form: size and type share a word, up to four bytes of data follow
        start, kind, size = offset + 4, first & 0xFFFF, first >> 16
        end = start + 4
    else:
        end = start + -(-size // 8) * 8
    if size > end - start or start + size > len(buffer):
        raise ValueError("an element is longer than what holds it")
    return kind, buffer[start : start + size], end


def _order(stream: BinaryIO) -> str:
    """Reads the file's first 128 bytes; returns its byte order."""
    order = byte_order(stream.read(HEADER_BYTES))
    if order is None:
        raise ValueError("no header of version 5")
    return order


def _elements(stream: BinaryIO, order: str) -> Iterator[tuple[int, int]]:
    """Yields type and size of each array in the file, the stream standing at its content."""
    while tag := stream.read(TAG_BYTES):
        kind, size = struct.unpack(order + "II", tag)
        if kind not in (MATRIX, COMPRESSED):
            raise ValueError(f"an element of type {kind} where an array is due")
        following = stream.tell() + size
        yield kind, size
        stream.seek(following)


def _matrices(stream: BinaryIO, order: str, names: Collection[str], max_bytes: int) -> Iterator[memoryview]:
    """Yields the content of each wanted array in the file."""
    for kind, size in _elements(stream, order):
        if kind == COMPRESSED:
            content = _inflated(stream.read(min(size, max_bytes)), order, names, max_bytes)
        else:
            content = _plain(stream, size, order, names, max_bytes)
        if content is not None:
            yield content


def _plain(stream: BinaryIO, size: int, order: str, names: Collection[str], max_bytes: int) -> memoryview | None:
    """Reads an array if it is a wanted one."""
    start = stream.tell()
    if _name(memoryview(stream.read(min(size, PREFIX_BYTES))), order) not in names:
        return None
    stream.seek(start)
    return _of_size(stream.read(min(size, max_bytes)), size)


def _inflated(compressed: bytes, order: str, names: Collection[str], max_bytes: int) -> memoryview | None:
    """Decompresses an array if it is a wanted one."""
    start, size = _inflated_start(compressed, order)
    if _name(memoryview(start), order) not in names:
        return None
    content = zlib.decompressobj().decompress(compressed, TAG_BYTES + min(size, max_bytes))
    return _of_size(content[TAG_BYTES:], size)


def _inflated_start(compressed: bytes, order: str) -> tuple[bytes, int]:
    """Decompresses the first bytes of an array's content; returns them, and the size of the whole."""
    start = zlib.decompressobj().decompress(compressed, TAG_BYTES + PREFIX_BYTES)
    kind, size = struct.unpack_from(order + "II", start)
    if kind != MATRIX:
        raise ValueError(f"a compressed element of type {kind} where an array is due")
    return start[TAG_BYTES : TAG_BYTES + size], size


def _of_size(content: bytes, size: int) -> memoryview:
    if len(content) != size:
        raise ValueError(f"an array of {size} bytes has only {len(content)}, or is too large")
    return memoryview(content)


def _name(prefix: memoryview, order: str) -> str:
    """Returns an array's name from its first bytes; empty for one that keeps its name elsewhere (opaque objects)."""
    try:
        return _variable(prefix, order).name
    except (ValueError, struct.error):
        return ""


def _variable(matrix: memoryview, order: str) -> Variable:
    """Splits an array's content into its parts."""
    _, flag_data, offset = _element(matrix, 0, order)
    _, shape_data, offset = _element(matrix, offset, order)
    _, name, offset = _element(matrix, offset, order)
    (flags,) = struct.unpack_from(order + "I", flag_data)
    shape = tuple(int(size) for size in np.frombuffer(shape_data, order + "i4"))
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"an array of shape {shape}")
    return Variable(bytes(name).decode("latin-1"), _class_name(flags), shape, matrix[offset:], order)


def _class_name(flags: int) -> str:
    if flags & LOGICAL_FLAG:
        return "logical"
    number = flags & 0xFF
    name = CLASS_NAMES[number] if number < len(CLASS_NAMES) else "unknown"
    return f"complex {name}" if flags & COMPLEX_FLAG else name


def _rows_of_text(variable: Variable) -> list[str]:
    """Decodes a matrix of characters, stored column by column, into one string per row."""
    kind, data, _ = _element(variable.body, 0, variable.order)
    encoding = ENCODINGS[kind]
    if encoding == "utf-16":
        encoding = {"<": "utf-16-le", ">": "utf-16-be"}[variable.order]
    text, n_rows = bytes(data).decode(encoding), variable.shape[0]
    if n_rows > 1 and len(text) % n_rows:
        raise ValueError(f"{len(text)} characters in {n_rows} rows")
    return [text[row::n_rows].rstrip() for row in range(min(n_rows, len(text)))]

"""A bounds-checked reader of MATLAB files of version 5 and 7: numbers, truth values, text, cells and structs.

Format: "MAT-File Format", The MathWorks. Written by hand because scipy.io.loadmat crashes the whole process on some
damaged files (a wrong byte in an array's dimensions or class), where an error is wanted.
"""

import math
import pathlib
import struct
import zlib
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

HEADER_BYTES, TAG_BYTES = 128, 8
PREFIX_BYTES = 512  # enough for class, dimensions and name of any array that is wanted
MATRIX, COMPRESSED = 14, 15
NUMBER_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
NUMBER_CLASSES = ["double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
CLASS_NAMES = ["unknown", "cell", "struct", "object", "char", "sparse", *NUMBER_CLASSES]
COMPLEX_FLAG, LOGICAL_FLAG = 0x0800, 0x0200
OPAQUE = 17  # strings, tables and other objects, which keep their name where others have their shape
DEEPEST = 8  # of cells and structs within each other


class Unread(NamedTuple):
    """Something in a file that is not read, and why."""

    reason: str


class _Variable(NamedTuple):
    """An array as it lies in the file: its name, class, shape, and the bytes after its name; `order` is '<' or '>'."""

    name: str
    class_name: str
    is_logical: bool
    shape: tuple[int, ...]
    body: memoryview
    order: str


def byte_order(header: bytes) -> str | None:
    """Returns '<' or '>' for the first 128 bytes of a version 5 or 7 file, None for anything else."""
    order = {b"IM": "<", b"MI": ">"}.get(header[126:HEADER_BYTES])
    return order if order and struct.unpack(order + "H", header[124:126])[0] == 0x0100 else None


def read(path: pathlib.Path, names: Collection[str] | None, max_bytes: int) -> dict[str, Any]:
    """Reads the named variables that the file has.

    Args:
      path: the file.
      names: the wanted variables; None: all.
      max_bytes: that all of them together may take.

    Returns:
      By name: an array in the number type that it is stored in, a list of texts (of a char matrix, its rows), a list of
      what cells hold, a dictionary of what a struct holds, or `Unread`.

    Raises:
      ValueError, struct.error, zlib.error: the file is damaged, or a variable too large.
    """
    found: dict[str, Any] = {}
    with path.open("rb") as stream:
        order = byte_order(stream.read(HEADER_BYTES))
        if order is None:
            raise ValueError("no header of version 5")
        for kind, size in _elements(stream, order):
            matrix = _content(stream, kind, size, order, names, max_bytes)
            if matrix is None:
                continue
            name, value, n_bytes = _decoded(matrix, order, max_bytes)
            max_bytes -= n_bytes
            if name in found:
                raise ValueError(f"two variables named {name}")
            found[name] = value
    return found


def _elements(stream: BinaryIO, order: str) -> Iterator[tuple[int, int]]:
    """Yields type and size of each array in the file, the stream standing at its content."""
    while tag := stream.read(TAG_BYTES):
        kind, size = struct.unpack(order + "II", tag)
        if kind not in (MATRIX, COMPRESSED):
            raise ValueError(f"an element of type {kind} where an array is due")
        following = stream.tell() + size
        yield kind, size
        stream.seek(following)


def _content(
    stream: BinaryIO, kind: int, size: int, order: str, names: Collection[str] | None, max_bytes: int
) -> memoryview | None:
    """The content of an array, None of one that is not wanted or has no name."""
    start = stream.tell()
    compressed = stream.read(min(size, max_bytes)) if kind == COMPRESSED else b""
    prefix, whole = _inflated_start(compressed, order) if compressed else (stream.read(min(size, PREFIX_BYTES)), size)
    name = _name(memoryview(prefix), order)
    if not name or (names is not None and name not in names):
        return None
    if whole > max_bytes:
        raise ValueError(f"'{name}' takes {whole} bytes, more than there is room for")
    if compressed:
        content = zlib.decompressobj().decompress(compressed, TAG_BYTES + whole)[TAG_BYTES:]
    else:
        stream.seek(start)
        content = stream.read(size)
    if len(content) != whole:
        raise ValueError(f"an array of {whole} bytes has only {len(content)}")
    return memoryview(content)


def _inflated_start(compressed: bytes, order: str) -> tuple[bytes, int]:
    """Decompresses the first bytes of an array's content; returns them, and the size of the whole."""
    start = zlib.decompressobj().decompress(compressed, TAG_BYTES + PREFIX_BYTES)
    kind, size = struct.unpack_from(order + "II", start)
    if kind != MATRIX:
        raise ValueError(f"a compressed element of type {kind} where an array is due")
    return start[TAG_BYTES : TAG_BYTES + size], size


def _name(prefix: memoryview, order: str) -> str:
    """An array's name from its first bytes; empty for the file's own data, which have none."""
    try:
        return _variable(prefix, order).name
    except (ValueError, struct.error):
        return ""


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


def _variable(matrix: memoryview, order: str) -> _Variable:
    """Splits an array's content into its parts."""
    _, flag_data, offset = _element(matrix, 0, order)
    (flags,) = struct.unpack_from(order + "I", flag_data)
    if flags & 0xFF == OPAQUE:
        name = bytes(_element(matrix, offset, order)[1]).decode("latin-1")
        return _Variable(name, "object", False, (1, 1), matrix[:0], order)
    _, shape_data, offset = _element(matrix, offset, order)
    _, name_data, offset = _element(matrix, offset, order)
    shape = tuple(int(size) for size in np.frombuffer(shape_data, order + "i4"))
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"an array of shape {shape}")
    name = bytes(name_data).decode("latin-1")
    return _Variable(name, _class_name(flags), bool(flags & LOGICAL_FLAG), shape, matrix[offset:], order)


def _class_name(flags: int) -> str:
    number = flags & 0xFF
    name = CLASS_NAMES[number] if number < len(CLASS_NAMES) else "unknown"
    return f"complex {name}" if flags & COMPLEX_FLAG else name


def _decoded(matrix: memoryview, order: str, max_bytes: int, depth: int = 0) -> tuple[str, Any, int]:
    """Name and value of an array, and the bytes that it takes."""
    variable = _variable(matrix, order)
    decode = {"char": _rows_of_text, "sparse": _dense, **dict.fromkeys(NUMBER_CLASSES, _numbers)}
    value: Any
    if variable.class_name in ("cell", "struct") and depth < DEEPEST:
        read = _cells if variable.class_name == "cell" else _fields
        value = read(variable, max_bytes, depth + 1)
    elif variable.class_name not in decode:
        return variable.name, Unread(f"of class '{variable.class_name}'"), len(matrix)
    else:
        n_entries = math.prod(variable.shape)
        if variable.class_name == "sparse" and 8 * n_entries > max_bytes:
            raise ValueError(f"'{variable.name}' claims {n_entries} entries, more than there is room for")
        value = decode[variable.class_name](variable)
    return variable.name, value, max(len(matrix), value.nbytes if isinstance(value, np.ndarray) else 0)


def _numbers(variable: _Variable) -> np.ndarray:
    values = _flat(variable.body, 0, variable.order)[0].reshape(variable.shape, order="F")
    return values.astype(bool) if variable.is_logical else values


def _flat(body: memoryview, offset: int, order: str) -> tuple[np.ndarray, int]:
    """The numbers of an element [n] in the machine's byte order, and where the next one starts."""
    kind, data, end = _element(body, offset, order)
    values = np.frombuffer(data, dtype=order + NUMBER_DTYPES[kind])
    return values.astype(values.dtype.newbyteorder("="), copy=False), end


def _dense(variable: _Variable) -> np.ndarray:
    """A sparse matrix with its zeros: row numbers, the place where each column starts, and the entries."""
    rows, offset = _flat(variable.body, 0, variable.order)
    starts, offset = _flat(variable.body, offset, variable.order)
    entries, _ = _flat(variable.body, offset, variable.order)
    return dense(rows, starts, entries[: int(starts[-1])], variable.shape, variable.is_logical)


def dense(rows: np.ndarray, starts: np.ndarray, entries: np.ndarray, shape: tuple[int, ...], logical: bool) -> Any:
    """A matrix from the parts of a sparse one.

    Args:
      rows: of the entries [n], perhaps with more behind.
      starts: place of the first entry of each column, and the end [columns + 1].
      entries: [n].
      shape: of the matrix.
      logical: whether the entries are truth values.

    Raises:
      ValueError: the parts contradict each other.
    """
    counts = np.diff(starts.astype(np.int64))
    if len(shape) != 2 or counts.size != shape[1] or counts.min(initial=0) < 0 or counts.sum() != entries.size:
        raise ValueError("a sparse matrix with other columns than it says")
    rows = rows[: entries.size].astype(np.int64)
    if rows.size != entries.size or np.any((rows < 0) | (rows >= shape[0])):
        raise ValueError("a sparse matrix with entries outside of it")
    matrix = np.zeros(shape, bool if logical else entries.dtype)
    matrix[rows, np.repeat(np.arange(shape[1]), counts)] = entries
    return matrix


def _cells(variable: _Variable, max_bytes: int, depth: int) -> list[Any]:
    cells, offset = [], 0
    while offset < len(variable.body):
        kind, data, offset = _element(variable.body, offset, variable.order)
        if kind != MATRIX:
            raise ValueError(f"a cell of type {kind}")
        cells.append(_decoded(data, variable.order, max_bytes, depth)[1] if data else [""])
    return cells


def _fields(variable: _Variable, max_bytes: int, depth: int) -> Any:
    """A struct of one element by the names of its fields."""
    if math.prod(variable.shape) != 1:
        return Unread(f"a struct array of shape {variable.shape}")
    (length,), offset = _flat(variable.body, 0, variable.order)
    _, raw, offset = _element(variable.body, offset, variable.order)
    width = max(int(length), 1)
    names = [bytes(raw[at : at + width]).split(b"\0")[0].decode("latin-1") for at in range(0, len(raw), width)]
    fields = {}
    for name in names:
        _, data, offset = _element(variable.body, offset, variable.order)
        if data:
            fields[name] = _decoded(data, variable.order, max_bytes, depth)[1]
    return fields


def _rows_of_text(variable: _Variable) -> list[str]:
    """Decodes a matrix of characters, stored column by column, into one string per row."""
    kind, data, _ = _element(variable.body, 0, variable.order)
    encoding = ENCODINGS[kind]
    if encoding == "utf-16":
        encoding = {"<": "utf-16-le", ">": "utf-16-be"}[variable.order]
    text, n_rows = bytes(data).decode(encoding), variable.shape[0]
    if n_rows > 1 and len(text) % n_rows:
        raise ValueError(f"{len(text)} characters in {n_rows} rows")
    return [text[row::n_rows].rstrip() for row in range(min(n_rows, len(text)))]

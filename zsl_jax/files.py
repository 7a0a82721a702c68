"""Files that others give: regular ones, opened without waiting; and files and folders written whole or not at all."""

import contextlib
import dataclasses
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zsl_jax.errors import InputError

_NOT_FINITE = ("NaN", "Infinity", "-Infinity")  # JSON has no such numbers; Python reads these strings as floats
MAX_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2  # of a file or its arrays: half of the memory


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A regular file to read from.

    Raises:
      InputError: it is missing, no regular file (a folder, a pipe, a device) or unreadable.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would be waited for
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{path}: no regular file; give the file itself")
    with os.fdopen(handle, "rb") as stream:
        try:
            yield stream
        except OSError as error:
            raise _unreadable(path, error) from error


def size_of(stream: BinaryIO) -> int:
    """Bytes of an open file."""
    return os.fstat(stream.fileno()).st_size


def require_room(path: str | os.PathLike, n_bytes: int) -> None:
    """Raises InputError when a file or its arrays, of so many bytes, would take more than half of the memory."""
    if n_bytes > MAX_BYTES:
        raise InputError(f"{path}: claims {n_bytes} bytes, more than {MAX_BYTES}, half of the memory here")


@dataclasses.dataclass(frozen=True)
class Bounded:
    """A stream that is never asked for more bytes than are left of it, whatever number a file says."""

    stream: BinaryIO
    size: int

    def read(self, count: int) -> bytes:
        """At most so many bytes."""
        return self.stream.read(min(count, self.size - self.stream.tell()))

    def readline(self) -> bytes:
        """The bytes up to the end of the line."""
        return self.stream.readline()


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path` to write a file to; on success it is synced to disk and takes its name.

    Raises:
      InputError: the folder is missing or cannot be written.
    """
    path = Path(path)
    with _writing(path):
        if path.is_dir():
            raise InputError(f"{path}: that is a folder; name a file")
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as staging:
            temporary = Path(staging) / path.name
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
            _sync(path.parent)


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a new folder to fill; on success it is synced to disk and takes the place of `path`.

    What was at `path` is removed when the new folder is there. Where that fails it comes back; where even that fails,
    and after a kill in between, it lies beside, in `.<name>.<letters>/old`.

    Raises:
      InputError: the folder above cannot be made or written.
    """
    path = Path(path)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:100]}."))
        new, old = staging / "new" / path.name, staging / "old"  # the name is that which checks of it will say
        try:
            new.mkdir(parents=True)
            yield new
            for one in (*new.rglob("*"), new):
                _sync(one)
            _swap(new, path, old)
            _sync(path.parent)
        finally:
            if os.path.lexists(path) or not old.exists():
                shutil.rmtree(staging, ignore_errors=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file whole or not at all; makes its folder if need be. Raises InputError, see `replacing`."""
    with _writing(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, obj: Any) -> None:
    """Writes JSON as `write_text` does.

    Numpy numbers and arrays, tuples and paths are taken too; NaN and infinities become the strings "NaN", "Infinity"
    and "-Infinity".
    """
    write_text(path, to_json(obj, indent=2) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Reads a JSON file; the strings that `write_json` makes of NaN and infinities become numbers again.

    Raises:
      InputError: it is missing, unreadable or not JSON.
    """
    try:
        return from_json(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); restore it or use another workdir") from error


def to_json(obj: Any, indent: int | None = None) -> str:
    """JSON of what `write_json` takes."""
    return json.dumps(_plain(obj), indent=indent, allow_nan=False)


def from_json(text: str | bytes) -> Any:
    """Undoes `to_json`, but that arrays and tuples have become lists and all names strings."""
    return _numbers_again(json.loads(text))


@contextlib.contextmanager
def _writing(path: str | os.PathLike) -> Iterator[None]:
    """Turns what goes wrong in writing into an InputError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be written ({reason}); make room, mend the rights or name another") from error


def _swap(new: Path, path: Path, old: Path) -> None:
    """Puts a folder in the place of another, which goes to `old`, and comes back if that fails."""
    if os.path.lexists(path):
        os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        if old.exists():
            os.rename(old, path)
        raise


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    # Not every file system takes the call for a folder, and one that does not needs none.
    with contextlib.suppress(*([OSError] if path.is_dir() else [])):
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _plain(obj: Any) -> Any:
    """Returns the same in the types JSON has."""
    if isinstance(obj, np.ndarray | np.generic):
        obj = obj.tolist()
    if isinstance(obj, Mapping):
        return {str(name): _plain(value) for name, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value) for value in obj]
    if isinstance(obj, float) and not math.isfinite(obj):
        return "NaN" if math.isnan(obj) else "Infinity" if obj > 0 else "-Infinity"
    return str(obj) if isinstance(obj, Path) else obj


def _numbers_again(obj: Any) -> Any:
    """Undoes what `_plain` did to numbers that are not finite."""
    if isinstance(obj, dict):
        return {name: _numbers_again(value) for name, value in obj.items()}
    if isinstance(obj, list):
        return [_numbers_again(value) for value in obj]
    return float(obj) if isinstance(obj, str) and obj in _NOT_FINITE else obj


def _unreadable(path: str | os.PathLike, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return InputError(f"{path}: cannot be read ({reason})")

"""Files that others give: regular ones, opened without waiting; and files written whole or not at all."""

import contextlib
import dataclasses
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from zsl_jax.errors import InputError

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
    """Yields a temporary path beside `path` to write to; on success it takes its name.

    Raises:
      InputError: the folder is missing or cannot be written.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: that is a folder; name a file")
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def _unreadable(path: str | os.PathLike, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return InputError(f"{path}: cannot be read ({reason})")

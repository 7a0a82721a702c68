"""Runs of several processes: how they find each other, agree, and leave the files to the first of them."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from zsl_jax.errors import InputError
from zsl_jax.files import from_json, to_json

# Numbers of processes that launchers set; JAX finds the rest of what they say itself.
LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
TIMEOUT = 300  # seconds to wait for the other processes
LONGEST = 4000  # bytes of a message that the other processes are told
BLOCK = 1 << 16  # bytes by which what is sent grows, so that few sizes are compiled


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the other processes of a run, if there are any; to be called before JAX is used.

    Args:
      coordinator: host:port of the first process; None: as SLURM or Open MPI say, if they started several.
      processes: how many there are; 1: this process runs alone, whatever the environment says.
      process: which one this is, from 0.

    Raises:
      InputError: the three contradict each other, or the other processes did not come.
    """
    if processes == 1 and not process:
        return
    given = [value is not None for value in (coordinator, processes, process)]
    if any(given) and not all(given):
        raise InputError("--coordinator, --processes and --process belong together: give all three or none")
    if not any(given) and not any(int(os.environ.get(name, "1")) > 1 for name in LAUNCHERS):
        return
    try:
        jax.distributed.initialize(coordinator, processes, process, initialization_timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"--coordinator {coordinator}: the processes could not join ({reason})") from error


def is_first() -> bool:
    """Whether this process writes the files of the run; the only process does."""
    return jax.process_index() == 0


def largest(number: int) -> int:
    """The largest of the numbers that the processes have."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def all_do[T](action: Callable[[], T]) -> T:
    """Lets every process act; if one of them fails, all end. The actions may not wait for other processes themselves.

    Raises:
      InputError: naming the process that failed and what it said; in the one that failed, what `action` raised.
    """
    try:
        done = action()
    except Exception as error:
        _failures(error)
        raise
    for number, said in enumerate(_failures(None)):
        if said:
            raise InputError(f"process {number} failed: {said}")
    return done


def first_does[T](action: Callable[[], T]) -> T | None:
    """Lets the first process act, on files; returns what came of it there and None in the others.

    Raises:
      InputError: see `all_do`; also where a file could not be written.
    """
    return all_do(lambda: _on_files(action) if is_first() else None)


def in_first[**P, T](action: Callable[P, T]) -> Callable[P, T | None]:
    """The same function, but that the first process alone acts, see `first_does`."""

    @functools.wraps(action)
    def act(*args: P.args, **kwargs: P.kwargs) -> T | None:
        return first_does(lambda: action(*args, **kwargs))

    return act


def from_first[**P, T](action: Callable[P, T]) -> Callable[P, T]:
    """The same function, but that the first process alone acts, and all get what it returns there, see `of_first`."""

    @functools.wraps(action)
    def act(*args: P.args, **kwargs: P.kwargs) -> T:
        return of_first(first_does(lambda: action(*args, **kwargs)))

    return act


def of_first(value: Any) -> Any:
    """What the first process has, in all processes.

    Args:
      value: anything that `files.to_json` takes; other processes than the first may give what they like.

    Returns:
      `value` itself where there is one process; else, in all alike, what JSON makes of it.
    """
    if jax.process_count() == 1:
        return value
    own = to_json(value).encode() if is_first() else b""
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(own))))
    sent = np.zeros(-(-length // BLOCK) * BLOCK, np.uint8)
    sent[: len(own)] = np.frombuffer(own, np.uint8)
    return from_json(bytes(multihost_utils.broadcast_one_to_all(sent)[:length]).decode())


def array_of_first(array: np.ndarray) -> np.ndarray:
    """The first process's array, bit for bit, in all processes; the others give one of its shape and dtype."""
    if jax.process_count() == 1:
        return array
    sent = np.ascontiguousarray(array).reshape(-1).view(np.uint8)  # sums of floats would lose the sign of zeros
    return np.asarray(multihost_utils.broadcast_one_to_all(sent)).view(array.dtype).reshape(array.shape)


def _failures(error: Exception | None) -> list[str]:
    """What each process says that failed in it, "" for nothing; all must ask together."""
    if jax.process_count() == 1:
        return []
    said = b"" if error is None else (str(error).strip() or type(error).__name__).encode()[:LONGEST]
    told = multihost_utils.process_allgather(np.frombuffer(said.ljust(LONGEST, b"\0"), np.uint8))
    return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in np.asarray(told)]


def _on_files[T](action: Callable[[], T]) -> T:
    try:
        return action()
    except OSError as error:
        raise InputError(
            f"cannot write ({error}); make room or mend the rights, then the same command goes on"
        ) from error

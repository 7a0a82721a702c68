"""Runs of several processes: how they find each other, agree, and leave the files to the first of them."""

import os
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from zsl_jax.errors import InputError

# Numbers of processes that launchers set; JAX finds the rest of what they say itself.
LAUNCHERS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
TIMEOUT = 300  # seconds to wait for the other processes


def join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    """Joins the other processes of a run, if there are any; to be called before JAX is used.

    Args:
      coordinator: host:port of the first process; None: as SLURM or Open MPI say, if they started several.
      processes: how many there are.
      process: which one this is, from 0.

    Raises:
      InputError: the three contradict each other, or the other processes did not come.
    """
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


def first_does(action: Callable[[], object]) -> None:
    """Lets the first process act; if that is refused, every process ends.

    Raises:
      InputError: what `action` raised in the first process.
    """
    refusal = None
    try:
        if is_first():
            action()
    except InputError as error:
        refusal = error
    if largest(int(refusal is not None)):
        raise refusal or InputError("the first process could not go on; see what it says")

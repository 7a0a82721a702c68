"""How a run is asked to stop: by a signal or by a time limit, at the end of its chunk, saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from zsl_jax.training import processes

TIME_IS_UP = signal.SIGALRM  # what a time limit looks like to a run


class Interrupted(Exception):
    """A signal asked the run to stop; its state has been saved. `signum` is the signal."""

    def __init__(self, signum: int, where: str):
        super().__init__(f"stopped by {signal.Signals(signum).name} {where}; the same command goes on from there")
        self.signum = signum


class StopRequest:
    """Set by SIGINT or SIGTERM; a second signal of the kind acts as usual."""

    signum: int | None = None

    def heard(self) -> int:
        """The signal that a process of the run got, 0 if none did; all processes must ask together."""
        return processes.largest(self.signum or 0)


@contextmanager
def time_limit(stop: StopRequest, seconds: float) -> Iterator[None]:
    """Asks to stop after some seconds (0: never), as a signal would."""

    def ask() -> None:
        stop.signum = stop.signum or TIME_IS_UP  # a signal that came before is what is heard

    timer = threading.Timer(seconds, ask)
    if seconds:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def watch_signals() -> Iterator[StopRequest]:
    """Turns SIGINT and SIGTERM into a request to save and stop, inside the block."""
    request = StopRequest()
    previous = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}

    def note(signum: int, _frame: object) -> None:
        request.signum = signum
        signal.signal(signum, previous[signal.Signals(signum)])

    for signum in previous:
        signal.signal(signum, note)
    try:
        yield request
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)

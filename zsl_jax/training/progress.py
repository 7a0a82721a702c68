"""Progress where no terminal shows bars: lines, now and then."""

import sys
import time
from typing import ClassVar, Self

SECONDS = 30.0  # between lines


class Lines:
    """Counts as a bar does; of all that is under way at once, such as the runs of a sweep, one line in `SECONDS`."""

    under_way: ClassVar[list["Lines"]] = []
    said_at: ClassVar[float] = 0.0

    def __init__(self, total: int, description: str, unit: str):
        self.total, self.description, self.unit = total, description, unit
        self.n = self.initial = 0

    def update(self, n: int = 1) -> None:
        """Moves on, and says where all is if that has not been said for long."""
        self.n += n
        if time.monotonic() - Lines.said_at >= SECONDS:
            Lines.said_at = time.monotonic()
            print(", ".join(dict.fromkeys(map(str, Lines.under_way))), file=sys.stderr, flush=True)

    def __str__(self) -> str:
        return f"{self.description}: {self.n} of {self.total} {self.unit}"

    def __enter__(self) -> Self:
        if not Lines.under_way:
            Lines.said_at = time.monotonic()
        Lines.under_way.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        Lines.under_way.remove(self)

"""One kind of table, shown as text in columns or as Markdown."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """Cells, and the block that they belong to: in text, rows of another block are set apart."""

    cells: Sequence[str]
    block: str = ""


class Table(NamedTuple):
    """Titles of columns and rows as wide; the first `left` columns hold words, all others numbers."""

    head: Sequence[str]
    rows: Sequence[Row]
    left: int = 1

    def text(self) -> str:
        """Aligned columns: words left, numbers right. Blocks, if there are any, stand below a rule and empty lines."""
        head, *lines = self._aligned()
        if not any(row.block for row in self.rows):
            return "\n".join([head, *lines])
        blocks = itertools.groupby(zip(self.rows, lines, strict=True), key=lambda pair: pair[0].block)
        parts = ["\n".join(line for _, line in pairs) for _, pairs in blocks]
        rule = "-" * max(map(len, (head, *lines)))
        return f"{head}\n{rule}\n" + "\n\n".join(parts)

    def markdown(self) -> str:
        """A table with vertical bars."""
        lines = [self.head, ["---"] * len(self.head), *(row.cells for row in self.rows)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def _aligned(self) -> Iterator[str]:
        lines = [self.head, *(row.cells for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for cells in lines:
            words = map(str.ljust, cells[: self.left], widths)
            numbers = map(str.rjust, cells[self.left :], widths[self.left :])
            yield "  ".join([*words, *numbers]).rstrip()

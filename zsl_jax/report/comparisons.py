"""Pictures of many runs: scores against a swept field, and methods side by side.

Means of fewer than three seeds stand alone, since an interval of two is as wide as the picture; no interval leaves
0 to 100 %.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from zsl_jax.report.drawing import COLOURS, line_styles, picture, shown

FEWEST_SEEDS = 3  # of an interval
LEAST_SPAN = 5.0  # of an axis, in percent: smaller differences are not to look large
NOTE = f"means over seeds, which are the faint dots; bars: 95 % intervals, from {FEWEST_SEEDS} seeds on"
LETTERS_OF_TICKS = 24  # that stand beside each other below an axis
FAINT: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 4, "alpha": 0.35}


class Mean(NamedTuple):
    """A mean over seeds, half its 95 % interval (NaN: none) and the seeds' values, in percent."""

    mean: float
    half: float
    values: Sequence[float]

    def reach(self) -> tuple[float, float]:
        """How far a bar goes below and above the mean; NaN: there is none."""
        if len(self.values) < FEWEST_SEEDS:
            return math.nan, math.nan
        return min(self.half, self.mean), min(self.half, 100 - self.mean)


def swept(panels: Mapping[str, Mapping[str, Mapping[Any, Mean]]], field: str, title: str, path: Path) -> None:
    """Draws scores against a swept field, with 95 % intervals.

    Args:
      panels: by score, by line (name), by value of the field.
      field: name of the field; values that are no numbers, or that span decades, are spaced evenly.
      title: what the scores are.
      path: PNG to write.
    """
    values = list(dict.fromkeys(value for lines in panels.values() for line in lines.values() for value in line))
    places, ticks = {value: place for place, value in enumerate(values)}, [shown(str(value)) for value in values]
    turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if sum(map(len, ticks)) > LETTERS_OF_TICKS else {}
    most = max(map(len, panels.values()))
    size = 4.2 * len(panels), 3.8 + 0.1 * most + bool(turned)
    with picture(path, size, f"{title}\n{NOTE}") as figure:
        for number, (score, lines) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, len(panels), number)
            for row, ((name, line), style) in enumerate(zip(lines.items(), line_styles(len(lines)), strict=True)):
                at = [places[value] + _beside(row, len(lines), 0.3) for value in line]
                look = style | {"marker": "o", "markersize": 4, "capsize": 3}
                axes.errorbar(at, [one.mean for one in line.values()], _reaches(line.values()), label=name, **look)
                axes.plot(*_dots(at, line.values()), color=style["color"], **FAINT)
            axes.set_xticks(range(len(values)), ticks, **turned)
            axes.set(title=score, xlabel=field, ylabel=f"{score} (%)", xlim=(-0.4, len(values) - 0.6))
            axes.set_ylim(_limits(*axes.get_ylim()))
        if most > 1:
            handles, labels = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=2)


def leaderboard(panels: Mapping[str, Mapping[str, Mapping[int, Mean]]], title: str, path: Path) -> None:
    """Draws the scores of methods, best first, one panel for each score, with 95 % intervals.

    Args:
      panels: by score, by method, by percentage of the training rows.
      title: what the scores were made on.
      path: PNG to write.
    """
    shares = sorted({share for lines in panels.values() for line in lines.values() for share in line}, reverse=True)
    most = max(len(lines) for lines in panels.values())
    size = 4.2 * len(panels), 1.7 + (0.18 + 0.07 * len(shares)) * most
    with picture(path, size, f"Methods on {title}, protocol validated\n{NOTE}") as figure:
        for number, (score, lines) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, len(panels), number)
            _ranks(axes, lines, shares)
            axes.set(title=score, xlabel=f"{score} (%)")
        if len(shares) > 1:
            handles, labels = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=len(shares))


def _reaches(means: Iterable[Mean]) -> np.ndarray:
    """How far bars go below and above their means [2, n]."""
    return np.array([one.reach() for one in means]).T


def _dots(places: Sequence[float], means: Iterable[Mean]) -> tuple[list[float], list[float]]:
    """A place and a value for each seed."""
    pairs = [(place, value) for place, mean in zip(places, means, strict=True) for value in mean.values]
    return [place for place, _ in pairs], [value for _, value in pairs]


def _beside(number: int, count: int, width: float) -> float:
    """How far the mark `number` of `count` marks of one place stands to its right, all within `width`."""
    return width * ((number + 0.5) / count - 0.5)


def _limits(low: float, high: float) -> tuple[float, float]:
    """Limits of an axis of percentages, wide enough."""
    more = max(0.0, LEAST_SPAN - (high - low)) / 2
    return max(low - more, -1), min(high + more, 101)


def _ranks(axes: Axes, lines: Mapping[str, Mapping[int, Mean]], shares: Sequence[int]) -> None:
    """A row for each method, in the order of its score at the first share that it has."""
    names = sorted(lines, key=lambda name: next(lines[name][share].mean for share in shares if share in lines[name]))
    for number, share in enumerate(shares):
        rows = [row for row, name in enumerate(names) if share in lines[name]]
        means = [lines[names[row]][share] for row in rows]
        shifted = [row - _beside(number, len(shares), 0.6) for row in rows]
        axes.plot(*_dots(shifted, means)[::-1], color=COLOURS[number % len(COLOURS)], **FAINT)
        style = {"fmt": "o", "markersize": 4, "capsize": 2, "color": COLOURS[number % len(COLOURS)]}
        axes.errorbar(
            [one.mean for one in means], shifted, xerr=_reaches(means), label=f"{share} % of the rows", **style
        )
    axes.set_yticks(range(len(names)), [shown(name) for name in names], fontsize=7)
    axes.set_ylim(-0.7, len(names) - 0.3)

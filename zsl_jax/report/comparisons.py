"""Pictures of many runs: scores against a swept field, and methods side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from zsl_jax.report.drawing import COLOURS, line_styles, picture, shown


def swept(
    panels: Mapping[str, Mapping[str, Mapping[Any, tuple[float, float]]]], field: str, protocol: str, path: Path
) -> None:
    """Draws scores against a swept field, with 95 % intervals.

    Args:
      panels: by score, by line (name), by value of the field: mean and half the interval (NaN: none), in percent.
      field: name of the field; values that are no numbers, or that span decades, are spaced evenly.
      protocol: what the scores are, for the title.
      path: PNG to write.
    """
    values = list(dict.fromkeys(value for lines in panels.values() for line in lines.values() for value in line))
    places = {value: place for place, value in enumerate(values)}
    with picture(path, (4.2 * len(panels), 3.6)) as figure:
        for number, (score, lines) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, len(panels), number)
            for (name, line), style in zip(lines.items(), line_styles(len(lines)), strict=True):
                means, halves = zip(*line.values(), strict=True)
                at = [places[value] for value in line]
                axes.errorbar(
                    at, means, np.nan_to_num(halves), label=name, marker="o", markersize=4, capsize=3, **style
                )
            axes.set_xticks(range(len(values)), [shown(str(value)) for value in values])
            axes.set(title=f"{score}, {protocol}", xlabel=field, ylabel=f"{score} (%)", xlim=(-0.4, len(values) - 0.6))
        if any(len(lines) > 1 for lines in panels.values()):
            handles, labels = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=2)


def leaderboard(panels: Mapping[str, Mapping[str, Mapping[int, tuple[float, float]]]], title: str, path: Path) -> None:
    """Draws the scores of methods, best first, one panel for each score, with 95 % intervals.

    Args:
      panels: by score, by method, by percentage of the training rows: mean and half the interval (NaN: none), percent.
      title: what the scores were made on.
      path: PNG to write.
    """
    shares = sorted({share for lines in panels.values() for line in lines.values() for share in line}, reverse=True)
    most = max(len(lines) for lines in panels.values())
    with picture(path, (4.2 * len(panels), 1.2 + (0.18 + 0.07 * len(shares)) * most)) as figure:
        for number, (score, lines) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, len(panels), number)
            _ranks(axes, lines, shares)
            axes.set(title=f"{score}, {title}, validated", xlabel=f"{score} (%)")
        if len(shares) > 1:
            handles, labels = figure.axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=len(shares))


def _ranks(axes: Axes, lines: Mapping[str, Mapping[int, tuple[float, float]]], shares: Sequence[int]) -> None:
    """A row for each method, in the order of its score at the first share that it has."""
    names = sorted(lines, key=lambda name: next(lines[name][share][0] for share in shares if share in lines[name]))
    for number, share in enumerate(shares):
        rows = [row for row, name in enumerate(names) if share in lines[name]]
        means, halves = zip(*(lines[names[row]][share] for row in rows), strict=True)
        shifted = [row - 0.6 * (number / len(shares) - 0.5 + 0.5 / len(shares)) for row in rows]
        style = {"fmt": "o", "markersize": 4, "capsize": 2, "color": COLOURS[number % len(COLOURS)]}
        axes.errorbar(means, shifted, xerr=np.nan_to_num(halves), label=f"{share} % of the rows", **style)
    axes.set_yticks(range(len(names)), [shown(name) for name in names], fontsize=7)
    axes.set_ylim(-0.7, len(names) - 0.3)

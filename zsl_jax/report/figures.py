"""The pictures of a run: each function takes plain arrays, and writes one PNG and the same as PDF.

Of each, `title` is the run's part of the title: what was trained on what; `drawing.picture` says what files are made.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from zsl_jax.evaluation.metrics import area
from zsl_jax.report import metric_names
from zsl_jax.report.drawing import COLOURS, DASHES, LINE_COLOURS, line_styles, picture, shown

_SMOOTHED_FROM = 200  # points of a curve from which on a running mean is drawn over it
_NUMBERED_UP_TO = 16  # classes up to which a confusion matrix shows its numbers
_MOST_TICKS = 6  # of a symmetric logarithmic axis, beside 0
POINTS_PER_INCH = 72
HELD_OUT_STYLE = {"color": LINE_COLOURS[1], "linestyle": DASHES[1]}
TRACED = ("T1", "H", "AUSUC")
MARKERS = "os^v<>DPX"
KINDS: dict[str, dict[str, Any]] = {  # of points: how they look
    "real": {"s": 14, "alpha": 0.5, "linewidths": 0},
    "synthetic": {"s": 16, "alpha": 0.8, "linewidths": 0.9, "marker": "x"},
}
Groups = Sequence[tuple[np.ndarray, np.ndarray]]  # points [n, 2] and their classes [n]: real, then synthetic


class ClassScores(NamedTuple):
    """Accuracies of classes in percent by name (NaN: no test rows), and their colour."""

    names: Sequence[str]
    values: Sequence[float]
    colour: str


def loss_curves(records: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Draws what a stage logged against its step, in panels of kindred names.

    Args:
      records: lines of metrics.jsonl of one stage: "step" and numbers by name; names may come and go.
      title: of the run.
      path: PNG to write.
    """
    names = sorted({name for record in records for name in record} - {"stage", "step"})
    panels = metric_names.grouped([name for name in names if _is_worth_drawing(records, name)])
    columns = 2 if len(panels) == 4 else min(3, max(1, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    with picture(path, (4.4 * columns, 3.4 * rows), f"Training\n{title}", formulas=True) as figure:
        for number, (heading, names) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(rows, columns, number)
            for name, style in _loss_styles(names).items():
                _curve(axes, *_series(records, name), metric_names.words(name), style)
            axes.set(title=heading, xlabel="iteration")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            _scale_if_wide(axes)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=min(2, len(names)))


def tsne(
    real: np.ndarray,
    real_labels: np.ndarray,
    synthetic: np.ndarray,
    synthetic_labels: np.ndarray,
    class_names: Sequence[str],
    title: str,
    path: Path,
    max_points: int = 1200,
    max_classes: int = 20,
) -> None:
    """Draws real and synthetic features of the same classes in the plane, by t-SNE of both together.

    Up to ten classes have a colour each. Of more, colours tell real from synthetic rows alone: names stand at the
    centres of the real rows, and a line goes from there to the centre of the synthetic ones.

    Args:
      real: features [n, D], with real_labels [n] int.
      synthetic: features [m, D], with synthetic_labels [m] int.
      class_names: name of each class number.
      title: of the run.
      path: PNG to write.
      max_points: rows to draw, half of them real; taken evenly.
      max_classes: classes to draw; of more, that many are taken evenly, since more can't be told apart.
    """
    present = np.unique(np.concatenate([real_labels, synthetic_labels]))
    classes = present[np.unique(np.linspace(0, len(present) - 1, min(max_classes, len(present))).round().astype(int))]
    real, real_labels = _sampled(real, real_labels, classes, max_points // 2)
    synthetic, synthetic_labels = _sampled(synthetic, synthetic_labels, classes, max_points // 2)
    plane = _embedded(np.concatenate([real, synthetic]))
    groups = (plane[: len(real)], real_labels), (plane[len(real) :], synthetic_labels)
    names = [shown(str(class_names[int(label)])) for label in classes]
    count = f"{len(classes)} of {len(present)} classes"
    with picture(path, (8.5, 7.0), f"Real and synthetic features (t-SNE), {count}\n{title}") as figure:
        axes = figure.add_subplot()
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        draw = _by_colour if len(classes) <= len(COLOURS) else _by_place
        handles = draw(axes, groups, classes, names)
        columns = min(6, len(handles))
        figure.legend(list(handles), list(handles.values()), loc="outside lower center", ncols=columns, markerscale=1.4)


def per_class_accuracy(groups: Mapping[str, ClassScores], title: str, path: Path) -> None:
    """Draws the accuracy of every class as a bar, group after group, each sorted.

    Args:
      groups: classes and accuracies by what they are, in words.
      title: of the run.
      path: PNG to write.
    """
    bars = [bar for group in groups.values() for bar in _sorted_bars(group)]
    columns = max(1, round(math.sqrt(len(bars) / 30)))
    height = math.ceil(len(bars) / columns)
    with picture(
        path, (max(6.0, 3.2 * columns), 1.6 + 0.16 * max(height, 8)), f"Accuracy per class (%)\n{title}"
    ) as figure:
        for number in range(columns):
            axes = figure.add_subplot(1, columns, number + 1)
            _draw_bars(axes, bars[number * height : (number + 1) * height], height)
        handles = [Patch(color=group.colour) for group in groups.values()]
        labels = [f"{name}, mean {_mean(group.values)}" for name, group in groups.items()]
        figure.legend(handles, labels, loc="outside lower center", ncols=2)


def seen_unseen_curve(
    curve: tuple[np.ndarray, np.ndarray], points: Mapping[str, Sequence[tuple[float, float]]], title: str, path: Path
) -> None:
    """Draws S against U as calibrated stacking moves the bias (W.-L. Chao et al., ECCV 2016).

    Args:
      curve: (U, S), arrays in percent.
      points: (U, S) by name, of the method first, then of baselines: without calibration, and calibrated if there is a
        second one.
      title: of the run.
      path: PNG to write.
    """
    with picture(path, (5.8, 5.8), f"Seen against unseen accuracy\n{title}") as figure:
        axes = figure.add_subplot()
        axes.plot(*curve, label=f"all calibrations, area {area(*curve) / 100:.1f} %", color=LINE_COLOURS[0])
        for number, (name, (plain, *calibrated)) in enumerate(points.items()):
            colour = LINE_COLOURS[number % len(LINE_COLOURS)]
            look = {"marker": MARKERS[number % len(MARKERS)], "color": colour, "markersize": 7, "linestyle": ""}
            axes.plot(*plain, markerfacecolor="white", clip_on=False, **look)
            for point in calibrated:
                axes.plot(*point, markeredgecolor="black", clip_on=False, **look)
            axes.plot([], [], label=name, **look)
        axes.set(xlabel="accuracy on unseen classes U (%)", ylabel="accuracy on seen classes S (%)")
        axes.set(xlim=(0, None), ylim=(0, None))
        said = "white: without calibration; filled: calibrated by validation"
        figure.legend(loc="outside lower center", ncols=2, title=said, title_fontsize=8)


def confusion(matrix: np.ndarray, names: Sequence[str], title: str, path: Path) -> None:
    """Draws a confusion matrix as a heat map.

    Args:
      matrix: [k, k]; row i holds the shares (0 to 1) of the rows of class i by the class they were given.
      names: k names.
      title: of the run.
      path: PNG to write.
    """
    count = len(names)
    side = max(4.0, min(16.0, 1.8 + 0.42 * count if count <= _NUMBERED_UP_TO else 3.0 + 0.17 * count))
    font = 9 if count <= _NUMBERED_UP_TO else min(7, 0.75 * POINTS_PER_INCH * side / count)
    turned = 90 if any(len(name) > 2 for name in names) else 0
    with picture(path, (side + 1.0, side), f"Confusion of the unseen classes\n{title}") as figure:
        axes = figure.add_subplot()
        shares = axes.imshow(100.0 * matrix, cmap="Blues", vmin=0.0, vmax=100.0)
        axes.set_xticks(range(count), [shown(name) for name in names], rotation=turned, fontsize=font)
        axes.set_yticks(range(count), [shown(name) for name in names], fontsize=font)
        axes.set(xlabel="predicted", ylabel="true")
        axes.grid(False)
        if count <= _NUMBERED_UP_TO:
            _write_shares(axes, matrix)
        figure.colorbar(shares, ax=axes, label="share of the true class (%)", shrink=0.6, fraction=0.04)


def scores_over_epochs(
    evaluations: Mapping[str, Sequence[Mapping[str, Any]]],
    chosen: Mapping[str, Mapping[str, float]],
    title: str,
    path: Path,
) -> None:
    """Draws T1, H and AUSUC of each space against the epoch, one row of panels a run.

    Args:
      evaluations: by run, that whose scores are reported first: dicts {"epoch": number, "scores": {space: {"T1", "H",
        "AUSUC"}}}.
      chosen: epoch where each protocol found a score in that run, by score, by protocol; marked by lines.
      title: of the run.
      path: PNG to write.
    """
    spaces = list(dict.fromkeys(space for run in evaluations.values() for entry in run for space in entry["scores"]))
    styles = dict(zip(spaces, line_styles(len(spaces)), strict=True))
    rows = max(1, len(evaluations))
    with picture(path, (11.0, 2.9 * rows + 0.6), f"Scores over epochs\n{title}") as figure:
        panels = figure.subplots(rows, len(TRACED), squeeze=False)
        for row, (run, entries) in zip(panels, evaluations.items(), strict=True):
            for axes, score in zip(row, TRACED, strict=True):
                _score_panel(axes, entries, score, styles)
                axes.set(
                    title=f"{score}, {run.replace('_', ' ')} task",
                    xlabel="epoch, from 0",
                    ylabel=f"{score} (%)",
                    ylim=(0, None),
                )
        for axes, score in zip(panels[0], TRACED, strict=True):
            _mark(axes, chosen.get(score, {}))
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", title="space")


def _loss_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A style for each metric of a panel; what is of rows held out comes last and looks the same in all panels."""
    held_out = [name for name in names if name.startswith(metric_names.HELD_OUT)]
    others = [name for name in names if name not in held_out]
    return dict(zip(others, line_styles(len(others)), strict=True)) | dict.fromkeys(held_out, HELD_OUT_STYLE)


def _is_worth_drawing(records: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Says whether a metric belongs to the losses and is other than a rate that never changes."""
    if re.search(metric_names.OMITTED, name):
        return False
    return not name.startswith("rate/") or len(set(_series(records, name)[1])) > 1


def _series(records: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps and values of one metric."""
    pairs = [(record["step"], float(record[name])) for record in records if name in record]
    steps, values = zip(*pairs, strict=True)
    return np.array(steps), np.array(values)


def _curve(axes: Axes, steps: np.ndarray, values: np.ndarray, label: str, style: dict[str, Any]) -> None:
    """Draws one curve; of a long one the running mean, over the faint curve itself."""
    if len(steps) < _SMOOTHED_FROM:
        axes.plot(steps, values, label=label, marker="o" if len(steps) == 1 else None, **style)
        return
    window = np.ones(len(steps) // 50)
    mean = np.convolve(values, window)[: len(steps)] / np.convolve(np.ones(len(steps)), window)[: len(steps)]
    axes.plot(steps, values, color=style["color"], alpha=0.2, linewidth=0.7)
    axes.plot(steps, mean, label=label, **style)


def _scale_if_wide(axes: Axes) -> None:
    """Switches to a logarithmic axis where curves span decades: a symmetric one where they have both signs."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.get_lines()])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0:
        if values.max() > 100 * values.min():
            axes.set_yscale("log")
    elif values.size and np.abs(values).max() > 20 * np.median(np.abs(values)) > 0:
        _scale_on_both_sides(axes, values)


def _scale_on_both_sides(axes: Axes, values: np.ndarray) -> None:
    """A symmetric logarithmic axis with ticks at 0 and at powers of ten so far apart that they do not collide."""
    first = math.floor(math.log10(np.median(np.abs(values))))  # up to this power of ten the axis is linear
    sides = [math.floor(math.log10(side)) if side > 0 else first - 1 for side in (-values.min(), values.max())]
    step = max(1, math.ceil((sum(sides) - 2 * (first - 1)) / _MOST_TICKS))
    below, above = (10.0 ** np.arange(first - 1 + step, last + 1, step) for last in sides)
    axes.set_yscale("symlog", linthresh=10.0**first)
    axes.set_yticks([*-below[::-1], 0, *above])
    axes.set_yticks([], minor=True)


def _sampled(rows: np.ndarray, labels: np.ndarray, classes: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns at most `most` finite rows of `classes`, spread evenly over the classes."""
    usable = np.flatnonzero(np.isin(labels, classes) & np.isfinite(rows).all(axis=1))
    usable = usable[np.argsort(labels[usable], kind="stable")]
    chosen = usable[np.linspace(0, len(usable) - 1, min(most, len(usable))).astype(int)]
    return rows[chosen].astype(np.float64), labels[chosen]


def _embedded(rows: np.ndarray) -> np.ndarray:
    """Returns rows [n, D] in the plane [n, 2]: PCA to at most 50 dimensions, then t-SNE with a fixed seed."""
    count, width = rows.shape
    if count < 4:
        return np.zeros((count, 2))
    reduced = PCA(min(50, count, width), random_state=0).fit_transform(rows)
    perplexity = min(30.0, (count - 1) / 3)
    start = "pca" if reduced.shape[1] >= 2 else "random"
    # One thread: on busy cores OpenMP's threads wait for each other, and two take three times as long as one.
    with threadpool_limits(1):
        return TSNE(2, perplexity=perplexity, init=start, max_iter=500, random_state=0).fit_transform(reduced)


def _by_colour(axes: Axes, groups: Groups, classes: np.ndarray, names: Sequence[str]) -> dict[Any, str]:
    """Draws points in the colours of their classes; returns what the legend shows, with its texts.

    The texts are apart, since of a label that begins with "_" matplotlib would show none.
    """
    handles: dict[Any, str] = {}
    for label, name, colour in zip(classes, names, COLOURS, strict=False):
        _scatter(axes, [points[labels == label] for points, labels in groups], [colour, colour])
        handles[axes.scatter([], [], s=26, color=colour, marker="s")] = name
    return handles | _kinds(axes, ["#555555", "#555555"])


def _by_place(axes: Axes, groups: Groups, classes: np.ndarray, names: Sequence[str]) -> dict[Any, str]:
    """Draws points in two colours, with the names of the classes at their places; returns what the legend shows."""
    colours, line = LINE_COLOURS[:2], {"color": "#555555", "linewidth": 0.6, "alpha": 0.6}
    _scatter(axes, [points for points, _ in groups], colours)
    look = {"fontsize": 7, "ha": "center", "va": "bottom", "textcoords": "offset points", "xytext": (0, 4)}
    edge, texts = [withStroke(linewidth=2.5, foreground="white")], []
    for label, name in zip(classes, names, strict=True):
        centres = [np.median(points[labels == label], axis=0) for points, labels in groups if (labels == label).any()]
        axes.plot(*zip(*centres, strict=True), **line)
        texts.append(axes.annotate(name, tuple(centres[0]), path_effects=edge, **look))
    _move_apart(axes, texts)
    return _kinds(axes, colours) | {axes.plot([], [], **line)[0]: "from real to synthetic rows of a class"}


def _move_apart(axes: Axes, texts: Sequence[Annotation]) -> None:
    """Moves texts down, the highest first, until none covers another."""
    figure, placed = axes.get_figure(root=True), []
    assert figure is not None
    figure.draw_without_rendering()
    for text in sorted(texts, key=lambda one: -one.xy[1]):
        box, moved = text.get_window_extent(), 0
        while any(box.overlaps(other) for other in placed):
            box, moved = box.translated(0, -1), moved + 1
        text.set_position((0, text.xyann[1] - moved * POINTS_PER_INCH / figure.dpi))
        placed.append(box)


def _scatter(axes: Axes, groups: Sequence[np.ndarray], colours: Sequence[str]) -> None:
    """Draws real points [n, 2] as dots and synthetic ones as crosses."""
    for points, colour, look in zip(groups, colours, KINDS.values(), strict=True):
        axes.scatter(points[:, 0], points[:, 1], color=colour, **look)


def _kinds(axes: Axes, colours: Sequence[str]) -> dict[Any, str]:
    """What a legend shows of real and of synthetic points."""
    looks = zip(KINDS, colours, (dict(look, s=26) for look in KINDS.values()), strict=True)
    return {axes.scatter([], [], color=colour, **look): kind for kind, colour, look in looks}


def _sorted_bars(group: ClassScores) -> list[tuple[str, float, str]]:
    """Returns (name, value, colour), highest first, classes without rows last."""
    bars = [(name, float(value), group.colour) for name, value in zip(group.names, group.values, strict=True)]
    return sorted(bars, key=lambda bar: (math.isnan(bar[1]), -bar[1]))


def _draw_bars(axes: Axes, bars: Sequence[tuple[str, float, str]], height: int) -> None:
    names = [shown(name) + (" (no rows)" if math.isnan(value) else "") for name, value, _ in bars]
    axes.barh(range(len(bars)), [np.nan_to_num(value) for _, value, _ in bars], color=[bar[2] for bar in bars])
    axes.set_yticks(range(len(bars)), names, fontsize=7)
    axes.set(xlim=(0, 100), ylim=(height - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")


def _mean(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{np.mean(known):.1f}" if known else "unknown"


def _write_shares(axes: Axes, matrix: np.ndarray) -> None:
    for (row, column), share in np.ndenumerate(matrix):
        if share >= 0.005:
            colour = "white" if share > 0.55 else "black"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour)


def _score_panel(axes: Axes, entries: Sequence[Mapping[str, Any]], score: str, styles: Mapping[str, Any]) -> None:
    for space, style in styles.items():
        pairs = [(entry["epoch"], entry["scores"][space][score]) for entry in entries if space in entry["scores"]]
        epochs, values = np.array(pairs, float).reshape(-1, 2).T
        axes.plot(epochs, values, label=space, marker="o", markersize=3, clip_on=False, **style)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _mark(axes: Axes, chosen: Mapping[str, float]) -> None:
    """Marks the epochs where protocols found a score, those of one epoch by one line."""
    for epoch in sorted(set(chosen.values())):
        text = ", ".join(protocol for protocol, its in chosen.items() if its == epoch)
        axes.axvline(epoch, color="#555555", linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
        side = (
            {"xytext": (3, 0), "ha": "left"} if epoch < np.mean(axes.get_xlim()) else {"xytext": (-3, 0), "ha": "right"}
        )
        place = side | {"textcoords": "offset points", "rotation": 90, "va": "bottom"}
        axes.annotate(text, (epoch, 0.02), xycoords=("data", "axes fraction"), fontsize=7, **place)

"""The pictures of a run: each function takes plain arrays and writes one PNG, see `drawing.picture`."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from zsl_jax.report.drawing import COLOURS, SEEN, UNSEEN, line_style, line_styles, picture, shown

# Panels of the loss curves: title and a pattern for the names that belong there; the first match counts.
_PANELS = (
    ("Losses", r"(^|[/_])loss$|^loss/generator"),
    ("Accuracy (%)", r"accuracy$"),
    ("Critics (Wasserstein)", r"^(?!.*(grad|penalt|gp_|_gp|recon|bce|mutual)).*(wasserstein|critic|adv|real|fake)"),
    ("Gradient penalties", r"penalt|(^|[/_])gp(_|$)"),
    ("Penalty weight", r"lambda"),
    ("Reconstruction", r"^(?!.*grad).*(recon|bce|kl|vae|decoder|v2s|semantic|mse)"),
    ("Mutual learning", r"mutual|dist"),
    ("Gradient norms", r"grad"),
    ("Rates", r"rate|(^|[/_])lr(_|$)"),
)
# Not drawn with the losses: scores have a figure of their own, speed is not a loss.
_OMITTED = r"^evaluation/(.*/)?(T1|U|S|H|AUSUC|score)$|^iterations_per_second$"
_SMOOTHED_FROM = 200  # points of a curve from which on a running mean is drawn over it
_NUMBERED_UP_TO = 16  # classes up to which a confusion matrix shows its numbers


def loss_curves(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws what a stage logged against its step, in panels of kindred names.

    Args:
      records: lines of metrics.jsonl of one stage: "step" and numbers by name; names may come and go.
      path: PNG to write.
    """
    names = sorted({name for record in records for name in record} - {"stage", "step"})
    panels = _grouped([name for name in names if _is_worth_drawing(records, name)])
    columns = min(3, max(1, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    with picture(path, (4.4 * columns, 3.4 * rows), formulas=True) as figure:
        for number, (title, names) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(rows, columns, number)
            for name, style in zip(names, line_styles(len(names)), strict=True):
                _curve(axes, *_series(records, name), name, style)
            axes.set(title=title, xlabel="iteration")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            _scale_if_wide(axes)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=min(2, len(names)))


def tsne(
    real: np.ndarray,
    real_labels: np.ndarray,
    synthetic: np.ndarray,
    synthetic_labels: np.ndarray,
    class_names: Sequence[str],
    path: Path,
    max_points: int = 1200,
    max_classes: int = 20,
) -> None:
    """Draws real and synthetic features of the same classes in the plane, by t-SNE of both together.

    Args:
      real: features [n, D], with real_labels [n] int.
      synthetic: features [m, D], with synthetic_labels [m] int.
      class_names: name of each class number.
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
    with picture(path, (8.5, 7.0)) as figure:
        axes = figure.add_subplot()
        handles: dict[Any, str] = {}  # with their texts: of a label that begins with "_" matplotlib would show none
        for number, label in enumerate(classes):
            colour = _colour(number, len(classes))
            _scatter_class(axes, groups, label, colour)
            handles[axes.scatter([], [], s=26, color=colour, marker="s")] = shown(str(class_names[int(label)]))
        handles[axes.scatter([], [], s=26, color="#555555", alpha=0.6)] = "real"
        handles[axes.scatter([], [], s=26, color="#555555", marker="x")] = "synthetic"
        count = f"{len(classes)} classes" + (f" of {len(present)}" if len(present) > len(classes) else "")
        axes.set(title=f"Real and synthetic features (t-SNE), {count}", xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        figure.legend(list(handles), list(handles.values()), loc="outside right upper", markerscale=1.4)


def per_class_accuracy(
    seen_names: Sequence[str],
    seen_values: Sequence[float],
    unseen_names: Sequence[str],
    unseen_values: Sequence[float],
    path: Path,
) -> None:
    """Draws the accuracy of every class as a bar: unseen classes first, then seen ones, each sorted.

    Values are in percent; NaN stands for a class without test rows.
    """
    bars = [*_sorted_bars(unseen_names, unseen_values, UNSEEN), *_sorted_bars(seen_names, seen_values, SEEN)]
    columns = max(1, round(math.sqrt(len(bars) / 30)))
    height = math.ceil(len(bars) / columns)
    with picture(path, (max(6.0, 3.2 * columns), 1.3 + 0.16 * max(height, 8))) as figure:
        for number in range(columns):
            axes = figure.add_subplot(1, columns, number + 1)
            _draw_bars(axes, bars[number * height : (number + 1) * height], height)
        handles = [Patch(color=UNSEEN), Patch(color=SEEN)]
        labels = [f"unseen, mean {_mean(unseen_values)}", f"seen, mean {_mean(seen_values)}"]
        figure.legend(handles, labels, loc="outside upper center", ncols=2, title="Accuracy per class (%)")


def seen_unseen_curve(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    areas: Mapping[str, float],
    points: Mapping[str, tuple[float, float]],
    path: Path,
) -> None:
    """Draws S against U as calibrated stacking moves the bias (W.-L. Chao et al., ECCV 2016), one curve a label.

    Args:
      curves: (U, S) arrays in percent by label.
      areas: AUSUC in percent by label.
      points: (U, S) without calibration, by label; labels may be missing.
      path: PNG to write.
    """
    with picture(path, (5.8, 5.2)) as figure:
        axes = figure.add_subplot()
        styles = _space_styles(list(curves))
        for label, (unseen, seen) in curves.items():
            style = styles[label]
            text = f"{label}: area {areas[label]:.1f} %" if label in areas else label
            axes.plot(unseen, seen, label=text, **style)
            if label in points:
                look = {"color": style["color"], "markeredgecolor": "black", "markersize": 6, "clip_on": False}
                axes.plot(points[label][0], points[label][1], "o", **look)
        if points:
            axes.plot([], [], "o", color="white", markeredgecolor="black", label="without calibration")
        axes.set(xlabel="accuracy on unseen classes U (%)", ylabel="accuracy on seen classes S (%)")
        axes.set(title="Seen against unseen accuracy", xlim=(0, None), ylim=(0, None))
        figure.legend(loc="outside lower center", ncols=2)


def confusion(matrix: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Draws a confusion matrix as a heat map.

    Args:
      matrix: [k, k]; row i holds the shares (0 to 1) of the rows of class i by the class they were given.
      names: k names.
      path: PNG to write.
    """
    count = len(names)
    side = max(4.0, min(16.0, 1.8 + 0.42 * count if count <= _NUMBERED_UP_TO else 3.0 + 0.17 * count))
    font = 9 if count <= _NUMBERED_UP_TO else 7
    turned = 90 if any(len(name) > 2 for name in names) else 0
    with picture(path, (side + 1.0, side)) as figure:
        axes = figure.add_subplot()
        shares = axes.imshow(100.0 * matrix, cmap="Blues", vmin=0.0, vmax=100.0)
        axes.set_xticks(range(count), [shown(name) for name in names], rotation=turned, fontsize=font)
        axes.set_yticks(range(count), [shown(name) for name in names], fontsize=font)
        axes.set(title="Confusion of the unseen classes", xlabel="predicted", ylabel="true")
        axes.grid(False)
        if count <= _NUMBERED_UP_TO:
            _write_shares(axes, matrix)
        figure.colorbar(shares, ax=axes, label="share of the true class (%)", shrink=0.6, fraction=0.04)


def scores_over_epochs(
    evaluations: Mapping[str, Sequence[Mapping[str, Any]]], path: Path, chosen: Mapping[str, float] | None = None
) -> None:
    """Draws T1 and H of each space against the epoch, one row of panels a run.

    Args:
      evaluations: by run ("test", "validation"): dicts {"epoch": number, "scores": {space: {"T1", "H", ...}}}.
      path: PNG to write.
      chosen: epoch that each protocol chose, by protocol; marked by a line.
    """
    spaces = dict.fromkeys(space for run in evaluations.values() for entry in run for space in entry["scores"])
    styles = _space_styles(list(spaces))
    with picture(path, (9.5, 3.1 * max(1, len(evaluations)) + 0.4)) as figure:
        panels = figure.subplots(max(1, len(evaluations)), 2, squeeze=False)
        for row, (run, entries) in zip(panels, evaluations.items(), strict=True):
            for axes, score in zip(row, ("T1", "H"), strict=True):
                _score_panel(axes, entries, score, styles)
                _mark(axes, chosen or {})
                axes.set(title=f"{score}, {run} run", xlabel="epoch", ylabel=f"{score} (%)", ylim=(0, None))
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", title="space")


def _grouped(names: Sequence[str]) -> dict[str, list[str]]:
    """Sorts names of metrics into panels, in the order of `_PANELS` with what fits nowhere last."""
    titles = [title for title, _ in _PANELS] + ["Other"]
    groups = {title: [name for name in names if _panel(name) == title] for title in titles}
    return {title: members for title, members in groups.items() if members}


def _is_worth_drawing(records: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Says whether a metric belongs to the losses and is other than a rate that never changes."""
    if re.search(_OMITTED, name):
        return False
    return _panel(name) != "Rates" or len(set(_series(records, name)[1])) > 1


def _panel(name: str) -> str:
    return next((title for title, pattern in _PANELS if re.search(pattern, name)), "Other")


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
        axes.set_yscale("symlog", linthresh=float(np.median(np.abs(values))))


def _space_styles(spaces: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns a style a space: a colour for its first word and other dashes for each kind of it ("V", "V (...)")."""
    words = [re.split(r"[^A-Za-z0-9]", space)[0] for space in spaces]
    colours = {word: number for number, word in enumerate(dict.fromkeys(words))}
    kinds = [words[:number].count(word) for number, word in enumerate(words)]
    return {space: line_style(colours[word], kind) for space, word, kind in zip(spaces, words, kinds, strict=True)}


def _colour(number: int, count: int) -> Any:
    return COLOURS[number] if count <= len(COLOURS) else mpl.colormaps["turbo"]((number + 0.5) / count)


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


def _scatter_class(axes: Axes, groups: Sequence[Any], label: int, colour: Any) -> None:
    """Draws the real (dots) and synthetic (crosses) points of one class."""
    (real, real_labels), (synthetic, synthetic_labels) = groups
    mine, made = real[real_labels == label], synthetic[synthetic_labels == label]
    axes.scatter(mine[:, 0], mine[:, 1], s=14, color=colour, alpha=0.5, linewidths=0)
    axes.scatter(made[:, 0], made[:, 1], s=16, color=colour, alpha=0.8, marker="x", linewidths=0.9)


def _sorted_bars(names: Sequence[str], values: Sequence[float], colour: str) -> list[tuple[str, float, str]]:
    """Returns (name, value, colour), highest first, classes without rows last."""
    bars = [(name, float(value), colour) for name, value in zip(names, values, strict=True)]
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
        axes.plot(epochs, values, label=space, marker="o", markersize=3, **style)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _mark(axes: Axes, chosen: Mapping[str, float]) -> None:
    """Marks the epochs that protocols chose, those of one epoch by one line."""
    for epoch in sorted(set(chosen.values())):
        text = ", ".join(protocol for protocol, its in chosen.items() if its == epoch)
        axes.axvline(epoch, color="#555555", linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
        place = {"xytext": (-3, 0), "textcoords": "offset points", "rotation": 90, "ha": "right", "va": "bottom"}
        axes.annotate(text, (epoch, 0.02), xycoords=("data", "axes fraction"), fontsize=7, **place)

"""What a person sees at the end of a run: the pictures, the result as a table, and the versions that made it."""

import importlib.metadata
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from zsl_jax.data.dataset import array
from zsl_jax.experiment.outcome import Outcome
from zsl_jax.report import figures
from zsl_jax.training.writers import METRICS, read_metrics

SCORES = ("T1", "U", "S", "H", "AUSUC")
PROTOCOLS = ("validated", "last", "oracle")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "zsl_jax")

Scores = Mapping[str, float | None]


def result_table(result: Mapping[str, Any], pictures: Path | None = None) -> str:
    """Lays out a `result.json` as text.

    Args:
      result: "method", "dataset", "seed", "protocols" {protocol: {space: scores}}, "headline" {"protocol", "space",
        scores}, optional "baselines" and "nearest" {name: scores}. Scores are in percent by name; absent ones and NaN
        show as "-".
      pictures: their folder, if there are any.

    Returns:
      Several lines: what was run and its sizes, a row for each protocol and space, the difference that selection on
      the test set makes (oracle - validated, in points), the headline, and where the pictures are.
    """
    lines = [*_heading(result), "", *_layout([("", "space", *SCORES), *_rows(result)]), "", _headline(result)]
    return "\n".join(lines if pictures is None else [*lines, f"Pictures: {pictures}"])


def draw(outcome: Outcome, workdir: Path) -> Path:
    """Draws the pictures of a finished run into `<workdir>/figures`; returns that folder."""
    folder, task, detail = workdir / "figures", outcome.task, outcome.detail
    records = read_metrics(workdir / METRICS)
    for stage in dict.fromkeys(record["stage"] for record in records):
        figures.loss_curves([record for record in records if record["stage"] == stage], folder / f"losses_{stage}.png")
    names = [[task.class_names[number] for number in classes] for classes in (task.seen, task.unseen)]
    accuracies = [(100 * detail[f"{part}_accuracy"]).tolist() for part in ("seen", "unseen")]
    figures.per_class_accuracy(names[0], accuracies[0], names[1], accuracies[1], folder / "per_class_accuracy.png")
    shares = detail["confusion"] / np.maximum(detail["confusion"].sum(axis=1, keepdims=True), 1)
    figures.confusion(shares, names[1], folder / "confusion_unseen.png")
    if outcome.synthetic is not None:
        view, synthetic, labels = outcome.synthetic
        real = task.test_unseen
        figures.tsne(array(real.views, view), real.labels, synthetic, labels, task.class_names, folder / "tsne.png")
    _draw_curve(outcome, folder / "seen_unseen_curve.png")
    figures.scores_over_epochs(outcome.histories, folder / "scores_over_epochs.png", outcome.chosen)
    return folder


def _draw_curve(outcome: Outcome, path: Path) -> None:
    headline, detail = outcome.result["headline"], outcome.detail
    label = f"{headline['space']} ({headline['protocol']})"
    curves = {label: (100 * detail["U"], 100 * detail["S"])}
    point = {label: (headline["U"], headline["S"])}
    figures.seen_unseen_curve(curves, {label: 100 * float(detail["AUSUC"])}, point, path)


def versions() -> dict[str, str]:
    """Returns the versions of what computes a result, and the kind and number of devices."""
    devices = jax.devices()
    found = {package: importlib.metadata.version(package) for package in PACKAGES}
    return found | {
        "python": platform.python_version(),
        "device": f"{devices[0].platform}: {devices[0].device_kind}",
        "devices": str(len(devices)),
    }


def _heading(result: Mapping[str, Any]) -> Iterator[str]:
    data = result["dataset"]
    yield f"{result['method']} on {data['name']}, seed {result['seed']}"
    yield f"features {data['features']}; semantics {data['semantics']}; fingerprint {data['fingerprint'][:12]}"
    yield from (f"note: {note}" for note in data.get("notes", ()))
    yield "sizes: " + ", ".join(f"{name} {size}" for name, size in data["sizes"].items())


def _rows(result: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    protocols = result["protocols"]
    ordered = [name for name in PROTOCOLS if name in protocols]
    for protocol in [*ordered, *(name for name in protocols if name not in PROTOCOLS)]:
        yield from _block(protocol, protocols[protocol], "{:.1f}")
    if "oracle" in protocols and "validated" in protocols:
        yield from _block("oracle - validated", _gaps(protocols["oracle"], protocols["validated"]), "{:+.1f}")
    for name, scores in (result.get("baselines", {}) | result.get("nearest", {})).items():
        yield "baseline", name, *_cells(scores, "{:.1f}")


def _block(title: str, spaces: Mapping[str, Scores], form: str) -> Iterator[tuple[str, ...]]:
    """Yields a row a space, the title on the first."""
    for number, (space, scores) in enumerate(spaces.items()):
        yield title if number == 0 else "", space, *_cells(scores, form)


def _cells(scores: Scores, form: str) -> list[str]:
    numbers = [_number(scores, name) for name in SCORES]
    return ["-" if math.isnan(number) else form.format(number) for number in numbers]


def _number(scores: Scores, name: str) -> float:
    """Returns a score, NaN when it is absent or null."""
    value = scores.get(name)
    return math.nan if value is None else float(value)


def _gaps(oracle: Mapping[str, Scores], validated: Mapping[str, Scores]) -> dict[str, Scores]:
    """Returns oracle minus validated for the spaces that both have."""
    return {
        space: {name: _number(oracle[space], name) - _number(validated[space], name) for name in SCORES}
        for space in oracle
        if space in validated
    }


def _layout(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligns columns: text left, numbers right; a rule below the head and an empty line between blocks."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        if row[0] and number > 1 and row[0] != rows[number - 1][0]:
            lines.append("")
        cells = [*map(str.ljust, row[:2], widths[:2]), *map(str.rjust, row[2:], widths[2:])]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "-" * max(len(line) for line in lines), *lines[1:]]


def _headline(result: Mapping[str, Any]) -> str:
    headline = result["headline"]
    scores = zip(SCORES, _cells(headline, "{:.1f}"), strict=True)
    listed = "  ".join(f"{name} {cell}" for name, cell in scores)
    return f"Headline ({headline['protocol']}, space {headline['space']}): {listed}"

"""Which pictures a finished run gets."""

from pathlib import Path

import numpy as np

from zsl_jax.data.dataset import array
from zsl_jax.experiment.outcome import Outcome
from zsl_jax.report import figures
from zsl_jax.training.workdir import METRICS, RunFiles, read_metrics


def draw(outcome: Outcome, workdir: Path) -> Path:
    """Draws the pictures of a finished run into `<workdir>/figures`; returns that folder."""
    folder, task, detail = RunFiles(workdir).figures, outcome.task, outcome.detail
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

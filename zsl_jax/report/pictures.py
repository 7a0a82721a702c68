"""Which pictures a finished run gets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zsl_jax.data.dataset import array
from zsl_jax.experiment.outcome import Outcome
from zsl_jax.report import figures
from zsl_jax.report.drawing import SEEN, UNSEEN
from zsl_jax.training.workdir import METRICS, RunFiles, read_metrics

Point = tuple[float, float]  # U and S


def draw(outcome: Outcome, workdir: Path) -> Path:
    """Draws the pictures of a finished run into `<workdir>/figures`; returns that folder."""
    folder, task, detail, result = RunFiles(workdir).figures, outcome.task, outcome.detail, outcome.result
    headline = result["headline"]
    run = f"{result['method']} on {result['dataset']['name']}, seed {result['seed']}"
    title = f"{run}, protocol {headline['protocol']}, space {headline['space']}"
    records = read_metrics(workdir / METRICS)
    for stage in dict.fromkeys(record["stage"] for record in records):
        own = [record for record in records if record["stage"] == stage]
        figures.loss_curves(own, f"{run}, stage {stage}", folder / f"losses_{stage}.png")
    seen, unseen = ([task.class_names[number] for number in classes] for classes in (task.seen, task.unseen))
    values = {part: (100 * detail[f"{part}_accuracy"]).tolist() for part in ("seen", "unseen", "zsl")}
    among_all = {
        "unseen among all (U)": figures.ClassScores(unseen, values["unseen"], UNSEEN),
        "seen among all (S)": figures.ClassScores(seen, values["seen"], SEEN),
    }
    figures.per_class_accuracy(among_all, title, folder / "per_class_accuracy.png")
    among_unseen = {"unseen among themselves (T1)": figures.ClassScores(unseen, values["zsl"], UNSEEN)}
    figures.per_class_accuracy(among_unseen, title, folder / "per_class_T1.png")
    shares = detail["confusion"] / np.maximum(detail["confusion"].sum(axis=1, keepdims=True), 1)
    figures.confusion(shares, unseen, title, folder / "confusion_unseen.png")
    if outcome.synthetic is not None:
        view, synthetic, labels = outcome.synthetic
        real = task.test_unseen
        figures.tsne(
            array(real.views, view), real.labels, synthetic, labels, task.class_names, title, folder / "tsne.png"
        )
    curve = 100 * detail["U"], 100 * detail["S"]
    figures.seen_unseen_curve(curve, points(result), title, folder / "seen_unseen_curve.png")
    lines = f"vertical lines: where the protocols found the scores of space {headline['space']}"
    marked = f"{run}\nfinal classifiers at their last epochs; {lines}"
    figures.scores_over_epochs(outcome.histories, outcome.chosen, marked, folder / "scores_over_epochs.png")
    return folder


def points(result: Mapping[str, Any]) -> dict[str, list[Point]]:
    """What stands beside the seen-unseen curve: of the headline and of baselines, without and with calibration."""
    headline = result["headline"]
    row = result["protocols"][headline["protocol"]][headline["space"]]
    return {
        name: [(one["U"], one["S"]) for one in (scores, scores.get("calibrated")) if one]
        for name, scores in {result["method"]: row, **result["baselines"], **result["nearest"]}.items()
    }

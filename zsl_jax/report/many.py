"""Tables and pictures of many runs: of a sweep, and of methods side by side."""

import csv
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from zsl_jax.evaluation.protocol import SCORES
from zsl_jax.experiment.ranking import CALIBRATED_H
from zsl_jax.files import write_text
from zsl_jax.report import comparisons
from zsl_jax.report.table import Row, Table

DRAWN = ("T1", "H", "AUSUC")
OWN = ("validated", "last", "oracle", "validation", "calibrated")  # of a method's own row; others are references
ORACLE = ("T1 (oracle)", "H (oracle)")
Runs = Sequence[dict[str, Any]]  # a row for each run: what tells it from the others, and its scores, by name
Panels = dict[str, dict[str, dict[Any, comparisons.Mean]]]  # by score, by line, by value


def write_sweep(rows: Runs, workdir: Path, title: str) -> str:
    """Writes runs.csv, table.md and the figures of a sweep, rows as of `sweep.row_of`; returns the table.

    title: what was trained on what, for the figures.
    """
    write_text(workdir / "runs.csv", csv_text(rows))
    table = sweep(rows)
    write_text(workdir / "table.md", table)
    parts = by_protocol(rows)
    for protocol, members in parts.items():
        for field in swept_fields(members):
            if len({row[field] for row in members}) > 1:
                name = f"{field}.png" if len(parts) == 1 else f"{field}_{protocol}.png"
                path = workdir / "figures" / name
                comparisons.swept(
                    sweep_panels(members, field), field, f"{title}, {seeds(members)}, protocol {protocol}", path
                )
    return table


def seeds(rows: Runs) -> str:
    """The seeds of rows, for titles."""
    return "seed " + ", ".join(str(seed) for seed in sorted({row["seed"] for row in rows}))


def csv_text(rows: Runs) -> str:
    """Rows as comma-separated text; columns in the order in which they first occur."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = io.StringIO()
    writer = csv.DictWriter(lines, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return lines.getvalue()


def by_protocol(rows: Runs) -> dict[str, Runs]:
    """Rows by the protocol of their headline: a sweep of e.g. `validate` has several, which must not be compared."""
    return {protocol: members for (protocol,), members in grouped(rows, ["protocol"]).items()}


def swept_fields(rows: Runs) -> list[str]:
    """The fields that were varied: those before the seed."""
    return list(itertools.takewhile(lambda name: name != "seed", rows[0]))


def columns(rows: Runs) -> dict[str, str]:
    """What the tables of rows of one protocol show, by title: the headline, and the others in the widest space."""
    widest = dict(name.split("/")[:2] for name in rows[0] if name.count("/") == 2)
    headline = rows[0]["protocol"]
    shown = {f"{headline}, space chosen by validation" if headline == "validated" else f"{headline}": ""}
    titles = {"validation": "validation task (no test row)"}
    return shown | {
        f"{titles.get(protocol, protocol)}, space {space}": f"{protocol}/{space}/"
        for protocol, space in widest.items()
        if protocol != headline
    }


def sweep(rows: Runs) -> str:
    """Tables for each protocol: mean, standard deviation and 95 % interval of each cell over its seeds."""
    parts = [
        f"Protocol: {title}\n\n{sweep_table(members, prefix).markdown()}"
        for members in by_protocol(rows).values()
        for title, prefix in columns(members).items()
    ]
    note = (
        "Percent; mean ± standard deviation over seeds [95 % interval of the mean, Student's t, of 3 seeds or more]. "
        "Best on the validation task first, if there was one; `oracle`: the line that is best on the test set.\n"
    )
    return "\n\n".join([*parts, note])


def sweep_table(rows: Runs, prefix: str) -> Table:
    """A line for each cell of a sweep, of the scores whose names begin with `prefix`, best on validation first.

    A cell is to be chosen by the first column of scores, of the validation task; the one of the best test score, which
    has to be known to be chosen, is marked.
    """
    fields = swept_fields(rows)
    cells = sorted(grouped(rows, fields).items(), key=lambda cell: -mean(cell[1], "validation"))
    best = max(cells, key=lambda cell: mean(cell[1], rows[0]["select"]))[0]
    lines = []
    for cell, members in cells:
        scores = [summary(members, "validation"), *(summary(members, prefix + one) for one in SCORES)]
        mark = "oracle" if cell == best and len(cells) > 1 else ""
        lines.append(Row([*(map(str, cell or ["base"])), str(len(members)), *scores, mark]))
    head = [*(fields or ["cell"]), "seeds", f"{rows[0]['select']} on validation", *SCORES, "best on test"]
    return Table(head, lines, left=len(fields) or 1)


def grouped(rows: Runs, fields: Sequence[str]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Rows by their values of some fields."""
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault(tuple(row[field] for field in fields), []).append(row)
    return cells


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, standard deviation (n - 1) and half the 95 % interval of the mean; NaN where there are too few values.

    Of two values an interval would be 13 times as wide as their deviation says, and mean nothing.
    """
    array, nothing = np.asarray(values, float), float("nan")
    deviation = float(array.std(ddof=1)) if len(array) > 1 else nothing
    width = float(stats.t.ppf(0.975, len(array) - 1)) / len(array) ** 0.5 if len(array) > 2 else nothing
    return float(array.mean()), deviation, width * deviation


def mean_and_half(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the 95 % interval."""
    mean, _, half = interval(values)
    return mean, half


def drawn(values: Sequence[float]) -> comparisons.Mean:
    """What a figure shows of one score of some seeds."""
    return comparisons.Mean(*mean_and_half(values), values)


def values_of(rows: Runs, name: str) -> list[float]:
    """One score of the rows that have it."""
    return [row[name] for row in rows if name in row]


def summary(rows: Runs, name: str) -> str:
    """Mean ± deviation [interval] of one score."""
    values = values_of(rows, name)
    if not values:
        return "-"
    centre, deviation, half = interval(values)
    spread = f" ± {deviation:.1f}" if len(values) > 1 else ""
    ends = f" [{max(centre - half, 0):.1f}, {min(centre + half, 100):.1f}]" if len(values) > 2 else ""
    return f"{centre:.1f}{spread}{ends}"


def sweep_panels(rows: Runs, field: str) -> Panels:
    """The headline's scores, of one protocol, against one field; a line for each mix of the others."""
    others = [other for other in swept_fields(rows) if other != field]
    lines = {
        ", ".join(f"{name}={value}" for name, value in zip(others, rest, strict=True)) or "all": grouped(ours, [field])
        for rest, ours in grouped(rows, others).items()
    }
    return {
        score: {
            name: {value: drawn(values_of(members, score)) for (value,), members in cells.items()}
            for name, cells in lines.items()
        }
        for score in DRAWN
    }


def write_ranking(rows: Runs, workdir: Path, title: str) -> None:
    """Writes leaderboard.csv, leaderboard.md and leaderboard.png, rows as of `ranking.row_of`."""
    write_text(workdir / "leaderboard.csv", csv_text(rows))
    write_text(workdir / "leaderboard.md", ranking(rows, title))
    comparisons.leaderboard(ranking_panels(rows), f"{title}, {seeds(rows)}", workdir / "leaderboard.png")


def ranking(rows: Runs, title: str) -> str:
    """The table of methods, best validated AUSUC first for each share of the training rows."""
    head = ["method", "percent", "seeds", "space", *SCORES, "H cal.", "AUSUC on validation", *ORACLE, "s"]
    ranked = sorted(entries(rows).items(), key=lambda entry: (-entry[0][1], -mean(entry[1], "validated/AUSUC")))
    table = Table(head, [Row(ranking_cells(name, share, members)) for (name, share), members in ranked])
    note = (
        "Percent; mean ± half the 95 % interval of the mean over seeds (Student's t, of 3 seeds or more). Protocol "
        "`validated`: epoch, space and calibration chosen on held-out seen classes; `oracle`: chosen on the test set; "
        "H cal.: H with the chosen calibration. The order is that of test scores: to take the first line is to choose "
        "on the test set. s: seconds of one run; of a method's seeds, trained side by side, a share each.\n"
    )
    return f"# {title}\n\n{table.markdown()}\n\n{note}"


def entries(rows: Runs) -> dict[tuple[str, int], Runs]:
    """Rows by (method, percent); references first, under the names that results give them."""
    found: dict[tuple[str, int], Runs] = {}
    for (share,), members in grouped(rows, ["percent"]).items():
        names = dict.fromkeys(name.split("/")[0] for row in members for name in row if "/" in name)
        for name in names:
            if name not in OWN:
                found[name, share] = references(members, name)
        for (method,), own in grouped(members, ["method"]).items():
            found[method, share] = own
    return found


def references(rows: Runs, name: str) -> Runs:
    """Scores of a reference row, of the first method that has it: it is the same for all with the same views."""
    having = [row for row in rows if f"{name}/T1" in row]
    first = [row for row in having if row["method"] == having[0]["method"]]
    shown = {f"validated/{score}": f"{name}/{score}" for score in SCORES} | {CALIBRATED_H: f"{name}/{CALIBRATED_H}"}
    return [{"seed": row["seed"]} | {to: row[of] for to, of in shown.items() if of in row} for row in first]


def ranking_cells(name: str, share: int, rows: Runs) -> list[str]:
    """One line of the table of methods."""
    spaces = "/".join(dict.fromkeys(row["space"] for row in rows if "space" in row)) or "-"
    scores = [score_cell(rows, f"validated/{score}") for score in SCORES]
    more = [score_cell(rows, name) for name in (CALIBRATED_H, "validation/AUSUC", "oracle/T1", "oracle/H")]
    seconds = values_of(rows, "seconds")
    return [name, str(share), str(len(rows)), spaces, *scores, *more, f"{np.mean(seconds):.0f}" if seconds else "-"]


def score_cell(rows: Runs, name: str) -> str:
    """Mean ± half the interval of one score; of equal values the value alone."""
    values = values_of(rows, name)
    if not values:
        return "-"
    centre, half = mean_and_half(values)
    return f"{centre:.1f}" if not half > 0 else f"{centre:.1f} ± {half:.1f}"


def mean(rows: Runs, name: str) -> float:
    """Mean of one score; -1 where there is none."""
    values = values_of(rows, name)
    return float(np.mean(values)) if values else -1.0


def ranking_panels(rows: Runs) -> Panels:
    """What the figure of methods shows: by score, by method, by percent."""
    found: Panels = {}
    for score in DRAWN:
        for (name, share), members in entries(rows).items():
            if values := values_of(members, f"validated/{score}"):
                found.setdefault(score, {}).setdefault(name, {})[share] = drawn(values)
    return found

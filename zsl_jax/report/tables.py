"""A run's result as a table."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zsl_jax.evaluation.protocol import SCORES
from zsl_jax.report.table import Row, Table

PROTOCOLS = ("validated", "last", "oracle")

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
    table = Table(("", "space", *SCORES), list(_rows(result)), left=2)
    lines = [*_heading(result), "", table.text(), "", _headline(result)]
    return "\n".join(lines if pictures is None else [*lines, f"Pictures: {pictures}"])


def _heading(result: Mapping[str, Any]) -> Iterator[str]:
    data = result["dataset"]
    yield f"{result['method']} on {data['name']}, seed {result['seed']}"
    yield f"features {data['features']}; semantics {data['semantics']}; fingerprint {data['fingerprint'][:12]}"
    yield from (f"note: {note}" for note in data.get("notes", ()))
    yield "sizes: " + ", ".join(f"{name} {size}" for name, size in data["sizes"].items())


def _rows(result: Mapping[str, Any]) -> Iterator[Row]:
    protocols = result["protocols"]
    ordered = [name for name in PROTOCOLS if name in protocols]
    for protocol in [*ordered, *(name for name in protocols if name not in PROTOCOLS)]:
        yield from _block(protocol, protocols[protocol], "{:.1f}")
    if "oracle" in protocols and "validated" in protocols:
        yield from _block("oracle - validated", _gaps(protocols["oracle"], protocols["validated"]), "{:+.1f}")
    for name, scores in (result.get("baselines", {}) | result.get("nearest", {})).items():
        yield Row(("baseline", name, *_cells(scores, "{:.1f}")), "baseline")


def _block(title: str, spaces: Mapping[str, Scores], form: str) -> Iterator[Row]:
    """Yields a row a space, the title on the first."""
    for number, (space, scores) in enumerate(spaces.items()):
        yield Row((title if number == 0 else "", space, *_cells(scores, form)), title)


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


def _headline(result: Mapping[str, Any]) -> str:
    headline = result["headline"]
    scores = zip(SCORES, _cells(headline, "{:.1f}"), strict=True)
    listed = "  ".join(f"{name} {cell}" for name, cell in scores)
    return f"Headline ({headline['protocol']}, space {headline['space']}): {listed}"

"""A run's result as a table."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zsl_jax.evaluation.protocol import SCORES, on_validation
from zsl_jax.report.table import Row, Table

PROTOCOLS = ("validated", "last", "oracle")
CALIBRATED = ("U", "S", "H")  # columns beside `SCORES`: the same scores at the calibration chosen on validation

Scores = Mapping[str, Any]


def result_table(result: Mapping[str, Any], pictures: Path | None = None) -> str:
    """Lays out a `result.json` as text.

    Args:
      result: as `experiment.outcome.conclude` makes it; "validation", "warnings", "baselines", "nearest" may be absent
        (results of earlier versions). Scores are in percent by name; absent ones and NaN show as "-".
      pictures: their folder, if there are any.

    Returns:
      Several lines: what was run and its sizes, a row for each protocol and space with calibrated scores beside, the
      difference that selection on the test set makes (oracle - validated, in points), what the validation task said,
      the headline with its intervals, warnings, and where the pictures are.
    """
    head = ("", "space", *SCORES, *(f"{name} cal." for name in CALIBRATED))
    table = Table(head, list(_rows(result)), left=2)
    lines = [*_heading(result), "", table.text(), "", *_headline(result), *_draws(result)]
    lines += [f"warning: {line}" for line in result.get("warnings", ())]
    return "\n".join(lines if pictures is None else [*lines, f"Pictures: {pictures}"])


def _heading(result: Mapping[str, Any]) -> Iterator[str]:
    data = result["dataset"]
    yield f"{result['method']} on {data['name']}, seed {result['seed']}"
    print_of = f"fingerprint of rows, labels, splits and semantics {data['fingerprint'][:12]}"
    yield f"features {data['features']}; semantics {data['semantics']}; {print_of}"
    yield from (f"note: {note}" for note in data.get("notes", ()))
    yield "sizes: " + ", ".join(f"{name} {size}" for name, size in data["sizes"].items())


def _rows(result: Mapping[str, Any]) -> Iterator[Row]:
    protocols = result["protocols"]
    ordered = [name for name in PROTOCOLS if name in protocols]
    for protocol in [*ordered, *(name for name in protocols if name not in PROTOCOLS)]:
        yield from _block(protocol, protocols[protocol], "{:.1f}")
    if "oracle" in protocols and "validated" in protocols:
        yield from _block("oracle - validated", _gaps(protocols["oracle"], protocols["validated"]), "{:+.1f}")
    yield from _block("validation task", on_validation(result), "{:.1f}")
    for name, scores in (result.get("baselines", {}) | result.get("nearest", {})).items():
        yield Row(("baseline", name, *_cells(scores, "{:.1f}")), "baseline")


def _draws(result: Mapping[str, Any]) -> Iterator[str]:
    """What each draw of validation classes scored where the headline's space was chosen."""
    stages = list(result.get("validation", {}).get("stages", {}).values())
    choice = stages[-1].get(result["headline"]["space"], {}) if stages else {}
    draws = {"T1": choice.get("T1", {}), result.get("validation", {}).get("select", ""): choice.get("H", {})}
    listed = [f"{name} {', '.join(f'{one:.1f}' for one in found.get('draws', ()))}" for name, found in draws.items()]
    if len(choice.get("T1", {}).get("draws", ())) > 1:
        yield f"  draws of validation classes: {'; '.join(listed)}"


def _block(title: str, spaces: Mapping[str, Scores], form: str) -> Iterator[Row]:
    """Yields a row a space, the title on the first."""
    for number, (space, scores) in enumerate(spaces.items()):
        yield Row((title if number == 0 else "", space, *_cells(scores, form)), title)


def _cells(scores: Scores, form: str) -> list[str]:
    calibrated = _calibrated(scores)
    return [*(_cell(scores, name, form) for name in SCORES), *(_cell(calibrated, name, form) for name in CALIBRATED)]


def _cell(scores: Scores, name: str, form: str = "{:.1f}") -> str:
    number = _number(scores, name)
    return "-" if math.isnan(number) else form.format(number)


def _calibrated(scores: Scores) -> Scores:
    return scores.get("calibrated") or {}


def _number(scores: Scores, name: str) -> float:
    """Returns a score, NaN when it is absent or null."""
    value = scores.get(name)
    return math.nan if value is None else float(value)


def _gaps(oracle: Mapping[str, Scores], validated: Mapping[str, Scores]) -> dict[str, Scores]:
    """Returns oracle minus validated for the spaces that both have."""

    def gap(names: tuple[str, ...], one: Scores, other: Scores) -> dict[str, Any]:
        return {name: _number(one, name) - _number(other, name) for name in names}

    return {
        space: gap(SCORES, row, validated[space])
        | {"calibrated": gap(CALIBRATED, _calibrated(row), _calibrated(validated[space]))}
        for space, row in oracle.items()
        if space in validated
    }


def _headline(result: Mapping[str, Any]) -> Iterator[str]:
    headline = result["headline"]
    listed = "  ".join(f"{name} {_cell(headline, name)}" for name in SCORES)
    yield f"Headline ({headline['protocol']}, space {headline['space']}): {listed}"
    if calibrated := _calibrated(headline):
        listed = "  ".join(f"{name} {_cell(calibrated, name)}" for name in CALIBRATED)
        yield f"  calibrated, {_number(calibrated, 'gamma'):.3g} off seen classes' scores: {listed}"
    if intervals := headline.get("intervals"):
        listed = ", ".join(f"{name} {low:.1f}-{high:.1f}" for name, (low, high) in intervals.items())
        yield f"  95 % over classes like these: {listed}"

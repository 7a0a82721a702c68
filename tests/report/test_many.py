"""Tables of many runs."""

import numpy as np

from zsl_jax.evaluation.protocol import SCORES
from zsl_jax.report import many

RATES = (1e-4, 1e-3)


def test_protocols_are_not_mixed(tmp_path):
    """A sweep of `validate`: each table and each figure has the runs of one protocol."""
    names = {False: "last", True: "validated"}
    scored = dict.fromkeys(SCORES, 10.0)
    others = {f"oracle/V/{score}": 30.0 for score in SCORES}
    rows = [
        {"validate": on, "dfg.lr": rate, "seed": 0, "protocol": protocol, "space": "V", "select": "AUSUC"}
        | {score: value + on for score, value in scored.items()}
        | {f"{protocol}/V/{score}": 20.0 for score in SCORES}
        | others
        for on, protocol in names.items()
        for rate in RATES
    ]
    tables = many.write_sweep(rows, tmp_path, "made up").split("Protocol: ")[1:]
    assert [table.splitlines()[0] for table in tables] == [
        "last", "oracle, space V", "validated, space chosen by validation", "oracle, space V"
    ]  # fmt: skip
    assert "| False | 0.0001 | 1 | - | 10.0 |" in tables[0]
    assert "True" not in tables[0]
    assert "| True | 0.0001 | 1 | - | 11.0 |" in tables[2]
    assert "False" not in tables[2]
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"dfg.lr_{name}.{kind}" for name in names.values() for kind in ("png", "pdf")
    }


def cell(value: str, seed: int, on_validation: float, on_test: float) -> dict:
    """A row of a sweep whose scores are all the same."""
    row = {"lr": value, "seed": seed, "protocol": "validated", "space": "V", "select": "AUSUC"}
    return row | {"validation": on_validation} | dict.fromkeys(SCORES, on_test)


def test_a_sweep_ranks_by_validation_and_marks_what_the_test_set_would_choose():
    rows = [cell("a", seed, 30.0 + seed, 50.0 - seed) for seed in (0, 1)]
    rows += [cell("b", seed, 40.0 + seed, 20.0 + seed) for seed in (0, 1)]
    head, _, first, second = many.sweep_table(rows, "").markdown().splitlines()
    assert head.startswith("| lr | seeds | AUSUC on validation | T1 |")
    assert first.startswith("| b | 2 | 40.5 ± 0.7 | 20.5 ± 0.7 |")
    assert second.startswith("| a | 2 | 30.5 ± 0.7 | 49.5 ± 0.7 |")
    assert [line.split("|")[-2].strip() for line in (first, second)] == ["", "oracle"]


def test_the_best_comes_first():
    rows = [
        {"method": name, "percent": 100, "seed": seed, "space": "V", "seconds": 1.0}
        | {f"validated/{score}": value + seed for score in SCORES}
        | {"validation/AUSUC": 30.0, "calibrated/H": 40.0}
        | {f"ESZSL x/{score}": 15.0 for score in SCORES}
        for name, value in (("low", 10.0), ("high", 20.0))
        for seed in (0, 1, 2)
    ]
    table = many.ranking(rows, "made up").splitlines()
    assert table[4].startswith("| high | 100 | 3 | V | 21.0 ± 2.5 |")
    assert table[5].startswith("| ESZSL x | 100 | 3 | - | 15.0 |")
    assert table[6].startswith("| low | 100 | 3 | V | 11.0 ± 2.5 |")
    assert "| 40.0 | 30.0 |" in table[6]
    assert not table[7]


def test_intervals():
    mean, deviation, half = many.interval([1.0, 2.0, 3.0])
    assert (mean, deviation) == (2.0, 1.0)
    np.testing.assert_allclose(half, 4.303 / 3**0.5, rtol=1e-3)  # Student's t, two degrees of freedom
    assert np.isnan(many.interval([1.0])[2])
    assert np.isnan(many.interval([1.0, 99.0])[2])
    rows = [{"T1": value} for value in (2.0, 50.0, 99.0)]
    assert many.summary(rows, "T1") == "50.3 ± 48.5 [0.0, 100.0]"
    assert many.summary(rows[:2], "T1") == "26.0 ± 33.9"

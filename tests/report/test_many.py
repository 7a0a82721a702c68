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
        {"validate": on, "dfg.lr": rate, "seed": 0, "protocol": protocol, "space": "V"}
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
    assert "| False | 0.0001 | 1 | 10.0 |" in tables[0]
    assert "True" not in tables[0]
    assert "| True | 0.0001 | 1 | 11.0 |" in tables[2]
    assert "False" not in tables[2]
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"dfg.lr_{name}.{kind}" for name in names.values() for kind in ("png", "pdf")
    }


def test_the_best_comes_first():
    rows = [
        {"method": name, "percent": 100, "seed": seed, "space": "V", "seconds": 1.0}
        | {f"validated/{score}": value + seed for score in SCORES}
        for name, value in (("low", 10.0), ("high", 20.0))
        for seed in (0, 1)
    ]
    table = many.ranking(rows, "made up").splitlines()
    assert table[4].startswith("| high | 100 | 2 | V | 20.5 ± 6.4 |")
    assert table[5].startswith("| low | 100 | 2 | V | 10.5 ± 6.4 |")


def test_intervals():
    mean, deviation, half = many.interval([1.0, 2.0, 3.0])
    assert (mean, deviation) == (2.0, 1.0)
    np.testing.assert_allclose(half, 4.303 / 3**0.5, rtol=1e-3)  # Student's t, two degrees of freedom
    assert np.isnan(many.interval([1.0])[2])

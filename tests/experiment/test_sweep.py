"""Sweeps: cells, runs side by side that equal single ones, tables, resuming."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

from tests import linear, tiny
from tests.tiny import untimed
from zsl_jax import data
from zsl_jax.config import defaults
from zsl_jax.errors import InputError
from zsl_jax.experiment import runs, sweep
from zsl_jax.files import read_json
from zsl_jax.report import many
from zsl_jax.training import lockstep
from zsl_jax.training.stopping import StopRequest
from zsl_jax.training.workdir import METRICS, read_metrics

RATES = (1e-4, 1e-3)


@pytest.fixture(scope="module")
def config() -> Any:
    """Of ZeroDiff, whose options are looked at here; it is not trained."""
    made = tiny.synthetic(tiny.narrow(defaults.zerodiff()))
    made.validate, made.upstream, made.figures = False, "last", False
    return made


@pytest.fixture(scope="module")
def linear_config() -> Any:
    """Two stages of the linear method, the second going on from the first."""
    made = linear.tiny_run("first", "second")
    made.validate, made.upstream = False, "last"
    return made


@pytest.fixture(scope="module")
def swept(linear_config, tmp_path_factory) -> tuple[Path, list[Any]]:
    """Two rates by two seeds, and the ends of their runs."""
    workdir = tmp_path_factory.mktemp("sweep")
    cells = sweep.make_cells(linear_config, (), [f"second.lr={RATES[0]},{RATES[1]}"], ())
    work = [(cell, seed) for cell in cells for seed in (0, 1)]
    return workdir, sweep.train(work, workdir, most=0)


def metrics_of(directory: Path) -> list[dict[str, Any]]:
    return untimed(read_metrics(directory / METRICS))


def test_runs_side_by_side_equal_single_runs(swept, linear_config, tmp_path):
    workdir, ends = swept
    (cell, seed), end = ends[3]
    assert (cell.values, seed) == ({"second.lr": RATES[1]}, 1)
    single: Any = ConfigDict(linear_config.to_dict())
    single.second.lr, single.seed = RATES[1], 1
    alone = lockstep.drive(runs.complete(single, tmp_path / "alone", StopRequest()))
    for left, right in zip(metrics_of(tmp_path / "alone"), metrics_of(workdir / cell.name / "seed_1"), strict=True):
        names = [name for name in left if name.startswith("loss")]
        np.testing.assert_allclose([right[n] for n in names], [left[n] for n in names], rtol=1e-3, atol=1e-4)
    for protocol, spaces in alone.result["protocols"].items():
        for space, scores in spaces.items():
            # a row of thirty that falls the other way is some points
            assert abs(scores["AUSUC"] - end.result["protocols"][protocol][space]["AUSUC"]) < 5


def test_each_run_differs_from_the_others(swept):
    workdir, ends = swept
    losses = [metrics_of(workdir / cell.name / f"seed_{seed}")[-2] for (cell, seed), _ in ends]
    assert len({repr(line) for line in losses}) == 4


def test_tables_and_figures(swept):
    workdir, ends = swept
    rows = [sweep.row_of(cell, seed, end.result) for (cell, seed), end in ends]
    table = many.write_sweep(rows, workdir, "made up")
    with (workdir / "runs.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["second.lr"], line["seed"]) for line in lines] == [(str(r), str(s)) for r in RATES for s in (0, 1)]
    assert all(float(line["AUSUC"]) == row["AUSUC"] for line, row in zip(lines, rows, strict=True))
    values = [row["T1"] for row in rows[:2]]
    assert f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}" in table
    assert "Protocol: last" in table
    assert "Protocol: oracle, space V" in table
    assert (workdir / "figures" / "second.lr.png").stat().st_size > 1000


def test_what_is_finished_is_not_trained_again(swept, monkeypatch):
    workdir, ends = swept
    monkeypatch.setattr(runs.problems, "run", None)
    again = sweep.train([one for one, _ in ends], workdir, most=0)
    assert all(end.before for _, end in again)
    (cell, seed), end = again[0]
    assert end.result == read_json(workdir / cell.name / f"seed_{seed}" / "result.json")


def test_a_run_that_cannot_start_leaves_the_others_alone(linear_config, tmp_path):
    cells = sweep.make_cells(linear_config, (), ["second.batch_size=16,101"], ())  # of 100 rows
    ends = sweep.train([(cell, 0) for cell in cells], tmp_path, most=1)
    assert isinstance(ends[0][1], runs.Finished)
    assert isinstance(ends[1][1], InputError)


def test_cells(config):
    cells = sweep.make_cells(config, (), ["dfg.lr=1e-4,1e-3", "dfg.freeze_decoder=True,False"], ())
    assert [cell.values for cell in cells] == [
        {"dfg.lr": rate, "dfg.freeze_decoder": frozen} for rate in RATES for frozen in (True, False)
    ]
    assert (cells[1].config.dfg.lr, cells[1].config.dfg.freeze_decoder) == (1e-4, False)
    assert cells[1].name == "dfg.lr=0.0001,dfg.freeze_decoder=False"
    zipped = sweep.make_cells(config, (), ["dfg.epochs=1"], ["drg.lr=1,2", "dfg.lr=3,4"])
    assert [tuple(cell.values.values()) for cell in zipped] == [(1.0, 3.0, 1), (2.0, 4.0, 1)]
    tuples = sweep.make_cells(config, (), ["eval.spaces=('V',),('V','C')"], ())
    assert [cell.config.eval.spaces for cell in tuples] == [("V",), ("V", "C")]


def test_other_configurations(config):
    other = "zerodiff_awa2:30"
    cells = sweep.make_cells(config, [other], ["dfg.lr=0.1"], ())
    assert [cell.values for cell in cells] == [
        {"config": "base", "dfg.lr": 0.1},
        {"config": "zerodiff_awa2:30", "dfg.lr": 0.1},
    ]
    assert cells[1].config.data.percent == 30


@pytest.mark.parametrize(
    ("grids", "zips", "message"),
    [
        (["dfg.lr"], (), "--grid dfg.lr: write it as FIELD=V1,V2"),
        (["dfg.rate=1"], (), "the configuration has no such field"),
        (["dfg=1"], (), "that is a section"),
        (["seed=1,2"], (), "seeds are swept by --seeds"),
        (["dfg.lr=fast"], (), "'fast', but the field holds"),
        (["dfg.epochs=1.5"], (), "'1.5', but the field holds"),
        (["dfg.lr=1,1.0"], (), "a value stands there twice"),
        ((), ["dfg.lr"], "--zip dfg.lr: write it as FIELD=V1,V2"),
        ((), ["dfg.rate=1"], "--zip dfg.rate: the configuration has no such field"),
        ((), ["dfg.lr=1,2", "drg.lr=1"], "--zip: dfg.lr has 2, drg.lr has 1 values"),
    ],
)
def test_bad_values_are_refused(config, grids, zips, message):
    with pytest.raises(InputError, match=message):
        sweep.make_cells(config, (), grids, zips)


def test_what_the_command_line_sets_holds_for_other_configurations_too(config):
    other = "zerodiff_awa2"
    cells = sweep.make_cells(config, [other], (), (), ["dfg.epochs=7"])
    assert cells[1].config.dfg.epochs == 7
    with pytest.raises(InputError, match="two of them have the same name"):
        sweep.make_cells(config, [other, other], (), ())


def test_fields_that_refer_to_others_follow_them(config):
    cells = sweep.make_cells(config, (), ["data.semantics_scaling=l2,none"], ())
    assert [cell.config.dfg.semantics_scaling for cell in cells] == ["l2", "none"]
    assert config.data.semantics_scaling == "l2"


def test_a_precision_cannot_be_swept(config):
    with pytest.raises(InputError, match="matmul_precision: one process has one"):
        sweep.make_cells(config, (), ["matmul_precision=high,highest"], ())


def test_a_missing_file_is_refused(config):
    with pytest.raises(InputError, match=r"--also nowhere\.py"):
        sweep.make_cells(config, ["nowhere.py"], (), ())


def test_finished_runs_on_other_data_are_not_told_as_if_nothing_had_happened(swept, monkeypatch):
    workdir, ends = swept
    source = data.SOURCES["synthetic"]
    monkeypatch.setitem(data.SOURCES, "synthetic", lambda section, seed: source(section, seed + 9))
    with pytest.raises(InputError, match=r"seed_0: finished on other data than those at hand"):
        sweep.train([one for one, _ in ends], workdir, most=0)

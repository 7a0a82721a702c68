"""The leaderboard: cells, rows of finished runs, references, ranks, resuming, time limits."""

import csv
import shutil
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import pytest

from zsl_jax import __main__ as program
from zsl_jax.errors import InputError
from zsl_jax.experiment import problems, ranking, sweep
from zsl_jax.files import read_json
from zsl_jax.report import comparisons
from zsl_jax.training import stopping

CONFIG = """
from tests import linear


def get_config(rate="1e-3"):
    config = linear.tiny_run("linear")
    config.linear.lr = float(rate)
    return config
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("configs") / "tiny_linear.py"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture(scope="module")
def workdir(file, tmp_path_factory) -> Path:
    """A finished leaderboard of two methods, two seeds and two shares of the rows.

    Programs are kept from method to method: these two have the same.
    """
    where = tmp_path_factory.mktemp("board")
    with mock.patch.object(jax, "clear_caches"):
        assert run(file, where) == 0
    return where


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """No figure after each method, where others look at it."""
    monkeypatch.setattr(comparisons, "leaderboard", lambda *_: None)


def run(file: str, where: Path, *more: str) -> int:
    methods = f"--methods=slow={file}:1e-5,fast={file}:1e-3"
    shares = ("--percent=100,50", "--seeds=2", "--data=tiny")
    return program.main(["leaderboard", methods, *shares, f"--workdir={where}", *more])


def lines(where: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((where / "leaderboard.csv").read_text().splitlines()))


def test_every_run_has_a_line_and_every_cell_a_row(workdir):
    rows = lines(workdir)
    found = [(row["method"], row["percent"], row["seed"]) for row in rows]
    assert found == [(m, p, s) for p in ("100", "50") for m in ("fast", "slow") for s in ("0", "1")]
    table = (workdir / "leaderboard.md").read_text()
    for name in ("slow", "fast", "chance", "ESZSL x"):
        assert table.count(f"\n| {name} | ") == 2
    assert (workdir / "leaderboard.png").stat().st_size > 0
    for row in rows:
        result = read_json(workdir / f"{row['method']},{row['percent']}" / f"seed_{row['seed']}" / "result.json")
        assert float(row["validated/T1"]) == result["headline"]["T1"]
        assert float(row["chance/T1"]) == pytest.approx(100 / 3)
        assert float(row["ESZSL x/calibrated/H"]) == result["baselines"]["ESZSL x"]["calibrated"]["H"]
    cells = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    calibrated = {row[0]: row[cells[0].index("H cal.")] for row in cells}
    assert (calibrated["| chance"], calibrated["| ESZSL x"][0].isdigit()) == ("-", True)


def test_half_of_the_rows_are_half_of_the_rows(workdir):
    whole, half = (read_json(workdir / f"slow,{percent}" / "seed_0" / "result.json") for percent in (100, 50))
    sizes = [result["dataset"]["sizes"]["train_rows"] for result in (whole, half)]
    assert sizes == [100, 50]


@pytest.mark.usefixtures("undrawn")
def test_the_same_command_trains_nothing_again(workdir, file, monkeypatch):
    before = lines(workdir)
    monkeypatch.setattr(problems, "run", lambda *_: pytest.fail("trained again"))
    assert run(file, workdir) == 0
    assert lines(workdir) == before


def test_a_method_that_takes_too_long_is_left_out(file, tmp_path, capsys):
    assert run(file, tmp_path, "--percent=100", "--minutes=0.0001") == 1
    assert "slow,100, seed 1: not within 0.0001 minutes" in capsys.readouterr().err
    assert not (tmp_path / "leaderboard.csv").exists()


@pytest.mark.usefixtures("undrawn")
def test_runs_that_finished_in_time_stay_in_the_table(file, workdir, tmp_path, capsys):
    shutil.copytree(workdir, tmp_path / "board")
    shutil.rmtree(tmp_path / "board" / "slow,100" / "seed_1")
    assert run(file, tmp_path / "board", "--minutes=0.0001") == 1
    assert "slow,100, seed 1: not within" in capsys.readouterr().err
    assert len(lines(tmp_path / "board")) == 7


def test_a_signal_is_not_taken_for_the_time_limit():
    stop = stopping.StopRequest()
    stop.signum = signal.SIGTERM
    with stopping.time_limit(stop, 1e-6):
        time.sleep(0.05)
    assert stop.signum == signal.SIGTERM


@pytest.mark.usefixtures("undrawn")
def test_an_unexpected_error_leaves_the_other_methods_alone(file, tmp_path, monkeypatch, capsys):
    def break_slow(config, *rest):
        if config.linear.lr < 1e-4:
            raise MemoryError("no room")
        return load(config, *rest)

    load = problems.load
    monkeypatch.setattr(problems, "load", break_slow)
    assert run(file, tmp_path, "--percent=50") == 1
    assert "slow,50, seed 0: MemoryError: no room" in capsys.readouterr().err
    assert {row["method"] for row in lines(tmp_path)} == {"fast"}


def test_methods_on_different_data_are_not_compared(file):
    own = {"one": file, "other": "gan_zoo:wgan,digits"}
    with pytest.raises(InputError, match=r"data\.source is synthetic for one and digits for other"):
        ranking.make_cells(own, "tiny", [100], 0, [])


def test_arguments_of_ones_own_configuration_may_have_commas():
    found = ranking.chosen(["mine=ablations/zerodiff:r", "sun", "10", "zerodiff", "wgan=x.py"])
    assert found == {"mine": "ablations/zerodiff:r,sun,10", "zerodiff": "zerodiff_{data}", "wgan": "x.py"}
    with pytest.raises(InputError, match="no 'digits'"):
        ranking.chosen(["mine=gan_zoo:wgan", "zerodiff", "digits"])


def test_fields_are_set_where_they_are(file):
    cells = ranking.make_cells({"own": f"{file}:0.5"}, "tiny", [100], 3, ["linear.syn_num=9"])
    config: Any = cells[0].config
    assert (config.linear.lr, config.linear.syn_num, config.linear.epochs) == (0.5, 9, 3)
    with pytest.raises(InputError, match=r"--set nothing.here: the configuration has no such field"):
        ranking.make_cells({"own": file}, "tiny", [100], 0, ["nothing.here=1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods=zerodif"], "no 'zerodif'; there are zerodiff"),
        (["--percent=0"], "whole numbers from 1 to 100"),
        (["--percent=50,50"], "whole numbers from 1 to 100"),
        (["--percent=\u00b2"], "whole numbers from 1 to 100"),
        (["--methods=wgan", "--set=gan.lr=1e-3,1e-4"], "'1e-3,1e-4', but the field holds"),
        (["--seeds=0"], "seeds"),
        (["--data=mars", "--methods=wgan"], "mars"),
        (["digits"], "unrecognized arguments: digits"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, message, tmp_path, capsys):
    assert program.main(["leaderboard", f"--workdir={tmp_path / 'none'}", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "none").exists()


def test_all_methods_have_a_configuration_for_digits():
    cells = ranking.make_cells(ranking.chosen(["all"]), "digits", [100], 0, [])
    assert [cell.values["method"] for cell in cells] == list(ranking.METHODS)
    common = {(c.data.source, c.data.original_semantics, c.eval.classifier_epochs) for c in map(config_of, cells)}
    assert common == {("digits", False, 25)}


def config_of(cell: sweep.Cell) -> Any:
    return cell.config


def test_every_method_on_a_data_set_of_ones_own():
    cells = ranking.make_cells(ranking.chosen(["all"], "there/BIRDS"), "there/BIRDS", [100], 0, [])
    assert [cell.values["method"] for cell in cells] == list(ranking.METHODS)
    for cell in cells:
        section = cell.config.data
        assert (Path(section.root), section.dataset) == (Path("there").absolute(), "BIRDS")
        assert cell.values["method"].startswith(cell.config.method)
    assert {cell.config.eval.classifier for cell in cells} == {"softmax", "nearest", "prototype"}
    assert ranking.chosen(["mine=x.py", "wgan"], "there/BIRDS") == {"mine": "x.py", "wgan": "own_data:wgan"}

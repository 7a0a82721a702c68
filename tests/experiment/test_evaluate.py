"""Runs scored again: to the last digit and without a trace; unfinished, damaged and imported ones, and other data."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests import linear, tiny
from tests.tiny import bits
from zsl_jax import __main__ as program
from zsl_jax.data.scaling import apply_scaler, fit_scaler
from zsl_jax.errors import InputError
from zsl_jax.experiment import checks, class_choice, comparison, rescoring, runs, synthesis
from zsl_jax.files import read_json, write_json
from zsl_jax.train_steps.method import vector_spec
from zsl_jax.training import imported, lockstep, stage, stopping
from zsl_jax.training.stopping import StopRequest

SPEC = vector_spec(x_dim=10, r_dim=0, a_dim=4, n_classes=8)  # of the raw data, and of the fine-tuned features
STAGES = ("finetune_x", "first", "second")
PER_EPOCH = 7  # iterations


def config_of(**fields: Any) -> Any:
    """A run that fine-tunes features, then trains two stages of a linear method on them."""
    config = linear.tiny_run("first", "second")
    config.stages = STAGES
    config.finetune_x.width, config.finetune_x.epochs = SPEC.x_dim, 2
    config.first.epochs, config.second.epochs = 2, 5
    config.update(fields)
    return config


def imported_config() -> Any:
    return config_of(validate=False, upstream="last")


def complete(config: Any, workdir: Path) -> runs.Finished:
    runs.prepare(config, aloud=False)
    return lockstep.drive(runs.complete(config, workdir, StopRequest(), bars=False))


def nets(*stages: str) -> dict[str, Any]:
    """Random nets of the stages, as an import has them."""
    outlines = checks.outlines(config_of(), SPEC)
    return {name: tiny.random_like(outlines[name].state.params) for name in stages}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    """A finished run with validation, of which some states were not kept."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    complete(config_of(), path)
    return path


@pytest.fixture
def copy(workdir, tmp_path) -> Path:
    return Path(shutil.copytree(workdir, tmp_path / "copy"))


def run(workdir: Path, *options: str) -> int:
    return program.main(["evaluate", f"--workdir={workdir}", *options])


def snapshot(folder: Path) -> dict[Path, Any]:
    """All that could show a trace of writing: names, times and bytes."""
    paths = [folder, *folder.rglob("*")]
    return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in paths}


def refused(code: int, capsys) -> str:
    """The one line with which a program ended."""
    printed, said = capsys.readouterr()
    assert (code, printed) == (2, "")
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in said
    return line


def test_all_that_was_kept_is_scored_again_to_the_last_digit(workdir, tmp_path, capsys):
    before, out = snapshot(workdir), tmp_path / "again.json"
    assert run(workdir, f"--out={out}") == 0
    assert snapshot(workdir) == before
    recorded, made = read_json(workdir / "result.json"), read_json(out)
    there, here = (
        dict(comparison.numbers({part: one[part] for part in comparison.SCORES})) for one in (recorded, made)
    )
    assert here == {name: value for name, value in there.items() if name in here}
    for part in ("headline", "baselines", "nearest", "seen"):
        assert made[part] == recorded[part]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "linear on synthetic, seed 0"
    assert lines[-1] == (
        f"Scores made again: {len(here)} of the {len(there)} of result.json, all equal to the last digit"
    )


def test_scores_of_states_that_were_not_kept_are_left_open(workdir, tmp_path, capsys):
    """Not even where the record says them."""
    out = tmp_path / "again.json"
    assert run(workdir, f"--out={out}") == 0
    evaluations = {int(path.stem[-5:]) for path in (workdir / "evaluations").glob("second_*.json")}
    kept = {int(path.name) // PER_EPOCH - 1 for path in (workdir / "checkpoints" / "second").iterdir()}
    lost = sorted(evaluations - kept)
    assert lost, "the run keeps all states: train it longer"
    assert (
        f"stage second after epoch {', '.join(map(str, lost))}, whose states were not kept" in capsys.readouterr().out
    )
    recorded, made = (read_json(path)["protocols"] for path in (workdir / "result.json", out))
    for protocol, spaces in recorded.items():
        for space, row in spaces.items():
            found = row["found"]
            expected = {"T1": found["T1"]["epoch"], "U": found["H"]["epoch"], "H": found["H"]["epoch"]}
            for score, epoch in expected.items():
                assert made[protocol][space][score] == (row[score] if epoch in kept else None)


def test_a_record_that_was_changed_is_found(copy, capsys):
    result = read_json(copy / "result.json")
    result["protocols"]["last"]["V"]["T1"] += 0.5
    write_json(copy / "result.json", result)
    assert run(copy) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Scores made again")]
    assert "; 1 differ, by 0.5 at the most: protocols.last.V.T1 " in line


def test_of_an_unfinished_run_the_finished_stages_are_scored(copy, tmp_path, capsys):
    (copy / "result.json").unlink()
    shutil.rmtree(copy / "checkpoints" / "second")
    out = tmp_path / "again.json"
    assert run(copy, f"--out={out}") == 0
    printed = capsys.readouterr().out
    assert "Not finished: second; the scores are those of first" in printed
    assert "of the finished stages, all equal to the last digit" in printed
    assert read_json(out)["protocols"]["last"].keys() == {"V"}
    shutil.rmtree(copy / "checkpoints" / "first")
    assert "nothing to score yet" in refused(run(copy), capsys)


def test_other_data_are_said_and_scored(workdir, tmp_path, capsys):
    out = tmp_path / "other.json"
    assert run(workdir, "--data=synthetic.noise=0.5", f"--out={out}") == 0
    printed = capsys.readouterr().out
    fingerprint = read_json(workdir / "result.json")["dataset"]["fingerprint"]
    assert f"the run's was {fingerprint[:12]}): the scores are of the data at hand" in printed
    assert "Scores made again" not in printed
    recorded, made = read_json(workdir / "result.json"), read_json(out)
    assert made["headline"]["found"] == recorded["headline"]["found"]
    assert made["headline"]["AUSUC"] != recorded["headline"]["AUSUC"]
    kept = {int(path.name) // PER_EPOCH - 1 for path in (workdir / "checkpoints" / "second").iterdir()}
    assert made["protocols"]["oracle"]["V"]["found"]["T1"]["epoch"] in kept


def test_fewer_rows_of_the_same_data_are_other_data(workdir):
    there = rescoring.open_workdir(workdir)
    config = comparison.with_data(there.config, ["percent=50", "scaling=none"])
    said = comparison.other_data(there, config, there.fingerprint)
    assert said == "percent 50, the run's was 100, scaling none, the run's was minmax"
    assert comparison.other_data(there, comparison.with_data(there.config, ["root=/x"]), there.fingerprint) == ""


def test_epochs_are_those_of_the_run_however_many_rows_there_are(workdir):
    there = rescoring.open_workdir(workdir)
    config = comparison.with_data(there.config, ["synthetic.trainval=140"])
    found, same = (rescoring.read(there, *rescoring.load(one, workdir)) for one in (config, there.config))
    assert len(found.test.task.train.x) == 140
    assert found.test.evaluations == same.test.evaluations
    for name in STAGES:
        ours, theirs = found.test.stages[name], same.test.stages[name]
        assert rescoring.kept_epochs(ours) == rescoring.kept_epochs(theirs)
        assert bits(stage.load_inference(ours, ours.epochs - 1)) == bits(stage.load_inference(theirs, ours.epochs - 1))


def test_rows_are_made_in_the_state_of_the_headline_and_in_the_units_of_the_views(workdir, tmp_path):
    """Of a finished run; `tests/experiment/test_synthesize.py` has the rest."""
    out = tmp_path / "x.npz"
    command = ["synthesize", f"--workdir={workdir}", f"--out={out}", "--classes=unseen", "--num=30"]
    assert program.main(command) == 0
    with np.load(out, allow_pickle=False) as file:
        rows, origin = file["x"], json.loads(str(file["provenance"]))
    result = read_json(workdir / "result.json")
    assert (origin["stage"], origin["epoch"]) == ("second", result["headline"]["found"]["H"]["epoch"])
    assert origin["units"] == "source, x as in synthetic_finetune_ce"
    assert origin["data_fingerprint"] == result["dataset"]["fingerprint"]
    there = rescoring.open_workdir(workdir)
    found = rescoring.read(there, *rescoring.load(there.config, workdir)).test
    params = stage.load_inference(found.last, origin["epoch"])["map"]
    views = class_choice.views_of_run(there, there.config, synthesis.load(there, there.config))
    scaler = fit_scaler("minmax", views.x[views.splits.trainval])
    np.testing.assert_array_equal(apply_scaler(scaler, views.x[views.splits.test_unseen]), found.task.test_unseen.x)
    expected = linear.predict(params, found.task.semantics[found.task.unseen])
    means = apply_scaler(scaler, rows).reshape(3, 30, SPEC.x_dim).mean(axis=1)
    np.testing.assert_allclose(means, expected, atol=5 * linear.DEVIATION / 30**0.5)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_field(path: Path) -> None:
    config = json.loads(path.read_text())
    del config["eval"]["classifier"]
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda run: truncate(run / "config.json"), "config.json: cannot be read as JSON"),
        (lambda run: (run / "config.json").write_text("[1]"), "config.json: not a run's configuration"),
        (lambda run: (run / "config.json").write_text("{}"), "its configuration is not one of this version"),
        (lambda run: drop_field(run / "config.json"), "not one of this version of zsl_jax (no field"),
        (lambda run: truncate(run / "result.json"), "result.json: cannot be read as JSON"),
        (lambda run: (run / "result.json").write_text("3"), "result.json: not a run's result"),
        (lambda run: (run / "evaluations" / "second_00004.json").unlink(), "second_00004.json: cannot be read"),
        (lambda run: shutil.rmtree(run / "checkpoints" / "first" / "14" / "state"), "step 14 is damaged"),
        (lambda run: (run / "config.json").unlink(), "no run here"),
    ],
    ids=["half a config", "a list", "empty", "no field", "half a result", "a number", "lost", "no state", "no config"],
)
def test_damaged_runs_are_one_line(damage, said, copy, capsys):
    damage(copy)
    assert said in refused(run(copy), capsys)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data=nothing=1"], "--data data.nothing: the configuration has no such field"),
        (["--data=percent=all"], "--data data.percent: 'all', but the field holds 100 (int)"),
        (["--data=percent=50,100"], "--data data.percent: '50,100', but the field holds"),
        (["--data=synthetic.a_dim=5"], "doesn't fit this run"),
        (["--out={run}/again.json"], "lies in the workdir"),
        (["--out={run}/result.json"], "is there already"),
        (["--out={run}_none/again.json"], "is no folder; make it"),
        (["--wordir=x"], "unrecognized arguments: --wordir=x"),
    ],
)
def test_bad_options_are_one_line_and_leave_no_trace(options, said, workdir, capsys):
    before = snapshot(workdir)
    assert said in refused(run(workdir, *(option.format(run=workdir) for option in options)), capsys)
    assert snapshot(workdir) == before


def test_the_workdir_must_be_named(capsys):
    assert "--workdir is missing" in refused(program.main(["evaluate"]), capsys)


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> Path:
    """A workdir with imported nets of the first generator, in which the other stages were trained."""
    path = tmp_path_factory.mktemp("imports") / "grown"
    imported.write(path, imported_config(), nets("first"))
    complete(imported_config(), path)
    return path


def test_imported_nets_are_scored_without_training(tmp_path, capsys):
    path, out = tmp_path / "import", tmp_path / "scores.json"
    imported.write(path, imported_config(), nets("finetune_x", "first"))
    before = snapshot(path)
    assert run(path, f"--out={out}") == 0
    assert snapshot(path) == before
    printed = capsys.readouterr().out
    assert "Not finished: second; the scores are those of first" in printed
    assert "Nothing was scored before" in printed
    assert "note: stage first: nets imported, not trained by this run (SHA-256 " in printed
    assert set(read_json(out)["protocols"]) == {"last", "oracle"}


def test_a_run_goes_on_from_imported_nets(grown, capsys):
    result = read_json(grown / "result.json")
    digest = imported.digest(grown, "first")
    assert f"stage first: nets imported, not trained by this run (SHA-256 {digest[:12]})" in result["dataset"]["notes"]
    assert set(result["stages"]) == {"first"}
    assert result["stages"]["first"]["last"]["V"]["found"]["H"]["epoch"] == 1
    assert complete(imported_config(), grown).before
    assert run(grown) == 0
    assert "all equal to the last digit" in capsys.readouterr().out


def test_imported_nets_are_what_later_stages_get(grown):
    there = rescoring.open_workdir(grown)
    found = rescoring.read(there, *rescoring.load(there.config, grown))
    _, first, second = found.test.stages.values()
    assert bits(stage.load_inference(first, 1)) == bits(nets("first"))
    assert bits(second.upstream) == bits(nets("first"))
    assert [one["epoch"] for one in found.test.evaluations["first"]] == [1]
    assert found.test.imported == {"first": imported.digest(grown, "first")}


class StopOnce(StopRequest):
    """SIGTERM in the stage after the imported one."""

    asked = 0

    @property
    def signum(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        self.asked += 1
        return 15 if self.asked == 16 else None


def test_an_interrupted_run_above_an_import_ends_the_same(grown, tmp_path):
    path = tmp_path / "parts"
    imported.write(path, imported_config(), nets("first"))
    with pytest.raises(stopping.Interrupted, match="in stage second"):
        lockstep.drive(runs.complete(imported_config(), path, StopOnce(), bars=False))
    result = complete(imported_config(), path).result
    recorded = read_json(grown / "result.json")
    assert {part: result[part] for part in comparison.SCORES} == {part: recorded[part] for part in comparison.SCORES}
    assert result["dataset"] == recorded["dataset"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"finetune_x": {"width": 9}},
            "map/bias is float32[10], this run has float32[9]; map/kernel is float32[4, 10]",
        ),
        ({"validate": True, "upstream": "validated"}, "nothing could be validated; use --config.validate=False"),
    ],
)
def test_a_run_that_an_import_does_not_fit_leaves_no_trace(fields, said, tmp_path):
    imported.write(tmp_path / "import", imported_config(), nets("first"))
    before, config = snapshot(tmp_path), imported_config()
    config.update(fields)
    with pytest.raises(InputError) as caught:
        complete(config, tmp_path / "import")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path) == before


def test_numbers_are_compared_to_the_last_digit():
    recorded = {"a": {"V": [1.0, float("nan")], "found": {"epoch": 3}}, "b": 2.0, "c": None, "d": 1}
    made = {"a": {"V": [1.0, float("nan")], "found": {"epoch": 4}}, "b": 2.0 + 1e-12, "c": 1.0, "d": None}
    assert comparison.compare(recorded, made) == (2, {"b": (2.0, 2.0 + 1e-12)}, ["d"])


def test_keys_of_evaluations_are_those_of_the_stage(workdir):
    there = rescoring.open_workdir(workdir)
    found = rescoring.read(there, *rescoring.load(there.config, workdir))
    last = found.test.last
    key = jax.random.fold_in(last.keys()[2], 3)
    assert bits(jax.random.key_data(last.evaluation_key(3))) == bits(jax.random.key_data(key))

"""Whole runs on a small synthetic data set: all stages, both tasks, their traces on disk, and what is concluded."""

import dataclasses
import gc
import json
import types
import weakref
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests import linear, tiny
from tests.tiny import StopAfter, bits, untimed
from zsl_jax import data
from zsl_jax.config import defaults
from zsl_jax.errors import InputError
from zsl_jax.evaluation import protocol, scoring
from zsl_jax.experiment import outcome, problems, runs
from zsl_jax.experiment.problems import TEST, VALIDATION, Problem, Runs
from zsl_jax.files import write_json
from zsl_jax.train_steps import registry
from zsl_jax.train_steps.method import Entry, Method
from zsl_jax.training.lockstep import drive
from zsl_jax.training.parallel import Sharded
from zsl_jax.training.stage import Diverged, Stage, is_finished, load_inference, run_stage
from zsl_jax.training.stopping import Interrupted, StopRequest
from zsl_jax.training.workdir import METRICS, RunWriter, read_metrics

STAGES = ("finetune_x", "finetune_r", "drg", "dfg")


def small_config(stages: tuple[str, ...] = STAGES) -> Any:
    config = tiny.synthetic(tiny.narrow(defaults.zerodiff()))
    config.stages = stages
    for name in STAGES:
        config[name].epochs = 2
    return config


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run of all stages with validation, and what it leaves.

    uploads: how often rows to score were brought to the device; resident: how many arrays of them are still there.
    """

    config: Any
    workdir: Path
    runs: Runs
    outcome: outcome.Outcome
    uploads: int
    resident: int


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Finished:
    config, workdir = small_config(), tmp_path_factory.mktemp("run")
    arrays, upload = [], scoring.upload

    def counted(*given):
        made = upload(*given)
        arrays.append([weakref.ref(array) for array in jax.tree.leaves((made.real, made.scored))])
        return made

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scoring, "upload", counted)
        runs = drive(problems.run(*problems.load(config), workdir, StopRequest()))
    gc.collect()
    resident = sum(array() is not None for made in arrays for array in made)
    return Finished(config, workdir, runs, outcome.conclude(config, runs), len(arrays), resident)


def again(stage: Stage, directory: Path, stop: StopRequest | None = None, **changes: Any):
    """Runs a stage of a finished run in another folder, with the programs that are compiled already."""
    directory.mkdir(exist_ok=True)
    with RunWriter(directory, tensorboard=False) as writer:
        changed = dataclasses.replace(stage, directory=directory, **changes)
        return drive(run_stage(changed, writer, STAGES, stop or StopRequest()))


def metrics_of(directory: Path, stage: str) -> list[dict[str, Any]]:
    return untimed([line for line in read_metrics(directory / METRICS) if line["stage"] == stage])


class StopInTheMiddle(StopAfter):
    """SIGTERM in the second epoch, not at its end."""

    chunks = 5


def test_every_stage_of_both_tasks_leaves_its_traces(finished):
    for folder, trained in (
        (finished.workdir, finished.runs.test),
        (finished.workdir / "validation", finished.runs.validation[0]),
    ):
        assert tuple(trained.stages) == STAGES
        assert list(dict.fromkeys(line["stage"] for line in read_metrics(folder / METRICS))) == list(STAGES)
        for name in STAGES:
            assert [one["epoch"] for one in trained.evaluations[name]] == [0, 1]
            assert (folder / "checkpoints" / name).is_dir()
            assert min(trained.seconds[name].values()) > 0


def test_a_stage_uploads_the_rows_it_is_scored_on_once_and_frees_them(finished):
    """However many epochs are scored, and although the stages of a run live to its end."""
    scored = [stage for stage in finished.runs.test.stages.values() if stage.method.is_scored]
    assert len(scored) == 2
    assert finished.uploads == 2 * len(scored)
    assert finished.resident == 0


@pytest.mark.parametrize("name", STAGES)
def test_an_interrupted_stage_ends_in_the_same_bits(finished, tmp_path, name):
    stage = finished.runs.test.stages[name]
    with pytest.raises(Interrupted, match=f"in stage {name}"):
        again(stage, tmp_path, StopInTheMiddle())
    resumed = again(stage, tmp_path)
    straight = again(stage, finished.workdir)  # finished: reads its last checkpoint
    assert bits(resumed.state) == bits(straight.state)
    assert resumed.evaluations == straight.evaluations
    assert metrics_of(tmp_path, name) == metrics_of(finished.workdir, name)


def test_a_finished_run_is_only_read_again(finished, monkeypatch):
    lines = (finished.workdir / METRICS).read_bytes()
    monkeypatch.setattr(scoring.Scorer, "evaluate", lambda *_: pytest.fail("evaluated again"))
    runs = drive(problems.run(*problems.load(finished.config), finished.workdir, StopRequest()))
    assert runs.test.evaluations == finished.runs.test.evaluations
    assert runs.choices == finished.runs.choices
    assert (finished.workdir / METRICS).read_bytes() == lines


def test_numbers_that_break_are_named_and_the_checkpoint_stays(finished, tmp_path):
    stage = finished.runs.test.stages["dfg"]
    with pytest.raises(Interrupted):
        again(stage, tmp_path, StopInTheMiddle())
    views = {name: np.full_like(view, np.nan) for name, view in stage.train.views.items()}
    broken = dataclasses.replace(stage.train, views=views)
    with pytest.raises(Diverged, match=r"stage dfg: \S+ is nan in iteration 10; the last good checkpoint is of step 9"):
        again(stage, tmp_path, train=broken)
    assert bits(again(stage, tmp_path).state) == bits(again(stage, finished.workdir).state)


def test_validation_never_sees_its_unseen_classes(finished):
    (validation,) = finished.runs.validation
    for trained in (finished.runs.test, validation):
        for stage in trained.stages.values():
            assert set(stage.train.labels) == set(trained.task.seen)
    assert not set(validation.task.unseen) & set(validation.task.seen)
    assert set(validation.task.unseen) | set(validation.task.seen) == set(finished.runs.test.task.seen)
    test_rows = finished.runs.dataset.splits.test_seen, finished.runs.dataset.splits.test_unseen
    assert not set(np.concatenate(test_rows)) & set(validation.task.train_rows)


def test_later_stages_get_the_views_and_parameters_of_earlier_ones(finished):
    stages, config = finished.runs.test.stages, finished.config
    assert stages["finetune_r"].train.x.shape[1] == finished.runs.dataset.x.shape[1]  # raw features
    assert stages["drg"].train.r.shape[1] == config.finetune_r.width
    assert stages["dfg"].train.x.shape[1] == config.finetune_x.width
    problem = problem_of(TEST, finished.runs.choices)
    epoch = problems.upstream_epoch(config, stages["drg"], finished.runs.test.evaluations["drg"], problem)
    assert bits(stages["dfg"].upstream) == bits({"drg": load_inference(stages["drg"], epoch)})


def test_tuned_views_can_be_loaded_as_a_data_set(finished):
    """The folder `features` is in the layout of `data.root`, with the splits of the run."""
    dataset, options = finished.runs.dataset, small_config().data
    options.update({"source": "xlsa17", "root": str(finished.workdir / "features"), "labels": ""})
    options.update({"features": "synthetic_finetune_ce", "representations": "synthetic_finetune_paco"})
    loaded = data.load(options, 0)
    task, test = data.test_task(loaded, options), finished.runs.test.task
    for part, wanted in (
        (task.train, test.train),
        (task.test_seen, test.test_seen),
        (task.test_unseen, test.test_unseen),
    ):
        np.testing.assert_array_equal(part.x, wanted.x)
        np.testing.assert_array_equal(part.r, wanted.r)
        np.testing.assert_array_equal(part.labels, wanted.labels)
    np.testing.assert_allclose(loaded.semantics, dataset.semantics, rtol=1e-6)


def test_the_result_says_all_that_a_result_says(finished, tmp_path):
    result = finished.outcome.result
    assert {"method", "dataset", "seed", "protocols", "headline", "seconds"} <= set(result)
    assert {"name", "features", "semantics", "fingerprint", "sizes"} <= set(result["dataset"])
    assert set(result["protocols"]) == {"oracle", "last", "validated"}
    names = {"T1", "U", "S", "H", "AUSUC"}
    for spaces in result["protocols"].values():
        assert list(spaces) == ["V", "C"]
        for scores in spaces.values():
            assert names <= set(scores)
            assert all(0 <= scores[name] <= 100 for name in names)
    headline = result["headline"]
    assert headline["protocol"] == "validated"
    assert {name: headline[name] for name in names}.items() <= result["protocols"]["validated"][
        headline["space"]
    ].items()
    assert result["dataset"]["fine_tuned"] == ["x", "r"]
    assert set(result["seconds"]) == {TEST, VALIDATION}
    write_json(tmp_path / "result.json", result)
    assert json.loads((tmp_path / "result.json").read_text())["seed"] == 0


def test_no_protocol_beats_the_oracle(finished):
    protocols = finished.outcome.result["protocols"]
    for name in ("last", "validated"):
        for space, scores in protocols[name].items():
            assert all(scores[score] <= protocols["oracle"][space][score] for score in ("T1", "H"))


def test_the_details_belong_to_the_headline(finished):
    """Classifiers fitted once more for the pictures have the scores that were reported."""
    detail, headline = finished.outcome.detail, finished.outcome.result["headline"]
    np.testing.assert_allclose(100 * np.nanmean(detail["seen_accuracy"]), headline["S"], atol=1e-2)
    np.testing.assert_allclose(100 * np.nanmean(detail["unseen_accuracy"]), headline["U"], atol=1e-2)
    np.testing.assert_allclose(100 * detail["AUSUC"], headline["AUSUC"], atol=1e-2)
    synthetic, task = finished.outcome.synthetic, finished.runs.test.task
    assert synthetic.rows.shape[1] == task.test_unseen.views[synthetic.view].shape[1]
    assert set(synthetic.labels) == set(task.unseen)


def test_the_test_task_is_scored_with_the_calibrations_that_validation_chose(finished):
    stage, config = finished.runs.test.last, finished.config
    scorer = scoring.Scorer(
        stage.method, finished.runs.test.task, problems.eval_options(config, stage.name, stage.method)
    )
    gammas = protocol.chosen_gammas(finished.runs.choices[stage.name])
    params, key = load_inference(stage, stage.epochs - 1), stage.evaluation_key(stage.epochs - 1)
    recorded = finished.runs.test.evaluations[stage.name][-1]["scores"]
    assert recorded == scorer.evaluate(params, key, gammas)
    assert recorded != scorer.evaluate(params, key)
    assert all(gamma != 0 for gamma in gammas.values())
    scorer.release()


def test_what_belongs_to_t1_is_of_its_own_place(finished):
    """T1 chosen at epoch 0, U, S and H at epoch 1: accuracies among unseen classes are those of epoch 0."""
    stage, space = finished.runs.test.last, finished.outcome.result["headline"]["space"]
    of = [{"epoch": epoch, "sampler": "one_step", "classifier_epoch": 1} for epoch in (0, 1)]
    both = outcome.details_at(finished.config, finished.runs, space, {"T1": of[0], "H": of[1]})
    first, second = (
        outcome.details_at(finished.config, finished.runs, space, {"T1": place, "H": place}) for place in of
    )
    for name in ("zsl_accuracy", "confusion"):
        np.testing.assert_array_equal(both[name], first[name])
    for name in ("seen_accuracy", "unseen_accuracy", "U", "S", "AUSUC"):
        np.testing.assert_array_equal(both[name], second[name])
    row = finished.runs.test.evaluations[stage.name][0]["scores"]["spaces"][space]["one_step"]
    np.testing.assert_allclose(100 * first["zsl_accuracy"].mean(), row["T1"][1], atol=1e-2)


def test_closed_forms_are_chosen_without_the_test_labels(finished):
    """With other test labels the same preparation, weights and calibration, and other scores."""
    runs, task = finished.runs, finished.runs.test.raw_task
    labels = np.random.default_rng(0).permutation(task.test_unseen.labels)
    other = dataclasses.replace(task, test_unseen=dataclasses.replace(task.test_unseen, labels=labels))
    shuffled = dataclasses.replace(runs, test=dataclasses.replace(runs.test, raw_task=other))
    there, here = finished.outcome.result["baselines"], outcome.closed_forms(finished.config, shuffled)
    assert list(there) == list(here) == ["chance", "ESZSL x", "SAE x", "ESZSL r", "SAE r"]
    for name in list(there)[1:]:
        assert there[name]["chosen"] == here[name]["chosen"]
        assert there[name]["calibrated"]["gamma"] == here[name]["calibrated"]["gamma"]
    assert any(there[name]["T1"] != here[name]["T1"] for name in list(there)[1:])


def test_validation_is_kept(finished):
    kept, runs = finished.outcome.result["validation"], finished.runs
    (draw,) = kept["draws"]
    (trained,) = runs.validation
    assert draw["unseen"] == [runs.dataset.class_names[number] for number in trained.task.unseen]
    assert sum(draw["rows"]) == len(runs.dataset.splits.trainval)
    assert (kept["select"], kept["space"]) == ("AUSUC", finished.outcome.result["headline"]["space"])
    for name in ("drg", "dfg"):
        for space, chosen in kept["stages"][name].items():
            for of, score in (("T1", "T1"), ("H", "AUSUC"), ("calibrated", "H_gamma")):
                place = chosen[of]
                (there,) = [one for one in trained.evaluations[name] if one["epoch"] == place["epoch"]]
                series = there["scores"]["spaces"][space][place["sampler"]]
                assert chosen[of][score] == series[score][place["classifier_epoch"]] == place["draws"][0]


def validation_of(config: Any, dataset: Any, tmp_path: Path) -> list[Problem]:
    layout = Sharded((jax.devices()[0],))
    return problems.validation_problems(config, dataset, tmp_path, jax.random.key(0), layout, bars=False)


def test_every_task_draws_its_own_numbers(tmp_path):
    config = small_config()
    config.data.validation_draws = 3
    _, dataset = problems.load(config)
    layout = Sharded((jax.devices()[0],))
    test = problems.test_problem(tmp_path, jax.random.key(0), {}, layout, bars=False)
    found = [test, *validation_of(config, dataset, tmp_path)]
    assert len({jax.random.key_data(one.key).tobytes() for one in found}) == len(found) == 4
    assert [one.directory.relative_to(tmp_path).name for one in found[1:]] == [
        "validation",
        "validation_2",
        "validation_3",
    ]


@pytest.mark.parametrize("name", ["finetune_x", "finetune_r"])
def test_a_view_of_the_validation_task_knows_nothing_of_its_unseen_classes(name, tmp_path):
    """Their rows, far from all others, move no row that a stage trains on."""
    config = small_config()
    _, dataset = problems.load(config)
    (problem,) = validation_of(config, dataset, tmp_path)
    unseen = problem.make_task(dataset, config.data).unseen
    far = np.where(np.isin(dataset.labels, unseen)[:, None], 100 + dataset.x, dataset.x).astype(np.float32)
    stages = [
        problems.make_stage(config, name, one, one, problem, {})[0]
        for one in (dataset, dataclasses.replace(dataset, views={**dataset.views, "x": far}))
    ]
    np.testing.assert_array_equal(stages[0].train.x, stages[1].train.x)


def evaluations(*scores: float) -> list[dict[str, Any]]:
    return [{"epoch": 3 * place, "score": score} for place, score in enumerate(scores)]


def problem_of(name: str, choices: dict[str, Any]) -> Problem:
    def unused(*_):
        raise AssertionError

    return Problem(name, Path(), unused, jax.random.key(0), choices, Sharded((jax.devices()[0],)))


def choice(epoch: int, score: float) -> dict[str, Any]:
    return {"T1": {"epoch": 0, "T1": score}, "H": {"epoch": epoch, "H": score, "AUSUC": score, "draws": [score]}}


@pytest.mark.parametrize(
    ("upstream", "task", "epoch"),
    [
        ("validated", VALIDATION, 3),  # its own best
        ("validated", TEST, 12),  # what validation chose in its best space
        ("last", VALIDATION, 6),
        ("last", TEST, 6),
        ("oracle", TEST, 3),
    ],
)
def test_which_state_of_a_generator_later_stages_get(upstream, task, epoch):
    config = ConfigDict({"upstream": upstream, "eval": {"select": "H"}})
    stage: Any = types.SimpleNamespace(name="drg", method=types.SimpleNamespace(is_scored=True))
    choices = {"drg": {"V": choice(9, 10.0), "C": choice(12, 20.0)}} if task == TEST else {}
    assert problems.upstream_epoch(config, stage, evaluations(1.0, 5.0, 2.0), problem_of(task, choices)) == epoch
    view: Any = types.SimpleNamespace(name="drg", method=types.SimpleNamespace(is_scored=False))
    assert problems.upstream_epoch(config, view, evaluations(1.0, 5.0, 2.0), problem_of(task, choices)) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"upstream": "best"}, "config.upstream: 'best'; choose one of"),
        ({"upstream": "validated", "validate": False}, "needs config.validate=True"),
        ({"upstream": "oracle"}, "so nothing after it is validated"),
        ({"stage": "dgf"}, "config.stage: 'dgf'; choose one of"),
        ({"seed": 2**32}, "config.seed: 4294967296; it must be at most 4294967295"),
        ({"eval": {"spaces": ("V", "V:ldx")}}, "config.eval.spaces: classifier of 'V:ldx': 'ldx'; choose one of"),
        ({"eval": {"spaces": ("V:",)}}, "config.eval.spaces: classifier of 'V:': ''; choose one of"),
        ({"eval": {"classifier": "prototype", "seen_factor": 0.9, "spaces": ("V", "V:lda")}}, "seen_factor: 0.9"),
        ({"eval": {"shrinkage": 1.5}}, "config.eval.shrinkage: 1.5; a share from 0 to 1 is needed"),
        ({"dfg": {"critic_width": -1}}, "config.dfg.critic_width: -1; it must be at least 0"),
        ({"dfg": {"z_dim": 10**20}}, "config.dfg.z_dim: .* at most"),
        ({"stages": ("drg", "dfgg")}, "no stage 'dfgg'; did you mean 'dfg'"),
        ({"stages": ("drg", "nothing like it")}, "there are .*'drg'"),
    ],
)
def test_options_that_contradict_each_other(fields, message):
    config = small_config()
    config.update(fields)
    with pytest.raises(InputError, match=message):
        problems.load(config)


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("drg", 101, "there are 100 training rows"),
        ("drg", 90, r"the validation task has \d\d training rows"),
        ("finetune_x", 95, r"there are 9\d training rows, \d+ of 100 held out"),
    ],
)
def test_every_task_has_a_batch_of_rows_for_every_stage(name, size, said, tmp_path):
    """Before the workdir is claimed: with other options it can be used."""
    config = small_config()
    config[name].batch_size = size
    with pytest.raises(InputError, match=rf"config\.{name}\.batch_size: {size}, but {said}"):
        drive(runs.complete(config, tmp_path / "run", StopRequest()))
    assert not (tmp_path / "run").exists()


def test_a_run_cannot_begin_in_the_middle_of_nothing(tmp_path):
    config = small_config()
    config.stage = "drg"
    with pytest.raises(InputError, match="has no finished stage 'finetune_x'"):
        drive(problems.run(*problems.load(config), tmp_path, StopRequest()))


def test_a_stage_is_finished_when_its_last_state_is_there(finished, tmp_path):
    stage = finished.runs.test.stages["drg"]
    assert is_finished(stage)
    elsewhere = dataclasses.replace(stage, directory=tmp_path)
    assert not is_finished(elsewhere)
    with pytest.raises(Interrupted):
        again(stage, tmp_path, StopInTheMiddle())
    assert not is_finished(elsewhere)


def test_fine_tuning_sees_standardised_rows(finished):
    """Its input noise is meant in standard deviations."""
    for name in ("finetune_x", "finetune_r"):
        rows = finished.runs.test.stages[name].train.x
        np.testing.assert_allclose(rows.std(axis=0), 1, atol=0.2)  # a tenth of the rows is held out


def build_direct(config: Any, spec) -> Method:
    """The linear method, but it scores rows itself, by their distance to what each class's semantics are mapped to."""

    def scores(params, views, tables):
        prototypes = linear.predict(params["map"], tables.semantics)
        return -jnp.sum((views["x"][:, None, :] - prototypes[None, :, :]) ** 2, axis=-1)

    made = linear.build(config, spec)
    return dataclasses.replace(
        made, synthesize=None, embed=None, spaces=(), samplers=(), scores=scores, kind="classifier"
    )


@pytest.fixture
def own_config(monkeypatch) -> Any:
    """A configuration of a method that scores and is registered from outside; `test_main.py` has one that generates."""
    monkeypatch.setattr(registry, "_added", {})
    config = linear.tiny_run("linear")
    registry.register("linear", Entry(build_direct, ("lr",)))
    config.linear.epochs = 3
    return config


class StopOften(StopAfter):
    """SIGTERM after three chunks."""

    chunks = 3


def test_a_method_from_outside_runs_and_resumes(own_config, tmp_path):
    _, dataset = problems.load(own_config)
    whole = drive(problems.run(own_config, dataset, tmp_path / "whole", StopRequest()))
    ended, parts = 0, None
    while parts is None and ended < 20:
        try:
            parts = drive(problems.run(own_config, dataset, tmp_path / "parts", StopOften()))
        except Interrupted:
            ended += 1
    assert parts is not None
    assert ended >= 2
    assert [one.evaluations for one in parts.validation] == [one.evaluations for one in whole.validation]
    assert parts.test.evaluations == whole.test.evaluations
    assert metrics_of(tmp_path / "parts", "linear") == metrics_of(tmp_path / "whole", "linear")
    result = outcome.conclude(own_config, whole).result
    assert result["headline"]["protocol"] == "validated"
    assert set(result["protocols"]) == {"oracle", "last", "validated"}


def test_choices_are_made_by_the_mean_over_draws_of_validation_classes(own_config, tmp_path):
    own_config.data.validation_draws = 3
    config, dataset = problems.load(own_config)
    runs = drive(problems.run(config, dataset, tmp_path, StopRequest()))
    assert [one.name for one in runs.validation] == ["validation", "validation_2", "validation_3"]
    unseen = [set(one.task.unseen) for one in runs.validation]
    assert unseen[0] != unseen[1] != unseen[2]
    of_draws = [one.evaluations["linear"] for one in runs.validation]
    assert of_draws[0] != of_draws[1] != of_draws[2]
    assert runs.choices == {"linear": protocol.choose(of_draws, config.eval.select)}
    result = outcome.conclude(config, runs).result
    chosen = result["validation"]["stages"]["linear"]["scores"]["H"]
    assert chosen["AUSUC"] == pytest.approx(np.mean(chosen["draws"]))
    assert len(result["validation"]["draws"]) == len(chosen["draws"]) == 3
    assert set(result["seconds"]) == {"test", "validation", "validation_2", "validation_3"}


def test_classes_without_test_rows_and_features_fitted_on_validation_classes_are_said(finished):
    task, runs = finished.runs.test.task, finished.runs
    kept = np.isin(task.test_seen.labels, task.seen[:2])
    thinned = dataclasses.replace(task, test_seen=task.test_seen.take(kept))
    assert outcome.unscored(task) == []
    (line,) = outcome.unscored(thinned)
    assert line.startswith(f"{len(task.seen) - 2} of {len(task.seen)} seen classes have no test row")
    for name, how in (("lowlevel512", "principal components"), ("ce_ce", "fine-tuned")):
        stamped = dataclasses.replace(runs, dataset=dataclasses.replace(runs.dataset, origins={"x": name}))
        (line,) = outcome.leaks(stamped)
        assert line.startswith(f"{name}: {how}")
        assert "validation classes included" in line
        assert outcome.leaks(dataclasses.replace(stamped, validation=())) == []
    assert outcome.leaks(runs) == []

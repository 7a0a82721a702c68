"""The estimator: scikit-learn's own checks, one small generator for all that a fitted one does, files from anyone."""

import copy
import json
import logging
import os
import pickle
import re
import shutil
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import zsl_jax
from tests.animals import N_SEEN, NAMES, OPTIONS, SEEN, SMALL, UNSEEN, A, D, Frame, described, rows_of
from zsl_jax import ZeroShotClassifier
from zsl_jax.data.dataset import Part, Task
from zsl_jax.data.formats import tensors
from zsl_jax.errors import InputError
from zsl_jax.estimator import engine, inputs
from zsl_jax.evaluation import protocol, scoring
from zsl_jax.evaluation.protocol import SCORES
from zsl_jax.experiment import rescoring

COLUMNS = ["wings", "legs", "fur", "size", "eggs", "teeth"]  # of the frame of descriptions


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def fitted(workdir):
    semantics = Frame(list(described().values()), list(described()), COLUMNS)
    return ZeroShotClassifier("wgan", workdir=workdir, **SMALL).fit(*rows_of(SEEN, 20, 2), semantics=semantics)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    fitted.save(path)
    return path


@parametrize_with_checks([ZeroShotClassifier()])
def test_scikit_learns_checks(estimator, check):
    check(estimator)  # without semantics: a plain classifier


def test_the_package_is_light():
    """Until the estimator is asked for."""
    program = "import sys, zsl_jax; assert not {'jax', 'sklearn', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = zsl_jax.Nothing


def test_predicts_among_all_classes_or_the_unseen_ones(fitted):
    x, _ = rows_of(NAMES, 5, 3)
    assert fitted.classes_.tolist() == NAMES.tolist()
    assert (fitted.seen_classes_.tolist(), fitted.unseen_classes_.tolist()) == (SEEN.tolist(), UNSEEN.tolist())
    shares = fitted.predict_proba(x)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert (shares > 0).all()
    assert np.array_equal(fitted.predict(x), NAMES[shares.argmax(1)])
    narrow = copy.deepcopy(fitted).set_params(generalized=False)
    shares = narrow.predict_proba(x)
    assert not shares[:, np.isin(NAMES, SEEN)].any()
    np.testing.assert_allclose(shares.sum(1), 1)
    assert np.isin(narrow.predict(x), UNSEEN).all()


def test_scores_are_those_of_an_evaluation(fitted):
    """The same generator, rows and classifiers as in a run: T1, U and S agree."""
    (x, y), (seen_x, seen_y), (unseen_x, unseen_y) = rows_of(SEEN, 20, 2), rows_of(SEEN, 6, 4), rows_of(UNSEEN, 6, 5)
    use = engine.ready(fitted.generator_)
    names = np.concatenate([SEEN, UNSEEN])

    def part(x, y):
        numbers = [names.tolist().index(name) for name in y.tolist()]
        return Part(engine.views_of(use, x.astype(np.float32)), np.array(numbers, np.int32))

    numbers = np.arange(len(names), dtype=np.int32)
    parts = part(x, y), part(seen_x, seen_y), part(unseen_x, unseen_y)
    task = Task("toy", *parts, fitted.semantics_, numbers[:N_SEEN], numbers[N_SEEN:], tuple(names), *[np.arange(0)] * 2)
    found = scoring.Scorer(use.method, task, use.options).evaluate(fitted.generator_.params, use.root())
    last = {name: series[-1] for name, series in found["spaces"][fitted.generator_.space]["one_step"].items()}
    plain = copy.deepcopy(fitted)
    plain.calibration_ = 0.0
    assert 100 * plain.score(unseen_x, unseen_y) == pytest.approx(last["U"], abs=1e-3)
    assert 100 * plain.score(seen_x, seen_y) == pytest.approx(last["S"], abs=1e-3)
    assert 100 * plain.set_params(generalized=False).score(unseen_x, unseen_y) == pytest.approx(last["T1"], abs=1e-3)
    whole = np.concatenate([unseen_x, seen_x]), np.concatenate([unseen_y, seen_y])
    for name in SCORES:  # of rows together, whatever `generalized` is
        assert 100 * plain.score(*whole, metric=name) == pytest.approx(last[name], abs=1e-3), name


def test_scores_by_name_are_those_of_their_rows(fitted):
    """Calibrated as `predict` is; the area is over all calibrations."""
    (x, y), (more, others) = rows_of(SEEN, 6, 4), rows_of(UNSEEN, 6, 5)
    whole = np.concatenate([x, more]), np.concatenate([y, others])
    narrow = copy.deepcopy(fitted).set_params(generalized=False)
    expected = {"T1": narrow.score(more, others), "U": fitted.score(more, others), "S": fitted.score(x, y)}
    assert {name: fitted.score(*whole, metric=name) for name in expected} == expected
    assert fitted.score(more, others, metric="T1") == expected["T1"]
    u, s = expected["U"], expected["S"]
    assert fitted.score(*whole, metric="H") == pytest.approx(2 * u * s / (u + s))
    other = copy.deepcopy(fitted)
    other.calibration_ += 100
    assert other.score(*whole, metric="S") == 0 < s
    assert other.score(*whole, metric="AUSUC") == pytest.approx(fitted.score(*whole, metric="AUSUC"))


@pytest.mark.parametrize(
    ("names", "metric", "said"),
    [
        (SEEN, "T1", "no rows of unseen classes"),
        (SEEN, "H", "no rows of unseen classes"),
        (UNSEEN, "S", "no rows of seen classes"),
        (UNSEEN, "AUSUC", "no rows of seen classes"),
        (UNSEEN, "accuracy", r"metric: 'accuracy'; choose one of \('T1', 'U', 'S', 'H', 'AUSUC'\)"),
        ([*UNSEEN, "yak"], "U", "'yak' is none of the classes described"),
    ],
)
def test_scores_by_name_say_what_is_missing(fitted, names, metric, said):
    x, y = rows_of(NAMES[: len(names)], 4, 2)
    with pytest.raises(InputError, match=said):
        fitted.score(x, np.array(names)[np.searchsorted(NAMES, y)], metric=metric)


def test_says_once_which_classes_have_no_rows(caplog):
    inputs.say.cache_clear()
    given = inputs.describe(described(), None, np.sort(SEEN))
    for _ in range(2):
        inputs.say_unseen(given)
    assert caplog.messages == [
        "3 of 8 classes described have no rows in y and are taken as unseen: 'hen', 'bee', 'eel'"
    ]
    inputs.say_unseen(inputs.describe(described(), None, NAMES))
    assert caplog.messages[1:] == ["all 8 classes described have rows in y: none is unseen"]


def test_other_epochs_and_seeds_are_not_compiled_anew(caplog):
    """Neither training nor the final classifiers: most of the time of a small fit is compilation."""
    caplog.set_level(logging.DEBUG, "jax._src.dispatch")
    small = SMALL | {"validate": False, "options": {}}

    def compiled(**changed: Any) -> set[str]:
        caplog.clear()
        ZeroShotClassifier("wgan", **(small | changed)).fit(*rows_of(SEEN, 20, 2), semantics=described())
        found = (re.search(r"Finished XLA compilation of jit\((\w+)\)", message) for message in caplog.messages)
        return {one[1] for one in found if one}

    long = {"run", "make", "fit", "all_views", "all_features"}
    jax.clear_caches()
    assert long <= compiled()
    assert not long & compiled(epochs=3, random_state=1)


def test_the_final_classifier_of_few_rows_is_trained_to_its_end(fitted):
    """Rows of seen classes that a plain classifier tells apart are told apart beside unseen classes too."""
    x, y = rows_of(SEEN, 6, 4)
    plain = ZeroShotClassifier().fit(*rows_of(SEEN, 20, 2))
    uncalibrated = copy.deepcopy(fitted)
    uncalibrated.calibration_ = 0.0
    assert plain.score(x, y) > 0.95
    assert uncalibrated.score(x, y) > plain.score(x, y) - 0.1


@pytest.mark.parametrize("y", [SEEN[:1], SEEN])
def test_scores_need_a_class_for_each_row(fitted, y):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fitted.score(rows_of(SEEN, 4, 2)[0], y)


def test_the_validation_task_chooses_the_calibration(fitted, workdir):
    assert fitted.calibration_ != 0
    folders = sorted(workdir.glob("validation*"))
    draws = [[json.loads(file.read_text()) for file in sorted(one.glob("evaluations/gan_*.json"))] for one in folders]
    assert len(draws) > 1
    choices, space = protocol.choose(draws, "AUSUC"), fitted.generator_.space
    assert space == protocol.best_space(choices)
    there = [one for draw in draws for one in draw if one["epoch"] == choices[space]["H"]["epoch"]]
    assert fitted.calibration_ == np.mean([one["scores"]["spaces"][space]["one_step"]["gamma"][-1] for one in there])
    x, _ = rows_of(UNSEEN, 5, 3)
    other = copy.deepcopy(fitted)
    other.calibration_ = 1e6
    assert np.isin(other.predict(x), UNSEEN).all()


def test_adds_classes_without_training_the_generator(fitted):
    """Taking the last class away and adding it again ends in the same bits."""
    x, _ = rows_of(NAMES, 5, 3)
    other = copy.deepcopy(fitted)
    generator = other.generator_
    other._keep(generator, UNSEEN[:2], fitted.semantics_[:-1])
    assert UNSEEN[2] not in other.predict(x)
    other.add_classes({UNSEEN[2]: described()[UNSEEN[2]]})
    assert other.generator_ is generator
    assert np.array_equal(other.predict_proba(x), fitted.predict_proba(x))


@pytest.mark.parametrize("keep", ["as fitted", "saved"])
def test_columns_of_added_classes_are_joined_by_name(fitted, saved, keep):
    x, _ = rows_of(NAMES, 5, 3)
    vector = np.random.default_rng(5).normal(size=(1, A))
    models = [copy.deepcopy(fitted) if keep == "as fitted" else ZeroShotClassifier.load(saved) for _ in range(3)]
    plain, same, other = (model.predict_proba for model in models)
    models[0].add_classes(vector, ["yak"])
    models[1].add_classes(Frame(vector, ["yak"], COLUMNS))
    models[2].add_classes(Frame(vector[:, ::-1], ["yak"], COLUMNS[::-1]))
    assert np.array_equal(same(x), plain(x))
    assert np.array_equal(other(x), plain(x))
    with pytest.raises(InputError, match="add_classes: column 'tail' is none of those needed; column 'teeth' is"):
        models[0].add_classes(Frame(vector, ["zebu"], [*COLUMNS[:-1], "tail"]))


def test_the_run_of_a_fit_keeps_the_names_of_columns(fitted, workdir):
    kept = rescoring.open_workdir(workdir)
    assert kept.attribute_names == fitted.attribute_names_ == tuple(COLUMNS)
    np.testing.assert_array_equal(kept.scaler.scale, fitted.generator_.semantics.scale)


@pytest.mark.parametrize(
    ("semantics", "names", "said"),
    [
        ({"bee": np.ones(A)}, None, "'bee' is there already"),
        (np.ones((1, A + 1)), ["yak"], "7 numbers describe a class"),
        (np.ones((2, A)), ["yak"], "1 for 2 rows"),
        (np.ones((2, A)), ["yak", "yak"], "named twice"),
        ({"yak": np.ones(A)}, ["yak"], "labels of their own"),
        ({"yak": np.full(A, np.nan)}, None, "NaN"),
        ({8: np.ones(A)}, None, "text or numbers"),
        ({None: np.ones(A)}, None, "None among the labels"),
        ({float("nan"): np.ones(A)}, None, "nan among the labels"),
        ({"yak": np.ones(A), 8: np.ones(A)}, None, "text or numbers"),
        ({}, None, "empty"),
    ],
)
def test_refuses_classes_to_add(fitted, semantics, names, said):
    before = fitted.predict_proba(np.zeros((1, D)))
    with pytest.raises(ValueError, match=said):
        fitted.add_classes(semantics, names)
    assert np.array_equal(fitted.predict_proba(np.zeros((1, D))), before)


def other_width(fitted):
    x, y = rows_of(SEEN, 4, 2)
    fitted.fit(x[:, :5], y, semantics={"ant": np.ones(A)})


def without_heads(fitted):
    fitted.set_params(calibration=5.0).fit(*rows_of(SEEN, 20, 2), semantics=described())


@pytest.mark.parametrize("again", [other_width, without_heads])
def test_a_fit_that_fails_leaves_the_model_before(fitted, again, monkeypatch):
    x, _ = rows_of(NAMES, 5, 3)
    other = copy.deepcopy(fitted)
    with monkeypatch.context() as patched:
        patched.setattr(engine, "fit_heads", lambda *_: {}["gone"])
        with pytest.raises((KeyError, InputError)):
            again(other)
    assert np.array_equal(other.predict_proba(x), fitted.predict_proba(x))


def test_cross_validation_of_a_pipeline():
    """Clones, subsets and descriptions by way of scikit-learn's parameters of a fit."""
    small = {"width": 4, "epochs": 1, "syn_num": 4, "options": {"eval.classifier_epochs": 200}}
    whole = make_pipeline(StandardScaler(), ZeroShotClassifier("wgan", **small))
    given = {"zeroshotclassifier__semantics": described()}
    scores = cross_val_score(whole, *rows_of(SEEN, 20, 2), cv=2, params=given)
    assert (scores > 0.6).all()


def test_a_clone_is_not_fitted(fitted):
    other: Any = clone(fitted)
    assert other.get_params() == fitted.get_params()
    assert not hasattr(other, "generator_")


def test_the_same_fit_in_the_same_folder_is_taken_as_it_is(fitted, workdir):
    x, _ = rows_of(NAMES, 5, 3)
    again = ZeroShotClassifier("wgan", workdir=workdir, **SMALL).fit(*rows_of(SEEN, 20, 2), semantics=described())
    assert np.array_equal(again.predict_proba(x), fitted.predict_proba(x))
    with pytest.raises(InputError, match=r"gan\.lr is.*another workdir"):
        again.set_params(options=OPTIONS | {"gan.lr": 2e-3}).fit(*rows_of(SEEN, 20, 2), semantics=described())


def test_a_row_does_not_depend_on_the_others(fitted):
    x, _ = rows_of(NAMES, 80, 3)  # more than are embedded at once
    whole = fitted.predict_proba(x)
    np.testing.assert_allclose(fitted.predict_proba(x[600:603]), whole[600:603], atol=1e-6)


@pytest.mark.parametrize("keep", ["save", "pickle"])
def test_what_is_kept_predicts_the_same_bits(fitted, saved, keep):
    x, _ = rows_of(NAMES, 5, 3)
    other = ZeroShotClassifier.load(saved) if keep == "save" else pickle.loads(pickle.dumps(fitted))
    ours, theirs = (model.get_params() | {"workdir": None} for model in (fitted, other))
    assert json.dumps(theirs) == json.dumps(ours)  # but that tuples may have become lists
    assert np.array_equal(other.predict_proba(x), fitted.predict_proba(x))
    assert np.array_equal(other.predict(x), fitted.predict(x))
    new = {"yak": np.ones(A)}
    expected = copy.deepcopy(fitted).add_classes(new).predict_proba(x)
    assert np.array_equal(other.add_classes(new).predict_proba(x), expected)


def test_a_plain_classifier_is_kept_too(tmp_path):
    x, labels = rows_of(SEEN, 20, 2)
    for y in (labels, labels.astype(object), np.searchsorted(SEEN, labels)):
        model = ZeroShotClassifier().fit(x, y)
        model.save(tmp_path / "model")  # replaces the one before
        other = ZeroShotClassifier.load(tmp_path / "model")
        assert other.classes_.dtype == model.classes_.dtype
        assert np.array_equal(other.predict_proba(x), model.predict_proba(x))
    assert model.score(x, y) > 0.9
    assert len(model._labels) == 0
    with pytest.raises(InputError, match="without semantics"):
        model.add_classes(np.ones((1, A)), ["yak"])
    with pytest.raises(InputError, match="no unseen classes"):
        model.set_params(generalized=False).predict(x)


def test_does_not_write_over_what_is_no_estimator(tmp_path):
    model = ZeroShotClassifier().fit(*rows_of(SEEN, 4, 2))
    (tmp_path / "precious").write_text("text")
    with pytest.raises(InputError, match="not a saved estimator"):
        model.save(tmp_path)
    with pytest.raises(InputError, match=r"random_state: .* plain value"):
        model.set_params(random_state=np.random.RandomState(0)).save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_does_not_write_over_what_lies_beside_an_estimator(saved, tmp_path):
    model, link = ZeroShotClassifier.load(saved), tmp_path / "link"
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    (tmp_path / "model" / "notes.txt").write_text("text")
    link.symlink_to(saved)
    for path, said in ((tmp_path / "model", "notes.txt"), (link, "a link")):
        with pytest.raises(InputError, match=said):
            model.save(path)
    assert (tmp_path / "model" / "notes.txt").exists()
    assert link.is_symlink()


def test_a_save_that_fails_leaves_the_model_that_was_there(tmp_path, monkeypatch):
    x, y = rows_of(SEEN, 4, 2)
    model, rename, calls = ZeroShotClassifier().fit(x, y), os.rename, []

    def fail_the_second(*names):
        calls.append(names)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(*names)

    model.save(tmp_path / "model")
    monkeypatch.setattr("os.rename", fail_the_second)
    with pytest.raises(InputError, match="model: cannot be written"):
        ZeroShotClassifier().fit(x + 1, y).save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert np.array_equal(ZeroShotClassifier.load(tmp_path / "model").predict_proba(x), model.predict_proba(x))


@pytest.mark.parametrize("path", [None, 5, "", "x" * 300])
def test_refuses_what_names_no_folder(fitted, path):
    for use in (fitted.save, ZeroShotClassifier.load):
        with pytest.raises(InputError):
            use(path)


def test_parameters_of_numpy_are_kept_as_plain_ones(fitted, tmp_path):
    numpys = {"width": np.int64(8), "validate": np.bool_(True), "calibration": np.float32(0.5)}
    copy.deepcopy(fitted).set_params(**numpys).save(tmp_path / "model")
    found = ZeroShotClassifier.load(tmp_path / "model").get_params()
    assert {name: type(found[name]) for name in numpys} == {"width": int, "validate": bool, "calibration": float}


def change_record(change):
    """A damage: `change` of the saved record."""

    def damage(path):
        record = json.loads((path / "estimator.json").read_text())
        change(record)
        (path / "estimator.json").write_text(json.dumps(record))

    return damage


def change_arrays(**changed):
    """A damage: other arrays in place of some."""

    def damage(path):
        arrays, metadata = tensors.read(path / "arrays.safetensors")
        names = {name.replace("/", "_"): name for name in arrays}
        assert set(changed) <= set(names)
        new = {names[name]: change(arrays[names[name]]) for name, change in changed.items()}
        tensors.write(path / "arrays.safetensors", arrays | new, metadata)

    return damage


def cut(path):
    data = (path / "arrays.safetensors").read_bytes()
    (path / "arrays.safetensors").write_bytes(data[:-7])


def without_arrays(path):
    (path / "arrays.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (shutil.rmtree, "cannot be read"),
        (without_arrays, "cannot be read"),
        (cut, "safetensors"),
        (lambda path: (path / "estimator.json").write_text("[1"), "JSON"),
        (lambda path: (path / "estimator.json").write_text("[" * 10**6), "JSON"),
        (lambda path: (path / "estimator.json").write_text("[]"), "format None"),
        (change_record(lambda record: record.update(format=99)), "format 99"),
        (change_record(lambda record: record.pop("seen")), "seen"),
        (change_record(lambda record: record["seen"].update(dtype="O", values=[{}, 1])), "labels of type"),
        (change_record(lambda record: record["seen"].update(dtype="V999999999")), "labels of type"),
        (change_record(lambda record: record["seen"].update(dtype="<U99999999")), "labels of type"),
        (
            change_record(lambda record: record["seen"].update(dtype="<f4", values=[float("nan"), 1])),
            "no list of numbers",
        ),
        (change_record(lambda record: record.update(calibration=float("nan"))), "calibration nan"),
        (change_record(lambda record: record.update(names=[1, 2])), "names of columns"),
        (change_record(lambda record: record.update(attributes=["wings"])), "names of columns that are not 6 texts"),
        (
            change_record(lambda record: record["unseen"]["values"].reverse() or record["unseen"]["values"].pop()),
            "gzsl",
        ),
        (change_record(lambda record: record["unseen"].update(values=SEEN.tolist())), "none twice"),
        (change_record(lambda record: record["seen"].update(dtype="<i8", values=[1, 2, 3, 4, 5])), "text or numbers"),
        (change_record(lambda record: record.update(calibration="12")), "calibration '12'"),
        (change_record(lambda record: record["parameters"].update(width="big")), "width"),
        (change_record(lambda record: record["parameters"].update(generalized="no")), "generalized"),
        (change_record(lambda record: record["parameters"].update(calibration={"a": 1})), "calibration"),
        (change_record(lambda record: record["generator"]["config"]["eval"].update(classifier="nearest")), "nearest"),
        (change_record(lambda record: record["generator"]["config"]["gan"].update(classifier_lr=np.nan)), "nan in"),
        (change_record(lambda record: record["generator"]["config"].update(stages=["gan", "gan"])), "each stage once"),
        (change_record(lambda record: record.update(features=-1)), "whole number"),
        (change_record(lambda record: record.update(features=D + 1)), "features"),
        (change_record(lambda record: record["parameters"].update(colour="red")), "colour"),
        (change_record(lambda record: record["generator"].update(space="VCS")), "space 'VCS'"),
        (change_record(lambda record: record["generator"]["raw"].update(x_dim=10**12)), "whole number"),
        (change_record(lambda record: record["generator"]["config"].update(method="os.system")), "method"),
        (change_record(lambda record: record["generator"]["config"].update(evil=1)), "evil"),
        (change_record(lambda record: record["generator"]["config"]["gan"].update(z_dim=10**12)), "1000000000000"),
        (change_record(lambda record: record["generator"]["config"]["gan"].update(z_dim=7)), "params"),
        (change_record(lambda record: record["generator"]["config"].update(stages=["dfg"])), "dfg"),
        (change_record(lambda record: record["generator"]["config"]["finetune_x"].update(hidden=[1] * 101)), "list"),
        (change_arrays(heads_gzsl_bias=lambda bias: bias[:-1]), r"expected float32\[8\]"),
        (change_arrays(heads_gzsl_bias=lambda bias: bias * np.nan), "not finite"),
        (change_arrays(heads_gzsl_weights=lambda weights: weights.astype(np.float64)), "float64"),
        (change_arrays(params_generator_hidden_bias=lambda bias: bias * np.nan), "not finite"),
        (change_arrays(labels=lambda labels: labels + 1), "numbers 0 to 4"),
        (change_arrays(key=lambda key: key[:1]), "key is"),
        (change_arrays(semantics=lambda semantics: semantics[:, 1:]), "semantics is"),
        (change_arrays(scalers_x_scale=lambda scale: scale[:0]), "scale is"),
    ],
)
def test_damaged_and_hostile_files_end_in_one_line(saved, tmp_path, damage, said):
    path = tmp_path / "model"
    shutil.copytree(saved, path)
    damage(path)
    with pytest.raises(InputError, match=said) as caught:
        ZeroShotClassifier.load(path)
    assert "\n" not in str(caught.value)

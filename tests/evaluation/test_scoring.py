"""Scores of methods whose answer is known, and that they don't depend on how rows are held in memory."""

import dataclasses
import gc
import json
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.evaluation import toy
from zsl_jax.errors import InputError
from zsl_jax.evaluation import baselines, classifier, detail, fits, metrics, prototype, rows, scoring
from zsl_jax.evaluation.options import EvalOptions

OPTIONS = EvalOptions(syn_num=40, classifier_lr=1e-2, spaces=("VC", "V"), classifier_epochs=12, samplers=("one_step",))
NOISE = 1.0
METHOD = toy.generative()


PARAMS = toy.params(NOISE)


def scorer(options=OPTIONS):
    return scoring.Scorer(METHOD, toy.task(noise=NOISE), options)


def run(options=OPTIONS, key=0, gammas=None):
    return scorer(options).evaluate(PARAMS, jax.random.key(key), gammas)


@pytest.fixture(scope="module")
def reference():
    return run(gammas={"V": 0.5})


def test_an_optimal_generator_nears_the_bayes_classifier(reference):
    given, params, key = direct_arguments()
    direct = given.evaluate(params, key)["spaces"]["scores"]["direct"]
    ours = reference["spaces"]["V"]["one_step"]
    assert direct["T1"][0] > 100 / toy.N_UNSEEN
    assert ours["T1"][-1] > direct["T1"][0] - 8
    assert ours["AUSUC"][-1] > direct["AUSUC"][0] - 12
    assert reference["seen"]["VC"][-1] > direct["S"][0] - 8


def test_result_is_json_with_a_value_per_classifier_epoch(reference):
    assert json.loads(json.dumps(reference, allow_nan=False)) == reference
    assert list(reference["spaces"]) == ["VC", "V"]
    assert list(reference["seen"]) == ["VC"]
    for samplers in reference["spaces"].values():
        for series in samplers["one_step"].values():
            assert len(series) == OPTIONS.classifier_epochs


def test_scores_are_consistent(reference):
    for samplers in reference["spaces"].values():
        s = {name: np.asarray(series) for name, series in samplers["one_step"].items()}
        np.testing.assert_allclose(s["H"], metrics.harmonic_mean(s["U"], s["S"]), atol=1e-3)
        np.testing.assert_allclose(s["H_cal"], metrics.harmonic_mean(s["U_cal"], s["S_cal"]), atol=1e-3)
        assert np.all(s["H_gamma"] >= np.maximum(s["H"], s["H_cal"]) - 1e-3)
    calibrated, plain = (samplers["one_step"] for samplers in (reference["spaces"]["V"], reference["spaces"]["VC"]))
    assert max(np.subtract(calibrated["U_cal"], calibrated["U"])) > 1
    np.testing.assert_allclose(plain["U_cal"], plain["U"], atol=1e-3)


def close(ours, theirs):
    """Equal to rounding, which may turn a row or two of the 120 of a part at a tie (0.8 percent each), no more."""
    for name, series in theirs.items():
        away = np.abs(np.subtract(ours[name], series))
        assert (away < 2).all(), name
        assert away.mean() < 0.2, name


@pytest.mark.parametrize(("memory_mb", "kind"), [(0.05, "views"), (0.0, "draws")])
def test_scores_do_not_depend_on_what_is_held_in_memory(reference, memory_mb, kind):
    options = dataclasses.replace(OPTIONS, spaces=("VC",), memory_mb=memory_mb, chunk_rows=16)
    key, given = jax.random.key(0), scorer(options)
    made = given.synthesise(PARAMS, key, "one_step")
    assert given.in_space(made, "VC").recipe.kind == kind
    (ours,) = given.score_space([made], "VC", key, gamma=0.0)
    close(ours, reference["spaces"]["VC"]["one_step"])


def test_asking_for_less_changes_no_number_and_compiles_next_to_nothing(reference, monkeypatch):
    traced, fit = [], classifier.fit
    monkeypatch.setattr(classifier, "fit", lambda *arguments: traced.append(1) or fit(*arguments))
    assert run(gammas={"V": 0.5}) == reference
    assert run(key=1)["spaces"] != reference["spaces"]
    assert not traced
    fewer = run(dataclasses.replace(OPTIONS, spaces=("V", "unknown")), gammas={"V": 0.5})
    assert fewer["spaces"] == {"V": reference["spaces"]["V"]}
    assert len(traced) == 1  # the "seen" score moved to the first space, V


def test_a_space_may_name_its_classifier(reference):
    """A discriminant analysis draws nothing, so that both ways to ask for it have the same numbers."""
    key, of_all = jax.random.key(0), dataclasses.replace(OPTIONS, spaces=("V",), classifier="lda")
    both = dataclasses.replace(OPTIONS, spaces=("V", "V:lda", "unknown:lda"))
    found = run(both, gammas={"V": 0.5})["spaces"]
    assert found == {"V": reference["spaces"]["V"], "V:lda": run(of_all)["spaces"]["V"]}
    assert len(found["V:lda"]["one_step"]["T1"]) == 1
    assert found["V:lda"]["one_step"]["T1"][0] > 2 * 100 / toy.N_UNSEEN
    details = detail.detail(scorer(both), PARAMS, key, "V:lda", "one_step", 0)
    assert 100 * np.mean(details["zsl_accuracy"]) == pytest.approx(found["V:lda"]["one_step"]["T1"][0], abs=1e-3)
    (name, nearest), *_ = baselines.nearest_neighbour(scorer(both), PARAMS, key, "V:lda", "one_step").items()
    assert (name, nearest["T1"] != found["V:lda"]["one_step"]["T1"][0]) == ("1-NN V", True)


def test_samplers_side_by_side_score_as_one_by_one():
    both = dataclasses.replace(OPTIONS, spaces=("VC",), samplers=("one_step", "progressive"))
    together, scores = run(both)["spaces"]["VC"], {}
    assert scorer(both).side_by_side(PARAMS) == (both.samplers,)
    for sampler in both.samplers:
        scores[sampler] = run(dataclasses.replace(both, samplers=(sampler,)))["spaces"]["VC"][sampler]
        close(together[sampler], scores[sampler])
    assert scores["one_step"] != scores["progressive"]
    little = dataclasses.replace(both, memory_mb=0.1)
    assert scorer(little).side_by_side(PARAMS) == (("one_step",), ("progressive",))


def test_prototypes_learn_the_problem(reference):
    net = prototype.Options(hidden=64, epochs=20, batch=40, lr=3e-3)
    found = run(dataclasses.replace(OPTIONS, spaces=("V",), classifier="prototype", prototype=net))
    ours = found["spaces"]["V"]["one_step"]
    assert len(ours["T1"]) == net.epochs
    # Prototypes are rectified and half of the toy's features negative: worse than softmax, far better than chance.
    assert 2 * 100 / toy.N_UNSEEN < ours["T1"][-1] < reference["spaces"]["V"]["one_step"]["T1"][-1]
    rival = run(dataclasses.replace(OPTIONS, spaces=("V",), classifier="prototype", prototype=net, seen_factor=0.5))
    tilted = rival["spaces"]["V"]["one_step"]
    assert tilted["T1"] == ours["T1"]
    assert tilted["U"][-1] > ours["U"][-1]
    assert tilted["S"][-1] < ours["S"][-1]
    check_fitted(dataclasses.replace(OPTIONS, spaces=("V",), classifier="prototype", prototype=net, seen_factor=0.5))


def check_fitted(options):
    """The details of a run's last classifier epoch tell what its scores tell."""
    scores = run(options)["spaces"]["V"]["one_step"]
    found = detail.detail(scorer(options), PARAMS, jax.random.key(0), "V", "one_step", options.epochs - 1)
    check_detail(found, {name: series[-1] for name, series in scores.items()})


@pytest.mark.parametrize("memory_mb", [1024, 0])
def test_nearest_neighbour_equals_brute_force(memory_mb):
    options = dataclasses.replace(OPTIONS, spaces=("V",), classifier="nearest", memory_mb=memory_mb, chunk_rows=64)
    scores = run(options)["spaces"]["V"]["one_step"]
    task = toy.task(noise=NOISE)
    made = scorer().synthesise(PARAMS, jax.random.key(0), "one_step")
    assert made.views is not None
    train = np.asarray(made.views["x"])
    labels = np.concatenate([task.train.labels, np.repeat(task.unseen, options.syn_num)])
    nearest = ((task.test_unseen.x[:, None] - train[None]) ** 2).sum(-1)
    predicted = labels[nearest.argmin(1)]
    u = metrics.mean_accuracy(predicted, task.test_unseen.labels, task.unseen)
    assert scores["U"] == [pytest.approx(100 * u, abs=1e-3)]
    only = nearest[:, len(task.train.labels) :].argmin(1)
    t1 = metrics.mean_accuracy(np.repeat(task.unseen, options.syn_num)[only], task.test_unseen.labels, task.unseen)
    assert scores["T1"] == [pytest.approx(100 * t1, abs=1e-3)]
    check_fitted(options)
    softmax = dataclasses.replace(options, classifier="softmax", seen_factor=0.5)
    found = baselines.nearest_neighbour(scorer(softmax), PARAMS, jax.random.key(0), "V", "one_step")
    for name, score in found["1-NN V"].items():
        assert scores[name] == [pytest.approx(score, abs=1e-3)]


def test_a_gamma_is_a_number_and_no_percentage(reference):
    """At the gamma reported, U and S have the H that is reported with it."""
    shown = scoring.percent({"U": jnp.array([0.25]), "gamma": jnp.array([0.25])})
    assert shown == {"U": [25.0], "gamma": [0.25]}
    series = reference["spaces"]["V"]["one_step"]
    gamma, best = series["gamma"][-1], series["H_gamma"][-1]
    at = run(dataclasses.replace(OPTIONS, spaces=("V",), samplers=("one_step",)), gammas={"V": gamma})
    assert at["spaces"]["V"]["one_step"]["H_cal"][-1] == pytest.approx(best, abs=1e-3)
    assert best > series["H"][-1]


def test_samplers_and_purposes_draw_numbers_of_their_own():
    given = scorer()
    made = [given.synthesise(PARAMS, jax.random.key(0), sampler) for sampler in ("one_step", "progressive")]
    made.append(given.synthesise(PARAMS, jax.random.key(0), "one_step", "seen"))
    assert len({jax.random.key_data(one.source.key).tobytes() for one in made}) == 3


def test_details_count_scores_that_are_not_finite_as_wrong():
    task = toy.task()
    perfect = [(part.labels[:, None] == order[None, :]).astype(np.float32) for part, order in (
        (task.test_seen, np.concatenate([task.seen, task.unseen])),
        (task.test_unseen, np.concatenate([task.seen, task.unseen])),
        (task.test_unseen, task.unseen),
    )]  # fmt: skip
    right = detail.accounts(task, *perfect)
    broken = [np.where(np.arange(len(one))[:, None] % 2 == 0, np.where(one == 1, np.nan, one), one) for one in perfect]
    found = detail.accounts(task, *broken)
    for name in ("seen_accuracy", "unseen_accuracy", "zsl_accuracy"):
        assert right[name].tolist() == [1.0] * len(right[name])
        assert 0 < found[name].mean() < 0.7
    assert found["confusion"].sum() < right["confusion"].sum() == len(task.test_unseen)


@pytest.mark.parametrize("field", ["spaces", "samplers"])
def test_nothing_in_common_is_refused(field):
    with pytest.raises(InputError, match="toy offers none of"):
        run(dataclasses.replace(OPTIONS, **{field: ("unknown",)}))


def test_detail_tells_the_same_story(reference):
    epoch = 1
    found = detail.detail(scorer(), PARAMS, jax.random.key(0), "VC", "one_step", epoch)
    check_detail(found, {name: series[epoch] for name, series in reference["spaces"]["VC"]["one_step"].items()})


def check_detail(found, scores):
    """Means, confusion and curve agree with the scores."""
    means = {"S": "seen_accuracy", "U": "unseen_accuracy", "T1": "zsl_accuracy"}
    for name, array in means.items():
        assert 100 * found[array].mean() == pytest.approx(scores[name], abs=1e-3)
    assert found["confusion"].sum(1).tolist() == [30] * toy.N_UNSEEN
    np.testing.assert_allclose(np.diag(found["confusion"]) / 30, found["zsl_accuracy"])
    assert 100 * found["AUSUC"] == pytest.approx(scores["AUSUC"], abs=1e-3)
    assert 100 * metrics.harmonic_mean(found["U"], found["S"]).max() == pytest.approx(scores["H_gamma"], abs=1e-3)


def direct_arguments():
    """A scorer of the method that scores directly, its parameters and a key."""
    task = toy.task(noise=NOISE)
    params = {**PARAMS, "semantics": jnp.asarray(task.semantics)}
    return scoring.Scorer(toy.direct(), task, OPTIONS), params, jax.random.key(0)


def test_a_direct_method_is_scored_by_its_own_scores():
    given, params, key = direct_arguments()
    scores = given.evaluate(params, key, {"scores": 1.0})
    assert scores["seen"] == {}
    direct = scores["spaces"]["scores"]["direct"]
    task = given.task
    means = task.semantics @ np.asarray(params["maps"]["x"])
    distance = ((task.test_unseen.x[:, None] - means[None]) ** 2).sum(-1)
    among_unseen = task.unseen[distance[:, task.unseen].argmin(1)]
    t1 = metrics.mean_accuracy(among_unseen, task.test_unseen.labels, task.unseen)
    u = metrics.mean_accuracy(distance.argmin(1), task.test_unseen.labels, task.unseen)
    assert direct["T1"] == [pytest.approx(100 * t1, abs=1e-3)]
    assert direct["U"] == [pytest.approx(100 * u, abs=1e-3)]
    assert direct["U_cal"][0] >= direct["U"][0]
    found = detail.detail(given, params, key, "scores", "direct", 0)
    check_detail(found, {name: series[0] for name, series in direct.items()})


def test_rows_are_uploaded_once_and_leave_the_device_with_their_scorer(monkeypatch):
    """However often a task is scored and its details are asked for; another scorer's rows take their place."""
    uploads, upload = [], scoring.upload

    def counted(*arguments):
        made = upload(*arguments)
        uploads.append([weakref.ref(array) for array in jax.tree.leaves(made)[:-1]])  # the last is a number
        return made

    def kept(number):
        gc.collect()
        return [array for array in uploads[number] if array() is not None]

    monkeypatch.setattr(scoring, "upload", counted)
    options = dataclasses.replace(OPTIONS, spaces=("V",), classifier="nearest")
    key, first, second = jax.random.key(0), scorer(options), scorer(options)
    found = first.evaluate(PARAMS, key)
    assert first.evaluate(PARAMS, key) == found
    detail.detail(first, PARAMS, key, "V", "one_step", 0)
    baselines.nearest_neighbour(first, PARAMS, key, "V", "one_step")
    assert len(uploads) == 1
    assert kept(0) == uploads[0]
    second.evaluate(PARAMS, key)
    assert not kept(0)
    second.release()
    assert not kept(1)
    assert first.evaluate(PARAMS, key) == found
    del first
    assert not kept(2)


def test_memory_rule():
    megabyte_of_rows = 2**20 // rows.FLOAT_BYTES
    assert rows.choose_kind(1, 1, megabyte_of_rows, 0, 2) == "features"
    assert rows.choose_kind(1, 1, megabyte_of_rows, 1, 2) == "views"
    assert rows.choose_kind(1, 9, megabyte_of_rows, 0, 1) == "views"
    assert rows.choose_kind(2, 9, megabyte_of_rows, 0, 1) == "draws"


def test_rows_drawn_anew_need_memory_that_does_not_grow_with_syn_num():
    """Beside its arguments, a fit on "draws" needs memory for the order of the rows, not for the rows."""
    taken = []
    for syn_num in (40, 400):
        options = dataclasses.replace(OPTIONS, syn_num=syn_num, classifier_batch=64, memory_mb=0, chunk_rows=16)
        given = scorer(options)
        made = given.synthesise(PARAMS, jax.random.key(0), "one_step")
        setup, inputs = given.fit_inputs("zsl", given.in_space(made, "V"))
        lowered = fits.fit.lower(setup, inputs, jax.random.key(0), options.numbers(), jnp.int32(0))
        memory = lowered.compile().memory_analysis()
        passes = setup.epochs * -(-setup.n_train // setup.batch) * setup.batch
        assert memory is not None
        taken.append(memory.temp_size_in_bytes / passes)
    assert taken[1] < taken[0]
    features = 4 * toy.X_DIM
    assert taken[1] < features  # bytes per row number drawn: far less than a row

"""What the estimator is given: forms of descriptions, refused parameters and data, configurations of all methods."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from tests.animals import NAMES, SEEN, UNSEEN, A, D, Frame, described, rows_of
from zsl_jax import ZeroShotClassifier
from zsl_jax.config import presets
from zsl_jax.data import tasks
from zsl_jax.errors import InputError
from zsl_jax.estimator import engine, inputs
from zsl_jax.evaluation import classifier, prototype
from zsl_jax.evaluation.options import EvalOptions
from zsl_jax.experiment import checks, settling


def test_semantics_as_array_dict_or_frame(monkeypatch):
    """All three ways reach the engine as the same arrays."""
    taken = []
    monkeypatch.setattr(engine, "learn", lambda config, dataset, *rest: taken.append(dataset) or stop())

    def stop():
        raise KeyboardInterrupt

    x, y = rows_of(SEEN, 20, 2)
    by_label = described()
    given = [
        {"semantics": by_label},
        {"semantics": np.array(list(by_label.values())), "class_names": list(by_label)},
        {"semantics": Frame(list(by_label.values()), list(by_label))},
    ]
    for one in given:
        with pytest.raises(KeyboardInterrupt):
            ZeroShotClassifier("wgan").fit(x, y, **one)
    assert len({dataset.fingerprint() for dataset in taken}) == 1
    assert taken[0].class_names == (*SEEN, *UNSEEN)
    assert taken[0].unseen.tolist() == [5, 6, 7]
    np.testing.assert_array_equal(
        taken[0].semantics, np.array([by_label[name] for name in (*SEEN, *UNSEEN)], np.float32)
    )


@pytest.mark.parametrize("column", ["class", "Class Name", "label", "species", "class_id"])
def test_a_column_that_says_the_class_does_not_describe_it(column):
    frame = Frame(np.ones((8, A + 1)), range(8), [column, *"abcdef"])
    said = rf"semantics: column '{column}' says the class.*frame\.set_index\('{column}'\)"
    with pytest.raises(InputError, match=said):
        ZeroShotClassifier("wgan").fit(*rows_of(SEEN, 4, 2), semantics=frame)


@pytest.mark.parametrize(
    ("columns", "names"), [(list("xy"), ("x", "y")), (["x", 1], ()), (range(2), ()), (None, ()), ([], ())]
)
def test_names_of_columns_count_where_all_are_text(columns, names):
    assert inputs.attributes_of(Frame(np.ones((8, 2)), NAMES, columns)) == names


def test_names_beside_a_data_frame_ask_for_its_index():
    frame = Frame(np.ones((8, A)), range(8))
    with pytest.raises(InputError, match="set_index"):
        ZeroShotClassifier("wgan").fit(*rows_of(SEEN, 4, 2), semantics=frame, class_names=NAMES)


@pytest.mark.parametrize(
    ("parameters", "given", "said"),
    [
        ({"method": "gan"}, {}, "choose one of zerodiff"),
        ({"epochs": 0}, {}, "epochs: 0"),
        ({"width": 2.5}, {}, r"width: 2\.5"),
        ({"syn_num": "many"}, {}, "syn_num"),
        ({"random_state": -1}, {}, "random_state: -1"),
        ({"random_state": 2**70}, {}, "random_state"),
        ({"validate": "no"}, {}, "validate"),
        ({"workdir": 5}, {}, "workdir: 5"),
        ({"workdir": ""}, {}, "workdir: ''"),
        *(({"calibration": value}, {}, "calibration") for value in ("abc", [1], np.nan, np.inf)),
        *(({"options": value}, {}, "options: ") for value in (5, ["gan.lr"], "gan.lr", [])),
        ({"options": {"gan.generator_width": -1}}, {}, r"gan\.generator_width: -1"),
        ({"options": {"gan.z_dim": -3}}, {}, r"gan\.z_dim: -3"),
        ({"options": {"stages": ("gan", "gan")}}, {}, "each stage once"),
        ({"space": "VCS"}, {}, "spaces"),
        ({"options": {"gan.lrr": 1.0}}, {}, r"gan\.lrr: the configuration has no such field; did you mean 'lr'"),
        ({"options": {"gan.lr": "fast"}}, {}, r"gan\.lr"),
        ({"options": {"seed": 1}}, {}, "'seed' is none of"),
        ({"options": {"eval.classifier": "nearest"}}, {}, "nearest"),
        ({"space": "V:nearest"}, {}, "nearest"),
        ({"options": {"data.validation_classes": 5}, "validate": True}, {}, "5 classes are seen"),
        ({}, {"semantics": np.ones((4, A)), "class_names": SEEN[:4]}, "no description of class 'gnu'"),
        ({}, {"semantics": np.ones((8, A))}, "5 for 8 rows"),
        ({}, {"semantics": np.ones(8)}, "2D"),
        ({}, {"semantics": np.full((5, A), np.inf)}, "infinity"),
        ({}, {"semantics": {}}, "semantics: empty"),
        ({}, {"semantics": np.ones((8, A)), "class_names": 6}, "class_names: 6"),
        ({}, {"semantics": np.ones((8, A)), "class_names": "abcdefgh"}, "a list of labels"),
        ({}, {"semantics": np.ones((8, A)), "class_names": [*NAMES[:7], 7]}, "text or numbers"),
        ({}, {"semantics": np.ones((8, A)), "class_names": NAMES.reshape(8, 1)}, "among the labels"),
        ({}, {"class_names": NAMES}, "give both or none"),
    ],
)
def test_refuses_what_cannot_work(parameters, given, said):
    x, y = rows_of(SEEN, 20, 2)
    given = given or {"semantics": described()}
    with pytest.raises(ValueError, match=said):
        ZeroShotClassifier(**{"method": "wgan", **parameters}).fit(x, y, **given)


@pytest.mark.parametrize("other", [None, 1])
def test_refuses_classes_of_two_kinds(other):
    x, y = rows_of(SEEN, 4, 2)
    y = np.where(y == "ant", other, y.astype(object))
    with pytest.raises(InputError, match="y: "):
        ZeroShotClassifier().fit(x, y)


@pytest.mark.parametrize("large", range(5))
def test_minibatches_fit_the_rows_that_validation_leaves(monkeypatch, large):
    """Whichever of unbalanced classes plays unseen."""
    taken = []
    monkeypatch.setattr(engine, "learn", lambda *given: taken.extend(given) or {}["enough"])
    parts = [rows_of([name], 200 if number == large else 6, 2) for number, name in enumerate(SEEN)]
    x, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    with pytest.raises(KeyError, match="enough"):
        ZeroShotClassifier("wgan", validate=True).fit(x, y, semantics=described())
    config, dataset = settling.settle(*taken[:2])
    draws = range(len(tasks.validation_classes(dataset, config.data)))
    rows = min(len(tasks.validation_rows(dataset, config.data, config.seed, draw)[0]) for draw in draws)
    assert config.gan.batch_size == 64 or rows / 4 < config.gan.batch_size <= rows / 2


def test_one_class_is_refused():
    x, y = rows_of(SEEN[:1], 20, 2)
    with pytest.raises(InputError, match="one class, 'ant'"):
        ZeroShotClassifier("wgan").fit(x, y, semantics=described())


@pytest.mark.parametrize("method", presets.METHODS)
def test_every_method_is_a_configuration_that_json_keeps(method):
    config = presets.start(method)
    presets.resize(config, 5, 16, 8, 10)
    presets.override(config, {"data.semantics_scaling": "l2"})
    checks.check_options(config)
    assert presets.restore(json.loads(json.dumps(config.to_dict()))).to_dict() == config.to_dict()


@pytest.mark.parametrize("class_norm", [False, True])
def test_prototypes_as_a_linear_classifier(class_norm):
    options = EvalOptions(
        syn_num=1, classifier_lr=0.1, spaces=("V",), prototype=prototype.Options(hidden=7, class_norm=class_norm)
    )
    net = tiny.random_like(
        prototype.Net(*(prototype.Layer(jnp.zeros(s), jnp.zeros(s[1])) for s in ((A, 7), (7, 7), (7, D))))
    )
    classes = tiny.random_like(jnp.zeros((4, A)))
    features = tiny.random_like(jnp.zeros((9, D)))
    head = engine.linear(net, np.asarray(classes), options)
    expected = prototype.scores(net, classes, features, options.prototype)
    np.testing.assert_allclose(engine.class_scores(head, np.asarray(features), unit=True), expected, atol=1e-4)


def test_a_softmax_as_a_linear_classifier():
    net = tiny.random_like(classifier.Linear(jnp.zeros((4, D)), jnp.zeros(4)))
    features = tiny.random_like(jnp.zeros((9, D)))
    options = EvalOptions(syn_num=1, classifier_lr=0.1, spaces=("V",))
    head = engine.linear(net, np.zeros((4, A)), options)
    expected = classifier.scores(net, features)
    np.testing.assert_allclose(engine.class_scores(head, np.asarray(features), unit=False), expected, atol=1e-5)

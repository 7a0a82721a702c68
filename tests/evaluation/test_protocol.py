"""Which of a run's scores each protocol reports."""

import pytest

from zsl_jax.errors import InputError
from zsl_jax.evaluation import protocol


def scores(t1, h, **more):
    """Series over classifier epochs; U, S and AUSUC are made to say where an H came from."""
    series = {"T1": t1, "H": h, "U": [v + 1 for v in h], "S": [v + 2 for v in h], "AUSUC": [v + 3 for v in h]}
    series |= {"gamma": [0.1 * v for v in h], "H_gamma": [v + 5 for v in h]}
    series |= {f"{name}_cal": [v + 10 for v in series[name]] for name in ("U", "S", "H")}
    return series | more


def evaluation(epoch, v, c=None):
    spaces = {"V": v} if c is None else {"V": v, "C": c}
    return {"epoch": epoch, "scores": {"spaces": spaces, "seen": {}}}


RUN = [
    evaluation(0, {"one_step": scores([1.0, 9.0], [3.0, 2.0]), "progressive": scores([5.0, 5.0], [1.0, 4.0])}),
    evaluation(5, {"one_step": scores([2.0, 3.0], [8.0, 1.0]), "progressive": scores([6.0, 4.0], [8.0, 7.0])}),
]


def test_oracle_takes_the_best_of_everything_and_names_the_place():
    row = protocol.oracle(RUN)["V"]
    assert {name: row[name] for name in ("T1", "U", "S", "H", "AUSUC")} == {
        "T1": 9.0,
        "U": 9.0,
        "S": 10.0,
        "H": 8.0,
        "AUSUC": 11.0,
    }
    assert row["found"] == {
        "T1": {"epoch": 0, "sampler": "one_step", "classifier_epoch": 1},
        "H": {"epoch": 5, "sampler": "one_step", "classifier_epoch": 0},
    }


def test_last_looks_at_nothing():
    row = protocol.last(RUN)["V"]
    assert (row["T1"], row["H"]) == (3.0, 1.0)
    assert row["found"]["H"] == {"epoch": 5, "sampler": "one_step", "classifier_epoch": 1}


def test_validated_scores_stand_where_validation_was_best():
    validation = [
        evaluation(0, {"one_step": scores([0.0, 0.0], [0.0, 9.0]), "progressive": scores([0.0, 1.0], [0.0, 0.0])}),
        evaluation(
            5, {"one_step": scores([0.0, 0.0], [0.0, 0.0], H_gamma=[0.0, 99.0]), "progressive": scores([0, 0], [0, 0])}
        ),
    ]
    choices = protocol.choose([validation])
    place = {"epoch": 0, "sampler": "one_step", "classifier_epoch": 1}
    assert choices["V"]["H"] == place | {"U": 10.0, "S": 11.0, "H": 9.0, "AUSUC": 12.0, "draws": [9.0]}
    assert protocol.chosen_gammas(choices) == {"V": 0.0}
    row = protocol.validated(RUN, choices)["V"]
    assert (row["T1"], row["H"], row["U"]) == (5.0, 2.0, 3.0)
    assert row["found"]["T1"] == {"epoch": 0, "sampler": "progressive", "classifier_epoch": 1}
    assert row["calibrated"]["found"] == {"epoch": 5, "sampler": "one_step", "classifier_epoch": 1}
    assert {name: row["calibrated"][name] for name in ("gamma", "U", "S", "H")} == {
        "gamma": 0.0,
        "U": 12.0,
        "S": 13.0,
        "H": 11.0,
    }


def test_validation_trusts_no_unfinished_classifier():
    early = scores([99.0, 1.0], [99.0, 1.0], H_gamma=[99.0, 1.0], AUSUC=[99.0, 1.0])
    for select in ("H", "AUSUC"):
        choices = protocol.choose([[evaluation(0, {"one_step": early})]], select)
        assert {choice["classifier_epoch"] for choice in choices["V"].values()} == {1}


def test_oracle_is_never_below_the_others():
    choices = protocol.choose([RUN[::-1]])
    for other in (protocol.last(RUN), protocol.validated(RUN, choices)):
        for name in ("T1", "H"):
            assert other["V"][name] <= protocol.oracle(RUN)["V"][name]


def test_a_place_that_was_not_evaluated_is_refused_in_one_line():
    choices = protocol.choose([RUN[1:]])
    with pytest.raises(InputError, match=r"space V.*epochs \[0\]") as error:
        protocol.validated(RUN[:1], choices)
    assert "\n" not in str(error.value)


def test_headline_space_is_chosen_by_validation():
    series = {name: {"one_step": scores([t1], [h])} for name, (t1, h) in {"V": (50.0, 7.0), "C": (9.0, 1.0)}.items()}
    test = [evaluation(3, series["V"], series["C"])]
    validation = [evaluation(3, series["C"], series["V"])]  # on validation, C is the better one
    choices = protocol.choose([validation])
    protocols = {
        "oracle": protocol.oracle(test),
        "last": protocol.last(test),
        "validated": protocol.validated(test, choices),
    }
    row = protocols["validated"]["C"]
    assert protocol.headline(protocols, choices) == {"protocol": "validated", "space": "C", **row}
    assert (row["T1"], row["H"]) == (9.0, 1.0)
    del protocols["validated"]
    without = protocol.headline(protocols, {})
    assert (without["protocol"], without["space"]) == ("last", "C")


def test_the_space_is_chosen_by_the_score_asked_for_not_by_t1():
    series = {"V": {"one_step": scores([50.0], [7.0], AUSUC=[1.0])}, "C": {"one_step": scores([9.0], [1.0])}}
    choices = protocol.choose([[evaluation(0, series["V"], series["C"])]], "AUSUC")
    assert protocol.best_space(choices) == "C"
    assert protocol.best_space(protocol.choose([[evaluation(0, series["V"], series["C"])]], "H")) == "V"


@pytest.mark.parametrize(("better", "taken"), [((9.0, 9.5, 10.0), "V"), ((30.0, -9.0, 8.0), "C")])
def test_a_space_before_the_last_must_be_clearly_better_over_the_draws(better, taken):
    """The mean lead is the same, about 9.6."""
    draws = []
    for lead in better:
        series = {name: {"one_step": scores([h], [h])} for name, h in {"V": 20.0 + lead, "C": 20.0}.items()}
        draws.append([evaluation(0, series["V"], series["C"])])
    assert protocol.best_space(protocol.choose(draws)) == taken
    assert protocol.best_space({}) is None


def draw(*h: float) -> list:
    """Evaluations of one draw of validation classes, after epochs 0, 1, ..."""
    return [evaluation(epoch, {"one_step": scores([value], [value])}) for epoch, value in enumerate(h)]


def test_draws_choose_by_their_mean():
    """The first draw alone would choose epoch 0, the mean says 1, clearly; gammas are means too."""
    choices = protocol.choose([draw(50.0, 45.0), draw(10.0, 40.0), draw(12.0, 42.0), draw(14.0, 44.0)])["V"]
    assert (choices["H"]["epoch"], choices["H"]["H"], choices["H"]["draws"]) == (1, 42.75, [45.0, 40.0, 42.0, 44.0])
    assert choices["calibrated"]["gamma"] == pytest.approx(4.275)


@pytest.mark.parametrize(
    ("draws", "epoch"),
    [
        ([(30.1, 30.0), (20.0, 20.2), (40.2, 40.0)], 1),  # a matter of rounding: the later one
        ([(30.0, 30.1), (20.2, 20.0), (40.0, 40.2)], 1),
        ([(30.0, 20.0), (20.0, 10.1), (40.0, 29.9)], 0),  # ten points in every draw
        ([*4 * [(50.0, 40.0)], (20.0, 20.5)], 0),  # in all but the last
        ([(30.1, 30.0)], 0),  # of one draw nothing is known but its scores
        ([(30.0, 30.0)], 1),
    ],
)
def test_rounding_chooses_no_epoch(draws, epoch):
    assert protocol.choose([draw(*one) for one in draws])["V"]["T1"]["epoch"] == epoch


def test_of_an_epochs_samplers_the_best_is_taken():
    both = {"one_step": scores([8.0], [8.0]), "progressive": scores([9.0], [7.9])}
    choices = protocol.choose([[evaluation(0, both)], [evaluation(0, both)]])["V"]
    assert (choices["T1"]["sampler"], choices["H"]["sampler"]) == ("progressive", "one_step")

"""What a result warns of."""

import copy
from typing import Any

import pytest

from zsl_jax.experiment import cautions

CHANCE = {"T1": 20.0, "U": 5.0, "S": 5.0, "H": 5.0, "AUSUC": 1.0}
GOOD = {"T1": 60.0, "U": 30.0, "S": 60.0, "H": 40.0, "AUSUC": 25.0}


def result() -> dict[str, Any]:
    """One that nothing is to be said about."""
    choices = {"V": {"T1": {"T1": 55.0}, "H": {"AUSUC": 20.0}}}
    return {
        "headline": dict(GOOD),
        "stages": {"drg": {}},
        "validation": {
            "draws": [{"unseen": [str(number) for number in range(12)], "rows": [900, 100, 300]}],
            "space": "V",
            "stages": {"dfg": choices},
        },
        "baselines": {"chance": CHANCE, "ESZSL x": GOOD | {"chosen": {"at_edge": False}}},
        "nearest": {"1-NN V": dict(GOOD)},
    }


def test_nothing_is_said_where_nothing_is_wrong():
    assert list(cautions.of(result(), "validated")) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("headline", "T1"), 7.0, "headline at or below chance: T1 7.0 (chance 20.0)"),
        (("headline", "T1"), 20.0, "headline at or below chance: T1 20.0 (chance 20.0)"),
        (("headline", "AUSUC"), 0.5, "headline at or below chance: AUSUC 0.5 (chance 1.0)"),
        (("headline", "H"), 0.0, "headline at or below chance: H 0.0 (chance 5.0)"),
        (("baselines", "ESZSL x", "T1"), 20.0, "ESZSL x at or below chance: T1 20.0"),
        (("nearest", "1-NN V", "T1"), 1.0, "1-NN V at or below chance: T1 1.0"),
        (("baselines", "ESZSL x", "chosen", "at_edge"), True, "ESZSL x: its best regulariser is the last one tried"),
        (("validation", "stages", "dfg", "V", "T1", "T1"), 8.0, "validation T1 8.0 at or below chance (8.3)"),
        (("validation", "draws", 0, "unseen"), ["a", "b"], "few data: 2 validation classes with 300 rows"),
        (("validation", "draws", 0, "rows"), [900, 100, 99], "few data: 12 validation classes with 99 rows"),
        (("validation",), {}, "no validation task"),
    ],
)
def test_each_doubt_is_one_line(path, value, said):
    made = copy.deepcopy(result())
    place = made
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    (line,) = cautions.of(made, "validated")
    assert said in line


def test_states_chosen_on_the_test_set_are_stamped():
    (line,) = cautions.of(result(), "oracle")
    assert "upstream=oracle" in line
    assert "test set" in line


def test_several_draws_are_counted():
    made = result()
    made["validation"]["draws"] = 3 * [{"unseen": ["a", "b"], "rows": [50, 10, 30]}]
    assert "3 draws of 2 validation classes with 30 rows" in " ".join(cautions.of(made, "validated"))

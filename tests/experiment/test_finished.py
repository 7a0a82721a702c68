"""What is made of scores that could not be made again; whole runs are read in `tests/experiment/test_evaluate.py`."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from tests.training import test_stage
from zsl_jax.data.dataset import Part
from zsl_jax.evaluation import protocol
from zsl_jax.experiment import rescoring
from zsl_jax.training import checkpoints


def evaluation(epoch: int, t1: float, h: float, ausuc: float) -> dict[str, Any]:
    scores = {"T1": [t1], "U": [h], "S": [h], "H": [h], "AUSUC": [ausuc], "gamma": [0.1], "H_gamma": [h]}
    scores |= {f"{name}_cal": [h] for name in ("U", "S", "H")}
    return {"epoch": epoch, "scores": {"spaces": {"V": {"one_step": scores}}, "seen": {"V": [1.0]}}, "score": h}


RECORDED = [evaluation(0, 9.0, 1.0, 2.0), evaluation(1, 3.0, 8.0, 4.0), evaluation(2, 5.0, 6.0, 7.0)]


@pytest.mark.parametrize(
    ("made", "same_data", "expected"),
    [
        ((1, 2), True, {"T1": None, "U": 8.0, "S": 8.0, "H": 8.0, "AUSUC": 7.0}),  # the best T1 was of epoch 0
        ((0, 2), True, {"T1": 9.0, "U": None, "S": None, "H": None, "AUSUC": 7.0}),
        ((0, 1), True, {"T1": 9.0, "U": 8.0, "S": 8.0, "H": 8.0, "AUSUC": None}),
        ((0, 1), False, {"T1": 9.0, "U": 8.0, "S": 8.0, "H": 8.0, "AUSUC": 4.0}),
        ((2,), False, {"T1": 5.0, "U": 6.0, "S": 6.0, "H": 6.0, "AUSUC": 7.0}),
    ],
)
def test_scores_that_were_not_made_again_are_left_open(made, same_data, expected):
    """On the run's data the record says where a best score was; on other data the best of what is there counts."""
    again = {epoch: RECORDED[epoch] for epoch in made}
    evaluations = rescoring.mixed(RECORDED, again, same_data)
    assert [one["epoch"] for one in evaluations] == [0, 1, 2]
    row = rescoring.own_scores({"oracle": protocol.oracle(evaluations)}, evaluations, made)["oracle"]["V"]
    assert {score: row[score] for score in expected} == expected


def test_a_chosen_place_that_was_not_kept_is_left_open():
    choices = protocol.choose([[evaluation(0, 1.0, 9.0, 9.0)]], "AUSUC")
    for same_data in (True, False):
        evaluations = rescoring.mixed(RECORDED, {2: RECORDED[2]}, same_data)
        row = rescoring.own_scores({"validated": protocol.validated(evaluations, choices)}, evaluations, [2])
        assert {score: row["validated"]["V"][score] for score in ("T1", *protocol.GENERALISED)} == dict.fromkeys(
            ("T1", *protocol.GENERALISED)
        )
        assert row["validated"]["V"]["calibrated"]["H"] is None
        assert math.isfinite(row["validated"]["V"]["calibrated"]["gamma"])


def test_what_was_made_again_takes_the_place_of_the_record():
    new = evaluation(1, 0.5, 0.5, 0.5)
    assert rescoring.mixed(RECORDED, {1: new}, same_data=True) == [RECORDED[0], new, RECORDED[2]]
    assert rescoring.mixed([], {1: new}, same_data=True) == [new]


def test_the_length_of_an_epoch_is_in_the_checkpoint(tmp_path, monkeypatch):
    """Of a stage that stopped early and is read without its rows, also where no record beside the state says it."""
    method = test_stage.method()

    def init(key, upstream, hyper, tables):
        return method.init(key, upstream, hyper, tables)._replace(hyper=hyper)

    stage = test_stage.make_stage(tmp_path, (3.0, 2.0, 1.0, 0.0), patience=1)
    hyper = {"steps_per_epoch": np.float32(test_stage.PER_EPOCH)}
    stage = dataclasses.replace(stage, method=dataclasses.replace(method, init=init), hyper=hyper)
    test_stage.run(stage)
    info = checkpoints.Checkpoints.info
    monkeypatch.setattr(checkpoints.Checkpoints, "info", lambda *given: {"seconds": info(*given)["seconds"]})
    bare = dataclasses.replace(stage, train=Part({}, np.zeros(0, np.int32)))
    left = rescoring.finished_stage(bare)
    assert left is not None
    assert left.stage.plan.steps_per_epoch == test_stage.PER_EPOCH
    assert [one["epoch"] for one in left.evaluations] == [0, 1]

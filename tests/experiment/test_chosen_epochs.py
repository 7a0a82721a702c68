"""The epochs that figures mark."""

from zsl_jax.evaluation import protocol
from zsl_jax.experiment import outcome


def evaluation(epoch, t1, h, ausuc):
    scores = {"T1": [t1], "U": [h], "S": [h], "H": [h], "AUSUC": [ausuc], "H_gamma": [h], "gamma": [0.0]}
    return {"epoch": epoch, "scores": {"spaces": {"V": {"one_step": scores}}}}


def test_each_score_has_the_epoch_where_it_was_found():
    found = [evaluation(0, 9.0, 1.0, 1.0), evaluation(1, 1.0, 9.0, 1.0), evaluation(2, 1.0, 1.0, 9.0)]
    found.append(evaluation(3, 1.0, 1.0, 1.0))
    rows = {"oracle": protocol.oracle(found), "last": protocol.last(found)}
    assert outcome.chosen_epochs(rows, "V", found) == {
        "T1": {"oracle": 0, "last": 3},
        "H": {"oracle": 1, "last": 3},
        "AUSUC": {"oracle": 2, "last": 3},
    }

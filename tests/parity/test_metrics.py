"""Accuracies and harmonic means as the five published programs compute them."""

import numpy as np
import pytest

from tests.parity import recorded
from zsl_jax.evaluation import metrics

ARRAYS, _ = recorded.load("metrics")
INPUT = recorded.under(ARRAYS, "in")
SEEN, UNSEEN = INPUT["seenclasses"], INPUT["unseenclasses"]


@pytest.mark.parametrize(
    "block", ["zerodiff/gzsl", "tfvaegan/gzsl", "scegg/gzsl", "scegg/helper", "ganzoo/gzsl", "rezsl"]
)
def test_generalised_accuracies(block):
    recorded_block = recorded.under(ARRAYS, block)
    s = metrics.mean_accuracy(INPUT["pred_seen"], INPUT["label_seen"], SEEN)
    u = metrics.mean_accuracy(INPUT["pred_unseen"], INPUT["label_unseen"], UNSEEN)
    recorded.assert_close(s, recorded_block["acc_seen"], what="S")
    if "acc_unseen" in recorded_block:
        recorded.assert_close(u, recorded_block["acc_unseen"], what="U")
    if "H" in recorded_block:
        recorded.assert_close(metrics.harmonic_mean(u, s), recorded_block["H"], what="H")


def test_per_class_accuracies():
    block = recorded.under(ARRAYS, "zerodiff")
    seen = metrics.per_class_accuracy(INPUT["pred_seen"], INPUT["label_seen"], SEEN)
    unseen = metrics.per_class_accuracy(INPUT["pred_unseen"], INPUT["label_unseen"], UNSEEN)
    zsl = metrics.per_class_accuracy(INPUT["pred_zsl"], INPUT["label_unseen"], UNSEEN)
    recorded.assert_close(seen, block["gzsl/acc_seen_list"])
    recorded.assert_close(unseen, block["gzsl/acc_unseen_list"])
    recorded.assert_close(zsl, block["zsl/acc_list"])


@pytest.mark.parametrize("program", ["zerodiff", "tfvaegan", "scegg", "ganzoo"])
def test_unseen_classes_among_themselves(program):
    t1 = metrics.mean_accuracy(INPUT["pred_zsl"], INPUT["label_unseen"], UNSEEN)
    recorded.assert_close(t1, ARRAYS[f"{program}/zsl/acc"])


@pytest.mark.parametrize(
    ("program", "empty", "predictions"),
    [("zerodiff", "nan", "pred_unseen"), ("ganzoo", "zero", "pred_unseen"), ("rezsl", "skip", "pred_unseen")],
)
def test_a_class_without_rows(program, empty, predictions):
    listed = recorded.under(ARRAYS, "zerodiff/empty_class")["acc_list"]
    kept = INPUT["label_unseen"] != UNSEEN[np.flatnonzero(np.isnan(listed))[0]]
    predicted, labels = INPUT[predictions][kept], INPUT["label_unseen"][kept]
    np.testing.assert_allclose(
        metrics.mean_accuracy(predicted, labels, UNSEEN, empty), ARRAYS[f"{program}/empty_class/acc"], rtol=1e-6
    )
    if program == "zerodiff":
        np.testing.assert_allclose(metrics.per_class_accuracy(predicted, labels, UNSEEN, empty), listed, rtol=1e-6)

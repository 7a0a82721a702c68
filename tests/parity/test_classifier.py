"""The recorded fits of the published softmax classifier: weights, losses and scores."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.parity import recorded
from zsl_jax.evaluation import classifier, metrics

ARRAYS, META = recorded.load("metrics")
OPTIONS = META["options"]["cls"]
FITS = recorded.under(ARRAYS, "cls")
RICHEST = max(
    sorted(name for name in OPTIONS["spaces"] if f"{name}/test_seen_feature" in FITS), key=OPTIONS["spaces"].get
)


def semantic_features(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The recorded V2S decoder in plain numpy: L2-normalised semantics and hidden layer."""
    net = recorded.under(FITS, "w")
    hidden = x @ net["netDec.fc1.weight"].T + net["netDec.fc1.bias"]
    hidden = np.maximum(hidden, np.float32(0.2) * hidden)
    semantics = hidden @ net["netDec.fc3.weight"].T + net["netDec.fc3.bias"]
    if META["options"]["v2s_class_embedding_norm"]:
        semantics = semantics / np.linalg.norm(semantics, axis=1, keepdims=True)
    return semantics, hidden


def space_features(x: np.ndarray, r: np.ndarray, space: str) -> np.ndarray:
    """Concatenates the parts that `space` ("V S C") names."""
    parts = {"V": [x], "S": semantic_features(x), "C": [r]}
    return np.concatenate([array for part in space.split() for array in parts[part]], 1)


def training_order(name: str, n: int) -> np.ndarray:
    """Row numbers of the minibatches: each recorded shuffle permutes the rows already shuffled."""
    rows, stream = np.arange(n), []
    for i in range(sum(key.startswith(f"{name}/perm") for key in FITS)):
        rows = rows[FITS[f"{name}/perm{i}"]]
        stream.append(rows)
    batch, epochs = OPTIONS["batch_size"], OPTIONS["epochs"]
    batches = -(-n // batch)
    return np.concatenate(stream)[: epochs * batches * batch].reshape(epochs, batches, batch).astype(np.int32)


def problem(name: str):
    """Training rows, test rows (features, labels) and the classes of one recorded fit."""
    seen, unseen = ARRAYS["in/seenclasses"], ARRAYS["in/unseenclasses"]
    fake = OPTIONS["fake_per_unseen_class"] * len(unseen)
    n = len(FITS["in/train_Y"])
    mode, space = name.split("_")[0], OPTIONS["spaces"][name]
    part = {"gzsl": slice(None), "zsl": slice(n - fake, n), "seen": slice(0, n - fake)}[mode]
    classes = {"gzsl": np.concatenate([seen, unseen]), "zsl": unseen, "seen": seen}[mode]
    train = space_features(FITS["in/train_X"], FITS["in/train_C"], space)[part], FITS["in/train_Y"][part]
    loaded = recorded.under(ARRAYS, "loader")
    tests = {
        split: (
            space_features(loaded[f"{split}_feature"], loaded[f"{split}_paco"], space),
            loaded[f"{split}_label"],
        )
        for split in ("test_seen", "test_unseen")
    }
    return train, tests, classes


def start(name: str, classes: np.ndarray) -> classifier.Linear:
    """Recorded starting weights; their rows stand in ascending order of class, ours in the order of `classes`."""
    weights = FITS[f"{name}/w0"][np.argsort(np.argsort(classes))]
    return classifier.Linear(jnp.asarray(weights), jnp.zeros(len(classes), jnp.float32))


def positions(labels: np.ndarray, classes: np.ndarray) -> jax.Array:
    """Columns of `labels` among `classes`."""
    order = np.argsort(classes)
    return jnp.asarray(order[np.searchsorted(classes, labels, sorter=order)], jnp.int32)


@functools.cache
def refit(name: str, chunk_rows: int = 4096) -> tuple[classifier.Fit, np.ndarray]:
    """Our fit with the recorded start and order, and the order of its classes.

    Its measures are the accuracies on the test parts that the kind of fit is scored on.
    """
    (features, labels), tests, classes = problem(name)
    table = jnp.asarray(features)
    used = {"gzsl": ["test_seen", "test_unseen"], "zsl": ["test_unseen"], "seen": ["test_seen"]}[name.split("_")[0]]

    def accuracy(linear, part):
        features, labels = tests[part]
        scores = classifier.scores(linear, jnp.asarray(features))
        weights = jnp.asarray(metrics.class_balance(labels))
        return metrics.weighted_accuracy(scores, positions(labels, classes), weights)

    def run(start, order, labels):
        adam, last = classifier.adam(jnp.float32(OPTIONS["lr"])), jnp.int32(OPTIONS["epochs"] - 1)
        measure = lambda linear: {part: accuracy(linear, part) for part in used}  # noqa: E731
        return classifier.fit(start, order, labels, lambda rows: table[rows], measure, adam, last, chunk_rows)

    order = jnp.asarray(training_order(name, len(labels)))
    return jax.jit(run)(start(name, classes), order, positions(labels, classes)), classes


def check_fit(name: str, chunk_rows: int) -> None:
    """Compares losses and final parameters."""
    result, classes = refit(name, chunk_rows)
    rank = np.argsort(classes)  # back to the recorded order of classes
    start_weights, weights, bias = (FITS[f"{name}/{key}"] for key in ("w0", "w_final", "b_final"))
    assert start_weights.shape[1] == FITS[f"{name}/input_dim"]
    recorded.assert_close(result.losses.reshape(-1), FITS[f"{name}/loss"], what="losses")
    ours, step = result.kept.weights[rank], weights - start_weights
    recorded.assert_close(ours, weights, recorded.STEP, scale=step, what="weights")
    recorded.assert_close(result.kept.bias[rank], bias, recorded.STEP, what="bias")


@pytest.mark.parametrize("name", sorted(OPTIONS["spaces"]))
def test_fit_reproduces_the_recorded_weights_and_losses(name):
    check_fit(name, chunk_rows=4096)


def test_a_gradient_summed_over_pieces_reproduces_them_too():
    check_fit(RICHEST, chunk_rows=OPTIONS["batch_size"] // 4)


def test_semantic_features_equal_the_recorded_ones():
    name = RICHEST
    features = problem(name)[1]["test_seen"][0]
    recorded.assert_close(features, FITS[f"{name}/test_seen_feature"], what="V | S | hidden | C")


@pytest.mark.parametrize("name", [name for name in sorted(OPTIONS["spaces"]) if name.startswith("gzsl")])
def test_gzsl_scores_of_every_epoch(name):
    measures = refit(name)[0].measures
    s, u = np.asarray(measures["test_seen"]), np.asarray(measures["test_unseen"])
    h = metrics.harmonic_mean(u, s)
    # The recording resets its running values to 0 before each epoch's score and keeps only changes.
    for ours, key in ((s, "acc_seen_per_change"), (u, "acc_unseen_per_change")):
        recorded.assert_close(ours[ours > 0], [value for value in FITS[f"{name}/{key}"] if value > 0], what=key)
    changes = h[np.flatnonzero(np.diff(h, prepend=-1.0))]
    scored = FITS[f"{name}/H_per_change"]
    recorded.assert_close(changes[changes > 0], scored[scored > 0], what="H")  # it is NaN there where both are 0
    best = FITS[f"{name}/best"]
    alike = np.flatnonzero(h >= h.max() * (1 - recorded.OUTPUT))  # rounding decides which of them is kept
    found = [np.array([s[epoch], u[epoch], h[epoch]]) for epoch in alike]
    recorded.assert_close(min(found, key=lambda scores: np.abs(scores - best).max()), best, what="best S, U, H")


@pytest.mark.parametrize("name", [name for name in sorted(OPTIONS["spaces"]) if not name.startswith("gzsl")])
def test_best_accuracy_of_zsl_and_seen(name):
    (accuracy,) = refit(name)[0].measures.values()
    recorded.assert_close([accuracy.max()], FITS[f"{name}/best"], what="best accuracy")

"""What figures and intervals need from one evaluation: per-class accuracies, confusion, the seen-unseen curve."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from zsl_jax.data.dataset import Task
from zsl_jax.evaluation import fits, metrics, scoring
from zsl_jax.train_steps.method import Method, Params


def unpadded(chunks, n: int) -> np.ndarray:
    """The first n rows of [chunks, size, C]."""
    return np.asarray(chunks).reshape(-1, chunks.shape[-1])[:n]


def fitted(
    data: scoring.Prepared,
    made: scoring.Synthesis,
    held: scoring.Held,
    space: str,
    key: jax.Array,
    options: scoring.EvalOptions,
    epoch: int,
    purpose: fits.Purpose,
) -> tuple[jax.Array, jax.Array]:
    """Class scores of both test parts [chunks, size, C] by the classifier that `evaluate` fits for a purpose."""
    (fit,) = scoring.run_fits(purpose, data, [made], [held], space, key, options, epoch=epoch)
    setup, inputs = scoring.fit_setup(purpose, data, made, held, options)
    numbers = scoring.fit_numbers(options, 0.0)
    seen, unseen = (fits.fitted_scores(setup, inputs, numbers, fit.kept, part) for part in held.scored)
    return seen, unseen


def confusion(predicted: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts [n_classes, n_classes] int64: true class by row, predicted class by column."""
    return np.bincount(labels * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


def curve(task: Task, seen: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gamma, U, S) of class scores, seen classes in the first columns, see `metrics.seen_unseen_curve`."""
    n_seen = len(task.seen)
    true_seen = scoring.positions(task.test_seen.labels, task.seen)
    true_unseen = scoring.positions(task.test_unseen.labels, task.unseen) + n_seen
    weights = [metrics.class_balance(labels) for labels in (true_seen, true_unseen)]
    gains = metrics.gains(
        jnp.asarray(np.concatenate([seen, unseen])),
        jnp.asarray(np.concatenate([true_seen, true_unseen]).astype(np.int32)),
        jnp.asarray(np.concatenate(weights)),
        n_seen,
    )
    return metrics.seen_unseen_curve(gains)


def accounts(task: Task, seen: np.ndarray, unseen: np.ndarray, zsl: np.ndarray) -> dict[str, np.ndarray]:
    """What `detail` returns, of class scores.

    Args:
      task: with the labels of the rows.
      seen, unseen: scores of test_seen and test_unseen [n, C] over all classes, seen ones first.
      zsl: scores of test_unseen [n, n_unseen] over the unseen classes.
    """
    all_classes = np.concatenate([task.seen, task.unseen])
    zsl_predicted = zsl.argmax(1)
    gamma, u, s = curve(task, seen, unseen)
    return {
        "seen_accuracy": metrics.per_class_accuracy(
            all_classes[seen.argmax(1)], task.test_seen.labels, task.seen, "nan"
        ),
        "unseen_accuracy": metrics.per_class_accuracy(
            all_classes[unseen.argmax(1)], task.test_unseen.labels, task.unseen, "nan"
        ),
        "zsl_accuracy": metrics.per_class_accuracy(
            task.unseen[zsl_predicted], task.test_unseen.labels, task.unseen, "nan"
        ),
        "confusion": confusion(
            zsl_predicted, scoring.positions(task.test_unseen.labels, task.unseen), len(task.unseen)
        ),
        "gamma": gamma,
        "U": u,
        "S": s,
        "AUSUC": np.asarray(metrics.area(u, s)),
    }


def detail(
    method: Method,
    params: dict[str, Params],
    task: Task,
    key: jax.Array,
    options: scoring.EvalOptions,
    space: str,
    sampler: str,
    epoch: int,
) -> dict[str, np.ndarray]:
    """Fits the classifiers of `evaluate` once more and reports one classifier epoch in full.

    Args:
      method, params, task, key, options: as given to `evaluate`: the same keys give the same classifiers.
      space, sampler, epoch: which space, sampler and classifier epoch.

    Returns:
      seen_accuracy [n_seen] and unseen_accuracy [n_unseen]: per class, among all classes; zsl_accuracy [n_unseen]:
      among the unseen classes (all shares; NaN for a class without test rows); confusion [n_unseen, n_unseen]: counts
      among the unseen classes, true class by row; gamma, U, S [k]: the seen-unseen curve; AUSUC: its area.
    """
    if method.synthesize is None:
        seen, unseen = scoring.direct_scores(method, params, task, scoring.tables_of(task), options.chunk_rows)
        return accounts(task, seen, unseen, unseen[:, len(task.seen) :])
    data = scoring.prepare(task, method.views, options.chunk_rows)
    made = scoring.unseen_rows(method, params, data, key, options, sampler)
    held = scoring.hold(method, data, made, options, space)
    fit = partial(fitted, data, made, held, space, key, options, epoch)
    (seen, unseen), (_, zsl) = fit("gzsl"), fit("zsl")
    n_seen, n_unseen = len(task.test_seen), len(task.test_unseen)
    return accounts(task, unpadded(seen, n_seen), unpadded(unseen, n_unseen), unpadded(zsl, n_unseen))

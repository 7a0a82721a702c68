"""What figures and intervals need from one evaluation: per-class accuracies, confusion, the seen-unseen curve."""

import jax
import numpy as np

from zsl_jax.data.dataset import Task
from zsl_jax.evaluation import fits, metrics, scoring
from zsl_jax.evaluation.scoring import Scorer
from zsl_jax.train_steps.method import Params


def accounts(task: Task, seen: np.ndarray, unseen: np.ndarray, zsl: np.ndarray) -> dict[str, np.ndarray]:
    """What `detail` returns, of class scores; a row whose scores are not finite is of no class.

    Args:
      task: with the labels of the rows.
      seen, unseen: scores of test_seen and test_unseen [n, C] over all classes, seen ones first.
      zsl: scores of test_unseen [n, n_unseen] over the unseen classes.
    """
    n_seen, n = len(task.seen), len(task.unseen)
    of_seen, of_unseen = np.arange(n_seen), np.arange(n)
    true_seen = scoring.positions(task.test_seen.labels, task.seen)
    true = scoring.positions(task.test_unseen.labels, task.unseen)
    among_unseen = metrics.predict(zsl)
    gamma, u, s = metrics.seen_unseen_curve(scoring.gains_of(task, seen, unseen))
    pairs = (true * n + among_unseen)[among_unseen >= 0]
    return {
        "seen_accuracy": metrics.per_class_accuracy(metrics.predict(seen), true_seen, of_seen, "nan"),
        "unseen_accuracy": metrics.per_class_accuracy(metrics.predict(unseen) - n_seen, true, of_unseen, "nan"),
        "zsl_accuracy": metrics.per_class_accuracy(among_unseen, true, of_unseen, "nan"),
        "confusion": np.bincount(pairs, minlength=n**2).reshape(n, n),
        "gamma": gamma,
        "U": u,
        "S": s,
        "AUSUC": np.asarray(metrics.area(u, s)),
    }


def fitted_scores(
    scorer: Scorer, params: dict[str, Params], key: jax.Array, space: str, sampler: str, epoch: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `accounts` takes, by the classifiers of `Scorer.evaluate` after one of their epochs."""
    given = scorer.in_space(scorer.synthesise(params, key, sampler), space)

    def of(purpose: fits.Purpose) -> list[np.ndarray]:
        (fit,) = scorer.fit(purpose, [given], key, epoch=epoch)
        setup, inputs = scorer.fit_inputs(purpose, given)
        chunks = (
            fits.fitted_scores(setup, inputs, scorer.options.numbers(), fit.kept, part) for part in given.scored or ()
        )
        return [np.asarray(one).reshape(-1, one.shape[-1]) for one in chunks]

    (seen, unseen), (_, zsl) = of("gzsl"), of("zsl")
    n_seen, n_unseen = len(scorer.task.test_seen), len(scorer.task.test_unseen)
    return seen[:n_seen], unseen[:n_unseen], zsl[:n_unseen]


def detail(
    scorer: Scorer, params: dict[str, Params], key: jax.Array, space: str, sampler: str, epoch: int
) -> dict[str, np.ndarray]:
    """Fits the classifiers of `Scorer.evaluate` once more and reports one classifier epoch in full.

    Args:
      scorer, params, key: the same key gives the same classifiers.
      space, sampler, epoch: which space, sampler and classifier epoch.

    Returns:
      seen_accuracy [n_seen] and unseen_accuracy [n_unseen]: per class, among all classes; zsl_accuracy [n_unseen]:
      among the unseen classes (all shares; NaN for a class without test rows); confusion [n_unseen, n_unseen]: counts
      among the unseen classes, true class by row; gamma, U, S [k]: the seen-unseen curve; AUSUC: its area.
    """
    if scorer.method.synthesize is None:
        seen, unseen = scorer.class_scores(params)
        return accounts(scorer.task, seen, unseen, unseen[:, len(scorer.task.seen) :])
    return accounts(scorer.task, *fitted_scores(scorer, params, key, space, sampler, epoch))

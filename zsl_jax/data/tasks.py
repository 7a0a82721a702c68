"""The two problems a data set poses: the test task of the official split, and a validation task without test rows."""

from typing import TypeGuard

import numpy as np

from zsl_jax.data.dataset import Dataset, Part, Task
from zsl_jax.data.rows import View, Views
from zsl_jax.data.scaling import apply_scaler, fit_scaler
from zsl_jax.data.sources import xlsa17
from zsl_jax.errors import InputError

DRAWS = 3  # of validation classes, where these are few
DRAWS_SEED = 1  # other than that of a derived split, which is the first draw
ENOUGH_CLASSES = 10  # validation classes from which on one draw is taken
ALIKE = 0.02  # share of its rows that a draw gives up to be as large as another
PERCENT_SEED = 0  # drawn shares of trainval belong to the data set, as the published files do


def test_task(dataset: Dataset, options) -> Task:
    """Builds the official problem: train on trainval (or a share of it), score test_seen and test_unseen.

    The scaler is fitted on all of trainval also where only a share is trained on, as published.

    Args:
      dataset: the data set.
      options: the config's data section (`percent`, `scaling`, and where the share is read from).

    Returns:
      The task, features scaled.

    Raises:
      InputError: the share or the scaling can't be had.
    """
    own = dataset.splits
    parts = (training_rows(dataset, options), own.test_seen, own.test_unseen)
    return _task(f"{dataset.name} test", dataset, options, own.trainval, parts, (dataset.seen, dataset.unseen))


test_task.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]  (no test, whatever its name says to pytest)


def validation_task(dataset: Dataset, options, seed: int, draw: int = 0) -> Task:
    """Builds a problem of training rows only: some of their classes play "unseen", see `validation_classes`.

    A share `validation_fraction` of each other class's training rows, drawn afresh for each seed, plays test_seen; the
    rest trains, and alone fits the scaler. No test row takes part.

    Args:
      dataset: the data set.
      options: the config's data section.
      seed: of the held-out rows.
      draw: number of the draw of classes.

    Returns:
      The task, features scaled.

    Raises:
      InputError: there are no validation classes, or a part would be empty.
    """
    parts = validation_rows(dataset, options, seed, draw)
    classes = (np.unique(dataset.labels[parts[0]]), np.unique(dataset.labels[parts[2]]))
    name = f"{dataset.name} validation" + (f" {draw + 1}" if draw else "")
    return _task(name, dataset, options, parts[0], parts, classes)


def validation_rows(dataset: Dataset, options, seed: int, draw: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the rows [n] of a validation task that are trained on, that play test_seen, that play test_unseen.

    Draws that differ by a few training rows alone get the same number, so that they share their compiled code.

    Args and errors are those of `validation_task`.
    """
    rows = training_rows(dataset, options)
    labels = dataset.labels[rows]
    held_out = _held_out(labels, options.validation_fraction, seed)
    draws = validation_classes(dataset, options)
    trained = [np.flatnonzero(np.isin(labels, seen) & ~held_out) for seen, _ in draws]
    own, fewest = trained[draw], min(map(len, trained))
    if len(own) - fewest < ALIKE * len(own):  # the largest class does without a row or two
        most = np.flatnonzero(labels[own] == np.bincount(labels[own]).argmax()) if len(own) else own
        own = np.delete(own, most[: len(own) - fewest])
    seen, unseen = (np.isin(labels, classes) for classes in draws[draw])
    seen[own] = False
    parts = (rows[own], rows[seen], rows[unseen])
    if not all(part.size for part in parts):
        sizes = "/".join(str(part.size) for part in parts)
        raise InputError(f"{dataset.name}: no validation possible, its train/seen/unseen parts have {sizes} rows")
    return parts


def validation_classes(dataset: Dataset, options) -> list[tuple[np.ndarray, ...]]:
    """Which training classes play "seen" and which "unseen", for each draw of the validation task.

    The first draw is the split's: its classes, whatever rows of them the split lists. The others are as large and drawn
    by the seed of the data set, of classes that have not played "unseen" before while there are enough of them.

    Args:
      dataset: the data set.
      options: the config's data section; `validation_draws` 0 means `DRAWS`, or as many as need no class twice, where
        fewer than `ENOUGH_CLASSES` play "unseen", else one.

    Raises:
      InputError: the number of draws is negative.
    """
    own = tuple(np.unique(dataset.labels[part]) for part in (dataset.splits.train, dataset.splits.val))
    count, every = len(own[1]), np.union1d(*own)
    wanted = options.validation_draws
    if wanted < 0:
        raise InputError(f"config.data.validation_draws: {wanted}; 0 or more is needed")
    if not wanted:
        wanted = min(DRAWS, len(every) // max(count, 1)) if count < ENOUGH_CLASSES else 1
    rng, used, drawn = np.random.default_rng(DRAWS_SEED), own[1], [own]
    for _ in range(max(wanted, 1) - 1):
        fresh = np.setdiff1d(every, used)
        used, fresh = (used, fresh) if len(fresh) >= count else (used[:0], every)
        unseen = np.sort(rng.permutation(fresh)[:count])
        used = np.union1d(used, unseen)
        drawn.append((np.setdiff1d(every, unseen), unseen))
    return drawn


def training_rows(dataset: Dataset, options) -> np.ndarray:
    """Returns the rows of trainval that `options.percent` leaves for training [n] int64.

    Files of the field's layout come with published shares; of other data a share of each class is drawn.

    Raises:
      InputError: the percentage or its file is unusable.
    """
    percent, trainval = options.percent, dataset.splits.trainval
    if not 0 < percent <= 100:
        raise InputError(f"config.data.percent: {percent}; 1 to 100 is needed")
    if options.source == "xlsa17":
        positions = xlsa17.percent_rows(options, trainval.size)
        return trainval if positions is None else trainval[positions]
    if percent == 100:
        return trainval
    return trainval[draw_share(dataset.labels[trainval], percent / 100, PERCENT_SEED, spare=0)]


def draw_share(labels: np.ndarray, fraction: float, seed: int, spare: int) -> np.ndarray:
    """Marks a random share of each class's rows.

    Args:
      labels: class of each row [n].
      fraction: share of each class, rounded, at least one row.
      seed: of the draw.
      spare: rows of each class that are never drawn.

    Returns:
      Which rows are drawn [n] bool.
    """
    rng = np.random.default_rng(seed)
    drawn = np.zeros(labels.size, bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * rows.size)), rows.size - spare)
        drawn[rng.permutation(rows)[:count]] = True
    return drawn


def _held_out(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    if not 0 < fraction < 1:
        raise InputError(f"config.data.validation_fraction: {fraction}; a number between 0 and 1 is needed")
    return draw_share(labels, fraction, seed, spare=1)


def scaled(views: Views, fit_rows: np.ndarray, kind: str, divide: bool = True) -> Views:
    """Views with those scaled that are vectors in memory; others are taken as they are.

    Args:
      views: by name [N, ...].
      fit_rows: rows that the scalers are fitted on.
      kind, divide: as for `fit_scaler`.
    """
    return {
        name: apply_scaler(fit_scaler(kind, view[fit_rows], divide), view) if is_vectors(view) else view
        for name, view in views.items()
    }


def is_vectors(view: View) -> TypeGuard[np.ndarray]:
    """Whether a view's rows are vectors in memory, which are scaled."""
    return isinstance(view, np.ndarray) and view.ndim == 2


def _task(
    name: str,
    dataset: Dataset,
    options,
    fit_rows: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray, np.ndarray],
    classes: tuple[np.ndarray, np.ndarray],
) -> Task:
    """Joins the rows of parts (train, test_seen, test_unseen) and classes (seen, unseen) to a task."""
    whole = Part(scaled(dataset.views, fit_rows, options.scaling), dataset.labels)
    train, test_seen, test_unseen = map(whole.take, parts)
    seen, unseen = classes
    return Task(
        name=name,
        train=train,
        test_seen=test_seen,
        test_unseen=test_unseen,
        semantics=dataset.semantics,
        seen=seen,
        unseen=unseen,
        class_names=dataset.class_names,
        train_rows=parts[0],
        fit_rows=fit_rows,
        attribute_vectors=dataset.attribute_vectors,
    )

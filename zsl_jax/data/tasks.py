"""The two problems a data set poses: the test task of the official split, and a validation task without test rows."""

from typing import TypeGuard

import numpy as np

from zsl_jax.data.dataset import Dataset, Part, Task
from zsl_jax.data.rows import View, Views
from zsl_jax.data.scaling import apply_scaler, fit_scaler
from zsl_jax.data.sources import xlsa17
from zsl_jax.errors import InputError

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
    splits = dataset.splits
    parts = (training_rows(dataset, options), splits.test_seen, splits.test_unseen)
    return _task(f"{dataset.name} test", dataset, options, splits.trainval, parts, (dataset.seen, dataset.unseen))


test_task.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]  (no test, whatever its name says to pytest)


def validation_task(dataset: Dataset, options, seed: int) -> Task:
    """Builds a problem of training rows only: the classes of `splits.val` play "unseen".

    A share `validation_fraction` of each other class's training rows, drawn afresh for each seed, plays test_seen; the
    rest trains, and alone fits the scaler. No test row takes part.

    Args:
      dataset: the data set.
      options: the config's data section.
      seed: of the held-out rows.

    Returns:
      The task, features scaled.

    Raises:
      InputError: there are no validation classes, or a part would be empty.
    """
    parts = validation_rows(dataset, options, seed)
    classes = (np.unique(dataset.labels[dataset.splits.train]), np.unique(dataset.labels[dataset.splits.val]))
    return _task(f"{dataset.name} validation", dataset, options, parts[0], parts, classes)


def validation_rows(dataset: Dataset, options, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the rows [n] of a validation task that are trained on, that play test_seen, that play test_unseen.

    Args and errors are those of `validation_task`.
    """
    rows = training_rows(dataset, options)
    labels = dataset.labels[rows]
    held_out = _held_out(labels, options.validation_fraction, seed)
    seen, unseen = (np.isin(labels, dataset.labels[part]) for part in (dataset.splits.train, dataset.splits.val))
    parts = (rows[seen & ~held_out], rows[seen & held_out], rows[unseen])
    if not all(part.size for part in parts):
        sizes = "/".join(str(part.size) for part in parts)
        raise InputError(f"{dataset.name}: no validation possible, its train/seen/unseen parts have {sizes} rows")
    return parts


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

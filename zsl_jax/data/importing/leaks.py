"""Labels among the features: a model that sees them scores perfectly and has learnt nothing."""

import numpy as np

from zsl_jax.errors import InputError

LOOKED_AT = 100  # rows, from the whole set, that tell most columns from labels
FEWEST_COUNTED = 20  # rows that a column may number by chance
FEWEST_CLASSES = 3  # of two, a yes or no may well be one


def require_none(x: np.ndarray, labels: np.ndarray, where: str) -> None:
    """Refuses features that hold the labels.

    Args:
      x: features [N, D].
      labels: classes of the rows [N], whole numbers from 0 on.
      where: file and field of the features, for messages.

    Raises:
      InputError: a column gives each class one number, and each another, several columns mark one class each, or one
        counts the rows.
    """
    steps = np.diff(x[: max(2, FEWEST_COUNTED)], axis=0) == 1
    for column in np.flatnonzero(steps.all(axis=0)) if len(x) >= FEWEST_COUNTED else ():
        if np.all(np.diff(x[:, column]) == 1):
            raise InputError(f"{where}: column {column + 1} counts the rows; take it out")
    _, first, rows, counts = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    if counts.size < FEWEST_CLASSES or 2 * np.sum(counts > 1) <= counts.size:
        return  # of classes of one row, every feature is constant in each
    columns = _constant(x, x[first], rows)
    of_class = x[np.ix_(first, columns)]
    numbers = [np.unique(values, return_counts=True)[1] for values in of_class.T]
    for column, sizes in zip(columns, numbers, strict=True):
        if sizes.size == counts.size:
            raise InputError(
                f"{where}: column {column + 1} has one number for each class and another for each other; "
                "these look like labels, so take the column out"
            )
    marks = [column + 1 for column, sizes in zip(columns, numbers, strict=True) if sizes.size == 2 and 1 in sizes]
    if len(marks) >= FEWEST_CLASSES:
        raise InputError(
            f"{where}: columns {marks[0]}, {marks[1]}, ... ({len(marks)}) each mark the rows of one class; "
            "these look like labels, so take the columns out"
        )


def _constant(x: np.ndarray, of_class: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The columns whose rows [N, D] are as the first of their class [C, D]; `rows` [N] numbers the classes."""
    step = max(1, len(x) // LOOKED_AT)
    some = np.flatnonzero((x[::step] == of_class[rows[::step]]).all(axis=0))
    return np.array([at for at in some if np.array_equal(x[:, at], of_class[rows, at])], dtype=np.int64)

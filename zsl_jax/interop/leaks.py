"""Labels among the features: a model that sees them scores perfectly and has learnt nothing."""

import numpy as np

from zsl_jax.errors import InputError

LOOKED_AT = 100  # rows, from the whole set, that tell most columns from labels
FEWEST_CLASSES = 3  # of two, a yes or no may well be one


def require_none(x: np.ndarray, labels: np.ndarray, where: str) -> None:
    """Refuses features that hold the labels.

    Args:
      x: features [N, D].
      labels: classes of the rows [N], whole numbers from 0 on.
      where: file and field of the features, for messages.

    Raises:
      InputError: a column of whole numbers gives each class one number, and each another.
    """
    classes, first = np.unique(labels, return_index=True)
    if not FEWEST_CLASSES <= classes.size < labels.size:
        return
    some = x[:: max(1, len(x) // LOOKED_AT)]
    for column in np.flatnonzero((some == np.rint(some)).all(axis=0) & (np.ptp(some, axis=0) > 0)):
        values = x[:, column]
        of_class = np.zeros(classes[-1] + 1, values.dtype)
        of_class[classes] = values[first]
        if np.unique(of_class[classes]).size == classes.size and np.array_equal(values, of_class[labels]):
            raise InputError(
                f"{where}: column {column + 1} has one whole number for each class and another for each other; "
                "these look like labels, so take the column out"
            )

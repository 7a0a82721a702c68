import numpy as np
import pytest

from zsl_jax.data.importing import leaks
from zsl_jax.errors import InputError

LABELS = np.repeat(np.arange(4), 300)  # the first hundred rows are of one class
NOISE = np.random.default_rng(0).normal(size=LABELS.size)


@pytest.mark.parametrize("numbers", [[0, 1, 2, 3], [40, 10, 30, 20], [0, 1 / 7, 2 / 7, 3 / 7]])
def test_a_column_that_tells_the_class_is_refused(numbers):
    with pytest.raises(InputError, match=r"a.csv: column 2 has one number for each class"):
        leaks.require_none(np.c_[NOISE, np.array(numbers)[LABELS]], LABELS, "a.csv")


@pytest.mark.parametrize("numbers", [[0, 1, 2, 2], [0.5, 1, 1, 3], [7, 7, 7, 7]])
def test_other_columns_are_features(numbers):
    once = np.where(np.arange(LABELS.size) == 5, 9, LABELS)
    leaks.require_none(np.c_[NOISE, np.array(numbers)[LABELS], once], LABELS, "a.csv")
    leaks.require_none(np.c_[NOISE, LABELS // 2], LABELS // 2, "a.csv")


def test_columns_that_mark_a_class_each_are_refused():
    marks = np.eye(4)[LABELS]
    with pytest.raises(InputError, match=r"a.csv: columns 2, 3, ... \(4\) each mark the rows of one class"):
        leaks.require_none(np.c_[NOISE, marks], LABELS, "a.csv")
    leaks.require_none(np.c_[NOISE, marks[:, :2]], LABELS, "a.csv")


def test_classes_of_one_row_tell_nothing():
    leaks.require_none(NOISE[:5, None], np.array([0, 1, 2, 3, 3]), "a.csv")

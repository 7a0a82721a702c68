import numpy as np
import pytest

from zsl_jax.errors import InputError
from zsl_jax.interop import leaks

LABELS = np.repeat(np.arange(4), 300)  # the first hundred rows are of one class
NOISE = np.random.default_rng(0).normal(size=LABELS.size)


@pytest.mark.parametrize("numbers", [[0, 1, 2, 3], [40, 10, 30, 20]])
def test_a_column_that_tells_the_class_is_refused(numbers):
    with pytest.raises(InputError, match=r"a.csv: column 2 has one whole number for each class"):
        leaks.require_none(np.c_[NOISE, np.array(numbers)[LABELS]], LABELS, "a.csv")


@pytest.mark.parametrize("numbers", [[0, 1, 2, 2], [0.5, 1, 2, 3], [7, 7, 7, 7]])
def test_other_columns_are_features(numbers):
    once = np.where(np.arange(LABELS.size) == 5, 9, LABELS)
    leaks.require_none(np.c_[NOISE, np.array(numbers)[LABELS], once], LABELS, "a.csv")
    leaks.require_none(np.c_[NOISE, LABELS // 2], LABELS // 2, "a.csv")

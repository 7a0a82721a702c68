import numpy as np
import pytest

from zsl_jax.data.columns import in_words, joined
from zsl_jax.errors import InputError

VALUES = np.arange(6.0).reshape(2, 3)


def test_columns_are_joined_by_name():
    turned = joined(VALUES[:, ::-1], ("c", "b", "a"), ("a", "b", "c"), "x.csv")
    np.testing.assert_array_equal(turned, VALUES)
    assert in_words(("c", "b", "a"), ("a", "b", "c")) == "columns joined by name"


@pytest.mark.parametrize(("columns", "wanted"), [((), ("c", "b", "a")), (("c", "b", "a"), ()), ((), ())])
def test_columns_without_names_stay_in_their_places(columns, wanted):
    np.testing.assert_array_equal(joined(VALUES, columns, wanted, "x.csv"), VALUES)
    assert in_words(columns, wanted) == ("columns taken by position" if columns or wanted else "")


def test_the_same_names_are_the_same_columns_even_where_one_recurs():
    np.testing.assert_array_equal(joined(VALUES, ("a", "a", "b"), ["a", "a", "b"], "x.csv"), VALUES)
    assert in_words(("a", "a", "b"), ["a", "a", "b"]) == ""


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("a", "b", "z"), "x.csv: column 'z' is none of those needed; column 'c' is needed and missing; "),
        (("a", "b"), "x.csv: column 'c' is needed and missing; "),
        (("c", "b", "a", "z"), "x.csv: column 'z' is none of those needed; "),
        (("c", "b", "a", "a"), "x.csv: a column is named twice; "),
        (("A", "b", "c"), "x.csv: column 'A' is none of those needed; "),
    ],
)
def test_other_names_are_refused(columns, said):
    with pytest.raises(InputError, match=f"^{said}"):
        joined(np.ones((2, len(columns))), columns, ("a", "b", "c"), "x.csv")

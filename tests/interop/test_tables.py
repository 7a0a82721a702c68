import numpy as np
import pytest

from zsl_jax.errors import InputError
from zsl_jax.interop import lists, tables


def parts(path, text):
    path.write_text(text)
    return {part.name: part for part in tables.parts(tables.read(path))}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("class,1,2\ncat,3,4\n", ("class", "1", "2")),
        ("kind,legs,wings\ncat,4,0\ndog,4,0\n", ("kind", "legs", "wings")),
        ("cat,4,0\ndog,4,0\n", ("column 1", "column 2", "column 3")),
        ("\ufeffcat\t4\ndog\t4\n", ("column 1", "column 2")),
        ("1,2\n3,4\n", ("column 1", "column 2")),
    ],
)
def test_header(tmp_path, text, columns):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert tables.read(tmp_path / "a.csv").columns == columns


def test_lines_are_rows_or_classes(tmp_path):
    path = tmp_path / "a.csv"
    assert set(parts(path, "class,f\ncat,1\ndog,2\n")) == {"semantics"}
    assert set(parts(path, "class,f\ncat,1\ncat,2\n")) == {"features", "labels"}
    assert set(parts(path, "class,file,f\ncat,a,1\ndog,b,2\n")) == {"features", "labels", "image_files"}
    assert set(parts(path, "file,label\na,cat\nb,dog\n")) == {"labels", "image_files"}
    assert parts(path, "kind,legs\ncat,4\ndog,4\n")[""].names == ("cat", "dog")


def test_values_and_names(tmp_path):
    found = parts(tmp_path / "a.csv", 'path,class,f,g\n"a, b.jpg", cat ,1e-3,2\n\nc.jpg,cat,-3,4\n')
    np.testing.assert_array_equal(found["features"].value, [[1e-3, 2], [-3, 4]])
    assert found["labels"].value == ("cat", "cat")
    assert found["features"].names == ("a, b.jpg", "c.jpg")


def test_first_column_that_counts_lines(tmp_path):
    found = parts(tmp_path / "a.csv", ",class,f\n0,cat,5\n1,cat,6\n")
    np.testing.assert_array_equal(found["features"].value, [[5], [6]])
    assert "counts the lines" in found["features"].note
    found = parts(tmp_path / "a.csv", ",class,f\n0,cat,5\n2,cat,6\n")
    np.testing.assert_array_equal(found["features"].value, [[0, 5], [2, 6]])


def test_names_first(tmp_path):
    (tmp_path / "a.csv").write_text("number,species,y\n3,1,2\n4,0,1\n")
    part = tables.descriptions(tables.read(tmp_path / "a.csv", names_first=True))
    assert part.names == ("3", "4")
    np.testing.assert_array_equal(part.value, [[1, 2], [0, 1]])
    (tmp_path / "a.csv").write_text("number,species,y\n3,1,2\n4,brown,1\n")
    with pytest.raises(InputError, match="line 3, column 'species': 'brown'; a number"):
        tables.read(tmp_path / "a.csv", names_first=True)


@pytest.mark.parametrize(
    ("text", "expected", "counted"),
    [
        (" 1 2.5\n\n 3 4\n", [[1, 2.5], [3, 4]], False),
        ("1 7\n2 8\n3 9\n", [7, 8, 9], True),
        ("5\n6\n", [5, 6], False),
        ("     1\tantelope\n     2\tgrizzly bear\n", ("antelope", "grizzly bear"), True),
        ("antelope\ngrizzly bear\n", ("antelope", "grizzly bear"), False),
        ("7\ngrizzly\n", ("7", "grizzly"), False),
    ],
)
def test_lists(tmp_path, text, expected, counted):
    (tmp_path / "a.txt").write_text(text)
    value, note = lists.read(tmp_path / "a.txt")
    assert bool(note) == counted
    assert isinstance(value, tuple) == isinstance(expected, tuple)
    np.testing.assert_array_equal(value, expected)


def test_word_in_a_matrix(tmp_path):
    (tmp_path / "a.txt").write_text("1 2\n3 x\n")
    with pytest.raises(InputError, match="line 2"):
        lists.read(tmp_path / "a.txt")

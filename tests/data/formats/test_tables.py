import numpy as np
import pytest

from zsl_jax.data.formats import tables, texts
from zsl_jax.data.importing import names
from zsl_jax.errors import InputError


def read(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return tables.read(path, names.text_columns)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("class,1,2\ncat,3,4\n", ("1", "2")),
        ("kind,legs,wings\ncat,4,0\ndog,4,0\n", ("legs", "wings")),
        ("cat,4,0\ndog,4,0\n", ("column 2", "column 3")),
        ("cat\t4\ndog\t4\n", ("column 2",)),
        ("1.5,2\n3,4\n", ("column 1", "column 2")),
        ("1\n0\n", ("column 1",)),
        ("0,1,2,3,4\n5,6,7,8,9\n", ("0", "1", "2", "3", "4")),
        (",legs\nant,6\nbat,2\n", ("legs",)),
    ],
)
def test_header(tmp_path, text, columns):
    table = read(tmp_path / "a.csv", text)
    assert table.columns == columns
    assert table.has_header == (not columns[0].startswith("column "))


@pytest.mark.parametrize("text", ["0\n3\n", "0,1\n3,4\n", "ant,1,2\ncat,3,4\n"])
def test_a_first_line_that_counts_may_be_data(tmp_path, text):
    with pytest.raises(InputError, match=r"line 1 .* could name the columns or be data; if it names them, write words"):
        read(tmp_path / "a.csv", text)


DIALECTS = {
    "semicolons": "path;class;f\na;cat;0.5\nb;cat;1.5\n",
    "a comma in the header": "path;class;length, f\na;cat;0.5\nb;cat;1.5\n",
    "tabs": "path\tclass\tlength, f\na\tcat\t0.5\nb\tcat\t1.5\n",
    "Excel's line": "sep=;\r\npath;class;f\r\na;cat;0.5\r\nb;cat;1.5\r\n",
    "decimal commas": "path;class;f\na;cat;0,5\nb;cat;1,5\n",
    "line ends of old Macs": "path,class,f\ra,cat,0.5\rb,cat,1.5\r",
    "quotes": 'path,class,f\n"a", cat ,5e-1\n\nb,"cat",1.5\n',
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_dialects(tmp_path, dialect, encoding):
    table = read(tmp_path / "a.csv", DIALECTS[dialect], encoding)
    assert table.texts == {"path": ("a", "b"), "class": ("cat", "cat")}
    np.testing.assert_array_equal(table.values, [[0.5], [1.5]])


def test_columns_of_text_by_their_names(tmp_path):
    table = read(tmp_path / "a.csv", "id,class,NaN,y,split\n5,nan,1,2,3\n6,NA,3,4,5\n")
    assert table.texts == {"id": ("5", "6"), "class": ("nan", "NA"), "split": ("3", "5")}
    assert table.columns == ("NaN", "y")
    assert read(tmp_path / "a.csv", "path,y,f\na,0,1\nb,1,1\n").columns == ("f",)
    first = read(tmp_path / "a.csv", "digit,f\n0,.5\n1,2\n")
    assert (first.texts, first.columns) == ({"digit": ("0", "1")}, ("digit", "f"))


def test_true_and_false_are_numbers(tmp_path):
    np.testing.assert_array_equal(
        read(tmp_path / "a.csv", "class,flies,legs\nant,False,6\nbat,True,2\n").values, [[0, 6], [1, 2]]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,f\na,1\nb,1,2\n", "line 3 has 3 cells, the first line has 2"),
        ("class,f\na,1\nb,two\n", "line 3, column 'f': 'two'; a number is needed"),
        ("class,f,g\na,x,1\nb,2,2\n", "line 2, column 'f': 'x' among numbers"),
        ("class,f\na,1\nb,nan\n", "line 3, column 'f': nan; every number must be finite"),
        ("class,f\na,1_0\nb,1\n", "line 2, column 'f': '1_0' among numbers"),
        ("class,f,f\na,1,2\n", "line 1 names two columns 'f'"),
        ("class,f\n", "no line of data"),
        ("", "no line of data"),
        ('class,f\n"a,1\n', "is no CSV file"),
    ],
)
def test_damaged_tables(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path / "a.csv", text)


def test_another_encoding(tmp_path):
    with pytest.raises(InputError, match=r"is no CSV file of UTF-8 text .*; save it as UTF-8"):
        read(tmp_path / "a.csv", "class,f\ncaf\u00e9,1\n", "cp1252")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" 1 2.5\n\n 3 4\n", [[1, 2.5], [3, 4]]),
        ("1 7\n2 8\n3 9\n", [7, 8, 9]),
        ("5\n6\n", [5, 6]),
        ("     1\tantelope\n     2\tgrizzly bear\n", ("antelope", "grizzly bear")),
        ("antelope\ngrizzly bear\n", ("antelope", "grizzly bear")),
        ("7\ngrizzly\n", ("7", "grizzly")),
    ],
)
def test_lists(tmp_path, text, expected):
    (tmp_path / "a.txt").write_text(text)
    value = texts.read(tmp_path / "a.txt")
    assert isinstance(value, tuple) == isinstance(expected, tuple)
    np.testing.assert_array_equal(value, expected)


def test_word_in_a_matrix(tmp_path):
    (tmp_path / "a.txt").write_text("1 2\n3 x\n")
    with pytest.raises(InputError, match="line 2"):
        texts.read(tmp_path / "a.txt")

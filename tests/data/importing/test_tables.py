import numpy as np
import pytest

from zsl_jax.data.importing import lists, tables
from zsl_jax.errors import InputError


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
        ("1.5,2\n3,4\n", ("column 1", "column 2")),
        ("1\n0\n", ("column 1",)),
        ("0,1,2,3,4\n5,6,7,8,9\n", ("0", "1", "2", "3", "4")),
        ("kind,1,2\ncat,.5,1\n", ("kind", "1", "2")),
    ],
)
def test_header(tmp_path, text, columns):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert tables.read(tmp_path / "a.csv").columns == columns


@pytest.mark.parametrize("text", ["0\n3\n", "0,1\n3,4\n", "ant,1,2\ncat,3,4\n"])
def test_a_first_line_that_counts_may_be_data(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=r"line 1 .* could name the columns or be data; if it names them, write words"):
        tables.read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "values", "note"),
    [
        (
            "path,class,class_id,f\na,cat,7,1\nb,dog,8,2\n",
            [[1], [2]],
            "left out, since ids describe nothing: 'class_id'",
        ),
        ("id,path,class,f\n5,a,cat,1\n6,b,cat,2\n", [[1], [2]], "columns 'f' (1)"),
        (
            ",Unnamed: 0.1,Unnamed: 0,class,f\n17,4,0,cat,1\n3,2,1,cat,2\n",
            [[1], [2]],
            "the column without a name, 'Unnam",
        ),
        ("id,class,f\n5,cat,1\n5,cat,2\n", [[1], [2]], "left out, since ids describe nothing: 'id'"),
        ("class,高さ\ncat,1\ncat,2\n", [[1], [2]], "columns '高さ' (1)"),
        ("path,class,x,y\na,cat,1,3\nb,cat,2,4\n", [[1, 3], [2, 4]], "columns 'x'..'y' (2)"),
        ("path,class,val_0,fold_change\na,cat,1.0,.5\nb,cat,2,4\n", [[1, 0.5], [2, 4]], "(2)"),
        (
            "imageId,class,f,humid\n5,cat,1,3\n6,cat,2,4\n",
            [[1, 3], [2, 4]],
            "'imageId' names the rows; columns 'f'..'humid' (2)",
        ),
    ],
)
def test_ids_are_no_features(tmp_path, text, values, note):
    features = parts(tmp_path / "a.csv", text)["features"]
    np.testing.assert_array_equal(features.value, values)
    assert note in features.note


def test_ids_are_names_where_nothing_else_is(tmp_path):
    found = parts(tmp_path / "a.csv", "id,f\n5,1\n3,2\n")
    assert found[""].names == ("5", "3")
    assert "image_files" not in found
    found = parts(tmp_path / "a.csv", "id,label\n5,cat\n3,cat\n")
    assert {name: part.value for name, part in found.items()} == {"image_files": ("5", "3"), "labels": ("cat", "cat")}
    found = parts(tmp_path / "a.csv", ",image_id,class\n0,5,cat\n1,3,cat\n")
    assert {name: part.value for name, part in found.items()} == {"image_files": ("5", "3"), "labels": ("cat", "cat")}
    found = parts(tmp_path / "a.csv", "id,class,colour,f\n5,cat,red,1\n3,cat,red,2\n")
    assert found["features"].names == found["image_files"].value == ("5", "3")
    assert parts(tmp_path / "a.csv", "id,colour,f\n5,red,1\n3,red,2\n")[""].names == ("5", "3")
    assert parts(tmp_path / "a.csv", "id,name,f\n5,ant,1\n3,bat,2\n")[""].names == ("ant", "bat")
    found = parts(tmp_path / "a.csv", "path,class_id,f\na,5,1\nb,5,2\n")
    assert found["labels"].value == ("5", "5")
    np.testing.assert_array_equal(found["features"].value, [[1], [2]])


def test_true_and_false_are_numbers(tmp_path):
    found = parts(tmp_path / "a.csv", "class,flies,legs\nant,False,6\nbat,True,2\n")["semantics"]
    np.testing.assert_array_equal(found.value, [[0, 6], [1, 2]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,flies,legs\nant,no,6\nbat,yes,2\n", "column 'flies': 'no'; a line describes a class, so a number"),
        ("path;class;f\na;cat;0,5\nb;cat;1,5\n", "line 2, column 'f': '0,5' has a decimal comma"),
        *(
            (f"path,class,{name},f\na,cat,{cell},1\nb,cat,0,1\n", f"column '{name}' is not read, since it looks like")
            for name, cell in [
                ("split", "train"),
                ("dataset_split", "test"),
                ("is_train", "True"),
                ("isTest", "1"),
                ("fold", "0.5"),
            ]
        ),
        ("path,y,target,f\na,0,0,1\nb,1,1,1\n", "columns 'y' and 'target' mean the same"),
        (",class,f\n7,cat,1\n7,cat,2\n", "column 1 has no name and doesn't number the lines"),
        ("class,,f\ncat,.5,1\ncat,1,2\n", "column 2 has no name and doesn't number the lines"),
    ],
)
def test_words_and_columns_that_would_be_lost(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        parts(tmp_path / "a.csv", text)


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
    assert "the column without a name" in found["features"].note
    assert "image_files" not in found


def test_names_first(tmp_path):
    (tmp_path / "a.csv").write_text("number,species,y\n3,1,2\n4,0,1\n")
    part = tables.descriptions(tables.read(tmp_path / "a.csv", names_first=True))
    assert part.names == ("3", "4")
    np.testing.assert_array_equal(part.value, [[1, 2], [0, 1]])
    (tmp_path / "a.csv").write_text("number,species,y\n3,1,2\n4,brown,1\n")
    with pytest.raises(InputError, match="line 3, column 'species': 'brown'; a number"):
        tables.read(tmp_path / "a.csv", names_first=True)


@pytest.mark.parametrize("first", ["", "id", "Unnamed: 0"])
@pytest.mark.parametrize("second", ["class", "name"])
def test_names_may_stand_behind_ids(tmp_path, first, second):
    (tmp_path / "a.csv").write_text(f"{first},{second},legs\n4,ant,6\n1,bat,2\n")
    part = tables.descriptions(tables.read(tmp_path / "a.csv", names_first=True))
    assert part.names == ("ant", "bat")
    np.testing.assert_array_equal(part.value, [[6], [2]])
    assert "left out" in part.note
    assert part.ids == (first, ("4", "1"))


def test_names_alone_describe_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("class\nant\nbat\n")
    with pytest.raises(InputError, match="names alone"):
        tables.descriptions(tables.read(tmp_path / "a.csv", names_first=True))


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

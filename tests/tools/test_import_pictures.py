"""Embeddings by class and descriptions to a data set that training loads."""

import io
import pickle
import sys
from typing import Any

import numpy as np
import pytest

from tests.data import toy
from tests.tools import own
from tests.tools.own import LABELS, NAMES, PICTURES, SEMANTICS, TEXTS, X
from zsl_jax.data.formats import matlab, tensors
from zsl_jax.data.importing import own_data


@pytest.fixture
def run(tmp_path, capsys):
    return lambda *arguments: own.run(own.import_data, capsys, tmp_path / "root", *arguments)


def by_class():
    """Rows in the order of the folders."""
    order = np.argsort(np.array(TEXTS), kind="stable")
    return X[order], LABELS[order]


def write_folder(folder):
    """Each class in another way: files for each picture or one for all, of every kind."""
    rows = {name: X[np.array(TEXTS) == name] for name in NAMES}
    for name in ("ant", "cat", "eel"):
        (folder / name).mkdir(parents=True)
    for number, row in enumerate(rows["ant"]):
        np.save(folder / "ant" / f"{number}.npy", row)
    tensors.write(folder / "cat" / "a.safetensors", {"embedding": rows["cat"][:1]}, {})
    (folder / "cat" / "b.pt").write_bytes(pickle.dumps({"features": rows["cat"][1:], "scale": np.ones(3)}))
    np.savez(folder / "eel" / "all.npz", rows["eel"][:, :, None, None])
    np.save(folder / "fox.npy", rows["fox"])
    own.write_csv(folder / "dog.csv", [()] * 4, rows["dog"])
    own.write_csv(folder / "polar_bear.csv", [f"{number}.jpg" for number in range(4)], rows["polar bear"])
    (folder / ".DS_Store").write_bytes(b"\0")


def test_folder_of_classes(run, tmp_path):
    write_folder(tmp_path / "pictures")
    code, out, err = run(tmp_path / "pictures", f"--semantics={own.write_classes(tmp_path)}", "--unseen=cat,eel")
    assert (code, err) == (0, "")
    dataset = own.load(tmp_path / "root")
    x, labels = by_class()
    np.testing.assert_array_equal(dataset.x, x)
    np.testing.assert_array_equal(dataset.labels, labels)
    np.testing.assert_array_equal(dataset.semantics, SEMANTICS.astype(np.float32))
    np.testing.assert_array_equal(dataset.unseen, [2, 4])
    names = matlab.read_names(tmp_path / "root" / "MINE" / "features.mat", "image_files")
    assert names is not None
    assert names[:4] == ("ant/0.npy", "ant/1.npy", "ant/2.npy", "ant/3.npy")
    assert names[4:8] == ("cat/a.safetensors", "cat/b.pt:1", "cat/b.pt:2", "cat/b.pt:3")
    assert "'polar_bear' is 'polar bear'" in out
    assert "splits.unseen_classes  cat, eel" in out


@pytest.mark.parametrize("counts", [(4, 4), (3, 5)])
def test_files_of_a_class_may_have_a_column_for_each_picture(run, tmp_path, counts):
    """Files of different widths tell, files of one size need the flag."""
    (tmp_path / "pictures").mkdir()
    ends = np.cumsum([0, *counts, 4, 4, 4, 4])
    for name, start, end in zip(sorted(NAMES), ends[:-1], ends[1:], strict=True):
        np.save(tmp_path / "pictures" / f"{name}.npy", X[start:end].T)
    flags = ["--set=features.axis=columns"] if counts[0] == counts[1] else []
    assert run(tmp_path / "pictures", f"--semantics={own.write_classes(tmp_path)}", *flags)[0] == 0
    np.testing.assert_array_equal(own.load(tmp_path / "root").x, X)


def test_a_file_with_one_column_is_one_picture(run, tmp_path):
    for name, row in zip(PICTURES, X, strict=True):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "pictures" / name.replace("jpg", "npy"), row[:, None])
    assert run(tmp_path / "pictures", f"--semantics={own.write_classes(tmp_path)}")[0] == 0
    assert own.load(tmp_path / "root").x.shape == X.shape


def test_folder_of_tables_whose_first_lines_count(run, tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in NAMES:
        own.write_csv(tmp_path / "pictures" / f"{name}.csv", [()] * 4, X[np.array(TEXTS) == name])
        text = (tmp_path / "pictures" / f"{name}.csv").read_text()
        (tmp_path / "pictures" / f"{name}.csv").write_text("0,1,2,3,4\n" + text)
    assert run(tmp_path / "pictures", f"--semantics={own.write_classes(tmp_path)}")[0] == 0
    np.testing.assert_array_equal(own.load(tmp_path / "root").x, by_class()[0])


def test_columns_of_a_folder_of_tables_are_joined_by_name(run, tmp_path):
    (tmp_path / "pictures").mkdir()
    columns = [f"f{number}" for number in range(X.shape[1])]
    for name in NAMES:
        order = columns[::-1] if name == "dog" else columns
        rows = X[np.array(TEXTS) == name][:, [columns.index(column) for column in order]]
        text = own.write_csv(tmp_path / "pictures" / f"{name}.csv", [()] * 4, rows).read_text()
        (tmp_path / "pictures" / f"{name}.csv").write_text(",".join(order) + "\n" + text)
    semantics = f"--semantics={own.write_classes(tmp_path)}"
    assert run(tmp_path / "pictures", semantics)[0] == 0
    np.testing.assert_array_equal(own.load(tmp_path / "root").x, by_class()[0])
    text = (tmp_path / "pictures" / "dog.csv").read_text()
    (tmp_path / "pictures" / "dog.csv").write_text(text.replace("f3", "f9", 1))
    found = run(tmp_path / "pictures", semantics, "--overwrite")
    assert (found[0], "dog.csv: column 'f9' is none of those needed" in found[2]) == (2, True)


@pytest.mark.parametrize("field", ["att", "original_att"])
def test_descriptions_in_the_published_layout(run, tmp_path, field):
    """Its rows belong to other pictures, which a person must say."""
    pictures = own.write_csv(tmp_path / "pictures.csv", zip(PICTURES, TEXTS, strict=True), X, "path,class")
    arrays = {"att": SEMANTICS.T, "original_att": 9 * SEMANTICS.T, "trainval_loc": np.array([[1.0, 2.0]])}
    toy.write_v5(tmp_path / "att_splits.mat", arrays | {"allclasses_names": toy.cells(list(NAMES))})
    flags = [f"--semantics={tmp_path / 'att_splits.mat'}", f"--set=semantics.from=att_splits.mat:{field}"]
    assert run(pictures, *flags)[0] == 2
    assert run(pictures, *flags, "--unseen=0.2")[0] == 0
    made = own.load(tmp_path / "root")
    np.testing.assert_array_equal(
        made.semantics, (SEMANTICS * (9 if field == "original_att" else 1)).astype(np.float32)
    )
    assert made.splits.trainval.size == 15


def test_names_that_the_terminal_cannot_show(tmp_path, monkeypatch):
    names = ("été", *NAMES[1:])
    texts = [names[label] for label in LABELS]
    pictures = own.write_csv(tmp_path / "pictures.csv", zip(PICTURES, texts, strict=True), X, "path,class")
    classes = own.write_csv(tmp_path / "classes.csv", names, SEMANTICS, "class")
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, "ascii"))
    arguments = [f"--semantics={classes}", "--dataset=MINE", f"--root={tmp_path / 'root'}", "--unseen=été"]
    assert own.import_data([str(pictures), *arguments]) == 0
    sys.stdout.flush()
    assert b"splits.unseen_classes  \\xe9t\\xe9" in shown.getvalue()


def test_memory_that_does_not_suffice(run, tmp_path, monkeypatch):
    def too_large(*_, **__):
        raise MemoryError

    monkeypatch.setattr(own_data, "assemble", too_large)
    pictures = own.write_csv(tmp_path / "pictures.csv", zip(PICTURES, TEXTS, strict=True), X, "path,class")
    found = run(pictures, f"--semantics={own.write_classes(tmp_path)}")
    own.require_refused(found, tmp_path / "root", "the memory here doesn't suffice; give fewer rows")


@pytest.mark.parametrize("header", ["path,class", "Image;Label", "species"])
def test_table_of_features(run, tmp_path, header):
    rows = [(name,) for name in TEXTS] if header == "species" else list(zip(PICTURES, TEXTS, strict=True))
    path = own.write_csv(tmp_path / "pictures.csv", rows, X, header.replace(";", ","))
    if ";" in header:
        path.write_text(path.read_text().replace(",", ";"))
    code, out, _ = run(path, f"--semantics={own.write_classes(tmp_path)}", "--unseen=0.34", "--seed=2")
    assert code == 0
    own.require_same(own.load(tmp_path / "root"))
    assert "unseen: 2 of 6 classes, drawn with seed 2" in out
    stored = matlab.read_names(tmp_path / "root" / "MINE" / "features.mat", "image_files")
    assert stored == (None if header == "species" else PICTURES)


def test_numerals_as_classes(run, tmp_path):
    names = [str(label) for label in LABELS]
    pictures = own.write_csv(tmp_path / "pictures.csv", zip(PICTURES, names, strict=True), X, "path,class")
    classes = own.write_csv(tmp_path / "classes.csv", tuple("012345"), SEMANTICS, "digit")
    assert "Write 3, for the class" in run(pictures, f"--semantics={classes}", "--unseen=3")[2]
    assert run(pictures, f"--semantics={classes}", "--unseen=3,")[0] == 0
    own.require_same(own.load(tmp_path / "root"), tuple("012345"))
    np.testing.assert_array_equal(own.load(tmp_path / "root").unseen, [3])


def test_pictures_that_occur_twice_are_pointed_out(run, tmp_path):
    pictures = ("a.jpg", *PICTURES[1:-1], "a.jpg")
    path = own.write_csv(tmp_path / "pictures.csv", zip(pictures, TEXTS, strict=True), X, "path,class")
    assert "1 names of images occur before" in run(path, f"--semantics={own.write_classes(tmp_path)}")[1]


def test_default_splits(run, tmp_path):
    """Of six classes one is unseen; of each seen class one of four rows is tested, of the five one validates."""
    path = own.write_csv(tmp_path / "pictures.csv", zip(PICTURES, TEXTS, strict=True), X, "path,class")
    assert run(path, f"--semantics={own.write_classes(tmp_path)}")[0] == 0
    splits, labels = own.load(tmp_path / "root").splits, own.load(tmp_path / "root").labels
    sizes = [rows.size for rows in (splits.trainval, splits.test_seen, splits.test_unseen, splits.train, splits.val)]
    assert sizes == [15, 5, 4, 12, 3]
    assert np.unique(labels[splits.test_seen]).size == 5


@pytest.mark.parametrize("header", ["class_id,class_name", "id,name", "idx,class"])
@pytest.mark.parametrize("base", [0, 1])
def test_ids_of_the_classes_are_what_labels_count(run, tmp_path, header, base):
    """The lines of the descriptions stand in another order than the ids."""
    lines = [4, 0, 5, 2, 1, 3]
    names = [(str(number + base), NAMES[number]) for number in lines]
    classes = own.write_csv(tmp_path / "classes.csv", names, SEMANTICS[lines], header)
    numbers = [(picture, str(label + base)) for picture, label in zip(PICTURES, LABELS, strict=True)]
    pictures = own.write_csv(tmp_path / "pictures.csv", numbers, X, "path,class_id")
    code, out, _ = run(pictures, f"--semantics={classes}")
    assert code == 0
    made = own.load(tmp_path / "root")
    assert [made.class_names[label] for label in made.labels] == list(TEXTS)
    assert f"labels are the ids of classes.csv:{header.split(',')[0]}" in out
    found = run(pictures, f"--semantics={classes}", f"--set=labels.base={base}", "--overwrite")
    assert (found[0], "pictures lie in folders called like other classes" in found[2]) == (2, True)


def test_lists_of_classes_beside_the_descriptions(run, tmp_path):
    pictures = own.write_csv(tmp_path / "pictures.csv", zip(PICTURES, TEXTS, strict=True), X, "path,class")
    described = {"attributes": SEMANTICS, "classes": np.array(NAMES)}
    np.savez(tmp_path / "s.npz", **described, unseen=np.array(["cat", "eel"]))
    semantics = f"--semantics={tmp_path / 's.npz'}"
    for flags, unseen in ([], [2, 4]), (["--unseen=fox", "--overwrite"], [5]):
        assert run(pictures, semantics, *flags)[0] == 0
        np.testing.assert_array_equal(own.load(tmp_path / "root").unseen, unseen)
    for name, numbers in (("unseen", [2, 4]), ("unseen_mask", np.arange(6) > 3)):
        listed: dict[str, Any] = described | {name: np.array(numbers)}
        np.savez(tmp_path / "s.npz", **listed)
        assert run(pictures, semantics, "--overwrite")[0] == 2

"""Embeddings by class and descriptions to a data set that training loads."""

import json
import pickle

import numpy as np
import pytest

from tests.tools import own
from tests.tools.own import LABELS, NAMES, PICTURES, SEMANTICS, TEXTS, X
from tools import make_dataset
from zsl_jax.data import matlab
from zsl_jax.interop import tensors


@pytest.fixture
def run(tmp_path, capsys):
    return lambda *arguments: own.run(make_dataset.main, capsys, tmp_path / "root", *arguments)


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
    own.write_csv(folder / "polar_bear.csv", [f"{number}.jpg" for number in range(4)], rows["polar bear"], "path")
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
    assert "unseen: cat, eel, as asked for" in out
    written = json.loads((tmp_path / "root" / "MINE" / "provenance.json").read_text())
    assert [(entry["file"], entry.get("files")) for entry in written["sources"]] == [
        ("pictures", 10), ("classes.csv", None)
    ]  # fmt: skip


@pytest.mark.parametrize("header", ["path,class", "", "Image;Label", "species"])
def test_table_of_features(run, tmp_path, header):
    rows = [(name,) for name in TEXTS] if header == "species" else list(zip(PICTURES, TEXTS, strict=True))
    path = own.write_csv(tmp_path / "pictures.csv", rows, X, header.replace(";", ","))
    if ";" in header:
        path.write_text(path.read_text().replace(",", ";"))
    code, out, _ = run(path, f"--semantics={own.write_classes(tmp_path)}", "--unseen=0.34", "--seed=2")
    assert code == 0
    own.require_same(own.load(tmp_path / "root"))
    assert "unseen: 2 of 6 classes, drawn with seed 2" in out
    assert ("no line of names" in out) == (header == "")
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

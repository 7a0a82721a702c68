"""Damaged and hostile input of the programs that make data sets: one clear line, exit code 2, nothing written."""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.data import toy
from tests.tools import own
from tests.tools.own import LABELS, NAMES, ROWS, SEMANTICS, TEXTS, X

Content = np.ndarray | bytes | str | dict | list | Callable[[Path], Any] | None
Case = tuple[dict[str, Content], list[str], str]  # files beside or instead of the usual ones, flags, the message

CLASSES = "class,f0,f1,f2\n" + "".join(f"{name},{row}.5,1,2\n" for row, name in enumerate(NAMES))
USUAL: dict[str, Content] = {"features.npy": X, "labels.npy": LABELS, "classes.csv": CLASSES}
ALONE: dict[str, Content] = dict.fromkeys(USUAL)
UNSEEN_ROWS, SEEN_ROWS = (np.flatnonzero(LABELS > 3), np.flatnonzero(LABELS <= 3))


def put(path: Path, content: Content) -> None:
    """Writes what a case says: an array, text, bytes, fields (as .npz or .json), or by a function."""
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, dict | list) and path.suffix == ".json":
        path.write_text(json.dumps(content))
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, str | bytes):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    elif callable(content):
        content(path)


def changed(array: np.ndarray, value: Any, place: Any = (3, 2)) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


def npy(array: np.ndarray) -> bytes:
    """A .npy file's bytes."""
    header = f"{{'descr': {array.dtype.str!r}, 'fortran_order': False, 'shape': {array.shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + array.tobytes()


def objects(path: Path) -> None:
    np.save(path, np.array([X, None], dtype=object), allow_pickle=True)


class Code:
    def __reduce__(self):
        return os.system, ("echo it ran",)


def bomb(path: Path) -> None:
    """A small archive whose one array claims, and holds, many times the memory that a test allows."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", npy(np.zeros((ROWS, 2**16), np.float64)))


def damaged_archive(path: Path) -> None:
    np.savez(path, features=X)
    raw = bytearray(path.read_bytes())
    raw[200] ^= 255
    path.write_bytes(raw)


def two_of_a_name(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("features.npy", npy(X))
        archive.writestr("featurez.npy", npy(X))
    path.write_bytes(path.read_bytes().replace(b"featurez", b"features"))


def linked_hdf5(path: Path) -> None:
    with h5py.File(path.with_name("secret.hdf"), "w") as other:
        other["features"] = X
    with h5py.File(path, "w") as file:
        file["features"] = h5py.ExternalLink("secret.hdf", "features")


def stored_elsewhere(path: Path) -> None:
    X.tofile(path.with_name("raw"))
    with h5py.File(path, "w") as file:
        file.create_dataset("features", X.shape, X.dtype, external=[(str(path.with_name("raw")), 0, X.nbytes)])


def huge_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("features", (2**20, 2**20), np.float32, chunks=(8, 8))


def truncated_mat(path: Path) -> None:
    toy.write_v5(path, {"features": X, "labels": LABELS[:, None] + 1})
    path.write_bytes(path.read_bytes()[:300])


def labels_from_1(path: Path) -> None:
    toy.write_v5(path, {"labels": LABELS[LABELS > 0][:, None]})


def numerals(*names: str) -> str:
    """Descriptions of classes that are called by numbers."""
    return "class,f0,f1\n" + "".join(f"{name},{row}.5,1\n" for row, name in enumerate(names))


def numbered(column: str, ids: str) -> str:
    """The usual descriptions behind a column of ids, one a line."""
    return "\n".join(",".join(cells) for cells in zip([column, *ids], CLASSES.splitlines(), strict=True))


def pictures(header: str, values: np.ndarray) -> str:
    """A table of the pictures 0.jpg, 1.jpg, ... and numbers."""
    columns = header if "," in header else ",".join([header, *(f"f{number}" for number in range(values.shape[1]))])
    lines = [",".join([f"{row}.jpg", *map(str, numbers)]) for row, numbers in enumerate(values.tolist())]
    return "\n".join([columns, *lines]) + "\n"


def rows(**parts: Any) -> dict[str, Any]:
    """Lists of rows, from 0 on, as JSON."""
    usual = {"trainval": SEEN_ROWS[2:], "test_seen": SEEN_ROWS[:2], "test_unseen": UNSEEN_ROWS}
    return {part: np.asarray(numbers).tolist() for part, numbers in (usual | parts).items()}


READ: dict[str, Case] = {
    "missing": ({"features.npy": None}, ["{folder}/features.npy"], "No such file"),
    "folder": ({"features.npy": Path.mkdir}, [], "features.npy: empty; a folder for each class"),
    "pipe": ({"features.npy": os.mkfifo}, [], "no regular file"),
    "device": ({"features.npy": lambda path: path.symlink_to("/dev/zero")}, [], "no regular file"),
    "loop of links": ({"features.npy": lambda path: path.symlink_to(path)}, [], "symbolic links"),
    # a regular file whose start nobody can read
    "unreadable": ({"features.npy": lambda path: path.symlink_to("/proc/self/mem")}, [], "Input/output error"),
    "picture": ({"features.npy": None, "features.jpg": b"\xff\xd8"}, [], "of this ending"),
    "empty npy": ({"features.npy": b""}, [], "features.npy: cannot be read"),
    "truncated npy": ({"features.npy": npy(X)[:-9]}, [], "claims shape (24, 5)"),
    "terabytes npy": ({"features.npy": npy(X).replace(b"(24, 5)", b"(24, 5000000000)")}, [], "claims shape"),
    "negative npy": ({"features.npy": npy(X).replace(b"(24, 5)", b"(-24,-5)")}, [], "claims shape"),
    "objects npy": ({"features.npy": objects}, [], "never unpickled"),
    "records npy": ({"features.npy": np.zeros(24, "f4,f4")}, [], "plain numbers are needed"),
    "bomb": ({"features.npy": None, "features.npz": bomb}, [], "half of the memory"),
    "damaged archive": ({"features.npy": None, "features.npz": damaged_archive}, [], "features.npz: cannot be read"),
    "labels of objects": (
        {"labels.npy": None, "b.npz": {"labels": np.array(TEXTS, dtype=object)}},
        [],
        "'labels': of type object; Python objects are never unpickled: save numbers, or text as",
    ),
    "labels in features": ({"features.npy": np.c_[X, 7 - LABELS]}, [], "column 6 has one number for each class"),
    "labels in representations": (
        {"representations.npy": np.c_[X, LABELS / 7]},
        [],
        "representations.npy:representations: column 6 has one number for each class",
    ),
    "ids of the classes without a name": (
        {"classes.csv": numbered("", "503214")},
        [],
        "numbers the classes in another order than the lines; do labels too?",
    ),
    "ids of other classes": ({"classes.csv": numbered("id", "503219")}, [], "4 rows of class '4', which is not"),
    "classes by odd numbers": ({"own.json": {"class_to_idx": {"ant": 1, "cat": 3}}}, [], "a dictionary without arrays"),
    "two arrays of a name": ({"features.npy": None, "features.npz": two_of_a_name}, [], "two arrays of one name"),
    "link in hdf5": ({"features.npy": None, "features.h5": linked_hdf5}, [], "features.h5: holds neither"),
    "link in mat": ({"features.npy": None, "features.mat": linked_hdf5}, [], "features.mat: holds neither"),
    "stored elsewhere": ({"features.npy": None, "features.h5": stored_elsewhere}, [], "not kept in the file itself"),
    "huge hdf5": ({"features.npy": None, "features.h5": huge_hdf5}, [], "entries"),
    "damaged hdf5": ({"features.npy": None, "features.h5": b"\x89HDF\r\n\x1a\n" * 9}, [], "features.h5: cannot be"),
    "truncated mat": ({"features.npy": None, "features.mat": truncated_mat}, [], "features.mat: cannot be read"),
    "pickle with code": ({"features.npy": None, "features.pt": pickle.dumps(Code())}, [], "system"),
    "truncated pickle": ({"features.npy": None, "features.pkl": pickle.dumps(X)[:-40]}, [], "features.pkl"),
    "damaged safetensors": ({"features.npy": None, "x.safetensors": b"\xff" * 40}, [], "x.safetensors"),
    "damaged json": ({"features.npy": None, "features.json": '{"features": [['}, [], "features.json: cannot be read"),
    "deep json": ({"features.npy": None, "features.json": "[" * 99999}, [], "features.json: cannot be read"),
    "twins in json": ({"s.json": '{"unseen": ["fox"], "unseen": ["cat"]}'}, [], "stands twice in one object"),
    "nothing": ({"features.npy": None, "features.json": "[]"}, [], "holds neither arrays"),
    "ragged text": ({"features.npy": None, "features.txt": "1 2\n3\n"}, [], "line 2 has 1 numbers, line 1 has 2"),
    "ragged csv": ({"classes.csv": CLASSES + "gnu,1,2\n"}, [], "classes.csv: line 8 has 3 cells"),
    "word in csv": ({"classes.csv": CLASSES.replace("2.5", "two")}, [], "line 4, column 'f0': 'two'"),
    "NaN in csv": ({"classes.csv": CLASSES.replace("2.5", "nan")}, [], "line 4, column 'f0': nan"),
    "no text": ({"classes.csv": b"class,f0\ncat,\xff\xfe"}, [], "UTF-8"),
    "only a header": ({"classes.csv": "class,f0\n"}, [], "no line of data"),
    "empty name": ({"classes.csv": CLASSES.replace("cat", " ")}, [], "classes.csv:class: entry 3 is empty"),
    "columns of a name": ({"classes.csv": CLASSES.replace("f1", "f0", 1)}, [], "two columns 'f0'"),
}

MAKE_SENSE: dict[str, Case] = {
    "NaN": ({"features.npy": changed(X, np.nan)}, [], "'features' (one row per image): nan in row 4, column 3"),
    "infinite": ({"features.npy": changed(X.astype(np.float64), 1e300)}, [], "inf in row 4, column 3"),
    "complex": ({"features.npy": X.astype(np.complex64)}, [], "of type complex64; real numbers are needed"),
    "cube": ({"features.npy": np.ones((ROWS, 5, 2), np.float32)}, [], "shape (24, 5, 2); a matrix is needed"),
    "square": ({"features.npy": X[:, :1] @ X[:, :1].T}, [], "features.axis: rows or columns for pictures"),
    "rows missing": ({"features.npy": X[:-1]}, [], "23 x 5, and there are 24 labels: no side fits"),
    "orientation": ({}, ["--set=features.axis=columns"], "so features.axis=columns doesn't fit"),
    "no features": ({"features.npy": None}, [], "features.from: nothing is called so"),
    "no labels": ({"labels.npy": None}, [], "labels.from: nothing is called so"),
    "no semantics": ({"classes.csv": None}, [], "semantics.from: nothing is called so"),
    "two labels": ({"y.npy": LABELS[::-1].copy()}, [], "labels.from: which of labels.npy:labels (24 int64) or y.npy:y"),
    "two features": ({"x.npy": X + 1}, [], "features.from: which of features.npy:features (24 x 5 float32) or x.npy:x"),
    "no such field": ({}, ["--set=features.from=features.npy:r"], "has no 'r'; it has 'features' (24 x 5 float32)"),
    "negative label": ({"labels.npy": changed(LABELS, -1, 3)}, [], "entry 4 is -1"),
    "label out of range": ({"labels.npy": changed(LABELS, 6, 3)}, [], "entry 4 is 6; a whole number in 0..5"),
    "label far out of range": ({"labels.npy": changed(LABELS, 2**40, 3)}, [], f"entry 4 is {2**40}"),
    "fraction": ({"labels.npy": changed(LABELS + 0.0, 1.5, 3)}, [], "entry 4 is 1.5"),
    "NaN label": ({"labels.npy": changed(LABELS + 0.0, np.nan, 3)}, [], "entry 4 is nan"),
    "complex labels": ({"labels.npy": LABELS + 1j}, [], "of type complex128"),
    "table of labels": ({"labels.npy": np.stack([LABELS, LABELS], 1)}, [], "labels.from: nothing is called so"),
    "base of labels": ({"labels.npy": np.clip(LABELS, 1, 5)}, [], "labels.base: 1..5 for 6 classes"),
    "wrong base": ({}, ["--set=labels.base=1"], "a whole number in 1..6 is needed"),
    "no class of the labels": ({"labels.npy": np.array(["gnu"] * ROWS)}, [], "no class, e.g. 'gnu', is described"),
    "undescribed class": ({"classes.csv": CLASSES.replace("cat", "gnu"), "labels.npy": np.array(TEXTS)}, [],
                          "4 rows of class 'cat', which is not described"),
    "alike classes": ({"classes.csv": CLASSES.replace("cat", "Polar_Bear"), "labels.npy": np.array([
        text.replace(" ", "+").replace("cat", "ant") for text in TEXTS])}, [], "like the classes 'polar bear' and"),
    "classes twice": ({"classes.csv": CLASSES.replace("cat", "dog")}, ["--semantics={folder}/classes.csv"],
                      "class 'dog' stands twice (entries 3 and 4)"),
    "NaN in semantics": ({"classes.csv": None, "att.npy": changed(SEMANTICS, np.nan)}, [],
                         "(one row per class): nan in row 4, column 3"),
    "nothing described": ({"classes.csv": CLASSES.replace("2.5,1,2", "0,0,0")}, [], "'cat' is described by zeros"),
    "square semantics": ({"classes.csv": None, "att.npy": np.eye(6), "classes.txt": "\n".join(NAMES)}, [],
                         "semantics.axis: rows or columns for classes, of 6 x 6 in"),
    "semantics of others": ({"classes.csv": None, "att.npy": SEMANTICS[:4], "classes.txt": "\n".join(NAMES)}, [],
                            "4 x 3, and there are 6 classes"),
    "too few image names": ({"image_names.txt": "a.jpg\nb.jpg"}, [], "2 names of images, but there are 24 rows"),
    "row twice": ({"s.json": rows(test_seen=SEEN_ROWS[[0, 0]])}, [], "occurs twice"),
    "rows overlap": ({"s.json": rows(test_seen=SEEN_ROWS[2:4])}, [], "rows of trainval_loc and test_seen_loc"),
    "row out of range": ({"s.json": rows(test_seen=[ROWS])}, [], "entry 1 is 24"),
    "base of rows": ({"s.json": {"trainval": [2, 3], "test_unseen": [4]}}, [], "splits.base: rows 2..4 of 24 in"),
    "unseen class in training": ({"s.json": rows(trainval=[*SEEN_ROWS[2:], UNSEEN_ROWS[0]],
                                                 test_unseen=UNSEEN_ROWS[1:])}, [],
                                 "classes of trainval_loc and test_unseen_loc must differ"),
    "untrained class": ({"s.json": rows(trainval=np.flatnonzero(LABELS < 3),
                                        test_seen=np.flatnonzero(LABELS == 3))}, [], "has no row in trainval_loc"),
    "part missing": ({"s.json": {"trainval": [0, 1], "test_seen": [2]}}, ["--set=splits.base=0"], "not of test_unseen"),
    "NaN row": ({"splits.npz": {"trainval_loc": np.array([np.nan, 1]), "test_unseen_loc": np.array([0.0])}}, [],
                "splits.base: rows nan..nan of 24"),
    "rows and classes": ({"s.json": rows(), "testclasses.txt": "fox"}, [], "set the keys splits.KEY that count"),
    "rows or classes": ({"s.json": {"trainval": [0, 1, 2, 3], "test_unseen": [4, 5], "test_seen": [6, 7]}}, [],
                        "classes of trainval_loc and test_unseen_loc must differ"),
    "numbers of classes": ({"s.json": {"seen": [0, 1, 2, 3], "unseen": [4, 5]}}, [], "write the classes' names"),
    "mask of classes": ({"s.npz": {"trainval": np.arange(6) < 4, "test_unseen": np.arange(6) > 3}}, [],
                        "6 bool; a mask needs one entry for each of the 24 rows"),
    "nothing unseen": ({"s.json": {"train": list(range(16)), "test": list(range(16, 24))}}, [],
                       "all its rows are of classes to train on; leave it out, say splits.unseen_classes"),
    "test and its parts": ({"s.json": rows(test=UNSEEN_ROWS[:5])}, [], "rows of test_seen are not those of test"),
    "validation alone": ({"valclasses.txt": "cat\ndog"}, [], "validation classes alone; say splits.unseen_classes too"),
    "two meanings of unseen": ({"s.json": {"seen": ["ant", "cat"], "unseen": ["fox"], "test": ["eel"]}}, [],
                               "splits.unseen_classes: which of s.json:unseen (1 names) or s.json:test (1 names)?"),
    "two meanings of seen": ({"s.json": {"trainval": ["ant", "cat"], "seen": ["ant"], "unseen": "fox"}}, [],
                             "splits.seen_classes: which of s.json:trainval (2 names) or s.json:seen (1 names)?"),
    "trained but not seen": ({"s.json": {"train": ["ant", "dog"], "test_seen": ["ant"], "test_unseen": ["fox"]}}, [],
                             "splits.train_classes: 'dog' is no seen class"),
    "trained and validated": ({"s.json": {"train": ["ant", "cat"], "val": ["cat"], "test": ["fox"]}}, [],
                              "splits.val_classes: 'cat' is in train_classes too"),
    "neither trained nor validated": ({"s.json": {"train": ["ant"], "val": ["cat"], "seen": ["ant", "cat", "dog"]}}, [],
                                      "seen class 'dog' is in neither"),
    "numerals that are no class": ({"classes.csv": numerals("10", "20", "30", "40", "50", "60")}, [],
                                   "no class, e.g. '4', is described; there are 10, 20"),
    "some numerals that are no class": ({"classes.csv": numerals("002", "001", "003", "004", "005", "006")}, [],
                                        "4 rows of class '0', which is not described"),
    "base in a mat file": ({"features.npy": X[LABELS > 0], "labels.npy": None, "labels.mat": labels_from_1}, [],
                           "1..5 for 6 classes: do they count from 0 or from 1?"),
    "classes are columns": ({"features.npy": X[LABELS < 3], "labels.npy": LABELS[LABELS < 3], "classes.csv": None,
                             "att.npy": SEMANTICS}, [], "semantics.axis: rows or columns for classes, of 6 x 3 in"),
    "pictures of others": ({"features.npy": None, "labels.npy": None, "f.csv": pictures("path", X),
                            "l.csv": pictures("path,label", LABELS[:, None]).replace("7.jpg", "07.jpg")}, [],
                           "list different pictures, or one twice (e.g. '07.jpg')"),
    "names of others": ({"features.npy": None, "f.csv": pictures("path", X), "files.txt": "a\nb"},
                        [], "features.images: which of f.csv:path (24 names) or files.txt:files (2 names)?"),
    "rows of two orders": ({"features.npy": None, "labels.npy": None, "f.csv": pictures("path", X),
                            "l.npz": {"labels": LABELS, "files": np.array([f"{row}.jpg" for row in range(ROWS)][::-1]),
                                      "trainval": LABELS < 4, "test_unseen": LABELS > 3}}, [],
                           "bring both into one order"),
    "seen and unseen": ({"s.json": {"unseen": ["fox"], "seen": ["cat", "fox"]}}, [], "'fox' is in lists of both"),
    "unknown class in list": ({"testclasses.txt": "gnu\nfox"}, [], "'gnu' is no class; there are ant, polar bear"),
    "unseen class without rows": ({"classes.csv": CLASSES + "gnu,1,2,3\n", "testclasses.txt": "gnu\nfox"}, [],
                                  "unseen class 'gnu' has no row"),
    "class twice in list": ({"testclasses.txt": "fox\nfox"}, [], "class 'fox' stands twice"),
    "two lists": ({"testclasses.txt": "fox", "testclasses2.txt": "cat"}, [],
                  "splits.unseen_classes: which of testclasses.txt:testclasses (1 names) or testclasses2.txt"),
    "unknown unseen": ({}, ["--unseen=gnu"], "splits.unseen_classes: 'gnu' is no class"),
    "all unseen": ({}, ["--unseen=5"], "5 of 6 classes with rows; 1 or more, and 2 must stay seen"),
    "none unseen": ({}, ["--unseen=0"], "--unseen 0: classes, a number"),
    "half a class": ({}, ["--unseen=2.5"], "--unseen 2.5"),
    "one as a share": ({}, ["--unseen=1.0"], "--unseen 1.0: classes, a number of them or a share"),
    "all to test": ({}, ["--set=splits.test_fraction=1"], "splits.test_fraction: '1'; a number between 0 and 1"),
    "one row a class": ({"features.npy": X[:6], "labels.npy": np.arange(6)}, [], "no row is left for test_seen"),
    "no flag": ({}, ["--no-such-flag"], "no-such-flag"),
    "bad seed": ({}, ["--seed=-1"], "seed"),
    "name with a way out": ({}, ["--dataset=../x"], "'../x' is no plain name"),
    "name like a flag": ({}, ["--dataset=-x"], "'-x' begins with '-'"),
    "long name": ({}, [f"--dataset={'x' * 300}"], "is longer than 200 bytes"),
    "name of other bytes": ({}, ["caf\udce9.npy"], "caf?.npy: this name isn't UTF-8"),
    "hidden name": ({}, ["--dataset=.x"], "'.x' is no plain name"),
    "no name": ({}, ["--dataset="], "--dataset is missing"),
    "root is a file": ({}, ["--root={folder}/classes.csv"], "cannot be written"),
    "no files": (ALONE, [], "no files"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*READ, *MAKE_SENSE])
def test_import_features(tmp_path, capsys, monkeypatch, name):
    monkeypatch.setattr("zsl_jax.files.MAX_BYTES", 2**20)
    contents, flags, message = (READ | MAKE_SENSE)[name]
    folder = tmp_path / "files"
    folder.mkdir()
    for file, content in (USUAL | contents).items():
        put(folder / file, content)
    files = [folder / file for file, content in (USUAL | contents).items() if content is not None]
    given = [flag.replace("{folder}", str(folder)) for flag in flags]
    root = tmp_path / "root"
    code = own.import_data(["--dataset=MINE", f"--root={root}", *map(str, files), *given])
    own.require_refused((code, *capsys.readouterr()), root, message.replace("{folder}", str(folder)))
    assert not (tmp_path / "x").exists()


def folder_of_classes(folder: Path) -> None:
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for row in np.flatnonzero(np.array(TEXTS) == name):
            np.save(folder / name / f"{row}.npy", X[row])


def link_out(folder: Path) -> None:
    (folder.parent / "outside.npy").write_bytes(npy(X[0]))
    (folder / "cat" / "x.npy").symlink_to(folder.parent / "outside.npy")


def link_to_itself(folder: Path) -> None:
    (folder / "gnu").symlink_to(folder)


def emptied(folder: Path) -> None:
    for path in (folder / "cat").iterdir():
        path.unlink()


def one_file_each(folder: Path, content: np.ndarray) -> None:
    for name in NAMES:
        shutil.rmtree(folder / name)
        np.save(folder / f"{name}.npy", content)


FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "link out of the folder": (link_out, "x.npy: is a link"),
    "loop of links": (link_to_itself, "gnu: is a link"),
    "empty class": (emptied, "cat: no embeddings of this class"),
    "pictures": (lambda folder: (folder / "cat" / "1.jpg").write_bytes(b"\xff"), "pictures are not"),
    "folder in a class": (lambda folder: (folder / "cat" / "train").mkdir(), "a folder within a class"),
    "class twice": (lambda folder: np.save(folder / "cat.npy", X), "class 'cat' is there as a folder and as a file"),
    "other width": (lambda folder: np.save(folder / "cat" / "9.npy", X[0, :3]), "9.npy: 3 numbers a row, but"),
    "NaN": (lambda folder: np.save(folder / "cat" / "9.npy", X[:2] * np.nan), "9.npy: row 1, column 1 is nan"),
    "cube": (lambda folder: np.save(folder / "cat" / "9.npy", np.ones((2, 3, 4))), "9.npy: shape (2, 3, 4)"),
    "two arrays": (lambda folder: np.savez(folder / "cat" / "9.npz", a=X, b=X), "9.npz: one array"),
    "truncated": (lambda folder: (folder / "cat" / "9.npy").write_bytes(npy(X)[:-1]), "9.npy: cannot be read"),
    "code": (lambda folder: (folder / "cat" / "9.pt").write_bytes(pickle.dumps(Code())), "9.pt: refused"),
    "letters": (lambda folder: (folder / "c\nat").mkdir(), "'c\\nat' has letters"),
    "undescribed class": (lambda folder: np.save(folder / "gnu.npy", X), "24 rows of class 'gnu', which is not"),
    "rows or columns": (lambda folder: one_file_each(folder, X[:4]), "all files are 4 x 5: are pictures rows or"),
    "pipe": (lambda folder: os.mkfifo(folder / "cat" / "9.npy"), "9.npy: no regular file"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_make_dataset_of_a_folder(tmp_path, capsys, name):
    spoil, message = FOLDERS[name]
    folder_of_classes(tmp_path / "pictures")
    spoil(tmp_path / "pictures")
    root = tmp_path / "root"
    found = own.run(own.import_data, capsys, root, tmp_path / "pictures", f"--semantics={own.write_classes(tmp_path)}")
    own.require_refused(found, root, message)


TABLES: dict[str, tuple[str, list[str], str]] = {
    "no classes": ("path,f0,f1\na.jpg,1,2\n", [], "labels.from: nothing is called so"),
    "two class columns": ("class,label,f0\ncat,dog,2\ncat,dog,3\n", [], "labels.from: which of pictures.csv:class"),
    "infinite": ("path,class,f0\na.jpg,cat,1\nb.jpg,dog,-inf\n", [], "line 3, column 'f0': -inf"),
    "grouped digits": ("path,class,f0\na.jpg,cat,1_0\nb.jpg,dog,1\n", [], "line 2, column 'f0': '1_0' among numbers"),
    "class missing": ("path,class,f0\na.jpg,,1\n", [], "labels.from: pictures.csv:class: no class, e.g. ''"),
    "unclosed quotes": ('path,class,f0\n"a.jpg,cat,1\n', [], "is no CSV file"),
    "another source": ("path,class,f0\na.jpg,cat,1\n", ["more.csv"], "more.csv: cannot be read"),
}


@pytest.mark.parametrize("name", TABLES)
def test_make_dataset_of_a_table(tmp_path, capsys, name):
    text, more, message = TABLES[name]
    (tmp_path / "pictures.csv").write_text(text)
    semantics = f"--semantics={own.write_classes(tmp_path)}"
    root = tmp_path / "root"
    found = own.run(own.import_data, capsys, root, tmp_path / "pictures.csv", *more, semantics)
    own.require_refused(found, root, message)

"""Files of every kind to a data set that training loads; and what is refused, in one line, with nothing written."""

import json
import os
import pickle
import runpy
import tomllib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.data import toy
from tests.data.options import data_options
from tests.tools import own
from tests.tools.own import LABELS, NAMES, PICTURES, ROWS, SEMANTICS, TEXTS, X
from zsl_jax import data
from zsl_jax.data import load_xlsa17
from zsl_jax.data.formats import matlab, tensors
from zsl_jax.data.importing import store
from zsl_jax.experiment import problems

UNSEEN = ("eel", "fox")
PLUS = tuple(name.replace(" ", "+") for name in NAMES)


@pytest.fixture
def run(tmp_path, capsys):
    return lambda *arguments: own.run(own.import_data, capsys, tmp_path / "root", *arguments)


def arrays() -> dict[str, Any]:
    return {"features": X, "labels": LABELS, "attributes": SEMANTICS}


def v5(folder: Path) -> list[Path]:
    return matlab_files(folder, toy.write_v5)


def v5_compressed(folder: Path) -> list[Path]:
    return matlab_files(folder, lambda path, fields: toy.write_v5(path, fields, compressed=True))


def v73(folder: Path) -> list[Path]:
    return matlab_files(folder, toy.write_v73)


def matlab_files(folder: Path, write: Any) -> list[Path]:
    names = {"allclasses_names": toy.cells(list(NAMES))}
    pictures = {"image_files": toy.cells(list(PICTURES))}
    write(folder / "resnet.mat", {"features": X.T, "labels": LABELS[:, None] + 1.0} | pictures)
    write(folder / "att_splits.mat", {"att": SEMANTICS.T} | names)
    return [folder / "resnet.mat", folder / "att_splits.mat"]


def npz(folder: Path) -> list[Path]:
    np.savez(folder / "all.npz", class_names=np.array(NAMES), image_files=np.array(PICTURES), **arrays())
    return [folder / "all.npz"]


def npy(folder: Path) -> list[Path]:
    np.save(folder / "Features.npy", np.asfortranarray(X.T.astype(np.float64)))
    np.save(folder / "targets.npy", LABELS[None].astype(np.uint8))
    np.save(folder / "class_attributes.npy", SEMANTICS)
    (folder / "class_names.json").write_text(json.dumps(NAMES))
    return sorted(folder.iterdir())


def pt(folder: Path) -> list[Path]:
    return pickled(folder / "features.pt", {"data": arrays(), "classes": list(NAMES), "epoch": 7})


def pickled(path: Path, content: Any) -> list[Path]:
    path.write_bytes(pickle.dumps(content))
    return [path]


def word_vectors(folder: Path) -> list[Path]:
    vectors = pickled(folder / "w2v.pkl", dict(zip(NAMES, SEMANTICS, strict=True)))
    np.savez(folder / "pictures.npz", x=X, y=np.array(TEXTS))
    return [*vectors, folder / "pictures.npz"]


def safetensors(folder: Path) -> list[Path]:
    tensors.write(folder / "own.safetensors", arrays(), {})
    (folder / "classes.txt").write_text("".join(f"{n:6}\t{name}\n" for n, name in enumerate(NAMES, 1)))
    return sorted(folder.iterdir())


def h5(folder: Path) -> list[Path]:
    with h5py.File(folder / "own.h5", "w") as file:
        file["deep/features"], file["deep/labels"] = X[:, :, None, None], LABELS
        file["att"], file["class_names"] = SEMANTICS, list(NAMES)
    return [folder / "own.h5"]


def csv(folder: Path) -> list[Path]:
    rows = zip(PICTURES, TEXTS, strict=True)
    return [own.write_csv(folder / "pictures.csv", rows, X, "path,class"), own.write_classes(folder)]


def json_file(folder: Path) -> list[Path]:
    described = dict(zip(NAMES, SEMANTICS.tolist(), strict=True))
    content = {"features": X.tolist(), "labels": LABELS.tolist(), "semantics": described, "image_files": PICTURES}
    (folder / "own.json").write_text(json.dumps(content))
    return [folder / "own.json"]


def awa(folder: Path) -> list[Path]:
    np.savetxt(folder / "predicate-matrix-continuous.txt", SEMANTICS, "%.17g")
    (folder / "classes.txt").write_text(
        "".join(f"{n:6}\t{name.replace(' ', '+')}\n" for n, name in enumerate(NAMES, 1))
    )
    (folder / "labels.txt").write_text("\n".join(TEXTS))
    np.save(folder / "features.npy", X)
    return sorted(folder.iterdir())


@pytest.mark.parametrize(
    "write", [v5, v5_compressed, v73, npz, npy, pt, word_vectors, safetensors, h5, csv, json_file, awa]
)
def test_each_kind_of_file(run, tmp_path, write):
    folder = tmp_path / "files"
    folder.mkdir()
    files = write(folder)
    code, out, err = run(*files)
    assert (code, err) == (0, "")
    dataset = own.load(tmp_path / "root")
    own.require_same(dataset, PLUS if write is awa else NAMES)
    assert (dataset.unseen.size, dataset.seen.size) == (1, 5)
    assert [path.name for path in sorted((tmp_path / "root").rglob("*"))] == [
        "MINE", "att_splits.mat", "dataset.toml", "features.mat"
    ]  # fmt: skip
    for key in ("features.from", "labels.from", "semantics.from"):
        assert f"{key} " in out
    assert ("matched but for case" in out) == (write is awa)
    stored = matlab.read_names(tmp_path / "root" / "MINE" / "features.mat", "image_files")
    assert stored == (PICTURES if write in (v5, v5_compressed, v73, npz, csv, json_file) else None)


def test_published_layout_with_representations_and_splits(run, tmp_path):
    folder = toy.write_toy(tmp_path)
    r = np.random.default_rng(5).random((36, 4)).astype(np.float32)
    toy.write_v5(folder / "con_paco.mat", {"features": r})
    code, out, _ = run(folder / "res101.mat", folder / "att_splits.mat", folder / "con_paco.mat")
    assert code == 0
    for original in (True, False):
        options = toy_options(tmp_path, "TOY", "res101", "con_paco", original)
        copied = toy_options(tmp_path / "root", "MINE", "features", "representations", original)
        assert load_xlsa17(copied).fingerprint() == load_xlsa17(options).fingerprint()
    assert "representations.from  con_paco.mat:features (36 x 4)" in out
    assert "splits.base           1" in out
    assert "zsl-jax train own_data:representations" in out
    assert "semantics_scaling" not in out
    assert "drawn with seed" not in out


def toy_options(root, dataset, features, representations, original):
    return data_options(
        root=str(root), dataset=dataset, features=features, labels=features, representations=representations,
        original_semantics=original, semantics_scaling="l2",
    )  # fmt: skip


def test_class_lists_of_files(run, tmp_path):
    files = own.write_files(tmp_path)
    lists = {"trainclasses1": NAMES[1:3], "valclasses1": NAMES[3:4], "testclasses": UNSEEN}
    for name, classes in lists.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(classes))
    code, out, _ = run(
        *files, *(tmp_path / f"{name}.txt" for name in lists), "--set=splits.test_fraction=0.5", "--seed=3"
    )
    assert code == 0
    dataset = own.load(tmp_path / "root")
    assert [dataset.class_names[label] for label in dataset.unseen] == list(UNSEEN)
    assert [dataset.class_names[label] for label in dataset.seen] == list(NAMES[1:4])
    np.testing.assert_array_equal(np.unique(dataset.labels[dataset.splits.val]), [3])
    np.testing.assert_array_equal(np.bincount(dataset.labels[dataset.splits.test_seen]), [0, 2, 2, 2])
    assert "in no part of the splits, since in no list: classes ant" in out
    assert "test_seen: 0.5 of the rows of each seen class, drawn with seed 3" in out


def test_lists_of_rows_count_from_0_or_1(run, tmp_path):
    files = own.write_files(tmp_path)
    unseen = np.flatnonzero(LABELS > 3)
    seen = np.flatnonzero(LABELS <= 3)
    for base, overwrite in ((0, ()), (1, ("--overwrite",))):
        lists = {"trainval": seen[2:], "test_seen": seen[:2], "test_unseen": unseen}
        numbers = {part: (rows + base).tolist() for part, rows in lists.items()}
        (tmp_path / "splits.json").write_text(json.dumps(numbers))
        code, out, _ = run(*files, tmp_path / "splits.json", *overwrite)
        assert (code, f"splits.base         {base}" in out) == (0, True)
        dataset = own.load(tmp_path / "root")
        for part, rows in lists.items():
            np.testing.assert_array_equal(getattr(dataset.splits, part), rows)


def test_things_of_no_use_are_named_until_they_are_many(run, tmp_path):
    for count, overwrite in ((2, ()), (20, ("--overwrite",))):
        notes: dict[str, Any] = {f"note {number}": np.array([None, number]) for number in range(count)}
        np.savez(tmp_path / "a.npz", x=X, y=LABELS, **notes)
        code, out, _ = run(tmp_path / "a.npz", own.write_classes(tmp_path), *overwrite)
        assert code == 0
        assert out.count("a.npz:note ") == min(count, 8)
        assert ("12 more" in out) == (count == 20)


def test_flags_decide_what_files_do_not_say(run, tmp_path):
    square = np.random.default_rng(4).normal(size=(ROWS, ROWS)).astype(np.float32)
    np.savez(tmp_path / "a.npz", this=square, that=square.T, y=LABELS[LABELS > 0], z=LABELS)
    classes = own.write_classes(tmp_path)
    settings = ("features.from=a.npz:this", "features.axis=columns", "labels.from=a.npz:z", "labels.base=0")
    said = [f"--set={setting}" for setting in settings]
    code, out, _ = run(tmp_path / "a.npz", classes, *said, "--unseen=fox,cat")
    assert code == 0
    dataset = own.load(tmp_path / "root")
    np.testing.assert_array_equal(dataset.unseen, [2, 5])
    assert "a.npz:that, 24 x 24 float32" in out
    np.testing.assert_array_equal(dataset.x, square.T)


def test_labels_may_count_a_list_of_their_own(run, tmp_path):
    """As picture loaders do: classes in alphabetical order, whatever the order of the descriptions."""
    order = np.random.default_rng(6).permutation(len(NAMES))
    np.savez(tmp_path / "a.npz", features=X, labels=np.argsort(order)[LABELS], classes=np.array(NAMES)[order])
    code, _, _ = run(tmp_path / "a.npz", own.write_classes(tmp_path))
    assert code == 0
    own.require_same(own.load(tmp_path / "root"))


def test_numbers_may_be_names_of_classes(run, tmp_path):
    names = ("10", "20", "30", "40", "50", "60")
    own.write_csv(tmp_path / "classes.csv", names, SEMANTICS, "class")
    files = own.write_files(tmp_path, labels=10 * (LABELS + 1))[:2]
    own.write_csv(tmp_path / "classes.csv", names, SEMANTICS, "class")
    assert run(*files, tmp_path / "classes.csv", "--unseen", "10,")[0] == 0
    own.require_same(own.load(tmp_path / "root"), names)
    np.testing.assert_array_equal(own.load(tmp_path / "root").unseen, [0])


def test_numerals_with_zeros_are_names_too(run, tmp_path):
    names = ("003", "001", "002", "006", "004", "005")
    files = own.write_files(tmp_path, labels=np.array([int(names[label]) for label in LABELS]))
    own.write_csv(tmp_path / "classes.csv", names, SEMANTICS, "class")
    code, out, _ = run(*files)
    assert code == 0
    assert "labels.base        names" in out
    own.require_same(own.load(tmp_path / "root"), names)
    np.save(tmp_path / "labels.npy", LABELS)
    assert run(*files, "--overwrite", "--set=labels.base=0")[0] == 0
    own.require_same(own.load(tmp_path / "root"), names)


def test_numbers_count_the_descriptions_and_this_is_said(run, tmp_path):
    out = run(*own.write_files(tmp_path, features=X[:, None]))[1]
    own.require_same(own.load(tmp_path / "root"))
    assert "labels count the descriptions from 0: 0 is 'ant', 1 is 'polar bear', 5 is 'fox'" in out


def test_tables_that_name_their_pictures_are_joined_by_name(run, tmp_path):
    order = np.random.default_rng(7).permutation(ROWS)
    r = np.random.default_rng(8).normal(size=(ROWS, 4))
    names, texts = np.array(PICTURES), np.array(TEXTS)
    own.write_csv(tmp_path / "features.csv", PICTURES, X, "path")
    pairs = zip(names[order], texts[order], strict=True)
    (tmp_path / "labels.csv").write_text("path,label\n" + "".join(f"{name},{text}\n" for name, text in pairs))
    np.savez(tmp_path / "more.npz", representations=r[order[::-1]], files=names[order[::-1]])
    files = [tmp_path / "features.csv", tmp_path / "labels.csv", tmp_path / "more.npz", own.write_classes(tmp_path)]
    code, out, _ = run(*files)
    assert code == 0
    own.require_same(own.load(tmp_path / "root"))
    stored = matlab.read_numbers(tmp_path / "root" / "MINE" / "representations.mat", ["features"])["features"]
    np.testing.assert_array_equal(np.sort(stored.shape), [4, ROWS])
    np.testing.assert_array_equal(stored if stored.shape[1] == 4 else stored.T, r.astype(np.float32))
    assert out.count("by name, ") == 2


def test_rows_as_masks_names_or_one_test_list(run, tmp_path):
    is_seen = LABELS < 4
    files = [own.write_csv(tmp_path / "i.csv", zip(PICTURES, TEXTS, strict=True), X, "path,class")]
    files += [own.write_classes(tmp_path)]
    test = is_seen & (np.arange(ROWS) % 2 > 0)
    np.savez(tmp_path / "a.npz", train=is_seen & ~test, test=test | ~is_seen)
    names = {"trainval": is_seen & ~test, "test_seen": test, "test_unseen": ~is_seen}
    listed = {part: [PICTURES[row] for row in np.flatnonzero(mask)] for part, mask in names.items()}
    (tmp_path / "b.json").write_text(json.dumps(listed))
    numbers = {"train": np.flatnonzero(is_seen & ~test).tolist(), "test": np.flatnonzero(test | ~is_seen).tolist()}
    (tmp_path / "c.json").write_text(json.dumps(numbers))
    for file in ("a.npz", "b.json", "c.json"):
        code, out, _ = run(*files, tmp_path / file, "--overwrite")
        assert code == 0
        splits = own.load(tmp_path / "root").splits
        for part, mask in names.items():
            np.testing.assert_array_equal(np.sort(getattr(splits, part)), np.flatnonzero(mask))
        assert "rows are in no part" not in out


def test_rows_in_no_part_are_counted(run, tmp_path):
    files = own.write_files(tmp_path)
    lists = {"trainval": np.flatnonzero(LABELS < 3), "test_unseen": np.flatnonzero(LABELS > 3)}
    (tmp_path / "s.json").write_text(json.dumps({part: rows.tolist() for part, rows in lists.items()}))
    assert "4 rows are in no part of the splits" in run(*files, tmp_path / "s.json")[1]


def test_classes_to_validate_on_are_the_seen_ones_without_those_to_train_on(run, tmp_path):
    files = own.write_files(tmp_path)
    lists = {"trainval": NAMES[:4], "train": NAMES[:3], "test": UNSEEN[0], "testunseen": UNSEEN[:1]}
    (tmp_path / "s.json").write_text(json.dumps(lists))
    assert run(*files, tmp_path / "s.json")[0] == 0
    dataset = own.load(tmp_path / "root")
    np.testing.assert_array_equal(np.unique(dataset.labels[dataset.splits.val]), [3])


def test_classes_without_description_or_rows(run, tmp_path):
    files = own.write_files(tmp_path)
    names = (*NAMES[:5], "gnu")
    own.write_csv(tmp_path / "classes.csv", names, SEMANTICS, "class")
    np.save(tmp_path / "labels.npy", np.array(TEXTS))
    assert "'fox'" in run(*files)[2]
    code, out, _ = run(*files, "--set=labels.undescribed=leave out")
    assert code == 0
    dataset = own.load(tmp_path / "root")
    np.testing.assert_array_equal(dataset.x, X[LABELS < 5])
    np.testing.assert_array_equal(dataset.labels, LABELS[LABELS < 5])
    assert "left out: 4 rows of classes without description, fox" in out
    assert "described but without rows, so never scored: gnu" in out


def test_splits_follow_the_seed_and_the_command_fits_the_rows(run, tmp_path):
    files = own.write_files(tmp_path)
    made = []
    for seed in (1, 1, 2, 3, 4):
        code, out, _ = run(*files, f"--seed={seed}", "--unseen=2", "--overwrite")
        made.append(own.load(tmp_path / "root").fingerprint())
        assert code == 0
    assert made[0] == made[1]
    assert len(set(made)) > 2
    assert "semantics_scaling" not in out
    settled, dataset = problems.load(configuration(tmp_path / "root"))
    rows = len(data.validation_rows(dataset, settled.data, settled.seed)[0])
    assert {2 * settled[stage].batch_size <= rows for stage in settled.stages} == {True}


def configuration(root: Path) -> Any:
    """Of configs/own_data.py for a data set that was made here."""
    file = Path(__file__).parents[2] / "configs" / "own_data.py"
    config = runpy.run_path(str(file))["get_config"]()
    config.data.root, config.data.dataset = str(root), "MINE"
    return config


def test_the_manifest_makes_the_data_set_again(run, tmp_path, capsys):
    files = own.write_files(tmp_path)
    assert run(*files, "--unseen=eel,fox")[0] == 0
    folder = tmp_path / "root" / "MINE"
    written = {path.name: path.read_bytes()[toy.HEADER_BYTES :] for path in folder.iterdir()}
    said = tomllib.loads((folder / "dataset.toml").read_text())
    assert said["sha256"]["features.npy"] == store.sha256(tmp_path / "features.npy")
    assert said["made"]["fingerprint"] == own.load(tmp_path / "root").fingerprint()
    assert said["splits"]["unseen_classes"] == ["eel", "fox"]
    assert own.import_data([str(folder / "dataset.toml")]) == 0
    assert {path.name: path.read_bytes()[toy.HEADER_BYTES :] for path in folder.iterdir()} == written
    elsewhere = tmp_path / "elsewhere"
    assert own.import_data([str(folder / "dataset.toml"), f"--root={elsewhere}", "--set=splits.unseen_classes=2"]) == 0
    assert own.load(elsewhere).fingerprint() != said["made"]["fingerprint"]
    capsys.readouterr()
    np.save(files[0], X + 1)
    assert own.import_data([str(folder / "dataset.toml")]) == 2
    assert "features.npy: has changed since the manifest was written" in capsys.readouterr().err
    own.require_same(own.load(tmp_path / "root"))


def test_a_manifest_written_by_hand(run, tmp_path, capsys):
    files = own.write_files(tmp_path)
    np.savez(tmp_path / "odd.npz", u=X.T, v=LABELS)
    manifest = tmp_path / "mine.toml"
    manifest.write_text(
        f"""dataset = "MINE"
root = "root"
[features]
from = "odd.npz:u"
[labels]
from = "odd.npz:v"
[semantics]
from = "{files[2].name}:numbers"
classes = "{files[2].name}:class"
[splits]
unseen_classes = ["fox", "eel"]
"""
    )
    assert own.import_data([str(manifest)]) == 0
    own.require_same(own.load(tmp_path / "root"))
    for line, message in {
        'axis = "up"': "features.axis: 'up'; one of rows, columns is needed",
        "from = 3": "cannot be read as TOML",
        'form = "x"': "features.form: unknown; there are from, axis, columns, images",
        'columns = ["q"]\nimages = "odd.npz:w"': "features.images: ",
    }.items():
        text = manifest.read_text().replace("[labels]", f"{line}\n[labels]")
        (tmp_path / "wrong.toml").write_text(text)
        capsys.readouterr()
        assert own.import_data([str(tmp_path / "wrong.toml"), "--overwrite"]) == 2
        assert message in capsys.readouterr().err


def test_everything_open_is_asked_at_once(run, tmp_path):
    np.savez(tmp_path / "a.npz", u=X, v=LABELS, my_split=np.arange(ROWS) % 3, att=SEMANTICS[:, :3])
    found = run(tmp_path / "a.npz", "--set=labels.from=a.npz:v")
    own.require_refused(found, tmp_path / "root", "features.from: nothing is called so; is it a.npz:u (24 x 5 float32)")
    assert "splits: what is a.npz:my_split (24 int64)?" in found[2]


def test_pieces_of_the_data_in_files_called_like_the_parts(run, tmp_path):
    is_seen, test = LABELS < 4, np.arange(ROWS) % 2 > 0
    for name, rows in {"train": is_seen & ~test, "test_seen": is_seen & test, "test_unseen": ~is_seen}.items():
        np.savez(tmp_path / f"{name}.npz", features=X[rows], labels=LABELS[rows])
    files = [tmp_path / f"{name}.npz" for name in ("train", "test_seen", "test_unseen")]
    assert run(*files, own.write_classes(tmp_path))[0] == 0
    made = own.load(tmp_path / "root")
    np.testing.assert_array_equal(made.unseen, [4, 5])
    assert made.splits.test_seen.size == (is_seen & test).sum()
    np.testing.assert_array_equal(made.x[made.splits.test_unseen], X[~is_seen])


def test_names_of_classes_from_the_folders_of_pictures(run, tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    images = [f"data/{name}/{row}.jpg" for row, name in enumerate(TEXTS)]
    np.savez(tmp_path / "a.npz", features=X, labels=LABELS, image_files=images, att=SEMANTICS)
    assert run(tmp_path / "a.npz", "--set=semantics.axis=rows")[0] == 0
    own.require_same(own.load(tmp_path / "root"))


def test_lists_in_mat_files_may_count_from_0(run, tmp_path):
    seen, unseen = np.flatnonzero(LABELS < 4), np.flatnonzero(LABELS > 3)
    lists = {"trainval_loc": seen[3:], "test_seen_loc": seen[:3], "test_unseen_loc": unseen}
    fields = {name: rows[:, None] for name, rows in lists.items()}
    toy.write_v5(tmp_path / "a.mat", {"features": X, "labels": LABELS[:, None] + 1} | fields)
    assert run(tmp_path / "a.mat", own.write_classes(tmp_path))[0] == 0
    np.testing.assert_array_equal(own.load(tmp_path / "root").splits.test_unseen, unseen)


def test_rows_of_another_table_need_its_names(run, tmp_path, capsys):
    """A manifest that is given the features of a table in another order, but not its names."""
    order = np.random.default_rng(7).permutation(ROWS)
    names, texts = np.array(PICTURES), np.array(TEXTS)
    files = [own.write_csv(tmp_path / "i.csv", zip(PICTURES, TEXTS, strict=True), X, "path,class")]
    own.write_csv(tmp_path / "j.csv", zip(names[order], texts[order], strict=True), X[order], "path,class")
    assert run(*files, own.write_classes(tmp_path))[0] == 0
    manifest = str(tmp_path / "root" / "MINE" / "dataset.toml")
    assert own.import_data([manifest, "--set=features.from=j.csv:numbers"]) == 2
    assert "order the same names otherwise" in capsys.readouterr().err
    images = "--set=features.images=j.csv:path"
    assert (
        own.import_data([manifest, "--set=features.from=j.csv:numbers", images, "--set=labels.images=i.csv:path"]) == 0
    )
    made = own.load(tmp_path / "root")
    np.testing.assert_array_equal(made.x, X[order])
    np.testing.assert_array_equal(made.labels, LABELS[order])


def test_sources_and_the_data_set_do_not_lie_in_each_other(run, tmp_path):
    assert run(*own.write_files(tmp_path))[0] == 0
    folder = tmp_path / "root" / "MINE"
    found = run(folder / "features.mat", folder / "att_splits.mat", "--overwrite", "--unseen=2")
    assert (found[0], "lie in each other" in found[2]) == (2, True)
    own.require_same(own.load(tmp_path / "root"))


@pytest.mark.parametrize("column", ["split", "is_train"])
def test_parts_of_a_classification_and_unseen_classes_of_ones_own(run, tmp_path, column):
    is_train = np.arange(ROWS) % 3 > 0
    parts = np.where(is_train, "train", "test") if column == "split" else is_train.astype(int)
    cells = zip(PICTURES, TEXTS, parts.astype(str), strict=True)
    path = own.write_csv(tmp_path / "i.csv", cells, X, f"path,class,{column}")
    (tmp_path / "other").mkdir()
    said = {"split": ["splits.column=i.csv:split"], "is_train": ["splits.train=i.csv:is_train"]}[column]
    files = [path, f"--semantics={own.write_classes(tmp_path / 'other')}", "--unseen=eel,fox"]
    assert run(*files, *(f"--set={one}" for one in said))[0] == 0
    splits, unseen = own.load(tmp_path / "root").splits, LABELS > 3
    np.testing.assert_array_equal(splits.test_unseen, np.flatnonzero(unseen))
    if column == "split":
        np.testing.assert_array_equal(splits.test_seen, np.flatnonzero(~unseen & ~is_train))
    assert set(splits.trainval) <= set(np.flatnonzero(~unseen & is_train))


def test_tables_that_would_mean_something_else(run, tmp_path):
    pictures = own.write_csv(tmp_path / "i.csv", zip(PICTURES, map(str, LABELS), strict=True), X, "path,class")
    for text, message in {
        "attribute,ant,cat\nbig,1,2\nfast,2,3\n": "has a line for each attribute; write one for each class",
        "class,seen,legs\n" + "".join(f"{name},{row % 2},{row}\n" for row, name in enumerate(NAMES)): "seen in ",
        "class,group,legs\n" + "".join(f"{name},{'un' * (row % 2)}seen,{row}\n" for row, name in enumerate(NAMES)):
            "splits: what is classes.csv:group (6 names)?",
    }.items():  # fmt: skip
        (tmp_path / "classes.csv").write_text(text)
        found = run(pictures, f"--semantics={tmp_path / 'classes.csv'}")
        own.require_refused(found, tmp_path / "root", message)
    own.write_csv(tmp_path / "i.csv", zip(PICTURES, TEXTS, strict=True), np.c_[X, np.arange(ROWS) + 7], "path,class")
    found = run(pictures, f"--semantics={own.write_classes(tmp_path)}")
    own.require_refused(found, tmp_path / "root", "column 6 counts the rows; take it out")


def test_representations_alone_are_features(run, tmp_path):
    toy.write_v5(tmp_path / "supcon256.mat", {"features": X.T, "labels": LABELS[:, None] + 1.0})
    assert run(tmp_path / "supcon256.mat", own.write_classes(tmp_path))[0] == 0
    made = own.load(tmp_path / "root")
    own.require_same(made)
    assert made.r is None


def test_an_existing_folder_is_kept(run, tmp_path):
    files = own.write_files(tmp_path)
    root = tmp_path / "root"
    (root / "MINE").mkdir(parents=True)
    (root / "MINE" / "thesis.txt").write_text("precious")
    for flag, message in (("--nooverwrite", "--overwrite"), ("--overwrite", "remove it yourself")):
        code, _, err = run(*files, flag)
        assert (code, err.count("\n"), message in err) == (2, 1, True)
    assert [path.name for path in root.rglob("*")] == ["MINE", "thesis.txt"]


def test_a_folder_that_another_process_makes_meanwhile_is_kept(run, tmp_path, monkeypatch):
    files = own.write_files(tmp_path)
    write = store.write_xlsa17

    def late(folder, *rest):
        (tmp_path / "root" / "MINE").mkdir(exist_ok=True)
        write(folder, *rest)

    monkeypatch.setattr(store, "write_xlsa17", late)
    found = run(*files)
    assert (found[0], "MINE: is there; choose another --dataset" in found[2]) == (2, True)
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["MINE"]


def test_a_folder_that_cannot_be_read(run, tmp_path, monkeypatch):
    files = own.write_files(tmp_path)
    run(*files)

    def locked(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", locked)
    code, _, err = run(*files, "--overwrite")
    assert (code, err.count("\n"), "MINE: cannot be read (Permission denied)" in err) == (2, 1, True)


def test_a_failure_while_writing_keeps_what_was_there(run, tmp_path, monkeypatch):
    files = own.write_files(tmp_path)
    run(*files)
    before = own.load(tmp_path / "root").fingerprint()

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    code, _, err = run(*files, "--overwrite", "--seed=9")
    assert (code, err.count("\n")) == (2, 1)
    assert own.load(tmp_path / "root").fingerprint() == before
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["MINE"]

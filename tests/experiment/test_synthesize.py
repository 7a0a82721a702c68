"""Synthetic rows as files: the same whatever else is asked for, in the data's units, of new classes too."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import linear, tiny
from zsl_jax import __main__ as program
from zsl_jax import data
from zsl_jax.config import defaults
from zsl_jax.data.scaling import apply_scaler, fit_scaler, undo_scaler
from zsl_jax.errors import InputError
from zsl_jax.experiment import checks, class_choice, rescoring, runs
from zsl_jax.train_steps.method import vector_spec
from zsl_jax.training import imported, lockstep
from zsl_jax.training.stopping import StopRequest

A_DIM, X_DIM = 4, 10
SPEC = vector_spec(X_DIM, 0, A_DIM, n_classes=8)


def config() -> Any:
    made = linear.tiny_run("first")
    made.validate, made.upstream = False, "last"
    made.first.epochs = 3
    return made


def weights(seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    kernel, bias = random.normal(size=(A_DIM, X_DIM)), random.normal(size=X_DIM)
    return {"map": {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    """Imported nets of a linear method on a small synthetic data set."""
    path = tmp_path_factory.mktemp("runs") / "import"
    imported.write(path, config(), {"first": weights()}, SPEC)
    return path


def run(workdir: Path, out: Path, *options: str) -> int:
    return program.main(["synthesize", f"--workdir={workdir}", f"--out={out}", *options])


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def made(workdir: Path, out: Path, *options: str) -> dict[str, np.ndarray]:
    assert run(workdir, out, *options) == 0
    return load(out)


@pytest.fixture(scope="module")
def every(workdir, tmp_path_factory) -> dict[str, np.ndarray]:
    """More than one chunk of rows of every class."""
    return made(workdir, tmp_path_factory.mktemp("rows") / "all.npz", "--classes=all", "--num=150")


def test_the_file_says_what_is_in_it(every, workdir, capsys, tmp_path):
    dataset = data.load(config().data, 0)
    assert (every["x"].dtype, every["x"].shape) == (np.float32, (8 * 150, X_DIM))
    assert every["class_names"].tolist() == list(dataset.class_names)
    np.testing.assert_array_equal(every["labels"], np.repeat(np.arange(8, dtype=np.int32), 150))
    np.testing.assert_array_equal(every["semantics"], dataset.semantics)
    origin = json.loads(str(every["provenance"]))
    assert {name: origin[name] for name in ("stage", "epoch", "sampler", "seed", "num", "units")} == {
        "stage": "first",
        "epoch": 2,
        "sampler": "one_step",
        "seed": 0,
        "num": 150,
        "units": "source, x as in synthetic",
    }
    assert origin["imported"] == imported.digest(workdir, "first")
    assert origin["config"]["method"] == "linear"
    assert run(workdir, tmp_path / "x.npz", "--classes=unseen", "--num=3") == 0
    assert "x [9, 10], 3 rows of each of 3 classes" in capsys.readouterr().out


def test_rows_do_not_depend_on_what_else_is_asked_for(every, workdir, tmp_path):
    some = made(workdir, tmp_path / "some.npz", "--classes=class 7,class 2", "--num=140")
    for place, name in enumerate(("class 7", "class 2")):
        rows = every["x"][every["labels"] == every["class_names"].tolist().index(name)]
        np.testing.assert_array_equal(some["x"][some["labels"] == place], rows[:140])
    again = made(workdir, tmp_path / "again.npz", "--classes=class 7", "--num=1")
    np.testing.assert_array_equal(again["x"], some["x"][:1])
    other = made(workdir, tmp_path / "other.npz", "--classes=class 7", "--num=1", "--seed=1")
    assert not np.isclose(other["x"], again["x"]).any()


def test_seen_and_unseen_classes_are_those_of_the_data(every, workdir, tmp_path):
    dataset = data.load(config().data, 0)
    for group, numbers in (("seen", dataset.seen), ("unseen", dataset.unseen)):
        names = made(workdir, tmp_path / f"{group}.npz", f"--classes={group}", "--num=1")["class_names"]
        assert names.tolist() == [dataset.class_names[number] for number in numbers]


def test_rows_are_what_the_net_makes_in_the_units_of_the_data(every, workdir, tmp_path):
    model = made(workdir, tmp_path / "model.npz", "--classes=all", "--num=150", "--units=model")
    net = weights()["map"]
    expected = np.repeat(every["semantics"] @ net["kernel"] + net["bias"], 150, axis=0)
    noise = (model["x"] - expected) / linear.DEVIATION
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05
    dataset = data.load(config().data, 0)
    scaler = fit_scaler("minmax", dataset.x[dataset.splits.trainval])
    np.testing.assert_allclose(apply_scaler(scaler, every["x"]), model["x"], atol=1e-5)


@pytest.mark.parametrize("kind", ["minmax", "standard", "none"])
def test_scaling_is_undone(kind):
    rows = np.random.default_rng(0).normal(3, 5, (30, 4)).astype(np.float32)
    rows[:, 2] = 7  # constant
    scaler = fit_scaler(kind, rows)
    np.testing.assert_allclose(undo_scaler(scaler, apply_scaler(scaler, rows)), rows, rtol=1e-5)


def test_new_classes_are_described_by_a_file(every, workdir, tmp_path, capsys):
    """Normalised as the run's; a class with the name and description of a known one has its rows."""
    known = every["semantics"][1]
    new = np.array([[3.0, 0, 0, 4], 5 * known])
    lines = [
        "animal,a,b,c,d",
        *(",".join([name, *map(repr, row)]) for name, row in zip("uv", new.tolist(), strict=True)),
    ]
    (tmp_path / "new.csv").write_text("\n".join(lines).replace("v,", "class 2,"))
    np.save(tmp_path / "new.npy", new)
    from_csv = made(workdir, tmp_path / "csv.npz", f"--semantics={tmp_path / 'new.csv'}", "--num=20")
    assert "new.csv, L2-normalised, as the run's" in capsys.readouterr().out
    assert from_csv["class_names"].tolist() == ["u", "class 2"]
    np.testing.assert_allclose(from_csv["semantics"], [[0.6, 0, 0, 0.8], known], atol=1e-7)
    np.testing.assert_allclose(from_csv["x"][20:], every["x"][150:170], atol=1e-5)
    from_npy = made(
        workdir, tmp_path / "npy.npz", f"--semantics={tmp_path / 'new.npy'}", "--classes=u,class 2", "--num=20"
    )
    np.testing.assert_array_equal(from_npy["x"], from_csv["x"])
    one = made(workdir, tmp_path / "one.npz", f"--semantics={tmp_path / 'new.csv'}", "--classes=class 2", "--num=20")
    np.testing.assert_array_equal(one["x"], from_csv["x"][20:])


COLUMNS: tuple[str, ...] = ("wings", "legs", "fur", "size")


def write_named(root: Path, order: slice = slice(None), **renamed: str) -> None:
    """The small data set with names of its descriptions' columns, these perhaps in another order."""
    dataset = data.load(config().data, 0)
    names = tuple(renamed.get(name, name) for name in COLUMNS)[order]
    turned = dataclasses.replace(dataset, semantics=dataset.semantics[:, order], attribute_names=names)
    data.write_xlsa17(root / "NAMED", turned, "features")


@pytest.fixture(scope="module")
def named_run(tmp_path_factory) -> tuple[Path, Path]:
    """A run on data whose descriptions' columns have names, and the data's root."""
    path, root = tmp_path_factory.mktemp("runs") / "named", tmp_path_factory.mktemp("data")
    write_named(root)
    options = config()
    options.data.update({"source": "xlsa17", "root": str(root), "dataset": "NAMED", "features": "features"})
    lockstep.drive(runs.complete(options, path, StopRequest(), bars=False))
    return path, root


def csv(folder: Path, columns: tuple[str, ...]) -> str:
    """Two new classes: a class has 1, 2, 3, 4 in COLUMNS, whatever their order, the other 4, 0, 0, 3."""
    u, v = (dict(zip(COLUMNS, values, strict=True)) for values in ((1, 2, 3, 4), (4, 0, 0, 3)))
    rows = [[name, *(str(row.get(column, 9)) for column in columns)] for name, row in (("u", u), ("v", v))]
    return text(folder, "new.csv", "\n".join(map(",".join, [["class", *columns], *rows])))


@pytest.mark.parametrize("at_hand", [True, False])
def test_columns_of_new_classes_are_joined_by_name(named_run, at_hand, tmp_path, capsys):
    workdir, _ = named_run
    options = ["--num=3"] if at_hand else ["--num=3", f"--data=root={tmp_path / 'none'}"]
    straight = made(workdir, tmp_path / "a.npz", csv(tmp_path, COLUMNS), *options)
    assert "as the run's\n" in capsys.readouterr().out
    turned = made(workdir, tmp_path / "b.npz", csv(tmp_path, COLUMNS[::-1]), *options)
    assert "as the run's, columns joined by name\n" in capsys.readouterr().out
    for field in ("x", "semantics"):
        np.testing.assert_array_equal(turned[field], straight[field])
    np.save(tmp_path / "new.npy", [[1, 2, 3, 4], [4, 0, 0, 3]])
    plain = made(workdir, tmp_path / "c.npz", f"--semantics={tmp_path / 'new.npy'}", "--classes=u,v", *options)
    assert "as the run's, columns taken by position\n" in capsys.readouterr().out
    np.testing.assert_array_equal(plain["x"], straight["x"])


def test_columns_of_new_classes_are_joined_with_the_data_at_hand(named_run, tmp_path, capsys):
    """Of imported nets, beside which no names are kept."""
    workdir, nets = named_run[0], tmp_path / "nets"
    imported.write(nets, rescoring.open_workdir(workdir).config, {"first": weights()}, SPEC)
    one = made(nets, tmp_path / "one.npz", csv(tmp_path, COLUMNS), "--num=2")["x"]
    other = made(nets, tmp_path / "other.npz", csv(tmp_path, COLUMNS[::-1]), "--num=2")["x"]
    np.testing.assert_array_equal(one, other)
    assert run(nets, tmp_path / "x.npz", csv(tmp_path, ("a", *COLUMNS[1:]))) == 2
    assert "column 'a' is none of those needed" in capsys.readouterr().err


def test_other_columns_of_new_classes_are_refused(named_run, tmp_path, capsys):
    workdir, _ = named_run
    assert run(workdir, tmp_path / "x.npz", csv(tmp_path, (*COLUMNS[:3], "tail"))) == 2
    said = "new.csv: column 'tail' is none of those needed; column 'size' is needed and missing; columns are joined by"
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()


def test_known_classes_of_data_with_other_columns(named_run, tmp_path, capsys):
    """In another order synthesis joins them by name; scores are not made on such data; other names are refused."""
    workdir, _ = named_run
    there = made(workdir, tmp_path / "a.npz", "--classes=unseen", "--num=2")
    write_named(tmp_path, slice(None, None, -1))
    turned = made(workdir, tmp_path / "b.npz", "--classes=unseen", "--num=2", f"--data=root={tmp_path}")
    np.testing.assert_array_equal(turned["x"], there["x"])
    (tmp_path / "NAMED" / "features.mat").unlink()  # then the split file alone describes the classes
    options = ["--classes=class 7", "--num=2", f"--data=root={tmp_path}"]
    alone = made(workdir, tmp_path / "c.npz", *options)
    np.testing.assert_allclose(alone["semantics"], turned["semantics"][turned["class_names"] == "class 7"], rtol=1e-6)
    write_named(tmp_path, slice(None, None, -1))
    capsys.readouterr()
    assert program.main(["evaluate", f"--workdir={workdir}", f"--data=root={tmp_path}"]) == 2
    assert "NAMED: the columns of its descriptions have another order than the run's" in capsys.readouterr().err
    write_named(tmp_path, legs="feet")
    assert run(workdir, tmp_path / "d.npz", *options) == 2
    assert "NAMED: column 'feet' is none of those needed" in capsys.readouterr().err


@pytest.fixture(scope="module")
def far_away(tmp_path_factory) -> Path:
    """Imported nets whose data are not at hand."""
    path, away = tmp_path_factory.mktemp("runs") / "away", config()
    away.data.source, away.data.dataset, away.data.root = "xlsa17", "SUN", str(path / "none")
    imported.write(path, away, {"first": weights()}, SPEC)
    return path


def test_without_data_new_classes_are_made_in_the_units_of_the_model(every, far_away, tmp_path, capsys):
    np.save(tmp_path / "a.npy", every["semantics"][:2])
    options = [f"--semantics={tmp_path / 'a.npy'}", "--classes=class 1,class 2", "--num=5"]
    rows = made(far_away, tmp_path / "x.npz", *options)
    printed = capsys.readouterr().out
    assert "units: model, scaled as the run's rows (minmax)" in printed
    assert "note: no rows of the run's data: " in printed
    assert rows["x"].shape == (10, X_DIM)


def save(folder: Path, name: str, values: Any) -> str:
    np.save(folder / name, values)
    return f"--semantics={folder / name}"


def text(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return f"--semantics={folder / name}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (lambda _: ["--classes=clas 3"], "no class 'clas 3'; the nearest are class"),
        (lambda _: ["--classes=zebra,class 1"], "no class 'zebra'"),
        (lambda _: ["--classes=class 1,class 1"], "a name stands there twice"),
        (lambda _: [], "--classes is missing"),
        (lambda _: ["--classes=all", "--num=0"], "--num"),
        (lambda _: ["--classes=all", "--num=many"], "--num"),
        (lambda _: ["--classes=all", "--num=99999999999"], "more than half of the memory"),
        (lambda _: ["--classes=all", "--seed=-1"], "--seed"),
        (lambda _: ["--classes=all", "--seed=4294967296"], "--seed"),  # has the keys of 0
        (lambda _: ["--classes=all", "--out=" + "x" * 300 + ".npz"], "File name too long"),
        (lambda _: ["--classes=all", "--sampler=progressive"], "--sampler progressive: linear has one_step"),
        (lambda _: ["--classes=all", "--units=cm"], "--units"),
        (lambda _: ["--classes=all", "--data=synthetic.x_dim=11"], "--units source: needs the run's rows"),
        (lambda _: ["--classes=all", "--data=synthetic.a_dim=5"], "5 numbers a class, the generator takes 4"),
        (lambda folder: [save(folder, "a.npy", np.ones((2, 5))), "--classes=u,v"], "5 numbers a class, the generator"),
        (lambda folder: [save(folder, "a.npy", np.ones((2, 4))), "--classes=u"], "2 rows without names, 1 names in"),
        (lambda folder: [save(folder, "a.npy", np.ones(4)), "--classes=u"], "shape (4,); a matrix is needed"),
        (lambda folder: [save(folder, "a.npy", np.full((1, 4), np.nan)), "--classes=u"], "nan in row 1, column 1"),
        (lambda folder: [save(folder, "a.npy", np.full((1, 4), 1e300)), "--classes=u"], "inf in row 1"),
        (lambda folder: [save(folder, "a.npy", np.zeros((1, 4))), "--classes=u"], "class 1 is all zero"),
        (lambda folder: [save(folder, "a.npy", np.array([{}])), "--classes=u"], "never unpickled"),
        (lambda folder: [text(folder, "a.csv", "class,a,b,c,d\nu,1,2,3,4\nu,1,2,3,5\n")], "describes 'u' twice"),
        (lambda folder: [text(folder, "a.csv", "class,a,b,c,d\nu,1,2,3,x\n")], "a.csv"),
        (lambda folder: [text(folder, "a.csv", "")], "a.csv"),
        (lambda folder: [text(folder, "a.npy", "no array"), "--classes=u"], "a.npy: cannot be read"),
        (lambda folder: [text(folder, "a.exe", "MZ")], "files of this ending are not read"),
        (lambda folder: [f"--semantics={folder / 'missing.csv'}"], "missing.csv"),
        (lambda folder: [f"--semantics={folder}"], "no regular file"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(options, said, workdir, tmp_path, capsys):
    given = [*options(tmp_path), "--units=source"] if "rows" in said else options(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert run(workdir, tmp_path / "x.npz", *given) == 2
    printed, message = capsys.readouterr()
    (line,) = [line for line in message.splitlines() if line.startswith("error: ")]
    assert said in line
    assert (printed, "Traceback" in message) == ("", False)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x.npy", "ends with .npz"),
        ("there.npz", "is there already"),
        ("file/x.npz", "file is no folder"),
        ("none/x.npz", "none is no folder; make it"),
    ],
)
def test_rows_only_go_into_a_new_file(name, said, workdir, tmp_path, capsys):
    (tmp_path / "there.npz").write_bytes(b"kept")
    (tmp_path / "file").write_bytes(b"")
    assert run(workdir, tmp_path / name, "--classes=class 1", "--num=1") == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "there.npz").read_bytes() == b"kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there.npz"]


def test_rows_are_not_put_into_the_workdir(workdir, capsys):
    assert run(workdir, workdir / "x.npz", "--classes=class 1") == 2
    assert "lies in the workdir" in capsys.readouterr().err


def test_classes_of_data_that_are_not_at_hand(far_away, tmp_path, capsys):
    assert run(far_away, tmp_path / "x.npz", "--classes=zebra") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no such folder" in line
    assert "--semantics FILE" in line


def test_a_workdir_without_nets(workdir, tmp_path, capsys):
    path = tmp_path / "empty"
    imported.write(path, config(), {"first": weights()})
    imported.file_of(path, "first").unlink()
    assert run(path, tmp_path / "x.npz", "--classes=all") == 2
    assert "no finished stage that synthesises" in capsys.readouterr().err
    damaged = Path(shutil.copytree(workdir, tmp_path / "damaged"))
    file = imported.file_of(damaged, "first")
    file.write_bytes(file.read_bytes()[:-10])
    assert run(damaged, tmp_path / "x.npz", "--classes=all") == 2
    assert "first.safetensors: damaged" in capsys.readouterr().err


def test_views_that_a_run_made_are_found(tmp_path):
    """x or r or both, and what an earlier stage left."""
    dataset = data.load(config().data, 0)
    data.write_xlsa17(tmp_path / "features" / "synthetic", dataset, "synthetic")
    data.write_xlsa17(tmp_path / "features" / "synthetic", dataset, "synthetic_finetune_ce")
    options = class_choice.view_options(tmp_path, config(), {"x": "finetune_ce"})
    found = data.load(options, 0)
    assert found.features == "synthetic_finetune_ce"
    np.testing.assert_array_equal(found.x, dataset.x)
    np.testing.assert_array_equal(found.semantics, dataset.semantics)
    with pytest.raises(InputError, match="does not hold the views"):
        class_choice.view_options(tmp_path, config(), {"r": "finetune_paco"})


def test_the_data_are_not_needed_where_their_sizes_were_written_down(tmp_path):
    """Of ZeroDiff, of which one stage builds on the other; nets that synthesis does without may be missing."""
    wide = tiny.synthetic(tiny.narrow(defaults.zerodiff()))
    spec = tiny.SPEC
    outlines = checks.outlines(wide, spec)
    nets = {name: {net: outlines[name].state.params[net] for net in ("generator",)} for name in wide.stages}
    nets["dfg"]["decoder"] = outlines["dfg"].state.params["decoder"]
    imported.write(tmp_path / "run", wide, {name: tiny.random_like(tree) for name, tree in nets.items()}, spec)
    np.save(tmp_path / "a.npy", np.eye(spec.a_dim))
    options = [f"--semantics={tmp_path / 'a.npy'}", "--classes=u,v,w", "--num=2", "--sampler=progressive"]
    rows = made(tmp_path / "run", tmp_path / "x.npz", *options, "--units=model")
    assert {view: rows[view].shape for view in ("x", "r")} == {"x": (6, spec.x_dim), "r": (6, spec.r_dim)}
    assert np.isfinite(rows["x"]).all()

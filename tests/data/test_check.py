import subprocess
import sys

import numpy as np
import pytest

from tests.data import toy
from tests.data.options import data_options
from zsl_jax import __main__ as program
from zsl_jax import data
from zsl_jax.data.sources.published import DATASETS


def run(capsys, *arguments):
    code = program.main(["data", "check", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_usable_data_set(tmp_path, capsys):
    folder = toy.write_toy(tmp_path, "A")
    toy.write_v5(folder / "split_30percent.mat", {"trainval_loc": np.array([[1], [2]])})
    code, out, err = run(capsys, "--root", str(tmp_path), "--dataset", "TOY")
    assert (code, err) == (0, "")
    options = data_options(root=str(tmp_path), features="res101")
    dataset = data.load(options, 0)
    assert dataset.fingerprint()[:16] in out
    for expected in ("TOY: can be trained on", "variant A", "of test_seen", "4/2 classes (1 for validation)", "2 rows"):
        assert expected in out


def test_all_published_data_sets_are_listed(tmp_path, capsys):
    toy.write_toy(tmp_path)
    code, out, _ = run(capsys, "--root", str(tmp_path))
    assert code == 0
    for name in DATASETS:
        assert f"{name}: not there" in out
    assert "xlsa17.zip" in out


def test_unusable_files_end_with_two_and_one_line_each(tmp_path, capsys):
    folder = toy.write_toy(tmp_path)
    (folder / "ce_ce.mat").write_bytes(b"version https://git-lfs.github.com/spec/v1" * 4)
    toy.write_v5(folder / "split_10percent.mat", {"other": np.ones((1, 1))})
    toy.write_v5(folder / "wrong.mat", {"features": np.ones((3, 3))})
    code, out, err = run(capsys, "--root", str(tmp_path))
    assert code == 2
    lines = err.strip().splitlines()
    assert len(lines) == 3
    for file in ("ce_ce.mat", "split_10percent.mat", "wrong.mat"):
        assert sum(file in line for line in lines) == 1
    assert "res101 + att" in out


@pytest.mark.parametrize("made", [None, "empty", "features only"])
def test_nothing_to_train_on_ends_with_two(tmp_path, capsys, monkeypatch, made):
    monkeypatch.delenv("ZSL_JAX_DATA", raising=False)
    if made is None:
        assert program.main(["data", "check"]) == 2
        assert program.main(["data", "check", "--root", str(tmp_path / "absent")]) == 2
        return
    if made == "features only":
        (toy.write_toy(tmp_path) / "att_splits.mat").unlink()
    code, _, err = run(capsys, "--root", str(tmp_path), "--dataset", "TOY")
    assert code == 2
    assert "can't be trained on" in err
    assert run(capsys, "--root", str(tmp_path))[0] == (2 if made == "empty" else 0)


def test_sizes_unlike_the_published_ones_are_pointed_out(tmp_path, capsys):
    toy.write_toy(tmp_path)
    (tmp_path / "TOY").rename(tmp_path / "APY")
    _, out, _ = run(capsys, "--root", str(tmp_path), "--dataset", "APY")
    assert "differs" in out
    assert "published: 64 x 32, 5932/1483/7924" in out
    assert "published: 20/12" in out


def test_as_a_program(tmp_path):
    toy.write_toy(tmp_path)
    command = [sys.executable, "-m", "zsl_jax", "data", "check", "--root", str(tmp_path), "--dataset", "TOY"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "can be trained on" in done.stdout

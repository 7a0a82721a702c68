"""What commands print of names with any letters, on a terminal of any encoding, and ~ in what is no flag of its own."""

import io
import sys
from pathlib import Path

import pytest

from tests import linear
from zsl_jax import __main__ as program
from zsl_jax import data

NAME = "\u9e1f $5_"  # of the data set; its first letter is none of the encodings'


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[list[str], Path]:
    """The command of a short run on a data set of this name, and its workdir, where it is finished."""
    folder = tmp_path_factory.mktemp("names")
    small = linear.tiny_run("linear")
    data.write_xlsa17(folder / NAME, data.load(small.data, 0), "features")
    fields = {"data.source": "xlsa17", "data.root": folder, "data.dataset": NAME, "data.features": "features"}
    fields |= {"linear.epochs": 1, "validate": False, "upstream": "last"}
    file, workdir = linear.write_config(folder / "linear.py", "linear"), folder / "run"
    command = ["train", file, f"--workdir={workdir}", *(f"--config.{name}={value}" for name, value in fields.items())]
    assert program.main(command) == 0
    return command, workdir


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("what", ["check", "train", "dry run", "evaluate", "synthesize"])
def test_any_name_is_printed_on_any_terminal(run, encoding, what, tmp_path, monkeypatch):
    command, workdir = run
    arguments = {
        "check": ["data", "check", f"--root={workdir.parent}", f"--dataset={NAME}"],
        "train": command,
        "dry run": [*command, "--dry-run"],
        "evaluate": ["evaluate", f"--workdir={workdir}"],
        "synthesize": [
            "synthesize",
            f"--workdir={workdir}",
            "--classes=all",
            "--num=1",
            f"--out={tmp_path / NAME}.npz",
        ],
    }
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    code = program.main(arguments[what])
    streams["stdout"].flush()
    assert code == 0
    assert rb"\u9e1f $5_" in streams["stdout"].buffer.getvalue()


def test_home_is_expanded_in_fields_of_the_data(run, tmp_path, monkeypatch, capsys):
    command, workdir = run
    monkeypatch.setenv("HOME", str(tmp_path))
    other = [f"--workdir={tmp_path / 'run'}", "--config.data.root=~/none"]
    rows = [f"--out={tmp_path / 'x.npz'}", "--classes=all", "--data=root=~/none"]
    for arguments in (
        [*command, *other],
        ["synthesize", f"--workdir={workdir}", *rows],
        ["data", "check", "--root=~/none"],
    ):
        assert program.main(arguments) == 2
        assert str(tmp_path / "none") in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

"""Files and folders that are whole or not there, and never lost; JSON."""

import errno
import math
import os
from pathlib import Path

import numpy as np
import pytest

from zsl_jax.errors import InputError
from zsl_jax.files import read_json, replacing, replacing_folder, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def write_folder(path: Path, text: str) -> None:
    with replacing_folder(path) as new:
        (new / "below").mkdir()
        (new / "below" / "file").write_text(text)


def test_json_round_trip_of_what_results_hold(tmp_path):
    path = tmp_path / "deep" / "result.json"
    write_json(path, {"a": (1, 2), "n": np.float32(0.5), "v": np.arange(2), "p": Path("x"), "nan": math.nan, "t": None})
    read = read_json(path)
    assert math.isnan(read.pop("nan"))
    assert read == {"a": [1, 2], "n": 0.5, "v": [0, 1], "p": "x", "t": None}
    assert '"NaN"' in path.read_text()


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half \ud800")
    assert read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_damaged_or_missing_json_is_named(tmp_path):
    (tmp_path / "result.json").write_text('{"a": ')
    for name in ("result.json", "missing.json"):
        with pytest.raises(InputError, match=name):
            read_json(tmp_path / name)


def test_what_is_written_is_readable_for_those_that_the_umask_lets(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "text")
        write_folder(tmp_path / "folder", "text")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "folder")] == [0o640, 0o750]


@pytest.mark.parametrize("place", ["none/file", "folder", "x" * 300])
def test_a_place_that_takes_no_file_is_refused(tmp_path, place):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=place), replacing(tmp_path / place):
        pass
    assert names(tmp_path) == ["folder"]


def test_a_folder_takes_the_place_of_another(tmp_path):
    for text in ("old", "new"):
        write_folder(tmp_path / "deep" / "folder", text)
        assert names(tmp_path / "deep") == ["folder", "folder/below", "folder/below/file"]
    assert (tmp_path / "deep" / "folder" / "below" / "file").read_text() == "new"


def test_a_folder_that_fails_to_fill_leaves_the_old_one(tmp_path):
    write_folder(tmp_path / "folder", "old")
    with pytest.raises(InputError, match="cannot be written"), replacing_folder(tmp_path / "folder") as new:
        (new / "none" / "file").touch()
    assert names(tmp_path) == ["folder", "folder/below", "folder/below/file"]


@pytest.mark.parametrize("broken", [{2}, {2, 3}], ids=["it comes back", "it cannot come back"])
def test_the_old_folder_is_never_lost(tmp_path, monkeypatch, broken):
    """The second rename fails, by which the new folder takes its name; and then also the one that undoes the first."""
    rename, calls = os.rename, []

    def fail(*names):
        calls.append(names)
        if len(calls) in broken:
            raise OSError(errno.EIO, "Input/output error")
        rename(*names)

    write_folder(tmp_path / "folder", "old")
    monkeypatch.setattr("os.rename", fail)
    with pytest.raises(InputError, match=r"folder: cannot be written \(Input/output error\)"):
        write_folder(tmp_path / "folder", "new")
    left = [path for path in tmp_path.rglob("file") if path.read_text() == "old"]
    assert len(left) == 1
    assert (left[0] == tmp_path / "folder" / "below" / "file") == (broken == {2})

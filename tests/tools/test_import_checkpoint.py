"""The program that imports archives: what it says, and one clear line on everything that is hostile or broken."""

import json
import os
import pickle
import shlex
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.formats import archives, torch_files
from tests.data.formats.torch_files import Tensor, name
from zsl_jax import __main__ as program
from zsl_jax.commands import cli, train
from zsl_jax.data.formats import tensors

CANARY = "canary"


def run(capsys: Any, out: Path, *arguments: Any) -> tuple[int, str, str]:
    code = program.main(["checkpoint", "import", f"--out={out}", *map(str, arguments)])
    return code, *capsys.readouterr()


@pytest.mark.parametrize("case", ["zerodiff", "gan"])
def test_the_commands_that_are_named_have_the_imported_options(tmp_path, capsys, case):
    if case == "zerodiff":
        saved, options = (archives.drg(), archives.dfg()), ["--set=data.percent=30"]
    else:
        saved = (archives.stage("gan", ("generator",), z_dim=4)["state_dict_G"],)
        options = ["--config=configs/gan_zoo.py:lsgan,sun"]
    paths = [torch_files.save(tmp_path / f"{place}.tar", value) for place, value in enumerate(saved)]
    code, text, err = run(capsys, tmp_path / "out", *paths, *options)
    assert (code, err) == (0, "")
    (line,) = [line for line in text.splitlines() if "zsl-jax train " in line and "ROOT" in line]
    said = cli.parse(train, "zsl-jax train", shlex.split(line.replace("ROOT", ""))[2:])
    there = json.loads((tmp_path / "out" / "imported" / "config.json").read_text())
    del there["data_sizes"]
    assert json.loads(json.dumps(cli.read_config(said).to_dict())) == there
    assert f"--workdir {tmp_path / 'out'}" in text


def test_what_is_printed(tmp_path, capsys):
    first = archives.drg() | {"optimizer": {"state": {}}, "epoch": 3}
    code, text, _ = run(capsys, tmp_path / "out", torch_files.save(tmp_path / "R.tar", first))
    assert code == 0
    for part in (
        "drg          generator  from", "R.tar state_dict_R: 11 arrays", "not there: decoder, r0, rt",
        "passed over state_dict_R.con_emb_layers.model.0", "optimizer, epoch", "data: a 4, r 6",
        "note: a is taken to be as wide as drg.time_dim (4), as published", "drg.z_dim = 3 (there: 0)",
        "Stage dfg is not there: import it too, or zsl-jax train trains it.", "--config.drg.generator_width=8",
    ):  # fmt: skip
        assert part in text
    code, text, _ = run(capsys, tmp_path / "out", torch_files.save(tmp_path / "G.tar", archives.dfg()))
    assert code == 0
    assert "holds drg and dfg" in text


# Hostile and broken archives: (what to put in the place of the archive, part of the message).

Make = Callable[[Path], Any]


def whole() -> dict[str, bytes]:
    return torch_files.entries(archives.drg())


def zipped(**changes: Any) -> Make:
    """An archive with entries added, replaced or (None) left out; "_" stands for ".", "__" for "/"."""
    named = {key.replace("__", "/").replace("_", "."): value for key, value in changes.items()}
    return with_entries({f"archive/{key}": value for key, value in named.items()})


def with_entries(changes: dict[str, bytes | None]) -> Make:
    return lambda path: torch_files.write_zip(
        path, {key: value for key, value in (whole() | changes).items() if value is not None}
    )


def holding(value: Any) -> Make:
    """An archive of a value; functions stand for what they return."""
    return lambda path: torch_files.save(path, value() if callable(value) else value)


def containing(data: Callable[[], bytes] | bytes) -> Make:
    return lambda path: path.write_bytes(data() if callable(data) else data)


def with_pickle(operations: bytes) -> Make:
    """An archive whose pickle is made of operations."""
    return zipped(data_pkl=b"\x80\x02" + operations + b".")


def with_tensor(offset: Any = 0, size: Any = (6,), stride: Any = (1,), **more: Any) -> Make:
    """An archive in which a bias of six numbers is another view of them."""

    def value() -> dict[str, Any]:
        nets = archives.drg()
        net = nets["state_dict_R"]
        return {"state_dict_R": net | {"fc2.bias": Tensor(net["fc2.bias"], offset, size, stride, **more)}}

    return holding(value)


def with_net(**changes: Any) -> Make:
    """An archive of a net with tensors changed or (None) left out; "_" stands for "."."""

    def value() -> dict[str, Any]:
        named = {key.replace("_", "."): tensor for key, tensor in changes.items()}
        net = archives.drg()["state_dict_R"] | named
        return {"state_dict_R": {key: tensor for key, tensor in net.items() if tensor is not None}}

    return holding(value)


def text(value: str) -> bytes:
    return torch_files.operations(value, torch_files.Storages())


def call(module: str, attribute: str, *arguments: str) -> bytes:
    return name(module, attribute) + b"(" + b"".join(map(text, arguments)) + b"tR"


def with_key(key: str) -> Make:
    """An archive whose pickle asks for storages by another key."""
    pickled = whole()["archive/data.pkl"]
    asked = torch_files.operations("0", torch_files.Storages())
    return zipped(data_pkl=pickled.replace(asked, text(key)))


class Evil:
    """What a pickle by Python itself would run."""

    def __reduce__(self):
        return os.system, (f"touch {CANARY}",)


def bomb(path: Path) -> None:
    """Megabytes of zeros in a few bytes."""
    torch_files.write_zip(path, whole() | {"archive/data/9": bytes(2**22)}, zipfile.ZIP_DEFLATED)


def overlapping(path: Path) -> None:
    """Entries by the dozen that are all the same bytes of the file."""
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in whole().items():
            archive.writestr(entry, data)
        largest = max(archive.filelist, key=lambda entry: entry.file_size)
        for number in range(100, 140):
            copy = zipfile.ZipInfo(f"archive/data/{number}")
            for field in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(copy, field, getattr(largest, field))
            archive.filelist.append(copy)


def twice(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w") as archive:
            for entry, data in [*whole().items(), *whole().items()]:
                archive.writestr(entry, data)


def encrypted(path: Path) -> None:
    torch_files.write_zip(path, whole())
    data = bytearray(path.read_bytes())
    for place in range(len(data) - 4):
        if data[place : place + 4] == b"PK\x01\x02":
            data[place + 8] |= 1
    path.write_bytes(bytes(data))


def bad_checksum(path: Path) -> None:
    torch_files.write_zip(path, whole())
    data = path.read_bytes()
    numbers = archives.drg()["state_dict_R"]["fc1.weight"].tobytes()
    path.write_bytes(data.replace(numbers, numbers[:-1] + bytes([numbers[-1] ^ 1])))


def loop(path: Path) -> None:
    path.symlink_to(path.with_suffix(".other"))
    path.with_suffix(".other").symlink_to(path)


def link_to_folder(path: Path) -> None:
    path.symlink_to(path.parent)


def truncated(data: Callable[[], bytes]) -> bytes:
    return data()[:-40]


def zip_bytes() -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    torch_files.write_zip(buffer, whole())  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def stream_bytes() -> bytes:
    return torch_files.stream(archives.drg())


def safetensors(path: Path, cut: int = 0) -> None:
    arrays = {f"state_dict_R.{key}": tensor for key, tensor in archives.drg()["state_dict_R"].items()}
    tensors.write(path, arrays, {})
    path.write_bytes(path.read_bytes()[: -cut or None])


FLOATS = np.ones
HOSTILE: dict[str, tuple[Make, str]] = {
    # Files.
    "missing file": (lambda path: None, "No such file"),
    "folder": (lambda path: path.mkdir(), "no regular file"),
    "pipe": (os.mkfifo, "no regular file"),
    "link to itself": (loop, "symbolic links"),
    "link to a folder": (link_to_folder, "no regular file"),
    "picture": (containing(b"\x89PNG\r\n\x1a\n" + bytes(64)), "neither an archive"),
    # Code.
    "os.system": (with_pickle(call("os", "system", f"touch {CANARY}")), "it asks for 'os.system'"),
    "posix.system by Python": (containing(pickle.dumps(Evil())), "asks for 'posix.system'"),
    "nested pickle": (with_pickle(call("torch.storage", "_load_from_bytes", "x")), "_load_from_bytes"),
    "in the older format": (
        containing(lambda: torch_files.pickled(torch_files.MAGIC) + b"\x80\x02" + call("os", "system", "true") + b"."),
        "asks for 'os.system'",
    ),
    "whole model": (with_pickle(name("zerodiff_tools", "DRG_Generator") + b")\x81}b"), "save a model's state_dict()"),
    # Zip files.
    "zip bomb": (bomb, "compressed or encrypted"),
    "overlapping entries": (overlapping, "larger than the file"),
    "encrypted": (encrypted, "compressed or encrypted"),
    "absolute path": (with_entries({"/etc/passwd": b"x"}), "an entry named '/etc/passwd'"),
    "parent path": (with_entries({"archive/../../x": b"x"}), "an entry named 'archive/../../x'"),
    "path of Windows": (with_entries({"archive\\x": b"x"}), "an entry named"),
    "entries twice": (twice, "two entries have one name"),
    "no pickle": (zipped(data_pkl=None), "0 entries NAME/data.pkl"),
    "two pickles": (with_entries({"other/data.pkl": b"."}), "2 entries NAME/data.pkl"),
    "storage missing": (zipped(data__0=None), "no item named"),
    "storage too short": (zipped(data__0=b"\0" * 4), "storage '0' has 4 bytes"),
    "storage too long": (zipped(data__0=bytes(9999)), "storage '0' has 9999 bytes"),
    "byte order": (zipped(byteorder=b"middle"), "byteorder is b'middle'"),
    "checksum": (bad_checksum, "CRC"),
    "cut off": (containing(lambda: truncated(zip_bytes)), "damaged"),
    "cut off, older format": (containing(lambda: truncated(stream_bytes)), "damaged"),
    # Tensors.
    "negative offset": (with_tensor(offset=-1), "an offset with -1"),
    "offset too large": (with_tensor(offset=2), "in a storage of 6"),
    "negative stride": (with_tensor(offset=5, stride=(-1,)), "strides with -1"),
    "stride too large": (with_tensor(size=(3,), stride=(3,)), "in a storage of 6"),
    "strides of zero": (with_tensor(size=(2**40,), stride=(0,)), "in a storage of 6"),
    "negative size": (with_tensor(size=(-6,)), "a shape with -6"),
    "enormous size": (with_tensor(size=(2**62, 2**62), stride=(1, 1)), "in a storage of 6"),
    "enormous storage": (with_tensor(count=2**50), "are needed"),
    "rank and strides": (with_tensor(size=(2, 3)), "damaged"),
    "size as text": (with_tensor(size=("6",)), "a shape with '6'"),
    "storage outside": (with_tensor(key="../../../etc/passwd"), "an entry named"),
    "storage outside, not there": (with_key("../../../../etc/passwd"), "no item named"),
    "unknown storage": (with_tensor(kind="QInt8Storage"), "asks for 'torch.QInt8Storage'"),
    # Structure.
    "list": (holding([1, 2]), "a dictionary of nets is needed"),
    # Nets.
    "other nets": (holding({"state_dict_Q": {"fc.weight": FLOATS((2, 2), np.float32)}}), "its nets: state_dict_Q"),
    "no nets": (holding({"epoch": 3, "nested": {"a": 1}}), "its nets: none; passed over: epoch, nested"),
    "not a number": (with_net(fc2_bias=np.full(6, np.nan, np.float32)), "state_dict_R.fc2.bias: 6 entries are NaN"),
    "infinite": (with_net(fc2_bias=np.full(6, np.inf, np.float32)), "6 entries are NaN or infinite"),
    "too large for float32": (with_net(fc2_bias=np.full(6, 1e300)), "6 entries are NaN or infinite"),
    "whole numbers": (with_net(fc2_bias=np.arange(6)), "state_dict_R.fc2.bias: int64[6]"),
    "rank": (with_net(fc2_bias=FLOATS((6, 1), np.float32)), "state_dict_R.fc2.bias: float32[6, 1]"),
    "no entries": (with_net(fc2_weight=FLOATS((6, 0), np.float32)), "at least one entry"),
    "shapes": (with_net(fc2_bias=FLOATS(7, np.float32)), "fc2.bias: 7 entries, but 6 are needed (r 6)"),
    "columns": (with_net(fc1_weight=FLOATS((8, 9), np.float32)), "fc1.weight: 9 columns, which drg.z_dim + "),
    "layer missing": (with_net(fc2_weight=None), "state_dict_R.fc2.weight is missing"),
    "unknown layer": (with_net(fc9_weight=FLOATS((2, 2), np.float32)), "fc9.weight: no tensor of this net"),
    "net missing": (
        holding(lambda: archives.drg() | {"state_dict_G": archives.dfg()["state_dict_G"]}), "needs state_dict_Dec",
    ),
    "one tensor twice": (with_net(module_fc2_bias=FLOATS(6, np.float32)), "two tensors are state_dict_R's"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_end_in_one_line(tmp_path, capsys, monkeypatch, case):
    make, message = HOSTILE[case]
    folder = tmp_path / "files"
    folder.mkdir()
    monkeypatch.chdir(folder)
    make(folder / "x.tar")
    before = sorted(os.listdir(folder))
    code, out, err = run(capsys, tmp_path / "out", folder / "x.tar")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "out").exists()
    assert sorted(os.listdir(folder)) == before  # the canary among others


@pytest.mark.parametrize("cut", [1, 2000])
def test_damaged_safetensors(tmp_path, capsys, cut):
    safetensors(tmp_path / "x.safetensors", cut)
    code, _, err = run(capsys, tmp_path / "out", tmp_path / "x.safetensors")
    assert (code, err.count("\n")) == (2, 1)
    assert "damaged" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files(tmp_path, capsys):
    torch_files.save(tmp_path / "x.tar", archives.drg()).chmod(0)
    code, _, err = run(capsys, tmp_path / "out", tmp_path / "x.tar")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be read" in err


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no such file here")
def test_files_that_fail_when_read(tmp_path, capsys):
    code, _, err = run(capsys, tmp_path / "out", "/proc/self/mem")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: /proc/self/mem: ")


FLAGS = {
    "no archive": ([], "no archive"),
    "unknown flag": (["x.tar", "--outt=y"], "unrecognized arguments: --outt=y"),
    "unknown stage": (["{tar}", "--stage=finetune_x"], "nets can be imported for"),
    "another system's stage": (["{tar}", "--stage=tfvaegan"], "no generator of TF-VAEGAN"),
    "no configuration": (["{tar}", "--config=none.py"], "--config none.py: no such file"),
    "name that is too long": (["{tar}", "--out=" + "x" * 300], "File name too long"),
    "negative width": (["{tar}", "--set=drg.z_dim=-3"], "config.drg.z_dim: -3; it must be at least 0"),
    "negative width of another net": (
        ["{tar}", "--set=drg.critic_width=-1"],
        "critic_width: -1; it must be at least 0",
    ),
    "no stages": (["{tar}", "--set=stages=()"], "config.stages: empty"),
    "other stages": (["{tar}", "--set=stages=('dfg',)"], "config.stages: ('dfg',) lacks drg"),
    "another system's configuration": (
        ["{tar}", "--config={root}/configs/tfvaegan_sun.py"],
        "no generator of TF-VAEGAN",
    ),
    "no such field": (["{tar}", "--set=drg.nothing=3"], "--set drg.nothing"),
    "twice": (["{tar}", "{tar}"], "twice"),
}


@pytest.mark.parametrize("case", FLAGS)
def test_flags_that_make_no_sense(tmp_path, capsys, case):
    given, message = FLAGS[case]
    path, root = torch_files.save(tmp_path / "x.tar", archives.drg()), Path(__file__).parents[2]
    code, out, err = run(capsys, tmp_path / "out", *(flag.format(tar=path, root=root) for flag in given))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_file(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    code, _, err = run(capsys, tmp_path / "out", torch_files.save(tmp_path / "x.tar", archives.drg()))
    assert (code, err.count("\n")) == (2, 1)
    assert (tmp_path / "out").read_text() == "mine"


def test_lengths_before_storages_are_checked(tmp_path, capsys):
    """In the older format a storage's own length says how much is read."""
    data, first = stream_bytes(), archives.drg()["state_dict_R"]["fc1.weight"]
    start = first.tobytes()[:8]
    for length in (-1, 2**62, first.size + 1):
        changed = data.replace(struct.pack("<q", first.size) + start, struct.pack("<q", length) + start)
        (tmp_path / "x.tar").write_bytes(changed)
        code, _, err = run(capsys, tmp_path / "out", tmp_path / "x.tar")
        assert (code, err.count("\n")) == (2, 1)
        assert f"has {length} numbers, but {first.size} are needed" in err


@pytest.mark.parametrize("odd", ["fc\n\x1b[31m.weight", "x" * 5000 + ".weight"])
def test_names_are_not_shown_as_they_are(tmp_path, capsys, odd):
    net = archives.drg()["state_dict_R"] | {odd: FLOATS((2, 2), np.float32)}
    code, _, err = run(capsys, tmp_path / "out", torch_files.save(tmp_path / "x.tar", {"state_dict_R": net}))
    assert (code, err.count("\n")) == (2, 1)
    assert "\x1b" not in err
    assert len(err) < 500

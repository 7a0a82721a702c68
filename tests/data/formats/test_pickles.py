"""Archives of `torch.save` in both formats, and pickles by every protocol, read without torch; others refused."""

import argparse
import contextlib
import pathlib
import pickle
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest

from tests.data.formats import torch_files
from tests.data.formats.torch_files import Raw, Tensor, name
from zsl_jax import files
from zsl_jax.data.formats import pickles
from zsl_jax.data.formats.unpickling import Named
from zsl_jax.errors import InputError

VALUE = {
    "state_dict": {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc.bias": np.ones(2, np.float32)},
    "optimizer": {"state": {0: {"step": np.array(3.0, np.float32)}}, "param_groups": [{"betas": (0.5, 0.9)}]},
    "half": np.arange(3, dtype=np.float16), "long": np.arange(4).reshape(2, 2), "epoch": 7, "none": None, "true": True,
    "name": "é", "large": 2**70,
}  # fmt: skip


def assert_same(one, other):
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert type(one) is type(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert type(one) is type(other)
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype


def test_zip_archives_are_read(tmp_path):
    assert_same(pickles.load(torch_files.save(tmp_path / "x.pt", VALUE)), VALUE)


def test_older_archives_are_read(tmp_path):
    (tmp_path / "x.pt").write_bytes(torch_files.stream(VALUE))
    assert_same(pickles.load(tmp_path / "x.pt"), VALUE)


@pytest.mark.parametrize("legacy", [False, True])
def test_big_endian_archives_are_read(tmp_path, legacy):
    array = np.arange(3, dtype=np.float32)
    swapped = Tensor(array.byteswap(), 0, (3,), (1,))
    if legacy:
        (tmp_path / "x.pt").write_bytes(torch_files.stream([swapped], little=False))
    else:
        torch_files.write_zip(tmp_path / "x.pt", torch_files.entries([swapped]) | {"archive/byteorder": b"big"})
    assert_same(pickles.load(tmp_path / "x.pt"), [array])


def test_views_share_a_storage(tmp_path):
    numbers = np.arange(10, dtype=np.float32)
    value = {"turned": Tensor(numbers, 0, (2, 5), (1, 2)), "part": Tensor(numbers, 4, (3,), (2,)), "none": Tensor(numbers, 9, (0, 4), (4, 1))}  # fmt: skip # noqa: E501
    found = pickles.load(torch_files.save(tmp_path / "x.pt", value))
    np.testing.assert_array_equal(found["turned"], numbers.reshape(5, 2).T)
    np.testing.assert_array_equal(found["part"], [4, 6, 8])
    assert found["none"].shape == (0, 4)


def test_bfloat16_becomes_float32(tmp_path):
    numbers = np.array([1.0, -2.5, 3e38], np.float32)
    upper = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    value = [Tensor(upper, 0, (3,), (1,), kind="BFloat16Storage")]
    (found,) = pickles.load(torch_files.save(tmp_path / "x.pt", value))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, (upper.astype(np.uint32) << 16).view(np.float32))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_read_by_every_protocol(tmp_path, protocol):
    value = {
        "rows": np.arange(6.0).reshape(2, 3), "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "texts": np.array(["ab", "ç"]), "flags": np.array([True, False]), "bytes": b"\xff\x00",
        3: [1, -2.5, None, (True,)], "more": OrderedDict(a=1), "empty": np.zeros((0, 4), np.float32),
    }  # fmt: skip
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol))
    assert_same(pickles.load(tmp_path / "x.pkl"), value | {"more": {"a": 1}})


def test_numbers_of_numpy_become_numbers(tmp_path):
    big = np.arange(3, dtype=">f4")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([np.float32(1.5), np.int64(7), np.bool_(True), big]))
    assert_same(pickles.load(tmp_path / "x.pkl"), [1.5, 7, True, np.arange(3, dtype=np.float32)])


def test_many_numbers_of_numpy_share_a_type(tmp_path):
    numbers = np.arange(30_000, dtype=np.int16)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(list(numbers)))
    assert pickles.load(tmp_path / "x.pkl") == numbers.tolist()


def test_pickles_of_python_2_are_read(tmp_path):
    """Its texts were bytes; those of arrays and of old word vectors stand in quotes (protocol 0) or counted (2)."""
    rows = np.array([1.5, -2.0], np.float32)
    kind = b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    quoted = repr(rows.tobytes())[1:].encode()
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nt" + kind
    text = b"(dS'z\\xe9bra'\n" + array + b"I00\nS" + quoted + b"\ntbs."
    (tmp_path / "x.pkl").write_bytes(text)
    assert_same(pickles.load(tmp_path / "x.pkl"), {"zébra": rows})
    (tmp_path / "y.pkl").write_bytes(b"\x80\x02}U\x03cl\xe9]U\x01\xffas.")
    assert_same(pickles.load(tmp_path / "y.pkl"), {"clé": ["ÿ"]})


def test_options_become_dictionaries(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(argparse.Namespace(lr=0.1, names=["a"]), 2))
    assert_same(dict(pickles.load(tmp_path / "x.pkl")), {"lr": 0.1, "names": ["a"]})


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_the_standard_library_s_containers_become_plain_ones(tmp_path, protocol):
    """As schedulers, logs and options leave them in training's checkpoints."""
    value = {
        "milestones": Counter([3, 3, 4]), "log": defaultdict(list, {"loss": [0.5]}), "seen": {7}, "none": frozenset(),
        "classes": frozenset({8}), "at": {0.5: 1, None: 2}, "out": pathlib.PurePosixPath("/", *"abcdefghijklmnopqrst"),
        "args": argparse.Namespace(root=pathlib.PosixPath("runs/x"), at=pathlib.PureWindowsPath("c:/y")),
    }  # fmt: skip
    plain = {
        "milestones": {3: 2, 4: 1}, "log": {"loss": [0.5]}, "seen": [7], "none": [], "classes": [8],
        "at": {0.5: 1, None: 2}, "out": "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t",
        "args": {"root": "runs/x", "at": "c:\\y"},
    }  # fmt: skip
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol))
    assert_same(pickles.load(tmp_path / "x.pkl"), plain)


def shared(depth: int) -> bytes:
    """Lists of one list twice, so many deep: a few bytes that stand for 2 ** depth values."""
    again = (b"]q%c(" % place + b"h%c" % (place - 1) * 2 + b"e" for place in range(1, depth))
    return b"\x80\x02]q\x00(NNe" + b"".join(again) + STOPPED


STOPPED = b"."
REFUSED = {
    "system": b"\x80\x02" + name("os", "system") + b"X\x04\x00\x00\x00true\x85R.",
    "eval": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x031+1\x85R.",
    "execfile": b"\x80\x02" + name("__builtin__", "execfile") + b"X\x01\x00\x00\x00x\x85R.",
    "getattr": b"\x80\x02" + name("builtins", "getattr") + name("torch", "Size") + b"X\x08\x00\x00\x00__init__\x86R.",
    "dotted": b"\x80\x04\x8c\x05torch\x8c\x0eSize.__class__\x93.",
    "instance": b"(ios\nsystem\n.",
    "object": b"(cos\nsystem\nX\x04\x00\x00\x00trueo.",
    "module": b"\x80\x02" + name("zerodiff_tools", "DRG_Generator") + b")\x81.",
    "call of a type": b"\x80\x02" + name("torch", "FloatStorage") + b")R.",
    "extension": b"\x80\x02\x82\x01.",
    "factory": b"\x80\x02" + name("collections", "defaultdict") + name("os", "system") + b"\x85R.",
    "call of a factory": b"\x80\x02" + name("builtins", "int") + b")R.",
    "buffer": b"\x80\x05\x97.",
    "storage outside of an archive": b"\x80\x02X\x01\x00\x00\x000Q.",
    "key that is a tuple": b"\x80\x02}((tNu.",
    "key that is a tuple in tuples": b"\x80\x02})" + b"\x85" * 200_000 + b"Ns.",
    "key of a dictionary of protocol 0": b"()" + b"\x85" * 200_000 + b"Nd.",
    "key in pairs": b"\x80\x02" + name("collections", "OrderedDict") + b"]])aNaa\x85R.",
    "key of a dictionary's call": b"\x80\x02" + name("builtins", "dict") + b"]])aNaa\x85R.",
    "key that is large": b"\x80\x02}\x8a\x09" + bytes(8) + b"\x01Ns.",
    "key that is bytes": b"\x80\x03}C\x01xNs.",
    "list outside of the pickle": b"\x80\x02](NNeQ.",
    "many arguments": b"\x80\x02" + name("torch", "device") + b"(" + b"N" * 1000 + b"tR.",
    "state of an array's number": b"\x80\x02" + name("torch", "Size") + b")\x85RNb}b.",
    "objects in an array": pickle.dumps(np.array([object, 1], object)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_data_is_refused_by_name(tmp_path, case):
    (tmp_path / "x.pt").write_bytes(REFUSED[case])
    with pytest.raises(InputError, match=r"x\.pt: refused, since it asks for [^\n]*$"):
        pickles.load(tmp_path / "x.pt")


DAMAGED = {
    "empty": b"",
    "text": b"this is no archive\n",
    "codec": b"\x80\x02" + name("_codecs", "encode") + b"X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    "state of a list": b"\x80\x02]}b.",
    "attribute of a list": b"\x80\x02]N}X\x01\x00\x00\x00aNs\x86b.",
    "ends early": pickle.dumps(list(range(9)))[:-3],
    "something follows": pickle.dumps(1) + b"x",
    "large memo": b"\x80\x02Nr\xff\xff\xff\xff0p18446744073709551616\n.",
    "large bytes": b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"x.",
    "large bytearray": b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"x.",
    "large number": b"\x80\x02\x8b" + (2**31 - 1).to_bytes(4, "little") + b"x.",
    "negative length": b"\x80\x02\x8b" + b"\xff" * 4 + b"x.",
    "tuples in a set": b"\x80\x04\x8f()" + b"\x85" * 200_000 + b"\x90.",
    "call of a text": b"\x80\x02X\x01\x00\x00\x00x)R.",
    "state of a number": b"\x80\x02K\x01}X\x04\x00\x00\x00realNsb.",
    "state of a text": b"\x80\x02X\x01\x00\x00\x00xN}X\x01\x00\x00\x00aNs\x86b.",
    "nothing to take": b"\x80\x02a.",
    "no mark": b"\x80\x02e.",
    "deep lists": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * 20_000 + b".",
    "shared lists": shared(40),
    "counts of pairs": b"\x80\x02" + name("collections", "Counter") + b"](](](NNeNeNe\x85R.",
    "set of a number": b"\x80\x02" + name("builtins", "set") + b"K\x05\x85R.",
    "path of numbers": b"\x80\x02" + name("pathlib", "PosixPath") + b"K\x05\x85R.",
    "itself": b"\x80\x02]q\x00h\x00a.",
    "array too large": b"\x80\x02" + name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray")
    + b"K\x00\x85X\x01\x00\x00\x00b\x87R(K\x01J\xff\xff\xff\x7f\x85" + name("numpy", "dtype")
    + b"X\x02\x00\x00\x00f8\x89\x88\x87R\x89X\x01\x00\x00\x00atb.",
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_ends_in_one_line(tmp_path, case):
    (tmp_path / "x.pt").write_bytes(DAMAGED[case])
    with pytest.raises(InputError, match=r"x\.pt: damaged[^\n]*$"):
        pickles.load(tmp_path / "x.pt")


@pytest.mark.parametrize("called", [b"", b")R", b"N\x85R"])
def test_states_change_nothing_outside_of_the_file(tmp_path, called):
    """Whatever is named may be given attributes, entries and items; the next file is read as before."""
    attributes = b"}(X\x0c\x00\x00\x00__defaults__N\x85X\x08\x00\x00\x00__call__NX\x01\x00\x00\x00xNu"
    table, known = dict(pickles.CALLS), vars(Named).copy()
    for one in sorted(pickles.KNOWN):
        named = name(*one.rsplit(".", 1)) + called
        for changed in (attributes + b"b", b"N" + attributes + b"\x86b", b"X\x01\x00\x00\x00xNs", b"Na"):
            (tmp_path / "x.pkl").write_bytes(b"\x80\x02" + named + changed + STOPPED)
            with contextlib.suppress(InputError):
                pickles.load(tmp_path / "x.pkl")
    assert table == pickles.CALLS
    assert vars(Named) == known
    assert all(not vars(make) for make in table.values() if hasattr(make, "__dict__") and not isinstance(make, type))
    test_zip_archives_are_read(tmp_path)


def test_texts_cannot_be_multiplied(tmp_path):
    """A text of 1 MB, encoded a thousand times over by a few bytes each."""
    text = b"X" + (2**20).to_bytes(4, "little") + b"a" * 2**20 + b"q\x00"
    again = name("_codecs", "encode") + b"h\x00X\x06\x00\x00\x00latin1\x86R"
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02]" + text + b"0" + (again + b"a") * 1000 + STOPPED)
    with pytest.raises(InputError, match="far more than its size"):
        pickles.load(tmp_path / "x.pkl")


@pytest.mark.parametrize("kind", ["set", "PosixPath"])
def test_containers_cannot_be_multiplied(tmp_path, kind):
    """A thousand elements, or letters, made again and again."""
    whole = b"](" + b"N" * 1000 + b"e" if kind == "set" else torch_files.operations("a" * 1000, torch_files.Storages())
    again = name("builtins" if kind == "set" else "pathlib", kind) + b"h\x00\x85R"
    (tmp_path / "x.pkl").write_bytes(b"\x80\x02]" + whole + b"q\x000" + (again + b"a") * 9000 + STOPPED)
    with pytest.raises(InputError, match="far more than its size"):
        pickles.load(tmp_path / "x.pkl")


def test_what_the_memory_cannot_hold_is_refused(tmp_path, monkeypatch):
    torch_files.save(tmp_path / "x.pt", VALUE)
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    with pytest.raises(InputError, match=r"x\.pt: claims \d+ bytes, more than 100, half of the memory"):
        pickles.load(tmp_path / "x.pt")


def test_tensors_cannot_be_multiplied(tmp_path):
    numbers = np.zeros(100_000, np.float32)
    torch_files.save(tmp_path / "x.pt", [Tensor(numbers, 0, (100_000,), (1,))] * 20)
    with pytest.raises(InputError, match="far more than its size"):
        pickles.load(tmp_path / "x.pt")


def test_truncated_archives_are_refused(tmp_path):
    whole = {"new": torch_files.save(tmp_path / "new.pt", VALUE).read_bytes(), "old": torch_files.stream(VALUE)}
    for kind, data in whole.items():
        for length in range(0, len(data), 97):
            (tmp_path / "cut.pt").write_bytes(data[:length])
            with pytest.raises(InputError, match=r"cut\.pt: (damaged|refused)"):
                pickles.load(tmp_path / "cut.pt")
        assert kind


def test_changed_bytes_do_nothing_but_harm(tmp_path):
    """Whatever byte of the pickle is changed, something is read or refused; nothing else happens."""
    data = torch_files.stream({"a": np.arange(3, dtype=np.float32), "b": [1, (2.5, "x")]})
    random = np.random.default_rng(0)
    for place in random.choice(len(data), 200):
        changed = bytearray(data)
        changed[place] = random.integers(256)
        (tmp_path / "x.pt").write_bytes(bytes(changed))
        try:
            pickles.load(tmp_path / "x.pt")
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_unused_names_in_tensors_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"'torch\.jit\._script'"):
        pickles.load(torch_files.save(tmp_path / "x.pt", Raw(name("torch.jit", "_script"))))


def test_storages_by_themselves_are_refused(tmp_path):
    storage = ("storage", Raw(name("torch", "FloatStorage")), "0", "cpu", 3)
    value = Raw(torch_files.operations(storage, torch_files.Storages()) + b"Q")
    with pytest.raises(InputError, match="a storage by itself"):
        pickles.load(torch_files.save(tmp_path / "x.pt", [value]))


def test_values_are_nested_only_so_deep(tmp_path):
    for depth, fits in {pickles.DEEPEST: True, pickles.DEEPEST + 1: False}.items():
        (tmp_path / "x.pkl").write_bytes(b"\x80\x02N" + b"\x85" * depth + STOPPED)
        if fits:
            assert pickles.load(tmp_path / "x.pkl")
            continue
        with pytest.raises(InputError, match="nested deeper than 64"):
            pickles.load(tmp_path / "x.pkl")

import json
import zipfile

import h5py
import numpy as np
import pytest

from tests.data import toy
from zsl_jax.data.importing import sources
from zsl_jax.errors import InputError

X = np.ones((4, 3))


def npz(folder):
    np.savez(folder / "a.npz", x=X, it=np.array([X, None], dtype=object))
    return folder / "a.npz"


def npz_with_text(folder):
    np.savez(folder / "a.npz", x=X)
    with zipfile.ZipFile(folder / "a.npz", "a") as archive:
        archive.writestr("it", "read me")
    return folder / "a.npz"


def bytes_in_hdf5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"], file["it"] = X, np.array([b"caf\xe9"])
    return folder / "a.h5"


def bytes_in_npz(folder):
    np.savez(folder / "a.npz", x=X, it=np.array([b"caf\xe9"]))
    return folder / "a.npz"


def ragged_json(folder):
    (folder / "a.json").write_text(json.dumps({"x": X.tolist(), "it": [[1], [1, 2]]}))
    return folder / "a.json"


def cells_of_cells(folder):
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = toy.cells(["a"])
    toy.write_v5(folder / "a.mat", {"x": X, "it": cells})
    return folder / "a.mat"


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (npz, "never unpickled"),
        (npz_with_text, "no array"),
        (bytes_in_hdf5, "isn't UTF-8"),
        (bytes_in_npz, "isn't UTF-8"),
        (ragged_json, "different lengths"),
        (cells_of_cells, "a cell array of strings is needed"),
    ],
)
def test_what_cannot_be_used_keeps_no_other_field_out(tmp_path, write, reason):
    fields = {field.name: field for field in sources.read(write(tmp_path))}
    np.testing.assert_array_equal(fields["x"].value, X)
    assert not fields["it"].is_usable
    assert reason in fields["it"].note


def test_memory_that_does_not_suffice(tmp_path, monkeypatch):
    def too_large(_):
        raise MemoryError

    (tmp_path / "a.npy").write_bytes(b"")
    monkeypatch.setitem(sources.READERS, ".npy", too_large)
    with pytest.raises(InputError, match="too large for the memory here; give fewer rows"):
        sources.read(tmp_path / "a.npy")

"""A small data set in the field's layout, as dictionaries of fields, and the two ways to write them."""

import pathlib
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import scipy.io

N_CLASSES, A_DIM, X_DIM = 6, 4, 7
UNSEEN = (4, 5)
ROWS_PER_CLASS = 6
HEADER_BYTES = 128  # of a file of version 5, which hold the time


def features_fields(seed: int = 0) -> dict[str, np.ndarray]:
    """Returns `features` [D, N] double and `labels` [N, 1], 1-based, in mixed order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(1, N_CLASSES + 1), ROWS_PER_CLASS))
    return {"features": rng.random((X_DIM, labels.size)), "labels": labels[:, None].astype(np.uint8)}


def split_fields(labels: np.ndarray, variant: str = "B", seed: int = 1) -> dict[str, np.ndarray]:
    """Returns a split file's fields for labels [N, 1]: the last two classes unseen, the fourth for validation."""
    rng = np.random.default_rng(seed)
    of_row = labels.ravel() - 1
    unseen = np.isin(of_row, UNSEEN)
    held_out = np.zeros(of_row.size, bool)
    for label in range(N_CLASSES):
        held_out[np.flatnonzero(of_row == label)[:2]] = True
    validation = of_row == 3
    leaking = ~unseen if variant == "A" else ~unseen & ~held_out
    masks = {"trainval": ~unseen & ~held_out, "test_seen": ~unseen & held_out, "test_unseen": unseen}
    if variant != "C":
        masks |= {"train": leaking & ~validation, "val": leaking & validation}
    fields = {f"{part}_loc": one_based(rng.permutation(np.flatnonzero(mask))) for part, mask in masks.items()}
    original = rng.uniform(1, 100, (A_DIM, N_CLASSES))
    att = original / np.linalg.norm(original, axis=0)[None, :]
    return fields | {"att": att, "original_att": original, "allclasses_names": cells(class_names())}


def class_names() -> list[str]:
    return [f"animal+{number}" for number in range(N_CLASSES)]


def one_based(rows: np.ndarray) -> np.ndarray:
    return (rows + 1).astype(np.uint16)[:, None]


def cells(texts: list[Any]) -> np.ndarray:
    """Returns a MATLAB cell array [n, 1] of strings."""
    array = np.empty((len(texts), 1), dtype=object)
    array[:, 0] = texts
    return array


def write_v5(path: pathlib.Path, fields: Mapping[str, Any], compressed: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, fields, do_compression=compressed)


def write_v73(path: pathlib.Path, fields: dict[str, np.ndarray]) -> None:
    """Writes HDF5 as MATLAB does: arrays transposed, cells as references to arrays of character codes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in fields.items():
            if value.dtype == object:
                _write_cells(file, name, value)
            else:
                file[name] = value.T
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file")


def _write_cells(file: h5py.File, name: str, value: np.ndarray) -> None:
    references = np.empty(value.T.shape, dtype=h5py.ref_dtype)
    for column, text in enumerate(value.ravel()):
        file[f"#refs#/{column}"] = np.array([[ord(letter)] for letter in text], dtype=np.uint16)
        references[0, column] = file[f"#refs#/{column}"].ref
    file.create_dataset(name, data=references, dtype=h5py.ref_dtype)


def write_toy(root: pathlib.Path, variant: str = "B", write=write_v5, **changes: np.ndarray | None) -> pathlib.Path:
    """Writes the data set `TOY` with `res101.mat` and `att_splits.mat`.

    Args:
      root: the data root.
      variant: of the split file.
      write: `write_v5` or `write_v73`.
      **changes: fields to replace in whichever file has them (None: to leave out); others go into the split file.

    Returns:
      The data set's folder.
    """
    features = features_fields()
    splits = split_fields(features["labels"], variant)
    splits |= {key: value for key, value in changes.items() if key not in features}
    for name, fields in {"res101.mat": features, "att_splits.mat": splits}.items():
        kept = {key: changes.get(key, value) for key, value in fields.items()}
        write(root / "TOY" / name, {key: value for key, value in kept.items() if value is not None})
    return root / "TOY"

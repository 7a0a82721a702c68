"""Reads the recorded archives (`torch.save`, zip format) without torch: tensors of float32, nothing else."""

import pathlib
import pickle
import zipfile
from collections import OrderedDict
from typing import Any

import numpy as np


def read(path: pathlib.Path) -> dict[str, dict[str, np.ndarray]]:
    """State dicts by name, each {key: array}."""
    with zipfile.ZipFile(path) as archive:
        (pickled,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        root = pickled.removesuffix("data.pkl")
        with archive.open(pickled) as file:
            return _Reader(file, lambda key: archive.read(f"{root}data/{key}")).load()


class _Reader(pickle.Unpickler):
    """Knows ordered dicts and float32 tensors; refuses every other name."""

    def __init__(self, file: Any, storage):
        super().__init__(file)
        self._storage = storage

    def find_class(self, module_name: str, global_name: str) -> Any:
        known = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch.FloatStorage": "<f4",
        }
        return known[f"{module_name}.{global_name}"]

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, dtype, key, _, length = pid
        return np.frombuffer(self._storage(key), dtype, length)


def _tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_) -> np.ndarray:
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()

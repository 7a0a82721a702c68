"""Arrays by name in .safetensors files, and trees of parameters as such arrays."""

import os
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from zsl_jax.errors import InputError
from zsl_jax.files import opened, replacing, require_room, size_of

SEPARATOR = "/"
DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "BOOL": np.bool_,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
}  # fmt: skip


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and texts by name; bfloat16 as float32.

    Raises:
      InputError: the file cannot be read, is damaged, too large for the memory, or has numbers of another type.
    """
    with opened(path) as stream:
        require_room(path, size_of(stream))
        try:
            raw = stream.read()
            metadata = _metadata(path)
            entries = safetensors.deserialize(raw)
        except safetensors.SafetensorError as error:
            raise InputError(f"{path}: damaged, or no .safetensors file ({' '.join(str(error).split())})") from error
        except MemoryError as error:
            raise InputError(f"{path}: too large for the memory that this process may use") from error
    return {name: _array(path, name, entry) for name, entry in sorted(entries, key=lambda entry: entry[0])}, metadata


def write(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes arrays and texts; the file is whole or not there.

    Raises:
      InputError: the folder is missing or cannot be written.
    """
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with replacing(path) as temporary:
        safetensors.numpy.save_file(plain, temporary, dict(metadata))


def flatten(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of nested dictionaries, by their keys joined with "/"."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}{SEPARATOR}{name}": array for name, array in flatten(value).items()}
        else:
            flat[key] = np.asarray(value)
    return flat


def unflatten(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Undoes `flatten`.

    Raises:
      InputError: a name is empty in a part, or stands for an array and for a dictionary.
    """
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *parents, last = name.split(SEPARATOR)
        place = tree
        for part in parents:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                break
        if not isinstance(place, dict) or last in place or not all([*parents, last]):
            raise InputError(f"array {name!a:.100}: no name of a parameter, or in the way of another")
        place[last] = array
    return tree


def _metadata(path: str | os.PathLike) -> dict[str, str]:
    with safetensors.safe_open(path, framework="np") as file:
        return dict(file.metadata() or {})


def _array(path: str | os.PathLike, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    if entry["dtype"] not in DTYPES:
        raise InputError(f"{path}: array {name!a:.100} is of type {entry['dtype']}, which is not read")
    array = np.frombuffer(entry["data"], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return array.astype(np.float32) if entry["dtype"] == "BF16" else array

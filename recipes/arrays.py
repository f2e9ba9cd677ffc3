"""Named arrays in a `.npz`, byte strings included, without pickle.

A string array is kept as one buffer of bytes and an array of lengths, which also holds its shape. NumPy alone: the
process that replays a version's proof needs nothing else to read it.
"""

from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

Arrays = dict[str, np.ndarray]


def save(file: BinaryIO, groups: Mapping[str, Arrays]) -> None:
    """Write groups of named arrays: numbers of any kind, or objects that are `bytes`."""
    packed = {}
    for group, arrays in groups.items():
        for name, array in arrays.items():
            if array.dtype != object:
                packed[f"{group}/array/{name}"] = array
                continue
            packed[f"{group}/bytes/{name}"] = np.frombuffer(b"".join(array.flat), np.uint8)
            packed[f"{group}/lengths/{name}"] = np.array([len(s) for s in array.flat], np.int64).reshape(array.shape)
    np.savez(file, **packed)


def load(file: BinaryIO) -> dict[str, Arrays]:
    """Read what `save` wrote. A group without arrays is not remembered."""
    groups: dict[str, Arrays] = {}
    with np.load(file, allow_pickle=False) as packed:
        for key in packed.files:
            group, kind, name = key.split("/", 2)
            arrays = groups.setdefault(group, {})
            if kind == "array":
                arrays[name] = packed[key]
            elif kind == "lengths":
                arrays[name] = _strings(packed[f"{group}/bytes/{name}"].tobytes(), packed[key])
    return groups


def _strings(data: bytes, lengths: np.ndarray) -> np.ndarray:
    ends = np.cumsum(lengths)
    strings = np.empty(lengths.size, object)
    strings[:] = [data[end - length : end] for end, length in zip(ends, lengths.flat, strict=True)]
    return strings.reshape(lengths.shape)

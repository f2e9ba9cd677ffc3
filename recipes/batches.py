"""Batches put together, row behind row, and parted. NumPy alone: who verifies a version needs no more."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

Arrays = dict[str, np.ndarray]


def objects(strings: Iterable[bytes]) -> np.ndarray:
    """Strings of bytes as an object array `(n,)`."""
    return np.array([*strings, None], object)[:-1]  # the None keeps NumPy from making an S array


def joined(arrays: Sequence[np.ndarray], fill=None) -> np.ndarray:
    """Arrays `(n, ...)` as one. Where they differ in a further axis, all are as long there as the longest.

    Args:
        arrays: of one dtype and rank.
        fill: what comes behind the shorter ones; None: 0, or b"" for objects.
    """
    shape = [sum(map(len, arrays)), *np.max([array.shape[1:] for array in arrays], axis=0).astype(int)]
    if all([*array.shape[1:]] == shape[1:] for array in arrays):
        return np.concatenate(arrays)
    if fill is None:
        fill = b"" if arrays[0].dtype == object else 0
    whole, row = np.full(shape, fill, arrays[0].dtype), 0
    for array in arrays:
        whole[(slice(row, row + len(array)), *map(slice, array.shape[1:]))] = array
        row += len(array)
    return whole


def filled(arrays: Iterable[np.ndarray], count: int) -> np.ndarray:
    """Arrays `(n, ...)` of one shape as one of `count` rows: as they come, so that they are never held beside it."""
    whole, row = None, 0
    for array in arrays:
        if whole is None:
            whole = np.empty((count, *array.shape[1:]), array.dtype)
        whole[row : row + len(array)] = array
        row += len(array)
    return whole


def all_joined(parts: Sequence[Arrays]) -> Arrays:
    """The same by name, of the names that every part has."""
    names = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: joined([part[name] for part in parts]) for name in names}


def parts(batch: Mapping[str, np.ndarray], size: int) -> Iterator[Arrays]:
    """All rows in their order, in batches of `size` and a last one of what is left."""
    for start in range(0, len(next(iter(batch.values()), ())), size):
        yield {name: array[start : start + size] for name, array in batch.items()}

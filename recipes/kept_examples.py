"""Preprocessed examples on the disk: what does not fit into memory is decoded once, for all epochs and later trainings.

A part's arrays lie in a folder named by a hash of all that they depend on. It appears by one rename when everything in
it is on the disk; of several trainings at once one writes it, and the others wait. Before it is used, its first
examples are held against those that are preprocessed now: what has changed and is not in the hash is found there.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from filelock import FileLock

from recipes.pipeline import Part

HELD_AGAINST = 8
"""Examples that are preprocessed to find out whether those on the disk are the same."""
WRITTEN_TOGETHER = 256


def kept(part: Part, folder: Path, facts: Mapping[str, Any]) -> Part:
    """The same part, its examples read from the disk; itself where it is in memory, or their shapes are not fixed.

    Where they cannot be written, as the disk is full, a warning says so, and the part stays as it is.

    Args:
        part: of the data.
        folder: of all kept examples.
        facts: all that the part's examples depend on, JSON values.
    """
    specs = None if part.arrays is not None else _specs(part)
    if specs is None or not all(_is_fixed(spec) for spec in specs):
        return part
    place = folder.expanduser() / hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    try:
        arrays = _opened(place, part, specs) or _written(place, part, specs)
    except OSError as error:
        warnings.warn(f"Examples are not kept in {folder}: {error.strerror or error}.", stacklevel=2)
        return part
    return dataclasses.replace(part, kept=arrays)


def _specs(part: Part) -> list[tf.TensorSpec]:
    """Of the tensors of one example; None where examples are preprocessed together."""
    if part.reading.padding is not None:
        return None
    return tf.nest.flatten(part.stream.map(part.reading.preprocess).element_spec)


def _is_fixed(spec: tf.TypeSpec) -> bool:
    return isinstance(spec, tf.TensorSpec) and spec.shape.is_fully_defined() and spec.dtype != tf.string


def _file(place: Path, number: int) -> Path:
    return place / f"{number}.npy"


def _opened(place: Path, part: Part, specs: list[tf.TensorSpec]) -> tuple[np.ndarray, ...] | None:
    """Arrays that lie there already; None where there are none, or others than are made now."""
    if not place.is_dir():
        return None
    try:
        arrays = tuple(np.load(_file(place, i), mmap_mode="r") for i in range(len(specs)))
    except (OSError, ValueError):  # broken by somebody else
        return None
    first = next(part.read_batches(HELD_AGAINST).take(1).as_numpy_iterator())
    same = (
        len(array) == part.size and np.array_equal(array[: len(now)], now, equal_nan=now.dtype.kind == "f")
        for array, now in zip(arrays, tf.nest.flatten(first), strict=True)
    )
    return arrays if all(same) else None


def _written(place: Path, part: Part, specs: list[tf.TensorSpec]) -> tuple[np.ndarray, ...]:
    """Arrays that are written now, or were while another training had the lock."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        if found := _opened(place, part, specs):
            return found
        for left in place.parent.glob(f".{place.name}-*"):  # of a training that was killed
            shutil.rmtree(left)
        partial = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        try:
            _write(partial, part, specs)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(place, ignore_errors=True)  # one that is broken, or of another version
        os.replace(partial, place)
    return tuple(np.load(_file(place, i), mmap_mode="r") for i in range(len(specs)))


def _write(folder: Path, part: Part, specs: list[tf.TensorSpec]) -> None:
    # Not through a memory map: on a full disk that ends the process.
    files = [open(_file(folder, i), "wb") for i in range(len(specs))]  # noqa: SIM115
    try:
        for file, spec in zip(files, specs, strict=True):
            dtype = np.lib.format.dtype_to_descr(np.dtype(spec.dtype.as_numpy_dtype))
            header = {"descr": dtype, "fortran_order": False, "shape": (part.size, *spec.shape)}
            np.lib.format.write_array_header_2_0(file, header)
        for batch in part.read_batches(WRITTEN_TOGETHER).as_numpy_iterator():
            for file, array in zip(files, tf.nest.flatten(batch), strict=True):
                file.write(np.ascontiguousarray(array).tobytes())
        for file in files:
            file.flush()
            os.fsync(file.fileno())
    finally:
        for file in files:
            file.close()

"""The answers to the batches of one long list, put together."""

from collections.abc import Mapping, Sequence

import numpy as np

from serving.errors import AnswerMismatch
from serving.metadata import TensorSpec


def joined(
    parts: Sequence[tuple[int, Mapping[str, np.ndarray]]], specs: Mapping[str, TensorSpec]
) -> dict[str, np.ndarray]:
    """The outputs of all parts, row behind row. ``parts`` are numbers of rows with their outputs.

    What is only as wide as its batch needs (the words of a text) is filled up to the widest batch, behind its own
    values: numbers with 0, strings with empty ones, as models do within a batch. An output without a row for each input
    must be the same in every part. AnswerMismatch where parts cannot be of one model, or cannot be put together.
    """
    if len(parts) == 1:
        return dict(parts[0][1])
    if other := next((outputs for _, outputs in parts if outputs.keys() != specs.keys()), None):
        raise AnswerMismatch(f"expected the outputs {', '.join(specs)}, received {', '.join(other)}")
    sizes = [size for size, _ in parts]
    return {name: _joined(name, [outputs[name] for _, outputs in parts], sizes, spec) for name, spec in specs.items()}


def _joined(name: str, arrays: Sequence[np.ndarray], sizes: Sequence[int], spec: TensorSpec) -> np.ndarray:
    if any(array.shape[:1] != (size,) for array, size in zip(arrays, sizes, strict=True)):
        if all(np.array_equal(array, arrays[0]) for array in arrays):
            return arrays[0]
        raise AnswerMismatch(f"output {name!r} has no row for each input, and differs from batch to batch")
    if len({array.ndim for array in arrays}) > 1:
        raise AnswerMismatch(f"output {name!r} has another rank in another batch")
    widest = tuple(map(max, zip(*(array.shape[1:] for array in arrays), strict=True)))
    if spec.shape is not None and not TensorSpec(spec.dtype, spec.shape[1:]).fits(widest):
        raise AnswerMismatch(f"output {name!r} is no {spec} in every batch")
    empty = (b"" if name.endswith("_bytes") else "") if spec.dtype == "string" else 0
    whole = np.full((sum(sizes), *widest), empty, arrays[0].dtype)
    start = 0
    for array in arrays:
        whole[(slice(start, start + len(array)), *map(slice, array.shape[1:]))] = array
        start += len(array)
    return whole

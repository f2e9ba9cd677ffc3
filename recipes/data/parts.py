"""Parts of a data source, and how a fraction of one is split off.

A part knows its size, reads itself as a `tf.data.Dataset` of raw `(x, y)` in a fixed order, and divides itself into
disjoint parts. Nothing here holds more than indices in memory, except arrays that were given as arrays.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import tensorflow as tf

from zoo.nearest import unknown

NAMES = ("train", "validation", "test")
# Below this a split-off part would be one example or none, and its figure would say nothing.
LEAST_TO_SPLIT = 10
READ_TOGETHER = 128


class Part(Protocol):
    """A training, validation or test part."""

    size: int

    def read(self) -> tf.data.Dataset:
        """The part's raw examples `(x, y)`, unbatched, in a fixed order."""

    def divide(self, sizes: Sequence[int], seed: int) -> list["Part"]:
        """Disjoint parts of the given sizes, which sum up to this part's."""


@dataclass(frozen=True)
class Rows:
    """Examples found by index: arrays, or the paths of files.

    Attributes:
        x: inputs, one per row; where `load` is given, what it loads the input from.
        y: targets, one per row.
        load: TensorFlow function from one row of `x` to the raw input.
        digests: of what it loads, one per row, fixed-length bytes; None where they are not known.
    """

    x: np.ndarray
    y: np.ndarray
    load: Callable[[tf.Tensor], tf.Tensor] | None = None
    digests: np.ndarray | None = None

    @property
    def size(self) -> int:
        return len(self.y)

    def read(self) -> tf.data.Dataset:
        rows = tf.data.Dataset.from_tensor_slices((self.x, self.y))
        if self.load is None:
            return rows
        load = self.load
        return rows.map(lambda x, y: (load(x), y), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def divide(self, sizes: Sequence[int], seed: int) -> list["Rows"]:
        owner = assign(sizes, seed)
        return [self._taken(owner == part) for part in range(len(sizes))]

    def _taken(self, mask: np.ndarray) -> "Rows":
        digests = None if self.digests is None else self.digests[mask]
        return replace(self, x=self.x[mask], y=self.y[mask], digests=digests)


@dataclass(frozen=True)
class Stream:
    """Examples that can only be read one after the other, always in the same order."""

    dataset: tf.data.Dataset
    size: int

    def read(self) -> tf.data.Dataset:
        return self.dataset

    def divide(self, sizes: Sequence[int], seed: int) -> list["Stream"]:
        owner = tf.constant(assign(sizes, seed))
        return [Stream(self._owned(owner, part), size) for part, size in enumerate(sizes)]

    def _owned(self, owner: tf.Tensor, part: int) -> tf.data.Dataset:
        numbered = self.dataset.enumerate().filter(lambda index, _: owner[index] == part)
        return numbered.map(lambda _, example: example)


def assign(sizes: Sequence[int], seed: int) -> np.ndarray:
    """Number of the part that each of `sum(sizes)` examples falls to, uint8, by a permutation that `seed` fixes."""
    owner = np.repeat(np.arange(len(sizes), dtype=np.uint8), sizes)
    # RandomState: its stream is frozen, so a seed means the same split under every release of NumPy.
    return np.random.RandomState(seed).permutation(owner)


@dataclass(frozen=True)
class Fractions:
    """How much of the training part to split off where the source brings no such part; 0 is nothing."""

    validation: float
    test: float

    @classmethod
    def of(cls, validation, test) -> "Fractions":
        """Check and build; None counts as 0.

        Raises:
            ValueError: a fraction outside [0, 1), or fractions that leave nothing to train on.
        """
        fractions = cls(_fraction("validation", validation), _fraction("test", test))
        if fractions.validation + fractions.test >= 1:
            raise ValueError(
                "validation and test together must leave something to train on. "
                f"Received: validation={validation!r}, test={test!r}."
            )
        return fractions


def _fraction(name: str, value) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"{name} must be a fraction of the training part in [0, 1), or None. Received: {value!r}.")
    return float(value)


def split_off(parts: Mapping[str, Part], fractions: Fractions, seed: int) -> dict[str, Part]:
    """Split a validation and a test part off the training part, where the source brings none.

    A part that the source brings is kept as it is; a validation part is dropped where none is wanted. Each new part
    gets floor(fraction * n) of the n examples; of fewer than ten nothing is split off.
    """
    parts = {name: part for name, part in parts.items() if name != "validation" or fractions.validation}
    n = parts["train"].size
    if n < LEAST_TO_SPLIT:
        return parts
    wanted = {name: _share(getattr(fractions, name), n) for name in ("validation", "test") if name not in parts}
    wanted = {name: size for name, size in wanted.items() if size}
    if not wanted:
        return parts
    sizes = [n - sum(wanted.values()), *wanted.values()]
    return parts | dict(zip(("train", *wanted), parts["train"].divide(sizes, seed), strict=True))


def _share(fraction: float, n: int) -> int:
    # 0.29 * 100 is 28.999999999999996: the tolerance keeps floor from taking one example too few.
    return math.floor(fraction * n + 1e-9)


def one_by_one(examples: tf.data.Dataset) -> Iterator[tuple]:
    """A finite data set's examples as NumPy arrays or bytes; those of one shape are read together, which is quicker."""
    if all(isinstance(spec, tf.TensorSpec) and spec.shape.is_fully_defined() for spec in examples.element_spec):
        batches = examples.batch(READ_TOGETHER).as_numpy_iterator()
        return (example for batch in batches for example in zip(*batch, strict=True))
    return examples.as_numpy_iterator()


def example_digest(example) -> bytes:
    """SHA-256 of one example `(x, y)` of NumPy arrays or bytes: types, shapes and values."""
    digest = hashlib.sha256()
    for value in example:
        array = np.asarray(value)
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(value if isinstance(value, bytes) else np.ascontiguousarray(array).tobytes())
    return digest.digest()


def check_part_names(names: Sequence[str]) -> None:
    """Raise ValueError unless the names are parts, the training part among them."""
    for name in names:
        if name not in NAMES:
            raise unknown("part", name, NAMES)
    if "train" not in names:
        raise ValueError(f'A data source needs a "train" part. Received: {", ".join(names) or "none"}.')


def check_sizes(name: str, sizes: Mapping[str, int]) -> None:
    """Raise ValueError if a part is empty."""
    for part, size in sizes.items():
        if not size:
            listing = ", ".join(f"{p}: {n}" for p, n in sizes.items())
            raise ValueError(f"The {part} part of {name!r} is empty. Examples: {listing}.")

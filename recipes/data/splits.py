"""Parts of a prepared TFDS data set: intervals of examples, named by TFDS' split expressions."""

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from recipes.data.parts import Part, Stream, check_sizes, example_digest, one_by_one

# An interval of examples: split name, first, one past the last.
Interval = tuple[str, int, int]

SAMPLE = 1000
"""Examples of each part that the fingerprint covers."""


def intervals(builder: tfds.core.DatasetBuilder, split: str) -> list[Interval]:
    """The examples that a split expression such as "train[:80%]+test" stands for.

    Raises:
        ValueError: malformed, or an unknown split.
    """
    infos = builder.info.splits
    try:
        absolute = tfds.core.splits.AbstractSplit.from_spec(split).to_absolute(infos)
    except (ValueError, KeyError, NotImplementedError, AssertionError) as error:
        raise ValueError(
            f"Split {split!r} of {builder.name!r}: {error} Splits: "
            f"{', '.join(f'{name} ({info.num_examples})' for name, info in infos.items())}."
        ) from None
    return [
        (piece.splitname, piece.from_ or 0, infos[piece.splitname].num_examples if piece.to is None else piece.to)
        for piece in absolute
    ]


def check_disjoint(splits: dict[str, list[Interval]]) -> None:
    """Raise ValueError if two parts share an example."""
    pieces = [(part, *interval) for part, listed in splits.items() for interval in listed]
    for i, (part, split, start, stop) in enumerate(pieces):
        for other, other_split, other_start, other_stop in pieces[i + 1 :]:
            if split == other_split and max(start, other_start) < min(stop, other_stop):
                raise ValueError(
                    f"The parts must not share examples: {split}[{start}:{stop}] ({part}) overlaps "
                    f"{other_split}[{other_start}:{other_stop}] ({other})."
                )


Transform = Callable[[tfds.core.DatasetBuilder, tfds.core.ReadInstruction], tf.data.Dataset]
"""Reads what an instruction says of a builder's data, as `(x, y)`."""


class Slices:
    """Examples of prepared splits, read from the record files."""

    def __init__(self, builder, listed: Sequence[Interval], read: Transform):
        self._builder, self._read = builder, read
        self.intervals = [piece for piece in listed if piece[1] < piece[2]]

    @property
    def size(self) -> int:
        return sum(stop - start for _, start, stop in self.intervals)

    def read(self) -> tf.data.Dataset:
        return self._read(self._builder, _instruction(self.intervals))

    def divide(self, sizes: Sequence[int], seed: int) -> list[Part]:
        """Contiguous slices: TFDS writes examples in an order shuffled by hash, so each is a fair sample.

        `seed` has no influence here. Where a builder keeps an order of its own, examples are drawn by the seed.
        """
        if self._builder.info.disable_shuffling:
            return Stream(self.read(), self.size).divide(sizes, seed)
        bounds = np.cumsum([0, *sizes]).tolist()
        return [Slices(self._builder, cut(self.intervals, *pair), self._read) for pair in itertools.pairwise(bounds)]


def cut(listed: Sequence[Interval], first: int, stop: int) -> list[Interval]:
    """The intervals of examples number `first` to `stop` of those listed."""
    pieces, position = [], 0
    for split, start, end in listed:
        low, high = max(first - position, 0), min(stop - position, end - start)
        if low < high:
            pieces.append((split, start + low, start + high))
        position += end - start
    return pieces


def _instruction(listed: Sequence[Interval]):
    first, *rest = (tfds.core.ReadInstruction(split, from_=start, to=stop, unit="abs") for split, start, stop in listed)
    return sum(rest, first)


def choose_splits(
    builder: tfds.core.DatasetBuilder, train: str, test: str | None, validation: str | None
) -> dict[str, list[Interval]]:
    """Intervals of the parts that the data set brings or the caller named.

    A test part that is not named is the split "test", else "validation"; a validation part that is not named is the
    split "validation". A split of which a named part takes examples is not used so.

    Raises:
        ValueError: an unknown or malformed split, or parts that share an example.
    """
    named = {"train": train, "validation": validation, "test": test}
    chosen = {part: intervals(builder, split) for part, split in named.items() if split}
    for part, usual in (("test", ("test", "validation")), ("validation", ("validation",))):
        taken = {split for listed in chosen.values() for split, _, _ in listed}
        free = [split for split in usual if split in builder.info.splits and split not in taken]
        if part not in chosen and free:
            chosen[part] = intervals(builder, free[0])
    check_disjoint(chosen)
    return chosen


def read_parts(
    name: str, builder: tfds.core.DatasetBuilder, splits: Mapping[str, list[Interval]], read: Transform
) -> dict[str, Slices]:
    """The parts that `choose_splits` gave, read as `(x, y)`.

    Args:
        name: of the data set, for the message.

    Raises:
        ValueError: an empty part.
    """
    parts = {part: Slices(builder, listed, read) for part, listed in splits.items()}
    check_sizes(name, {part: slices.size for part, slices in parts.items()})
    return parts


def fingerprint(builder: tfds.core.DatasetBuilder, parts: Mapping[str, Slices]) -> str:
    """SHA-256 over the data set's name and version, its splits' sizes, the parts' intervals and first 1,000 examples.

    Cheap however large the data is: a later example that changes within the same version and bytes goes unnoticed. The
    record files themselves are not hashed: TFDS writes the features of an example in no fixed order.
    """
    digest = hashlib.sha256(builder.info.full_name.encode())
    for split, info in sorted(builder.info.splits.items()):
        digest.update(f"{split} {info.shard_lengths} {info.num_bytes}".encode())
    for name, part in sorted(parts.items()):
        digest.update(f"{name} {part.intervals}".encode())
        for example in one_by_one(part.read().take(SAMPLE)):
            digest.update(example_digest(example))
    return digest.hexdigest()

"""Which rows of every batch are whose, where several processes train together."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Share:
    """The rows of one process: an equal part of those of a batch; all of them where they make no equal parts.

    Attributes:
        process, processes: number of this one, and how many there are.
        parts: into how many a batch is cut, as many for every process.
    """

    process: int
    processes: int
    parts: int

    def bounds(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Of a batch of so many rows: whether it is cut, the first row of this process, and the one behind its last."""
        is_cut = rows % self.parts == 0
        count = tf.where(is_cut, rows // self.processes, rows)
        first = tf.where(is_cut, self.process * count, 0)
        return is_cut, first, first + count

    def of(self, *batch) -> tuple[tf.Tensor, tuple]:
        """Whether a batch is cut, and its rows of this process."""
        is_cut, first, end = self.bounds(tf.shape(tf.nest.flatten(batch)[0])[0])
        return is_cut, tf.nest.map_structure(lambda tensor: tensor[first:end], batch)

    def reads(self, place: tf.Tensor, size: int, batch_size: int) -> tf.Tensor:
        """Whether the example at a place of an epoch is in a row of this process.

        Args:
            place: from 0, int64.
            size, batch_size: examples of the epoch, and of a batch.
        """
        row = tf.cast(place % batch_size, tf.int32)
        begun = tf.cast(place, tf.int32) - row
        _, first, end = self.bounds(tf.minimum(batch_size, size - begun))
        return (row >= first) & (row < end)

    def blanking(self, examples: tf.data.Dataset, preprocess: Callable, size: int, batch_size: int) -> tf.data.Dataset:
        """Examples of an epoch preprocessed, but for those in rows of other processes, which are zeros in their place.

        Args:
            examples: numbered, `(place, (x, y))`.
            preprocess: raw `(x, y)` → tensors, or nests of tensors.
            size, batch_size: as above.
        """
        kinds = examples.map(lambda place, example: preprocess(*example)).element_spec
        known = all(kind.shape.is_fully_defined() and kind.dtype != tf.string for kind in tf.nest.flatten(kinds))

        def read(place, example):
            if not known:
                return preprocess(*example)
            return tf.cond(
                self.reads(place, size, batch_size),
                lambda: preprocess(*example),
                lambda: tf.nest.map_structure(lambda kind: tf.zeros(kind.shape, kind.dtype), kinds),
            )

        return examples.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

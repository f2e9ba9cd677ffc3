"""From raw examples to batches.

Examples are preprocessed once and kept in memory where they fit, else read anew in every epoch. Their order is a
function of the seed and the epoch alone, so that a run can be repeated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

MEMORY_LIMIT = 2**30
"""Most bytes of preprocessed examples kept in memory, per part."""

SHUFFLE_BUFFER = 10_000
"""Raw examples among which a streamed part is shuffled."""


@dataclass(frozen=True)
class Part:
    """Preprocessed examples of one part, in memory or streamed.

    Attributes:
        size: number of examples.
        arrays: `x` float32 `(size, ...)` and `y` `(size, ...)`; None when streamed.
        stream: the raw examples `(x, y)`; None when in memory.
        preprocess: raw `(x, y)` → tensors, for the stream.
    """

    size: int
    arrays: tuple[np.ndarray, np.ndarray] | None
    stream: tf.data.Dataset | None
    preprocess: Callable

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """Every example once, in a fixed order; the last batch may be smaller."""
        if self.arrays is not None:
            dataset = tf.data.Dataset.from_tensor_slices(self.arrays).batch(batch_size)
        else:
            dataset = self._read(self.stream).batch(batch_size)
        return dataset.prefetch(tf.data.AUTOTUNE)

    def epochs(
        self, batch_size: int, seed: int, shuffle: bool, augment: Callable | None = None, first: int = 0
    ) -> tf.data.Dataset:
        """Batches of one epoch after the other without end, each in its own order if `shuffle`.

        Args:
            batch_size: examples per batch; the last of an epoch may be smaller.
            seed: with the epoch's number it fixes the order.
            shuffle: keep the fixed order if False.
            augment: `(x, y, step) -> (x, y)`, applied to every batch.
            first: number of the first epoch, from 0.
        """
        epoch_batches = self._gathered() if self.arrays is not None else self._streamed
        dataset = tf.data.Dataset.counter(first).flat_map(lambda epoch: epoch_batches(epoch, batch_size, seed, shuffle))
        if augment is not None:
            dataset = dataset.enumerate(first * self.steps(batch_size)).map(
                lambda step, batch: augment(*batch, step), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
            )
        return dataset.prefetch(tf.data.AUTOTUNE)

    def steps(self, batch_size: int) -> int:
        """Batches per epoch."""
        return math.ceil(self.size / batch_size)

    def _gathered(self):
        x, y = map(tf.constant, self.arrays)  # captured by the pipeline, not written into its graph

        def epoch_batches(epoch, batch_size, seed, shuffle):
            order = tf.range(self.size)
            if shuffle:
                order = tf.random.experimental.stateless_shuffle(order, tf.stack([tf.cast(seed, tf.int64), epoch]))
            indices = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
            return indices.map(lambda i: (tf.gather(x, i), tf.gather(y, i)))

        return epoch_batches

    def _streamed(self, epoch, batch_size, seed, shuffle):
        raw = self.stream
        if shuffle:
            raw = raw.shuffle(min(SHUFFLE_BUFFER, self.size), seed=tf.cast(seed, tf.int64) * 1_000_003 + epoch)
        return self._read(raw).batch(batch_size)

    def _read(self, raw):
        return raw.map(self.preprocess, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def collect(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """All examples of a finite dataset of `(x, y)`, as two arrays."""
    chunks = zip(*dataset.batch(4096).as_numpy_iterator(), strict=True)
    x, y = map(np.concatenate, chunks)
    return x, y


def targets(dataset: tf.data.Dataset) -> np.ndarray:
    """The y of all examples of a finite dataset of `(x, y)`."""
    return np.concatenate(list(dataset.map(lambda x, y: y).batch(4096).as_numpy_iterator()))


def prepare(raw: tf.data.Dataset, size: int, preprocess: Callable, bytes_per_example: int) -> Part:
    """Preprocess a part, and keep it in memory if it fits.

    Args:
        raw: `(x, y)` examples in a fixed order.
        size: how many.
        preprocess: raw `(x, y)` → tensors.
        bytes_per_example: of the preprocessed x.
    """
    part = Part(size, None, raw, preprocess)
    if size * bytes_per_example > MEMORY_LIMIT:
        return part
    return Part(size, collect(raw.map(preprocess, num_parallel_calls=tf.data.AUTOTUNE)), None, preprocess)

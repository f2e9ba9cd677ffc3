"""From raw examples to batches.

Examples are preprocessed once and kept in memory where they fit, else read anew in every epoch. Their order is a
function of the seed and the epoch alone, so that a run can be repeated. Sequences of several lengths are padded to the
longest of their batch, and batched with others of about their length.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.batches import joined
from recipes.share import Share

MEMORY_LIMIT = 2**30
"""Most bytes of preprocessed examples kept in memory, per part."""

SHUFFLE_BUFFER = 10_000
"""Raw examples among which a streamed part is shuffled."""

BUCKET = 32
"""Batches whose examples are sorted by length among themselves. More waste less padding, and mix less."""

TOGETHER = 256
"""Raw texts that are preprocessed together."""


@dataclass(frozen=True)
class Reading:
    """How raw examples become tensors.

    Attributes:
        preprocess: raw `(x, y)` → tensors, or nests of tensors. Of one example; of a batch of texts where there is
            `padding`.
        padding: for sequences, what fills up the second axis of every tensor that `preprocess` gives, in the same nest;
            None for a tensor of a fixed shape. A y with padding answers the last sequence of x, place by place.
    """

    preprocess: Callable
    padding: Any = None


@dataclass(frozen=True)
class Part:
    """Preprocessed examples of one part, in memory or streamed.

    Attributes:
        size: number of examples.
        arrays: `x` and `y`, arrays `(size, ...)` or nests of them; None when streamed.
        stream: the raw examples `(x, y)`; None when in memory.
        reading: raw `(x, y)` → tensors.
        kept: of a streamed part, its arrays on the disk, if they are there, in the order of `x` and `y` as a flat list.
    """

    size: int
    arrays: tuple | None
    stream: tf.data.Dataset | None
    reading: Reading | None
    kept: tuple[np.ndarray, ...] | None = None

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """Every example once, in a fixed order; the last batch may be smaller."""
        if self.arrays is not None:
            dataset = tf.data.Dataset.from_tensor_slices(self.arrays).batch(batch_size)
            dataset = dataset if self._padding is None else dataset.map(self._trimmed)
        else:
            dataset = self._batched(self._examples(), batch_size)
        return dataset.prefetch(tf.data.AUTOTUNE)

    def epochs(
        self,
        batch_size: int,
        seed: int,
        shuffle: bool,
        augment: Callable | None = None,
        first: int = 0,
        skipped: int = 0,
        share: Share | None = None,
    ) -> tf.data.Dataset:
        """Batches of one epoch after the other without end, each in its own order if `shuffle`.

        Args:
            batch_size: examples per batch; the last of an epoch may be smaller.
            seed: with the epoch's number it fixes the order.
            shuffle: keep the fixed order if False.
            augment: `(x, y, step) -> (x, y)`, applied to every batch.
            first: number of the first epoch, from 0.
            skipped: batches that are left out of it, at its beginning; their examples are not preprocessed.
            share: the rows of a batch that are wanted; of a streamed part, others may be zeros.
        """
        epoch_examples = self._gathered() if self.arrays is not None else self._streamed

        def epoch_batches(epoch):
            left_out = tf.where(epoch == first, tf.constant(skipped * batch_size, tf.int64), 0)
            return epoch_examples(epoch, batch_size, seed, shuffle, left_out, share)

        dataset = tf.data.Dataset.counter(first).flat_map(epoch_batches)
        if augment is not None:
            dataset = dataset.enumerate(first * self.steps(batch_size) + skipped).map(
                lambda step, batch: augment(*batch, step), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
            )
        return dataset.prefetch(tf.data.AUTOTUNE)

    def steps(self, batch_size: int) -> int:
        """Batches per epoch."""
        return math.ceil(self.size / batch_size)

    def _gathered(self):
        arrays = tf.nest.map_structure(tf.constant, self.arrays)  # captured by the pipeline, not written into its graph
        lengths = None if self._padding is None else tf.constant(self.lengths())

        def epoch_batches(epoch, batch_size, seed, shuffle, left_out, share):
            order, pair = tf.range(self.size), tf.stack([tf.cast(seed, tf.int64), epoch])
            if shuffle:
                order = tf.random.experimental.stateless_shuffle(order, pair)
            if shuffle and lengths is not None:
                order = _bucketed(order, lengths, batch_size, pair)
            indices = tf.data.Dataset.from_tensor_slices(order[left_out:]).batch(batch_size)
            return indices.map(
                lambda i: self._trimmed(*tf.nest.map_structure(lambda array: tf.gather(array, i), arrays))
            )

        return epoch_batches

    def _streamed(self, epoch, batch_size, seed, shuffle, left_out, share):
        examples = self._examples()
        if shuffle:
            tf.random.set_seed(seed + 1)  # of this function's graph alone, whatever the program's; 0 cannot be traced
            pair = tf.cast(seed, tf.int64) * 1_000_003 + epoch
            examples = examples.shuffle(min(SHUFFLE_BUFFER, self.size), seed=pair)
        if share is None or self.kept is not None or self._padding is not None:
            return self._batched(examples.skip(left_out), batch_size)
        numbered = examples.enumerate().skip(left_out)
        return share.blanking(numbered, self.reading.preprocess, self.size, batch_size).batch(batch_size)

    def _examples(self) -> tf.data.Dataset:
        """What is shuffled of a streamed part: raw examples, or the numbers of those on the disk."""
        return self.stream if self.kept is None else tf.data.Dataset.range(self.size)

    def _batched(self, examples: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        if self.kept is None:
            return _read(examples, self.reading, batch_size)
        spec = self.stream.map(self.reading.preprocess).element_spec
        shapes = [[None, *each.shape] for each in tf.nest.flatten(spec)]

        def read(numbers):
            arrays = tf.numpy_function(
                lambda i: [array[i] for array in self.kept], [numbers], [array.dtype for array in self.kept]
            )
            batch = [tf.ensure_shape(array, shape) for array, shape in zip(arrays, shapes, strict=True)]
            return tf.nest.pack_sequence_as(spec, batch)

        return examples.batch(batch_size).map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def read_batches(self, batch_size: int) -> tf.data.Dataset:
        """Examples of a streamed part in their order, preprocessed now."""
        return _read(self.stream, self.reading, batch_size)

    @property
    def _padding(self):
        return self.reading and self.reading.padding

    def lengths(self) -> np.ndarray:
        """Entries of each example that are not padding, of the longest of its sequences, int32 `(size,)`."""
        longest = np.zeros(self.size, np.int32)
        for array, fill in _padded(self.arrays, self._padding):
            places = np.arange(1, array.shape[1] + 1, dtype=np.int32)
            longest = np.maximum(longest, np.max((array != fill) * places, axis=1, initial=0))
        return longest

    def _trimmed(self, x, y):
        """Batch without the columns in which all is padding; one is left."""
        if self._padding is None:
            return x, y

        def trim(array, fill):
            if fill is None:
                return array
            used = tf.where(tf.reduce_any(array != fill, axis=0))
            return array[:, : tf.maximum(tf.reduce_max(tf.concat([used[:, 0], [0]], 0)) + 1, 1)]

        of_x, of_y = self._padding
        x = _map_padded(trim, x, of_x)
        return x, y if of_y is None else y[:, : tf.shape(tf.nest.flatten(x)[-1])[1]]


def _bucketed(order: tf.Tensor, lengths: tf.Tensor, batch_size: int, seed: tf.Tensor) -> tf.Tensor:
    """An order in which each batch has examples of about one length, and the batches come in any order."""
    size = tf.size(order)
    window = tf.range(size) // (BUCKET * batch_size)
    longest = tf.reduce_max(lengths) + 1
    order = tf.gather(order, tf.argsort(window * longest + tf.gather(lengths, order), stable=True))
    # The last batch, which may be smaller, stays the last.
    whole = size // batch_size
    batches = tf.random.experimental.stateless_shuffle(tf.range(whole), seed + 1)
    shuffled = tf.gather(tf.reshape(order[: whole * batch_size], [whole, batch_size]), batches)
    return tf.concat([tf.reshape(shuffled, [-1]), order[whole * batch_size :]], 0)


def _read(raw: tf.data.Dataset, reading: Reading, batch_size: int) -> tf.data.Dataset:
    """Batches of preprocessed examples."""
    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
    if reading.padding is not None:
        return raw.batch(batch_size).map(reading.preprocess, **parallel)
    return raw.map(reading.preprocess, **parallel).batch(batch_size)


def _padded(tensors, padding) -> list[tuple]:
    """The tensors of a nest that have padding, each with what fills it."""
    pairs = zip(tf.nest.flatten(tensors), tf.nest.flatten(padding), strict=True)
    return [(tensor, fill) for tensor, fill in pairs if fill is not None]


def _map_padded(function: Callable, tensors, padding):
    """The nest of `function(tensor, fill)`."""
    found = map(function, tf.nest.flatten(tensors), tf.nest.flatten(padding))
    return tf.nest.pack_sequence_as(tensors, list(found))


def collect(batches: tf.data.Dataset, padding=None) -> tuple:
    """All examples of finite batches, as nests of arrays; sequences are filled up to the longest of all."""
    chunks = list(batches.as_numpy_iterator())
    fills = [None] * len(tf.nest.flatten(chunks[0])) if padding is None else tf.nest.flatten(padding)
    columns = zip(*map(tf.nest.flatten, chunks), strict=True)
    found = [joined(column, fill) for column, fill in zip(columns, fills, strict=True)]
    return tf.nest.pack_sequence_as(chunks[0], found)


def targets(dataset: tf.data.Dataset) -> np.ndarray:
    """The y of all examples of a finite dataset of `(x, y)`."""
    return np.concatenate(list(dataset.map(lambda x, y: y).batch(4096).as_numpy_iterator()))


def prepare(raw: tf.data.Dataset, size: int, reading: Reading, bytes_per_example: int) -> Part:
    """Preprocess a part, and keep it in memory if it fits.

    Args:
        raw: `(x, y)` examples in a fixed order.
        size: how many.
        reading: raw `(x, y)` → tensors.
        bytes_per_example: of the preprocessed x, at most.
    """
    if size * bytes_per_example > MEMORY_LIMIT:
        return Part(size, None, raw, reading)
    together = TOGETHER if reading.padding is not None else 4096
    return Part(size, collect(_read(raw, reading, together), reading.padding), None, reading)

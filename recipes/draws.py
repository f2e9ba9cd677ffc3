"""Random numbers that depend on a seed and a step alone."""

import tensorflow as tf


class Draws:
    """The random numbers of one training step: every call gives new ones, every repetition the same.

    Args:
        seed: of the run.
        step: number of the step, int64.
    """

    def __init__(self, seed: int, step: tf.Tensor):
        self._seed = tf.stack([tf.cast(seed, tf.int64), tf.cast(step, tf.int64)])
        self._calls = 0

    def _next(self) -> tf.Tensor:
        self._calls += 1
        return tf.random.fold_in(self._seed, self._calls)

    def one(self) -> tf.Tensor:
        """One number in 0..1."""
        return tf.random.stateless_uniform([], self._next())

    def uniform(self, batch: tf.Tensor, low: float, high: float) -> tf.Tensor:
        """A number for every example, float32 `(batch,)`."""
        return tf.random.stateless_uniform(tf.shape(batch)[:1], self._next(), low, high)

    def per_picture(self, batch: tf.Tensor, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        """The same as `(batch, 1, 1, 1)`."""
        return tf.reshape(self.uniform(batch, low, high), [-1, 1, 1, 1])

    def everywhere(self, entries: tf.Tensor) -> tf.Tensor:
        """A number in 0..1 for every entry, float32 of the same shape."""
        return tf.random.stateless_uniform(tf.shape(entries), self._next())

    def normal(self, shape) -> tf.Tensor:
        """Numbers drawn from N(0, 1), float32."""
        return tf.random.stateless_normal(shape, self._next())

    def integers(self, batch: tf.Tensor, count: int) -> tf.Tensor:
        """One of 0..count-1 for every example, int32 `(batch,)`."""
        return tf.random.stateless_uniform(tf.shape(batch)[:1], self._next(), 0, count, tf.int32)

    def beta(self, batch: tf.Tensor, alpha: float) -> tf.Tensor:
        """Beta(alpha, alpha) for every example, float32 `(batch,)`."""
        # As log-gamma: for small alpha both gammas may underflow, and 0 / 0 is no share.
        shape = tf.shape(batch)[:1]
        logs = [
            tf.math.log(tf.random.stateless_gamma(shape, self._next(), alpha + 1))
            + tf.math.log(tf.random.stateless_uniform(shape, self._next(), minval=1e-37)) / alpha
            for _ in range(2)
        ]
        return tf.sigmoid(logs[0] - logs[1])

    def order(self, batch: tf.Tensor) -> tf.Tensor:
        """A random order of the examples, int32 `(batch,)`."""
        return tf.random.experimental.stateless_shuffle(tf.range(tf.shape(batch)[0]), self._next())

"""Layers that several architectures share and Keras does not have. Backend-neutral."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("zoo")
class StochasticDepth(layers.Layer):
    """Drops a residual branch for some examples of a training batch, and leaves the others as they are.

    Huang et al., "Deep Networks with Stochastic Depth" (2016), §3, per example, with the surviving branches divided by
    their probability of survival, so that nothing has to be rescaled at inference.

    Args:
        rate: probability that an example loses the branch, in [0, 1).
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"The rate of stochastic depth must be at least 0 and below 1. Received: {rate!r}.")
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator()
        self.built = True

    def call(self, branch, training=False):
        if not training or not self.rate:
            return branch
        kept = 1 - self.rate
        shape = (ops.shape(branch)[0], *(1,) * (len(branch.shape) - 1))
        draw = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        return branch * ops.cast(ops.cast(draw < kept, "float32") / kept, branch.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("zoo")
class LayerScale(layers.Layer):
    """Multiplies every channel by a learned number that starts near zero: a deep network begins as the identity.

    Touvron et al., "Going Deeper with Image Transformers" (2021), §2.

    Args:
        initial: what every channel's number is at first.
    """

    def __init__(self, initial=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape):
        start = keras.initializers.Constant(self.initial)
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer=start, name="scale")

    def call(self, branch):
        return branch * self.scale

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "initial": self.initial}

    def multiply_adds(self, input_shape):
        """None that papers count: the product is element-wise."""
        return 0


@keras.saving.register_keras_serializable("zoo")
class LocalResponseNormalization(layers.Layer):
    """Divides each map by the strength of its neighbours at the same place: the last axis is that of the maps.

    Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks" (2012), §3.3:
    `b_i = a_i / (k + alpha * Σ a_j²)^beta`, the sum over the `size` maps nearest to `i`, fewer at the ends.

    Args:
        size: n of the paper, an odd number of maps.
        k, alpha, beta: as in the paper. Caffe and PyTorch divide `alpha` by `size`; the paper does not.
    """

    def __init__(self, size=5, k=2.0, alpha=1e-4, beta=0.75, **kwargs):
        super().__init__(**kwargs)
        if size < 1 or size % 2 == 0:
            raise ValueError(f"The size of local response normalisation must be odd and positive. Received: {size!r}.")
        self.size, self.k, self.alpha, self.beta = size, k, alpha, beta
        self.built = True

    def call(self, maps):
        count = maps.shape[-1]
        # In half precision the square of an activation beyond 255 is infinite.
        squares = ops.square(ops.cast(maps, "float32"))
        padded = ops.pad(squares, [*[(0, 0)] * (len(maps.shape) - 1), (self.size // 2,) * 2])
        neighbours = sum(padded[..., i : i + count] for i in range(self.size))
        return maps * ops.cast(ops.power(self.k + self.alpha * neighbours, -self.beta), maps.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "size": self.size, "k": self.k, "alpha": self.alpha, "beta": self.beta}


@keras.saving.register_keras_serializable("zoo")
class MaskPadding(layers.Layer):
    """Sets to zero what lies where a text has only padding: `(batch, length, n)` and `tokens` `(batch, length)`."""

    def call(self, x, tokens):
        return x * ops.cast(ops.not_equal(tokens, 0), x.dtype)[..., None]

    def compute_output_shape(self, x_shape, tokens_shape):
        return x_shape


@keras.saving.register_keras_serializable("zoo")
class MatchSize(layers.Layer):
    """Makes maps as high and as wide as others, without a change of scale: they are cut, or filled up with zeros.

    `maps` `(batch, h, w, n)` and `others` `(batch, H, W, m)` → `(batch, H, W, n)`. Any of the sizes may be open until
    the layer is called.

    Args:
        centered: whether both sides are cut or filled alike, an odd row or column at the bottom or at the right. Else
            all of it is at the bottom and at the right, so that every place keeps its distance from the upper left.
    """

    def __init__(self, centered=False, **kwargs):
        super().__init__(**kwargs)
        self.centered = centered
        self.built = True

    def call(self, maps, others):
        filled, kept = [(0, 0)], [slice(None)]
        for given, wanted in zip(ops.shape(maps)[1:3], ops.shape(others)[1:3], strict=True):
            too_few, too_many = _at_least_zero(wanted - given), _at_least_zero(given - wanted)
            before, start = (too_few // 2, too_many // 2) if self.centered else (0, 0)
            filled.append((before, too_few - before))
            kept.append(slice(start, start + wanted))
        return ops.pad(maps, [*filled, (0, 0)])[tuple(kept)]

    def compute_output_shape(self, maps_shape, others_shape):
        return (maps_shape[0], *others_shape[1:3], maps_shape[3])

    def get_config(self):
        return {**super().get_config(), "centered": self.centered}


def _at_least_zero(size):
    """Of a size that is known, or is a tensor."""
    return max(size, 0) if isinstance(size, int) else ops.maximum(size, 0)

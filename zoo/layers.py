"""Layers that several architectures share and Keras does not have. Backend-neutral."""

from numbers import Integral

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


@keras.saving.register_keras_serializable("zoo")
class InstanceNormalization(layers.GroupNormalization):
    """Normalises every map of every picture by itself, then scales and shifts it: `(batch, …, channels)`.

    Ulyanov, Vedaldi, Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization" (2016), eq. 5:
    `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, mean and variance over the places of one map, and gamma and
    beta of each channel. What a picture's contrast was no longer matters, in training and at inference alike.

    That is group normalisation in groups of one channel (Wu, He 2018, §3.1), and Keras' is as fast as a layer written
    for the purpose and takes its statistics in float32 whatever the layer computes in. Only its record names the
    channels it was built with, where this one fits any number of them.

    Args:
        epsilon: added to the variance. A map that is the same everywhere becomes beta.
    """

    def __init__(self, epsilon=1e-5, **kwargs):
        super().__init__(groups=-1, epsilon=epsilon, **kwargs)

    def get_config(self):
        config = super().get_config()
        del config["groups"]
        return config


@keras.saving.register_keras_serializable("zoo")
class ReflectionPadding2D(layers.Layer):
    """Pads maps with what lies on the other side of their border, which is itself not repeated: `c b | a b c | b a`.

    `(batch, height, width, channels)` → `(batch, height + 2 * padding, width + 2 * padding, channels)`; height and
    width may be None. Unlike zeros it puts no edge where the picture ends.

    Args:
        padding: pixels on every side, fewer than the height and the width of any input.
    """

    def __init__(self, padding=1, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(padding, Integral) or isinstance(padding, bool) or padding < 1:
            raise ValueError(f"The padding of {self.name!r} must be a positive integer. Received: {padding!r}.")
        self.padding = int(padding)
        self.built = True

    def call(self, maps):
        self._check(maps.shape)
        return ops.pad(maps, [(0, 0), *[(self.padding,) * 2] * 2, (0, 0)], mode="reflect")

    def compute_output_shape(self, input_shape):
        self._check(input_shape)
        batch, *size, channels = input_shape
        return (batch, *(None if n is None else n + 2 * self.padding for n in size), channels)

    def get_config(self):
        return {**super().get_config(), "padding": self.padding}

    def _check(self, shape):
        if len(shape) != 4 or any(n is not None and n <= self.padding for n in shape[1:3]):
            raise ValueError(
                f"{self.name!r} mirrors {self.padding} pixels at every border. Received: {tuple(shape)}. "
                f"Accepted: (batch, height, width, channels) of at least {self.padding + 1}x{self.padding + 1} pixels."
            )


@keras.saving.register_keras_serializable("zoo")
class GradientReversal(layers.Layer):
    """Gives what it gets, and turns the gradient round on its way back: what follows learns, what precedes unlearns.

    Ganin, Lempitsky, "Unsupervised Domain Adaptation by Backpropagation" (2015), §3.1, eq. 7 and 8: R(x) = x and
    dR/dx = -λI. The output is exactly the input, wherever that is finite.

    λ is the layer's weight `factor`, a float32 number that is not trained and that `layer.factor.assign(0.3)` changes
    without anything being traced anew. The call argument `factor`, a number or a scalar tensor, goes before it.

    Args:
        factor: λ at first.
    """

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.initial = float(factor)

    def build(self, input_shape):
        start = keras.initializers.Constant(self.initial)
        self.factor = self.add_weight(shape=(), initializer=start, trainable=False, name="factor")

    def call(self, x, factor=None):
        value = ops.stop_gradient(x)
        # The bracket is 0, and its gradient -1: x * -λ + stop_gradient(x * (1 + λ)) would be rounded.
        return value + ops.cast(self.factor if factor is None else factor, x.dtype) * (value - x)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "factor": self.initial}

    def multiply_adds(self, input_shape):
        """None that papers count: the product is element-wise."""
        return 0

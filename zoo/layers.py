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

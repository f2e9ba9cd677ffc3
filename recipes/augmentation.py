"""Random changes of training pictures.

They are Keras preprocessing layers, applied in the training pipeline and nowhere else: they are never part of the
model, so no export can hold them. What they do to a batch depends on the seed and the step alone.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

LAYERS: dict[str, Callable[[], keras.Layer]] = {
    "flip": lambda: keras.layers.RandomFlip("horizontal"),
    "rotate": lambda: keras.layers.RandomRotation(15 / 360, fill_mode="constant"),
    "shift": lambda: keras.layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
    "zoom": lambda: keras.layers.RandomZoom(0.1, fill_mode="constant"),
    "contrast": lambda: keras.layers.RandomContrast(0.2),
}


class Augmentation:
    """Named changes, one after the other, as a function of a batch and the step's number.

    Args:
        names: of `recipes.config.AUGMENTATIONS`.
        seed: of the run.
    """

    def __init__(self, names: Sequence[str], seed: int):
        self.layers = [LAYERS[name]() for name in names]
        self.seed = seed

    def __call__(self, pictures: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Float32 `(batch, height, width, channels)` and the int64 step → the same shape, changed."""
        for i, layer in enumerate(self.layers):
            # The generator's state is set from the step, not carried on: a resumed run sees what it would have seen.
            layer.generator.state.assign(tf.cast(tf.stack([self.seed * 1009 + i, step]), layer.generator.state.dtype))
            pictures = layer(pictures, training=True)
        return pictures

"""The form in which a network is trained: the same layers and weights, computed faster, or in 16 bits.

What is evaluated, saved and exported is the network itself, in float32; only its weights come from training.

On TensorFlow:

- Batch normalisation is computed by TensorFlow's fused kernel, which Keras does not use, with the same results.
- A 1x1 convolution with a stride reads only the places it has to. (oneDNN's own kernel for the gradient of its weights
  writes beyond its memory where 8 maps become 16 and batches differ in size, as of TensorFlow 2.21.)
Mixed precision is that of Micikevicius et al., "Mixed Precision Training" (2018): float32 weights (§3.1) and, for
float16, a scaled loss (§3.2).
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from recipes import backend
from recipes.bundle import leaves
from recipes.distribution import ONE_DEVICE, OneDevice


def trained_form(model: keras.Model, precision: str, place: OneDevice = ONE_DEVICE) -> keras.Model:
    """The network as it is trained: a copy with the same names and weights, or the model itself.

    Args:
        model: a Functional model.
        precision: "float32"; or "bfloat16" or "float16" for everything up to the last layer, whose output and loss need
            float32 (Keras guide "Mixed precision").
        place: where it is trained; within its scope. On several devices it is a copy always.
    """
    found = list(leaves(model.layers))
    known = backend.name() == backend.TENSORFLOW and all(map(_is_known, found))
    other = any(type(layer) is layers.BatchNormalization or _skips_places(layer) for layer in found)
    is_other = precision != "float32" or (other and known)
    if not is_other and place.devices == 1:
        return model
    how = f"in {precision}" if precision != "float32" else "on several devices"
    last = [_last_layer(tensor) for tensor in model.outputs]

    def copy(layer):
        config = layer.get_config()
        if precision != "float32" and isinstance(layer, keras.Layer):
            config["dtype"] = "float32" if any(layer is other for other in last) else f"mixed_{precision}"
        kind = type(layer)
        if kind is layers.BatchNormalization and place.sees_parts:
            config["synchronized"] = True
        elif known and kind is layers.BatchNormalization:
            kind = FusedBatchNormalization
        elif known and _skips_places(layer):
            kind = SubsampledConv2D
        return kind.from_config(config)

    def copy_or_refuse(layer):
        try:
            return copy(layer)
        except Exception as error:  # of any kind: it is the code of somebody's layer
            raise ValueError(
                f"Training {how} copies the model layer by layer, and {layer.name!r}, a "
                f"{type(layer).__name__}, cannot be copied: {error}"
            ) from error

    form = keras.models.clone_model(model, clone_function=copy_or_refuse, recursive=True)
    form.set_weights(model.get_weights())
    if not is_other:  # on one device it would be the model itself: with the same draws, in dropout
        for mine, own in zip(form.variables, model.variables, strict=True):
            mine.assign(np.array(own))
    return form


def _last_layer(tensor: keras.KerasTensor) -> keras.Layer:
    """The layer that gives an output, inside of models, too."""
    layer = tensor._keras_history.operation
    return _last_layer(layer.outputs[0]) if isinstance(layer, keras.Model) else layer


def scaled(optimizer: keras.optimizers.Optimizer, precision: str) -> keras.optimizers.Optimizer:
    """The optimizer; in float16 with a loss scaled so that small gradients do not become 0."""
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "float16" else optimizer


def _is_known(layer: keras.Layer) -> bool:
    """Whether a layer is one of ours or of Keras, which can be copied by their configuration."""
    return type(layer).__module__.partition(".")[0] in ("keras", "zoo") and not isinstance(layer, layers.Lambda)


def _skips_places(layer: keras.Layer) -> bool:
    """Whether a layer is a 1x1 convolution with a stride."""
    plain = type(layer) is layers.Conv2D and layer.data_format == "channels_last" and layer.groups == 1
    return plain and layer.kernel_size == (1, 1) and max(layer.strides) > 1


class SubsampledConv2D(layers.Conv2D):
    """Keras' 1x1 convolution with a stride, in two steps: the places that it reads, and one of stride 1 over these."""

    def convolution_op(self, inputs, kernel):
        down, across = self.strides
        return tf.nn.conv2d(inputs[:, ::down, ::across], kernel, 1, "VALID")


class FusedBatchNormalization(layers.BatchNormalization):
    """Keras' batch normalisation of pictures, `(batch, height, width, channels)`, in one operation.

    Other shapes and options are left to Keras.
    """

    def call(self, inputs, training=None, mask=None):
        plain = len(inputs.shape) == 4 and self.axis in (-1, 3) and mask is None and self.center and self.scale
        learns = bool(training) and self.trainable
        # A frozen layer inside of a training has a gradient, which the kernel of GPUs cannot give deterministically.
        if not plain or self.synchronized or self.renorm or (training and not learns):
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            self.gamma,
            self.beta,
            None if learns else self.moving_mean,
            None if learns else self.moving_variance,
            epsilon=self.epsilon,
            is_training=learns,
        )
        if learns:
            # The kernel gives the variance of a sample, n / (n - 1) times that of the batch, which Keras averages.
            count = tf.cast(tf.size(inputs) / inputs.shape[-1], variance.dtype)
            variance = variance * (count - 1) / count
            for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                average.assign(average * self.momentum + value * (1 - self.momentum))
        return outputs

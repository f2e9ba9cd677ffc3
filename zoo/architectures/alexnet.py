"""AlexNet.

Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (2012), §3.5, in one
tower instead of two on two GPUs: every convolution sees all maps. 3x3 max-pooling with stride 2 ends each stage:

    stage   output (227x227 input)   convolutions, each with ReLU
    1       27x27                    11x11 stride 4 without padding, 96; local response normalisation
    2       13x13                    5x5, 256; local response normalisation
    3         6x6                    3x3, 384; 3x3, 384; 3x3, 256
    head    two hidden layers of 4096 units with dropout, then the classes

Kernels start by He's rule, biases at 0. The paper's start, kernels N(0, 0.01) and most biases 1, supposes pixels of
±128: at unit scale, what tells two pictures apart drowns in the biases.
"""

import keras
from keras import layers

from zoo.layers import LocalResponseNormalization
from zoo.registry import register

HIDDEN = {"activation": "relu", "kernel_initializer": "he_normal"}


def _conv(x, filters, kernel, name, **arguments):
    return layers.Conv2D(filters, kernel, name=name, **HIDDEN, **arguments)(x)


@register(
    task="image-classification",
    paper="Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012",
    tiny={
        "input_shape": (67, 67, 3),
        "num_classes": 3,
        "widths": (8, 8, 8, 8, 8),
        "hidden_units": 16,
        "dropout": 0.0,
    },
    min_size=67,
)
def alexnet(
    input_shape=(227, 227, 3),
    num_classes=1000,
    *,
    widths=(96, 256, 384, 384, 256),
    hidden_units=4096,
    dropout=0.5,
    include_top=True,
    name="alexnet",
):
    """Five convolutions and three fully connected layers: the network that won ImageNet in 2012.

    Args:
        input_shape: `(height, width, channels)`, at least 67x67 pixels.
        num_classes: width of the head.
        widths: maps of each of the five convolutions.
        hidden_units: width of both hidden layers.
        dropout: rate of dropout after each hidden layer.
        include_top: `False` gives the maps after the last pooling.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    if len(widths) != 5:
        raise ValueError(f"widths of {name!r} must name five convolutions. Received: {widths!r}.")
    image = keras.Input(input_shape, name="image")
    x = _conv(image, widths[0], 11, "stage1_block1_conv", strides=4)
    x = LocalResponseNormalization(name="stage1_block1_norm")(x)
    x = layers.MaxPooling2D(3, 2, name="stage1")(x)
    x = _conv(x, widths[1], 5, "stage2_block1_conv", padding="same")
    x = LocalResponseNormalization(name="stage2_block1_norm")(x)
    x = layers.MaxPooling2D(3, 2, name="stage2")(x)
    x = _conv(x, widths[2], 3, "stage3_block1_conv", padding="same")
    x = _conv(x, widths[3], 3, "stage3_block2_conv", padding="same")
    x = _conv(x, widths[4], 3, "stage3_block3_conv", padding="same")
    x = layers.MaxPooling2D(3, 2, name="stage3")(x)
    if include_top:
        x = layers.Flatten(name="head_flatten")(x)
        for i in (1, 2):
            x = layers.Dense(hidden_units, name=f"head_fc{i}", **HIDDEN)(x)
            if dropout:
                x = layers.Dropout(dropout, name=f"head_dropout{i}")(x)
        x = layers.Dense(num_classes, name="logits", dtype="float32")(x)
    return keras.Model(image, x, name=name)

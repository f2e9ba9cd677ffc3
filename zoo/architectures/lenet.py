"""LeNet-5.

LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE (1998), §II.B:

    layer   maps   kernel   output (28x28 input, padded to 32x32)
    C1        6     5x5     28x28
    S2        6     2x2     14x14
    C3       16     5x5     10x10
    S4       16     2x2      5x5
    C5      120              1x1
    F6       84
    output   10

As in every later account, C3 sees all maps of S2, sub-sampling has no weights, and the output is linear.
"""

import keras
from keras import layers

from zoo.registry import register


@register(
    task="image-classification",
    paper="LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998",
    tiny={"input_shape": (12, 12, 1), "num_classes": 3},
    min_size=12,
)
def lenet5(input_shape=(28, 28, 1), num_classes=10, *, activation="tanh", include_top=True, name="lenet5"):
    """The convolutional network that read the world's cheques.

    Args:
        input_shape: `(height, width, channels)`, at least 12x12 pixels.
        num_classes: width of the head.
        activation: of every hidden layer; the paper's is a scaled tanh.
        include_top: `False` gives the maps of S4.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    image = keras.Input(input_shape, name="image")
    x = layers.ZeroPadding2D(2, name="pad")(image)
    x = layers.Conv2D(6, 5, activation=activation, name="c1")(x)
    x = layers.AveragePooling2D(2, name="stage1")(x)
    x = layers.Conv2D(16, 5, activation=activation, name="c3")(x)
    x = layers.AveragePooling2D(2, name="stage2")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(120, activation, name="c5")(x)
        x = layers.Dense(84, activation, name="f6")(x)
        x = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(image, x, name=name)

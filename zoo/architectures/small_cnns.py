"""The two convolutional networks of the first tutorials.

- `mnist_cnn`: one convolution and one hidden layer (after the MNIST tutorials of Keras and TensorFlow).
- `cifar10_cnn`: TensorFlow's "Convolutional Neural Network" tutorial, with 32, 64 and 128 maps.
"""

import keras
from keras import layers

from zoo.registry import register


@register(
    task="image-classification",
    paper="Keras, MNIST convnet tutorial",
    tiny={"input_shape": (8, 8, 1), "num_classes": 3},
    min_size=3,
)
def mnist_cnn(input_shape=(28, 28, 1), num_classes=10, *, activation="relu", include_top=True, name="mnist_cnn"):
    """One convolution of 32 maps, one hidden layer of 100 units.

    Args:
        input_shape: `(height, width, channels)`, at least 3x3 pixels.
        num_classes: width of the head.
        activation: of both hidden layers. `"linear"` gives the tutorial without activations, which is a linear
            classifier whatever its depth.
        include_top: `False` gives the maps of the convolution.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(32, 3, activation=activation, name="stage1")(image)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(100, activation, name="hidden")(x)
        x = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(image, x, name=name)


@register(
    task="image-classification",
    paper="TensorFlow, Convolutional Neural Network tutorial",
    tiny={"input_shape": (22, 22, 3), "num_classes": 3},
    min_size=22,
)
def cifar10_cnn(input_shape=(32, 32, 3), num_classes=10, *, include_top=True, name="cifar10_cnn"):
    """Three convolutions, each with max-pooling, and a hidden layer of 128 units.

    Args:
        input_shape: `(height, width, channels)`, at least 22x22 pixels.
        num_classes: width of the head.
        include_top: `False` gives the maps after the last pooling.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    image = keras.Input(input_shape, name="image")
    x = image
    for i, maps in enumerate((32, 64, 128), 1):
        x = layers.Conv2D(maps, 3, activation="relu", name=f"conv{i}")(x)
        x = layers.MaxPooling2D(2, name=f"stage{i}")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(128, "relu", name="hidden")(x)
        x = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(image, x, name=name)

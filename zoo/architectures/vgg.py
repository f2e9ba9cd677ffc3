"""VGG.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2014), Table 1. All
convolutions are 3x3 with stride 1; each stage ends with 2x2 max-pooling; the table counts the convolutions:

    stage   output (224x224 input)   maps   A (11)   B (13)   D (16)   E (19)
    1       112x112                    64     1        2        2        2
    2        56x56                    128     1        2        2        2
    3        28x28                    256     2        2        3        4
    4        14x14                    512     2        2        3        4
    5         7x7                     512     2        2        3        4
    head    two hidden layers of 4096 units with dropout, then the classes

All four take the same arguments:

- `depths`, `widths`: convolutions of each stage and the maps of each.
- `hidden_units`: width of both hidden layers.
- `dropout`: rate of dropout after each hidden layer.
- `include_top`: `False` gives the maps of the last stage.

Kernels start by He's rule, made for networks such as these. Glorot's, which §3.1 names, halves the
signal's variance at every layer: bearable for the paper's pixels of ±128, but not for inputs of unit scale.
"""

import functools
import re

import keras
from keras import layers

from zoo.registry import variant
from zoo.weights import CAFFE, KerasApplication

A = (1, 1, 2, 2, 2)
B = (2, 2, 2, 2, 2)
D = (2, 2, 3, 3, 3)
E = (2, 2, 4, 4, 4)
WIDTHS = (64, 128, 256, 512, 512)
HIDDEN = {"activation": "relu", "kernel_initializer": "he_normal"}

PAPER = "Simonyan, Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014"
TINY = {
    "input_shape": (32, 32, 3),
    "num_classes": 3,
    "depths": (1, 1, 1, 1, 1),
    "widths": (8, 8, 8, 16, 16),
    "hidden_units": 16,
    "dropout": 0.0,
}


def published_layer(name):
    """Name of our layer → name of `keras.applications`' layer: `stage3_block2_conv` → `block3_conv2`."""
    if name == "logits":
        return "predictions"
    return re.sub(r"stage(\d)_block(\d)_conv", r"block\1_conv\2", name).removeprefix("head_")


def _imagenet(application):
    return {"imagenet": KerasApplication(application, published_layer, license="CC-BY-4.0", **CAFFE)}


def convolutional_stages(image, depths, widths, *, pooling="valid", name):
    """The stages of the table, for the networks of this file and of those that build on them.

    Args:
        image: float32 `(batch, height, width, channels)`.
        depths, widths: see the module.
        pooling: what becomes of an odd last row or column: "valid" leaves it out, "same" pools it alone, as Caffe does.
        name: name of the model, for messages.

    Returns:
        What every stage gives, in order: stage i `(batch, height / 2**i, width / 2**i, widths[i - 1])`.

    Raises:
        ValueError: depths and widths do not name the same stages.
    """
    if not depths or len(depths) != len(widths) or min(depths) < 1:
        raise ValueError(
            f"depths and widths of {name!r} must name the same stages, each of at least one convolution. "
            f"Received: depths={depths!r}, widths={widths!r}."
        )
    x, stages = image, []
    for i, (depth, width) in enumerate(zip(depths, widths, strict=True), 1):
        for j in range(1, depth + 1):
            x = layers.Conv2D(width, 3, padding="same", name=f"stage{i}_block{j}_conv", **HIDDEN)(x)
        x = layers.MaxPooling2D(2, padding=pooling, name=f"stage{i}")(x)
        stages.append(x)
    return stages


def vgg(
    input_shape=(224, 224, 3),
    num_classes=1000,
    *,
    depths,
    widths=WIDTHS,
    hidden_units=4096,
    dropout=0.5,
    include_top=True,
    name,
):
    """A network of the table.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels.
        num_classes: width of the head.
        depths, widths, hidden_units, dropout, include_top: see the module.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    image = keras.Input(input_shape, name="image")
    x = convolutional_stages(image, depths, widths, name=name)[-1]
    if include_top:
        x = layers.Flatten(name="head_flatten")(x)
        for i in (1, 2):
            x = layers.Dense(hidden_units, name=f"head_fc{i}", **HIDDEN)(x)
            if dropout:
                x = layers.Dropout(dropout, name=f"head_dropout{i}")(x)
        x = layers.Dense(num_classes, name="logits", dtype="float32")(x)
    return keras.Model(image, x, name=name)


_member = functools.partial(variant, vgg, task="image-classification", paper=PAPER, tiny=TINY, min_size=32)

vgg11 = _member(
    "vgg11",
    "Eight 3x3 convolutions and three fully connected layers: configuration A of the paper.",
    {"depths": A},
)
vgg13 = _member(
    "vgg13",
    "Ten 3x3 convolutions and three fully connected layers: configuration B of the paper.",
    {"depths": B},
)
vgg16 = _member(
    "vgg16",
    "Thirteen 3x3 convolutions and three fully connected layers: configuration D of the paper.",
    {"depths": D},
    weights=_imagenet("VGG16"),
)
vgg19 = _member(
    "vgg19",
    "Sixteen 3x3 convolutions and three fully connected layers: configuration E of the paper.",
    {"depths": E},
    weights=_imagenet("VGG19"),
)

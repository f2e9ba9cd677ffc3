"""DenseNet.

Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks", CVPR (2017), table 1, for a growth
rate of 32:

    stage    output (224x224 input)   121   169   201    layer
    stem     56x56                     7x7 convolution and 3x3 max-pooling, each with stride 2
    stage1   56x56                      6     6     6    1x1 to 4 times the growth rate, 3x3 to the growth rate;
    stage2   28x28                     12    12    12    the result is appended to what went in
    stage3   14x14                     24    32    48
    stage4    7x7                      16    32    32
    head                               global average, one fully connected layer

Every convolution of a stage is preceded by batch normalisation and ReLU. Between two stages a transition halves the
number of maps (1x1 convolution) and the picture (2x2 average pooling). The last stage ends in batch normalisation and
ReLU. A network begins with twice as many maps as its growth rate.

For CIFAR (§4.1) the stem is one 3x3 convolution with stride 1, and there are three stages of equal depth: (L - 4) / 6
layers in a DenseNet-BC of L layers. `dropout` follows every convolution but the first; the paper's rate is 0.2 where it
trains without augmentation, 0 elsewhere.

Convolutions have no biases. Initialiser (He's) and momentum of batch normalisation are those of the authors' code, its
epsilon is that of `keras.applications`, whose weights fit.
"""

import functools
import re

import keras
from keras import initializers, layers

from zoo.registry import variant
from zoo.weights import TORCH, KerasApplication

PAPER = "Huang et al., Densely Connected Convolutional Networks, 2017"
TINY = {"input_shape": (32, 32, 3), "num_classes": 3, "blocks": (1, 1), "growth_rate": 8}


def _conv(x, filters, kernel_size, *, stride=1, padding="same", name):
    he_normal = initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return layers.Conv2D(
        filters, kernel_size, stride, padding, use_bias=False, kernel_initializer=he_normal, name=f"{name}_conv"
    )(x)


def _norm_relu(x, *, name, output=None):
    x = layers.BatchNormalization(momentum=0.9, epsilon=1.001e-5, name=f"{name}_bn")(x)
    return layers.ReLU(name=output or f"{name}_relu")(x)


def _drop(x, rate, *, name):
    return layers.Dropout(rate, name=f"{name}_drop")(x) if rate else x


def _dense_layer(x, growth_rate, dropout, *, name, output):
    new = _conv(_norm_relu(x, name=f"{name}_1"), 4 * growth_rate, 1, name=f"{name}_1")
    new = _drop(new, dropout, name=f"{name}_1")
    new = _conv(_norm_relu(new, name=f"{name}_2"), growth_rate, 3, name=f"{name}_2")
    new = _drop(new, dropout, name=f"{name}_2")
    return layers.Concatenate(name=output)([x, new])


def _transition(x, compression, dropout, *, name):
    x = _conv(_norm_relu(x, name=name), int(x.shape[-1] * compression), 1, name=name)
    return layers.AveragePooling2D(2, name=f"{name}_pool")(_drop(x, dropout, name=name))


def _imagenet_stem(image, filters):
    x = layers.ZeroPadding2D(3, name="stem_pad")(image)
    x = _norm_relu(_conv(x, filters, 7, stride=2, padding="valid", name="stem"), name="stem")
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return layers.MaxPooling2D(3, 2, name="stem_pool")(x)


def _cifar_stem(image, filters):
    return _conv(image, filters, 3, name="stem")


def _densenet(stem, input_shape, num_classes, blocks, growth_rate, compression, dropout, include_top, name):
    _check(blocks, growth_rate, compression)
    image = keras.Input(input_shape, name="image")
    x = stem(image, 2 * growth_rate)
    for i, count in enumerate(blocks, 1):
        last = i == len(blocks)
        if i > 1:
            x = _transition(x, compression, dropout, name=f"stage{i}_block1_transition")
        for j in range(1, count + 1):
            output = f"stage{i}" if j == count and not last else f"stage{i}_block{j}_concat"
            x = _dense_layer(x, growth_rate, dropout, name=f"stage{i}_block{j}", output=output)
    x = _norm_relu(x, name=f"stage{i}_block{j}_output", output=f"stage{i}")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)
        x = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, x, name=name)


def _check(blocks, growth_rate, compression):
    if not blocks or min(blocks) < 1:
        raise ValueError(f"blocks must hold the number of layers, 1 or more, of each stage. Received: {blocks!r}.")
    if growth_rate < 1:
        raise ValueError(f"growth_rate must be 1 or more. Received: {growth_rate!r}.")
    if not 0 < compression <= 1:
        raise ValueError(f"compression must be above 0 and at most 1. Received: {compression!r}.")


def _keras_layer(name):
    """Name of our layer → name of `keras.applications`' layer, which counts stages from 2 and normalisations from 0."""
    if name == "logits":
        return "predictions"
    if name.endswith("output_bn"):
        return "bn"
    name = re.sub(r"^stage(\d)_block1_transition", lambda found: f"pool{found[1]}", name)
    name = re.sub(r"^stage(\d)", lambda found: f"conv{int(found[1]) + 1}", name)
    name = re.sub(r"_(\d)_bn$", lambda found: f"_{int(found[1]) - 1}_bn", name)
    return name.replace("stem", "conv1")


def _imagenet(application):
    return {"imagenet": KerasApplication(application, _keras_layer, license="BSD-3-Clause", **TORCH)}


def _beginning_with(stem):
    def network(
        input_shape=(224, 224, 3),
        num_classes=1000,
        *,
        blocks,
        growth_rate=32,
        compression=0.5,
        dropout=0.0,
        include_top=True,
        name,
    ):
        """A DenseNet with one of the two stems.

        Args:
            input_shape: `(height, width, channels)`, at least 29x29 pixels, for CIFAR's 4x4.
            num_classes: width of the head.
            blocks: number of dense layers of each stage; for CIFAR, `(6, 6, 6)` is a DenseNet-BC of 40 layers.
            growth_rate: maps that a dense layer adds.
            compression: share of the maps that a transition keeps.
            dropout: rate of dropout after each convolution but the first.
            include_top: `False` gives the maps of the last stage.
            name: name of the model.

        Returns:
            `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
        """
        return _densenet(stem, input_shape, num_classes, blocks, growth_rate, compression, dropout, include_top, name)

    return network


_member = functools.partial(variant, task="image-classification", paper=PAPER)
_for_imagenet = functools.partial(_member, _beginning_with(_imagenet_stem), tiny=TINY, min_size=29)

densenet_bc100 = _member(
    _beginning_with(_cifar_stem),
    "densenet_bc100",
    "DenseNet-BC of 100 layers and growth rate 12, for CIFAR.",
    {"input_shape": (32, 32, 3), "num_classes": 10, "blocks": (16, 16, 16), "growth_rate": 12},
    tiny={"input_shape": (8, 8, 3), "num_classes": 3, "blocks": (1, 1, 1), "growth_rate": 8},
    min_size=4,
)
densenet121 = _for_imagenet(
    "densenet121",
    "DenseNet of 121 layers, for ImageNet.",
    {"blocks": (6, 12, 24, 16)},
    weights=_imagenet("DenseNet121"),
)
densenet169 = _for_imagenet(
    "densenet169",
    "DenseNet of 169 layers, for ImageNet.",
    {"blocks": (6, 12, 32, 32)},
    weights=_imagenet("DenseNet169"),
)
densenet201 = _for_imagenet(
    "densenet201",
    "DenseNet of 201 layers, for ImageNet.",
    {"blocks": (6, 12, 48, 32)},
    weights=_imagenet("DenseNet201"),
)

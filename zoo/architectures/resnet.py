"""Residual networks for ImageNet.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR (2016), table 1:

    stage    output (224x224 input)    18   34    50   101   152
    stem     56x56                    7x7 convolution to 64 maps and 3x3 max-pooling, each with stride 2
    stage1   56x56                     2    3     3     3     3    blocks of 64 maps
    stage2   28x28                     2    4     4     4     8    blocks of 128 maps
    stage3   14x14                     2    6     6    23    36    blocks of 256 maps
    stage4    7x7                      2    3     3     3     3    blocks of 512 maps
    head                              global average, one fully connected layer

    block         of 18 and 34: 3x3, 3x3; of the deeper ones the bottleneck: 1x1, 3x3, 1x1 to 4 times as many maps

Stages but the first halve the picture, in the first convolution of their first block. Where a block changes the shape,
its shortcut is a 1x1 convolution (option B).

Two layouts are in use: torchvision's, without biases of convolutions, for 18 and 34 layers, and that of
`keras.applications`, with biases, for the deeper ones, whose published weights fit. Initialiser (He's) and momentum of
batch normalisation are torchvision's in both. `stochastic_depth` is Huang et al., "Deep Networks with Stochastic Depth"
(2016).
"""

import functools
import re
from typing import NamedTuple

import keras
from keras import initializers, layers

from zoo.layers import StochasticDepth
from zoo.registry import variant
from zoo.weights import CAFFE, KerasApplication

PAPER = "He et al., Deep Residual Learning for Image Recognition, 2015"
WIDTHS = (64, 128, 256, 512)
TINY = {"input_shape": (32, 32, 3), "num_classes": 3, "blocks": (1, 1), "widths": (8, 16)}


class Layout(NamedTuple):
    """What implementations of one and the same table do differently."""

    use_bias: bool
    epsilon: float


TORCHVISION = Layout(use_bias=False, epsilon=1e-5)
KERAS = Layout(use_bias=True, epsilon=1.001e-5)


def _conv_norm(x, filters, kernel_size, stride, layout, *, name):
    if padded := stride > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        kernel_size,
        stride,
        "valid" if padded else "same",
        use_bias=layout.use_bias,
        kernel_initializer=initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=layout.epsilon, name=f"{name}_bn")(x)


def _conv_norm_relu(x, filters, kernel_size, stride, layout, *, name):
    return layers.ReLU(name=f"{name}_relu")(_conv_norm(x, filters, kernel_size, stride, layout, name=name))


def basic(x, filters, stride, layout, *, name):
    """What a block of ResNet-18 and -34 adds to its shortcut."""
    x = _conv_norm_relu(x, filters, 3, stride, layout, name=f"{name}_1")
    return _conv_norm(x, filters, 3, 1, layout, name=f"{name}_2")


def bottleneck(x, filters, stride, layout, *, name):
    """What a block of the deeper networks adds to its shortcut."""
    x = _conv_norm_relu(x, filters, 1, stride, layout, name=f"{name}_1")
    x = _conv_norm_relu(x, filters, 3, 1, layout, name=f"{name}_2")
    return _conv_norm(x, 4 * filters, 1, 1, layout, name=f"{name}_3")


def _add_shortcut(branch, x, stride, layout, *, name, output):
    if stride > 1 or x.shape[-1] != branch.shape[-1]:
        x = _conv_norm(x, branch.shape[-1], 1, stride, layout, name=f"{name}_shortcut")
    x = layers.Add(name=f"{name}_add")([x, branch])
    return layers.ReLU(name=output)(x)


def residual_network(
    branch,
    layout,
    input_shape,
    num_classes,
    blocks,
    widths,
    *,
    stochastic_depth,
    include_top,
    name,
    recalibrate=None,
):
    """The network of the table, for the variants of this file and of those that build on it.

    Args:
        branch: `basic` or `bottleneck`.
        layout: `TORCHVISION` or `KERAS`.
        recalibrate: `(maps, name=…)` → maps, put at the end of every branch, before the addition.
    """
    if not blocks or len(blocks) != len(widths) or min(*blocks, *widths) < 1:
        raise ValueError(
            "blocks and widths must hold one positive number for each stage. "
            f"Received: blocks={blocks!r}, widths={widths!r}."
        )
    if not 0 <= stochastic_depth < 1:
        raise ValueError(f"stochastic_depth must be at least 0 and below 1. Received: {stochastic_depth!r}.")
    image = keras.Input(input_shape, name="image")
    x = _conv_norm_relu(image, widths[0], 7, 2, layout, name="stem")
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)
    built = 0
    for i, (count, filters) in enumerate(zip(blocks, widths, strict=True), 1):
        for j in range(1, count + 1):
            built += 1
            block = f"stage{i}_block{j}"
            stride = 2 if i > 1 and j == 1 else 1
            added = branch(x, filters, stride, layout, name=block)
            if recalibrate:
                added = recalibrate(added, name=block)
            if stochastic_depth:
                added = StochasticDepth(stochastic_depth * built / sum(blocks), name=f"{block}_drop")(added)
            x = _add_shortcut(
                added, x, stride, layout, name=block, output=f"stage{i}" if j == count else f"{block}_relu"
            )
    if include_top:
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)
        x = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, x, name=name)


def _keras_layer(name):
    """Name of our layer → name of `keras.applications`' layer, which counts stages from 2."""
    if name == "logits":
        return "predictions"
    name = re.sub(r"^stage(\d)", lambda found: f"conv{int(found[1]) + 1}", name)
    return name.replace("stem", "conv1").replace("shortcut", "0")


def _imagenet(application):
    return {"imagenet": KerasApplication(application, _keras_layer, license="MIT", **CAFFE)}


def _made_of(branch, layout):
    def network(
        input_shape=(224, 224, 3),
        num_classes=1000,
        *,
        blocks,
        widths=WIDTHS,
        stochastic_depth=0.0,
        include_top=True,
        name,
    ):
        """A residual network of one kind of branches, in one layout.

        Args:
            input_shape: `(height, width, channels)`, at least 32x32 pixels.
            num_classes: width of the head.
            blocks: number of blocks of each stage.
            widths: maps of each stage; a bottleneck ends in 4 times as many.
            stochastic_depth: rate at which the last block is dropped in training; it rises to it in a line from 0.
            include_top: `False` gives the maps of the last stage.
            name: name of the model.

        Returns:
            `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
        """
        return residual_network(
            branch,
            layout,
            input_shape,
            num_classes,
            blocks,
            widths,
            stochastic_depth=stochastic_depth,
            include_top=include_top,
            name=name,
        )

    return network


_member = functools.partial(variant, task="image-classification", paper=PAPER, tiny=TINY, min_size=32)
_of_basic_blocks = functools.partial(_member, _made_of(basic, TORCHVISION))
_of_bottlenecks = functools.partial(_member, _made_of(bottleneck, KERAS))

resnet18 = _of_basic_blocks("resnet18", "The residual network of 18 layers, for ImageNet.", {"blocks": (2, 2, 2, 2)})
resnet34 = _of_basic_blocks("resnet34", "The residual network of 34 layers, for ImageNet.", {"blocks": (3, 4, 6, 3)})
resnet50 = _of_bottlenecks(
    "resnet50",
    "The residual network of 50 layers, for ImageNet, made of bottlenecks.",
    {"blocks": (3, 4, 6, 3)},
    weights=_imagenet("ResNet50"),
)
resnet101 = _of_bottlenecks(
    "resnet101",
    "The residual network of 101 layers, for ImageNet, made of bottlenecks.",
    {"blocks": (3, 4, 23, 3)},
    weights=_imagenet("ResNet101"),
)
resnet152 = _of_bottlenecks(
    "resnet152",
    "The residual network of 152 layers, for ImageNet, made of bottlenecks.",
    {"blocks": (3, 8, 36, 3)},
    weights=_imagenet("ResNet152"),
)

"""Residual networks for small pictures.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR (2016), §4.2:

    stage    maps   output (32x32 input)   layers
    stem      16    32x32                  one 3x3 convolution
    stage1    16    32x32                  2n
    stage2    32    16x16                  2n, the first with stride 2
    stage3    64     8x8                   2n, the first with stride 2
    head                                   global average, one fully connected layer

A block is two 3x3 convolutions with a shortcut around them, so a stage has n of them and the network 6n + 2 layers with
weights. Shortcuts have no weights (option A): where the maps shrink and grow in number, the shortcut keeps every second
pixel and adds maps of zeros.

Convolutions have no biases; batch normalisation and He's initialiser are as in the authors' code. `stochastic_depth` is
Huang et al., "Deep Networks with Stochastic Depth" (2016), whose rate for `resnet110` is 0.5.
"""

import functools

import keras
from keras import initializers, layers

from zoo.layers import StochasticDepth
from zoo.registry import variant

PAPER = "He et al., Deep Residual Learning for Image Recognition, 2015, §4.2"
WIDTHS = (16, 32, 64)
TINY = {"input_shape": (8, 8, 3), "num_classes": 3, "blocks": (1, 1), "widths": (8, 16)}


def _conv(x, filters, stride=1, *, name):
    if stride > 1:
        # "same" would shift the kernel by a pixel from those that the shortcut keeps.
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        3,
        stride,
        "valid" if stride > 1 else "same",
        use_bias=False,
        kernel_initializer=initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=f"{name}_conv",
    )(x)


def _norm(x, *, name):
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)


def _shortcut(x, filters, stride, *, name):
    if stride > 1:
        x = layers.MaxPooling2D(1, stride, name=f"{name}_subsample")(x)
    if filters > x.shape[-1]:
        # Told that channels come first, the layer takes the last two axes, width and maps, for height and width.
        added = ((0, 0), (0, filters - x.shape[-1]))
        x = layers.ZeroPadding2D(added, data_format="channels_first", name=f"{name}_zeros")(x)
    return x


def _block(x, filters, stride, drop, *, name, output):
    shortcut = _shortcut(x, filters, stride, name=f"{name}_shortcut")
    x = _norm(_conv(x, filters, stride, name=f"{name}_1"), name=f"{name}_1")
    x = layers.ReLU(name=f"{name}_1_relu")(x)
    x = _norm(_conv(x, filters, name=f"{name}_2"), name=f"{name}_2")
    if drop:
        x = StochasticDepth(drop, name=f"{name}_drop")(x)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=output)(x)


def cifar_resnet(
    input_shape=(32, 32, 3),
    num_classes=10,
    *,
    blocks,
    widths=WIDTHS,
    stochastic_depth=0.0,
    include_top=True,
    name,
):
    """A residual network for small pictures.

    Args:
        input_shape: `(height, width, channels)`, at least 4x4 pixels.
        num_classes: width of the head.
        blocks: number of blocks of each stage.
        widths: maps of each stage.
        stochastic_depth: rate at which the last block is dropped in training; it rises to it in a line from 0.
        include_top: `False` gives the maps of the last stage.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    _check(blocks, widths, stochastic_depth)
    image = keras.Input(input_shape, name="image")
    x = layers.ReLU(name="stem_relu")(_norm(_conv(image, widths[0], name="stem"), name="stem"))
    built = 0
    for i, (count, filters) in enumerate(zip(blocks, widths, strict=True), 1):
        for j in range(1, count + 1):
            built += 1
            x = _block(
                x,
                filters,
                stride=2 if i > 1 and j == 1 else 1,
                drop=stochastic_depth * built / sum(blocks),
                name=f"stage{i}_block{j}",
                output=f"stage{i}" if j == count else f"stage{i}_block{j}_relu",
            )
    if include_top:
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)
        x = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, x, name=name)


def _check(blocks, widths, stochastic_depth):
    if not blocks or len(blocks) != len(widths) or min(*blocks, *widths) < 1:
        raise ValueError(
            "blocks and widths must hold one positive number for each stage. "
            f"Received: blocks={blocks!r}, widths={widths!r}."
        )
    if list(widths) != sorted(widths):
        raise ValueError(
            "widths must not fall from stage to stage: a shortcut without weights can add maps, not take any away. "
            f"Received: widths={widths!r}."
        )
    if not 0 <= stochastic_depth < 1:
        raise ValueError(f"stochastic_depth must be at least 0 and below 1. Received: {stochastic_depth!r}.")


_member = functools.partial(variant, cifar_resnet, task="image-classification", paper=PAPER, tiny=TINY, min_size=4)

resnet20 = _member("resnet20", "The residual network of 20 layers for CIFAR, n = 3.", {"blocks": (3, 3, 3)})
resnet32 = _member("resnet32", "The residual network of 32 layers for CIFAR, n = 5.", {"blocks": (5, 5, 5)})
resnet44 = _member("resnet44", "The residual network of 44 layers for CIFAR, n = 7.", {"blocks": (7, 7, 7)})
resnet56 = _member("resnet56", "The residual network of 56 layers for CIFAR, n = 9.", {"blocks": (9, 9, 9)})
resnet110 = _member("resnet110", "The residual network of 110 layers for CIFAR, n = 18.", {"blocks": (18, 18, 18)})

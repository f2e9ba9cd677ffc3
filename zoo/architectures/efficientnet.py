"""EfficientNet, B0 to B7.

Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML (2019), Table 1 (B0):

    output       operator            channels   layers   stage
    112x112      conv 3x3                32        1     stem
    112x112      MBConv1, 3x3            16        1     1
     56x56       MBConv6, 3x3            24        2     2
     28x28       MBConv6, 5x5            40        2     3
     14x14       MBConv6, 3x3            80        3     4
     14x14       MBConv6, 5x5           112        3     4
      7x7        MBConv6, 5x5           192        4     5
      7x7        MBConv6, 3x3           320        1     5
      7x7        conv 1x1              1280        1     5
                 average pool, linear classes      1     head

MBConv is MobileNetV2's bottleneck with swish and with squeeze-and-excitation to a quarter of its input's channels. A
stage here is all blocks of one resolution. The others are B0 with its channels and its repeats multiplied (§3.3; the
coefficients are those of the reference implementation), on larger pictures:

                     B0    B1    B2    B3    B4    B5    B6    B7
    width           1.0   1.0   1.1   1.2   1.4   1.6   1.8   2.0
    depth           1.0   1.1   1.2   1.4   1.8   2.2   2.6   3.1
    resolution      224   240   260   300   380   456   528   600
    dropout         0.2   0.2   0.3   0.3   0.4   0.4   0.5   0.5

The arguments that all variants share:

    blocks               rows `(kernel, expansion, channels, repeats, stride)` of Table 1
    width_multiplier     multiplies all channels, then rounded to multiples of 8
    depth_multiplier     multiplies the repeats, then rounded up
    dropout              rate of dropout before the head
    stochastic_depth     block b of n, counted from 0, loses its branch with probability `stochastic_depth` * b / n
    batch_norm_momentum  of the moving statistics. 0.99 wants some hundred steps: a shorter training needs less, or the
                         network at inference is not the one that was trained

The published weights belong to the default arguments.
"""

import math
from functools import partial

import keras
from keras import layers

from zoo.architectures.mobilenet_v2 import block_names, by_resolution, check_rows, scaled, split_name
from zoo.layers import StochasticDepth
from zoo.registry import variant
from zoo.weights import TORCH, KerasApplication

COLUMNS = ("kernel", "expansion", "channels", "repeats", "stride")
BLOCKS = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
STEM_WIDTH, LAST_WIDTH = 32, 1280

_KERAS = {"expand": "expand_conv", "depthwise": "dwconv", "depthwise_bn": "bn", "project": "project_conv"}


def _keras_layer(depth_multiplier, layer):
    """`stage2_block1_expand` → `block2a_expand_conv`: theirs names a block by its row in the table and a letter."""
    if layer.startswith("stem"):
        return layer
    if layer == "logits":
        return "predictions"
    if layer == "stage1":
        return "block1a_project_bn"
    block, what = split_name(layer)
    if what in ("conv", "bn"):
        return f"top_{what}"
    repeats = [math.ceil(row[3] * depth_multiplier) for row in BLOCKS]
    ours = block_names(_stages(BLOCKS, 1.0, depth_multiplier))
    theirs = [f"block{i}{chr(ord('a') + j)}_" for i, n in enumerate(repeats, 1) for j in range(n)]
    return dict(zip(ours, theirs, strict=True)).get(block, "") + _KERAS.get(what, what)


def _imagenet(application, depth_multiplier):
    layer = partial(_keras_layer, depth_multiplier)
    return {"imagenet": KerasApplication(application, layer, license="Apache-2.0", **TORCH)}


def _stages(table, width_multiplier, depth_multiplier):
    """Every block of the scaled table, `(kernel, expansion, channels, stride)`, by resolution."""
    blocks = []
    for kernel, expansion, channels, repeats, stride in table:
        block = kernel, expansion, scaled(channels, width_multiplier)
        blocks += [(*block, stride)] + [(*block, 1)] * (math.ceil(repeats * depth_multiplier) - 1)
    return by_resolution(blocks)


def _kernel():
    # A new one for every layer: an initialiser draws the same numbers each time it is used.
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def _conv(x, channels, kernel, stride, name):
    return layers.Conv2D(channels, kernel, stride, "same", use_bias=False, kernel_initializer=_kernel(), name=name)(x)


def _squeeze_excite(x, squeezed, name):
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_pool")(x)
    for width, activation, what in ((squeezed, "swish", "se_reduce"), (x.shape[-1], "sigmoid", "se_expand")):
        gate = layers.Conv2D(width, 1, activation=activation, kernel_initializer=_kernel(), name=f"{name}_{what}")(gate)
    return layers.Multiply(name=f"{name}_se_scale")([x, gate])


def _mbconv(x, kernel, expansion, channels, stride, stochastic_depth, norm, name, last):
    """`last` names the block's last layer if given."""
    shortcut, width = x, x.shape[-1]
    if expansion != 1:
        x = _conv(x, width * expansion, 1, 1, f"{name}_expand")
        x = norm(name=f"{name}_expand_bn")(x)
        x = layers.Activation("swish", name=f"{name}_expand_activation")(x)
    x = layers.DepthwiseConv2D(
        kernel, stride, "same", use_bias=False, depthwise_initializer=_kernel(), name=f"{name}_depthwise"
    )(x)
    x = norm(name=f"{name}_depthwise_bn")(x)
    x = layers.Activation("swish", name=f"{name}_depthwise_activation")(x)
    x = _squeeze_excite(x, max(1, width // 4), name)
    x = _conv(x, channels, 1, 1, f"{name}_project")
    if stride == 2 or channels != width:
        return norm(name=last or f"{name}_project_bn")(x)
    x = norm(name=f"{name}_project_bn")(x)
    if stochastic_depth:
        x = StochasticDepth(stochastic_depth, name=f"{name}_stochastic_depth")(x)
    return layers.Add(name=last or f"{name}_add")([shortcut, x])


def efficientnet(
    input_shape=(224, 224, 3),
    num_classes=1000,
    *,
    blocks=BLOCKS,
    width_multiplier=1.0,
    depth_multiplier=1.0,
    dropout=0.2,
    stochastic_depth=0.2,
    batch_norm_momentum=0.99,
    include_top=True,
    name="efficientnet",
):
    """EfficientNet of any width and depth.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels.
        num_classes: width of the head.
        blocks, width_multiplier, depth_multiplier, dropout, stochastic_depth, batch_norm_momentum: see the module.
        include_top: `False` gives the maps of the last stage.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    check_rows(blocks, COLUMNS)
    if not depth_multiplier > 0:
        raise ValueError(f"depth_multiplier must be above 0. Received: {depth_multiplier!r}.")
    if not 0 <= stochastic_depth < 1:
        raise ValueError(f"stochastic_depth must be at least 0 and below 1. Received: {stochastic_depth!r}.")
    norm = partial(layers.BatchNormalization, momentum=batch_norm_momentum)
    image = keras.Input(input_shape, name="image")
    x = _conv(image, scaled(STEM_WIDTH, width_multiplier), 3, 2, "stem_conv")
    x = norm(name="stem_bn")(x)
    x = layers.Activation("swish", name="stem_activation")(x)
    stages = _stages(blocks, width_multiplier, depth_multiplier)
    done, total = 0, sum(map(len, stages))
    for i, stage in enumerate(stages, 1):
        for j, block in enumerate(stage, 1):
            last = f"stage{i}" if j == len(stage) and i < len(stages) else None
            x = _mbconv(x, *block, stochastic_depth * done / total, norm, f"stage{i}_block{j}", last)
            done += 1
    end = f"stage{i}_block{j + 1}"
    x = _conv(x, scaled(LAST_WIDTH, width_multiplier), 1, 1, f"{end}_conv")
    x = norm(name=f"{end}_bn")(x)
    x = layers.Activation("swish", name=f"stage{i}")(x)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)
        if dropout:
            x = layers.Dropout(dropout, name="head_dropout")(x)
        kernel = keras.initializers.VarianceScaling(1 / 3, "fan_out", "uniform")
        x = layers.Dense(num_classes, kernel_initializer=kernel, dtype="float32", name="logits")(x)
    return keras.Model(image, x, name=name)


PAPER = "Tan, Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, 2019"
_TINY = {
    "input_shape": (32, 32, 3),
    "num_classes": 3,
    "blocks": ((3, 1, 8, 1, 1), (3, 2, 8, 1, 2)),
    "width_multiplier": 0.01,
    "depth_multiplier": 1.0,
    "dropout": 0.0,
    "stochastic_depth": 0.0,
    "batch_norm_momentum": 0.9,
}

_member = partial(variant, efficientnet, task="image-classification", paper=PAPER, tiny=_TINY, min_size=32)


def _scaled(width, depth, pixels, dropout):
    """A column of the table."""
    scale = {"width_multiplier": width, "depth_multiplier": depth, "dropout": dropout}
    return {"input_shape": (pixels, pixels, 3), **scale}


efficientnet_b0 = _member(
    "efficientnet_b0",
    "The searched baseline: mobile bottlenecks with squeeze-and-excitation.",
    _scaled(1.0, 1.0, 224, 0.2),
    weights=_imagenet("EfficientNetB0", 1.0),
)
efficientnet_b1 = _member(
    "efficientnet_b1",
    "B0 with 1.1 times its depth, for 240x240 pixels.",
    _scaled(1.0, 1.1, 240, 0.2),
    weights=_imagenet("EfficientNetB1", 1.1),
)
efficientnet_b2 = _member(
    "efficientnet_b2",
    "B0 with 1.1 times its width and 1.2 times its depth, for 260x260 pixels.",
    _scaled(1.1, 1.2, 260, 0.3),
    weights=_imagenet("EfficientNetB2", 1.2),
)
efficientnet_b3 = _member(
    "efficientnet_b3",
    "B0 with 1.2 times its width and 1.4 times its depth, for 300x300 pixels.",
    _scaled(1.2, 1.4, 300, 0.3),
    weights=_imagenet("EfficientNetB3", 1.4),
)
efficientnet_b4 = _member(
    "efficientnet_b4",
    "B0 with 1.4 times its width and 1.8 times its depth, for 380x380 pixels.",
    _scaled(1.4, 1.8, 380, 0.4),
    weights=_imagenet("EfficientNetB4", 1.8),
)
efficientnet_b5 = _member(
    "efficientnet_b5",
    "B0 with 1.6 times its width and 2.2 times its depth, for 456x456 pixels.",
    _scaled(1.6, 2.2, 456, 0.4),
    weights=_imagenet("EfficientNetB5", 2.2),
)
efficientnet_b6 = _member(
    "efficientnet_b6",
    "B0 with 1.8 times its width and 2.6 times its depth, for 528x528 pixels.",
    _scaled(1.8, 2.6, 528, 0.5),
    weights=_imagenet("EfficientNetB6", 2.6),
)
efficientnet_b7 = _member(
    "efficientnet_b7",
    "B0 with 2 times its width and 3.1 times its depth, for 600x600 pixels.",
    _scaled(2.0, 3.1, 600, 0.5),
    weights=_imagenet("EfficientNetB7", 3.1),
)

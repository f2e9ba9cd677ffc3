"""MobileNetV2.

Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR (2018), Table 2:

    input       operator       t      c   n   s   stage
    224²x3      conv 3x3       -     32   1   2   stem
    112²x32     bottleneck     1     16   1   1   1
    112²x16     bottleneck     6     24   2   2   2
     56²x24     bottleneck     6     32   3   2   3
     28²x32     bottleneck     6     64   4   2   4
     14²x64     bottleneck     6     96   3   1   4
     14²x96     bottleneck     6    160   3   2   5
      7²x160    bottleneck     6    320   1   1   5
      7²x320    conv 1x1       -   1280   1   1   5
      7²x1280   average pool   -      -   1   -   head
      1²x1280   linear         -      k   -   -   head

t is the expansion of a bottleneck, c its output channels, n its repeats, s the stride of the first of them. Table 1 is
the bottleneck. The paper's width multiplier is `width_multiplier`, its resolution multiplier is `input_shape`.
"""

import re
from functools import partial

import keras
from keras import layers

from zoo.registry import register
from zoo.weights import SYMMETRIC, KerasApplication

COLUMNS = ("expansion", "channels", "repeats", "stride")
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def scaled(channels, multiplier):
    """Channels times a multiplier, as the nearest multiple of 8 that is not more than 10 % below.

    Raises:
        ValueError: the multiplier is not positive.
    """
    if not multiplier > 0:
        raise ValueError(f"width_multiplier must be above 0. Received: {multiplier!r}.")
    wanted = channels * multiplier
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


def check_rows(blocks, columns):
    """Raise ValueError unless `blocks` are rows of these columns, all numbers positive, the last a stride of 1 or 2."""
    for row in blocks or [()]:
        too_small = any(not isinstance(value, (bool, str)) and value < 1 for value in row)
        if len(row) != len(columns) or too_small or row[-1] not in (1, 2):
            raise ValueError(f"blocks must be rows ({', '.join(columns)}) with a stride of 1 or 2. Received: {row!r}.")


def by_resolution(blocks):
    """Lists of blocks, one for each stage: a block begins a new stage where its last entry, the stride, is 2."""
    stages = []
    for block in blocks:
        if block[-1] == 2 or not stages:
            stages.append([])
        stages[-1].append(block)
    return stages


def block_names(stages):
    """`stage1_block1`, … in order."""
    return [f"stage{i}_block{j}" for i, stage in enumerate(stages, 1) for j in range(1, len(stage) + 1)]


def split_name(layer):
    """`stage1_block1_expand_bn` → `stage1_block1`, `expand_bn`; a name of another form → that name, nothing."""
    found = re.fullmatch(r"(stage\d+_block\d+)_(\w+)", layer)
    return found.groups() if found else (layer, "")


def _stages(table):
    """Every block of the table, `(expansion, channels, stride)`, by resolution."""
    blocks = []
    for expansion, channels, repeats, stride in table:
        blocks += [(expansion, channels, stride)] + [(expansion, channels, 1)] * (repeats - 1)
    return by_resolution(blocks)


_KERAS = {
    "stem_conv": "Conv1",
    "stem_bn": "bn_Conv1",
    "stage1": "expanded_conv_project_BN",
    "stage5_block5_conv": "Conv_1",
    "stage5_block5_bn": "Conv_1_bn",
    "logits": "predictions",
}


def _keras_layer(layer):
    """`stage2_block1_expand_bn` → `block_1_expand_BN`: theirs counts the blocks through, from 0."""
    if layer in _KERAS:
        return _KERAS[layer]
    block, what = split_name(layer)
    theirs = {name: f"block_{i}_" if i else "expanded_conv_" for i, name in enumerate(block_names(_stages(BLOCKS)))}
    return theirs.get(block, "") + what.replace("bn", "BN")


def _bottleneck(x, expansion, channels, stride, norm, name, last):
    """Table 1: expand, filter depthwise, project without an activation. `last` names the last layer if given."""
    shortcut, width = x, x.shape[-1]
    if expansion != 1:
        x = layers.Conv2D(expansion * width, 1, use_bias=False, name=f"{name}_expand")(x)
        x = norm(name=f"{name}_expand_bn")(x)
        x = layers.ReLU(6.0, name=f"{name}_expand_relu")(x)
    x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
    x = norm(name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    if stride == 2 or channels != width:
        return norm(name=last or f"{name}_project_bn")(x)
    x = norm(name=f"{name}_project_bn")(x)
    return layers.Add(name=last or f"{name}_add")([shortcut, x])


@register(
    task="image-classification",
    paper="Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018",
    tiny={
        "input_shape": (32, 32, 3),
        "num_classes": 3,
        "blocks": ((1, 8, 1, 1), (2, 8, 1, 2), (2, 16, 1, 2)),
        "stem_width": 8,
        "last_width": 16,
        "dropout": 0.0,
        "batch_norm_momentum": 0.9,
    },
    min_size=32,
    weights={"imagenet": KerasApplication("MobileNetV2", _keras_layer, license="Apache-2.0", **SYMMETRIC)},
)
def mobilenet_v2(
    input_shape=(224, 224, 3),
    num_classes=1000,
    *,
    blocks=BLOCKS,
    stem_width=32,
    last_width=1280,
    width_multiplier=1.0,
    dropout=0.2,
    batch_norm_momentum=0.999,
    include_top=True,
    name="mobilenet_v2",
):
    """Inverted residuals between linear bottlenecks.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels.
        num_classes: width of the head.
        blocks: rows `(expansion, channels, repeats, stride)` of the paper's table.
        stem_width: channels of the first convolution.
        last_width: channels of the last convolution.
        width_multiplier: multiplies all channels, then rounded to multiples of 8; those of the last convolution
            only if it is above 1. The published weights belong to 1.
        dropout: rate of dropout before the head, the reference implementation's; `keras.applications` has none.
        batch_norm_momentum: of the moving statistics. The reference's 0.999 wants thousands of steps: a shorter
            training needs less, or the network at inference is not the one that was trained.
        include_top: `False` gives the maps of the last stage.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    check_rows(blocks, COLUMNS)
    norm = partial(layers.BatchNormalization, momentum=batch_norm_momentum, epsilon=1e-3)
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(scaled(stem_width, width_multiplier), 3, 2, "same", use_bias=False, name="stem_conv")(image)
    x = norm(name="stem_bn")(x)
    x = layers.ReLU(6.0, name="stem_relu")(x)
    stages = _stages(blocks)
    for i, stage in enumerate(stages, 1):
        for j, (expansion, channels, stride) in enumerate(stage, 1):
            last = f"stage{i}" if j == len(stage) and i < len(stages) else None
            width = scaled(int(channels * width_multiplier), 1)
            x = _bottleneck(x, expansion, width, stride, norm, f"stage{i}_block{j}", last)
    name_of_last = f"stage{i}_block{j + 1}"
    last_width = scaled(last_width, max(1.0, width_multiplier))
    x = layers.Conv2D(last_width, 1, use_bias=False, name=f"{name_of_last}_conv")(x)
    x = norm(name=f"{name_of_last}_bn")(x)
    x = layers.ReLU(6.0, name=f"stage{i}")(x)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)
        if dropout:
            x = layers.Dropout(dropout, name="head_dropout")(x)
        x = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, x, name=name)

"""MobileNetV3, large and small.

Howard et al., "Searching for MobileNetV3", ICCV (2019), Tables 1 and 2. Both begin with a 3x3 convolution of 16
channels and stride 2, and end with a 1x1 convolution of 6 times the last block's channels, average pooling, a hidden
layer of 1280 (large) or 1024 (small) units, and the classifier. The blocks between them are the tables below. A stage
is all blocks of one resolution: 112², 56², 28², 14² and 7² (large), 56², 28², 14² and 7² (small). The 1x1 convolution
ends the last one.

The block is MobileNetV2's bottleneck; some have squeeze-and-excitation (SE) to a quarter of the expanded channels, and
from the middle on the activation is h-swish, x·ReLU6(x + 3)/6 (§5.2, §5.3).
"""

from functools import partial

import keras
from keras import layers

from zoo.architectures.mobilenet_v2 import block_names, by_resolution, check_rows, scaled, split_name
from zoo.registry import variant
from zoo.weights import SYMMETRIC, KerasApplication

RE, HS = "relu", "hard_swish"
COLUMNS = ("kernel", "expanded", "channels", "SE", "activation", "stride")
LARGE = (
    (3, 16, 16, False, RE, 1),
    (3, 64, 24, False, RE, 2),
    (3, 72, 24, False, RE, 1),
    (5, 72, 40, True, RE, 2),
    (5, 120, 40, True, RE, 1),
    (5, 120, 40, True, RE, 1),
    (3, 240, 80, False, HS, 2),
    (3, 200, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 480, 112, True, HS, 1),
    (3, 672, 112, True, HS, 1),
    (5, 672, 160, True, HS, 2),
    (5, 960, 160, True, HS, 1),
    (5, 960, 160, True, HS, 1),
)
SMALL = (
    (3, 16, 16, True, RE, 2),
    (3, 72, 24, False, RE, 2),
    (3, 88, 24, False, RE, 1),
    (5, 96, 40, True, HS, 2),
    (5, 240, 40, True, HS, 1),
    (5, 240, 40, True, HS, 1),
    (5, 120, 48, True, HS, 1),
    (5, 144, 48, True, HS, 1),
    (5, 288, 96, True, HS, 2),
    (5, 576, 96, True, HS, 1),
    (5, 576, 96, True, HS, 1),
)
STEM_WIDTH = 16

_TINY = {
    "input_shape": (32, 32, 3),
    "num_classes": 3,
    "blocks": ((3, 16, 16, True, RE, 1), (5, 16, 8, False, HS, 2), (3, 16, 8, True, HS, 2)),
    "head_width": 16,
    "dropout": 0.0,
    "batch_norm_momentum": 0.9,
}

_KERAS = {
    "stem_conv": "conv",
    "stem_bn": "conv_bn",
    "stage1": "expanded_conv_project_bn",
    "head_dense": "conv_2",
    "logits": "logits",
}
_KERAS_IN_BLOCK = {
    "se_reduce": "squeeze_excite_conv",
    "se_expand": "squeeze_excite_conv_1",
    "conv": "conv_1",
    "bn": "conv_1_bn",
}


def _keras_layer(table, layer):
    """`stage2_block1_expand` → `expanded_conv_1_expand`: theirs counts the blocks through, from 0."""
    if layer in _KERAS:
        return _KERAS[layer]
    block, what = split_name(layer)
    names = enumerate(block_names(by_resolution(table)))
    theirs = {name: f"expanded_conv_{i}_" if i else "expanded_conv_" for i, name in names}
    return theirs.get(block, "") + _KERAS_IN_BLOCK.get(what, what)


def _imagenet(application, table):
    layer = partial(_keras_layer, table)
    return {"imagenet": KerasApplication(application, layer, license="Apache-2.0", **SYMMETRIC)}


def _squeeze_excite(x, name):
    width = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_pool")(x)
    gate = layers.Conv2D(scaled(width, 0.25), 1, activation="relu", name=f"{name}_se_reduce")(gate)
    gate = layers.Conv2D(width, 1, activation="hard_sigmoid", name=f"{name}_se_expand")(gate)
    return layers.Multiply(name=f"{name}_se_scale")([x, gate])


def _bottleneck(x, kernel, expanded, channels, squeeze_excite, activation, stride, norm, name, last):
    """Figure 4. `last` names the last layer if given."""
    shortcut, width = x, x.shape[-1]
    if expanded != width:
        x = layers.Conv2D(expanded, 1, use_bias=False, name=f"{name}_expand")(x)
        x = norm(name=f"{name}_expand_bn")(x)
        x = layers.Activation(activation, name=f"{name}_expand_activation")(x)
    x = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_depthwise")(x)
    x = norm(name=f"{name}_depthwise_bn")(x)
    x = layers.Activation(activation, name=f"{name}_depthwise_activation")(x)
    if squeeze_excite:
        x = _squeeze_excite(x, name)
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    if stride == 2 or channels != width:
        return norm(name=last or f"{name}_project_bn")(x)
    x = norm(name=f"{name}_project_bn")(x)
    return layers.Add(name=last or f"{name}_add")([shortcut, x])


def mobilenet_v3(
    input_shape=(224, 224, 3),
    num_classes=1000,
    *,
    blocks,
    head_width,
    width_multiplier=1.0,
    dropout=0.2,
    batch_norm_momentum=0.999,
    include_top=True,
    name,
):
    """A network of one of the paper's tables.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels.
        num_classes: width of the head.
        blocks: rows `(kernel, expanded, channels, SE, activation, stride)` of the paper's table.
        head_width: units of the hidden layer after the pooling.
        width_multiplier: multiplies the channels of the blocks, then rounded to multiples of 8; `head_width` only if it
            is above 1. The published weights belong to 1.
        dropout: rate of dropout before the head.
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
    x = layers.Conv2D(STEM_WIDTH, 3, 2, "same", use_bias=False, name="stem_conv")(image)
    x = norm(name="stem_bn")(x)
    x = layers.Activation(HS, name="stem_activation")(x)
    stages, table_width = by_resolution(blocks), STEM_WIDTH
    for i, stage in enumerate(stages, 1):
        for j, (kernel, expanded, channels, squeeze_excite, activation, stride) in enumerate(stage, 1):
            last = f"stage{i}" if j == len(stage) and i < len(stages) else None
            # The multiplier acts on the channels between blocks; each block's expansion is the table's ratio to them.
            row = kernel, scaled(x.shape[-1], expanded / table_width), scaled(channels, width_multiplier)
            x = _bottleneck(x, *row, squeeze_excite, activation, stride, norm, f"stage{i}_block{j}", last)
            table_width = channels
    end = f"stage{i}_block{j + 1}"
    x = layers.Conv2D(scaled(x.shape[-1], 6), 1, use_bias=False, name=f"{end}_conv")(x)
    x = norm(name=f"{end}_bn")(x)
    x = layers.Activation(HS, name=f"stage{i}")(x)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)
        if width_multiplier > 1:
            head_width = scaled(head_width, width_multiplier)
        x = layers.Dense(head_width, HS, name="head_dense")(x)
        if dropout:
            x = layers.Dropout(dropout, name="head_dropout")(x)
        x = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, x, name=name)


_member = partial(
    variant,
    mobilenet_v3,
    task="image-classification",
    paper="Howard et al., Searching for MobileNetV3, 2019",
    tiny=_TINY,
    min_size=32,
)

mobilenet_v3_large = _member(
    "mobilenet_v3_large",
    "A searched MobileNet with h-swish and squeeze-and-excitation, for fast phones.",
    {"blocks": LARGE, "head_width": 1280},
    weights=_imagenet("MobileNetV3Large", LARGE),
)
mobilenet_v3_small = _member(
    "mobilenet_v3_small",
    "A searched MobileNet with h-swish and squeeze-and-excitation, for slow phones.",
    {"blocks": SMALL, "head_width": 1024},
    weights=_imagenet("MobileNetV3Small", SMALL),
)

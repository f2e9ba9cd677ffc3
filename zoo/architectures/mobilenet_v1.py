"""MobileNet (V1).

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
arXiv:1704.04861 (2017), Table 1:

    stage   blocks                       output (224x224 input)
    stem    conv 3x3, stride 2           112x112x32
    1       64                           112x112x64
    2       128/2, 128                    56x56x128
    3       256/2, 256                    28x28x256
    4       512/2, 5 x 512                14x14x512
    5       1024/2, 1024                   7x7x1024
    head    average pool, linear         classes

A block is a depthwise 3x3 convolution and a pointwise 1x1 convolution, each with batch normalisation and ReLU6; "/2" is
a depthwise stride of 2. §3.3's width multiplier is `width_multiplier`, §3.4's resolution multiplier is `input_shape`.
"""

import re
from functools import partial

import keras
from keras import layers

from zoo.registry import register
from zoo.weights import SYMMETRIC, KerasApplication

STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))  # channels and blocks of each

_KERAS = {"stem_conv": "conv1", "stem_bn": "conv1_bn", "logits": "conv_preds"}
_KERAS_CONVOLUTION = {"depthwise": "dw", "pointwise": "pw"}


def _keras_layer(layer):
    """`stage2_block1_depthwise_bn` → `conv_dw_2_bn`: theirs counts the blocks through."""
    if layer in _KERAS:
        return _KERAS[layer]
    stage, block, what, norm = re.fullmatch(r"stage(\d+)_block(\d+)_(\w+?)(_bn)?", layer).groups()
    before = sum(blocks for _, blocks in STAGES[: int(stage) - 1])
    return f"conv_{_KERAS_CONVOLUTION[what]}_{before + int(block)}{norm or ''}"


def _separable_block(x, channels, stride, norm, name, last):
    """`last` names the block's last layer if given."""
    if stride == 2:
        # The reference pads below and on the right whatever the size, so an odd size is halved and rounded down.
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
    padding = "same" if stride == 1 else "valid"
    x = layers.DepthwiseConv2D(3, stride, padding, use_bias=False, name=f"{name}_depthwise")(x)
    x = norm(name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_pointwise")(x)
    x = norm(name=f"{name}_pointwise_bn")(x)
    return layers.ReLU(6.0, name=last or f"{name}_pointwise_relu")(x)


@register(
    task="image-classification",
    paper="Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, 2017",
    tiny={
        "input_shape": (32, 32, 3),
        "num_classes": 3,
        "stages": ((64, 1), (128, 1), (128, 1)),
        "width_multiplier": 0.125,
        "dropout": 0.0,
        "batch_norm_momentum": 0.9,
    },
    min_size=32,
    weights={"imagenet": KerasApplication("MobileNet", _keras_layer, license="Apache-2.0", **SYMMETRIC)},
)
def mobilenet_v1(
    input_shape=(224, 224, 3),
    num_classes=1000,
    *,
    stages=STAGES,
    stem_width=32,
    width_multiplier=1.0,
    dropout=0.001,
    batch_norm_momentum=0.99,
    include_top=True,
    name="mobilenet_v1",
):
    """Depthwise separable convolutions, with a width multiplier.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels.
        num_classes: width of the head.
        stages: `(channels, blocks)` of each stage; every stage but the first halves height and width.
        stem_width: channels of the first convolution.
        width_multiplier: multiplies all channels; the paper's are 1, 0.75, 0.5 and 0.25. The published weights belong
            to 1.
        dropout: rate of dropout before the head.
        batch_norm_momentum: of the moving statistics. 0.99 wants some hundred steps: a shorter training needs less, or
            the network at inference is not the one that was trained.
        include_top: `False` gives the maps of the last stage.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """

    def scaled(channels):
        if int(channels * width_multiplier) < 1:
            raise ValueError(
                f"width_multiplier must leave at least 1 of {channels} channels. Received: {width_multiplier!r}."
            )
        return int(channels * width_multiplier)

    if not stages or any(len(row) != 2 or min(row) < 1 for row in stages):
        raise ValueError(f"stages must be rows (channels, blocks) of positive integers. Received: {stages!r}.")
    norm = partial(layers.BatchNormalization, momentum=batch_norm_momentum)
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(scaled(stem_width), 3, 2, "same", use_bias=False, name="stem_conv")(image)
    x = norm(name="stem_bn")(x)
    x = layers.ReLU(6.0, name="stem_relu")(x)
    for i, (channels, blocks) in enumerate(stages, 1):
        for j in range(1, blocks + 1):
            stride = 2 if i > 1 and j == 1 else 1
            last = f"stage{i}" if j == blocks else None
            x = _separable_block(x, scaled(channels), stride, norm, f"stage{i}_block{j}", last)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)
        if dropout:
            x = layers.Dropout(dropout, name="head_dropout")(x)
        x = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, x, name=name)

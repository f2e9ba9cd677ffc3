"""GoogLeNet, the first Inception.

Szegedy et al., "Going Deeper with Convolutions" (2014), Table 1. Every convolution has a ReLU and no batch
normalisation; 3x3 max-pooling with stride 2 opens the stages from the second on:

    stage   output (224x224 input)   layers
    1       112x112                  7x7 convolution with stride 2, 64 maps
    2        56x56                   1x1, 64 and 3x3, 192
    3        28x28                   inception 3a, 3b
    4        14x14                   inception 4a … 4e
    5         7x7                    inception 5a, 5b
    head    average, dropout, classes

An inception block looks at its input through four branches and lays their maps side by side. As in Figure 3, local
response normalisation stands after the first pooling and before the second.
"""

import keras
from keras import layers

from zoo.layers import LocalResponseNormalization
from zoo.registry import register

# Columns of Table 1: maps of "#1x1", "#3x3 reduce", "#3x3", "#5x5 reduce", "#5x5", "pool proj".
STAGE3 = (
    (64, 96, 128, 16, 32, 32),  # 3a
    (128, 128, 192, 32, 96, 64),  # 3b
)
STAGE4 = (
    (192, 96, 208, 16, 48, 64),  # 4a
    (160, 112, 224, 24, 64, 64),  # 4b
    (128, 128, 256, 24, 64, 64),  # 4c
    (112, 144, 288, 32, 64, 64),  # 4d
    (256, 160, 320, 32, 128, 128),  # 4e
)
STAGE5 = (
    (256, 160, 320, 32, 128, 128),  # 5a
    (384, 192, 384, 48, 128, 128),  # 5b
)
TABLE = (STAGE3, STAGE4, STAGE5)
MIN_WIDTH = 4


def _conv(x, filters, kernel, name, strides=1, activation="relu"):
    # The paper does not say how weights start. Without batch normalisation, He's rule keeps the signal alive.
    return layers.Conv2D(
        filters, kernel, strides, "same", activation=activation, kernel_initializer="he_normal", name=name
    )(x)


def _inception(x, widths, name, last):
    """Figure 2b. `last` names the layer that joins the branches."""
    w1, w3_reduce, w3, w5_reduce, w5, w_pool = widths
    branches = [
        _conv(x, w1, 1, f"{name}_1x1"),
        _conv(_conv(x, w3_reduce, 1, f"{name}_3x3_reduce"), w3, 3, f"{name}_3x3"),
        _conv(_conv(x, w5_reduce, 1, f"{name}_5x5_reduce"), w5, 5, f"{name}_5x5"),
        _conv(layers.MaxPooling2D(3, 1, "same", name=f"{name}_pool")(x), w_pool, 1, f"{name}_pool_proj"),
    ]
    return layers.Concatenate(name=last)(branches)


def _auxiliary_head(x, num_classes, width, dropout, name):
    """§5: logits of a classifier half-way down, which sends its gradient straight into the lower stages."""
    # 5x5 with stride 3 gives 4x4 of the paper's 14x14. Maps smaller than 5x5 are averaged whole.
    x = layers.AveragePooling2D([min(5, size) for size in x.shape[1:3]], 3, name=f"head_{name}_pool")(x)
    x = _conv(x, width(128), 1, f"head_{name}_conv")
    x = layers.Flatten(name=f"head_{name}_flatten")(x)
    x = layers.Dense(width(1024), "relu", kernel_initializer="he_normal", name=f"head_{name}_fc")(x)
    if dropout:
        x = layers.Dropout(dropout, name=f"head_{name}_dropout")(x)
    return layers.Dense(num_classes, name=name, dtype="float32")(x)


@register(
    task="image-classification",
    paper="Szegedy et al., Going Deeper with Convolutions, 2014",
    tiny={
        "input_shape": (32, 32, 3),
        "num_classes": 3,
        "depths": (1, 1, 1),
        "width_multiplier": 1 / 16,
        "dropout": 0.0,
        "auxiliary_dropout": 0.0,
    },
    min_size=32,
)
def googlenet(
    input_shape=(224, 224, 3),
    num_classes=1000,
    *,
    depths=(2, 5, 2),
    width_multiplier=1.0,
    local_response_normalization=True,
    dropout=0.4,
    auxiliary_heads=False,
    auxiliary_dropout=0.7,
    include_top=True,
    name="googlenet",
):
    """Nine inception blocks, the network that won ImageNet in 2014 with a tenth of AlexNet's weights.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels.
        num_classes: width of the head.
        depths: inception blocks of stages 3, 4 and 5: the first so many rows of the table.
        width_multiplier: multiplies the maps of every layer, of which at least 4 are left.
        local_response_normalization: whether the two normalisations of Figure 3 are there.
        dropout: rate of dropout before the logits.
        auxiliary_heads: whether the model also answers with the logits of two classifiers half-way down, at the first
            block of stage 4 and at its last but one. They serve training only, where the paper weighs their losses 0.3:
            `compile(loss=[loss] * 3, loss_weights=[1, 0.3, 0.3])`. Afterwards, `zoo.features(model, "logits")` is the
            network without them.
        auxiliary_dropout: rate of dropout in the auxiliary heads.
        include_top: `False` gives the maps of stage 5, and no auxiliary heads.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`; with `auxiliary_heads` a list
        of three: `logits`, `auxiliary1`, `auxiliary2`.
    """
    if len(depths) != 3 or not all(1 <= depth <= len(rows) for depth, rows in zip(depths, TABLE, strict=False)):
        raise ValueError(
            f"depths of {name!r} must be three numbers of blocks, from (1, 1, 1) to (2, 5, 2). Received: {depths!r}."
        )
    if not width_multiplier > 0:
        raise ValueError(f"width_multiplier of {name!r} must be above 0. Received: {width_multiplier!r}.")

    def width(maps):
        return max(MIN_WIDTH, int(maps * width_multiplier))

    def normalized(x, layer):
        # The paper gives no constants: these are those of BVLC's Caffe model.
        return LocalResponseNormalization(5, 1.0, 1e-4 / 5, 0.75, name=layer)(x) if local_response_normalization else x

    image = keras.Input(input_shape, name="image")
    x = _conv(image, width(64), 7, "stage1_block1_conv", strides=2, activation=None)
    x = layers.Activation("relu", name="stage1")(x)
    x = layers.MaxPooling2D(3, 2, "same", name="stage2_block1_maxpool")(x)
    x = normalized(x, "stage2_block1_norm")
    x = _conv(x, width(64), 1, "stage2_block1_conv")
    x = _conv(x, width(192), 3, "stage2_block2_conv", activation=None)
    x = layers.Activation("relu", name="stage2")(x)
    x = normalized(x, "stage3_block1_norm")
    taps = []
    for i, (depth, rows) in enumerate(zip(depths, TABLE, strict=True), 3):
        x = layers.MaxPooling2D(3, 2, "same", name=f"stage{i}_block1_maxpool")(x)
        for j, row in enumerate(rows[:depth], 1):
            block = f"stage{i}_block{j}"
            x = _inception(x, [width(maps) for maps in row], block, f"stage{i}" if j == depth else f"{block}_concat")
            if i == 4:
                taps.append(x)
    if not include_top:
        return keras.Model(image, x, name=name)
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    if dropout:
        x = layers.Dropout(dropout, name="head_dropout")(x)
    logits = layers.Dense(num_classes, name="logits", dtype="float32")(x)
    if not auxiliary_heads:
        return keras.Model(image, logits, name=name)
    auxiliary = [
        _auxiliary_head(tap, num_classes, width, auxiliary_dropout, f"auxiliary{i}")
        for i, tap in enumerate((taps[0], taps[max(len(taps) - 2, 0)]), 1)
    ]
    return keras.Model(image, [logits, *auxiliary], name=name)

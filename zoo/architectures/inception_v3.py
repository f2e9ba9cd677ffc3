"""Inception v3.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015), Table 1 and Figures 5 to 7, in the
layout of `keras.applications`, which is that of the released weights:

    stage   output (299x299 input)   layers
    1       147x147                  3x3 with stride 2, 32; 3x3, 32; 3x3, 64
    2        71x71                   max-pooling; 1x1, 80; 3x3, 192
    3        35x35                   max-pooling; 3 blocks with 5x5 and pairs of 3x3
    4        17x17                   a block that halves the grid; 4 blocks with 1x7 and 7x1
    5         8x8                    a block that halves the grid; 2 blocks that fork into 1x3 and 3x1
    head    average, classes

Every convolution is without bias and has batch normalisation (no scale) and ReLU.
"""

import re
from functools import partial

import keras
from keras import layers

from zoo.registry import register
from zoo.weights import SYMMETRIC, KerasApplication

# A block is a tuple of branches, a branch a line of steps: "1x7:128" is a convolution of 1x7 to 128 maps, "/2" gives it
# a stride of 2 without padding, and "|" forks the branch. The branches' maps are laid side by side.


def _grid35(pool):
    """Figure 5: the 5x5, and a 5x5 as two 3x3."""
    return "1x1:64", "1x1:48 5x5:64", "1x1:64 3x3:96 3x3:96", f"average 1x1:{pool}"


def _grid17(n):
    """Figure 6: the 7x7 as 1x7 and 7x1, once and twice."""
    twice = f"1x1:{n} 7x1:{n} 1x7:{n} 7x1:{n} 1x7:192"
    return "1x1:192", f"1x1:{n} 1x7:{n} 7x1:192", twice, "average 1x1:192"


GRID_35_TO_17 = ("3x3:384/2", "1x1:64 3x3:96 3x3:96/2", "maximum/2")
GRID_17_TO_8 = ("1x1:192 3x3:320/2", "1x1:192 1x7:192 7x1:192 3x3:192/2", "maximum/2")
GRID_8 = ("1x1:320", "1x1:384 1x3:384|3x1:384", "1x1:448 3x3:384 1x3:384|3x1:384", "average 1x1:192")  # Figure 7

TABLE = {
    3: (_grid35(32), _grid35(64), _grid35(64)),
    4: (GRID_35_TO_17, _grid17(128), _grid17(160), _grid17(160), _grid17(192)),
    5: (GRID_17_TO_8, GRID_8, GRID_8),
}
DEPTHS = tuple(len(blocks) for blocks in TABLE.values())
MIN_WIDTH = 4


def _conv(x, maps, kernel, name, *, width_multiplier, momentum, relu=None, **arguments):
    width = max(MIN_WIDTH, int(maps * width_multiplier))
    x = layers.Conv2D(width, kernel, use_bias=False, name=f"{name}_conv", **arguments)(x)
    x = layers.BatchNormalization(momentum=momentum, scale=False, name=f"{name}_bn")(x)
    return layers.Activation("relu", name=relu or f"{name}_relu")(x)


def _branch(x, steps, conv, name):
    """The ends of a branch: one, or two after a fork."""
    letters = iter("abcde")
    ends = [x]
    for step in steps.split():
        if step == "average":
            ends = [layers.AveragePooling2D(3, 1, "same", name=f"{name}_pool")(ends[0])]
        elif step == "maximum/2":
            ends = [layers.MaxPooling2D(3, 2, name=f"{name}_pool")(ends[0])]
        else:
            ends = [_step(ends[0], way, conv, name + next(letters)) for way in step.split("|")]
    return ends


def _step(x, way, conv, name):
    height, across, maps, halve = re.fullmatch(r"(\d)x(\d):(\d+)(/2)?", way).groups()
    grid = {"strides": 2, "padding": "valid"} if halve else {"padding": "same"}
    return conv(x, int(maps), (int(height), int(across)), name, **grid)


def _units():
    """Names of the convolutions, each with its normalisation, in the order in which they are made."""
    yield from ("stage1_block1", "stage1_block2", "stage1_block3", "stage2_block1", "stage2_block2")
    for i, blocks in TABLE.items():
        for j, branches in enumerate(blocks, 1):
            for k, steps in enumerate(branches, 1):
                for letter in "abcde"[: steps.count(":")]:
                    yield f"stage{i}_block{j}_branch{k}{letter}"


UNITS = tuple(_units())
KINDS = {"conv": "conv2d", "bn": "batch_normalization"}


def _keras_layer(name):
    """`stage2_block2_bn` → `batch_normalization_5`."""
    if name == "logits":
        return "predictions"
    unit, _, kind = name.rpartition("_")
    return f"{KINDS[kind]}_{UNITS.index(unit) + 1}"


@register(
    task="image-classification",
    paper="Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2015",
    tiny={
        "input_shape": (75, 75, 3),
        "num_classes": 3,
        "depths": (1,),
        "width_multiplier": 1 / 16,
        "dropout": 0.0,
        "batch_norm_momentum": 0.9,
    },
    min_size=75,
    weights={"imagenet": KerasApplication("InceptionV3", _keras_layer, license="Apache-2.0", **SYMMETRIC)},
)
def inception_v3(
    input_shape=(299, 299, 3),
    num_classes=1000,
    *,
    depths=DEPTHS,
    width_multiplier=1.0,
    dropout=0.2,
    batch_norm_momentum=0.99,
    include_top=True,
    name="inception_v3",
):
    """Eleven inception blocks, with large convolutions factorised into small and flat ones.

    Args:
        input_shape: `(height, width, channels)`, at least 75x75 pixels.
        num_classes: width of the head.
        depths: inception blocks of stages 3, 4 and 5: the first so many of the table. Fewer numbers, fewer stages.
        width_multiplier: multiplies the maps of every layer, of which at least 4 are left.
        dropout: rate of dropout before the head, the reference implementation's; `keras.applications` has none.
        batch_norm_momentum: of the moving statistics. 0.99 wants some hundred steps: a shorter training needs less, or
            the network at inference is not the one that was trained.
        include_top: `False` gives the maps of the last stage.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    if not 1 <= len(depths) <= 3 or not all(1 <= depth <= most for depth, most in zip(depths, DEPTHS, strict=False)):
        raise ValueError(
            f"depths of {name!r} must be one to three numbers of blocks, at least 1 each and at most {DEPTHS}. "
            f"Received: {depths!r}."
        )
    if not width_multiplier > 0:
        raise ValueError(f"width_multiplier of {name!r} must be above 0. Received: {width_multiplier!r}.")

    conv = partial(_conv, width_multiplier=width_multiplier, momentum=batch_norm_momentum)
    image = keras.Input(input_shape, name="image")
    x = conv(image, 32, 3, "stage1_block1", strides=2)
    x = conv(x, 32, 3, "stage1_block2")
    x = conv(x, 64, 3, "stage1_block3", padding="same", relu="stage1")
    x = layers.MaxPooling2D(3, 2, name="stage2_block1_maxpool")(x)
    x = conv(x, 80, 1, "stage2_block1")
    x = conv(x, 192, 3, "stage2_block2", relu="stage2")
    x = layers.MaxPooling2D(3, 2, name="stage3_block1_maxpool")(x)
    for depth, (i, blocks) in zip(depths, TABLE.items(), strict=False):
        for j, branches in enumerate(blocks[:depth], 1):
            block = f"stage{i}_block{j}"
            ends = []
            for k, steps in enumerate(branches, 1):
                ends += _branch(x, steps, conv, f"{block}_branch{k}")
            x = layers.Concatenate(name=f"stage{i}" if j == depth else f"{block}_concat")(ends)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)
        if dropout:
            x = layers.Dropout(dropout, name="head_dropout")(x)
        x = layers.Dense(num_classes, name="logits", dtype="float32")(x)
    return keras.Model(image, x, name=name)

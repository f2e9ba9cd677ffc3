"""ConvNeXt: a ResNet brought up to date with what Transformers taught.

Liu, Mao, Wu, Feichtenhofer, Darrell, Xie, "A ConvNet for the 2020s", CVPR (2022), §2 and Table 9:

    output (224x224)   ConvNeXt-T             ConvNeXt-S     ConvNeXt-B
    stem       56x56   4x4, stride 4          4x4            4x4
    stage1     56x56   7x7 depthwise,    96   as T           as S, with 128
                       1x1 384, 1x1 96   x 3      x 3                   x 3
    stage2     28x28   the same with 192 x 3      x 3               256 x 3
    stage3     14x14   the same with 384 x 9      x 27              512 x 27
    stage4      7x7    the same with 768 x 3      x 3              1024 x 3
    head               average pooling, LayerNorm, classes

A block has one LayerNorm (after the depthwise convolution) and one GELU (between the 1x1 convolutions, which are
written as Dense, as in the authors' code); a learned LayerScale and stochastic depth end its branch. Each stage but the
first begins with LayerNorm and a 2x2 convolution of stride 2. No padding but in the 7x7 convolutions.

What all variants share: `image` is any size from 32x32; `depths` and `widths` name the blocks and channels of each
stage; `stochastic_depth` is the rate of the last block, rising linearly from 0: the paper's for training from scratch
on ImageNet-1k (its Table 5). `keras.applications` builds the same networks with a rate of 0, and its weights for
`base` were pre-trained on ImageNet-22k.
"""

import functools
import re

import keras
from keras import initializers, layers

from zoo.layers import LayerScale, StochasticDepth
from zoo.registry import variant
from zoo.weights import TORCH, KerasApplication

PAPER = "Liu et al., A ConvNet for the 2020s, 2022"
EPSILON = 1e-6
TINY = {
    "input_shape": (32, 32, 3),
    "num_classes": 3,
    "depths": (1, 1),
    "widths": (8, 16),
    "layer_scale": 1.0,
    "stochastic_depth": 0.0,
}


def _conv(width, size, name):
    return layers.Conv2D(width, size, size, kernel_initializer=initializers.TruncatedNormal(stddev=0.02), name=name)


def _dense(width, name, **kwargs):
    return layers.Dense(width, kernel_initializer=initializers.TruncatedNormal(stddev=0.02), name=name, **kwargs)


def _norm(name):
    return layers.LayerNormalization(epsilon=EPSILON, name=name)


def _block(x, layer_scale, drop, name, output_name):
    width = x.shape[-1]
    branch = layers.DepthwiseConv2D(
        7, padding="same", depthwise_initializer=initializers.TruncatedNormal(stddev=0.02), name=f"{name}_depthwise"
    )(x)
    branch = _norm(f"{name}_norm")(branch)
    branch = _dense(4 * width, f"{name}_expand", activation="gelu")(branch)
    branch = _dense(width, f"{name}_project")(branch)
    if layer_scale is not None:
        branch = LayerScale(layer_scale, name=f"{name}_scale")(branch)
    if drop:
        branch = StochasticDepth(drop, name=f"{name}_drop")(branch)
    return layers.Add(name=output_name)([x, branch])


def convnext(
    input_shape=(224, 224, 3),
    num_classes=1000,
    *,
    depths,
    widths,
    layer_scale=1e-6,
    stochastic_depth,
    include_top=True,
    name,
):
    """A ConvNeXt of any size.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels.
        num_classes: width of the head.
        depths, widths: blocks and channels of each stage.
        layer_scale: first value of every LayerScale, `None` for none.
        stochastic_depth: rate at which the last block's branch is dropped.
        include_top: `False` gives the maps of the last stage.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    if not depths or len(depths) != len(widths) or min(*depths, *widths) < 1:
        raise ValueError(
            f"depths and widths of {name!r} must hold one positive number for each stage. "
            f"Received: depths={depths!r}, widths={widths!r}."
        )
    image = keras.Input(input_shape, name="image")
    x = _conv(widths[0], 4, "stem_conv")(image)
    x = _norm("stem_norm")(x)
    before, last = 0, sum(depths) - 1
    for i, (depth, width) in enumerate(zip(depths, widths, strict=True), 1):
        if i > 1:
            x = _norm(f"stage{i}_block1_downsample_norm")(x)
            x = _conv(width, 2, f"stage{i}_block1_downsample_conv")(x)
        for j in range(1, depth + 1):
            drop = stochastic_depth * before / max(last, 1)
            x = _block(
                x, layer_scale, drop, f"stage{i}_block{j}", f"stage{i}" if j == depth else f"stage{i}_block{j}_add"
            )
            before += 1
    if include_top:
        x = layers.GlobalAveragePooling2D(name="head_pool")(x)
        x = _norm("head_norm")(x)
        x = _dense(num_classes, "logits", dtype="float32")(x)
    return keras.Model(image, x, name=name)


_KERAS = {
    "stem_conv": "{0}_stem/{0}_stem_conv",
    "stem_norm": "{0}_stem/{0}_stem_layernorm",
    "downsample_norm": "{0}_downsampling_block_{1}/{0}_downsampling_layernorm_{1}",
    "downsample_conv": "{0}_downsampling_block_{1}/{0}_downsampling_conv_{1}",
    "depthwise": "{0}_stage_{2}_block_{3}_depthwise_conv",
    "norm": "{0}_stage_{2}_block_{3}_layernorm",
    "expand": "{0}_stage_{2}_block_{3}_pointwise_conv_1",
    "project": "{0}_stage_{2}_block_{3}_pointwise_conv_2",
    "scale": "{0}_stage_{2}_block_{3}_layer_scale",
    "head_norm": "{0}_head_layernorm",
    "logits": "{0}_head_dense",
}


def _keras_layer(variant, name):
    """Name of our layer → the layer's in `keras.applications`, which counts from 0 and nests stem and downsampling."""
    stage, block, part = re.fullmatch(r"(?:stage(\d+)_block(\d+)_)?(\w+)", name).groups("1")
    return _KERAS[part].format(variant, int(stage) - 2, int(stage) - 1, int(block) - 1)


def _imagenet(application, variant):
    return KerasApplication(
        application,
        layer=functools.partial(_keras_layer, variant),
        license="MIT",
        without_top={"head_norm": "layer_normalization_1"},
        **TORCH,
    )


_member = functools.partial(variant, convnext, task="image-classification", paper=PAPER, tiny=TINY, min_size=32)

convnext_tiny = _member(
    "convnext_tiny",
    "ConvNeXt-T: the cost of ResNet-50, 28.6 million parameters.",
    {"depths": (3, 3, 9, 3), "widths": (96, 192, 384, 768), "stochastic_depth": 0.1},
    weights={"imagenet": _imagenet("ConvNeXtTiny", "convnext_tiny")},
)
convnext_small = _member(
    "convnext_small",
    "ConvNeXt-S: three times the blocks of ConvNeXt-T in its third stage, 50.2 million parameters.",
    {"depths": (3, 3, 27, 3), "widths": (96, 192, 384, 768), "stochastic_depth": 0.4},
    weights={"imagenet": _imagenet("ConvNeXtSmall", "convnext_small")},
)
convnext_base = _member(
    "convnext_base",
    "ConvNeXt-B: ConvNeXt-S a third wider, 88.6 million parameters.",
    {"depths": (3, 3, 27, 3), "widths": (128, 256, 512, 1024), "stochastic_depth": 0.5},
    weights={"imagenet": _imagenet("ConvNeXtBase", "convnext_base")},
)

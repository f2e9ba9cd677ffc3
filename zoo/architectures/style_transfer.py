"""Feed-forward style transfer.

Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution" (2016), supplementary
material, Table 1, with the changes of Ulyanov, Vedaldi, Lempitsky, "Instance Normalization" (2016), and of Odena,
Dumoulin, Olah, "Deconvolution and Checkerboard Artifacts" (2016), as in PyTorch's example `fast_neural_style`:

    stage   layers                                        output (256x256 input)   width
    1       9x9                                           256x256                     32
    2       3x3, stride 2                                 128x128                     64
    3       3x3, stride 2                                  64x64                     128
    4       five residual blocks of two 3x3                64x64                     128
    5       twice as large, 3x3                           128x128                     64
    6       twice as large, 3x3                           256x256                     32
    head    9x9, scaled tanh                              256x256                 colours

Every convolution has biases and is followed by instance normalisation and, but at the end of a residual block, ReLU;
the last one only by the tanh. Every border is padded by reflection, "twice as large" repeats the nearest pixel, and
nothing follows the sum of a residual block. 1,679,235 parameters. (All biases but the last convolution's are there for
the layout's sake: the normalisation takes them out again, and their gradient is 0 but for rounding.)

The paper ends in a scaled tanh, so that all pixels are legal, and so do we: `(1 + tanh(x)) / 2`. What it is given has a
deviation of about 1 at first, as it comes from normalised maps, so that few pixels begin at its flat ends. (PyTorch's
example ends without it and cuts off what lies outside.)

A picture's size need not be a multiple of 4: what is made twice as large is cut, at the bottom and at the right, to
the size of the maps of stage 2 and 1. So answer and picture have the same size; where it is a multiple of 4, nothing
is cut and the network is PyTorch's.
"""

import keras
from keras import layers, ops

from zoo.layers import InstanceNormalization, ReflectionPadding2D
from zoo.registry import check_count, register


@keras.saving.register_keras_serializable("zoo")
def scaled_tanh(x):
    """Any number → a pixel in 0..1: tanh, shifted and halved."""
    return (1 + ops.tanh(x)) / 2


@keras.saving.register_keras_serializable("zoo")
class TwiceAsLarge(layers.Layer):
    """Repeats every pixel of maps in both directions, up to the size of other maps, at most twice as high and wide.

    `(batch, h, w, n)` and `(batch, height, width, m)` → `(batch, height, width, n)`, where h and w are half of height
    and width, rounded up; all of them may be None.
    """

    def call(self, maps, like):
        _, height, width, _ = ops.shape(like)
        return ops.repeat(ops.repeat(maps, 2, axis=1)[:, :height], 2, axis=2)[:, :, :width]

    def compute_output_shape(self, maps_shape, like_shape):
        return (*like_shape[:3], maps_shape[3])


def _convolved(x, width, kernel, name, stride=1, relu=True):
    x = ReflectionPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(width, kernel, stride, name=f"{name}_conv")(x)
    x = InstanceNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=name)(x) if relu else x


def _block(x, name, output_name):
    branch = _convolved(x, x.shape[-1], 3, f"{name}_a")
    branch = _convolved(branch, x.shape[-1], 3, f"{name}_b", relu=False)
    return layers.Add(name=output_name)([x, branch])


@register(
    task="style-transfer",
    paper="Johnson et al., Perceptual Losses for Real-Time Style Transfer and Super-Resolution, 2016",
    tiny={"input_shape": (16, 16, 3), "width": 4, "blocks": 1},
    min_size=5,
    any_size=True,
)
def style_transfer(input_shape=(None, None, 3), *, width=32, blocks=5, include_top=True, name="style_transfer"):
    """A network that paints a picture of any size in the one style that it has learned.

    Args:
        input_shape: `(height, width, channels)`, at least 5x5 pixels: the first convolution mirrors 4 of them, those at
            a quarter of the size one of two. Height and width may be None.
        width: maps of the first and the last stage; twice and four times as many in between.
        blocks: residual blocks.
        include_top: `False` gives the maps of the last stage, `(batch, height, width, width)`.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` of 0..1 → the picture in its style, float32 of the same shape, 0..1.
    """
    check_count(name, "width", width)
    check_count(name, "blocks", blocks)
    image = keras.Input(input_shape, name="image")
    whole = _convolved(image, width, 9, "stage1")
    half = _convolved(whole, 2 * width, 3, "stage2", stride=2)
    x = _convolved(half, 4 * width, 3, "stage3", stride=2)
    for i in range(1, blocks + 1):
        x = _block(x, f"stage4_block{i}", "stage4" if i == blocks else f"stage4_block{i}")
    x = TwiceAsLarge(name="stage5_larger")(x, half)
    x = _convolved(x, 2 * width, 3, "stage5")
    x = TwiceAsLarge(name="stage6_larger")(x, whole)
    x = _convolved(x, width, 3, "stage6")
    if include_top:
        x = ReflectionPadding2D(4, name="picture_pad")(x)
        x = layers.Conv2D(input_shape[-1], 9, activation=scaled_tanh, name="picture", dtype="float32")(x)
    return keras.Model(image, x, name=name)

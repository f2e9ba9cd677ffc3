"""Fully convolutional networks, FCN: VGG-16 that answers for every pixel.

Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR (2015), §4 and figure 3, and
the reference implementation in Caffe:

    stage    size          maps
    1 … 5    1/2 … 1/32            as of VGG-16, configuration D (see vgg.py)
    6        1/32          4096    fc6, 7x7, and fc7, 1x1: VGG's fully connected layers as convolutions, with dropout
    head                           classes of every place by 1x1 convolutions, brought to the size of the input

              stages that are scored    last deconvolution      parameters (21 classes)
    fcn32s    6                         64x64 with stride 32    136,152,917
    fcn16s    6, 4                      32x32 with stride 16    134,815,994
    fcn8s     6, 4, 3                   16x16 with stride 8     134,489,759

Scores of a coarser stage are doubled in size by a 4x4 deconvolution and added to those of the next finer one (§4.2).
Every deconvolution, from classes to classes and without bias, begins as bilinear interpolation and is learned; the
paper leaves the last one as it begins (§4.3).

    parameters of fcn16s    stages 1 … 5 14,714,688; fc6 102,764,544; fc7 16,781,312; scores of stage 6 86,037 and of
                            stage 4 10,773; deconvolutions 4·4·21·21 = 7,056 and 32·32·21·21 = 451,584

The reference pads the picture by 100 pixels, so that the unpadded fc6 fits, and cuts the answer out of the middle. Here
fc6 is padded by itself ("same"), which leaves the parameters as they are. An odd last row or column is pooled alone, as
Caffe does, so that the coarsest scores cover the whole picture; what they cover beyond it is cut off.

All three take the same arguments:

- `skips`: how many stages besides the last are scored.
- `depths`, `widths`: convolutions of each stage of VGG and the maps of each.
- `hidden_units`: maps of fc6 and fc7.
- `dropout`: rate of dropout after fc6 and after fc7.
- `score_initializer`: how kernels of scores begin, an initialiser's name. The paper's zeros (§4.3) let nothing but the
  scores learn in the first step.
- `include_top`: `False` gives the maps of the last stage.

The paper trains fcn16s from a trained fcn32s, and fcn8s from that (§4.2). The backbone of a Run of one goes into
another; scores begin afresh. Of ImageNet's weights fc6 and fc7 are taken too, as in the paper (§4.1).
"""

import functools
import re

import keras
import numpy as np
from keras import layers, ops

from zoo.architectures import vgg
from zoo.layers import MatchSize
from zoo.registry import variant
from zoo.weights import CAFFE, KerasApplication

PAPER = "Long et al., Fully Convolutional Networks for Semantic Segmentation, 2015"
TINY = {
    "input_shape": (36, 36, 3),
    "num_classes": 3,
    "depths": (1, 1, 1),
    "widths": (8, 8, 16),
    "hidden_units": 16,
    "dropout": 0.0,
    "score_initializer": "glorot_uniform",
}
_FC = {"fc6": "fc1", "fc7": "fc2"}


@keras.saving.register_keras_serializable("zoo")
class Bilinear(keras.initializers.Initializer):
    """Kernel `(height, width, maps, maps)` of a deconvolution that enlarges every map alone, by interpolation.

    With a stride of half the kernel, and but for a border of half a stride, it is bilinear interpolation between the
    centres of pixels. Long et al. 2015, §3.3; the filler "bilinear" of Caffe.
    """

    def __call__(self, shape, dtype=None):
        height, width, maps_out, maps_in = shape
        down, across = (1 - abs(np.arange(n) - (n - 1) / 2) / ((n + 1) // 2) for n in (height, width))
        kernel = np.einsum("i,j,om->ijom", down, across, np.eye(maps_out, maps_in))
        return ops.convert_to_tensor(kernel, dtype or keras.config.floatx())


def _deconvolution(scores, stride, *, name):
    return layers.Conv2DTranspose(
        scores.shape[-1],
        2 * stride,
        stride,
        "same",
        use_bias=False,
        kernel_initializer=Bilinear(),
        dtype="float32",
        name=name,
    )(scores)


def _scores(maps, num_classes, initializer, *, name):
    return layers.Conv2D(num_classes, 1, kernel_initializer=initializer, dtype="float32", name=name)(maps)


def fcn(
    input_shape=(500, 500, 3),
    num_classes=21,
    *,
    skips,
    depths=vgg.D,
    widths=vgg.WIDTHS,
    hidden_units=4096,
    dropout=0.5,
    score_initializer="zeros",
    include_top=True,
    name,
):
    """A network of the table.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels; None for height and width takes any.
        num_classes: classes of a pixel, the background among them.
        skips, depths, widths, hidden_units, dropout, score_initializer, include_top: see the module.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, height, width, num_classes)`.
    """
    image = keras.Input(input_shape, name="image")
    stages = vgg.convolutional_stages(image, depths, widths, pooling="same", name=name)
    if not isinstance(skips, int) or not 0 <= skips < len(stages):
        raise ValueError(
            f"skips of {name!r} must be the number of stages that are scored besides the last. Received: {skips!r}. "
            f"Accepted with {len(stages)} stages: 0 to {len(stages) - 1}."
        )
    last = f"stage{len(stages) + 1}"
    x = layers.Conv2D(hidden_units, 7, padding="same", name=f"{last}_fc6", **vgg.HIDDEN)(stages[-1])
    if dropout:
        x = layers.Dropout(dropout, name=f"{last}_dropout")(x)
    x = layers.Conv2D(hidden_units, 1, kernel_initializer="he_normal", name=f"{last}_fc7")(x)
    x = layers.ReLU(name=last)(x)
    if include_top:
        if dropout:
            x = layers.Dropout(dropout, name="head_dropout")(x)
        x = _scores(x, num_classes, score_initializer, name="head_score")
        for i in range(len(stages) - 1, len(stages) - 1 - skips, -1):
            finer = _scores(stages[i - 1], num_classes, score_initializer, name=f"head_stage{i}_score")
            x = _deconvolution(x, 2, name=f"head_stage{i}_up")
            x = MatchSize(dtype="float32", name=f"head_stage{i}_crop")(x, finer)
            x = layers.Add(dtype="float32", name=f"head_stage{i}_add")([x, finer])
        x = _deconvolution(x, 2 ** (len(stages) - skips), name="head_up")
        x = MatchSize(dtype="float32", name="logits")(x, image)
    return keras.Model(image, x, name=name)


def _published_layer(name):
    """As of VGG-16, and `stage6_fc6` → `fc1`, `stage6_fc7` → `fc2`."""
    fully_connected = re.fullmatch(r"stage\d+_(fc[67])", name)
    return _FC[fully_connected[1]] if fully_connected else vgg.published_layer(name)


_member = functools.partial(
    variant,
    fcn,
    task="semantic-segmentation",
    paper=PAPER,
    tiny=TINY,
    min_size=32,
    any_size=True,
    weights={
        "imagenet": KerasApplication("VGG16", _published_layer, license="CC-BY-4.0", classifier="predictions", **CAFFE)
    },
)

fcn32s = _member(
    "fcn32s",
    "VGG-16 whose scores of every 32nd pixel are brought to the size of the picture at once.",
    {"skips": 0},
)
fcn16s = _member(
    "fcn16s",
    "VGG-16 with the scores of one finer stage added: every 16th pixel.",
    {"skips": 1},
)
fcn8s = _member(
    "fcn8s",
    "VGG-16 with the scores of two finer stages added: every 8th pixel.",
    {"skips": 2},
)

"""Squeeze-and-excitation network.

Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR (2018), §3 and table 1, SE-ResNet-50: the ResNet of 50 layers,
without biases of convolutions, in which every block weighs the maps of its branch before it adds them to the shortcut:

    squeeze      global average of each of C maps
    excitation   fully connected to C / 16, ReLU; fully connected to C, sigmoid
    scale        each map times its weight
"""

import functools

from keras import layers

from zoo.architectures.resnet import TINY, TORCHVISION, WIDTHS, bottleneck, residual_network
from zoo.registry import register


def _squeeze_excite(maps, reduction, *, name):
    count = maps.shape[-1]
    x = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_squeeze")(maps)
    x = layers.Conv2D(max(count // reduction, 1), 1, activation="relu", name=f"{name}_se_reduce")(x)
    x = layers.Conv2D(count, 1, activation="sigmoid", name=f"{name}_se_expand")(x)
    return layers.Multiply(name=f"{name}_se_scale")([maps, x])


@register(
    task="image-classification",
    paper="Hu et al., Squeeze-and-Excitation Networks, 2018",
    tiny={**TINY, "reduction": 4},
    min_size=32,
)
def se_resnet50(
    input_shape=(224, 224, 3),
    num_classes=1000,
    *,
    blocks=(3, 4, 6, 3),
    widths=WIDTHS,
    reduction=16,
    stochastic_depth=0.0,
    include_top=True,
    name="se_resnet50",
):
    """The residual network of 50 layers with squeeze and excitation in every block.

    Args:
        input_shape: `(height, width, channels)`, at least 32x32 pixels.
        num_classes: width of the head.
        blocks: number of blocks of each stage.
        widths: maps of each stage; a bottleneck ends in 4 times as many.
        reduction: how many times fewer units than maps the excitation has in between.
        stochastic_depth: rate at which the last block is dropped in training; it rises to it in a line from 0.
        include_top: `False` gives the maps of the last stage.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, num_classes)`.
    """
    if reduction < 1:
        raise ValueError(f"reduction must be 1 or more. Received: {reduction!r}.")
    return residual_network(
        bottleneck,
        TORCHVISION,
        input_shape,
        num_classes,
        blocks,
        widths,
        stochastic_depth=stochastic_depth,
        include_top=include_top,
        name=name,
        recalibrate=functools.partial(_squeeze_excite, reduction=reduction),
    )

"""U-Net: a contracting and an expanding path, level by level side by side.

Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI (2015), §2 and
figure 1, with the sizes of its unpadded convolutions:

    stage    unpadded         maps    before its two 3x3 convolutions with ReLU
    1        572 → 568          64
    2        284 → 280         128    2x2 max-pooling
    3        140 → 136         256    2x2 max-pooling
    4         68 →  64         512    2x2 max-pooling
    5         32 →  28        1024    2x2 max-pooling
    6         56 →  52         512    2x2 up-convolution with stride 2, beside the maps of stage 4
    7        104 → 100         256    2x2 up-convolution with stride 2, beside the maps of stage 3
    8        200 → 196         128    2x2 up-convolution with stride 2, beside the maps of stage 2
    9        392 → 388          64    2x2 up-convolution with stride 2, beside the maps of stage 1
    head                              1x1 convolution to the classes

With padding, the default here, the answer has the size of the picture. An odd last row or column is then pooled alone,
and what the up-convolution makes of it beyond the finer maps is cut off: any size will do. Without padding the finer
maps are cut to the middle, as in the paper.

Dropout follows the last two levels of the contracting path, as in the authors' network; its rate is theirs. Kernels
begin normal with deviation √(2/N) for N incoming numbers (§3), which is He's rule.
"""

import math

import keras
from keras import initializers, layers

from zoo.layers import MatchSize
from zoo.registry import check_count, register

PAPER = "Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015"
TINY = {"input_shape": (18, 18, 3), "num_classes": 3, "width": 8, "depth": 2, "dropout": 0.0}


def _he(incoming):
    """Of a kernel that makes one number of so many (§3)."""
    return initializers.RandomNormal(stddev=math.sqrt(2 / incoming))


def _two_convolutions(x, filters, padding, batch_norm, *, name):
    """A stage: `(batch, height, width, n)` → `(batch, height, width, filters)`, 4 pixels smaller without padding."""
    for i in (1, 2):
        block = f"{name}_block{i}"
        x = layers.Conv2D(
            filters,
            3,
            padding=padding,
            use_bias=not batch_norm,
            kernel_initializer=_he(9 * x.shape[-1]),
            name=f"{block}_conv",
        )(x)
        if batch_norm:
            x = layers.BatchNormalization(name=f"{block}_bn")(x)
        x = layers.ReLU(name=name if i == 2 else f"{block}_relu")(x)
    return x


def _beside(x, finer, padding, *, name):
    """Maps of the expanding path, doubled in size, behind the finer ones of the contracting path."""
    # With stride 2 each of the four places that a number goes to gets nothing else from its map.
    x = layers.Conv2DTranspose(finer.shape[-1], 2, 2, kernel_initializer=_he(x.shape[-1]), name=f"{name}_up")(x)
    if padding == "same":
        x = MatchSize(name=f"{name}_crop")(x, finer)
    else:
        finer = MatchSize(centered=True, name=f"{name}_crop")(finer, x)
    return layers.Concatenate(name=f"{name}_concat")([finer, x])


@register(task="semantic-segmentation", paper=PAPER, tiny=TINY, min_size=16, any_size=True)
def unet(
    input_shape=(572, 572, 1),
    num_classes=2,
    *,
    width=64,
    depth=4,
    dropout=0.5,
    batch_norm=False,
    padding="same",
    include_top=True,
    name="unet",
):
    """A contracting path that sees what there is, and an expanding one that knows where: U-Net.

    Args:
        input_shape: `(height, width, channels)`, at least 16x16 pixels; None for height and width takes any.
        num_classes: classes of a pixel.
        width: maps of the first stage; every halving doubles them.
        depth: how often the contracting path halves the picture, and the expanding one doubles it.
        dropout: rate after each of the last two stages of the contracting path.
        batch_norm: batch normalisation after every 3x3 convolution, which then has no bias. Not in the paper.
        padding: "same", or "valid" for the paper's unpadded convolutions. Their answer is for the middle of the
            picture, `12 * 2**depth - 8` pixels smaller than it (184 with the usual depth), and every 2x2 pooling must
            find an even size: `height + 4` and `width + 4` are multiples of `2**depth`. Open sizes are not checked.
        include_top: `False` gives the maps of the last stage.
        name: name of the model.

    Returns:
        `image` float32 `(batch, *input_shape)` → logits float32 `(batch, height, width, num_classes)`.

    Raises:
        ValueError: unknown padding, or a size that does not do without it.
    """
    check_count(name, "width", width)
    check_count(name, "depth", depth)
    if padding not in ("same", "valid"):
        raise ValueError(f"Unknown padding of {name!r}. Received: {padding!r}. Accepted: 'same' or 'valid'.")
    if padding == "valid":
        _check_unpadded(name, input_shape, depth)
    image = x = keras.Input(input_shape, name="image")
    contracting = []
    for i in range(depth + 1):
        if i:
            x = layers.MaxPooling2D(2, padding="same", name=f"stage{i + 1}_pool")(x)
        x = _two_convolutions(x, width * 2**i, padding, batch_norm, name=f"stage{i + 1}")
        if dropout and i >= depth - 1:
            x = layers.Dropout(dropout, name=f"stage{i + 1}_dropout")(x)
        contracting.append(x)
    for i, finer in enumerate(reversed(contracting[:-1]), depth + 2):
        x = _beside(x, finer, padding, name=f"stage{i}")
        x = _two_convolutions(x, finer.shape[-1], padding, batch_norm, name=f"stage{i}")
    if include_top:
        x = layers.Conv2D(num_classes, 1, kernel_initializer=_he(width), dtype="float32", name="logits")(x)
    return keras.Model(image, x, name=name)


def _check_unpadded(name, input_shape, depth):
    """Every pooling takes an even size, and something is left in the middle: 4 pixels of the least picture."""
    step, least = 2**depth, 12 * 2**depth - 4
    for size in input_shape[:2]:
        if size is not None and (size < least or (size - least) % step):
            raise ValueError(
                f"Without padding, {name!r} with depth={depth} needs sizes that all its poolings can halve. "
                f"Received: {tuple(input_shape)}. Accepted: {least}, {least + step}, {least + 2 * step}, …"
            )

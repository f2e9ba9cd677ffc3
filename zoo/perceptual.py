"""Perceptual losses: how far pictures are apart in the eyes of a network that has learned to see.

Gatys, Ecker, Bethge, "A Neural Algorithm of Artistic Style" (2015), and Johnson, Alahi, Fei-Fei, "Perceptual Losses for
Real-Time Style Transfer and Super-Resolution" (2016), §3.2. What a picture shows are a network's feature maps of it;
its style is how these maps go together, wherever that is.

    network = loss_network("vgg16", weights="imagenet")
    style = [gram_matrix(maps) for maps in network(painting)]
    content = network(photograph)[2]

    seen = network(picture)
    loss = content_loss(seen[2], content) + 5 * sum(style_loss(maps, gram) for maps, gram in zip(seen, style))

All losses are float32, one for each example, whatever dtype the maps are in. Backend-neutral.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from os import PathLike

import keras
from keras import layers, ops

from zoo import graphs
from zoo.registry import CHANNELS, build, features, spec
from zoo.weights import SYMMETRIC

COLOURS = 3
STYLE_STAGES = 4
_CONVOLUTION = re.compile(r"stage(\d+)_block\d+_conv")


def gram_matrix(maps):
    """How feature maps go together: G_ij = Σ F_ki F_kj / (height * width * channels), over all places k.

    Gatys et al. 2015, eq. 3, divided as Johnson et al. 2016, eq. 3, so that the picture's size does not matter.

    Args:
        maps: `(batch, height, width, channels)`.

    Returns:
        float32 `(batch, channels, channels)`.
    """
    maps = ops.cast(maps, "float32")
    return ops.einsum("bhwi,bhwj->bij", maps, maps) / _numbers(maps)


def content_loss(maps, target):
    """Mean square of the difference of feature maps: Johnson et al. 2016, eq. 2.

    Args:
        maps: of the pictures, `(batch, height, width, channels)`.
        target: of what they should show, of the same shape, or of one picture for all.

    Returns:
        float32 `(batch,)`.
    """
    difference = ops.cast(maps, "float32") - ops.cast(target, "float32")
    return ops.mean(ops.square(difference), axis=(1, 2, 3))


def style_loss(maps, target):
    """Squared Frobenius norm of the difference of Gram matrices: Johnson et al. 2016, eq. 4.

    For pictures of one size it is four times what Gatys et al. 2015, eq. 4, has for a layer.

    Args:
        maps: of the pictures, `(batch, height, width, channels)`.
        target: Gram matrix of the style, `(batch or 1, channels, channels)`, of a picture of any size.

    Returns:
        float32 `(batch,)`.
    """
    return ops.sum(ops.square(gram_matrix(maps) - ops.cast(target, "float32")), axis=(1, 2))


def total_variation(pictures):
    """Squared differences of neighbouring pixels, summed, divided by height * width * channels; 0 for one colour.

    The regulariser of Mahendran, Vedaldi, "Understanding Deep Image Representations by Inverting Them" (2015), with
    β = 2, as the code of Johnson et al. 2016 has it; divided as their other losses are.

    Args:
        pictures: `(batch, height, width, channels)`.

    Returns:
        float32 `(batch,)`.
    """
    pictures = ops.cast(pictures, "float32")
    down = ops.sum(ops.square(pictures[:, 1:] - pictures[:, :-1]), axis=(1, 2, 3))
    right = ops.sum(ops.square(pictures[:, :, 1:] - pictures[:, :, :-1]), axis=(1, 2, 3))
    return (down + right) / _numbers(pictures)


def loss_network(
    name: str = "vgg16",
    weights: str | PathLike | None = None,
    *,
    layer_names: str | Sequence[str] | None = None,
    channels: int = COLOURS,
    pixels: Mapping[str, float | Sequence[float]] | None = None,
    **arguments,
) -> keras.Model:
    """A frozen network of the zoo that tells what it sees in pictures of any size.

    Random weights serve too: the statistics of what random convolutions give carry much of a texture (Ustyuzhaninov et
    al., "What does it take to generate natural textures?", 2017).

    Args:
        name: of a registered convolutional network of pictures.
        weights: what `zoo.load_weights` takes; None for random ones.
        layer_names: one layer that answers, or several. None: the last convolution, after its ReLU, of each of the
            first four stages of a VGG. Of `vgg16` these are relu1_2, relu2_2, relu3_3 and relu4_3 of Johnson et al.
            2016, §4.1, where style is all four and content the third; PyTorch's example has the second for content.
        channels: of the pictures. The network itself always sees three: grey is seen as a colour, alpha is not seen.
        pixels: what the weights want of 8-bit RGB pixels, `scale`, `mean` and `std` as in `zoo.weights.CAFFE`. None:
            what is known of published weights, and numbers from -1 to 1 for random ones.
        **arguments: what the builder takes besides `input_shape` and `include_top`, such as `depths` and `widths`.

    Returns:
        `image` float32 `(batch, height, width, channels)` of 0..1, RGB, any height and width → a list of maps, one
        tensor for each layer, or of one layer its maps alone. Nothing of it is trained, and gradients pass through. It
        ends with the last layer that answers, for which a picture has to be large enough: 8 pixels for `vgg16`.

    Raises:
        ValueError: what `zoo.build` raises; an unknown layer; other channels than 1, 3 or 4; weights of which it is not
            known what they want, without `pixels`.
        OSError: published weights cannot be fetched.
    """
    record = spec(name)
    if channels not in CHANNELS:
        raise ValueError(f"A picture has no such number of channels. Received: {channels!r}. Accepted: {CHANNELS}.")
    if not record.min_size:
        raise ValueError(f"{name!r} sees no pictures: its input is {record.arguments['input_shape']}.")
    wanted = _wanted(name, weights, pixels)
    backbone = build(
        name, weights=weights, include_top=False, input_shape=(record.min_size,) * 2 + (COLOURS,), **arguments
    )
    seeing = features(backbone, layer_names or _last_convolutions(backbone))

    image = keras.Input((None, None, channels), name="image")
    colours = layers.Concatenate(name="colours")([image] * COLOURS) if channels == 1 else image[..., :COLOURS]
    x = layers.Rescaling(*_linear(**wanted), name="pixels")(colours)
    # A model takes pictures of the size that it was built for; such layers take any.
    outputs = graphs.run(seeing, x, functools.cache(lambda layer: layer.from_config(layer.get_config())))
    network = keras.Model(image, outputs, name=f"{name}_loss")
    network.set_weights(seeing.get_weights())
    network.trainable = False
    return network


def _wanted(name, weights, pixels):
    if pixels is not None:
        return {key: pixels[key] for key in ("scale", "mean", "std") if key in pixels}
    if weights is None:
        return SYMMETRIC
    published = spec(name).weights.get(weights) if isinstance(weights, str) else None
    if published is None:
        raise ValueError(
            f"It is not known what pixels the weights of {name!r} want. Received: weights={str(weights)!r}, pixels="
            f"None. Accepted: pixels with scale, mean and std of 8-bit RGB, such as {{'scale': 1 / 255}} for 0..1."
        )
    return {"scale": published.scale, "mean": published.mean, "std": published.std}


def _linear(scale=1.0, mean=(0.0,) * COLOURS, std=(1.0,) * COLOURS):
    """Factor and offset, per channel, that make of 0..1 what `(pixel * scale - mean) / std` makes of 0..255."""
    return [255 * scale / s for s in std], [-m / s for m, s in zip(mean, std, strict=True)]


def _last_convolutions(backbone):
    """The last one of each of the first four stages."""
    last = {}
    for layer in backbone.layers:
        if found := _CONVOLUTION.fullmatch(layer.name):
            last[int(found[1])] = layer.name
    if not last:
        raise ValueError(f"{backbone.name!r} is no VGG: name the layers that shall answer. Received: layer_names=None.")
    return [last[stage] for stage in sorted(last)[:STYLE_STAGES]]


def _numbers(maps):
    """Numbers of one example."""
    _, height, width, channels = ops.shape(maps)
    return ops.cast(height * width * channels, "float32")

"""RandAugment: for every picture some changes drawn from a list, all of one magnitude.

Cubuk, Zoph, Shlens, Le, "RandAugment: Practical automated data augmentation with a reduced search space" (2020), §3 and
the 14 operations of its Figure 2 (those of AutoAugment, with its ranges). Every operation is computed for the whole
batch and each picture takes its own, so that no picture waits for another.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from recipes.draws import Draws

OPERATIONS_PER_PICTURE = 2
MAGNITUDE = 9  # of 30: the paper's for ImageNet with two operations
LARGEST_MAGNITUDE = 30


def with_alpha_kept(change: Callable) -> Callable:
    """Let a change of colours leave the alpha channel of RGBA pictures alone."""

    @functools.wraps(change)
    def changed(pictures, *args):
        if pictures.shape[-1] != 4:
            return change(pictures, *args)
        return tf.concat([change(pictures[..., :3], *args), pictures[..., 3:]], axis=-1)

    return changed


def rand_augment(pictures: tf.Tensor, draws: Draws, magnitude: float = MAGNITUDE) -> tf.Tensor:
    """Two operations for every picture, one after the other.

    Args:
        pictures: float32 `(batch, height, width, 1 | 3 | 4)` in 0..1.
        draws: the random numbers.
        magnitude: of all operations, 0 to 30.
    """
    strength = magnitude / LARGEST_MAGNITUDE
    for _ in range(OPERATIONS_PER_PICTURE):
        choice = draws.integers(pictures, len(OPERATIONS))
        sign = tf.where(draws.uniform(pictures, 0, 1) < 0.5, -1.0, 1.0)
        pictures = _chosen(pictures, choice, strength * sign)
    return pictures


def _chosen(pictures, choice, signed):
    """Each picture changed by its own operation; `signed` is the strength -1..1 of each, `(batch,)`."""
    moved = _geometric(pictures, choice, signed)
    changed = tf.where(_column(choice < len(GEOMETRIC)), moved, pictures)
    for i, operation in enumerate(COLOUR.values(), len(GEOMETRIC)):
        changed = tf.where(_column(choice == i), operation(pictures, _column(signed)), changed)
    return changed


def _column(values):
    return tf.reshape(values, [-1, 1, 1, 1])


def _geometric(pictures, choice, signed):
    """All moves as one affine map per picture."""
    amounts = {name: tf.where(choice == i, signed * limit, 0.0) for i, (name, limit) in enumerate(GEOMETRIC.items())}
    return affine(pictures, **amounts)


def affine(pictures: tf.Tensor, *, angle=0.0, shear_x=0.0, shear_y=0.0, across=0.0, down=0.0, size=1.0) -> tf.Tensor:
    """Pictures turned, sheared, moved and resized about their centre, bilinear, with 0 for what comes from outside.

    Args:
        pictures: `(batch, height, width, channels)`.
        angle: radians, `(batch,)`, as all that follow.
        shear_x, shear_y: tangent of the angle of shear.
        across, down: fraction of the width and the height by which the content moves.
        size: factor of the content's size.
    """
    height, width = (tf.cast(n, tf.float32) for n in tf.unstack(tf.shape(pictures)[1:3]))
    zeros = tf.zeros(tf.shape(pictures)[:1])
    angle, shear_x, shear_y, across, down, size = (
        zeros + value for value in (angle, shear_x, shear_y, across, down, size)
    )
    # Output pixel → input pixel, both about the centre, as ImageProjectiveTransform takes it.
    cos, sin = tf.cos(angle) / size, tf.sin(angle) / size
    a, b = cos + sin * shear_y, sin + cos * shear_x
    c, d = cos * shear_y - sin, cos - sin * shear_x
    x, y = (width - 1) / 2, (height - 1) / 2
    from_x, from_y = x + across * width, y + down * height
    transforms = tf.stack([a, b, x - a * from_x - b * from_y, c, d, y - c * from_x - d * from_y, zeros, zeros], axis=-1)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=transforms,
        output_shape=tf.shape(pictures)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _blend(degenerate, pictures, signed):
    """Away from a degenerate picture, or towards it: 0.1 to 1.9 of the way (AutoAugment's range)."""
    return tf.clip_by_value(degenerate + (1 + 0.9 * signed) * (pictures - degenerate), 0, 1)


@with_alpha_kept
def _identity(pictures, signed):
    return pictures


@with_alpha_kept
def _auto_contrast(pictures, signed):
    low = tf.reduce_min(pictures, axis=(1, 2), keepdims=True)
    high = tf.reduce_max(pictures, axis=(1, 2), keepdims=True)
    return tf.where(high > low, tf.math.divide_no_nan(pictures - low, high - low), pictures)


@with_alpha_kept
def _equalize(pictures, signed):
    """Every value becomes the share of pixels that are darker, among those that are not the brightest, per channel."""
    shape = tf.shape(pictures)
    values = tf.reshape(tf.transpose(pictures, [0, 3, 1, 2]), [shape[0] * shape[3], -1])
    levels = tf.cast(tf.round(tf.clip_by_value(values, 0, 1) * 255), tf.int32)
    counts = tf.cast(tf.math.bincount(levels, minlength=256, maxlength=256, axis=-1), tf.float32)
    darker = tf.cumsum(counts, axis=-1, exclusive=True)
    all_but_brightest = tf.gather(darker, tf.reduce_max(levels, axis=-1, keepdims=True), batch_dims=1)
    share = tf.math.divide_no_nan(darker, all_but_brightest)
    equal = tf.gather(share, levels, batch_dims=1)
    equal = tf.where(all_but_brightest > 0, equal, values)  # a picture of one value stays
    return tf.transpose(tf.reshape(equal, [shape[0], shape[3], shape[1], shape[2]]), [0, 2, 3, 1])


@with_alpha_kept
def _solarize(pictures, signed):
    return tf.where(pictures >= 1 - tf.abs(signed), 1 - pictures, pictures)


@with_alpha_kept
def _colour(pictures, signed):
    grey = tf.image.rgb_to_grayscale(pictures) if pictures.shape[-1] == 3 else pictures
    return _blend(grey, pictures, signed)


@with_alpha_kept
def _posterize(pictures, signed):
    """To 8 to 4 bits per channel. The brightest level is white, where PIL leaves it a little darker."""
    levels = 2 ** tf.round(8 - 4 * tf.abs(signed))
    return tf.floor(tf.minimum(pictures, 0.9999) * levels) / (levels - 1)


@with_alpha_kept
def _contrast(pictures, signed):
    grey = tf.image.rgb_to_grayscale(pictures) if pictures.shape[-1] == 3 else pictures
    return _blend(tf.reduce_mean(grey, axis=(1, 2), keepdims=True), pictures, signed)


@with_alpha_kept
def _brightness(pictures, signed):
    return _blend(tf.zeros_like(pictures), pictures, signed)


@with_alpha_kept
def _sharpness(pictures, signed):
    """Against PIL's SMOOTH filter, which here goes on over the border."""
    kernel = tf.constant([[1, 1, 1], [1, 5, 1], [1, 1, 1]], tf.float32) / 13
    channels = pictures.shape[-1]
    smooth = tf.nn.depthwise_conv2d(
        tf.pad(pictures, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC"),
        tf.tile(kernel[:, :, tf.newaxis, tf.newaxis], [1, 1, channels, 1]),
        [1, 1, 1, 1],
        "VALID",
    )
    return _blend(smooth, pictures, signed)


# Largest amounts, as in AutoAugment: 30 degrees, shear of 0.3, and 0.45 of the size.
GEOMETRIC = {"angle": 0.5236, "shear_x": 0.3, "shear_y": 0.3, "across": 0.45, "down": 0.45}
COLOUR = {
    "identity": _identity,
    "auto_contrast": _auto_contrast,
    "equalize": _equalize,
    "solarize": _solarize,
    "colour": _colour,
    "posterize": _posterize,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
}
OPERATIONS = (*GEOMETRIC, *COLOUR)

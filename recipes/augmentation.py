"""Random changes of training batches.

They are applied in the training pipeline and nowhere else: they are never part of the model, so no export can hold
them. What they do to a batch depends on the seed and the step alone: a repeated run sees the same pictures.

Pictures here are float32 `(batch, height, width, channels)` in 0..1; every picture of a batch gets a draw of its own.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from recipes.draws import Draws
from recipes.preprocessing import ImagePreprocessing
from recipes.rand_augment import affine, rand_augment, with_alpha_kept


def flip(pictures: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Left and right exchanged, for half of the pictures."""
    return tf.where(draws.per_picture(pictures) < 0.5, tf.reverse(pictures, [2]), pictures)


def rotate(pictures: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Turned about the centre by up to 15 degrees."""
    limit = math.radians(15)
    return affine(pictures, angle=draws.uniform(pictures, -limit, limit))


def shift(pictures: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Moved by up to a tenth of the height and the width."""
    across, down = draws.uniform(pictures, -0.1, 0.1), draws.uniform(pictures, -0.1, 0.1)
    return affine(pictures, across=across, down=down)


def zoom(pictures: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Up to a tenth smaller or larger."""
    return affine(pictures, size=draws.uniform(pictures, 0.9, 1.1))


@with_alpha_kept
def contrast(pictures: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Distance from each picture's mean, times 0.8 to 1.2."""
    mean = tf.reduce_mean(pictures, axis=(1, 2), keepdims=True)
    return tf.clip_by_value(mean + (pictures - mean) * draws.per_picture(pictures, 0.8, 1.2), 0, 1)


def random_resized_crop(pictures: tf.Tensor, draws: Draws) -> tf.Tensor:
    """A random part, 25 to 100 % of the area, aspect 3:4 to 4:3, resized to the whole (Szegedy et al. 2014, §6).

    The part is taken from the picture at the model's size, not from the larger one in the file. The paper's least area,
    8 %, is for ImageNet's large pictures.
    """
    area = draws.uniform(pictures, 0.25, 1)
    aspect = tf.exp(draws.uniform(pictures, math.log(3 / 4), math.log(4 / 3)))
    height, width = tf.minimum(tf.sqrt(area / aspect), 1), tf.minimum(tf.sqrt(area * aspect), 1)
    top, left = draws.uniform(pictures, 0, 1) * (1 - height), draws.uniform(pictures, 0, 1) * (1 - width)
    boxes = tf.stack([top, left, top + height, left + width], axis=-1)
    size = tf.shape(pictures)[1:3]
    return tf.image.crop_and_resize(pictures, boxes, tf.range(tf.shape(pictures)[0]), size)


CHANGES: dict[str, Callable[[tf.Tensor, Draws], tf.Tensor]] = {
    "flip": flip,
    "rotate": rotate,
    "shift": shift,
    "zoom": zoom,
    "contrast": contrast,
    "random_resized_crop": random_resized_crop,
    "rand_augment": rand_augment,
}


class Augmentation:
    """Random changes of a training batch, one after the other, as a function of the batch and the step's number.

    Args:
        names: of `recipes.config.AUGMENTATIONS`.
        mixup, cutmix: parameter of the Beta distribution, 0 for none; with both, each batch gets one of them.
        seed: of the run.
        preprocessing: what made the pictures; they are changed as 0..1, before mean and std.
    """

    def __init__(self, names: Sequence[str], mixup: float, cutmix: float, seed: int, preprocessing: ImagePreprocessing):
        self.changes = [CHANGES[name] for name in names]
        self.mixup, self.cutmix = mixup, cutmix
        self.seed = seed
        self.preprocessing = preprocessing

    @property
    def mixes(self) -> bool:
        """Whether a picture is made of several."""
        return bool(self.mixup or self.cutmix)

    def __call__(self, pictures: tf.Tensor, targets: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Preprocessed pictures, float32 targets `(batch, n)` and the int64 step → both, changed."""
        draws = Draws(self.seed, step)
        if self.changes:
            changed = self.preprocessing.unit_of(pictures)
            for change in self.changes:
                changed = change(changed, draws)
            pictures = tf.ensure_shape(self.preprocessing.of_unit(changed), pictures.shape)
        if self.mixup and self.cutmix:
            return tf.cond(
                draws.one() < 0.5,
                lambda: mix_up(pictures, targets, self.mixup, draws),
                lambda: cut_mix(pictures, targets, self.cutmix, draws),
            )
        if self.mixup:
            return mix_up(pictures, targets, self.mixup, draws)
        return cut_mix(pictures, targets, self.cutmix, draws) if self.cutmix else (pictures, targets)


class AnnotatedAugmentation:
    """Random changes of pictures that have a mask or boxes, which are flipped with them.

    Args:
        names: of `recipes.config.ANNOTATED_AUGMENTATIONS`.
        seed: of the run.
        preprocessing: what made the pictures.
        mirrored: targets `(batch, ...)` → those of the pictures with left and right exchanged.
    """

    def __init__(self, names: Sequence[str], seed: int, preprocessing: ImagePreprocessing, mirrored: Callable):
        self.names, self.seed, self.preprocessing, self.mirrored = names, seed, preprocessing, mirrored

    def __call__(self, pictures: tf.Tensor, targets: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Preprocessed pictures, their targets and the int64 step → both, changed."""
        draws = Draws(self.seed, step)
        if "contrast" in self.names:
            changed = contrast(self.preprocessing.unit_of(pictures), draws)
            pictures = tf.ensure_shape(self.preprocessing.of_unit(changed), pictures.shape)
        if "flip" in self.names:
            turned = draws.uniform(pictures, 0, 1) < 0.5
            pictures = tf.where(_as_rows(turned, pictures), tf.reverse(pictures, [2]), pictures)
            targets = tf.where(_as_rows(turned, targets), self.mirrored(targets), targets)
        return pictures, targets


def _as_rows(values, like):
    """`(batch,)` → `(batch, 1, …)`, of the rank of another tensor."""
    return tf.reshape(values, [-1, *[1] * (like.shape.rank - 1)])


def mix_up(pictures: tf.Tensor, targets: tf.Tensor, alpha: float, draws: Draws) -> tuple[tf.Tensor, tf.Tensor]:
    """Every picture mixed with another one of the batch, and their targets likewise (Zhang et al. 2018, eq. 1).

    λ ~ Beta(alpha, alpha), one per picture.
    """
    share, other = draws.beta(pictures, alpha), draws.order(pictures)
    of_pictures, of_targets = tf.reshape(share, [-1, 1, 1, 1]), tf.reshape(share, [-1, 1])
    return (
        of_pictures * pictures + (1 - of_pictures) * tf.gather(pictures, other),
        of_targets * targets + (1 - of_targets) * tf.gather(targets, other),
    )


def cut_mix(pictures: tf.Tensor, targets: tf.Tensor, alpha: float, draws: Draws) -> tuple[tf.Tensor, tf.Tensor]:
    """A box of every picture replaced by that of another, and targets mixed by area (Yun et al. 2019, Algorithm A1).

    λ ~ Beta(alpha, alpha), one per picture; the box has (1-λ) of the area and is cut at the borders.
    """
    height, width = (tf.cast(n, tf.float32) for n in tf.unstack(tf.shape(pictures)[1:3]))
    half = tf.sqrt(1 - draws.beta(pictures, alpha)) / 2
    inside = []
    for size in (height, width):
        centre = draws.uniform(pictures, 0, 1)
        first, last = tf.floor((centre - half) * size), tf.floor((centre + half) * size)
        position = tf.range(size)[tf.newaxis]
        inside.append((position >= first[:, tf.newaxis]) & (position < last[:, tf.newaxis]))
    box = inside[0][:, :, tf.newaxis] & inside[1][:, tf.newaxis, :]
    share = 1 - tf.reduce_mean(tf.cast(box, tf.float32), axis=(1, 2))[:, tf.newaxis]
    other = draws.order(pictures)
    return (
        tf.where(box[..., tf.newaxis], tf.gather(pictures, other), pictures),
        share * targets + (1 - share) * tf.gather(targets, other),
    )

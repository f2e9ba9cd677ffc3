"""What random changes do to pictures and targets: the effect of each, and that it repeats."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from recipes import augmentation, rand_augment
from recipes.augmentation import Augmentation
from recipes.config import AUGMENTATIONS
from recipes.draws import Draws
from recipes.preprocessing import ImagePreprocessing

SIZE = 24


def draws(step=0):
    return Draws(7, tf.constant(step, tf.int64))


@pytest.fixture
def pictures():
    """Eight pictures of noise, float32 `(8, 24, 24, 3)` in 0..1."""
    return tf.constant(np.random.default_rng(0).random((8, SIZE, SIZE, 3)), tf.float32)


def a_dot(count=64):
    """Pictures of one bright square in the middle."""
    dots = np.zeros((count, SIZE, SIZE, 1), np.float32)
    dots[:, 10:14, 10:14] = 1
    return tf.constant(dots)


def centres(dots):
    """Centre of brightness of each picture, `(count, 2)`: down and across."""
    weights = dots.numpy()[..., 0]
    total = weights.sum((1, 2))
    position = np.arange(SIZE) + 0.5
    return np.stack([(weights.sum(2) * position).sum(1), (weights.sum(1) * position).sum(1)], 1) / total[:, None]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_same_step_same_pictures_and_another_step_others(name, pictures):
    change = augmentation.CHANGES[name]
    first, again, other = (change(pictures, draws(step)).numpy() for step in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.shape == pictures.shape
    assert first.min() >= 0
    assert first.max() <= 1 + 1e-5


def test_flip_turns_some_pictures_round_and_leaves_the_others(pictures):
    flipped = augmentation.flip(pictures, draws()).numpy()
    plain, mirrored = pictures.numpy(), pictures.numpy()[:, :, ::-1]
    turned = [(f == m).all() for f, m in zip(flipped, mirrored, strict=True)]
    assert all((f == p).all() or t for f, p, t in zip(flipped, plain, turned, strict=True))
    assert 0 < sum(turned) < len(turned)


def test_shift_moves_by_up_to_a_tenth():
    moved = centres(augmentation.shift(a_dot(), draws())) - SIZE / 2
    assert np.abs(moved).max() <= 0.1 * SIZE + 0.1
    assert np.abs(moved).max() > 0.06 * SIZE
    assert np.unique(np.round(moved, 3), axis=0).shape[0] > 32  # every picture its own


def test_zoom_changes_the_area_and_keeps_the_middle():
    zoomed = augmentation.zoom(a_dot(), draws())
    areas = zoomed.numpy().sum((1, 2, 3)) / 16
    assert 0.75 < areas.min() < 0.95
    assert 1.05 < areas.max() < 1.3
    np.testing.assert_allclose(centres(zoomed), SIZE / 2, atol=0.2)


def test_rotate_turns_about_the_middle():
    bars = np.zeros((64, SIZE, SIZE, 1), np.float32)
    bars[:, 2:5, 11:13] = 1  # above the middle
    at = centres(augmentation.rotate(tf.constant(bars), draws())) - SIZE / 2
    angles = np.degrees(np.arctan2(at[:, 1], -at[:, 0]))
    assert 10 < np.abs(angles).max() <= 16
    np.testing.assert_allclose(np.hypot(*at.T), 8.5, atol=0.4)


def test_random_resized_crop_shows_a_part_of_the_picture():
    down, across = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1)
    ramps = np.repeat(np.stack([down, across], -1)[None], 64, 0).astype(np.float32)
    cropped = augmentation.random_resized_crop(tf.constant(ramps), draws()).numpy()
    heights = cropped[:, -1, 0, 0] - cropped[:, 0, 0, 0]
    widths = cropped[:, 0, -1, 1] - cropped[:, 0, 0, 1]
    areas = heights * widths
    assert 0.2 < areas.min() < 0.5 < areas.max() <= 1 + 1e-5
    assert (widths / heights).min() > 0.7
    assert (widths / heights).max() < 1.4
    # Nothing but a part of the picture, resized: the ramps are still ramps.
    np.testing.assert_allclose(np.diff(cropped[:, :, 0, 0], axis=1).std(1), 0, atol=1e-4)


def test_contrast_keeps_each_mean(pictures):
    grey = pictures * 0.4 + 0.3  # nothing is cut off at 0 or 1
    changed = augmentation.contrast(grey, draws()).numpy()
    np.testing.assert_allclose(changed.mean((1, 2)), grey.numpy().mean((1, 2)), atol=1e-5)
    ratio = changed.std((1, 2, 3)) / grey.numpy().std((1, 2, 3))
    assert ratio.min() < 0.95
    assert ratio.max() > 1.03


# RandAugment against the library it was first written with.
PIL = {
    "auto_contrast": lambda picture, s: ImageOps.autocontrast(picture),
    "equalize": lambda picture, s: ImageOps.equalize(picture),
    "solarize": lambda picture, s: ImageOps.solarize(picture, round(255 * (1 - s))),
    "posterize": lambda picture, s: ImageOps.posterize(picture, round(8 - 4 * s)),
    "brightness": lambda picture, s: ImageEnhance.Brightness(picture).enhance(1 + 0.9 * s),
    "contrast": lambda picture, s: ImageEnhance.Contrast(picture).enhance(1 + 0.9 * s),
    "colour": lambda picture, s: ImageEnhance.Color(picture).enhance(1 + 0.9 * s),
    "sharpness": lambda picture, s: ImageEnhance.Sharpness(picture).enhance(1 + 0.9 * s),
    "identity": lambda picture, s: picture,
}


@pytest.mark.parametrize("name", rand_augment.COLOUR)
def test_colours_change_as_in_pil(name):
    rng = np.random.default_rng(1)
    smooth = Image.fromarray(rng.integers(30, 200, (128, 128, 3), np.uint8)).filter(ImageFilter.GaussianBlur(2))
    strength = 0.5
    pixels = tf.constant(np.asarray(smooth)[None] / 255, tf.float32)
    changed = rand_augment.COLOUR[name](pixels, tf.reshape(strength, [1, 1, 1, 1])).numpy()[0]
    expected = np.asarray(PIL[name](smooth, strength)) / 255
    inner = slice(1, -1) if name == "sharpness" else slice(None)
    steps = 17 if name == "posterize" else 3  # PIL keeps the high bits, of which the brightest is not yet white
    assert np.abs(changed - expected)[inner, inner].max() <= steps / 255


def test_rand_augment_gives_every_picture_its_own_changes(pictures):
    same = tf.repeat(pictures[:1], 32, axis=0)
    changed = rand_augment.rand_augment(same, draws()).numpy()
    assert len({picture.tobytes() for picture in changed}) > 24


def test_rand_augment_is_stronger_with_a_larger_magnitude():
    dots = a_dot()
    moved = [np.abs(rand_augment.rand_augment(dots, draws(), m) - dots).mean() for m in (2, 20)]
    assert moved[0] < 0.5 * moved[1]


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(channels, pictures):
    given = tf.concat([pictures[..., :1]] * 3 + [tf.ones_like(pictures[..., :1])], -1)[..., -channels:]
    preprocessing = ImagePreprocessing(SIZE, SIZE, channels)
    change = Augmentation(("contrast", "rand_augment"), 0, 0, 0, preprocessing)
    assert change(given, tf.zeros([8, 2]), tf.constant(0, tf.int64))[0].shape == given.shape


def test_alpha_is_no_colour(pictures):
    rgba = tf.concat([pictures, tf.fill([8, SIZE, SIZE, 1], 0.7)], -1)
    for operation in rand_augment.COLOUR.values():
        np.testing.assert_array_equal(operation(rgba, tf.fill([8, 1, 1, 1], 0.5))[..., 3], rgba[..., 3])


def test_changes_know_nothing_of_mean_and_std(pictures):
    """A picture is changed as 0..1, whatever the network wants: ImageNet's mean and deviation change nothing."""
    plain = ImagePreprocessing(SIZE, SIZE, 3)
    imagenet = ImagePreprocessing(SIZE, SIZE, 3, scale=1.0, mean=(123.7, 116.8, 103.9), std=(58.4, 57.1, 57.4))
    step, targets = tf.constant(0, tf.int64), tf.zeros([8, 2])
    names = ("contrast", "rotate", "rand_augment")
    expected, _ = Augmentation(names, 0, 0, 0, plain)(pictures, targets, step)
    changed, _ = Augmentation(names, 0, 0, 0, imagenet)(imagenet.of_unit(pictures), targets, step)
    np.testing.assert_allclose(imagenet.unit_of(changed), expected, atol=1e-5)


def test_mix_up_mixes_pictures_and_targets_alike(pictures):
    """Picture i and target i lie at the same place between those of i and another example."""
    targets = tf.eye(8)
    mixed, labels = augmentation.mix_up(pictures, targets, 1.0, draws())
    np.testing.assert_allclose(tf.reduce_sum(labels, 1), 1, rtol=1e-5)
    assert ((labels.numpy() > 0.01).sum(1) == 2).any()
    np.testing.assert_allclose(mixed, tf.einsum("ij,jhwc->ihwc", labels, pictures), atol=1e-5)


def test_a_small_alpha_mixes_little():
    share = draws().beta(tf.zeros([4000]), 0.2).numpy()
    np.testing.assert_allclose(share.mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(share.var(), 1 / (4 * (2 * 0.2 + 1)), atol=0.01)  # of Beta(α, α)
    assert np.isfinite(draws().beta(tf.zeros([4000]), 0.01)).all()


def test_cut_mix_exchanges_a_box_and_counts_its_pixels():
    numbers = tf.cast(tf.reshape(tf.range(32), [32, 1, 1, 1]), tf.float32) * tf.ones([32, SIZE, SIZE, 1])
    mixed, labels = augmentation.cut_mix(numbers, tf.eye(32), 1.0, draws())
    found = mixed.numpy()[..., 0].astype(int)
    for i, picture in enumerate(found):
        shares = np.bincount(picture.ravel(), minlength=32) / SIZE**2
        np.testing.assert_allclose(labels[i], shares, atol=1e-5)
        down, across = np.nonzero(picture != i)
        if len(down):  # the foreign pixels are a whole box
            assert len(down) == (np.ptp(down) + 1) * (np.ptp(across) + 1)
    assert 0.1 < (found != np.arange(32)[:, None, None]).mean() < 0.6


def test_with_both_every_batch_gets_one_of_them(pictures):
    change = Augmentation((), 1.0, 1.0, 0, ImagePreprocessing(SIZE, SIZE, 3))
    only_whole_pixels = []
    for step in range(12):
        mixed, _ = change(pictures, tf.eye(8), tf.constant(step, tf.int64))
        only_whole_pixels.append(np.isin(mixed.numpy(), pictures.numpy()).all())
    assert {True, False} == set(only_whole_pixels)

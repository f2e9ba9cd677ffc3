"""RoIAlign beside a slow NumPy statement of torchvision's kernel, and the levels that boxes are read off."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import roi_align as module
from zoo.roi_align import MultiScaleRoIAlign, roi_align


def bilinear(maps, y, x):
    """One point of `(height, width, channels)`, as torchvision's `bilinear_interpolate` reads it."""
    height, width = maps.shape[:2]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(maps.shape[-1])
    y, x = max(y, 0), max(x, 0)
    top, left = int(y), int(x)
    if top >= height - 1:
        y = top = height - 1
    if left >= width - 1:
        x = left = width - 1
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    upper = (1 - across) * maps[top, left] + across * maps[top, right]
    lower = (1 - across) * maps[below, left] + across * maps[below, right]
    return (1 - down) * upper + down * lower


def slow(maps, boxes, size, samples, aligned):
    """`(n, *size, channels)` of the boxes of one picture."""
    answer = np.zeros((len(boxes), *size, maps.shape[-1]))
    for i, box in enumerate(boxes.astype(float)):
        y, x, y_max, x_max = box - 0.5 if aligned else box
        height, width = y_max - y, x_max - x
        if not aligned:
            height, width = max(height, 1), max(width, 1)
        for row, column in np.ndindex(*size):
            points = [
                bilinear(
                    maps,
                    y + (row + (a + 0.5) / samples) * height / size[0],
                    x + (column + (b + 0.5) / samples) * width / size[1],
                )
                for a, b in np.ndindex(samples, samples)
            ]
            answer[i, row, column] = np.mean(points, axis=0)
    return answer


def some_maps(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


BOXES = np.float32(
    [
        [[1.2, 0.7, 5.9, 7.1], [0, 0, 6, 8], [-2.5, -3, 2, 3], [4, 5, 9, 12], [2.3, 2.3, 2.4, 2.6]],
        [[0, 0, 0, 0], [5.5, 7.5, 6, 8], [20, 20, 30, 30], [3, 1, 3.5, 7], [-0.9, 0, 6.9, 8]],
    ]
)
"""Inside, the whole map, across its borders, smaller than a cell, empty, outside: of a map of 6x8 cells."""


@pytest.fixture(params=["products", "gathering"])
def either_way(request, monkeypatch):
    """Both ways of computing, whatever the size of the map."""
    monkeypatch.setattr(module, "_SMALL", {"products": 10**9, "gathering": 0}[request.param])


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(("size", "samples", "aligned"), [((3, 2), 2, False), ((2, 3), 1, True), ((1, 1), 3, False)])
def test_it_reads_what_torchvision_reads(size, samples, aligned):
    maps = some_maps(2, 6, 8, 3)
    expected = [slow(*pair, size, samples, aligned) for pair in zip(maps, BOXES, strict=True)]
    np.testing.assert_allclose(roi_align(maps, BOXES, size, samples, aligned), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("either_way")
def test_gradient_is_the_weight_of_every_cell():
    maps, towards = some_maps(2, 6, 8, 2), some_maps(2, 5, 2, 2, 2, seed=1)
    with tf.GradientTape() as tape:
        variable = tf.Variable(maps)
        total = tf.reduce_sum(roi_align(variable, BOXES, 2) * towards)
    gradient = tf.convert_to_tensor(tape.gradient(total, variable)).numpy()
    for place in [(0, 2, 3, 1), (0, 0, 0, 0), (1, 5, 7, 1), (1, 3, 4, 0)]:
        other = maps.copy()
        other[place] += 1
        slope = sum((slow(o, b, (2, 2), 2, False) * t).sum() for o, b, t in zip(other, BOXES, towards, strict=True))
        slope -= sum((slow(m, b, (2, 2), 2, False) * t).sum() for m, b, t in zip(maps, BOXES, towards, strict=True))
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("either_way")
def test_it_can_be_traced_for_any_number_of_pictures_and_boxes():
    traced = tf.function(
        lambda m, b: roi_align(m, b, 2),
        input_signature=[tf.TensorSpec([None, 6, 8, 3]), tf.TensorSpec([None, None, 4])],
    )
    maps = some_maps(2, 6, 8, 3)
    np.testing.assert_allclose(traced(maps, BOXES), roi_align(maps, BOXES, 2), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(traced(maps[1:], BOXES[1:, :3]), roi_align(maps[1:], BOXES[1:, :3], 2), atol=1e-6)
    assert traced(maps, BOXES[:, :0]).shape == (2, 0, 2, 2, 3)


def test_a_map_of_unknown_size_is_read_too():
    traced = tf.function(
        lambda m, b: roi_align(m, b, 2),
        input_signature=[tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([2, 5, 4])],
    )
    maps = some_maps(2, 6, 8, 3)
    np.testing.assert_allclose(traced(maps, BOXES), roi_align(maps, BOXES, 2), rtol=1e-5, atol=1e-6)


def pyramid():
    return [some_maps(2, 13, 16, 3), some_maps(2, 7, 8, 3, seed=1), some_maps(2, 4, 4, 3, seed=2)]


def of_pyramid(**arguments):
    arguments = {"output_size": (2, 3), "strides": (4, 8, 16), "picture_size": (50, 64), **arguments}
    return MultiScaleRoIAlign(**{"canonical_size": 32, "canonical_level": 3, **arguments})


# In pixels, with their level by hand: 32 * 2**i pixels and more are read off level 3 + i, of levels 2 to 4.
ON_LEVELS = [
    ([5, 5, 15, 12], 0),
    ([0, 0, 31.9, 31.9], 0),
    ([0, 0, 32, 32], 1),
    ([3, 3, 19, 63], 0),
    ([0, 0, 50, 64], 1),
    ([-20, -10, 70, 80], 2),
    ([0, 0, 0, 0], 0),
    ([10, 10, 50, 60], 1),
]


@pytest.mark.parametrize("small", [0, 10**9, 60], ids=["gathering", "products", "some of either"])
def test_a_box_is_read_off_the_level_that_suits_its_size(monkeypatch, small):
    monkeypatch.setattr(module, "_SMALL", small)
    levels, layer = pyramid(), of_pyramid()
    in_pixels = np.float32([box for box, _ in ON_LEVELS])
    boxes = np.stack([in_pixels, in_pixels[::-1]]) / np.float32([50, 64, 50, 64])
    expected_level = np.int32([level for _, level in ON_LEVELS])
    np.testing.assert_array_equal(layer.level_of(boxes), [expected_level, expected_level[::-1]])
    found = np.asarray(layer(levels, boxes))
    for i, (box, level) in enumerate(ON_LEVELS):
        scaled = np.float32([box]) / (4, 8, 16)[level]
        for picture, place in [(0, i), (1, len(ON_LEVELS) - 1 - i)]:
            expected = slow(levels[level][picture], scaled, (2, 3), 2, False)[0]
            np.testing.assert_allclose(found[picture, place], expected, rtol=1e-3, atol=1e-4)


def test_level_is_that_of_the_paper():
    layer = MultiScaleRoIAlign(7, (4, 8, 16, 32), (1000, 1000))
    sides = np.float32([60, 111, 112, 223, 224, 447, 448, 900]) / 1000
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=-1)
    np.testing.assert_array_equal(layer.level_of(boxes), [0, 0, 1, 1, 2, 2, 3, 3])


def test_features_of_16_bits_are_read_at_places_of_32():
    boxes = np.float32([[[0.501, 0.503, 0.777, 0.779]]])
    whole = of_pyramid()([m[:1] for m in pyramid()], boxes)
    half = of_pyramid(dtype="mixed_bfloat16")([keras.ops.cast(m[:1], "bfloat16") for m in pyramid()], boxes)
    assert keras.backend.standardize_dtype(half.dtype) == "bfloat16"
    np.testing.assert_allclose(keras.ops.cast(half, "float32"), whole, atol=0.05)


def test_layer_is_made_anew_of_its_configuration():
    levels = [keras.Input(m.shape[1:]) for m in pyramid()]
    boxes = keras.Input((None, 4))
    model = keras.Model([*levels, boxes], of_pyramid(aligned=True, sampling_ratio=1)(levels, boxes))
    assert model.output_shape == (None, None, 2, 3, 3)
    again = keras.models.clone_model(model)
    inputs = [*pyramid(), np.float32([[[0, 0, 0.5, 0.5]], [[0.2, 0.1, 0.9, 0.8]]])]
    np.testing.assert_array_equal(again(inputs), model(inputs))


def test_what_is_no_pyramid_is_named():
    for wrong in [(4, 8, 32), (8, 4), (6, 12)]:
        with pytest.raises(ValueError, match=r"powers of two, each twice the one before.*Received: \("):
            of_pyramid(strides=wrong)
    with pytest.raises(ValueError, match=r"reads 3 levels.*Received: 2 levels"):
        of_pyramid()(pyramid()[:2], np.zeros((2, 1, 4), "float32"))
    with pytest.raises(ValueError, match=r"sampling_ratio must be 1 or more\. Received: 0"):
        roi_align(pyramid()[0], BOXES, 2, sampling_ratio=0)
    with pytest.raises(ValueError, match=r"output_size must be a positive number, or two\. Received: \(2, 0\)"):
        roi_align(pyramid()[0], BOXES, (2, 0))

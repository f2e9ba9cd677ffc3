"""Boxes: every function beside a slow NumPy statement of its definition."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.boxes import greedy, iou, some_boxes
from zoo import boxes as bx


def test_area_and_overlap():
    boxes, others = some_boxes(2, 5), some_boxes(2, 7, seed=1)
    expected = [[[iou(a, b) for b in others[i]] for a in boxes[i]] for i in range(2)]
    np.testing.assert_allclose(bx.intersection_over_union(boxes, others), expected, rtol=1e-5, atol=1e-6)
    in_pairs = [[expected[i][j][j] for j in range(5)] for i in range(2)]
    np.testing.assert_allclose(bx.overlap_in_pairs(boxes, others[:, :5]), in_pairs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bx.area(np.float32([[1, 2, 4, 4], [1, 2, 1, 4], [3, 3, 1, 1]])), [6, 0, 0])


def test_one_set_of_anchors_is_compared_with_the_boxes_of_every_picture():
    boxes, anchors = some_boxes(3, 4), some_boxes(6, seed=1)
    found = bx.intersection_over_union(boxes, anchors)
    assert found.shape == (3, 4, 6)
    np.testing.assert_allclose(found[2], bx.intersection_over_union(boxes[2], anchors))


def test_an_empty_box_overlaps_with_nothing_not_even_itself():
    boxes = np.float32([[0, 0, 0, 0], [0.2, 0.2, 0.2, 0.8], [0.6, 0.6, 0.4, 0.4], [0, 0, 1, 1]])
    np.testing.assert_array_equal(bx.intersection_over_union(boxes, boxes), np.diag([0, 0, 0, 1]))


def test_what_leaves_the_picture_is_cut_off():
    boxes = np.float32([[-3, 2, 5, 90], [12, -9, 14, -3]])
    np.testing.assert_array_equal(bx.clip(boxes, 10, 80), [[0, 2, 5, 80], [10, 0, 10, 0]])
    np.testing.assert_array_equal(bx.clip(np.float32([-0.5, 0.5, 0.75, 2])), [0, 0.5, 0.75, 1])


def test_code_is_girshicks():
    box, anchor = some_boxes(40), some_boxes(40, seed=1)
    expected = []
    for b, a in zip(box.astype(float), anchor.astype(float), strict=True):
        height, width = a[2] - a[0], a[3] - a[1]
        expected.append(
            [
                10 * ((b[0] + b[2]) / 2 - (a[0] + a[2]) / 2) / height,
                10 * ((b[1] + b[3]) / 2 - (a[1] + a[3]) / 2) / width,
                5 * np.log((b[2] - b[0]) / height),
                5 * np.log((b[3] - b[1]) / width),
            ]
        )
    code = bx.encode(box, anchor, weights=(10, 10, 5, 5))
    np.testing.assert_allclose(code, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(bx.decode(code, anchor, weights=(10, 10, 5, 5)), box, atol=1e-6)
    # The same in pixels: the code has no unit.
    np.testing.assert_allclose(bx.encode(box * 64, anchor * 64, weights=(10, 10, 5, 5)), code, rtol=1e-3, atol=1e-4)


def test_codes_of_padding_are_finite_and_a_wild_answer_is_bounded():
    nothing = np.zeros((1, 4), np.float32)
    for pair in [(nothing, some_boxes(1)), (some_boxes(1), nothing), (nothing, nothing)]:
        assert np.isfinite(bx.encode(*pair)).all()
    decoded = bx.decode(np.float32([[0, 0, 100, 1e9]]), np.float32([[0, 0, 16, 16]]))
    np.testing.assert_allclose(decoded, [[-492, -492, 508, 508]], rtol=1e-5)


def test_anchors_are_torchvisions():
    # torchvision.models.detection.anchor_utils.AnchorGenerator, turned from x, y to y, x; sizes 32, ratios 0.5, 1, 2.
    first = [[-11, -23, 11, 23], [-16, -16, 16, 16], [-23, -11, 23, 11]]
    found = bx.anchors((2, 3), 8, (32,), (0.5, 1.0, 2.0))
    assert found.dtype == np.float32
    assert found.shape == (18, 4)
    np.testing.assert_array_equal(found[:3], first)
    np.testing.assert_array_equal(found[3:6] - found[:3], [[0, 8, 0, 8]] * 3)
    np.testing.assert_array_equal(found[9:12] - found[:3], [[8, 0, 8, 0]] * 3)
    sizes = bx.anchors((1, 1), 8, (16, 32), (1.0, 4.0))
    np.testing.assert_array_equal(sizes[:, 2:], [[8, 8], [16, 16], [16, 4], [32, 8]])


@pytest.mark.parametrize("block", [(4, 4), (32, 256)])
@pytest.mark.parametrize(
    ("count", "max_outputs", "threshold"), [(70, 12, 0.3), (70, 100, 0.1), (33, 33, 0.7), (1, 2, 0), (0, 2, 0.5)]
)
def test_suppression_is_greedy(monkeypatch, block, count, max_outputs, threshold):
    monkeypatch.setattr(bx, "_BLOCK", block)
    boxes = some_boxes(3, count)
    scores = np.random.default_rng(5).random((3, count)).astype(np.float32).round(2)  # some are equal
    expected = [greedy(*pair, max_outputs, threshold, 0.2) for pair in zip(boxes, scores, strict=True)]
    ids = bx.non_max_suppression(boxes, scores, max_outputs, threshold, 0.2)
    assert keras.backend.standardize_dtype(ids.dtype) == "int32"
    np.testing.assert_array_equal(ids, expected)


def test_a_box_dropped_by_the_first_does_not_drop_a_third():
    row = np.float32([[0, x, 1, x + 1] for x in (0, 0.4, 0.8, 1.2)])[None]
    scores = np.float32([[0.9, 0.8, 0.7, 0.6]])
    np.testing.assert_array_equal(bx.non_max_suppression(row, scores, 4, 0.3), [[0, 2, -1, -1]])


def test_boxes_that_only_touch_the_threshold_and_empty_ones_stay():
    boxes = np.float32([[[0, 0, 1, 2], [0, 1, 1, 2], [0, 0, 0, 0], [0, 0, 0, 0]]])  # overlap of exactly a half
    np.testing.assert_array_equal(bx.non_max_suppression(boxes, np.ones((1, 4), "float32"), 4, 0.5), [[0, 1, 2, 3]])


def test_what_has_no_score_is_never_taken():
    boxes = some_boxes(2, 3)
    scores = np.float32([[-np.inf, np.nan, -5], [-np.inf, np.nan, -np.inf]])
    np.testing.assert_array_equal(bx.non_max_suppression(boxes, scores, 2), [[2, -1], [-1, -1]])


def test_suppression_can_be_traced_for_any_number_of_pictures_and_boxes():
    signature = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None])]
    traced = tf.function(lambda b, s: bx.non_max_suppression(b, s, 9, 0.2), input_signature=signature)
    for batch, count in [(2, 300), (1, 5), (3, 1), (2, 0)]:
        boxes = some_boxes(batch, count, seed=count)
        scores = np.random.default_rng(count).random((batch, count)).astype(np.float32)
        expected = [greedy(*pair, 9, 0.2) for pair in zip(boxes, scores, strict=True)]
        np.testing.assert_array_equal(traced(boxes, scores), expected)

"""Who has to find which box: every rule beside a slow statement of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.boxes import LABELS, TRUTH, iou, slow_match, some_boxes
from zoo import boxes as bx
from zoo import matching


@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_an_anchor_has_to_find_what_it_overlaps_with_most(own, keep_best):
    anchors = some_boxes(3, 60, seed=3, spread=0.8)
    anchors[:, 50:] = 0  # padding
    of_picture = anchors if own else anchors[[0, 0, 0]]
    expected = [
        slow_match(*one, 0.35, 0.2, keep_best) for one in zip(of_picture.astype(float), TRUTH, LABELS, strict=True)
    ]
    found = np.asarray(
        matching.match(anchors if own else anchors[0], TRUTH, LABELS, positive=0.35, negative=0.2, keep_best=keep_best)
    )
    np.testing.assert_array_equal(found, expected)
    assert {-2, -1, 0} <= set(found[0])
    assert set(found[2]) == {matching.BACKGROUND}


def test_a_box_that_no_anchor_reaches_is_found_by_the_nearest_and_by_none_that_does_not_touch_it():
    anchors = np.float32([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0.5, 0.5, 1]])
    small, far = [0.1, 0.1, 0.15, 0.15], [2, 2, 3, 3]
    truth, labels = np.float32([[small, far]]), np.int32([[0, 0]])
    found = matching.match(anchors, truth, labels, positive=0.7, negative=0.3, keep_best=True)
    np.testing.assert_array_equal(found, [[0, -1, -1]])
    found = matching.match(anchors, truth, labels, positive=0.7, negative=0.3)
    np.testing.assert_array_equal(found, [[-1, -1, -1]])


@pytest.mark.parametrize(
    ("matched", "positives", "backgrounds"),
    [
        ([0] * 30 + [-1] * 50 + [-2] * 20, 5, 15),  # enough of both
        ([0] * 3 + [-1] * 50 + [-2] * 47, 3, 17),  # background fills up
        ([0] * 30 + [-1] * 4 + [-2] * 66, 5, 4),  # positive ones do not
        ([-2] * 100, 0, 0),
        ([0, -1], 1, 1),  # fewer anchors than wanted
    ],
)
def test_a_few_of_each_kind_are_sampled(matched, positives, backgrounds):
    matched = np.int32([matched, matched])
    ids = np.asarray(matching.sample(matched, 20, 0.25, seed=1))
    assert ids.shape == (2, 20)
    for kinds, chosen in zip(matched, ids, strict=True):
        chosen, rest = np.split(chosen, [positives + backgrounds])
        assert (rest == -1).all()
        assert len(set(chosen)) == len(chosen)
        assert (kinds[chosen[:positives]] == 0).all()
        assert (kinds[chosen[positives:]] == -1).all()


def test_every_anchor_is_sampled_as_often_as_any_other():
    matched = np.int32([[0, 0, 0, 0, -1, -1, -1, -1]] * 500)
    generator = keras.random.SeedGenerator(0)
    first, second = (np.asarray(matching.sample(matched, 4, 0.5, seed=generator)) for _ in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(matching.sample(matched, 4, 0.5, seed=3), matching.sample(matched, 4, 0.5, seed=3))
    counts = np.bincount(np.concatenate([first, second]).ravel(), minlength=8)
    np.testing.assert_allclose(counts, 500, atol=75)  # five standard deviations


def test_sampled_proposals_know_what_they_hold():
    proposals = np.concatenate([some_boxes(3, 40, seed=3), np.zeros((3, 5, 4), np.float32)], axis=1)
    rois, classes, deltas = map(np.asarray, matching.sample_proposals(proposals, TRUTH, LABELS, seed=2, count=32))
    assert rois.shape == deltas.shape == (3, 32, 4)
    assert classes.dtype == np.int32
    for picture in range(3):
        objects = [(b, c) for b, c in zip(TRUTH[picture], LABELS[picture], strict=True) if c >= 0]
        known = {tuple(box) for box in [*proposals[picture][:40], *(box for box, _ in objects)]}
        for roi, found, delta in zip(rois[picture], classes[picture], deltas[picture], strict=True):
            assert tuple(roi) in known  # padding is not sampled: there is enough else
            box, label = max(objects, key=lambda pair: iou(pair[0], roi), default=(None, None))
            if box is None or iou(box, roi) < 0.5:
                assert found == 0
            else:
                assert found == label + 1
                np.testing.assert_allclose(bx.decode(delta, roi, bx.SECOND_STAGE), box, atol=1e-5)
    assert (classes[:2] > 0).any(axis=1).all()  # the true boxes are among the proposals
    assert not classes[2].any()
    assert ((classes > 0).sum(axis=1) <= 8).all()


def test_where_there_are_too_few_proposals_the_rest_is_padding():
    proposals = np.zeros((3, 4, 4), np.float32)
    rois, classes, deltas = matching.sample_proposals(proposals, TRUTH, LABELS, seed=2, count=6, positive_fraction=0.5)
    np.testing.assert_array_equal(np.sort(classes), [[-1, -1, -1, 1, 2, 3], [-1, -1, -1, -1, -1, 2], [-1] * 6])
    assert not np.asarray(rois)[np.asarray(classes) < 0].any()
    assert np.isfinite(deltas).all()


@pytest.mark.parametrize("grid", [(2, 3), (5, 5)])
def test_a_cell_has_to_find_the_first_box_whose_centre_lies_in_it(grid):
    rng = np.random.default_rng(0)
    truth, labels = some_boxes(4, 9, seed=4), rng.integers(-1, 3, (4, 9), np.int32)
    truth[0, 0], labels[0, 0] = [0.9, 0.9, 1.1, 1.1], 0  # its centre is the last corner
    truth[1, 0], labels[1, 0] = 0, 0  # empty
    expected = np.full((4, *grid), -1)
    for picture in range(4):
        for i in reversed(range(9)):
            box = truth[picture, i]
            if labels[picture, i] >= 0 and box.any():
                row = min(int((box[0] + box[2]) / 2 * grid[0]), grid[0] - 1)
                column = min(int((box[1] + box[3]) / 2 * grid[1]), grid[1] - 1)
                expected[picture, row, column] = i
    np.testing.assert_array_equal(matching.assign_to_cells(truth, labels, grid), expected)


def test_the_predictor_that_overlaps_most_is_responsible_or_else_the_nearest():
    predicted, truth = some_boxes(2, 3, 4, 5, seed=6, spread=0.9), some_boxes(2, 3, 4, seed=7, spread=0.9)
    truth[0, 0] += 10  # nobody overlaps with these
    chosen, overlap = map(np.asarray, matching.responsible(predicted, truth))
    for place in np.ndindex(2, 3, 4):
        overlaps = [iou(box, truth[place]) for box in predicted[place]]
        np.testing.assert_allclose(overlap[place], overlaps, rtol=1e-4, atol=1e-6)
        distances = [-np.sum((box - truth[place]) ** 2) for box in predicted[place]]
        expected = np.argmax(overlaps if any(overlaps) else distances)
        np.testing.assert_array_equal(chosen[place], np.arange(5) == expected)


def test_a_batch_without_any_box_can_be_traced_and_matched():
    signature = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None], tf.int32)]

    @tf.function(input_signature=signature)
    def everything(boxes, labels):
        anchors = tf.constant(some_boxes(6))
        proposals = tf.tile(anchors[None], [tf.shape(boxes)[0], 1, 1])
        return (
            matching.match(anchors, boxes, labels, positive=0.5, negative=0.5, keep_best=True),
            matching.assign_to_cells(boxes, labels, (2, 2)),
            matching.sample_proposals(proposals, boxes, labels, seed=1, count=9),
        )

    matched, cells, (_, classes, deltas) = everything(np.zeros((2, 0, 4), np.float32), np.zeros((2, 0), np.int32))
    np.testing.assert_array_equal(matched, np.full((2, 6), -1))
    np.testing.assert_array_equal(cells, np.full((2, 2, 2), -1))
    np.testing.assert_array_equal(np.sort(classes), [[-1] * 3 + [0] * 6] * 2)
    assert np.isfinite(deltas).all()

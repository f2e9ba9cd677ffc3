"""Losses of detectors beside slow statements of the papers' equations."""

import keras
import numpy as np
import tensorflow as tf

from tests.boxes import LABELS, TRUTH, iou, slow_match, some_boxes
from zoo import boxes as bx
from zoo import detection_losses as losses
from zoo import matching


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def slow_yolo(grid, boxes, labels, predictors):
    """Eq. 3 of the paper for one picture, cell by cell; the terms in its order."""
    rows, columns = grid.shape[:2]
    terms = np.zeros(5)
    for row, column in np.ndindex(rows, columns):
        cell = grid[row, column]
        inside = [
            i
            for i in range(len(boxes))
            if labels[i] >= 0
            and int((boxes[i][0] + boxes[i][2]) / 2 * rows) == row
            and int((boxes[i][1] + boxes[i][3]) / 2 * columns) == column
        ]
        answers = [cell[5 * p : 5 * p + 5] for p in range(predictors)]
        if not inside:
            terms[3] += 0.5 * sum(answer[4] ** 2 for answer in answers)
            continue
        truth, label = boxes[inside[0]], labels[inside[0]]
        corners = []
        for x, y, root_width, root_height, _ in answers:
            x, y = (x + column) / columns, (y + row) / rows
            half_height, half_width = root_height**2 / 2, root_width**2 / 2
            corners.append([y - half_height, x - half_width, y + half_height, x + half_width])
        overlaps = [iou(box, truth) for box in corners]
        nearest = [-np.sum((box - truth) ** 2) for box in corners]
        best = int(np.argmax(overlaps if any(overlaps) else nearest))
        x, y, root_width, root_height, confidence = answers[best]
        terms[0] += 5 * ((truth[1] + truth[3]) / 2 * columns - column - x) ** 2
        terms[0] += 5 * ((truth[0] + truth[2]) / 2 * rows - row - y) ** 2
        terms[1] += 5 * (np.sqrt(truth[3] - truth[1]) - root_width) ** 2
        terms[1] += 5 * (np.sqrt(truth[2] - truth[0]) - root_height) ** 2
        terms[2] += (confidence - overlaps[best]) ** 2
        terms[3] += 0.5 * sum(answer[4] ** 2 for p, answer in enumerate(answers) if p != best)
        terms[4] += sum((p - (c == label)) ** 2 for c, p in enumerate(cell[5 * predictors :]))
    return terms


def test_grid_loss_is_equation_3():
    grid = normal(3, 4, 3, 2 * 5 + 3)
    grid[..., [2, 3, 7, 8]] = 0.4 + 0.1 * grid[..., [2, 3, 7, 8]]  # roots of sizes that overlap with something
    expected = np.array([slow_yolo(*one, 2) for one in zip(grid.astype(float), TRUTH, LABELS, strict=True)])
    found = losses.yolo_v1_losses(grid, TRUTH, LABELS)
    assert list(found) == ["position", "size", "confidence", "no_object", "classes"]
    np.testing.assert_allclose(np.stack([*found.values()], axis=1), expected, rtol=1e-4, atol=1e-5)
    assert (expected[:2] > 0).all()
    assert not expected[2, [0, 1, 2, 4]].any()
    np.testing.assert_allclose(losses.yolo_v1_loss(grid, TRUTH, LABELS), expected.sum(axis=1), rtol=1e-4)
    heavier = losses.yolo_v1_losses(grid, TRUTH, LABELS, coordinates=10.0, no_object=0.25)
    np.testing.assert_allclose(heavier["size"], 2 * expected[:, 1], rtol=1e-4)
    np.testing.assert_allclose(heavier["no_object"], expected[:, 3] / 2, rtol=1e-4)


def test_the_grid_that_says_the_truth_has_no_loss():
    index = np.asarray(matching.assign_to_cells(TRUTH, LABELS, (8, 8)))
    picture = np.arange(3)[:, None, None]
    numbers = bx.encode_in_cells(TRUTH[picture, index][:, :, :, None])[:, :, :, 0]
    holds = (index >= 0)[..., None]
    classes = np.eye(3)[LABELS[picture, index]] * holds
    grid = np.concatenate([numbers * holds, holds, classes], axis=-1).astype(np.float32)
    np.testing.assert_allclose(losses.yolo_v1_loss(grid, TRUTH, LABELS, boxes_per_cell=1), 0, atol=1e-9)
    decoded = np.asarray(bx.decode_in_cells(grid[:, :, :, None, :4]))[:, :, :, 0]
    np.testing.assert_allclose(decoded[holds[..., 0]], TRUTH[picture, index][holds[..., 0]], atol=1e-6)


def slow_smooth_l1(errors, beta):
    return sum(e * e / (2 * beta) if abs(e) < beta else abs(e) - beta / 2 for e in np.ravel(errors))


def test_loss_of_the_first_stage_where_all_anchors_are_sampled():
    anchors, objectness, deltas = some_boxes(50, seed=3, spread=0.8), normal(3, 50), normal(3, 50, 4, seed=1)
    found = losses.rpn_losses(
        objectness,
        deltas,
        anchors,
        TRUTH,
        LABELS,
        seed=0,
        count=60,
        positive_fraction=1.0,
        positive=0.35,
        negative=0.2,
        beta=0.5,
    )
    for picture in range(3):
        matched = np.array(slow_match(anchors.astype(float), TRUTH[picture], LABELS[picture], 0.35, 0.2, True))
        logits, used = objectness[picture].astype(float), np.sum(matched > -2)
        entropy = np.log1p(np.exp(-logits[matched >= 0])).sum() + np.log1p(np.exp(logits[matched == -1])).sum()
        np.testing.assert_allclose(found["objectness"][picture], entropy / used, rtol=1e-4)
        target = np.asarray(bx.encode(TRUTH[picture][matched], anchors))
        distance = slow_smooth_l1((deltas[picture] - target)[matched >= 0], 0.5)
        np.testing.assert_allclose(found["proposals"][picture], distance / used, rtol=1e-4, atol=1e-7)


def test_loss_of_the_second_stage():
    class_logits, deltas = normal(2, 6, 4), normal(2, 6, 4, 4, seed=1)
    classes, targets = np.int32([[0, 2, -1, 3, 0, 1], [-1, 0, -1, -1, 0, -1]]), normal(2, 6, 4, seed=2)
    found = losses.roi_losses(class_logits, deltas, classes, targets, beta=1.0)
    for picture in range(2):
        used = [i for i in range(6) if classes[picture, i] >= 0]
        probability = np.exp(class_logits[picture]) / np.exp(class_logits[picture]).sum(-1, keepdims=True)
        entropy = -sum(np.log(probability[i, classes[picture, i]]) for i in used)
        np.testing.assert_allclose(found["classes"][picture], entropy / len(used), rtol=1e-4)
        errors = [deltas[picture, i, c] - targets[picture, i] for i, c in enumerate(classes[picture]) if c > 0]
        np.testing.assert_allclose(found["boxes"][picture], slow_smooth_l1(errors, 1.0) / len(used), rtol=1e-4)


def everything(grid, class_logits, deltas, objectness, boxes, labels, seed=0):
    """The sum of all losses, of random answers."""
    anchors = keras.ops.convert_to_tensor(some_boxes(20, seed=3))
    proposals = keras.ops.broadcast_to(anchors, (keras.ops.shape(boxes)[0], 20, 4))
    _, classes, targets = matching.sample_proposals(proposals, boxes, labels, seed=seed, count=20)
    parts = {
        **losses.yolo_v1_losses(grid, boxes, labels),
        **losses.rpn_losses(objectness, deltas[:, :, 0], anchors, boxes, labels, seed=seed),
        **losses.roi_losses(class_logits, deltas, classes, targets),
    }
    return sum(parts.values())


def test_losses_of_answers_of_16_bits_have_32_and_are_finite_without_any_box_too():
    answers = [normal(3, 2, 2, 13), normal(3, 20, 4), normal(3, 20, 4, 4), normal(3, 20)]
    answers = [tf.cast(answer, tf.bfloat16) for answer in answers]

    @tf.function(input_signature=[tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None], tf.int32)])
    def traced(boxes, labels):
        with tf.GradientTape() as tape:
            tape.watch(answers)
            loss = everything(*answers, boxes, labels)
        return loss, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, answers)]

    for boxes, labels in [(TRUTH, LABELS), (TRUTH[:, :0], LABELS[:, :0])]:
        loss, gradients = traced(boxes, labels)
        assert loss.dtype == tf.float32
        assert loss.shape == (3,)
        assert np.isfinite(loss).all()
        for answer, gradient in zip(answers, gradients, strict=True):
            found = tf.cast(gradient, tf.float32).numpy()
            assert np.isfinite(found).all()
            assert found[2].any() == (answer is not answers[2])  # the last picture has no box: nothing to be moved


def test_nothing_is_learned_of_what_is_padding():
    nothing = losses.roi_losses(normal(1, 3, 4), normal(1, 3, 4, 4), np.int32([[-1] * 3]), normal(1, 3, 4))
    assert {name: float(part[0]) for name, part in nothing.items()} == {"classes": 0.0, "boxes": 0.0}

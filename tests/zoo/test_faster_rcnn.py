"""Faster R-CNN: its pyramid, its proposals, what it makes of them, and what it learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.boxes import greedy, iou
from zoo import boxes as bx
from zoo import detection_losses, matching
from zoo.architectures.faster_rcnn import RegionBoxes, RegionProposals

TRUTH = np.float32([[[0.1, 0.2, 0.4, 0.45], [0.55, 0.5, 0.95, 0.9]], [[0.3, 0.1, 0.7, 0.6], [0, 0, 0, 0]]])
LABELS = np.int32([[0, 2], [1, -1]])
STEPS = 100


def tiny(name, **arguments):
    return zoo.build(name, **{**zoo.spec(name).tiny, **arguments})


def pictures(model, batch=2):
    return np.random.default_rng(0).random((batch, *model.input_shape[1:]), np.float32)


def first_stage(**arguments):
    return RegionProposals(
        **{
            "picture_size": (40, 60),
            "map_sizes": [(10, 15), (5, 8)],
            "strides": [4, 8],
            "sizes": [(6,), (14,)],
            "aspect_ratios": (0.5, 2.0),
            "candidates_per_level": 50,
            "count": 30,
            "overlap": 0.5,
            **arguments,
        }
    )


def answers(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, count)).astype(np.float32), rng.normal(size=(2, count, 4)).astype(np.float32) / 3


def test_anchors_lie_in_the_unit_of_the_picture():
    layer = first_stage()
    unit = np.float32([40, 60, 40, 60])
    assert layer.anchors.shape == (2 * (150 + 40), 4)
    np.testing.assert_allclose(layer.anchors[:300] * unit, bx.anchors((10, 15), 4, (6,), (0.5, 2.0)), atol=1e-4)
    np.testing.assert_allclose(layer.anchors[300:] * unit, bx.anchors((5, 8), 8, (14,), (0.5, 2.0)), atol=1e-4)


def slow_proposals(layer, objectness, deltas):
    """One picture: the likeliest of each level, moved, cut off, chosen among their likes, then among all."""
    chosen = []
    for level in (slice(0, 300), slice(300, 380)):
        order = np.argsort(-objectness[level], kind="stable")[: layer.candidates_per_level]
        boxes = np.clip(bx.decode(deltas[level][order], layer.anchors[level][order]), 0, 1)
        scores = objectness[level][order]
        ids = [i for i in greedy(boxes, scores, len(boxes), layer.overlap) if i >= 0]
        chosen += [(scores[i], boxes[i]) for i in ids if (boxes[i][2:] > boxes[i][:2]).all()]
    chosen.sort(key=lambda pair: -pair[0])
    return np.array([box for _, box in chosen[: layer.count]])


def test_proposals_are_the_likeliest_of_each_level_that_do_not_overlap():
    layer = first_stage()
    objectness, deltas = answers(380)
    found = np.asarray(layer(objectness, deltas))
    for picture in range(2):
        expected = slow_proposals(layer, objectness[picture], deltas[picture])
        assert len(expected) == 30
        np.testing.assert_allclose(found[picture], expected, atol=1e-6)


def test_where_there_are_too_few_proposals_empty_boxes_follow():
    layer = first_stage(count=200, overlap=0.1)
    objectness, deltas = answers(380)
    deltas[0, :, 0] = -100  # above the picture: nothing of them is left
    found = np.asarray(layer(objectness, deltas))
    expected = slow_proposals(layer, objectness[1], deltas[1])
    assert not found[0].any()
    np.testing.assert_allclose(found[1, : len(expected)], expected, atol=1e-6)
    assert not found[1, len(expected) :].any()
    more = RegionProposals.from_config({**layer.get_config(), "count": 3})(objectness, deltas)
    np.testing.assert_array_equal(more, found[:, :3])


def test_a_proposal_has_a_box_and_a_probability_for_every_class():
    rng = np.random.default_rng(0)
    logits, deltas = rng.normal(size=(1, 3, 4)).astype(np.float32), rng.normal(size=(1, 3, 4, 4)).astype(np.float32)
    proposals = np.float32([[[0.1, 0.2, 0.5, 0.4], [0.6, 0.5, 1, 1], [0, 0, 0, 0]]])
    found = np.asarray(RegionBoxes()(logits, deltas, proposals))
    assert found.shape == (1, 3, 3, 5)
    assert not found[0, 2].any()
    for i, label in np.ndindex(2, 3):
        probability = np.exp(logits[0, i]) / np.exp(logits[0, i]).sum()
        np.testing.assert_allclose(found[0, i, label, 4], probability[1 + label], rtol=1e-5)
        box = bx.decode(deltas[0, i, 1 + label], proposals[0, i], (10, 10, 5, 5))
        np.testing.assert_allclose(found[0, i, label, :4], np.clip(box, 0, 1), atol=1e-6)


def test_every_level_of_the_pyramid_gets_what_lies_above_it():
    model = tiny("faster_rcnn_small", input_shape=(36, 50, 3))
    names = ["fpn_inner2", "fpn_inner3", "fpn_add2"]
    below, above, added = map(np.asarray, zoo.features(model, names)(pictures(model)))
    assert (below.shape[1:3], above.shape[1:3]) == ((9, 13), (5, 7))
    larger = above.repeat(2, axis=1).repeat(2, axis=2)[:, :9, :13]
    np.testing.assert_allclose(added, below + larger, rtol=1e-5, atol=1e-6)


def test_one_level_more_is_every_second_place_of_the_last():
    model = tiny("faster_rcnn_small", anchor_sizes=((4,), (8,), (16,)))
    last, extra = map(np.asarray, zoo.features(model, ["fpn_level3", "fpn_level4"])(pictures(model)))
    np.testing.assert_array_equal(extra, last[:, ::2, ::2])
    assert model.get_layer("proposals").anchors.shape == (3 * (64 + 16 + 4), 4)
    assert len(model.get_layer("roi_head").inputs) == 2 + 1


def test_the_second_stage_answers_for_any_boxes_as_the_model_does_for_its_proposals():
    model = tiny("faster_rcnn_small")
    wanted = ["fpn_level2", "fpn_level3", "proposals", "candidates"]
    *levels, proposals, candidates = zoo.features(model, wanted)(pictures(model))
    head = model.get_layer("roi_head")
    logits, deltas = head([*levels, proposals])
    np.testing.assert_allclose(RegionBoxes()(logits, deltas, proposals), candidates, rtol=1e-4, atol=1e-5)
    more = tf.concat([TRUTH, proposals], axis=1)
    logits, deltas = head([*levels, more])
    assert (logits.shape, deltas.shape) == ((2, 2 + 8, 1 + 3), (2, 2 + 8, 1 + 3, 4))
    np.testing.assert_allclose(RegionBoxes()(logits[:, 2:], deltas[:, 2:], proposals), candidates, rtol=1e-4, atol=1e-5)


def test_frozen_batch_normalisation_learns_nothing_and_stays_frozen_in_a_copy():
    model = tiny("faster_rcnn_r50_fpn", frozen_batch_norm=True)
    for found in (model, keras.models.clone_model(model)):
        norms = [layer for layer in found.layers if isinstance(layer, keras.layers.BatchNormalization)]
        assert len(norms) == 9
        assert not any(layer.trainable_weights for layer in norms)
    before = np.concatenate([weight for layer in norms for weight in layer.get_weights()])
    found(pictures(found), training=True)
    after = np.concatenate([weight for layer in norms for weight in layer.get_weights()])
    np.testing.assert_array_equal(after, before)
    learning = tiny("faster_rcnn_r50_fpn", frozen_batch_norm=False)
    assert len(learning.trainable_weights) == len(model.trainable_weights) + 2 * 9


class Training:
    """Steps of gradient descent on one batch, as a recipe makes them."""

    def __init__(self, model, x):
        self.model, self.x = model, x
        self.heads = zoo.features(model, ["rpn_objectness", "rpn_deltas", "proposals", "fpn_level2", "fpn_level3"])
        self.seed = keras.random.SeedGenerator(0)
        self.optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.005, STEPS))
        self.optimizer.build(model.trainable_variables)

    def gradients(self):
        """Loss, and the gradient of every trainable weight."""
        anchors, head = self.model.get_layer("proposals").anchors, self.model.get_layer("roi_head")
        truth = {"boxes": TRUTH, "labels": LABELS, "seed": self.seed}
        with tf.GradientTape() as tape:
            objectness, deltas, proposals, *maps = self.heads(self.x, training=True)
            rois, classes, targets = matching.sample_proposals(proposals, **truth, count=12)
            parts = [
                *detection_losses.rpn_losses(objectness, deltas, anchors, **truth, count=32).values(),
                *detection_losses.roi_losses(*head([*maps, rois], training=True), classes, targets).values(),
            ]
            loss = tf.reduce_mean(tf.add_n(parts))
        return loss, tape.gradient(loss, [weight.value for weight in self.model.trainable_variables])

    @tf.function(autograph=False)
    def step(self):
        loss, gradients = self.gradients()
        self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))
        return loss


@pytest.mark.slow
def test_it_learns_where_things_are():
    keras.utils.set_random_seed(0)
    model = tiny("faster_rcnn_small")
    x = pictures(model) / 5
    for picture, boxes, labels in zip(x, TRUTH, LABELS, strict=True):  # every class is of one colour
        for (top, left, bottom, right), label in zip((32 * boxes).round().astype(int), labels, strict=True):
            picture[top:bottom, left:right, label] += 0.8
    training = Training(model, x)
    losses = [float(training.step()) for _ in range(STEPS)]
    assert np.mean(losses[-10:]) < losses[0] / 4
    candidates = np.asarray(model(x, training=True))
    for found, boxes, labels in zip(candidates, TRUTH, LABELS, strict=True):
        for box, label in zip(boxes, labels, strict=True):
            if label >= 0:
                best = max(found[:, label], key=lambda candidate: candidate[4])
                assert best[4] > 0.6
                assert iou(best, box) > 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"anchor_sizes": ((8,),)}, r"equally many sizes .* 2 stages.*Received: \(\(8,\),\)"),
        (
            {"anchor_sizes": ((8,), (8, 9))},
            r"equally many sizes for each of the 2 stages.*Received: \(\(8,\), \(8, 9\)",
        ),
        ({"proposals": 0}, "proposals of 'faster_rcnn_small' must be a positive integer. Received: 0"),
    ],
)
def test_illegal_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        tiny("faster_rcnn_small", **arguments)

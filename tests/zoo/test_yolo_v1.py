"""YOLO: what its grid says, what it learns, and the arguments that shape it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.boxes import iou
from zoo import detection_losses
from zoo.architectures.yolo_v1 import FIGURE_3, GridBoxes

NAMES = ("yolo_v1", "yolo_v1_small")
TRUTH = np.float32([[[0.1, 0.2, 0.4, 0.45], [0.55, 0.6, 0.95, 0.9]], [[0.3, 0.1, 0.7, 0.6], [0, 0, 0, 0]]])
LABELS = np.int32([[0, 2], [1, -1]])


def test_a_cells_answer_is_read_as_in_the_paper():
    grid = np.random.default_rng(0).normal(0.4, 0.5, (2, 3, 4, 2 * 5 + 3)).astype(np.float32)
    found = np.asarray(GridBoxes(2)(grid))
    assert found.shape == (2, 3 * 4 * 2, 3, 5)
    for picture, row, column, predictor in np.ndindex(2, 3, 4, 2):
        x, y, root_width, root_height, confidence = grid[picture, row, column, 5 * predictor : 5 * predictor + 5]
        x, y, width, height = (column + x) / 4, (row + y) / 3, root_width**2, root_height**2
        box = np.clip([y - height / 2, x - width / 2, y + height / 2, x + width / 2], 0, 1)
        of_classes = found[picture, (row * 4 + column) * 2 + predictor]
        np.testing.assert_allclose(of_classes[:, :4], [box] * 3, atol=1e-6)
        scores = np.clip(confidence, 0, 1) * np.clip(grid[picture, row, column, 10:], 0, 1)
        np.testing.assert_allclose(of_classes[:, 4], scores, atol=1e-6)


def test_the_grid_is_that_of_the_paper():
    convolutions = [entry for stage in FIGURE_3 for entry in stage if entry != "pool"]
    assert len(convolutions) == 24
    stride = np.prod([entry[2] if len(entry) == 3 else 1 for entry in convolutions])
    assert stride * 2 ** sum(stage.count("pool") for stage in FIGURE_3) == 448 // 7
    model = zoo.build("yolo_v1", **{**zoo.spec("yolo_v1").tiny, "num_classes": 20})
    assert model.get_layer("logits").output.shape[1:] == (4, 4, 30)


@pytest.mark.parametrize(("size", "grid"), [((128, 128), (8, 8)), ((100, 130), (7, 9)), ((16, 17), (1, 2))])
def test_a_cell_of_the_small_one_is_16_pixels_large(size, grid):
    model = zoo.build("yolo_v1_small", input_shape=(*size, 3), num_classes=4)
    assert model.get_layer("logits").output.shape[1:] == (*grid, 14)


def train(model, pictures, steps):
    """Gradients of the first step, by path of the weight; and the losses."""
    heads = zoo.features(model, "logits")
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(detection_losses.yolo_v1_loss(heads(pictures, training=True), TRUTH, LABELS))
        gradients = tape.gradient(loss, [weight.value for weight in model.trainable_variables])
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, gradients

    results = [step() for _ in range(steps)]
    paths = [weight.path for weight in model.trainable_variables]
    return dict(zip(paths, results[0][1], strict=True)), [float(loss) for loss, _ in results]


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_where_things_are(name):
    keras.utils.set_random_seed(0)
    model = zoo.build(name, **zoo.spec(name).tiny)
    pictures = np.random.default_rng(1).random((2, *model.input_shape[1:]), np.float32)
    gradients, losses = train(model, pictures, 80)
    assert [path for path, gradient in gradients.items() if gradient is None or not np.any(gradient)] == []
    assert losses[-1] < losses[0] / 20
    candidates = np.asarray(zoo.features(model, "candidates")(pictures, training=name == "yolo_v1_small"))
    for found, boxes, labels in zip(candidates, TRUTH, LABELS, strict=True):
        for box, label in zip(boxes, labels, strict=True):
            if label >= 0:
                best = max(found[:, label], key=lambda candidate: candidate[4] if iou(candidate, box) > 0.1 else 0)
                assert best[4] > 0.5
                assert iou(best, box) > 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"boxes_per_cell": 0}, "boxes_per_cell of 'yolo_v1_small' must be a positive integer. Received: 0"),
        ({"stages": ()}, r"must each hold at least one layer\. Received: \(\)"),
        ({"stages": (((3, 4),), ())}, r"must each hold at least one layer\. Received: \(\(\(3, 4\),\), \(\)\)"),
    ],
)
def test_illegal_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        zoo.build("yolo_v1_small", **arguments)

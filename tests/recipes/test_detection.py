"""Object detection: what is answered, COCO's figures, and what a user can ask of its recipe."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import recipes
import zoo
from recipes.answers import DetectionAnswer
from recipes.average_precision import average_precision
from recipes.data.annotations import NO_BOX, padded
from recipes.tasks.object_detection import mirrored

RNG = np.random.default_rng(0)


def candidates(*listed, classes=2):
    """Of one picture: box, class and score of each."""
    found = np.zeros((1, len(listed), classes, 5), np.float32)
    for i, (box, label, score) in enumerate(listed):
        found[0, i, :, :4] = box
        found[0, i, label, 4] = score
    return found


def test_of_boxes_that_overlap_the_likelier_one_is_answered():
    answer = DetectionAnswer(("ant", "bee"), score_threshold=0.1)
    found = candidates(
        ((0.1, 0.1, 0.5, 0.5), 0, 0.6),
        ((0.1, 0.1, 0.5, 0.48), 0, 0.8),
        ((0.1, 0.1, 0.5, 0.5), 1, 0.7),
        ((0.6, 0.6, 0.9, 0.9), 0, 0.3),
        ((0.0, 0.6, 0.2, 0.9), 0, 0.05),
    )
    both = np.concatenate([found, np.zeros_like(found)])
    given = {k: v.numpy() for k, v in answer.of_sizes(both, tf.constant([[100, 200], [7, 9]])).items()}
    np.testing.assert_allclose(given["scores"], [[0.8, 0.7, 0.3], [0, 0, 0]])
    np.testing.assert_array_equal(given["class_ids"], [[0, 1, 0], [0, 0, 0]])
    assert given["classes"].tolist() == [[b"ant", b"bee", b"ant"], [b"", b"", b""]]
    np.testing.assert_allclose(given["boxes"][0, 0], [10, 20, 50, 96], rtol=1e-6)
    assert not given["boxes"][1].any()


def test_nothing_is_answered_to_no_pictures():
    answer = DetectionAnswer(("ant", "bee"))
    given = answer(np.zeros((0, 3, 2, 5), np.float32), np.zeros((0, 8, 8, 3), np.float32))
    assert {name: value.shape[:1] for name, value in given.items()} == dict.fromkeys(given, (0,))


def truth_of(*rows):
    return padded([np.array(rows, np.float32).reshape(-1, 6)], max(len(rows), 1))[0]


def answers_of(*found):
    boxes, scores, labels = zip(*found, strict=True) if found else ([(0,) * 4], [0.0], [0])
    return {"boxes": np.array([boxes], float), "scores": np.array([scores]), "class_ids": np.array([labels])}


SIZE = np.array([[100, 100]])
HALF = (0.1, 0.1, 0.6, 0.6, 0, 0)


def test_average_precision_of_right_and_wrong_answers():
    truth = [truth_of(HALF, (0.7, 0.7, 0.9, 0.9, 1, 0))]
    right = answers_of(((10, 10, 60, 60), 0.9, 0), ((70, 70, 90, 90), 0.8, 1))
    found = average_precision(truth, right, SIZE, 2)
    assert [found[name] for name in ("ap", "ap50", "ar100")] == pytest.approx([1, 1, 1])
    assert "ap_large" not in found  # there is no such object
    swapped = answers_of(((10, 10, 60, 60), 0.9, 1), ((70, 70, 90, 90), 0.8, 0))
    assert average_precision(truth, swapped, SIZE, 2)["ap"] == 0
    # 50 x 41 of 50 x 50: an intersection over union of 0.82, which counts at 0.5 to 0.8: 7 of 10 thresholds.
    cut = answers_of(((10, 10, 60, 51), 0.9, 0))
    assert average_precision([truth_of(HALF)], cut, SIZE, 1) == pytest.approx(
        {"ap": 0.7, "ap50": 1, "ap75": 1, "ap_medium": 0.7, "ar100": 0.7}
    )


def test_a_wrong_answer_that_is_likelier_costs_and_one_on_a_crowd_does_not():
    wrong = answers_of(((70, 70, 90, 90), 0.95, 0), ((10, 10, 60, 60), 0.9, 0))
    assert average_precision([truth_of(HALF)], wrong, SIZE, 1)["ap50"] == pytest.approx(0.5, abs=0.01)
    crowd = [truth_of(HALF, (0.65, 0.65, 1, 1, 0, 1))]
    assert average_precision(crowd, wrong, SIZE, 1)["ap50"] == pytest.approx(1)


def test_without_any_answer_it_is_0():
    assert average_precision([truth_of(HALF)], answers_of(), SIZE, 1)["ap"] == 0


def test_boxes_are_mirrored_and_padding_is_not():
    rows = np.float32([[(0.1, 0.2, 0.4, 0.5, 3, 0), NO_BOX]])
    np.testing.assert_allclose(mirrored(rows), [[(0.1, 0.5, 0.4, 0.8, 3, 0), NO_BOX]], rtol=1e-6)


def scenes(count=24, size=(32, 32)):
    """Dark pictures with none to two bright squares of three colours."""
    x, y = RNG.integers(0, 60, (count, *size, 3)), []
    for i, picture in enumerate(x):
        boxes, labels = [], []
        for _ in range(i % 3):
            label, side = int(RNG.integers(3)), int(RNG.integers(12, 16))
            top, left = (int(RNG.integers(0, length - side)) for length in size)
            picture[top : top + side, left : left + side, label] = 220
            boxes.append([top / size[0], left / size[1], (top + side) / size[0], (left + side) / size[1]])
            labels.append(label)
        y.append({"bbox": np.reshape(boxes, (-1, 4)), "label": np.array(labels, int)})
    return x.astype(np.uint8), y


SCENES = scenes()
TINY = {k: v for k, v in zoo.spec("yolo_v1_small").tiny.items() if k not in ("input_shape", "num_classes")}


def train(tmp_path, model="yolo_v1_small", data=SCENES, **options):
    arguments = {"epochs": 2, "batch_size": 8, "verbose": False, "run_dir": str(tmp_path / "run"), "test": 0.3}
    if isinstance(model, str):
        arguments["model_args"] = TINY
    return recipes.object_detection(model, data, **{**arguments, **options})


def test_a_run_has_the_parts_of_its_loss_its_boxes_and_its_picture(tmp_path, drawing, caplog):
    with drawing():
        run = train(tmp_path, augment="flip,contrast", score_threshold=0.01)
    assert "could not be drawn" not in caplog.text
    assert {"position", "size", "confidence", "no_object", "classes", "val_loss"} <= set(run.history)
    parts = run.history[["position", "size", "confidence", "no_object", "classes"]].sum(axis=1)
    np.testing.assert_allclose(run.history["loss"], parts, rtol=1e-4)
    assert (run.dir / "predictions.png").exists()
    again = recipes.load_run(run.dir)
    truth = [json.loads(text) for text in again.examples.truth]
    assert {tuple(one) for listed in truth for one in listed} == {("label", "box")}
    answer = again.bundle.predict({"image_bytes": again.examples.raw["image_bytes"]})
    assert answer["boxes"].shape == (*answer["scores"].shape, 4)
    assert recipes.evaluate(run, SCENES) == pytest.approx(run.metrics)


def test_detectors_that_are_built_are_trained_in_place_and_others_refused(tmp_path):
    model = zoo.build("yolo_v1_small", **{**zoo.spec("yolo_v1_small").tiny})
    before = model.get_weights()
    train(tmp_path, model, epochs=1)
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Dense(15, name="logits")(keras.layers.Flatten()(image))
    other = keras.Model(image, keras.layers.Reshape((1, 3, 5))(x), name="other")
    with pytest.raises(ValueError, match=r"'other' is no detector that can be trained\. Accepted: faster_rcnn"):
        train(tmp_path, other, run_dir=str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"gives \(.*, 5, 5\) per picture, but 'arrays' has 3 classes"):
        train(tmp_path, zoo.build("yolo_v1_small", **{**zoo.spec("yolo_v1_small").tiny, "num_classes": 5}), run_dir="x")


def test_pictures_without_boxes_are_learned_from(tmp_path):
    x, y = SCENES
    run = train(tmp_path, data=(x, [{"bbox": [], "label": []}] * 20 + y[20:]), epochs=1, validation=0, test=0)
    assert np.isfinite(run.history["loss"]).all()

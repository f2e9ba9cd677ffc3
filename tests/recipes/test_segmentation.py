"""Semantic segmentation: its loss and figures against slow statements, and what a user can ask of its recipe."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

import recipes
from recipes import pixels
from recipes.data.annotations import VOID
from recipes.pixels import PixelAccuracy, PixelLoss

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 3, (2, 4, 5))
IDS[0, 0, :3] = VOID
LOGITS = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)


def probabilities(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def cross_entropy(ids, logits, weights):
    losses = []
    for of_ids, of_logits in zip(ids, probabilities(logits), strict=True):
        total = weight = 0.0
        for place in np.ndindex(of_ids.shape):
            if of_ids[place] != VOID:
                total -= weights[of_ids[place]] * np.log(of_logits[place][of_ids[place]])
                weight += weights[of_ids[place]]
        losses.append(total / weight)
    return losses


def dice(ids, logits):
    losses = []
    for of_ids, p in zip(ids, probabilities(logits), strict=True):
        judged, of_classes = of_ids != VOID, []
        for label in range(3):
            t = of_ids == label
            both = p[judged, label][t[judged]].sum()
            of_classes.append((2 * both + 1) / (p[judged, label].sum() + t.sum() + 1))
        losses.append(1 - np.mean(of_classes))
    return losses


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0]])
def test_cross_entropy_is_that_of_the_judged_pixels(weights):
    loss = PixelLoss("cross_entropy", weights).call(IDS.astype(np.uint8), LOGITS)
    np.testing.assert_allclose(loss, cross_entropy(IDS, LOGITS, weights or [1, 1, 1]), rtol=1e-5)


def test_dice_is_that_of_the_classes_and_both_add_up():
    np.testing.assert_allclose(PixelLoss("dice").call(IDS.astype(np.uint8), LOGITS), dice(IDS, LOGITS), rtol=1e-5)
    both = PixelLoss("cross_entropy_dice").call(IDS.astype(np.uint8), LOGITS)
    np.testing.assert_allclose(both, np.add(cross_entropy(IDS, LOGITS, [1, 1, 1]), dice(IDS, LOGITS)), rtol=1e-5)


def test_a_picture_that_nobody_judges_has_a_loss():
    nothing = np.full((1, 4, 5), VOID, np.uint8)
    for kind in ("cross_entropy", "dice", "cross_entropy_dice"):
        assert np.isfinite(PixelLoss(kind).call(nothing, LOGITS[:1])).all()


def test_accuracy_counts_judged_pixels():
    metric = PixelAccuracy()
    metric.update_state(IDS.astype(np.uint8), LOGITS)
    judged = IDS != VOID
    assert float(metric.result()) == pytest.approx((LOGITS.argmax(-1) == IDS)[judged].mean())


def test_figures_are_those_of_the_papers():
    truth, answer = np.array([[0, 0, 1], [1, 2, VOID]]), np.array([[0, 1, 1], [1, 0, 2]])
    counts = pixels.confusion(truth, answer, 4)
    assert counts.sum() == 5
    found = pixels.figures(counts, ("sky", "tree", "cat", "dog"))
    assert found == pytest.approx(
        {"mean_iou": (1 / 3 + 2 / 3 + 0) / 3, "accuracy": 3 / 5, "iou_sky": 1 / 3, "iou_tree": 2 / 3, "iou_cat": 0.0}
    )


def squares(count=24, size=(21, 26)):
    """Noise with a red and a green square."""
    x, y = RNG.integers(0, 80, (count, *size, 3)), np.zeros((count, *size), np.int64)
    for picture, mask in zip(x, y, strict=True):
        for label in (1, 2):
            top, left = (RNG.integers(0, side - 8) for side in size)
            mask[top : top + 8, left : left + 8] = label
        picture += (mask == 1)[..., None] * np.array([150, 0, 0]) + (mask == 2)[..., None] * np.array([0, 150, 0])
    return x.astype(np.uint8), y


SQUARES = squares()


def small_network():
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    return keras.Model(image, layers.Conv2D(3, 1, name="logits")(x), name="small")


def train(tmp_path, model=None, data=SQUARES, **options):
    arguments = {
        "epochs": 12,
        "learning_rate": 0.03,
        "batch_size": 8,
        "verbose": False,
        "run_dir": str(tmp_path / "run"),
    }
    return recipes.semantic_segmentation(model or small_network(), data, **{**arguments, **options})


@pytest.mark.slow
def test_any_network_that_answers_every_pixel_learns(tmp_path, drawing):
    with drawing():
        run = train(tmp_path, augment="flip,contrast", class_weights="balanced", loss="cross_entropy_dice")
    assert run.metrics["mean_iou"] > 0.6
    assert set(run.metrics) == {"mean_iou", "accuracy", "iou_0", "iou_1", "iou_2"}
    assert {"mean_iou", "val_mean_iou", "accuracy"} <= set(run.history)
    assert recipes.evaluate(run, SQUARES) == pytest.approx(run.metrics)
    assert Image.open(run.dir / "predictions.png").size[0] > 500
    again = recipes.load_run(run.dir).examples
    truth = np.asarray(Image.open(io.BytesIO(again.truth[0])))
    number = [
        (pixels == np.asarray(Image.open(io.BytesIO(again.raw["image_bytes"][0])))).all() for pixels in SQUARES[0]
    ]
    np.testing.assert_array_equal(truth, SQUARES[1][np.argmax(number)])


def test_masks_are_flipped_with_their_pictures():
    from recipes.augmentation import AnnotatedAugmentation
    from recipes.preprocessing import ImagePreprocessing

    x, y = SQUARES[0].astype(np.float32) / 255, SQUARES[1].astype(np.uint8)
    change = AnnotatedAugmentation(("flip",), 0, ImagePreprocessing(21, 26, 3), lambda masks: masks[:, :, ::-1])
    pictures, masks = change(tf.constant(x), tf.constant(y), 0)
    flipped = [not np.array_equal(one, other) for one, other in zip(pictures, x, strict=True)]
    assert 4 < sum(flipped) < 20
    for i, turned in enumerate(flipped):
        np.testing.assert_array_equal(pictures[i], x[i, :, ::-1] if turned else x[i])
        np.testing.assert_array_equal(masks[i], y[i, :, ::-1] if turned else y[i])


def test_training_and_evaluation_may_have_other_sizes_than_the_pictures(tmp_path):
    run = train(tmp_path, image_size=(16, 20), epochs=1)
    assert run.bundle.preprocessing.shape == (16, 20, 3)
    answer = run.bundle.predict({"image_bytes": run.examples.raw["image_bytes"]})
    assert (answer["size"] == [21, 26]).all()
    assert answer["class_ids"].shape == (len(run.examples), 21 * 26)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"class_weights": {0: 1.0}}, "for every class, by name or id: 0, 1, 2"),
        ({"loss": "dicee"}, "Did you mean 'dice'"),
        ({"augment": "rotate"}, "Unknown augment 'rotate'"),
        ({"monitor": "iou"}, "Unknown monitor 'iou'"),
    ],
)
def test_bad_options_are_named(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        train(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_a_network_of_other_classes_or_sizes_is_refused(tmp_path):
    image = keras.Input((21, 26, 3), name="image")
    halved = keras.Model(image, layers.Conv2D(3, 2, 2, name="logits")(image), name="halved")
    with pytest.raises(ValueError, match=r"'halved' gives \(10, 13, 3\).*Accepted: logits \(21, 26, 3\)"):
        train(tmp_path, halved)

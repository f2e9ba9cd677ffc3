"""What all detectors have in common: their answer, in every size, dtype and form that a network comes in."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import boxes as bx

NAMES = ("faster_rcnn_r50_fpn", "faster_rcnn_small", "yolo_v1", "yolo_v1_small")


def tiny(name, **arguments):
    return zoo.build(name, **{**zoo.spec(name).tiny, **arguments})


def pictures(model, batch=2):
    return np.random.default_rng(0).random((batch, *model.input_shape[1:]), np.float32)


def loud(model):
    """The model with large weights in its heads, so that its answers differ from one another."""
    rng = np.random.default_rng(3)
    for weight in model.weights:
        if any(part in weight.path for part in ("logits", "rpn_conv_", "box_deltas")):
            weight.assign(rng.normal(size=weight.shape) * 0.15)
    return model


@pytest.fixture(scope="module")
def models():
    """Every detector at its tiny size. Not to be changed."""
    keras.utils.set_random_seed(0)
    return {name: loud(tiny(name)) for name in NAMES}


def test_all_of_them_are_tested():
    assert tuple(zoo.list_models(task="object-detection")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_boxes_in_the_picture_with_their_scores(models, name):
    candidates = np.asarray(models[name](pictures(models[name]), training=False))
    assert candidates.dtype == np.float32
    assert candidates.shape == (2, *models[name].output_shape[1:])
    assert candidates.shape[2:] == (3, 5)
    assert candidates.min() >= 0
    assert candidates.max() <= 1
    y_min, x_min, y_max, x_max, score = np.moveaxis(candidates, -1, 0)
    assert (y_min <= y_max).all()
    assert (x_min <= x_max).all()
    assert len(np.unique(score)) > 4


@pytest.mark.parametrize("name", NAMES)
def test_other_channels_sizes_and_classes(name):
    height, width = zoo.spec(name).tiny["input_shape"][:2]
    for channels in (1, 4):
        model = tiny(name, input_shape=(height + 5, width + 9, channels), num_classes=2)
        assert model(pictures(model, 1)).shape == (1, *model.output_shape[1:-2], 2, 5)


@pytest.mark.parametrize("name", NAMES)
def test_the_least_size_is_named(name):
    size = zoo.spec(name).min_size
    model = tiny(name, input_shape=(size, size, 3))
    assert model(pictures(model, 1)).shape[0] == 1
    with pytest.raises(ValueError, match=f"at least {size}x{size} pixels"):
        tiny(name, input_shape=(size, size - 1, 3))


@pytest.mark.parametrize("name", NAMES)
def test_without_its_top_it_gives_the_last_stage(models, name):
    backbone, last = tiny(name, include_top=False), list(zoo.stages(models[name]))[-1]
    whole = zoo.features(models[name], last)
    backbone.set_weights(whole.get_weights())
    x = pictures(backbone)
    np.testing.assert_allclose(backbone(x), whole(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["faster_rcnn_small", "yolo_v1"])
def test_it_can_be_traced_for_any_number_of_pictures_and_made_anew(models, name, tmp_path):
    model = models[name]
    model.save(tmp_path / "model.keras")
    again, cloned = keras.models.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)
    cloned.set_weights(model.get_weights())
    traced = tf.function(
        lambda x: model(x, training=False), input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))]
    )
    x = pictures(model, 3)
    expected = np.asarray(model(x))
    for answer in (traced(x), again(x), cloned(x)):
        np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(traced(x[:1]), expected[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["faster_rcnn_small", "yolo_v1_small"])
def test_in_16_bits_its_boxes_have_32(models, name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = tiny(name)
    finally:
        keras.config.set_dtype_policy(before)
    half.set_weights(models[name].get_weights())
    x = pictures(half)
    outputs = zoo.features(half, ["stage1", "candidates"])(x)
    assert [keras.backend.standardize_dtype(tensor.dtype) for tensor in outputs] == ["bfloat16", "float32"]
    boxes = outputs[1][..., :4]
    assert (tf.cast(tf.cast(boxes, tf.bfloat16), tf.float32) != boxes).numpy().mean() > 0.3
    if name == "yolo_v1_small":
        np.testing.assert_allclose(outputs[1], models[name](x), atol=0.1)
    else:  # every proposal of one is found among the other's, but for few
        proposals = [zoo.features(model, "proposals")(x) for model in (half, models[name])]
        assert np.median(np.max(bx.intersection_over_union(*proposals), axis=-1)) > 0.8


@pytest.mark.parametrize("name", ["faster_rcnn_small", "yolo_v1_small"])
def test_weights_go_over_to_another_model_and_without_their_head_to_other_classes(models, name, tmp_path):
    model = models[name]
    model.save(tmp_path / "model.keras")
    same = tiny(name)
    zoo.load_weights(same, name, tmp_path / "model.keras")
    np.testing.assert_array_equal(same(pictures(model)), model(pictures(model)))
    other = tiny(name, num_classes=5)
    with pytest.warns(UserWarning, match="does not fit .*, which keeps its fresh weights"):
        zoo.load_weights(other, name, tmp_path / "model.keras")
    last = list(zoo.stages(model))[-1]
    ours, theirs = (zoo.features(m, last)(pictures(model)) for m in (other, model))
    np.testing.assert_array_equal(ours, theirs)

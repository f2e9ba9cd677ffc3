"""Style transfer: a picture of any size in, one of the same size out, in legal pixels that can be learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.architectures.style_transfer import TwiceAsLarge
from zoo.layers import ReflectionPadding2D

TINY = dict(zoo.spec("style_transfer").tiny)
OPEN = {**TINY, "input_shape": (None, None, 3)}


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return zoo.build("style_transfer", **OPEN)


def test_it_is_the_networks_of_the_reference_by_default():
    whole = zoo.build("style_transfer")
    assert whole.count_params() == 1_679_235
    assert whole.input_shape == whole.output_shape == (None, None, None, 3)
    kernels = [layer.kernel_size[0] for layer in whole.layers if isinstance(layer, keras.layers.Conv2D)]
    assert kernels == [9, *[3] * 14, 9]
    borders = [layer.padding for layer in whole.layers if isinstance(layer, ReflectionPadding2D)]
    assert borders == [k // 2 for k in kernels]
    assert list(zoo.stages(whole).values()) == [(None, None, n) for n in (32, 64, 128, 128, 64, 32)]


@pytest.mark.parametrize("size", [(5, 5), (16, 16), (6, 9), (21, 7), (11, 32)])
def test_the_answer_has_the_size_of_the_picture_and_legal_pixels(model, size):
    picture = pictures(2, *size, 3)
    answer = np.asarray(model(picture))
    assert answer.shape == picture.shape
    assert 0 <= answer.min() < answer.max() <= 1
    of_one_size = zoo.build("style_transfer", **{**TINY, "input_shape": (*size, 3)})
    assert of_one_size.output_shape == (None, *size, 3)
    of_one_size.set_weights(model.get_weights())
    np.testing.assert_allclose(of_one_size(picture), answer, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_as_many_channels_come_out_as_go_in(channels):
    network = zoo.build("style_transfer", **{**TINY, "input_shape": (None, 7, channels)})
    assert network(pictures(1, 6, 7, channels)).shape == (1, 6, 7, channels)


def test_too_small_a_picture_says_so():
    with pytest.raises(ValueError, match="at least 5x5 pixels"):
        zoo.build("style_transfer", **{**TINY, "input_shape": (4, None, 3)})


@pytest.mark.parametrize("wrong", [{"width": 0}, {"blocks": 0}])
def test_illegal_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match=r"of 'style_transfer' must be a positive integer. Received: 0"):
        zoo.build("style_transfer", **{**TINY, **wrong})


def test_what_is_made_larger_repeats_the_nearest_pixel_and_is_cut_to_the_other_maps():
    maps = pictures(2, 3, 2, 4)
    larger = TwiceAsLarge()(maps, np.zeros((2, 5, 4, 1), np.float32))
    expected = np.array([[[maps[b, i // 2, j // 2] for j in range(4)] for i in range(5)] for b in range(2)])
    np.testing.assert_array_equal(larger, expected)


def test_the_contrast_of_a_picture_makes_no_difference(model):
    picture = pictures(1, 16, 16, 3)
    np.testing.assert_allclose(model(picture * 0.4 + 0.3), model(picture), atol=0.01)


def test_a_constant_picture_has_no_border_in_the_answer(model):
    answer = np.asarray(model(np.full((1, 17, 14, 3), 0.3, np.float32)))
    np.testing.assert_allclose(answer, np.broadcast_to(answer[:, :1, :1], answer.shape), atol=1e-3)


def test_few_pixels_begin_where_the_tanh_is_flat(model):
    answer = np.asarray(model(pictures(2, 32, 32, 3)))
    assert np.mean(4 * answer * (1 - answer)) > 0.4  # the derivative, relative to that of the middle


def test_without_its_top_it_gives_the_last_stage(model):
    backbone = zoo.build("style_transfer", **OPEN, include_top=False)
    until_last_stage = zoo.features(model, "stage6")
    backbone.set_weights(until_last_stage.get_weights())
    picture = pictures(1, 9, 10, 3)
    np.testing.assert_array_equal(backbone(picture), until_last_stage(picture))
    assert backbone.output_shape == (None, None, None, 4)


def test_it_survives_saving_and_becomes_a_graph_for_every_size(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def answer(image):
        traces.append(image)
        return again(image, training=False)

    for size in [(8, 8), (7, 13)]:
        picture = pictures(2, *size, 3)
        np.testing.assert_allclose(answer(picture), model(picture), rtol=1e-4, atol=1e-5)
    assert len(traces) == 1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_in_half_precision_it_gives_float32(model, policy):
    with_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        half = zoo.build("style_transfer", **OPEN)
    finally:
        keras.config.set_dtype_policy(with_policy)
    half.set_weights(model.get_weights())
    picture = pictures(1, 12, 12, 3)
    answer = half(picture)
    assert answer.dtype == "float32"
    np.testing.assert_allclose(answer, model(picture), atol=0.15)


def test_everything_but_what_normalisation_takes_out_again_learns(model):
    picture = pictures(2, 16, 16, 3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(picture, training=True) - picture) ** 2)
    weights = model.trainable_weights
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    still = {w.path for w, gradient in zip(weights, gradients, strict=True) if np.abs(gradient).max() < 1e-5}
    biases = {w.path for w in weights if w.path.endswith("_conv/bias")}
    assert biases <= still <= biases | {"stage4_block1_b_norm/beta"}  # a shift, which the norm of stage 5 takes out

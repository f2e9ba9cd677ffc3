"""Perceptual losses against their definitions, and what the network that they look through sees."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import zoo
from zoo.perceptual import content_loss, gram_matrix, loss_network, style_loss, total_variation
from zoo.weights import CAFFE, TORCH

NARROW = {"depths": (2, 2, 3, 3, 1), "widths": (4, 5, 6, 7, 8)}


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def gram_by_hand(maps):
    batch, height, width, channels = maps.shape
    gram = np.zeros((batch, channels, channels))
    for b, i, j in np.ndindex(batch, channels, channels):
        gram[b, i, j] = sum(maps[b, k, m, i] * maps[b, k, m, j] for k, m in np.ndindex(height, width))
    return gram / (height * width * channels)


def test_the_gram_matrix_is_johnsons():
    maps = numbers(2, 3, 5, 4)
    np.testing.assert_allclose(gram_matrix(maps), gram_by_hand(maps), rtol=1e-4, atol=1e-6)


def test_the_gram_matrix_knows_no_places_and_no_size():
    maps = numbers(1, 4, 6, 3)
    elsewhere = np.random.default_rng(0).permutation(maps.reshape(1, 24, 3), axis=1).reshape(1, 8, 3, 3)
    np.testing.assert_allclose(gram_matrix(elsewhere), gram_matrix(maps), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gram_matrix(np.tile(maps, (1, 2, 3, 1))), gram_matrix(maps), rtol=1e-4, atol=1e-6)


def test_content_and_style_losses_are_johnsons():
    maps, target, style = numbers(2, 3, 5, 4), numbers(2, 3, 5, 4, seed=1), numbers(1, 7, 2, 4, seed=2)
    by_hand = [np.sum((maps[b].astype(float) - target[b]) ** 2) / (3 * 5 * 4) for b in range(2)]
    np.testing.assert_allclose(content_loss(maps, target), by_hand, rtol=1e-5)
    difference = gram_by_hand(maps) - gram_by_hand(style)
    by_hand = [np.linalg.norm(difference[b], "fro") ** 2 for b in range(2)]
    np.testing.assert_allclose(style_loss(maps, gram_matrix(style)), by_hand, rtol=1e-4)


def test_one_target_serves_all_examples():
    maps, target = numbers(3, 2, 2, 4), numbers(1, 2, 2, 4, seed=1)
    np.testing.assert_allclose(content_loss(maps, target), content_loss(maps, np.repeat(target, 3, 0)))


def test_total_variation_sums_squared_steps():
    x = pictures(2, 4, 3, 3)
    by_hand = np.zeros(2)
    for b, i, j, c in np.ndindex(x.shape):
        by_hand[b] += (x[b, i + 1, j, c] - x[b, i, j, c]) ** 2 if i < 3 else 0
        by_hand[b] += (x[b, i, j + 1, c] - x[b, i, j, c]) ** 2 if j < 2 else 0
    np.testing.assert_allclose(total_variation(x), by_hand / (4 * 3 * 3), rtol=1e-5)
    np.testing.assert_array_equal(total_variation(np.full((1, 5, 5, 3), 0.3, np.float32)), [0])


def test_half_precision_is_summed_in_float32():
    maps = ops.cast(numbers(1, 16, 16, 4) * 300, "float16")  # squares beyond the range of float16
    of_single = ops.cast(maps, "float32")
    gram = gram_matrix(of_single)
    for loss, argument in [(content_loss, of_single * 2), (style_loss, gram * 2), (lambda x, _: total_variation(x), 0)]:
        assert loss(maps, argument).dtype == "float32"
        np.testing.assert_array_equal(loss(maps, argument), loss(of_single, argument))


def test_losses_take_open_sizes_in_a_graph():
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def losses(x):
        return style_loss(x, gram_matrix(x[:1])), content_loss(x, x[:1]), total_variation(x)

    x = numbers(2, 4, 5, 3)
    expected = style_loss(x, gram_matrix(x[:1])), content_loss(x, x[:1]), total_variation(x)
    for ours, theirs in zip(losses(x), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return loss_network(**NARROW)


def test_it_answers_with_the_layers_of_johnson(network):
    convolutions = [layer.name for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    answering = ["stage1_block2_conv", "stage2_block2_conv", "stage3_block3_conv", "stage4_block3_conv"]
    assert [name for name in convolutions if name in answering] == answering
    assert convolutions[-1] == answering[-1], "nothing is computed behind the last of them"
    maps = network(pictures(2, 21, 40, 3))
    assert [tuple(m.shape) for m in maps] == [(2, 21, 40, 4), (2, 10, 20, 5), (2, 5, 10, 6), (2, 2, 5, 7)]
    assert all(np.min(m) == 0 < np.max(m) for m in maps), "after their ReLU"


def test_it_is_frozen_and_lets_gradients_through(network):
    assert network.trainable_weights == []
    image = tf.constant(pictures(1, 16, 16, 3))
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = tf.reduce_sum(network(image, training=True)[-1])
    assert np.any(tape.gradient(loss, image), axis=-1).all()


def test_the_number_of_stages_and_layers_is_the_callers():
    of_two = loss_network("vgg11", depths=(1, 2), widths=(4, 6))
    assert [x.shape for x in of_two.outputs] == [(None, None, None, 4), (None, None, None, 6)]
    pools = loss_network(**NARROW, layer_names=["stage2", "stage1"])
    assert [x.shape[-1] for x in pools.outputs] == [5, 4]
    with pytest.raises(ValueError, match="Did you mean 'stage1_block2_conv'"):
        loss_network(**NARROW, layer_names=["stage1_block2_con"])


def test_other_networks_serve_with_layers_that_are_named():
    tiny = {k: v for k, v in zoo.spec("resnet20").tiny.items() if k not in ("input_shape", "num_classes")}
    residual = loss_network("resnet20", layer_names="stage2", **tiny)
    fixed = zoo.features(zoo.build("resnet20", input_shape=(19, 32, 3), **tiny), "stage2")
    fixed.set_weights(residual.get_weights())
    x = pictures(1, 19, 32, 3)
    np.testing.assert_allclose(residual(x), fixed(x * 2 - 1), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"'resnet20' is no VGG: name the layers"):
        loss_network("resnet20", **tiny)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, lambda x: x * 2 - 1),
        (TORCH, lambda x: (x - TORCH["mean"]) / TORCH["std"]),
        (CAFFE, lambda x: x * 255 - CAFFE["mean"]),
        ({"scale": 1 / 255}, lambda x: x),
    ],
)
def test_pixels_are_what_the_weights_want(given, wanted):
    network = loss_network(**NARROW, pixels=given)
    x = pictures(1, 8, 9, 3)
    kernel, bias = (np.asarray(w) for w in network.get_layer("stage1_block1_conv").weights)
    first = zoo.features(network, "stage1_block1_conv")(x)
    expected = np.maximum(tf.nn.conv2d(wanted(x).astype(np.float32), kernel, 1, "SAME") + bias, 0)
    np.testing.assert_allclose(first, expected, rtol=1e-4, atol=1e-4)


def test_grey_is_seen_as_a_colour_and_alpha_is_not_seen(network):
    weights = network.get_weights()
    x = pictures(1, 9, 8, 1)
    grey, transparent = (loss_network(**NARROW, channels=n) for n in (1, 4))
    grey.set_weights(weights)
    transparent.set_weights(weights)
    colours = np.repeat(x, 3, axis=-1)
    for ours, theirs in zip(grey(x), network(colours), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(transparent(np.concatenate([colours, x], -1)), network(colours), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"Received: 2. Accepted: \(1, 3, 4\)"):
        loss_network(**NARROW, channels=2)


def test_published_weights_see_what_they_were_trained_on(monkeypatch):
    """A narrow network in place of the published file: BGR, with the means of Caffe."""
    published = _published_narrow()
    monkeypatch.setattr(keras.applications, "VGG16", lambda weights, include_top: published)
    network = loss_network("vgg16", weights="imagenet", **NARROW)
    x = pictures(1, 16, 16, 3)
    theirs = keras.applications.vgg16.preprocess_input(x * 255)  # to BGR, means taken out
    expected = zoo.features(published, ["block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3"])(theirs)
    for maps, other in zip(network(x), expected, strict=True):
        np.testing.assert_allclose(maps, other, rtol=1e-3, atol=1e-2)


def _published_narrow():
    x = image = keras.Input((None, None, 3))
    for stage, (depth, width) in enumerate(zip(NARROW["depths"], NARROW["widths"], strict=True), 1):
        for i in range(1, depth + 1):
            name = f"block{stage}_conv{i}"
            x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=name)(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{stage}_pool")(x)
    return keras.Model(image, x)


def test_weights_of_a_file_need_what_they_want_said(tmp_path):
    file = tmp_path / "vgg.weights.h5"
    trained = zoo.build("vgg16", **NARROW, include_top=False, input_shape=(32, 32, 3))
    trained.save_weights(file)
    with pytest.raises(ValueError, match=r"not known what pixels .* Accepted: pixels with scale, mean and std"):
        loss_network("vgg16", file, **NARROW)
    network = loss_network("vgg16", file, pixels={"scale": 1 / 255}, **NARROW)
    x = pictures(1, 32, 32, 3)
    np.testing.assert_allclose(network(x)[-1], zoo.features(trained, "stage4_block3_conv")(x), rtol=1e-4, atol=1e-5)


def test_a_network_without_pictures_is_refused():
    with pytest.raises(ValueError, match="'mlp' sees no pictures"):
        loss_network("mlp")

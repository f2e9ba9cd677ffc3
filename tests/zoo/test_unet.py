"""U-Net: its two paths against a slow statement, any size, and the paper's unpadded convolutions."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.weights import arrays_of

ANY = (None, None, 3)


def tiny(**arguments):
    return zoo.build("unet", **{**zoo.spec("unet").tiny, **arguments})


def picture(*shape, count=2):
    return np.random.default_rng(0).random((count, *shape), np.float32)


def with_random_weights(model):
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.3, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def convolution(maps, kernel, bias):
    """3x3, beyond a border of zeros, and ReLU."""
    height, width, _ = maps.shape
    padded = np.pad(maps, ((1, 1), (1, 1), (0, 0)))
    answer = np.empty((height, width, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            answer[i, j] = np.einsum("abm,abmn->n", padded[i : i + 3, j : j + 3], kernel) + bias
    return np.maximum(answer, 0)


def pooled(maps):
    height, width, _ = maps.shape
    return np.array([[maps[i : i + 2, j : j + 2].max((0, 1)) for j in range(0, width, 2)] for i in range(0, height, 2)])


def doubled(maps, kernel, bias):
    height, width, _ = maps.shape
    answer = np.empty((2 * height, 2 * width, kernel.shape[2]))
    for i in range(2 * height):
        for j in range(2 * width):
            answer[i, j] = kernel[i % 2, j % 2] @ maps[i // 2, j // 2] + bias
    return answer


def test_both_paths_are_those_of_figure_1():
    """At sizes that are odd, where pooling rounds up and what is too much is cut off."""
    model = with_random_weights(tiny(input_shape=(17, 19, 3), width=2, dropout=0.5))
    arrays, x = arrays_of(model), picture(17, 19, 3, count=1)

    def stage(maps, i):
        for block in (1, 2):
            maps = convolution(maps, *arrays[f"stage{i}_block{block}_conv"])
        return maps

    first = stage(x[0], 1)
    second = stage(pooled(first), 2)
    maps = stage(pooled(second), 3)
    for i, finer in ((4, second), (5, first)):
        up = doubled(maps, *arrays[f"stage{i}_up"])[: finer.shape[0], : finer.shape[1]]
        maps = stage(np.concatenate([finer, up], axis=-1), i)
    kernel, bias = arrays["logits"]
    expected = maps @ kernel[0, 0] + bias
    np.testing.assert_allclose(model(x)[0], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("depth", [1, 3])
def test_the_answer_has_the_size_of_the_picture(depth):
    any_size = tiny(input_shape=ANY, depth=depth, width=2)
    assert any_size.output_shape == (None, None, None, 3)
    for height, width in [(16, 16), (17, 42)]:
        x = picture(height, width, 3)
        model = tiny(input_shape=x.shape[1:], depth=depth, width=2)
        assert model.output_shape == (None, height, width, 3)
        model.set_weights(any_size.get_weights())
        np.testing.assert_allclose(any_size(x), model(x), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_pictures_of_other_channels(channels):
    assert tiny(input_shape=(None, None, channels), num_classes=5)(picture(17, 16, channels)).shape == (2, 17, 16, 5)


def test_too_small_a_picture_says_so():
    with pytest.raises(ValueError, match=r"at least 16x16 pixels\. Received: \(15, 16, 3\)"):
        tiny(input_shape=(15, 16, 3))


def test_without_padding_sizes_are_those_of_figure_1():
    model = zoo.build("unet", padding="valid", width=1)
    assert [shape[0] for shape in zoo.stages(model).values()] == [568, 280, 136, 64, 28, 52, 100, 196, 388]
    assert model.output_shape == (None, 388, 388, 2)
    cut = [model.get_layer(f"stage{i}_crop").output.shape[1] for i in (6, 7, 8, 9)]
    assert cut == [56, 104, 200, 392]


def test_without_padding_tiles_answer_as_the_whole_picture_does():
    """The overlap-tile strategy of figure 2: what a tile says of its middle does not depend on where it was cut."""
    model = tiny(input_shape=ANY, padding="valid")
    x = picture(68, 60, 3)
    whole, tile = model(x), model(x[:, 16:60, 8:52])
    assert (whole.shape[1:3], tile.shape[1:3]) == ((28, 20), (4, 4))
    np.testing.assert_allclose(tile, whole[:, 16:20, 8:12], atol=1e-5)


def test_without_padding_finer_maps_are_cut_to_their_middle():
    """Kernels that are their own mirror images see a mirrored picture mirrored, if nothing is cut on one side only."""
    model = with_random_weights(tiny(input_shape=(48, 44, 3), padding="valid"))
    mirrored = [(w + w[::-1] + w[:, ::-1] + w[::-1, ::-1]) / 4 if w.ndim == 4 else w for w in model.get_weights()]
    model.set_weights(mirrored)
    x = picture(48, 44, 3)
    expected = np.array(model(x))[:, ::-1, ::-1]
    np.testing.assert_allclose(model(x[:, ::-1, ::-1]), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("size", [(188, 572, 1), (None, 204, 1)])
def test_sizes_that_do_without_padding(size):
    answer = zoo.build("unet", input_shape=size, padding="valid", width=1).output_shape[1:3]
    assert answer == tuple(n and n - 184 for n in size[:2])


@pytest.mark.parametrize("size", [(572, 571, 1), (172, 188, 1), (None, 196, 1)])
def test_sizes_that_need_padding_say_which_do_not(size):
    with pytest.raises(ValueError, match=r"with depth=4 needs sizes .*Received: .*Accepted: 188, 204, 220, …"):
        zoo.build("unet", input_shape=size, padding="valid", width=1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"padding": "reflect"}, r"Received: 'reflect'\. Accepted: 'same' or 'valid'\."),
        ({"depth": 0}, "depth of 'unet' must be a positive integer. Received: 0"),
        ({"width": 2.5}, "width of 'unet' must be a positive integer. Received: 2.5"),
    ],
)
def test_what_is_no_network_says_so(wrong, said):
    with pytest.raises(ValueError, match=said):
        tiny(**wrong)


def test_kernels_begin_by_hes_rule():
    """§3: deviation √(2/N); to a place of the up-convolution comes one number of every map."""
    keras.utils.set_random_seed(0)
    model = tiny(width=24, depth=1, num_classes=40)
    for layer, (kernel, bias) in arrays_of(model).items():
        incoming = kernel.shape[3] if layer.endswith("_up") else math.prod(kernel.shape[:3])
        assert kernel.std() == pytest.approx(math.sqrt(2 / incoming), rel=0.1)
        assert not bias.any()


def test_dropout_follows_the_last_two_levels_of_the_contracting_path():
    model = zoo.build("unet", input_shape=(16, 16, 1), width=2)
    found = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert found == {"stage4_dropout": 0.5, "stage5_dropout": 0.5}
    x = picture(16, 16, 1)
    assert np.any(model(x, training=True) != model(x))


def test_with_batch_normalization_no_weight_is_idle():
    model = tiny(batch_norm=True)
    assert all(
        len(arrays) == (4 if layer.endswith("_bn") else 1)
        for layer, arrays in arrays_of(model).items()
        if "block" in layer
    )
    x = picture(18, 18, 3, count=8)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x, training=True) - 5) ** 2)
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    scale = max(np.abs(gradient).max() for gradient in gradients)
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert np.abs(gradient).max() > 1e-5 * scale, weight.path


def test_every_level_is_a_stage_and_the_head_reads_the_last():
    model, backbone = tiny(dropout=0.5), tiny(dropout=0.5, include_top=False)
    assert list(zoo.stages(model).values()) == [(18, 18, 8), (9, 9, 16), (5, 5, 32), (9, 9, 16), (18, 18, 8)]
    last = zoo.features(model, "stage5")
    backbone.set_weights(last.get_weights())
    x = picture(18, 18, 3)
    np.testing.assert_array_equal(backbone(x), last(x))
    kernel, bias = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(model(x), np.array(last(x)) @ kernel[0, 0] + bias, atol=1e-5)


def test_logits_are_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny(input_shape=ANY)
    finally:
        keras.config.set_dtype_policy(before)
    x = picture(19, 22, 3)
    assert zoo.features(model, "stage5")(x).dtype == "bfloat16"
    assert model(x).dtype == "float32"
    whole = tiny(input_shape=ANY)
    whole.set_weights(model.get_weights())
    np.testing.assert_allclose(model(x), whole(x), atol=0.1 * np.abs(whole(x)).max())


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_file_a_clone_and_a_graph_are_the_same_network(tmp_path, padding):
    model = tiny(input_shape=ANY, padding=padding, width=4)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    serve = tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec((None, *ANY)))
    x = picture(44, 48, 3, count=1)
    for again in (keras.models.load_model(tmp_path / "model.keras"), clone):
        np.testing.assert_array_equal(again(x), model(x))
    for other in (x, picture(52, 44, 3)):
        np.testing.assert_allclose(serve(tf.constant(other)), model(other), atol=1e-5)

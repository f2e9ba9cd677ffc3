"""Fully convolutional networks: any size in, the same size out; scores of several stages; weights of VGG-16."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import vgg16

import zoo
from zoo.architectures.fcn import Bilinear
from zoo.weights import arrays_of

NAMES = ("fcn32s", "fcn16s", "fcn8s")
ANY = (None, None, 3)


def tiny(name, **arguments):
    return zoo.build(name, **{**zoo.spec(name).tiny, **arguments})


def picture(*shape, count=2):
    return np.random.default_rng(0).random((count, *shape), np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_has_the_size_of_the_picture(name):
    any_size = tiny(name, input_shape=ANY)
    assert any_size.output_shape == (None, None, None, 3)
    for height, width in [(32, 32), (33, 47), (71, 40)]:
        x = picture(height, width, 3)
        model = tiny(name, input_shape=x.shape[1:])
        assert model.output_shape == (None, height, width, 3)
        model.set_weights(any_size.get_weights())
        answer = any_size(x)
        assert answer.shape == (2, height, width, 3)
        np.testing.assert_allclose(answer, model(x), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_pictures_of_other_channels(channels):
    x = picture(35, 33, channels)
    assert tiny("fcn8s", input_shape=(None, None, channels), num_classes=5)(x).shape == (2, 35, 33, 5)


def test_too_small_a_picture_says_so():
    with pytest.raises(ValueError, match=r"at least 32x32 pixels\. Received: \(None, 31, 3\)"):
        tiny("fcn16s", input_shape=(None, 31, 3))


def test_the_whole_picture_bears_on_the_answer_also_where_no_stage_divides_it():
    """The last row and column are not left out by pooling, nor does the answer end in zeros."""
    model = tiny("fcn32s", input_shape=ANY)
    x = picture(33, 41, 3, count=1)
    changed = x.copy()
    changed[:, -1, -1] += 1
    answer, other = np.array(model(x)), np.array(model(changed))
    assert (answer[:, -1, -1] != other[:, -1, -1]).all()
    assert (answer != 0).all()


def deconvolution_by_hand(scores, kernel, stride):
    """Every number is spread over a kernel of twice the stride; half a stride of each border is cut off."""
    height, width, _ = scores.shape
    spread = np.zeros(((height + 1) * stride, (width + 1) * stride, kernel.shape[2]))
    for i in range(height):
        for j in range(width):
            top, left = i * stride, j * stride
            spread[top : top + 2 * stride, left : left + 2 * stride] += kernel @ scores[i, j]
    half = stride // 2
    return spread[half : half + height * stride, half : half + width * stride]


def test_fcn8s_adds_the_scores_of_finer_stages():
    """§4.2, from the stages' maps on, with kernels of deconvolutions that mix classes."""
    model = tiny("fcn8s", input_shape=(37, 42, 3))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.3, w.shape).astype(np.float32) for w in model.get_weights()])
    x = picture(37, 42, 3, count=1)
    arrays = arrays_of(model)
    maps = {stage: np.array(zoo.features(model, stage)(x))[0] for stage in ("stage1", "stage2", "stage4")}

    def score(stage, layer):
        kernel, bias = arrays[layer]
        return maps[stage] @ kernel[0, 0] + bias

    scores = score("stage4", "head_score")
    for stage in ("stage2", "stage1"):
        finer = score(stage, f"head_{stage}_score")
        doubled = deconvolution_by_hand(scores, arrays[f"head_{stage}_up"][0], 2)
        scores = doubled[: finer.shape[0], : finer.shape[1]] + finer
    expected = deconvolution_by_hand(scores, arrays["head_up"][0], 2)[:37, :42]
    np.testing.assert_allclose(model(x)[0], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_deconvolutions_begin_as_bilinear_interpolation_of_every_map(stride):
    maps = picture(6, 5, 3)
    layer = keras.layers.Conv2DTranspose(3, 2 * stride, stride, "same", use_bias=False, kernel_initializer=Bilinear())
    border = stride // 2
    inner = (slice(None), slice(border, -border), slice(border, -border))
    expected = keras.ops.image.resize(maps, (6 * stride, 5 * stride), "bilinear")
    np.testing.assert_allclose(layer(maps)[inner], expected[inner], atol=1e-5)


def test_the_bilinear_kernel_is_that_of_caffe():
    for size in (3, 4, 16):
        factor = (size + 1) // 2
        center = factor - 1 if size % 2 else factor - 0.5
        kernel = Bilinear()((size, size, 2, 2))
        assert kernel.dtype == "float32"
        for i in range(size):
            for j in range(size):
                value = (1 - abs(i - center) / factor) * (1 - abs(j - center) / factor)
                np.testing.assert_allclose(kernel[i, j], [[value, 0], [0, value]], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_scores_begin_at_zero_and_after_one_step_all_weights_learn(name):
    model = tiny(name, score_initializer="zeros")
    x = picture(*model.input_shape[1:])
    assert not np.any(model(x))
    y = np.zeros((2, *model.output_shape[1:3]), int)
    y[:, 10:30, 5:20], y[:, :12, 16:] = 1, 2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def gradients():
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        return tape.gradient(value, [weight.value for weight in model.trainable_weights])

    weights = model.trainable_weights
    moved = {weight.path for weight, gradient in zip(weights, gradients(), strict=True) if np.any(gradient)}
    assert moved == {weight.path for weight in weights if "score" in weight.path}
    for weight, gradient in zip(weights, gradients(), strict=True):
        weight.assign_sub(0.1 * gradient)
    assert all(map(np.any, gradients()))


def test_stages_in_order_and_the_last_one_without_the_top():
    model = tiny("fcn16s", dropout=0.5)
    assert list(zoo.stages(model).items())[2:] == [("stage3", (5, 5, 16)), ("stage4", (5, 5, 16))]
    backbone = tiny("fcn16s", dropout=0.5, include_top=False)
    last = zoo.features(model, "stage4")
    backbone.set_weights(last.get_weights())
    x = picture(36, 36, 3)
    np.testing.assert_array_equal(backbone(x), last(x))
    assert not [layer.name for layer in backbone.layers if layer.name.startswith("head")]


def test_dropout_follows_both_convolutions_that_were_fully_connected():
    model = tiny("fcn32s", dropout=0.3)
    found = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert found == {"stage4_dropout": 0.3, "head_dropout": 0.3}
    x = picture(36, 36, 3)
    assert np.any(model(x, training=True) != model(x))


def test_logits_are_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny("fcn8s", input_shape=ANY)
    finally:
        keras.config.set_dtype_policy(before)
    assert zoo.features(model, "stage4")(picture(40, 33, 3)).dtype == "bfloat16"
    half = model(picture(40, 33, 3))
    assert half.dtype == "float32"
    whole = tiny("fcn8s", input_shape=ANY)
    whole.set_weights(model.get_weights())
    np.testing.assert_allclose(half, whole(picture(40, 33, 3)), atol=0.1)


def test_a_file_and_a_clone_are_the_same_network(tmp_path):
    model = tiny("fcn8s", input_shape=ANY)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = picture(39, 34, 3)
    for again in (keras.models.load_model(tmp_path / "model.keras"), clone):
        np.testing.assert_array_equal(again(x), model(x))


def test_a_graph_for_any_size_answers_as_keras_does():
    model = tiny("fcn8s", input_shape=ANY)
    serve = tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec((None, *ANY)))
    for shape in [(32, 50, 3), (45, 35, 3)]:
        np.testing.assert_allclose(serve(tf.constant(picture(*shape))), model(picture(*shape)), atol=1e-5)


@pytest.mark.parametrize("skips", [-1, 3, "2"])
def test_more_scored_stages_than_there_are(skips):
    with pytest.raises(ValueError, match=r"skips of 'fcn8s'.*Received: .*Accepted with 3 stages: 0 to 2\."):
        tiny("fcn8s", skips=skips)


def test_stages_that_do_not_fit_together_say_so():
    with pytest.raises(ValueError, match=r"'fcn8s' must name the same stages.*Received: depths=\(\)"):
        tiny("fcn8s", depths=(), widths=())


@pytest.fixture
def narrow(monkeypatch):
    """VGG16 of `keras.applications`, by its own code, with 1/32 of the maps and random weights, in its stead."""
    made = {
        "Conv2D": lambda maps, *args, **kwargs: keras.layers.Conv2D(maps // 32, *args, **kwargs),
        "Dense": lambda units, *args, **kwargs: keras.layers.Dense(
            units if units == 1000 else units // 32, *args, **kwargs
        ),
        "Input": keras.layers.Input,
        "MaxPooling2D": keras.layers.MaxPooling2D,
        "Flatten": keras.layers.Flatten,
    }
    monkeypatch.setattr(vgg16, "layers", SimpleNamespace(**made))
    with_top = vgg16.VGG16(weights=None)
    rng = np.random.default_rng(0)
    # Biases as well, so that none is taken for another.
    with_top.set_weights([w + rng.uniform(0, 0.2, w.shape) if w.ndim == 1 else w for w in with_top.get_weights()])
    networks = {True: with_top, False: keras.Model(with_top.input, with_top.get_layer("block5_pool").output)}
    monkeypatch.setattr(keras.applications, "VGG16", lambda weights, include_top: networks[include_top])
    return with_top


NARROW = {"depths": (2, 2, 3, 3, 3), "widths": (2, 4, 8, 16, 16), "hidden_units": 128, "dropout": 0.0}


@pytest.mark.parametrize("name", NAMES)
def test_published_weights_make_the_middle_of_fc7_that_of_vgg16(narrow, name):
    """At 224x224 pixels fc6 sees in the middle what the fully connected layer sees."""
    model = zoo.build(name, weights="imagenet", input_shape=(224, 224, 3), **NARROW)
    record = zoo.spec(name).weights["imagenet"]
    pixels = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3)).astype(np.float32)
    maps = zoo.features(model, "stage6")((pixels * record.scale - record.mean) / record.std)
    expected = keras.Model(narrow.input, narrow.get_layer("fc2").output)(vgg16.preprocess_input(pixels.copy()))
    assert np.any(expected)
    np.testing.assert_allclose(maps[:, 3, 3], expected, rtol=1e-4, atol=1e-5 * np.max(expected))
    assert not np.any(model.get_layer("head_score").get_weights()[0])


def test_published_weights_of_other_pictures_without_a_head(narrow):
    with pytest.warns(UserWarning, match="reads 3 channels and was adapted to 1"):
        model = zoo.build("fcn8s", weights="imagenet", input_shape=(None, None, 1), include_top=False, **NARROW)
    kernel = narrow.get_layer("fc1").get_weights()[0]
    np.testing.assert_array_equal(model.get_layer("stage6_fc6").get_weights()[0], kernel.reshape(7, 7, 16, 128))


def test_published_weights_of_other_widths_are_refused(narrow):
    with pytest.raises(ValueError, match=r"layer 'stage6_fc6' has the shapes \(784, 128\), \(128,\)\. Accepted: "):
        zoo.build("fcn8s", weights="imagenet", **{**NARROW, "hidden_units": 64})


def test_the_backbone_goes_on_from_one_network_to_the_next_and_to_other_classes(tmp_path):
    coarse = tiny("fcn32s", input_shape=(64, 64, 3))
    coarse.save(tmp_path / "coarse.keras")
    for name, arguments in [("fcn16s", {}), ("fcn32s", {"num_classes": 4})]:
        with pytest.warns(UserWarning, match=f"head of .* does not fit '{name}'"):
            model = tiny(name, weights=tmp_path / "coarse.keras", **arguments)
        for layer, arrays in arrays_of(zoo.features(coarse, "stage4")).items():
            for given, expected in zip(model.get_layer(layer).get_weights(), arrays, strict=True):
                np.testing.assert_array_equal(given, expected)

"""Weights from elsewhere: the published ones layer by layer, weights files, Runs; heads replaced, channels adapted."""

import hashlib
import shutil
import sys
import warnings

import keras
import numpy as np
import pytest

import zoo
from zoo import catalog
from zoo.registry import backbone_of
from zoo.weights import adapt_channels, adapt_positions, arrays_of, transfer, variables_of

SIZES = 5, 37  # added to the least size: even and odd, so that paddings differ


def published(*fast):
    """Every classifier with published weights; but for these, in the slow tests."""
    found = [name for name, entry in catalog.read(task="image-classification").items() if entry["weights"]]
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in found]


def pictures(count, height, width):
    """Pictures of 16 patches, float32 0..255: white noise looks the same to a deep network, whatever its grains are."""
    patches = np.random.default_rng(1).integers(0, 256, (count, 4, 4, 3)).astype(np.float32)
    return np.round(keras.ops.image.resize(patches, (height, width)))


def with_random_weights(model, prepared):
    """The model with weights that show every mistake: no scale is 1, no shift is 0, and pictures have their say.

    Args:
        model: a network of `keras.applications`.
        prepared: pictures as it wants them, from which batch normalisation takes its statistics, its variances somewhat
            larger. With any others either the picture drowns on its way through a deep network, or rounding grows.
    """
    rng = np.random.default_rng(0)
    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            # Where the published file holds them; the network is built without.
            std = np.array([0.229, 0.224, 0.225])
            layer.set_weights([np.array([0.485, 0.456, 0.406]), std**2, np.int64(0)][: len(layer.get_weights())])
            layer.finalize_state()
        elif isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
        else:
            layer.set_weights([w + rng.uniform(-0.2, 0.2, w.shape) if w.ndim == 1 else w for w in layer.get_weights()])
    for layer in normalizations:
        layer.momentum = 0
    model(prepared, training=True)
    for layer in normalizations:
        variance = layer.moving_variance
        variance.assign(variance + 0.3 * np.mean(variance))
    return model


@pytest.mark.parametrize("name", published("mobilenet_v2"))
def test_same_answer_as_the_published_architecture(name):
    """Random weights there, copied here: the same logits on the same pictures, each with its own preprocessing."""
    keras.utils.set_random_seed(0)  # rounding grows with some kernels more than with others
    spec = zoo.spec(name)
    record = spec.weights["imagenet"]
    application = getattr(keras.applications, record.application)
    theirs_prepare = sys.modules[application.__module__].preprocess_input
    least = max(spec.min_size, 32)
    for more in SIZES:
        shape = (least + more, least + more + 4, 3)
        pixels = pictures(8, *shape[:2])
        theirs_prepared = theirs_prepare(pixels.copy())
        theirs = application(weights=None, input_shape=shape, classes=11, classifier_activation=None)
        with_random_weights(theirs, theirs_prepared)
        ours = zoo.build(name, input_shape=shape, num_classes=11)
        transfer(record.read(theirs, variables_of(ours)), ours, backbone_of(ours), name)
        prepared = (pixels * record.scale - record.mean) / record.std
        expected = np.array(theirs(theirs_prepared))
        assert expected.std(axis=0).mean() > 1e-4 * np.abs(expected).mean()  # more than the error allowed
        error = np.abs(ours(prepared) - expected).max() / np.abs(expected).max()
        assert error < 1e-5


@pytest.mark.parametrize("name", published("convnext_tiny"))
def test_the_published_architecture_without_its_head_gives_the_backbone(name):
    """What is fetched for another number of classes; a ConvNeXt without a head still ends in the head's LayerNorm."""
    record = zoo.spec(name).weights["imagenet"]
    size = max(zoo.spec(name).min_size, 32)
    theirs = getattr(keras.applications, record.application)(
        weights=None, include_top=False, input_shape=(size, size, 3)
    )
    ours = zoo.build(name, input_shape=(size, size, 3), num_classes=5)
    backbone = backbone_of(ours)
    arrays = record.read(theirs, variables_of(ours))
    transfer(arrays, ours, backbone, name)
    assert set(arrays) - backbone == ({"head_norm"} if name.startswith("convnext") else set())
    body = [layer for layer in variables_of(ours) if layer in backbone]  # as of a network built without a head
    assert list(record.read(theirs, body)) == body


def test_pixels_come_to_the_published_efficientnet_as_they_are_prepared_here(monkeypatch):
    """With its weights it has a layer more before the stem, since what they hold as variances are deviations."""
    from keras.src.applications import efficientnet

    record = zoo.spec("efficientnet_b0").weights["imagenet"]
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *args, **kwargs: "weights.h5")
    monkeypatch.setattr(keras.Model, "load_weights", lambda *args, **kwargs: None)
    theirs = record.download(include_top=False)
    normalization = next(layer for layer in theirs.layers if isinstance(layer, keras.layers.Normalization))
    normalization.set_weights([np.array(record.mean), np.array(record.std), np.int64(0)][: len(normalization.weights)])
    normalization.finalize_state()
    stem = keras.Model(theirs.input, theirs.get_layer("stem_conv_pad").input)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(stem(pixels), (pixels * record.scale - record.mean) / record.std, atol=1e-5)


@pytest.fixture
def small(tmp_path):
    """A network with stages, and its weights as a file of either kind."""
    model = zoo.build("resnet20", **zoo.spec("resnet20").tiny)
    model.save(tmp_path / "small.keras")
    model.save_weights(tmp_path / "small.weights.h5")
    return model


def tiny(**arguments):
    return zoo.build("resnet20", **{**zoo.spec("resnet20").tiny, **arguments})


def assert_equal_weights(model, other, but=()):
    expected = arrays_of(other)
    for layer, arrays in arrays_of(model).items():
        if layer not in but:
            for array, wanted in zip(arrays, expected[layer], strict=True):
                np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize("file", ["small.keras", "small.weights.h5"])
def test_weights_of_a_file(small, tmp_path, file):
    assert_equal_weights(tiny(weights=tmp_path / file), small)
    assert_equal_weights(tiny(weights=str(tmp_path / file)), small)
    assert_equal_weights(tiny(weights=str(tmp_path / file), include_top=False), small)


def test_weights_with_layers_inside_of_layers(tmp_path):
    arguments = zoo.spec("vit_tiny16").tiny
    model = zoo.build("vit_tiny16", **arguments)
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    model.save_weights(tmp_path / "vit.weights.h5")
    assert_equal_weights(zoo.build("vit_tiny16", weights=tmp_path / "vit.weights.h5", **arguments), model)


def test_weights_saved_in_bfloat16(tmp_path):
    arguments = zoo.spec("resnet20").tiny
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    try:
        model = zoo.build("resnet20", **arguments)
    finally:
        keras.config.set_dtype_policy(before)
    model.save_weights(tmp_path / "half.weights.h5")
    assert_equal_weights(tiny(weights=tmp_path / "half.weights.h5"), model)


def test_another_number_of_classes_keeps_the_backbone_and_replaces_the_head(small, tmp_path):
    model = tiny(weights=tmp_path / "small.keras", num_classes=7)
    assert model.output_shape == (None, 7)
    assert_equal_weights(model, small, but=["logits"])


def test_another_input_size_replaces_what_depends_on_it(tmp_path):
    arguments = zoo.spec("vgg11").tiny
    height, width, channels = arguments["input_shape"]
    model = zoo.build("vgg11", **arguments)
    model.save(tmp_path / "vgg.keras")
    larger = {**arguments, "input_shape": (height * 2, width * 2, channels)}
    with pytest.warns(UserWarning, match="head of .* does not fit"):
        other = zoo.build("vgg11", weights=tmp_path / "vgg.keras", **larger)
    backbone = backbone_of(model)
    assert_equal_weights(other, model, but=[layer for layer in arrays_of(model) if layer not in backbone])


def test_auxiliary_heads_that_the_weights_lack_are_fresh_beside_logits_that_fit(tmp_path):
    arguments = zoo.spec("googlenet").tiny
    plain, both = zoo.build("googlenet", **arguments), zoo.build("googlenet", **arguments, auxiliary_heads=True)
    plain.save(tmp_path / "plain.keras")
    both.save(tmp_path / "both.keras")
    with warnings.catch_warnings(action="error"):
        model = zoo.build("googlenet", weights=tmp_path / "plain.keras", auxiliary_heads=True, **arguments)
    for layer, arrays in arrays_of(plain).items():
        np.testing.assert_array_equal(model.get_layer(layer).get_weights()[0], arrays[0])
    assert_equal_weights(zoo.build("googlenet", weights=tmp_path / "both.keras", **arguments), both)
    again = zoo.build("googlenet", weights=tmp_path / "both.keras", auxiliary_heads=True, **arguments)
    assert_equal_weights(again, both)
    other = {**arguments, "num_classes": 5}
    replaced = zoo.build("googlenet", weights=tmp_path / "both.keras", auxiliary_heads=True, **other)
    assert_equal_weights(replaced, both, but=["logits", "auxiliary1", "auxiliary2"])


def test_positions_of_another_input_size_are_interpolated(tmp_path):
    arguments = zoo.spec("vit_tiny16").tiny
    model = zoo.build("vit_tiny16", **arguments)
    model.save(tmp_path / "vit.keras")
    positions = model.get_layer("stem_positions").get_weights()[0]
    with pytest.warns(UserWarning, match="positions of .* learned for 4x4 patches and interpolated to 7x5"):
        larger = zoo.build("vit_tiny16", weights=tmp_path / "vit.keras", **{**arguments, "input_shape": (28, 20, 3)})
    assert_equal_weights(larger, model, but=["stem_positions"])
    adapted = larger.get_layer("stem_positions").get_weights()[0]
    np.testing.assert_array_equal(adapted[:, 0], positions[:, 0])
    places, before = adapted[0, 1:].reshape(7, 5, -1), positions[0, 1:].reshape(4, 4, -1)
    np.testing.assert_allclose(places[::6, ::4], before[::3, ::3], rtol=1e-6)
    np.testing.assert_allclose(places[1, 0], (before[0, 0] + before[1, 0]) / 2, rtol=1e-5)
    np.testing.assert_allclose(places[0, 2], (before[0, 1] + before[0, 2]) / 2, rtol=1e-5)


def test_interpolated_positions_of_any_grid():
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(1, 1 + 9, 4)).astype(np.float32)
    np.testing.assert_allclose(adapt_positions(positions, (3, 3), (3, 3)), positions)
    same = np.concatenate([positions[:, :1], np.repeat(positions[:, 1:2], 9, axis=1)], axis=1)
    for grid in ((1, 1), (2, 7), (9, 9)):
        adapted = adapt_positions(same, (3, 3), grid)
        assert adapted.shape == (1, 1 + grid[0] * grid[1], 4)
        np.testing.assert_allclose(adapted[:, 1:], np.broadcast_to(same[:, 1:2], adapted[:, 1:].shape), rtol=1e-6)


def test_positions_of_a_grid_that_is_not_square_have_to_fit(tmp_path):
    arguments = zoo.spec("vit_tiny16").tiny
    zoo.build("vit_tiny16", **{**arguments, "input_shape": (16, 20, 3)}).save(tmp_path / "vit.keras")
    refused("layer 'stem_positions' has the shapes", "vit_tiny16", weights=tmp_path / "vit.keras")


def test_a_head_for_other_classes_of_the_same_number(small, tmp_path):
    model = tiny()
    fresh = model.get_layer("logits").get_weights()
    zoo.load_weights(model, "resnet20", tmp_path / "small.keras", keep_head=False)
    assert_equal_weights(model, small, but=["logits"])
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], fresh[0])


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_adapt_the_first_kernel_and_say_so(small, tmp_path, channels):
    shape = (*zoo.spec("resnet20").tiny["input_shape"][:2], channels)
    with pytest.warns(UserWarning, match=f"reads 3 channels and was adapted to {channels}"):
        model = tiny(weights=tmp_path / "small.keras", input_shape=shape)
    kernel, adapted = (m.get_layer("stem_conv").get_weights()[0] for m in (small, model))
    if channels == 1:
        np.testing.assert_allclose(adapted[:, :, 0], kernel.mean(2), rtol=1e-6)
    else:
        np.testing.assert_array_equal(adapted[:, :, :3], kernel)
        assert not adapted[:, :, 3].any()
    assert_equal_weights(model, small, but=["stem_conv"])


def test_a_grey_kernel_in_colour_answers_a_grey_picture_alike():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 4)).astype(np.float32)
    np.testing.assert_allclose(adapt_channels(kernel, 3).sum(2), kernel[:, :, 0], rtol=1e-5)
    np.testing.assert_allclose(adapt_channels(kernel, 4).sum(2), kernel[:, :, 0], rtol=1e-5)


def refused(match, name="resnet20", weights=None, **arguments):
    before = {**zoo.spec(name).tiny, **arguments}
    with pytest.raises(ValueError, match=match):
        zoo.build(name, weights=weights, **before)


def test_weights_of_another_architecture(small, tmp_path):
    zoo.build("lenet5").save(tmp_path / "lenet.keras")
    refused("another architecture than 'resnet20': no layer 'stage1", weights=tmp_path / "lenet.keras")
    deeper = zoo.build("resnet20", **{**zoo.spec("resnet20").tiny, "blocks": (2, 1)})
    deeper.save(tmp_path / "deeper.keras")
    refused("layers that it has not: 'stage1_block2", weights=tmp_path / "deeper.keras")
    refused(
        "layer 'stem_conv' has the shapes .3, 3, 3, 8.. Accepted: .3, 3, 3, 4.",
        weights=tmp_path / "small.keras",
        widths=(4, 16),
    )


@pytest.mark.parametrize("file", ["small.keras", "small.weights.h5"])
def test_a_file_cut_short(small, tmp_path, file):
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-3000])
    refused("damaged or was cut short", weights=path)


def test_a_file_with_another_hash(small, tmp_path):
    path = f"{tmp_path / 'small.keras'}#sha256="
    refused("not the file that was asked for. SHA-256 received: [0-9a-f]{64}. Accepted: 00ff", weights=path + "00ff")
    right = hashlib.sha256((tmp_path / "small.keras").read_bytes()).hexdigest()
    assert_equal_weights(tiny(weights=path + right), small)


def test_what_is_no_weights_at_all(tmp_path):
    refused("Unknown weights of 'resnet20' 'imagnet'", weights="imagnet")
    refused("Did you mean 'imagenet'", "mobilenet_v2", weights="imagnet")
    refused("No weights at", weights=tmp_path / "nowhere.keras")
    refused("No weights at", weights=tmp_path)


def test_a_refused_file_leaves_the_model_as_it_was(small, tmp_path):
    model = tiny(widths=(4, 16))
    before = arrays_of(model)
    with pytest.raises(ValueError, match="shapes"):
        zoo.load_weights(model, "resnet20", tmp_path / "small.keras")
    for layer, arrays in arrays_of(model).items():
        for array, old in zip(arrays, before[layer], strict=True):
            np.testing.assert_array_equal(array, old)


def test_published_weights_are_fetched_checked_and_copied(mirror):
    mirror.vouch()
    theirs = mirror.networks
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3)).astype(np.float32)
    model = zoo.build("mobilenet_v3_small", weights="imagenet")
    assert len(list(mirror.cache.iterdir())) == 1  # and none in the user's own cache
    probabilities = keras.ops.softmax(model.predict(pixels / 127.5 - 1, verbose=0))
    np.testing.assert_allclose(probabilities, theirs[True].predict(pixels, verbose=0), atol=1e-5)
    other = zoo.build("mobilenet_v3_small", weights="imagenet", num_classes=5, input_shape=(64, 64, 3))
    body = arrays_of(other)["stem_conv"][0]
    np.testing.assert_array_equal(body, theirs[False].get_layer("conv").get_weights()[0])


def test_published_weights_with_another_hash(mirror):
    with pytest.raises(ValueError, match="published weights of MobileNetV3Small are damaged"):
        zoo.build("mobilenet_v3_small", weights="imagenet")


def test_published_weights_that_cannot_be_fetched(mirror):
    shutil.rmtree(mirror.folder)
    with pytest.raises(OSError, match="published weights of MobileNetV3Small cannot be fetched"):
        zoo.build("mobilenet_v3_small", weights="imagenet")

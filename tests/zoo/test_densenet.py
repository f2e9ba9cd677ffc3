"""DenseNet: connections, depth, compression, dropout."""

import keras
import numpy as np
import pytest

import zoo

SMALL = {"input_shape": (8, 8, 3), "num_classes": 3, "growth_rate": 4}


def test_a_stage_holds_what_went_in_and_what_every_layer_adds():
    model = zoo.build("densenet_bc100", **SMALL, blocks=(2, 1))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    names = ["stem_conv", "stage1_block1_2_conv", "stage1_block2_2_conv", "stage1"]
    *parts, whole = map(keras.ops.convert_to_numpy, zoo.features(model, names)(x))
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=-1))


def test_six_layers_a_stage_are_the_papers_network_of_40():
    model = zoo.build("densenet_bc100", blocks=(6, 6, 6))
    kernels = [weight for weight in model.trainable_weights if weight.name == "kernel"]
    assert len(kernels) == 40


def test_compression_is_the_share_of_maps_that_a_transition_keeps():
    model = zoo.build("densenet_bc100", **SMALL, blocks=(1, 1), compression=0.75)
    assert model.get_layer("stage2_block1_transition_conv").output.shape[-1] == 9


def test_dropout_follows_every_convolution_but_the_first_and_leaves_answers_as_they_are():
    plain = zoo.build("densenet_bc100", **SMALL, blocks=(1, 1))
    dropping = zoo.build("densenet_bc100", **SMALL, blocks=(1, 1), dropout=0.2)
    after = [layer.name.removesuffix("_drop") for layer in dropping.layers if isinstance(layer, keras.layers.Dropout)]
    convolutions = [layer.name.removesuffix("_conv") for layer in plain.layers if layer.name.endswith("_conv")]
    assert after == convolutions[1:]
    dropping.set_weights(plain.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(dropping(x), plain(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"blocks": (6, 0)}, r"blocks.*1 or more.*\(6, 0\)"),
        ({"growth_rate": 0}, "growth_rate.*1 or more.*0"),
        ({"compression": 1.5}, "compression.*at most 1.*1.5"),
        ({"compression": 0.0}, "compression.*above 0.*0"),
    ],
)
def test_illegal_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        zoo.build("densenet_bc100", **arguments)

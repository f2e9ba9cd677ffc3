"""Residual networks: their shortcuts, stochastic depth, squeeze and excitation."""

import keras
import numpy as np
import pytest

import zoo
from zoo.layers import StochasticDepth

SMALL = {"input_shape": (9, 8, 3), "num_classes": 3, "blocks": (1, 1), "widths": (4, 6)}
LARGE = {"input_shape": (32, 32, 3), "num_classes": 3, "blocks": (1, 1), "widths": (4, 8)}


def pictures(model):
    return np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype(np.float32)


def outputs(model, *layers):
    return [keras.ops.convert_to_numpy(maps) for maps in zoo.features(model, layers)(pictures(model))]


def test_shortcut_of_the_cifar_network_takes_every_second_pixel_and_adds_maps_of_zeros():
    model = zoo.build("resnet20", **SMALL)
    model.get_layer("stage2_block1_2_bn").gamma.assign([0.0] * 6)
    before, after = outputs(model, "stage1", "stage2")
    np.testing.assert_array_equal(after[..., :4], before[:, ::2, ::2])
    assert not after[..., 4:].any()


def test_strided_convolution_of_the_cifar_network_sees_the_pixels_its_shortcut_takes():
    model = zoo.build("resnet20", **SMALL)
    conv = model.get_layer("stage2_block1_1_conv")
    kernel = np.zeros(conv.kernel.shape, np.float32)
    kernel[1, 1, :4, :4] = np.eye(4)
    conv.kernel.assign(kernel)
    before, after = outputs(model, "stage1", conv.name)
    np.testing.assert_allclose(after[..., :4], before[:, ::2, ::2], rtol=1e-6)


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "resnet50", "se_resnet50"])
def test_stochastic_depth_rises_in_a_line_and_leaves_answers_as_they_are(name):
    arguments = {**(SMALL if name == "resnet20" else LARGE), "blocks": (2, 1)}
    plain, stochastic = zoo.build(name, **arguments), zoo.build(name, **arguments, stochastic_depth=0.6)
    rates = [layer.rate for layer in stochastic.layers if isinstance(layer, StochasticDepth)]
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6])
    for layer in plain.layers:
        stochastic.get_layer(layer.name).set_weights(layer.get_weights())
    x = pictures(plain)
    np.testing.assert_allclose(stochastic(x), plain(x), rtol=1e-5, atol=1e-6)


def test_excitation_weighs_the_maps_of_every_branch():
    model = zoo.build("se_resnet50", **LARGE)
    closed = [0.0] * 16 + [-100.0] * 16
    model.get_layer("stage2_block1_se_expand").bias.assign(closed)
    before, after = outputs(model, "stage2_block1_3_bn", "stage2_block1_se_scale")
    assert before[..., 16:].any()
    assert after[..., :16].any()
    np.testing.assert_allclose(after[..., 16:], 0, atol=1e-30)


def test_reduction_sets_the_width_of_the_excitation():
    model = zoo.build("se_resnet50", **LARGE, reduction=4)
    assert model.get_layer("stage1_block1_se_reduce").output.shape[-1] == 4 * 4 // 4


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("resnet20", {"widths": (16, 32)}, r"one positive number for each stage.*widths=\(16, 32\)"),
        ("resnet20", {"widths": (16, 8, 8)}, r"must not fall.*\(16, 8, 8\)"),
        ("resnet110", {"stochastic_depth": 1.5}, "below 1.*1.5"),
        ("resnet50", {"blocks": (3, 0, 6, 3)}, r"one positive number for each stage.*\(3, 0, 6, 3\)"),
        ("resnet18", {"stochastic_depth": -0.5}, "at least 0.*-0.5"),
        ("se_resnet50", {"reduction": 0}, "1 or more.*0"),
    ],
)
def test_illegal_arguments_are_named(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        zoo.build(name, **arguments)

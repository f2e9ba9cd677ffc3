"""MobileNets: multipliers, tables of one's own, and pixels where the published weights look for them."""

import keras
import numpy as np
import pytest

import zoo
from zoo import complexity

TINY = {name: zoo.spec(name).tiny for name in zoo.list_models("mobilenet_*")}


def tiny(name, **arguments):
    return zoo.build(name, **{**TINY[name], **arguments})


def convolutions(model):
    return [layer for layer in model.layers if type(layer) is keras.layers.Conv2D]


@pytest.mark.parametrize(
    ("name", "multiplier", "parameters"),
    [
        ("mobilenet_v1", 0.25, 470_072),
        ("mobilenet_v2", 0.35, 1_677_128),
        ("mobilenet_v3_small", 0.75, 2_041_872),
    ],
)
def test_width_multiplier_gives_the_published_sizes(name, multiplier, parameters):
    model = zoo.build(name, input_shape=(32, 32, 3), width_multiplier=multiplier)
    assert complexity.parameters(model) == parameters


def test_widths_of_v2_stay_multiples_of_8():
    model = tiny("mobilenet_v2", width_multiplier=1.3)
    assert [layer.filters % 8 for layer in convolutions(model)] == [0] * len(convolutions(model))
    assert model.get_layer("stage3_block1_project").filters == 24  # 16 * 1.3 = 20.8


def test_a_narrower_v2_keeps_its_last_convolution():
    widths = {m: tiny("mobilenet_v2", width_multiplier=m).get_layer("stage3").output.shape[-1] for m in (0.5, 1.0, 2.0)}
    assert widths == {0.5: 16, 1.0: 16, 2.0: 32}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("multiplier", [0, -1.0])
def test_width_multiplier_must_be_positive(name, multiplier):
    with pytest.raises(ValueError, match=f"width_multiplier must .* Received: {multiplier}"):
        tiny(name, width_multiplier=multiplier)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("mobilenet_v1", {"stages": ()}),
        ("mobilenet_v1", {"stages": ((8, 0),)}),
        ("mobilenet_v2", {"blocks": ()}),
        ("mobilenet_v2", {"blocks": ((1, 8, 1),)}),
        ("mobilenet_v2", {"blocks": ((1, 8, 1, 3),)}),
        ("mobilenet_v2", {"blocks": ((1, 8, 0, 1),)}),
        ("mobilenet_v3_small", {"blocks": ((3, 16, 8, 1),)}),
        ("mobilenet_v3_small", {"blocks": ((3, 0, 8, True, "relu", 1),)}),
    ],
)
def test_a_wrong_table_is_told_what_a_row_holds(name, wrong):
    with pytest.raises(ValueError, match=r"must be rows \(.*channels.*\).*Received"):
        tiny(name, **wrong)


def test_a_bottleneck_of_v2_has_a_shortcut_where_its_ends_are_alike():
    model = tiny("mobilenet_v2", blocks=[[1, 8, 1, 1], [2, 16, 3, 2], [2, 8, 1, 1]])
    added = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert added == ["stage1", "stage2_block2_add", "stage2_block3_add"]


def test_v3_squeezes_where_its_table_says():
    model = tiny("mobilenet_v3_large")
    gates = [layer.name for layer in model.layers if layer.name.endswith("_se_expand")]
    assert gates == ["stage1_block1_se_expand", "stage3_block1_se_expand"]
    assert model.get_layer("stage1_block1_depthwise_activation").activation is keras.activations.relu
    assert model.get_layer("stage2_block1_depthwise_activation").activation is keras.activations.hard_swish


def test_odd_pictures_fall_on_the_pixels_of_the_published_v1():
    shape = (45, 39, 3)
    ours = zoo.build("mobilenet_v1", input_shape=shape, width_multiplier=0.25, include_top=False)
    theirs = keras.applications.MobileNet(shape, alpha=0.25, include_top=False, weights=None)
    published = zoo.spec("mobilenet_v1").weights["imagenet"]
    for layer in ours.layers:
        if layer.weights:
            layer.set_weights(theirs.get_layer(published.layer(layer.name)).get_weights())
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    np.testing.assert_allclose(ours(image), theirs(image), atol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_momentum_of_batch_norm_can_be_lowered_for_short_trainings(name):
    model = tiny(name, batch_norm_momentum=0.8)
    assert {layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)} == {0.8}

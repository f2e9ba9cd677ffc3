"""EfficientNet: the scaling of the table, and what training alone sees of it."""

import keras
import numpy as np
import pytest

import zoo
from zoo.layers import StochasticDepth

TWO_STAGES = ((3, 1, 8, 2, 1), (3, 2, 8, 2, 2))


def tiny(**arguments):
    return zoo.build("efficientnet_b0", **{**zoo.spec("efficientnet_b0").tiny, **arguments})


def depthwise(model):
    return [layer.name for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]


def test_stochastic_depth_grows_with_the_block_and_spares_the_first():
    model = tiny(blocks=TWO_STAGES, stochastic_depth=0.2)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, StochasticDepth)}
    # The first block of all has rate 0, the third has no shortcut.
    assert rates == pytest.approx(
        {"stage1_block2_stochastic_depth": 0.2 * 1 / 4, "stage2_block2_stochastic_depth": 0.2 * 3 / 4}
    )


def test_training_drops_branches_and_inference_does_not():
    model = tiny(blocks=TWO_STAGES, stochastic_depth=0.9, include_top=False)
    image = np.random.default_rng(0).random((32, 32, 32, 3), np.float32)
    assert not np.allclose(model(image, training=True), model(image, training=True))
    np.testing.assert_array_equal(model(image), model(image))


def test_momentum_of_batch_norm_can_be_lowered_for_short_trainings():
    model = tiny(batch_norm_momentum=0.8)
    assert {layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)} == {0.8}


def test_depth_multiplier_rounds_repeats_up():
    assert len(depthwise(tiny(blocks=TWO_STAGES, depth_multiplier=1.1))) == 6
    assert len(depthwise(tiny(blocks=TWO_STAGES, depth_multiplier=0.5))) == 2


def test_width_multiplier_keeps_multiples_of_8():
    model = tiny(width_multiplier=1.2)
    widths = [model.get_layer(name).filters for name in ("stem_conv", "stage2_block1_project", "stage2_block2_conv")]
    assert widths == [40, 16, 1536]  # 38.4, 9.6, of which 8 would be too little, and 1536


def test_layers_of_one_shape_begin_with_different_weights():
    model = tiny(blocks=TWO_STAGES)
    first, second = (model.get_layer(f"stage1_block{j}_depthwise").get_weights()[0] for j in (1, 2))
    assert first.shape == second.shape
    assert not np.allclose(first, second)


def test_default_picture_of_each_variant_is_the_published_one():
    names = zoo.list_models("efficientnet_b?")
    sizes = [zoo.spec(name).arguments["input_shape"][0] for name in names]
    assert sizes == [224, 240, 260, 300, 380, 456, 528, 600]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"width_multiplier": 0}, "width_multiplier must be above 0. Received: 0"),
        ({"depth_multiplier": -1.0}, "depth_multiplier must be above 0. Received: -1.0"),
        ({"stochastic_depth": 1.0}, "stochastic_depth must be at least 0 and below 1. Received: 1.0"),
        ({"blocks": ((3, 1, 8, 1, 4),)}, "with a stride of 1 or 2. Received: (3, 1, 8, 1, 4)"),
    ],
)
def test_wrong_arguments_say_what_is_accepted(wrong, said):
    with pytest.raises(ValueError) as error:
        tiny(**wrong)
    assert said in str(error.value)

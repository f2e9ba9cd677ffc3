"""What is special to ConvNeXt: LayerScale and the rule of its stochastic depth."""

import keras
import numpy as np
import pytest

import zoo

TINY = dict(zoo.spec("convnext_tiny").tiny)


def stage_output(model, picture):
    return np.asarray(zoo.features(model, "stage1")(picture))


def test_with_the_papers_layer_scale_a_fresh_block_passes_its_input_on():
    picture = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    for layer_scale, passes in [(1e-6, True), (1.0, False)]:
        model = zoo.build("convnext_tiny", **{**TINY, "layer_scale": layer_scale})
        stem = zoo.features(model, "stem_norm")(picture)
        assert np.allclose(stage_output(model, picture), stem, atol=1e-5) == passes


def test_layer_scale_can_be_left_out():
    model = zoo.build("convnext_tiny", **{**TINY, "layer_scale": None})
    assert not [layer.name for layer in model.layers if layer.name.endswith("_scale")]


def test_stochastic_depth_rises_linearly_from_the_first_block_to_the_last():
    model = zoo.build("convnext_tiny", **{**TINY, "depths": (2, 2), "stochastic_depth": 0.3})
    rates = {layer.name: layer.rate for layer in model.layers if layer.name.endswith("_drop")}
    assert rates == pytest.approx(
        {"stage1_block2_drop": 0.1, "stage2_block1_drop": 0.2, "stage2_block2_drop": 0.3}, abs=1e-6
    )


def test_what_was_trained_survives_saving(tmp_path):
    model = zoo.build("convnext_tiny", **TINY)
    scale = model.get_layer("stage1_block1_scale")
    scale.set_weights([np.arange(8, dtype=np.float32)])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").get_layer("stage1_block1_scale")
    np.testing.assert_array_equal(again.get_weights()[0], np.arange(8))
    assert again.initial == scale.initial == 1.0


@pytest.mark.parametrize("wrong", [{"depths": (1, 1, 1)}, {"depths": (), "widths": ()}, {"widths": (8, 0)}])
def test_stages_that_do_not_fit_together_are_refused(wrong):
    with pytest.raises(ValueError, match=r"one positive number for each stage. Received: depths="):
        zoo.build("convnext_tiny", **{**TINY, **wrong})

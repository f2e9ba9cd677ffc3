"""GoogLeNet: the auxiliary heads, the width multiplier, the local response normalisation."""

import keras
import numpy as np
import pytest

import zoo

TINY = zoo.spec("googlenet").tiny
X = np.random.default_rng(0).normal(size=(6, *TINY["input_shape"])).astype(np.float32)


def tiny(**arguments):
    return zoo.build("googlenet", **{**TINY, **arguments})


def test_auxiliary_heads_answer_after_the_logits():
    model = tiny(auxiliary_heads=True)
    assert model.output_names == ["logits", "auxiliary1", "auxiliary2"]
    assert [output.shape for output in model(X)] == [(6, 3)] * 3


def test_all_three_heads_train_together_and_the_first_can_be_kept():
    keras.utils.set_random_seed(0)  # with unlucky weights a whole layer of ReLUs is dead
    model = tiny(auxiliary_heads=True)
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), [loss] * 3, [1, 0.3, 0.3], run_eagerly=True)
    labels = np.arange(6) % 3
    model.fit(X, [labels] * 3, verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert (keras.ops.convert_to_numpy(weight) != old).any(), f"{weight.path} has not moved"
    served = zoo.features(model, "logits")
    np.testing.assert_array_equal(served(X), model(X)[0])
    assert served.count_params() == tiny().count_params()


def test_auxiliary_heads_stand_where_the_paper_has_them():
    model = tiny(depths=(2, 5, 2), auxiliary_heads=True, input_shape=(224, 208, 3))
    for i, block in ((1, "stage4_block1_concat"), (2, "stage4_block4_concat")):
        pool = model.get_layer(f"head_auxiliary{i}_pool")
        assert pool.input is model.get_layer(block).output
        assert pool.output.shape[1:3] == (4, 3)


def test_width_multiplier_narrows_every_layer_but_leaves_some_maps():
    whole, half, least = (tiny(width_multiplier=m).get_layer("stage3_block1_3x3").filters for m in (1, 0.5, 1e-6))
    assert (whole, half, least) == (128, 64, 4)


def test_local_response_normalization_can_be_left_out():
    without = tiny(local_response_normalization=False)
    assert not [layer.name for layer in without.layers if "norm" in layer.name]
    model = tiny()
    without.set_weights(model.get_weights())
    assert np.abs(model(X) - without(X)).max() > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"depths": (2, 6, 2)}, r"from \(1, 1, 1\) to \(2, 5, 2\)\. Received: \(2, 6, 2\)"),
        ({"depths": (2, 5)}, r"Received: \(2, 5\)"),
        ({"width_multiplier": 0}, r"must be above 0\. Received: 0"),
    ],
)
def test_bad_arguments_say_what_is_accepted(arguments, said):
    with pytest.raises(ValueError, match=said):
        tiny(**arguments)

"""Inception v3: every kind of block at the least size, the numbering of the published layers, bad arguments."""

import pytest

import zoo
from zoo.architectures import inception_v3


def test_every_kind_of_block_fits_into_the_least_size():
    model = zoo.build("inception_v3", input_shape=(75, 75, 3), depths=(1, 2, 2), width_multiplier=1 / 16)
    sizes = [model.get_layer(f"stage{i}").output.shape[1:3] for i in range(1, 6)]
    assert sizes == [(35, 35), (15, 15), (7, 7), (3, 3), (1, 1)]


def test_published_convolutions_are_numbered_in_the_order_of_the_table():
    published = inception_v3._keras_layer
    assert published("stage1_block1_conv") == "conv2d_1"
    assert published("stage3_block1_branch2b_bn") == "batch_normalization_8"
    assert published("stage5_block3_branch4a_conv") == "conv2d_94"
    assert published("logits") == "predictions"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"depths": (3, 6, 3)}, r"at most \(3, 5, 3\)\. Received: \(3, 6, 3\)"),
        ({"depths": ()}, r"one to three numbers of blocks.*Received: \(\)"),
        ({"width_multiplier": -1}, r"must be above 0\. Received: -1"),
    ],
)
def test_bad_arguments_say_what_is_accepted(arguments, said):
    with pytest.raises(ValueError, match=said):
        zoo.build("inception_v3", **arguments)

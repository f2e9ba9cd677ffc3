"""VGG: the arguments that shape it."""

import pytest

import zoo


def test_depths_are_counted_in_convolutions_of_each_stage():
    model = zoo.build("vgg16", **{**zoo.spec("vgg16").tiny, "depths": (2, 1), "widths": (4, 8)})
    found = [layer.name for layer in model.layers if layer.name.startswith("stage")]
    assert found == ["stage1_block1_conv", "stage1_block2_conv", "stage1", "stage2_block1_conv", "stage2"]


@pytest.mark.parametrize("arguments", [{"depths": (1, 1)}, {"depths": (1, 0), "widths": (4, 4)}, {"depths": ()}])
def test_stages_that_do_not_fit_together_say_so(arguments):
    with pytest.raises(ValueError, match=r"must name the same stages.*Received: depths="):
        zoo.build("vgg11", **arguments)

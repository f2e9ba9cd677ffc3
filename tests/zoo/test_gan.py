"""What is special to the first adversarial network: maxout, dropout, and pictures of any size."""

import keras
import numpy as np
import pytest

import zoo
from zoo.architectures.gan import Maxout, stretched_sigmoid

TINY = dict(zoo.spec("gan").tiny)


@pytest.mark.parametrize(("shape", "pieces"), [((5, 12), 3), ((2, 3, 4, 6), 2), ((4, 5), 1)])
def test_maxout_takes_the_largest_of_its_neighbours(shape, pieces):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = np.empty((*shape[:-1], shape[-1] // pieces), np.float32)
    for place in np.ndindex(*expected.shape):
        *before, unit = place
        expected[place] = max(x[(*before, unit * pieces + i)] for i in range(pieces))
    np.testing.assert_array_equal(Maxout(pieces)(x), expected)
    assert Maxout(pieces).compute_output_shape((None, *shape[1:])) == (None, *expected.shape[1:])
    assert Maxout.from_config(Maxout(pieces).get_config()).pieces == pieces


def test_maxout_that_does_not_fit_says_so():
    with pytest.raises(ValueError, match=r"must be at least 1\. Received: 0"):
        Maxout(0)
    with pytest.raises(ValueError, match=r"a last axis of a multiple of 5. Received: \(2, 12\)"):
        Maxout(5)(np.zeros((2, 12), np.float32))


def test_a_pixel_is_twice_its_probability_less_one():
    logits = np.array([-200, -3, -0.1, 0, 2, 200], np.float32)
    with np.errstate(over="ignore"):
        expected = 2 / (1 + np.exp(-logits.astype(np.float64))) - 1
    np.testing.assert_allclose(stretched_sigmoid(keras.ops.array(logits)), expected, atol=1e-6)


def test_pictures_may_have_any_size():
    assert zoo.build("gan", **{**TINY, "image_shape": (5, 17, 3)}).output_shape == (None, 5, 17, 3)
    assert zoo.build_partner("gan", **{**TINY, "image_shape": (5, 17, 3)}).input_shape == (None, 5, 17, 3)


def test_dropout_is_the_discriminators_alone():
    arguments = {**TINY, "discriminator_sizes": (8, 8), "input_dropout": 0.2, "dropout": 0.5}
    partner = zoo.build_partner("gan", **arguments)
    rates = {layer.name: layer.rate for layer in partner.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {"flatten_dropout": 0.2, "stage1_dropout": 0.5, "stage2_dropout": 0.5}
    generator = zoo.build("gan", **arguments)
    assert not [layer for layer in generator.layers if isinstance(layer, keras.layers.Dropout)]


@pytest.mark.parametrize(
    ("build", "argument", "value", "said"),
    [
        (zoo.build, "hidden_sizes", (), r"must be a tuple of at least one number. Received: \(\)"),
        (zoo.build, "hidden_sizes", (8, 0), "each of hidden_sizes of 'gan' must be a positive integer. Received: 0"),
        (zoo.build_partner, "discriminator_sizes", 8, "must be a tuple of at least one number. Received: 8"),
        (zoo.build_partner, "pieces", 0, "pieces of 'gan_discriminator' must be a positive integer. Received: 0"),
    ],
)
def test_layers_that_cannot_be_are_refused(build, argument, value, said):
    with pytest.raises(ValueError, match=said):
        build("gan", **{**TINY, argument: value})

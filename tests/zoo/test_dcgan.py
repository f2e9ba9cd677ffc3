"""What is special to DCGAN and WGAN-GP: the sizes there are, how weights begin, and where what is normalised."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import zoo
from zoo.adversarial import gradient_penalty

TINY = dict(zoo.spec("dcgan").tiny)


@pytest.mark.parametrize(
    ("size", "grids"),
    [
        ((6, 6), [(3, 3)]),
        ((14, 10), [(7, 5)]),
        ((28, 28), [(7, 7), (14, 14)]),
        ((24, 24), [(3, 3), (6, 6), (12, 12)]),
        ((32, 32), [(4, 4), (8, 8), (16, 16)]),
        ((48, 64), [(3, 4), (6, 8), (12, 16), (24, 32)]),
        ((64, 64), [(4, 4), (8, 8), (16, 16), (32, 32)]),
    ],
)
@pytest.mark.parametrize("name", ["dcgan", "vae"])
def test_a_picture_is_doubled_from_a_small_grid_and_halved_back_to_it(name, size, grids):
    arguments = {**zoo.spec(name).tiny, "image_shape": (*size, 3), "width": 4}
    widths = [4 * 2**i for i in reversed(range(len(grids)))]
    expected = [(*grid, width) for grid, width in zip(grids, widths, strict=True)]
    assert list(zoo.stages(zoo.build(name, **arguments)).values()) == expected
    assert list(zoo.stages(zoo.build_partner(name, **arguments)).values()) == expected[::-1]


@pytest.mark.parametrize("size", [(5, 5), (7, 7), (30, 32), (36, 36), (16, 64), (8, 1)])
@pytest.mark.parametrize("name", ["dcgan", "wgan_gp", "vae"])
def test_sizes_that_cannot_be_reached_are_refused_with_some_that_can(name, size):
    for build in (zoo.build, zoo.build_partner):
        with pytest.raises(ValueError, match=rf"28x28 \(7x7, doubled twice\).*Received: \({size[0]}, {size[1]}, 1\)"):
            build(name, **{**zoo.spec(name).tiny, "image_shape": (*size, 1)})


@pytest.mark.parametrize("name", ["dcgan", "wgan_gp", "vae"])
def test_a_width_that_cannot_be_is_refused(name):
    for build in (zoo.build, zoo.build_partner):
        with pytest.raises(ValueError, match=r"width of '.*' must be a positive integer. Received: 0"):
            build(name, **{**zoo.spec(name).tiny, "width": 0})


def test_a_transposed_convolution_spreads_every_pixel_over_four_by_four():
    """Each pixel adds its multiple of the kernel, two pixels apart, one pixel of which is cut off at every border."""
    model = zoo.build("dcgan", **{**TINY, "image_shape": (6, 8, 3), "width": 2})
    last = zoo.features(model, ["stage1", "logits"])
    maps, found = map(np.asarray, last(np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)))
    kernel = model.get_layer("logits").get_weights()[0]
    expected = np.zeros((2, 6 + 2, 8 + 2, 3))
    for row, column in np.ndindex(3, 4):
        for i, j in np.ndindex(4, 4):
            expected[:, 2 * row + i, 2 * column + j] += maps[:, row, column] @ kernel[i, j].T
    np.testing.assert_allclose(found, expected[:, 1:-1, 1:-1], atol=1e-6)


def test_kernels_begin_with_the_papers_deviation_and_have_no_bias():
    arguments = {**TINY, "image_shape": (32, 32, 3), "width": 16}
    for network in (zoo.build("dcgan", **arguments), zoo.build_partner("dcgan", **arguments)):
        kernels = [w for w in network.trainable_weights if w.name == "kernel"]
        for kernel in kernels:
            assert np.std(kernel) == pytest.approx(0.02, rel=0.2)
            assert abs(np.mean(kernel)) < 0.004
        others = {w.name for w in network.trainable_weights} - {"kernel"}
        assert others == {"gamma", "beta"}


def test_batch_norm_is_left_out_of_the_generators_output_and_the_discriminators_input():
    def normalised(network):
        return [layer.name for layer in network.layers if isinstance(layer, layers.BatchNormalization)]

    arguments = {**TINY, "image_shape": (32, 32, 1)}
    assert normalised(zoo.build("dcgan", **arguments)) == ["stage1_bn", "stage2_bn", "stage3_bn"]
    assert normalised(zoo.build_partner("dcgan", **arguments)) == ["stage2_norm", "stage3_norm"]
    assert normalised(zoo.build_partner("wgan_gp", **arguments)) == []


def test_wgan_gp_is_served_by_the_generator_of_dcgan():
    wgan, dcgan = zoo.build("wgan_gp", **TINY), zoo.build("dcgan", **TINY)
    assert [(w.path, w.shape) for w in wgan.weights] == [(w.path, w.shape) for w in dcgan.weights]
    wgan.set_weights(dcgan.get_weights())
    z = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    np.testing.assert_array_equal(wgan(z), dcgan(z))


def test_the_critic_normalises_every_example_by_itself():
    critic = zoo.build_partner("wgan_gp", **TINY)
    image = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 1)).astype(np.float32)
    before, after = map(np.asarray, zoo.features(critic, ["stage2_conv", "stage2_norm"])(image))
    mean, variance = before.mean(axis=(1, 2, 3), keepdims=True), before.var(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(after, (before - mean) / np.sqrt(variance + 1e-5), atol=1e-4)
    np.testing.assert_allclose(critic(image[:1], training=True), critic(image, training=True)[:1], atol=1e-5)


def test_the_gradient_penalty_trains_the_critic():
    """Its gradient is one of a gradient, which every layer of the critic must have; after some steps the norm is 1."""
    keras.utils.set_random_seed(0)
    critic = zoo.build_partner("wgan_gp", **TINY)
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(critic.trainable_variables)
    image = tf.constant(np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 1)), tf.float32)

    @tf.function
    def step():
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(image)
                values = critic(image, training=True)
            penalty = gradient_penalty(inner.gradient(values, image))
        weights = [weight.value for weight in critic.trainable_weights]
        optimizer.apply(outer.gradient(penalty, weights, unconnected_gradients="zero"), critic.trainable_variables)
        return penalty

    penalties = [float(step()) for _ in range(40)]
    assert penalties[0] > 0.2
    assert penalties[-1] < penalties[0] / 20

"""What holds of every network that generates pictures, and of the network it is trained with."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo

NAMES = zoo.list_models(task="image-generation")
OF_PROBABILITIES = ("gan", "vae")
"""Networks whose logits are those of a pixel being on; of the others, the picture is the logits' tanh."""
RNG = np.random.default_rng(0)


def tiny(name, **arguments):
    return zoo.build(name, **{**zoo.spec(name).tiny, **arguments})


def tiny_partner(name, **arguments):
    return zoo.build_partner(name, **{**zoo.spec(name).tiny, **arguments})


def latents(model, batch=3):
    return RNG.normal(size=(batch, model.input_shape[-1])).astype(np.float32)


def pictures(partner, batch=3):
    return RNG.uniform(-1, 1, (batch, *partner.input_shape[1:])).astype(np.float32)


def partner_width(name, model):
    """An encoder gives a mean and a log variance for every latent, all others one logit."""
    return 2 * model.input_shape[-1] if name == "vae" else 1


def test_the_four_families_are_registered():
    assert NAMES == ["dcgan", "gan", "vae", "wgan_gp"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("image_shape", [(16, 24, 1), (28, 24, 3), (8, 8, 4)])
def test_a_latent_becomes_a_picture_that_the_partner_reads(name, image_shape):
    model, partner = tiny(name, image_shape=image_shape), tiny_partner(name, image_shape=list(image_shape))
    assert [x.name for x in (*model.inputs, *partner.inputs)] == ["latent", "image"]
    image = model(latents(model))
    assert image.shape == (3, *image_shape)
    assert image.dtype == "float32"
    assert -1 <= np.min(image) < np.max(image) <= 1
    assert partner(image).shape == (3, partner_width(name, model))
    assert partner.layers[-1].compute_dtype == "float32"


@pytest.mark.parametrize("name", NAMES)
def test_without_its_top_it_gives_the_last_stage(name):
    model, backbone = tiny(name), tiny(name, include_top=False)
    last = zoo.features(model, list(zoo.stages(model))[-1])
    backbone.set_weights(last.get_weights())
    x = latents(model)
    np.testing.assert_allclose(backbone(x), last(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_logits_are_the_picture_before_it_is_squashed(name):
    model = tiny(name)
    logits, image = zoo.features(model, ["logits", "image"])(latents(model))
    assert logits.shape == image.shape
    logits = np.asarray(logits, np.float64)
    expected = 2 / (1 + np.exp(-logits)) - 1 if name in OF_PROBABILITIES else np.tanh(logits)
    np.testing.assert_allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_weight_of_both_networks(name):
    model, partner = tiny(name), tiny_partner(name)
    image = pictures(partner, 8)
    with tf.GradientTape(persistent=True) as tape:
        given = tf.reduce_mean((model(latents(model, 8), training=True) - 5) ** 2)
        read = tf.reduce_mean((partner(image, training=True) - 5) ** 2)
    for loss, network in ((given, model), (read, partner)):
        gradients = tape.gradient(loss, [weight.value for weight in network.trainable_weights])
        for weight, gradient in zip(network.trainable_weights, gradients, strict=True):
            assert gradient is not None, f"{weight.path} has no gradient"
            assert np.any(gradient), f"the gradient of {weight.path} is 0"


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_gives_nearly_the_same_in_float32(name):
    model, partner = tiny(name), tiny_partner(name)
    z, image = latents(model), pictures(partner)
    before = keras.mixed_precision.dtype_policy()
    try:
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
        halves = tiny(name), tiny_partner(name)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    for half, network, x in zip(halves, (model, partner), (z, image), strict=True):
        assert half.get_layer("stage1").compute_dtype == "bfloat16"
        half.set_weights(network.get_weights())
        assert half(x).dtype == "float32"
        np.testing.assert_allclose(half(x), network(x), atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_cloned_saved_and_exported(name, tmp_path):
    for i, network in enumerate((tiny(name), tiny_partner(name))):
        x = (latents if i == 0 else pictures)(network)
        expected = network(x)
        clone = keras.models.clone_model(network)
        clone.set_weights(network.get_weights())
        np.testing.assert_array_equal(clone(x), expected)
        network.save(tmp_path / f"{i}.keras")
        np.testing.assert_array_equal(keras.models.load_model(tmp_path / f"{i}.keras")(x), expected)
        signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
        served = tf.function(lambda x, network=network: network(x, training=False), input_signature=[signature])
        for batch in (1, 3):
            np.testing.assert_allclose(served(x[:batch]), expected[:batch], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"input_shape": (4, 4)}, r"must be \(latent_dim,\). Received: \(4, 4\)"),
        ({"input_shape": (0,)}, r"must be a tuple of positive integers. Received: \(0,\)"),
        ({"image_shape": (16, 16)}, r"must be \(height, width, channels\).*Received: \(16, 16\)"),
        ({"image_shape": (16, 16, 2)}, r"the channels 1, 3 or 4. Received: \(16, 16, 2\)"),
        ({"image_shape": (16, None, 1)}, r"positive integers.*Received: \(16, None, 1\)"),
        ({"image_shape": 16}, r"positive integers.*Received: 16"),
    ],
)
def test_shapes_that_cannot_be_are_refused_by_both_networks(name, wrong, said):
    for build in (tiny, tiny_partner):
        with pytest.raises(ValueError, match=said):
            build(name, **wrong)


@pytest.mark.parametrize("name", NAMES)
def test_the_partner_takes_the_same_arguments_and_no_others(name):
    arguments = zoo.spec(name).arguments
    tiny_partner(name, **{k: v for k, v in arguments.items() if k in zoo.spec(name).tiny})
    with pytest.raises(ValueError, match=f"Unknown argument of '{name}' 'include_top'"):
        tiny_partner(name, include_top=False)

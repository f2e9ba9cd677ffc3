"""What is special to the variational auto-encoder: the terms of its bound, and that it learns by them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import variational

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_an_encoders_answer_is_means_then_log_variances():
    posterior = normal(3, 10)
    means, log_variances = variational.split(posterior)
    np.testing.assert_array_equal(means, posterior[:, :5])
    np.testing.assert_array_equal(log_variances, posterior[:, 5:])


def test_latents_have_the_mean_and_the_variance_they_are_told():
    means, log_variances = np.array([[2.0, -1.0]], np.float32), np.log(np.array([[9.0, 0.25]], np.float32))
    found = np.asarray(variational.reparameterize(means, log_variances, normal(20_000, 2)))
    np.testing.assert_allclose(found.mean(axis=0), [2, -1], atol=0.1)
    np.testing.assert_allclose(found.var(axis=0), [9, 0.25], rtol=0.05)
    np.testing.assert_array_equal(variational.reparameterize(means, log_variances, np.zeros((1, 2))), means)


def test_kl_divergence_is_the_mean_of_what_is_more_probable_under_the_posterior():
    """Its definition, `E_q log(q / p)`, integrated on a grid for each latent."""
    means, log_variances = normal(4, 3), normal(4, 3)
    z = np.linspace(-20, 20, 100_001)

    def log_density(mean, log_variance):
        return -((z - mean) ** 2) / 2 / np.exp(log_variance) - log_variance / 2 - np.log(2 * np.pi) / 2

    expected = np.zeros(4)
    for example, latent in np.ndindex(4, 3):
        q = log_density(*(np.float64(x[example, latent]) for x in (means, log_variances)))
        expected[example] += np.sum(np.exp(q) * (q - log_density(0, 0))) * (z[1] - z[0])
    np.testing.assert_allclose(variational.kl_divergence(means, log_variances), expected, rtol=1e-4)


def test_kl_divergence_is_exact_where_it_is_small():
    """`exp(v) - v - 1` in float32 is 0, or wrong by half, for the variances near 1 of latents that are not used."""
    log_variance = np.full((1, 1), 1e-3, np.float32)
    assert float(variational.kl_divergence(np.zeros((1, 1)), log_variance)[0]) == pytest.approx(2.5e-7, rel=1e-3)
    assert float(variational.kl_divergence(np.zeros((1, 8)), np.zeros((1, 8)))[0]) == 0


def test_reconstruction_is_the_likelihood_of_every_pixel():
    images, logits = RNG.uniform(-1, 1, (3, 2, 4, 1)).astype(np.float32), 3 * normal(3, 2, 4, 1)
    expected = np.zeros(3)
    for place in np.ndindex(*images.shape):
        on, p = (np.float64(images[place]) + 1) / 2, 1 / (1 + np.exp(-np.float64(logits[place])))
        expected[place[0]] -= on * np.log(p) + (1 - on) * np.log(1 - p)
    np.testing.assert_allclose(variational.bernoulli_reconstruction(images, logits), expected, rtol=1e-5)


@pytest.mark.parametrize(("pixel", "logit", "nats"), [(1, 100, 0), (-1, 100, 100), (1, -100, 100), (-1, -100, 0)])
def test_reconstruction_knows_no_probability_too_small(pixel, logit, nats):
    image, logits = np.full((1, 1, 1, 1), pixel, np.float32), tf.constant(np.full((1, 1, 1, 1), logit, np.float32))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        found = variational.bernoulli_reconstruction(image, logits)
    assert float(found[0]) == pytest.approx(nats, abs=1e-6)
    assert float(tape.gradient(found, logits)[0, 0, 0, 0]) == pytest.approx(np.sign(nats) * np.sign(logit), abs=1e-6)


def test_the_terms_are_float32_whatever_the_encoder_computed_in():
    half = tf.zeros((2, 4), tf.float16)
    found = [
        *variational.split(half),
        variational.kl_divergence(half, half),
        variational.bernoulli_reconstruction(half, half),
    ]
    assert {x.dtype for x in found} == {tf.float32}


def test_perceptrons_mirror_each_other_and_take_any_size():
    arguments = {"input_shape": (3,), "image_shape": (5, 7, 3), "hidden_sizes": (8, 12)}
    decoder, encoder = zoo.build("vae", **arguments), zoo.build_partner("vae", **arguments)
    assert zoo.stages(decoder) == {"stage1": (8,), "stage2": (12,)}
    assert zoo.stages(encoder) == {"stage1": (12,), "stage2": (8,)}
    assert {layer.activation.__name__ for layer in (*decoder.layers, *encoder.layers) if "stage" in layer.name} == {
        "tanh"
    }
    assert decoder(normal(2, 3)).shape == (2, 5, 7, 3)
    assert encoder(normal(2, 5, 7, 3)).shape == (2, 6)
    assert zoo.features(decoder, "logits")(normal(2, 3)).shape == (2, 5, 7, 3)


@pytest.mark.parametrize("build", [zoo.build, zoo.build_partner])
def test_hidden_layers_that_cannot_be_are_refused(build):
    with pytest.raises(ValueError, match=r"each of hidden_sizes of 'vae.*' must be a positive integer. Received: 2.5"):
        build("vae", hidden_sizes=(8, 2.5))
    with pytest.raises(ValueError, match=r"hidden_sizes of 'vae.*' must be a tuple .* Received: 500"):
        build("vae", hidden_sizes=500)


def test_both_networks_learn_four_pictures_by_the_bound():
    keras.utils.set_random_seed(0)
    arguments = {**zoo.spec("vae").tiny, "image_shape": (8, 8, 1)}
    decoder, encoder = zoo.build("vae", **arguments), zoo.build_partner("vae", **arguments)
    logits = zoo.features(decoder, "logits")
    images = np.full((4, 8, 8, 1), -1, np.float32)
    for i, image in enumerate(images):
        image[4 * (i // 2) : 4 * (i // 2) + 4, 4 * (i % 2) : 4 * (i % 2) + 4] = 1
    weights = [*decoder.trainable_variables, *encoder.trainable_variables]
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build(weights)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            means, log_variances = variational.split(encoder(images, training=True))
            z = variational.reparameterize(means, log_variances, tf.random.normal(means.shape))
            nats = variational.kl_divergence(means, log_variances) + variational.bernoulli_reconstruction(
                images, logits(z, training=True)
            )
            loss = tf.reduce_mean(nats)
        optimizer.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
        return loss

    losses = [float(step()) for _ in range(200)]
    assert losses[0] > 40  # 64 pixels by chance: 44 nats; 36 when it is known how many are on
    assert np.mean(losses[-20:]) < 12  # to tell which of four pictures it is takes log 4 = 1.4 nats, at the least
    means, _ = variational.split(encoder(images))
    np.testing.assert_array_equal(np.sign(decoder(means)), images)

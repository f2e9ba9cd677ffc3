"""The losses of adversarial networks against their papers' formulas, written out."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.adversarial import LOSSES, PENALTY_WEIGHT, gradient_penalty, interpolates

RNG = np.random.default_rng(0)


def probability(logit):
    return 1 / (1 + np.exp(-np.float64(logit)))


def mean(values):
    return sum(values) / len(values)


BY_HAND = {
    "minimax": (
        lambda real, fake: (
            -mean([np.log(probability(r)) for r in real]) - mean([np.log(1 - probability(f)) for f in fake])
        ),
        lambda fake: mean([np.log(1 - probability(f)) for f in fake]),
    ),
    "non_saturating": (
        lambda real, fake: (
            -mean([np.log(probability(r)) for r in real]) - mean([np.log(1 - probability(f)) for f in fake])
        ),
        lambda fake: -mean([np.log(probability(f)) for f in fake]),
    ),
    "hinge": (
        lambda real, fake: -mean([min(0, r - 1) for r in real]) - mean([min(0, -1 - f) for f in fake]),
        lambda fake: -mean(fake),
    ),
    "wasserstein": (
        lambda real, fake: -(mean(real) - mean(fake)),
        lambda fake: -mean(fake),
    ),
}


def slopes(loss, *logits):
    logits = [tf.constant(x, tf.float32) for x in logits]
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(*logits)
    return float(value), [np.asarray(x) for x in tape.gradient(value, logits)]


def test_every_loss_is_written_out_here():
    assert list(LOSSES) == list(BY_HAND)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_papers_formula(name):
    real, fake = 3 * RNG.normal(size=(7, 1)), 3 * RNG.normal(size=(5, 1))
    discriminator, generator = BY_HAND[name]
    loss = LOSSES[name]
    found = loss.discriminator(real.astype(np.float32), fake.astype(np.float32))
    assert found.shape == ()
    assert float(found) == pytest.approx(discriminator(real.ravel(), fake.ravel()), rel=1e-5)
    assert float(loss.generator(fake.astype(np.float32))) == pytest.approx(generator(fake.ravel()), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_in_half_precision_is_float32(name):
    half = tf.ones((4, 1), tf.float16)
    assert LOSSES[name].discriminator(half, half).dtype == tf.float32
    assert LOSSES[name].generator(half).dtype == tf.float32


# Of logits of 100 for real pictures and -100 for generated ones, and the other way round: discriminator, generator.
AT_THE_ENDS = {"minimax": (0, 0, 200, -100), "non_saturating": (0, 100, 200, 0)}
AT_THE_ENDS |= {"hinge": (0, 100, 202, -100), "wasserstein": (-200, 100, 200, -100)}


@pytest.mark.parametrize("name", LOSSES)
def test_logits_of_a_hundred_neither_overflow_nor_vanish(name):
    right, wrong = np.full((3, 1), 100.0), np.full((3, 1), -100.0)
    values, gradients = [], []
    for real, fake in ((right, wrong), (wrong, right)):
        for loss, logits in ((LOSSES[name].discriminator, (real, fake)), (LOSSES[name].generator, (fake,))):
            value, slope = slopes(loss, *logits)
            values.append(value)
            gradients += slope
    assert values == pytest.approx(AT_THE_ENDS[name])
    assert np.isfinite(gradients).all()


def test_only_the_saturating_generator_learns_nothing_from_a_sure_discriminator():
    """§3 of the paper: why there are two."""
    sure = np.full((2, 1), -30.0)
    steps = {name: slopes(LOSSES[name].generator, sure)[1][0].ravel() for name in LOSSES}
    assert np.abs(steps.pop("minimax")).max() < 1e-12
    for step in steps.values():
        np.testing.assert_allclose(step, -0.5, atol=1e-6)


def test_a_discriminator_that_knows_nothing_loses_two_bits():
    nothing = np.zeros((3, 1), np.float32)
    assert float(LOSSES["minimax"].discriminator(nothing, nothing)) == pytest.approx(2 * np.log(2))


def test_interpolates_lie_where_their_share_says():
    real, fake = RNG.normal(size=(2, 5, 3, 2, 1)).astype(np.float32)
    shares = np.array([0, 1, 0.5, 0.25, 0.9], np.float32)
    found = np.asarray(interpolates(real, fake, shares))
    for i, share in enumerate(shares):
        np.testing.assert_allclose(found[i], share * real[i] + (1 - share) * fake[i], rtol=1e-6)
    np.testing.assert_allclose(interpolates(real, fake, shares[:, None]), found)


def test_gradient_penalty_is_the_squared_distance_of_each_norm_from_one():
    gradients = RNG.normal(size=(6, 3, 2, 1)).astype(np.float32)
    expected = mean([(np.sqrt(sum(float(g) ** 2 for g in example.ravel())) - 1) ** 2 for example in gradients])
    assert float(gradient_penalty(gradients)) == pytest.approx(expected, rel=1e-5)
    assert PENALTY_WEIGHT == 10


def test_a_gradient_of_zeros_is_penalised_without_a_slope_that_is_no_number():
    value, (slope,) = slopes(gradient_penalty, np.zeros((2, 4, 4, 1)))
    assert value == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(slope, 0)

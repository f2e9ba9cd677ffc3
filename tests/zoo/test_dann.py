"""DANN: the published parts, a domain head for any features, and what the reversed gradient does to them."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import zoo
from zoo.architectures.dann import adaptation_factor, annealed_rate, domain_head

TINY = dict(zoo.spec("dann").tiny)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def kinds(model):
    return [layer.name for layer in model.layers[1:]]


def test_it_is_the_figure():
    model = zoo.build("dann")
    convolutions = (3 * 25 + 1) * 32 + (32 * 25 + 1) * 48
    assert model.count_params() == convolutions + (4 * 4 * 48 + 1) * 100 + 101 * 100 + 101 * 10 == 128_890
    assert zoo.stages(model) == {"stage1": (12, 12, 32), "stage2": (4, 4, 48)}
    backbone = zoo.build("dann", include_top=False)
    assert backbone.output_shape == (None, 4, 4, 48)
    head = domain_head(backbone)
    assert kinds(head) == ["reversal", "flatten", "domain_fc1", "domain"]
    assert sum(math.prod(w.shape) for w in head.trainable_weights) == (768 + 1) * 100 + 101


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(16, 16), (19, 30)])
def test_it_takes_every_legal_picture(size, channels):
    model = zoo.build("dann", **{**TINY, "input_shape": (*size, channels), "num_classes": 5})
    assert model(np.zeros((2, *size, channels), np.float32)).shape == (2, 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"input_shape": (15, 16, 3)}, "at least 16x16 pixels"),
        ({"widths": (8,)}, r"those of its two convolutions. Received: \(8,\)"),
        ({"widths": (8, 0)}, "each of widths of 'dann' must be a positive integer. Received: 0"),
        ({"hidden_sizes": (0,)}, "each of hidden_sizes of 'dann' must be a positive integer. Received: 0"),
    ],
)
def test_illegal_arguments_say_what_is_accepted(arguments, said):
    with pytest.raises(ValueError, match=said):
        zoo.build("dann", **{**TINY, **arguments})


def test_without_its_top_it_gives_the_last_stage():
    model = zoo.build("dann", **TINY)
    backbone = zoo.build("dann", **TINY, include_top=False)
    backbone.set_weights(zoo.features(model, "stage2").get_weights())
    picture = numbers(2, 16, 16, 3)
    np.testing.assert_array_equal(backbone(picture), zoo.features(model, "stage2")(picture))


@pytest.mark.parametrize(
    ("shape", "between"),
    [
        ((7,), []),
        ((3, 4), ["flatten"]),
        ((None, 4), ["pool"]),
        ((2, 3, 4), ["flatten"]),
        ((None, None, 4), ["pool"]),
        ((7, 7, 512), ["pool"]),
    ],
)
def test_features_of_every_shape_become_one_logit(shape, between):
    head = domain_head(shape, (5, 3))
    assert kinds(head) == ["reversal", *between, "domain_fc1", "domain_fc2", "domain"]
    assert head(numbers(6, *(n or 2 for n in shape))).shape == (6, 1)
    assert head.outputs[0].dtype == "float32"


@pytest.mark.parametrize("name", ["lenet5", "mobilenet_v2", "vit_tiny16"])
def test_it_sits_on_the_backbones_of_the_zoo(name):
    backbone = zoo.build(name, **zoo.spec(name).tiny, include_top=False)
    head = domain_head(backbone, (4,))
    assert keras.Model(backbone.input, head(backbone.output)).output_shape == (None, 1)


def test_how_features_are_pooled_can_be_said():
    assert "pool" in kinds(domain_head((2, 3, 4), pooling="average"))
    assert "flatten" in kinds(domain_head((7, 7, 512), (1,), pooling="flatten"))
    with pytest.raises(ValueError, match=r"Received: \(None, 4\)\. Accepted for these: pooling='average'"):
        domain_head((None, 4), pooling="flatten")
    with pytest.raises(ValueError, match="Did you mean 'flatten'"):
        domain_head((2, 4), pooling="flaten")


@pytest.mark.parametrize("shape", [(), (2, 2, 2, 2), (4, None), 5, ("4",)])
def test_what_is_no_features_is_refused(shape):
    with pytest.raises(ValueError, match=r"Accepted: \(n,\), \(length, n\) or \(height, width, n\)"):
        domain_head(shape)


def test_a_model_of_several_outputs_is_refused():
    both = zoo.features(zoo.build("dann", **TINY), ["stage1", "stage2"])
    with pytest.raises(ValueError, match="must be one vector, one sequence of tokens or one stack of maps"):
        domain_head(both)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_the_head_learns_its_domain_and_the_features_unlearn_it(factor):
    keras.utils.set_random_seed(0)
    extractor = keras.Sequential([keras.Input((3,)), layers.Dense(4)])
    head = domain_head(extractor, (5,), factor=factor)
    plain = keras.Sequential(head.layers[2:])  # the same layers without the reversal
    x, domain = numbers(8, 3), np.repeat([[0.0], [1.0]], 4, axis=0)

    def gradients(head):
        weights = [w.value for w in [*extractor.trainable_weights, *plain.trainable_weights]]
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.binary_crossentropy(domain, head(extractor(x)), from_logits=True))
        found = tape.gradient(loss, weights)
        return found[:2], found[2:]

    (of_features, of_head), (plainly, of_plain_head) = gradients(head), gradients(plain)
    for ours, theirs in zip(of_head, of_plain_head, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(of_features, plainly, strict=True):
        assert np.any(theirs)
        np.testing.assert_allclose(ours, -factor * theirs, rtol=1e-5, atol=1e-7)


def test_the_schedules_are_the_papers():
    assert adaptation_factor(0.0) == 0
    assert adaptation_factor(0.3) == pytest.approx(2 / (1 + math.exp(-3)) - 1)
    assert adaptation_factor(1.0) == pytest.approx(0.9999092)
    assert annealed_rate(0.0) == 0.01
    assert annealed_rate(0.5, 0.1) == pytest.approx(0.1 / 6**0.75)
    progress = np.linspace(0, 1, 5, dtype=np.float32)
    for schedule in (adaptation_factor, annealed_rate):
        one_by_one = [schedule(float(p)) for p in progress]
        np.testing.assert_allclose(schedule(progress), one_by_one, rtol=1e-6)
        np.testing.assert_allclose(tf.function(schedule)(tf.constant(progress)), one_by_one, rtol=1e-5, atol=1e-6)

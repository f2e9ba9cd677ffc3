"""Domain adaptation: the parts of the loss, the schedule, and the networks that are compared."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import recipes
import zoo
from recipes.adapting import AdaptationSchedule, AdaptingTraining, Pairs
from recipes.pipeline import Part
from tests import raw_data
from zoo.architectures.dann import REVERSAL, domain_head

X, Y = raw_data.pictures((24, 24, 1))
INVERTED = 255 - X
TINY = {k: v for k, v in zoo.spec("dann").tiny.items() if k not in ("input_shape", "num_classes")}
OPTIONS = {"epochs": 4, "batch_size": 8, "learning_rate": 0.01, "verbose": False, "validation": 0.25, "test": 0.25}


def train(tmp_path, model="dann", target=(INVERTED, Y), **options):
    arguments = {**OPTIONS, "run_dir": str(tmp_path / "run"), **({"model_args": TINY} if model == "dann" else {})}
    return recipes.domain_adaptation(model, (X, Y), target_data=target, **{**arguments, **options})


@pytest.mark.slow
def test_three_networks_are_compared_side_by_side(tmp_path, drawing):
    with drawing():
        run = train(tmp_path)
    assert set(run.metrics) == {
        "accuracy", "source_accuracy", "source_only_accuracy", "target_trained_accuracy",
    }  # fmt: skip
    source_only, target_trained = (recipes.load_run(run.dir / name) for name in ("source_only", "target_trained"))
    assert target_trained.metrics["accuracy"] == pytest.approx(run.metrics["target_trained_accuracy"])
    on_target = recipes.evaluate(source_only, (INVERTED, Y))["accuracy"]
    assert on_target == pytest.approx(run.metrics["source_only_accuracy"])
    assert source_only.model.count_params() == run.model.count_params()
    assert Image.open(run.dir / "features.png").size == (1000, 500)
    assert {"label", "domain", "accuracy", "domain_accuracy", "val_label"} <= set(run.history)


def test_any_classifier_is_adapted_and_pictures_without_classes_will_do(tmp_path):
    run = train(tmp_path, "lenet5", target=INVERTED)
    assert set(run.metrics) == {"source_accuracy"}
    assert run.bundle.labels == ("0", "1", "2")
    assert [layer.name for layer in run.model.layers] == [
        layer.name for layer in zoo.build("lenet5", input_shape=(24, 24, 1), num_classes=3).layers
    ]


def test_grey_and_coloured_pictures_are_both_read_as_coloured_ones(tmp_path):
    run = train(tmp_path, target=(np.repeat(INVERTED, 3, axis=-1), Y), compare=False, epochs=1)
    assert run.model.input_shape == (None, 24, 24, 3)


@pytest.mark.slow
def test_a_run_can_be_evaluated_again_by_name(tmp_path, monkeypatch, data_dir):
    monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
    run = recipes.domain_adaptation(
        "dann", "digits", target_data="digits_m/digits", compare=False, image_size=24,
        run_dir=str(tmp_path / "run"), **{**OPTIONS, "epochs": 1, "batch_size": 64}, model_args=TINY,
    )  # fmt: skip
    assert recipes.evaluate(recipes.load_run(run.dir)) == pytest.approx(run.metrics)
    assert "--target-data digits_m/digits" in run.facts["command"]
    assert [each["name"] for each in run.facts["licenses"]] == ["digits", "digits_m/digits"]


def small_pair():
    image = keras.Input((2,), name="image")
    features = keras.layers.Dense(2, use_bias=False, name="stage1")(image)
    network = keras.Model(image, [features, keras.layers.Dense(2, use_bias=False, name="logits")(features)])
    head = domain_head((2,), ())
    return network, head


def test_the_parts_are_those_of_the_paper_and_the_gradient_is_reversed():
    keras.utils.set_random_seed(0)
    network, head = small_pair()
    trained = AdaptingTraining(network, head, keras.losses.CategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    source, target = (tf.constant(rng.normal(size=(3, 2)).astype(np.float32)) for _ in range(2))
    classes = tf.one_hot([0, 1, 1], 2)
    parts = trained(((source, target), classes)).numpy()
    kernel, logits_kernel = (weight.numpy() for weight in network.trainable_weights)
    domain_kernel, bias = (weight.numpy() for weight in head.trainable_weights)
    logits = source.numpy() @ kernel @ logits_kernel
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    of_source, of_target = ((x.numpy() @ kernel @ domain_kernel + bias)[:, 0] for x in (source, target))
    np.testing.assert_allclose(parts[:, 0], -np.log(shares[range(3), [0, 1, 1]]), rtol=1e-4)
    np.testing.assert_allclose(parts[:, 1], (np.log1p(np.exp(of_source)) + np.log1p(np.exp(-of_target))) / 2, rtol=1e-4)
    np.testing.assert_array_equal(parts[:, 2], logits.argmax(1) == [0, 1, 1])
    np.testing.assert_array_equal(parts[:, 3], ((of_source < 0) * 1 + (of_target >= 0)) / 2)

    def gradient(factor):
        head.get_layer(REVERSAL).factor.assign(factor)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(trained(((source, target), classes))[:, 1])
        return tape.gradient(loss, [network.trainable_weights[0].value, head.trainable_weights[0].value])

    (features, of_head), (turned, the_same) = gradient(1.0), gradient(0.25)
    np.testing.assert_allclose(turned, 0.25 * features, rtol=1e-5)
    np.testing.assert_allclose(the_same, of_head, rtol=1e-6)


def test_the_factor_rises_with_the_training():
    _, head = small_pair()
    schedule, seen = AdaptationSchedule(head, 0.5, epochs=4, steps=10), []
    for epoch in range(4):
        schedule.on_epoch_begin(epoch)
        for batch in (0, 5):
            schedule.on_train_batch_begin(batch)
            seen.append(float(head.get_layer(REVERSAL).factor))
    progress = np.arange(8) / 8
    np.testing.assert_allclose(seen, 0.5 * (2 / (1 + np.exp(-10 * progress)) - 1), atol=1e-6)


def test_target_pictures_go_round_while_the_source_is_read_once():
    source = Part(5, (np.arange(5), np.arange(5)), None, None)
    target = Part(3, (np.arange(100, 103), np.zeros(3, int)), None, None)
    pairs = list(Pairs(source, target).epochs(2, seed=0, shuffle=True).take(6).as_numpy_iterator())
    first, second = pairs[:3], pairs[3:]
    for epoch in (first, second):
        seen = np.concatenate([x for (x, _), _ in epoch])
        assert len(set(seen)) == len(seen)
        assert all((x == y).all() for (x, _), y in epoch)
    assert all(len(x) == len(other) for (x, other), _ in pairs)
    later = list(Pairs(source, target).epochs(2, seed=0, shuffle=True, first=1).take(3).as_numpy_iterator())
    for one, other in zip(second, later, strict=True):
        np.testing.assert_array_equal(one[0][0], other[0][0])
        np.testing.assert_array_equal(one[0][1], other[0][1])


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        (None, {}, "Adaptation needs two kinds of pictures"),
        ((INVERTED, Y % 2), {}, "must have the classes of the source, 0, 1, 2"),
        ("digitss", {}, "Did you mean 'digits'"),
        ((INVERTED, Y), {"class_weights": "balanced"}, "class_weights have no meaning for domain-adaptation"),
        ((INVERTED, Y), {"adaptation": -1.0}, "adaptation must be a number of at least 0"),
        ((INVERTED, Y), {"domain_sizes": (0,)}, "must be a positive integer"),
    ],
)
def test_bad_input_is_named(tmp_path, target, options, said):
    with pytest.raises(ValueError, match=said):
        train(tmp_path, target=target, **options)
    assert not list(tmp_path.iterdir())

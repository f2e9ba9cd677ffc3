"""Every option of training has the effect it promises."""

import dataclasses
import inspect
import io
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import recipes
from recipes import optimizers
from recipes.config import OPTIMIZERS, Config, ImageConfig
from recipes.optimizers import Schedule
from recipes.pipeline import Reading, prepare
from recipes.preprocessing import ImagePreprocessing, TablePreprocessing, load, save

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5] > 0).astype(int)
KIND = {"sgd": "SGD", "momentum": "SGD", "nesterov": "SGD", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW"}


def trained(tmp_path, y=Y, run_dir="run", **options):
    options = {"epochs": 10, "learning_rate": 0.05, "verbose": False, **options}
    return recipes.binary_classification("logistic_regression", (X, y), run_dir=str(tmp_path / run_dir), **options)


def kernel(run):
    return run.model.get_weights()[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_by_name(name):
    optimizer = optimizers.make(Config(optimizer=name, clip_norm=1.0), steps_per_epoch=10)
    assert type(optimizer).__name__ == KIND[name]
    assert optimizer.global_clipnorm == 1.0
    assert getattr(optimizer, "nesterov", False) == (name == "nesterov")
    assert getattr(optimizer, "momentum", 0.0) == (0.9 if name in ("momentum", "nesterov") else 0.0)
    assert float(optimizer.learning_rate) == pytest.approx(0.01 if KIND[name] == "SGD" else 0.001)
    assert optimizer.weight_decay == (0.01 if name == "adamw" else None)


@pytest.mark.parametrize(
    ("kind", "rates"),
    [
        ("constant", {0: 0.05, 10: 0.55, 19: 1.0, 20: 1.0, 99: 1.0}),
        ("step", {19: 1.0, 49: 1.0, 50: 0.1, 74: 0.1, 75: 0.01}),
        ("cosine", {20: 1.0, 60: 0.5, 100: 0.0, 40: 0.5 * (1 + math.cos(math.pi / 4))}),
    ],
)
def test_schedules_take_their_values(kind, rates):
    schedule = Schedule(kind, rate=1.0, steps=100, warmup_steps=20)
    assert {step: float(schedule(step)) for step in rates} == pytest.approx(rates, abs=1e-5)


def test_schedule_survives_saving():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Schedule("cosine", 0.1, 50, 5)))
    assert float(again(7)) == float(Schedule("cosine", 0.1, 50, 5)(7))


def test_the_schedule_is_what_training_used(tmp_path):
    run = trained(tmp_path, epochs=8, schedule="step", validation=0, batch_size=20, test=0)
    # At the end of epochs 1 to 8: the drops come at the first step of the second half and of the last quarter.
    np.testing.assert_allclose(run.history["learning_rate"], [0.05] * 3 + [0.005] * 2 + [0.0005] * 3, rtol=1e-5)


@pytest.mark.parametrize(
    "penalty", [{"l2": 0.1}, pytest.param({"l1": 0.1}, marks=pytest.mark.slow), {"weight_decay": 2.0}]
)
def test_penalties_and_decay_keep_kernels_small(tmp_path, penalty):
    plain = trained(tmp_path, run_dir="plain")
    small = trained(tmp_path, run_dir="small", **penalty)
    assert np.abs(kernel(small)).sum() < 0.8 * np.abs(kernel(plain)).sum()


def test_clipping_bounds_a_step(tmp_path):
    run = trained(tmp_path, optimizer="sgd", learning_rate=1.0, clip_norm=1e-3, epochs=1, batch_size=200)
    start = trained(tmp_path, run_dir="start", optimizer="sgd", learning_rate=1e-12, epochs=1, batch_size=200)
    weights = zip(run.model.get_weights(), start.model.get_weights(), strict=True)
    moved = np.concatenate([(after - before).ravel() for after, before in weights])
    assert np.linalg.norm(moved) == pytest.approx(1e-3, rel=0.01)


@pytest.mark.slow
def test_label_smoothing_tempers_the_answers(tmp_path):
    sure = trained(tmp_path, run_dir="sure", epochs=60)
    tempered = trained(tmp_path, run_dir="tempered", epochs=60, label_smoothing=0.3)
    means = [run.bundle.predict(run.examples.raw)["probabilities"].max(1).mean() for run in (sure, tempered)]
    assert means[1] < means[0] - 0.03


@pytest.mark.slow
def test_balanced_class_weights_find_the_rare_class(tmp_path):
    rare = (X[:, 0] + 0.8 * RNG.normal(size=200) > 1.6).astype(int)
    assert 0.02 < rare.mean() < 0.25
    found = []
    for i, weights in enumerate((None, "balanced")):
        run = trained(tmp_path, rare, run_dir=str(i), class_weights=weights, epochs=40, test=0, validation=0)
        answers = run.bundle.predict(run.examples.raw)["class_ids"]
        found.append(answers[run.examples.truth == "1"].mean())
    assert found[1] > found[0] + 0.2


def test_order_is_a_function_of_seed_and_epoch():
    keras.utils.set_random_seed(1)
    raw = tf.data.Dataset.range(10).map(lambda i: (tf.cast(i, tf.float32)[None], i))
    for bytes_per_example in (4, 2**40):  # in memory, and streamed
        part = prepare(raw, 10, Reading(lambda x, y: (x, y)), bytes_per_example)
        assert (part.arrays is None) == (bytes_per_example > 4)

        def order(seed, shuffle=True, part=part):
            batches = part.epochs(5, seed, shuffle).take(4).as_numpy_iterator()
            return np.concatenate([y for _, y in batches]).reshape(2, 10).tolist()

        first, second = order(seed=1)
        assert sorted(first) == sorted(second) == list(range(10))
        assert first != second
        assert order(seed=1) == [first, second]
        assert order(seed=2) != [first, second]
        assert order(seed=1, shuffle=False) == [list(range(10))] * 2


def test_recipes_show_their_options():
    parameters = inspect.signature(recipes.image_classification).parameters
    assert list(parameters)[:2] == ["model", "data"]
    assert {field.name for field in dataclasses.fields(ImageConfig)} <= set(parameters)
    assert "label_smoothing: Share of the truth" in recipes.image_classification.__doc__


@pytest.mark.parametrize(
    "preprocessing",
    [ImagePreprocessing(28, 28, 3, mean=(0.5, 0.5, 0.5)), TablePreprocessing(("a", "b"), (1.0, 2.0), (3.0, 4.0))],
)
def test_preprocessing_survives_a_folder(preprocessing, tmp_path):
    assert load(json.loads(json.dumps(save(preprocessing, tmp_path))), tmp_path) == preprocessing


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_picture_becomes_the_models_tensor(channels, mode, kind):
    mode = "RGB" if (mode, kind) == ("RGBA", "JPEG") else mode  # JPEG has no alpha
    file = io.BytesIO()
    Image.new(mode, (9, 13), 100 if mode == "L" else None).save(file, kind)
    preprocessing = ImagePreprocessing(6, 5, channels)
    tensor = preprocessing({"image_bytes": tf.constant([file.getvalue()])})
    assert tensor.shape == (1, 6, 5, channels)
    assert tensor.dtype == tf.float32
    assert 0 <= float(tf.reduce_min(tensor)) <= float(tf.reduce_max(tensor)) <= 1 + 1e-6


def test_batch_and_single_preprocessing_agree_to_the_bit():
    pixels = RNG.integers(0, 256, (3, 17, 11, 3), np.uint8)
    encoded = [tf.io.encode_png(picture).numpy() for picture in pixels]
    preprocessing = ImagePreprocessing(8, 8, 3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    batch = preprocessing({"image_bytes": tf.constant(encoded)})
    for picture, from_batch in zip(pixels, batch, strict=True):
        np.testing.assert_array_equal(preprocessing.one(tf.constant(picture)), from_batch)

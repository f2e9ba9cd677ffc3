"""Moving averages, accumulated gradients, 16-bit training, auxiliary heads: what each changes and what it must not."""

import keras
import numpy as np
import pytest

import export
import recipes
import zoo
from export import fresh_process
from recipes.auxiliary_heads import LossOfHeads, MetricOfFirstHead, first_head, heads_joined
from recipes.trained_form import FusedBatchNormalization, scaled, trained_form
from tests import raw_data
from tests.export.conftest import started_here
from zoo.layers import StochasticDepth

X = np.linspace(-1, 1, 24, dtype=np.float32)[:, None]
Y = (3 * X[:, 0] - 1).astype(np.float32)
RATE = 0.1


@pytest.fixture
def train(tmp_path):
    def trained(recipe, model, data, run_dir="run", **options):
        return recipe(model, data, run_dir=str(tmp_path / run_dir), verbose=False, **options)

    return trained


def line(weight=0.0, bias=0.0):
    model = zoo.build("linear_regression")
    model.set_weights([np.array([[weight]]), np.array([bias])])
    return model


def straight(train, model, **options):
    """A linear regression on 24 points in order, by plain gradient descent on (y - t)²/2."""
    options = {"batch_size": 24, "validation": 0, "test": 0, "standardize": False, **options}
    return train(
        recipes.regression,
        model,
        (X, Y),
        optimizer="sgd",
        learning_rate=RATE,
        loss="half_mse",
        shuffle=False,
        **options,
    )


def descent(steps):
    """(weight, bias) after each step of the same descent, by hand."""
    weight = bias = 0.0
    path = []
    for _ in range(steps):
        error = weight * X[:, 0] + bias - Y
        weight, bias = weight - RATE * (error * X[:, 0]).mean(), bias - RATE * error.mean()
        path.append((weight, bias))
    return np.array(path)


def test_the_run_has_the_moving_average_of_the_weights(train):
    run = straight(train, line(), epochs=20, ema=0.8)
    path = descent(20)
    average = path[0]
    for weights in path[1:]:
        average = 0.8 * average + 0.2 * weights
    assert abs(average[0] - path[-1][0]) > 0.05  # the average lags behind, so the test can tell
    np.testing.assert_allclose(
        np.concatenate([w.ravel() for w in run.model.get_weights()]), average, rtol=1e-4, atol=1e-6
    )


def test_averaged_weights_are_evaluated_saved_and_exported(train, tmp_path, monkeypatch):
    data = raw_data.pictures((12, 12, 1))
    options = {"epochs": 12, "batch_size": 8, "validation": 0.25, "test": 0.25, "ema": 0.9}
    run = train(recipes.image_classification, "lenet5", data, model_args={"activation": "relu"}, **options)
    saved = recipes.load_run(run.dir)
    for weight, kept in zip(run.model.get_weights(), saved.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert recipes.evaluate(saved, data) == run.metrics
    # What the last line of the history says of the validation part is what these weights give there, and no others.
    raw_run = train(
        recipes.image_classification,
        "lenet5",
        data,
        "raw",
        model_args={"activation": "relu"},
        **{**options, "ema": None},
    )
    assert run.history["loss"].equals(raw_run.history["loss"])  # training itself is the same
    assert not np.isclose(run.history["val_loss"].iloc[-1], raw_run.history["val_loss"].iloc[-1], rtol=1e-3)
    monkeypatch.setattr(fresh_process, "started", started_here)
    assert export.verify(export.publish(run, tmp_path / "served").path).ok


def test_accumulated_gradients_are_those_of_the_large_batch(train):
    large = straight(train, line(), epochs=6)
    small = straight(train, line(), run_dir="small", epochs=6, batch_size=6, gradient_accumulation=4)
    plain = straight(train, line(), run_dir="plain", epochs=6, batch_size=6)
    for w_large, w_small in zip(large.model.get_weights(), small.model.get_weights(), strict=True):
        np.testing.assert_allclose(w_small, w_large, rtol=1e-5)
    assert not np.allclose(plain.model.get_weights()[0], large.model.get_weights()[0], rtol=0.1)


def test_the_schedule_lasts_for_all_epochs_of_accumulated_batches(train):
    run = straight(train, line(), epochs=4, batch_size=6, gradient_accumulation=4, schedule="cosine")
    np.testing.assert_allclose(
        run.history["learning_rate"], RATE * 0.5 * (1 + np.cos(np.pi * np.arange(1, 5) / 4)), atol=1e-6
    )


@keras.saving.register_keras_serializable("tests")
class Witness(keras.layers.Layer):
    """Remembers in which dtype it was called while training."""

    seen = []  # noqa: RUF012 - of all copies

    def call(self, x, training=False):
        if training:
            self.seen.append(keras.backend.standardize_dtype(x.dtype))
        return x


def witnessed():
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(8, 3, activation="relu")(image)
    x = Witness()(x)
    x = keras.layers.GlobalMaxPooling2D()(x)
    return keras.Model(image, keras.layers.Dense(3, name="logits")(x), name="witnessed")


@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
def test_training_computes_in_16_bits_and_the_run_in_32(precision, train):
    Witness.seen.clear()
    model = witnessed()
    run = train(
        recipes.image_classification, model, raw_data.pictures((8, 8, 1)),
        precision=precision, epochs=40, learning_rate=0.02, validation=0, test=0,
    )  # fmt: skip
    assert set(Witness.seen) == {precision}
    assert run.model is model  # trained in place, as ever
    assert {layer.compute_dtype for layer in recipes.load_run(run.dir).model.layers} == {"float32"}
    assert {str(weight.dtype) for weight in run.model.weights} == {"float32"}
    assert run.metrics["accuracy"] > 0.9
    outputs = run.bundle.predict(run.examples.raw)["probabilities"]
    again = recipes.load_run(run.dir).bundle.predict(run.examples.raw)["probabilities"]
    np.testing.assert_array_equal(outputs, again)


def test_a_scaled_loss_keeps_small_gradients_of_float16():
    """Gradients below 6e-8 are 0 in float16; with the scaled loss they arrive."""

    def step(optimizer):
        features = keras.Input((4,), name="features")
        x = keras.layers.Dense(4, name="hidden")(features)
        x = keras.layers.Rescaling(1e-5, name="small")(x)
        model = trained_form(keras.Model(features, keras.layers.Dense(1, name="value")(x)), "float16")
        before = model.get_layer("hidden").get_weights()[0]
        model.compile(optimizer, lambda y, p: keras.ops.mean(p) * 1e-3)
        model.fit(np.ones((4, 4), np.float32), np.ones((4, 1), np.float32), verbose=0)
        return np.abs(model.get_layer("hidden").get_weights()[0] - before).max()

    sgd = lambda: keras.optimizers.SGD(1e6)  # noqa: E731
    assert step(scaled(sgd(), "float32")) == 0
    assert step(scaled(sgd(), "float16")) > 0


def test_fused_batch_normalisation_is_that_of_keras():
    """In training, at inference and frozen: the same outputs, gradients and statistics."""
    image = keras.Input((5, 4, 3), name="image")
    x = keras.layers.BatchNormalization(momentum=0.8, name="bn")(image)
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x)))
    model.set_weights([np.random.default_rng(0).uniform(0.5, 1.5, w.shape) for w in model.weights])
    form = trained_form(model, "float32")
    assert type(form.get_layer("bn")) is FusedBatchNormalization
    pixels = np.random.default_rng(1).normal(2, 3, (16, 5, 4, 3)).astype(np.float32)
    for network in (model, form):
        network.compile(keras.optimizers.SGD(0.1), "mse")
        network.fit(pixels, np.ones((16, 2)), batch_size=8, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(form(pixels), model(pixels), rtol=1e-4, atol=1e-5)
    network_weights = [(w.path, w.numpy(), v.numpy()) for w, v in zip(model.weights, form.weights, strict=True)]
    for path, expected, found in network_weights:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=path)
    form.get_layer("bn").trainable = False
    before = form.get_layer("bn").get_weights()
    np.testing.assert_allclose(form(pixels, training=True), form(pixels), rtol=1e-5)
    for found, expected in zip(form.get_layer("bn").get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_trained_form_stays_out_of_the_run(train):
    """Only weights come from it: what is saved are Keras' own layers, which anybody can load."""
    options = {"model_args": {"blocks": (1, 1), "widths": (8, 16)}, "epochs": 1, "validation": 0, "test": 0}
    run = train(recipes.image_classification, "resnet20", raw_data.pictures((8, 8, 3)), **options)
    kinds = {type(layer) for layer in recipes.load_run(run.dir).model.layers}
    assert keras.layers.BatchNormalization in kinds
    assert FusedBatchNormalization not in kinds


def test_models_of_ones_own_compute_in_16_bits_up_to_their_last_layer():
    """With a model inside, and with functions of keras.ops, whose output is float32 all the same."""
    inner = keras.Input((4, 4, 1))
    x = keras.ops.relu(keras.layers.Conv2D(2, 3, name="conv")(inner)) * 2
    whole = keras.Model(inner, keras.layers.Dense(3, name="out")(keras.layers.Flatten()(x)), name="whole")
    image = keras.Input((4, 4, 1), name="image")
    form = trained_form(keras.Model(image, whole(image)), "bfloat16")
    layers = {layer.name: layer for layer in form.get_layer("whole").layers}
    assert layers["conv"].compute_dtype == "bfloat16"
    assert form.outputs[0].dtype == "float32"


def test_a_layer_that_cannot_be_copied_is_named():
    class Stubborn(keras.layers.Layer):
        def __init__(self, change, **kwargs):
            super().__init__(**kwargs)
            self.change = change

        def call(self, x):
            return self.change(x)

    features = keras.Input((4,), name="features")
    x = Stubborn(lambda x: x, name="mine")(keras.layers.BatchNormalization()(features))
    model = keras.Model(features, keras.layers.Dense(2)(x))
    assert trained_form(model, "float32") is model
    with pytest.raises(
        ValueError, match="Training in bfloat16 copies the model layer by layer, and 'mine', a Stubborn"
    ):
        trained_form(model, "bfloat16")


@pytest.mark.slow
def test_auxiliary_heads_through_a_recipe(train):
    from zoo import spec

    tiny = {k: v for k, v in spec("googlenet").tiny.items() if k not in ("input_shape", "num_classes")}
    data = raw_data.pictures(spec("googlenet").tiny["input_shape"])
    run = train(
        recipes.image_classification, "googlenet", data, model_args={**tiny, "auxiliary_heads": True},
        epochs=40, batch_size=24, learning_rate=0.02, ema=0.5, validation=0, test=0,
    )  # fmt: skip
    assert len(run.model.outputs) == 1
    assert not [layer for layer in run.model.layers if layer.name.startswith("auxiliary")]
    assert run.metrics["accuracy"] > 0.9


@pytest.mark.slow
def test_mixed_pictures_temper_the_answers(train):
    """Between two pictures the network learns to be in between: it is less sure of its answers."""
    data = raw_data.pictures((12, 12, 1))
    options = {"epochs": 40, "batch_size": 24, "learning_rate": 0.01, "validation": 0, "test": 0}
    sureness = {}
    for name, extra in {"plain": {}, "mixup": {"mixup": 1.0}, "cutmix": {"cutmix": 1.0}}.items():
        run = train(recipes.image_classification, "mlp", data, name, **options, **extra)
        sureness[name] = run.bundle.predict(run.examples.raw)["probabilities"].max(1).mean()
        assert run.metrics["accuracy"] > 0.9
    assert sureness["mixup"] < sureness["plain"] - 0.05
    assert sureness["cutmix"] < sureness["plain"] - 0.05


def test_stochastic_depth_drops_branches_in_training_alone():
    layer = StochasticDepth(0.3)
    branch = np.ones((4000, 2, 2, 3), np.float32)
    dropped = keras.ops.convert_to_numpy(layer(branch, training=True))
    per_example = dropped.reshape(4000, -1)
    assert (per_example == per_example[:, :1]).all()  # a whole branch or nothing
    assert abs((per_example[:, 0] == 0).mean() - 0.3) < 0.03
    assert abs(dropped.mean() - 1) < 0.03
    np.testing.assert_array_equal(layer(branch, training=False), branch)
    with pytest.raises(ValueError, match=r"at least 0 and below 1. Received: 1.0"):
        StochasticDepth(1.0)


def test_a_recipe_passes_stochastic_depth_to_the_builder(train):
    data = raw_data.pictures((8, 8, 3))
    options = {"epochs": 1, "model_args": {"blocks": (1, 1), "widths": (8, 16)}, "validation": 0, "test": 0}
    run = train(recipes.image_classification, "resnet20", data, stochastic_depth=0.5, **options)
    rates = [layer.rate for layer in run.model.layers if isinstance(layer, StochasticDepth)]
    assert rates == [0.25, 0.5]
    with pytest.raises(ValueError, match="'lenet5' takes no stochastic_depth"):
        train(recipes.image_classification, "lenet5", data, "other", stochastic_depth=0.5)


def test_auxiliary_heads_are_trained_and_left_out_of_the_answer():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten()(image)
    low = keras.layers.Dense(8, "relu", name="low")(x)
    high = keras.layers.Dense(8, "relu", name="high")(low)
    heads = [keras.layers.Dense(3, name=name)(y) for name, y in (("logits", high), ("auxiliary1", low))]
    model = keras.Model(image, heads)
    joined = heads_joined(model)
    assert joined.output_shape == (None, 2, 3)
    x, y = raw_data.pictures((8, 8, 1))
    x, y = x.astype(np.float32) / 255, keras.utils.to_categorical(y, 3)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    first, second = (keras.ops.convert_to_numpy(loss(y, head)) for head in model(x))
    total = keras.ops.convert_to_numpy(LossOfHeads(loss)(y, joined(x)))
    np.testing.assert_allclose(total, first + 0.3 * second, rtol=1e-5)
    before = model.get_layer("auxiliary1").get_weights()[0]
    joined.compile(
        keras.optimizers.Adam(0.01),
        LossOfHeads(loss),
        metrics=[MetricOfFirstHead(keras.metrics.CategoricalAccuracy(name="accuracy"))],
    )
    joined.fit(x, y, epochs=60, verbose=0)
    assert (model.get_layer("auxiliary1").get_weights()[0] != before).any()
    alone = first_head(model)
    right = (keras.ops.convert_to_numpy(alone(x)).argmax(1) == y.argmax(1)).mean()
    assert joined.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] == pytest.approx(right)
    assert right > 0.9

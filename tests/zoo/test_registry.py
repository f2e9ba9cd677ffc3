"""The registry: models by name, clear errors, and facts that agree with the published ones."""

import keras
import numpy as np
import pytest

import zoo

PUBLISHED_PARAMETERS = [
    ("linear_regression", {}, 2),
    ("logistic_regression", {"input_shape": (30,)}, 31),
    ("perceptron", {"input_shape": (2,)}, 3),
    ("mlp", {}, 45_360),
    ("mlp", {"hidden_sizes": (16, 16)}, 13_002),
    ("mlp", {"input_shape": (10,), "hidden_sizes": (10, 10), "num_classes": 1}, 231),
    ("mnist_cnn", {}, 2_164_630),
    ("cifar10_cnn", {}, 160_202),
    ("lenet5", {}, 61_706),
]


@pytest.mark.parametrize(("name", "arguments", "parameters"), PUBLISHED_PARAMETERS)
def test_parameters_are_the_published_ones(name, arguments, parameters):
    assert zoo.build(name, **arguments).count_params() == parameters


def test_list_models_filters_by_pattern_and_task():
    assert zoo.list_models("mn*") == ["mnist_cnn"]
    assert zoo.list_models(task="regression") == ["linear_regression"]
    assert zoo.list_models("no-such-*") == []


def test_unknown_model_offers_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown model 'lenet'\. Did you mean 'lenet5'\?"):
        zoo.build("lenet")


def test_unknown_task_offers_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'image-classification'"):
        zoo.list_models(task="image-clasification")


def test_unknown_argument_offers_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown argument of 'lenet5' 'num_clases'\. Did you mean 'num_classes'"):
        zoo.build("lenet5", num_clases=3)


@pytest.mark.parametrize(
    ("input_shape", "said"),
    [
        ((8, 8, 1), "at least 12x12 pixels. Received: (8, 8, 1)"),
        ((28, 28, 2), "with 1, 3 or 4 channels. Received: (28, 28, 2)"),
        ((28, 28), "must be (height, width, channels)"),
        ((28, -28, 1), "tuple of positive integers. Received: (28, -28, 1)"),
        (28, "tuple of positive integers. Received: 28"),
    ],
)
def test_illegal_input_shape_says_what_is_accepted(input_shape, said):
    with pytest.raises(ValueError) as error:
        zoo.build("lenet5", input_shape=input_shape)
    assert said in str(error.value)


@pytest.mark.parametrize("num_classes", [0, -1, 2.5, "10", True])
def test_illegal_number_of_classes_is_refused(num_classes):
    with pytest.raises(ValueError, match="num_classes of 'mlp' must be a positive integer"):
        zoo.build("mlp", num_classes=num_classes)


def test_registering_a_name_twice_is_an_error():
    def lenet5(input_shape=(28, 28, 1), num_classes=10, *, include_top=True, name="lenet5"):
        """Another one."""

    with pytest.raises(ValueError, match="'lenet5' is registered already"):
        zoo.register(task="image-classification", paper="", tiny={})(lenet5)


def test_features_gives_the_named_stages():
    model = zoo.build("cifar10_cnn")
    backbone = zoo.features(model, ["stage1", "stage3"])
    picture = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    first, last = backbone(picture)
    assert first.shape == (1, 15, 15, 32)
    assert last.shape == (1, 2, 2, 128)
    np.testing.assert_allclose(zoo.features(model, "stage3")(picture), last)


def test_features_of_an_unknown_layer_offers_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown layer of 'lenet5' 'stage9'\. Did you mean 'stage"):
        zoo.features(zoo.build("lenet5"), ["stage9"])


def test_perceptron_decides_by_a_step_and_learns_through_it():
    model = zoo.build("perceptron")
    model.set_weights([np.array([[1.0], [1.0]]), np.array([-1.5])])  # AND
    rows = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    assert model.predict(rows, verbose=0).ravel().tolist() == [0, 0, 0, 1]

    # One step of plain gradient descent on (y - t)²/2 is Rosenblatt's rule: w += rate (t - y) x, b += rate (t - y).
    model.compile(keras.optimizers.SGD(0.25), lambda t, y: keras.ops.square(y - t) / 2)
    model.train_on_batch(np.array([[1.0, 2.0]], np.float32), np.array([[0.0]], np.float32))
    weights, bias = model.get_weights()
    np.testing.assert_allclose(weights.ravel(), [0.75, 0.5])
    np.testing.assert_allclose(bias, [-1.75])


def test_mlp_takes_dropout_and_penalties():
    model = zoo.build("mlp", dropout=0.5, l1=1e-3, l2=1e-2)
    assert sum(isinstance(layer, keras.layers.Dropout) for layer in model.layers) == 2
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    expected = sum(float(np.abs(k).sum() * 1e-3 + np.square(k).sum() * 1e-2) for k in map(np.asarray, kernels))
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)


def test_mlp_without_hidden_layers_is_refused():
    with pytest.raises(ValueError, match="hidden_sizes must name at least one layer"):
        zoo.build("mlp", hidden_sizes=())

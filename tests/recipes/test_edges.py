"""What people really bring: models of every make, pictures of every mode, labels of every kind."""

import signal
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import recipes
import zoo
from recipes.examples import Examples

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2)).astype(np.float32)
QUICK = {"epochs": 2, "verbose": False}


def rows_csv(path, columns=("a", "b"), labels=("no", "yes")):
    table = pd.DataFrame(X, columns=list(columns))
    table["y"] = np.where(X.sum(1) > 0, labels[1], labels[0])
    table.to_csv(path, index=False)
    return path


def picture_folder(folder, modes, labels=("a", "b")):
    for label in labels:
        (folder / label).mkdir(parents=True)
        for i in range(12):
            mode = modes[i % len(modes)]
            pixels = RNG.integers(0, 256, (14, 17, 3), np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / label / f"{i}.png")
    return folder


def two_inputs():
    inputs = [keras.Input((2,), name="a"), keras.Input((2,), name="b")]
    return keras.Model(inputs, keras.layers.Add()(inputs))


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [keras.Input((2,), name="q"), keras.layers.Dense(2, "softmax")],
        lambda: [keras.Input((2,)), keras.layers.Dense(2, "softmax")],
        lambda: [keras.Input((2,), name="q"), keras.Sequential([keras.layers.Dense(2, "softmax")])],
    ],
    ids=["named", "unnamed", "nested"],
)
def test_a_sequential_model_can_be_trained_and_loaded(tmp_path, layers):
    model = keras.Sequential(layers())
    run = recipes.binary_classification(model, (X, (X[:, 0] > 0).astype(int)), run_dir=tmp_path / "run", **QUICK)
    assert run.bundle.answer.head == "probabilities"
    assert run.model.inputs[0].name in ("q", "features")
    again = recipes.load_run(tmp_path / "run")
    np.testing.assert_array_equal(again.model.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: keras.Sequential([keras.layers.Dense(1)]), "has no inputs yet"),
        (lambda: 5, "model is of type int"),
        (two_inputs, "2 inputs and 1 outputs"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_before_training(tmp_path, model, said):
    with pytest.raises(ValueError, match=said):
        recipes.regression(model(), (X, X[:, 0]), run_dir=tmp_path / "run", **QUICK)


@pytest.mark.parametrize("channels", [None, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4))])
def test_pictures_of_every_mode_are_read_and_drawn(tmp_path, channels, drawing):
    folder = picture_folder(tmp_path / "pictures", ["RGB", "L", "LA", "RGBA", "P"], labels=("$x^$", "NA"))
    with drawing():
        run = recipes.image_classification("lenet5", folder, run_dir=tmp_path / "run", channels=channels, **QUICK)
    assert run.model.input_shape == (None, 14, 17, channels or 3) or run.model.input_shape[1:3] == (14, 17)
    assert {path.name for path in run.dir.glob("*.png")} == {"curves.png", "predictions.png", "confusion.png"}
    assert set(recipes.load_run(run.dir).examples.truth) <= {"$x^$", "NA"}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(1, 4), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in [(1, 3), (3, 1), (3, 4), (4, 1), (4, 3)])],
)
def test_arrays_change_their_channels_as_files_do(tmp_path, given, wanted):
    pixels = RNG.integers(0, 256, (24, 12, 12, given), np.uint8)
    data = (pixels[..., 0] if given == 1 else pixels, np.arange(24) % 2)
    run = recipes.image_classification("lenet5", data, run_dir=tmp_path / "run", channels=wanted, **QUICK)
    assert run.model.input_shape == (None, 12, 12, wanted)


def test_one_number_is_height_and_width(tmp_path):
    data = (RNG.integers(0, 256, (24, 20, 30), np.uint8), np.arange(24) % 2)
    run = recipes.image_classification("lenet5", data, run_dir=tmp_path / "run", image_size=16, **QUICK)
    assert run.model.input_shape == (None, 16, 16, 1)
    with pytest.raises(ValueError, match="image_size must be height and width"):
        recipes.image_classification("lenet5", data, image_size=(1, 2, 3))
    with pytest.raises(ValueError, match=r"takes a height of 28\. Received: 16"):
        recipes.image_classification(
            zoo.build("lenet5", num_classes=2), data, run_dir=tmp_path / "other", image_size=16
        )


def test_a_column_may_be_called_file(tmp_path):
    data = rows_csv(tmp_path / "rows.csv", columns=("file", "x_0"))
    run = recipes.binary_classification("logistic_regression", data, run_dir=tmp_path / "run", **QUICK)
    np.testing.assert_array_equal(recipes.load_run(run.dir).examples.raw["file"], run.examples.raw["file"])


def test_several_targets_are_judged_one_by_one(tmp_path):
    y = np.stack([X[:, 0], 1000 + X[:, 1]], axis=1)
    run = recipes.regression(
        "linear_regression", (X, y), run_dir=tmp_path / "run", learning_rate=1e-9, standardize=False, **QUICK
    )
    assert run.metrics["r2"] < 0
    assert recipes.load_run(run.dir).examples.truth.shape == run.examples.truth.shape


def test_a_figure_that_means_nothing_is_left_out(tmp_path):
    run = recipes.regression("linear_regression", (X, np.ones(60)), run_dir=tmp_path / "run", **QUICK)
    assert set(run.metrics) == {"mae", "rmse"}


def test_evaluate_wants_the_columns_and_the_data_of_the_run(tmp_path):
    data = rows_csv(tmp_path / "rows.csv")
    run = recipes.binary_classification("logistic_regression", str(data), run_dir=tmp_path / "run", **QUICK)
    assert recipes.evaluate(run) == run.metrics
    with pytest.raises(ValueError, match="reads the columns"):
        recipes.evaluate(run, rows_csv(tmp_path / "other.csv", columns=("b", "a")))
    rows_csv(data, labels=("yes", "no"))
    with pytest.raises(ValueError, match="has changed since"):
        recipes.evaluate(run)


def test_class_weights_by_name(tmp_path):
    data = rows_csv(tmp_path / "rows.csv")
    runs = [
        recipes.binary_classification("logistic_regression", data, run_dir=tmp_path / str(i), class_weights=w, **QUICK)
        for i, w in enumerate(({"no": 1, "yes": 3}, {0: 1, 1: 3}))
    ]
    np.testing.assert_array_equal(runs[0].model.get_weights()[0], runs[1].model.get_weights()[0])
    for wrong in (5, {"no": 1}, {"no": -1, "yes": 1}):
        with pytest.raises(ValueError, match="class_weights must"):
            recipes.binary_classification("logistic_regression", data, run_dir=tmp_path / "w", class_weights=wrong)


def test_validation_may_be_a_split(tmp_path, data_dir):
    options = {"train_split": "train[:50%]", "validation": "train[80%:]", "data_dir": data_dir, **QUICK}
    run = recipes.image_classification("mlp", "digits", run_dir=tmp_path / "run", **options)
    assert run.facts["data"]["examples"] == {"train": 718, "validation": 287, "test": 360}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("learning_rate", 0),
        ("clip_norm", 0),
        ("label_smoothing", 1),
        ("validation", 1.5),
        ("seed", 2**33),
        ("patience", 0),
    ],
)
def test_numbers_out_of_range_are_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be a .*number"):
        recipes.binary_classification("logistic_regression", (X, X[:, 0] > 0), **{option: value})


def test_a_validation_loss_that_is_not_finite_stops_the_training(tmp_path):
    huge = np.full((10, 2), 1e30, np.float32)
    data = {"train": (X, X[:, 0]), "validation": (huge, huge[:, 0]), "test": (X, X[:, 0])}
    with pytest.raises(recipes.TrainingDiverged, match="No epoch was finished"):
        recipes.regression("linear_regression", data, run_dir=tmp_path / "run", standardize=False, patience=2, **QUICK)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_training_that_is_stopped_cleans_up(tmp_path, number):
    command = f"-m zoo train logistic_regression --data {rows_csv(tmp_path / 'rows.csv')} --epochs 1000000"
    command += f" --run-dir {tmp_path / 'run'}"
    process = subprocess.Popen([sys.executable, *command.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert any(b"epoch 1/1000000" in line for line in process.stdout)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == (1 if number == signal.SIGINT else 128 + number), errors
    assert b"Traceback" not in errors
    assert not list(tmp_path.glob(".run-*"))
    kept = {path.name for path in (tmp_path / "run").iterdir()} if (tmp_path / "run").exists() else set()
    assert kept == ({"best.weights.h5", "history.csv"} if number == signal.SIGINT else set())


def test_examples_of_texts_come_back_byte_by_byte(tmp_path):
    """Line breaks, quotes and blanks, what looks like a number or like nothing, and bytes that are no UTF-8."""
    texts = [b'a, "b"', b"one\ntwo\r\nthree\r", b"  c  ", b"", b"NA", b"1", b"nul\0", b"caf\xe9 \xff"]
    truth = np.array(["a", "1", "NA", "", "é", "x, y", "nan", "0"], object)
    Examples({"text": np.array([*texts, None], object)[:-1]}, truth, "label").save(tmp_path)
    found = Examples.load(tmp_path, {"text": object}, labelled=True)
    assert found.raw["text"].tolist() == texts
    assert found.truth.tolist() == truth.tolist()

"""What a recipe promises: what the courses say comes out, a run can be repeated, and its folder tells the story."""

import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest

import recipes
import zoo
from recipes.callbacks import TrainingDiverged

RNG = np.random.default_rng(0)


def separable_rows(n=200):
    """Rows of two columns, of the second class where x0 + x1 > 0, with a margin."""
    x = RNG.normal(size=(2 * n, 2)).astype(np.float32)
    x = x[np.abs(x.sum(1)) > 0.3][:n]
    return x, (x.sum(1) > 0).astype(int)


def stripes(n=120, size=12):
    """Pictures of two classes: stripes that run across, stripes that run down."""
    y = np.arange(n) % 2
    across = np.tile((np.arange(size) // 2 % 2 * 255)[:, None, None], (1, size, 1))
    x = np.stack([across if label else across.transpose(1, 0, 2) for label in y])
    return np.clip(x + RNG.normal(0, 30, x.shape), 0, 255).astype(np.uint8), y


@pytest.fixture
def train(tmp_path, data_dir):
    """Train quietly, into a folder of the test's own."""

    def trained(recipe, model, data, run_dir="run", **options):
        return recipe(model, data, run_dir=str(tmp_path / run_dir), data_dir=data_dir, verbose=False, **options)

    return trained


@pytest.mark.parametrize(
    ("gate", "accuracy"), [("and", 1.0), pytest.param("or", 1.0, marks=pytest.mark.slow), ("xor", None)]
)
def test_logistic_regression_learns_and_and_or_but_not_xor(train, gate, accuracy):
    options = {"epochs": 150, "batch_size": 4, "optimizer": "sgd", "learning_rate": 2.0}
    run = train(recipes.binary_classification, "logistic_regression", f"gates/{gate}", **options)
    if accuracy is None:
        assert run.metrics["accuracy"] <= 0.75
    else:
        assert run.metrics["accuracy"] == accuracy


def test_an_mlp_learns_xor(train):
    hidden = {"hidden_sizes": (8,), "activation": "tanh"}
    options = {"epochs": 200, "batch_size": 4, "learning_rate": 0.05, "model_args": hidden}
    assert train(recipes.binary_classification, "mlp", "gates/xor", **options).metrics["accuracy"] == 1.0


def test_the_perceptron_learns_and(train):
    options = {"epochs": 30, "batch_size": 1, "optimizer": "sgd", "learning_rate": 0.5}
    run = train(recipes.binary_classification, "perceptron", "gates/and", **options)
    assert run.metrics["accuracy"] == 1.0
    assert set(np.unique(run.bundle.predict(run.examples.raw)["probabilities"])) == {0.0, 1.0}


def test_plain_sgd_takes_the_textbook_steps(train):
    # From w=0.5, b=0.6, rate 0.01, loss (y - t)²/2, on (0, 1) and then (1, 2.9).
    model = zoo.build("linear_regression")
    model.set_weights([np.array([[0.5]]), np.array([0.6])])
    points = np.array([0.0, 1.0]), np.array([1.0, 2.9])
    train(
        recipes.regression, model, points, epochs=1, batch_size=1, optimizer="sgd", learning_rate=0.01,
        loss="half_mse", shuffle=False,
    )  # fmt: skip
    weight, bias = model.get_weights()
    assert weight.item() == pytest.approx(0.51796, abs=1e-6)
    assert bias.item() == pytest.approx(0.62196, abs=1e-6)


def test_linear_regression_finds_the_line(train):
    run = train(recipes.regression, "linear_regression", "line", epochs=10, optimizer="sgd", learning_rate=0.1)
    weight, bias = run.model.get_weights()
    assert weight.item() == pytest.approx(2, abs=0.03)
    assert bias.item() == pytest.approx(1, abs=0.03)
    assert run.metrics["r2"] > 0.99


def test_standardised_tables_answer_in_the_targets_own_unit(train):
    options = {"epochs": 40, "learning_rate": 0.05, "optimizer": "adam"}
    run = train(recipes.regression, "linear_regression", "diabetes", **options)
    assert run.bundle.preprocessing.std[0] > 1  # years, not fractions
    assert 40 < run.metrics["mae"] < 50  # a disease score between 25 and 346
    assert run.metrics["r2"] > 0.3
    answered = run.bundle.predict(run.examples.raw)["value"]
    assert np.abs(answered - run.examples.truth).mean() < 60


def test_breast_cancer_is_told_apart(train):
    options = {"epochs": 30, "learning_rate": 0.05}
    run = train(recipes.binary_classification, "logistic_regression", "breast_cancer", **options)
    assert run.metrics["accuracy"] > 0.95
    assert run.metrics["auc"] > 0.98


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory, data_dir, drawing):
    folder = tmp_path_factory.mktemp("digits") / "run"
    with drawing():
        return recipes.image_classification(
            "lenet5", "digits", epochs=4, run_dir=str(folder), data_dir=data_dir, verbose=False
        )


def test_lenet5_reads_scanned_digits(digits_run):
    assert digits_run.metrics["accuracy"] > 0.9


def test_the_run_folder_tells_the_story(digits_run):
    files = {path.name for path in digits_run.dir.iterdir()}
    assert files == {
        "model.keras", "bundle.json", "history.csv", "metrics.json", "examples", "examples.csv",
        "curves.png", "predictions.png", "confusion.png", "checkpoints",
    }  # fmt: skip
    facts = json.loads((digits_run.dir / "metrics.json").read_text())
    assert facts["command"].startswith("zoo train lenet5 --data digits --task image-classification --run-dir")
    assert facts["seed"] == 0
    assert facts["data"]["examples"] == {"train": 1294, "validation": 143, "test": 360}
    assert len(facts["data"]["fingerprint"]) == 64
    assert [(each["name"], each["license"]) for each in facts["licenses"]] == [("digits", "CC-BY-4.0")]
    assert facts["versions"]["keras"] == keras.__version__
    assert 0 < facts["seconds"]["training"] <= facts["seconds"]["total"]
    history = pd.read_csv(digits_run.dir / "history.csv")
    assert {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"} <= set(history)
    assert len(history) == 4


def test_load_run_gives_the_run_back(digits_run):
    loaded = recipes.load_run(digits_run.dir)
    assert loaded.metrics == digits_run.metrics
    assert loaded.bundle.preprocessing == digits_run.bundle.preprocessing
    assert loaded.bundle.answer == digits_run.bundle.answer
    assert loaded.examples.truth.tolist() == digits_run.examples.truth.tolist()
    raw = {"image_bytes": digits_run.examples.raw["image_bytes"][:8]}
    np.testing.assert_array_equal(
        loaded.bundle.predict(raw)["probabilities"], digits_run.bundle.predict(raw)["probabilities"]
    )


def test_a_run_whose_model_is_cut_short_is_refused(digits_run, tmp_path):
    shutil.copytree(digits_run.dir, tmp_path / "run")
    model = tmp_path / "run" / "model.keras"
    model.write_bytes(model.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.keras is no saved model: File is not a zip file"):
        recipes.load_run(tmp_path / "run")


def test_examples_are_the_very_bytes_of_the_data_set(digits_run):
    assert all(data.startswith(b"\x89PNG") for data in digits_run.examples.raw["image_bytes"])
    answers = digits_run.bundle.predict(digits_run.examples.raw)
    right = np.mean([a.decode() == t for a, t in zip(answers["classes"], digits_run.examples.truth, strict=True)])
    assert right == pytest.approx(digits_run.metrics["accuracy"], abs=0.05)


def test_evaluate_repeats_the_figures(digits_run, data_dir):
    assert recipes.evaluate(recipes.load_run(digits_run.dir)) == digits_run.metrics


def test_evaluate_on_data_with_other_labels_is_refused(digits_run, data_dir):
    with pytest.raises(ValueError, match="labels"):
        recipes.evaluate(digits_run, stripes())


def test_the_same_seed_gives_the_same_run_bit_for_bit(train):
    options = {"epochs": 2, "augment": ("shift", "rotate"), "model_args": {"hidden_sizes": (8,), "dropout": 0.3}}
    first, second, other = (
        train(recipes.image_classification, "mlp", stripes_once, run_dir=str(i), seed=seed, **options)
        for i, seed in enumerate((7, 7, 8))
    )
    for a, b in zip(first.model.get_weights(), second.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.history.drop(columns="seconds").equals(second.history.drop(columns="seconds"))
    assert any((a != c).any() for a, c in zip(first.model.get_weights(), other.model.get_weights(), strict=True))


stripes_once = stripes()


def test_any_keras_model_can_be_trained(train):
    image = keras.Input((12, 12, 1), name="pixels")
    x = keras.layers.Flatten()(image)
    model = keras.Model(image, keras.layers.Dense(2, "softmax")(x), name="mine")
    run = train(recipes.image_classification, model, stripes(), epochs=30, learning_rate=0.01)
    assert run.metrics["accuracy"] > 0.9
    assert run.bundle.answer.head == "probabilities"
    np.testing.assert_allclose(run.bundle.predict(run.examples.raw)["probabilities"].sum(1), 1, rtol=1e-5)


def test_float_pictures_in_0_to_1_are_taken_as_they_are(train):
    x, y = stripes()
    as_bytes = train(recipes.image_classification, "mlp", (x, y), run_dir="bytes", epochs=1)
    as_floats = train(recipes.image_classification, "mlp", (x / 255, y), run_dir="floats", epochs=1)
    for a, b in zip(as_bytes.model.get_weights(), as_floats.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_augmentation_changes_training_and_stays_out_of_the_model(train):
    data = stripes()
    plain = train(recipes.image_classification, "lenet5", data, run_dir="plain", epochs=1)
    augmented = train(
        recipes.image_classification, "lenet5", data, run_dir="augmented", epochs=1, augment=("flip", "zoom")
    )
    assert plain.history["loss"][0] != augmented.history["loss"][0]
    assert [type(layer) for layer in augmented.model.layers] == [type(layer) for layer in plain.model.layers]


def test_patience_stops_early_and_keeps_the_best_weights(train):
    x, y = separable_rows(60)
    noisy = RNG.permutation(y)
    run = train(
        recipes.binary_classification, "mlp", (x, noisy), epochs=60, patience=3, learning_rate=0.05,
        validation=0.4, model_args={"hidden_sizes": (64, 64), "activation": "relu"},
    )  # fmt: skip
    best = run.history["val_loss"].idxmin()
    assert len(run.history) == best + 1 + 3
    assert len(run.history) < 60


def test_nan_in_the_loss_stops_with_the_step_and_keeps_the_best_weights(train, tmp_path):
    x, y = separable_rows()
    with pytest.raises(TrainingDiverged, match=r"at step \d+ \(epoch [2-9]\)") as caught:
        train(
            recipes.regression, "linear_regression", (x * 10, y.astype(np.float32)), epochs=9,
            optimizer="sgd", learning_rate=0.05, warmup_epochs=9, batch_size=8, standardize=False,
        )  # fmt: skip
    assert caught.value.step > 20
    kept = {path.name for path in (tmp_path / "run").iterdir()}
    assert kept == {"best.weights.h5", "history.csv"}
    model = zoo.build("linear_regression", input_shape=(2,))
    model.load_weights(tmp_path / "run" / "best.weights.h5")
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    with pytest.raises(ValueError, match="holds an unfinished run"):
        recipes.load_run(tmp_path / "run")


def test_a_log_gets_one_line_per_epoch(tmp_path, capsys):
    options = {"epochs": 2, "batch_size": 4, "run_dir": tmp_path / "run"}
    recipes.binary_classification("logistic_regression", "gates/and", **options)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("accuracy 0." in line and "loss 0." in line for line in lines)


def test_a_failed_recipe_leaves_no_half_written_run(train, tmp_path):
    with pytest.raises(ValueError):
        train(recipes.image_classification, zoo.build("lenet5", num_classes=7), stripes(size=28))
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_not_overwritten_by_chance(train, tmp_path):
    options = {"epochs": 1, "batch_size": 4}
    train(recipes.binary_classification, "logistic_regression", "gates/and", **options)
    with pytest.raises(ValueError, match="holds a finished Run"):
        train(recipes.binary_classification, "logistic_regression", "gates/and", **options)
    train(recipes.binary_classification, "logistic_regression", "gates/or", overwrite=True, **options)
    assert recipes.load_run(tmp_path / "run").facts["data"]["name"] == "gates/or"


def test_a_folder_with_other_files_is_never_replaced(train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds other files"):
        train(recipes.binary_classification, "logistic_regression", "gates/and", overwrite=True)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimizer": "adm"}, "Unknown optimizer 'adm'. Did you mean 'adam'?"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'?"),
        ({"epoch": 3}, "Did you mean 'epochs'?"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1. Received: 0"),
        ({"augment": ("flipp",)}, "Did you mean 'flip'?"),
        ({"resize": "bilinar"}, "Did you mean 'bilinear'?"),
        ({"model_args": {"activatoin": "relu"}}, "Did you mean 'activation'?"),
        ({"dropout": 0.5}, "'lenet5' takes no dropout"),
        ({"monitor": "val_f1"}, "Unknown monitor 'val_f1'"),
        ({"class_weights": {0: 1.0}}, "for every class, by name or id: 0, 1. Received: {0: 1.0}"),
    ],
)
def test_bad_options_are_named(train, options, said):
    with pytest.raises(ValueError) as error:
        train(recipes.image_classification, "lenet5", stripes(size=12), **{"epochs": 1, **options})
    assert said in str(error.value)


def test_a_model_that_does_not_fit_the_data_is_refused(train):
    with pytest.raises(ValueError, match="gives \\(5,\\) per example, but 'arrays' has 2 classes"):
        train(recipes.image_classification, zoo.build("lenet5", input_shape=(12, 12, 1), num_classes=5), stripes())
    with pytest.raises(ValueError, match="takes \\(3,\\) per example, but 'arrays' has 2 columns"):
        train(recipes.regression, zoo.build("linear_regression", input_shape=(3,)), separable_rows())
    with pytest.raises(ValueError, match="holds no pictures"):
        train(recipes.image_classification, "lenet5", separable_rows())


def test_pictures_too_small_for_the_model_are_enlarged_to_its_own_size(train):
    run = train(recipes.image_classification, "lenet5", stripes(size=8), epochs=1)
    assert run.model.input_shape == (None, 28, 28, 1)
    with pytest.raises(ValueError, match="at least 12x12 pixels"):
        train(recipes.image_classification, "lenet5", stripes(size=8), run_dir="small", image_size=(8, 8))

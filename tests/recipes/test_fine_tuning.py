"""Fine-tuning: what stays as it is, what learns, how fast, and what comes along with weights."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import recipes
import zoo
from recipes import fine_tuning, initial_weights
from recipes.config import ImageConfig
from recipes.examples import to_png
from recipes.pipeline import Part
from recipes.preprocessing import ImagePreprocessing
from recipes.tasks.image_classification import ImageClassification
from recipes.training import load_data
from tests import raw_data
from zoo.weights import arrays_of

TINY = {"blocks": (1, 1), "widths": (8, 16)}
SHAPE = (12, 12, 3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def trained(runs):
    """A Run of three classes of pictures, from which others begin."""
    return train(runs / "first", raw_data.pictures(SHAPE), learning_rate=0.02, epochs=20)


def train(folder, data, model="resnet20", **options):
    options = {"epochs": 3, "batch_size": 8, "validation": 0, "test": 0, "verbose": False, **options}
    if isinstance(model, str):
        options.setdefault("model_args", TINY)
    return recipes.image_classification(model, data, run_dir=str(folder), **options)


def two_classes():
    x, y = raw_data.pictures(SHAPE)
    return x[y < 2], y[y < 2]


def changed(run, since):
    """Names of the layers whose weights are not those of another Run."""
    before = arrays_of(since.model)
    return {
        name
        for name, arrays in arrays_of(run.model).items()
        if any(a.shape != b.shape or (a != b).any() for a, b in zip(arrays, before[name], strict=True))
    }


def test_a_frozen_backbone_stays_as_it_was(trained, tmp_path):
    options = {"weights": str(trained.dir), "freeze": "backbone", "epochs": 20, "learning_rate": 0.05}
    run = train(tmp_path / "run", two_classes(), **options)
    assert changed(run, trained) == {"logits"}
    assert run.metrics["accuracy"] > 0.9
    # What is saved can be trained on by anyone: nothing in it is frozen.
    assert all(layer.trainable for layer in recipes.load_run(run.dir).model.layers)
    assert run.bundle.card["parameters"] == sum(int(np.prod(w.shape)) for w in run.model.trainable_weights)


def test_freeze_true_is_the_backbone_and_a_stage_is_all_up_to_it(trained, tmp_path):
    run = train(tmp_path / "true", two_classes(), weights=trained.dir, freeze=True)
    assert changed(run, trained) == {"logits"}
    run = train(tmp_path / "stage", two_classes(), weights=trained.dir, freeze="stage1")
    assert {name.partition("_")[0] for name in changed(run, trained)} == {"stage2", "logits"}


def test_after_unfreezing_all_learns_but_batch_normalisation(trained, tmp_path):
    options = {"epochs": 4, "unfreeze_at": 2, "weights": trained.dir, "freeze": "backbone", "learning_rate": 0.01}
    run = train(tmp_path / "run", two_classes(), **options)
    moved = changed(run, trained)
    normalising = {layer.name for layer in run.model.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert normalising
    assert not normalising & moved  # neither scale and shift nor statistics
    assert moved == set(arrays_of(run.model)) - normalising
    np.testing.assert_allclose(run.history["learning_rate"], [0.01, 0.01, 0.001, 0.001], rtol=1e-5)
    assert run.history["epoch"].tolist() == [1, 2, 3, 4]


def test_the_second_phase_goes_on_where_the_first_one_stopped():
    """The order of the examples is that of the epoch's number, not again that of the first."""
    orders = []
    part = Part(6, (np.arange(6.0)[:, None], np.zeros((6, 1))), None, None)
    for first in (0, 2):
        batches = part.epochs(6, seed=3, shuffle=True, first=first).take(3 - first)
        orders.append([x.ravel().tolist() for x, _ in batches.as_numpy_iterator()])
    assert orders[0][2] == orders[1][0]
    assert orders[0][0] != orders[0][2]


def test_discriminative_rates(trained, tmp_path):
    """After one step of plain descent, a weight has moved by its stage's share of what it would have moved."""
    moves = {}
    x, y = raw_data.pictures(SHAPE)
    for decay in (1.0, 0.5):
        run = train(
            tmp_path / str(decay), (x, (y + 1) % 3), weights=trained.dir, epochs=1, batch_size=24,
            optimizer="sgd", rate_decay=decay,
        )  # fmt: skip
        before = arrays_of(trained.model)
        moves[decay] = {name: arrays[0] - before[name][0] for name, arrays in arrays_of(run.model).items()}
    for name, factor in {
        "logits": 1,
        "stage2_block1_2_conv": 0.5,
        "stage1_block1_1_conv": 0.25,
        "stem_conv": 0.25,
    }.items():
        whole = moves[1.0][name]
        assert np.abs(whole).max() > 1e-6
        np.testing.assert_allclose(moves[0.5][name], factor * whole, atol=np.abs(whole).max() * 0.02)


def test_the_preprocessing_comes_with_the_weights(trained):
    x, y = two_classes()
    larger = x.repeat(2, axis=1).repeat(2, axis=2)

    def prepared(**options):
        config = ImageConfig(weights=trained.dir, **options)
        return ImageClassification(load_data((larger, y), ImageClassification, config), config).preprocessing(
            "resnet20"
        )

    wanted = trained.bundle.preprocessing
    assert prepared() == wanted
    assert prepared(image_size=(16, 16)) == dataclasses.replace(wanted, height=16, width=16)
    assert prepared(channels=1) == wanted.with_channels(1)


def test_published_weights_want_their_own_preprocessing():
    resnet = initial_weights.preprocessing_of("resnet50", "imagenet", ImagePreprocessing)
    assert (resnet.height, resnet.width, resnet.channels) == (224, 224, 3)
    assert resnet.scale == 1.0
    np.testing.assert_allclose(resnet.mean, (123.68, 116.779, 103.939))
    grey = resnet.with_channels(1)
    # A kernel averaged over the colours gives a third; the values make up for it.
    pixel = np.float32(200)
    in_colour = [(pixel - mean) / std for mean, std in zip(resnet.mean, resnet.std, strict=True)]
    np.testing.assert_allclose((pixel - grey.mean[0]) / grey.std[0], sum(in_colour), rtol=1e-5)
    assert resnet.with_channels(4).mean[3] == 0
    assert resnet.with_channels(4).std[3] == 255


def test_a_grey_picture_gets_the_answer_of_its_coloured_copy(trained, tmp_path):
    """What a network for colours becomes on grey pictures is not worse for it."""
    x, y = raw_data.pictures((*SHAPE[:2], 1))
    with pytest.warns(UserWarning, match="was adapted to 1"):
        grey = train(tmp_path / "grey", (x, y), weights=trained.dir, channels=1, epochs=1, learning_rate=1e-12)
    coloured = recipes.load_run(trained.dir).bundle
    raw = {"image_bytes": grey.examples.raw["image_bytes"]}
    assert grey.model.input_shape[-1] == 1
    answers = [bundle.preprocess(raw) for bundle in (grey.bundle, coloured)]
    first = [model.get_layer("stem_conv") for model in (grey.model, coloured.model)]
    np.testing.assert_allclose(first[0](answers[0]), first[1](answers[1]), atol=1e-4)


@pytest.mark.slow
def test_other_labels_of_the_same_number_get_a_fresh_head(trained, tmp_path):
    x, y = raw_data.pictures(SHAPE)
    names = tmp_path / "pictures"
    for i, (picture, label) in enumerate(zip(x, y, strict=True)):
        folder = names / "abc"[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.png").write_bytes(to_png(picture))
    other = train(tmp_path / "other", str(names), weights=trained.dir, epochs=1, learning_rate=1e-12)
    before, after = (run.model.get_layer("logits").get_weights()[0] for run in (trained, other))
    assert not np.allclose(before, after, atol=1e-2)


def test_a_model_of_ones_own_is_frozen_up_to_its_last_layer():
    image = keras.Input((4, 4, 1), name="image")
    x = keras.layers.Dense(3, name="mine")(keras.layers.Flatten()(image))
    model = keras.Model(image, keras.layers.Dense(2, name="head")(x))
    for name in ("backbone", "mine"):
        assert [layer.name for layer in fine_tuning.frozen_layers(model, name)] == ["mine"]
    with pytest.raises(ValueError, match="freezes every layer"):
        fine_tuning.frozen_layers(model, "head")
    with pytest.raises(ValueError, match="Unknown layer to freeze up to 'stage9'"):
        fine_tuning.frozen_layers(model, "stage9")


def nested_model():
    """A network inside of a network, as tutorials build them: base(x), then a new head. The input has no name."""
    inner = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, name="conv")(inner)
    x = keras.layers.BatchNormalization(name="norm")(x)
    base = keras.Model(inner, keras.layers.GlobalAveragePooling2D()(x), name="base")
    image = keras.Input((8, 8, 1))
    return keras.Model(image, keras.layers.Dense(3, name="head")(base(image)), name="nested")


def test_layers_inside_of_models_are_frozen_too(tmp_path):
    model = nested_model()
    base = model.get_layer("base")
    conv, norm = (base.get_layer(name) for name in ("conv", "norm"))
    before = {layer: layer.get_weights() for layer in (conv, norm)}
    data = raw_data.pictures((8, 8, 1))
    train(tmp_path / "frozen", data, model, freeze="backbone", epochs=2)
    assert all(
        (new == old).all() for layer in before for new, old in zip(layer.get_weights(), before[layer], strict=True)
    )
    train(tmp_path / "unfrozen", data, model, freeze="backbone", unfreeze_at=1, epochs=2)
    assert (conv.get_weights()[0] != before[conv][0]).any()
    assert all((new == old).all() for new, old in zip(norm.get_weights(), before[norm], strict=True))


@pytest.mark.slow
def test_layers_that_were_frozen_before_stay_so(tmp_path):
    model = nested_model()
    conv = model.get_layer("base").get_layer("conv")
    conv.trainable = False
    train(tmp_path / "run", raw_data.pictures((8, 8, 1)), model, freeze="backbone", unfreeze_at=1, epochs=2)
    assert not conv.trainable
    assert model.get_layer("base").get_layer("norm").trainable


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_both_phases_with_averages_and_patience(trained, tmp_path, precision):
    options = {"weights": trained.dir, "freeze": "backbone", "unfreeze_at": 9, "epochs": 12, "ema": 0.5, "patience": 2}
    run = train(tmp_path / "run", two_classes(), validation=0.25, precision=precision, learning_rate=0.05, **options)
    # Patience counts anew in the second phase, which has at least its two epochs; the best weights of all are kept.
    epochs = run.history["epoch"].tolist()
    assert {10, 11} <= set(epochs)
    best = run.history["val_loss"].min()
    assert run.history["val_loss"].iloc[0] > best
    assert run.metrics["accuracy"] > 0.9


def test_weights_kept_from_a_training_that_went_wrong_can_be_loaded(tmp_path):
    x, y = raw_data.pictures(SHAPE)
    rates = {"learning_rate": 1e4, "optimizer": "sgd", "epochs": 30}
    with pytest.raises(recipes.TrainingDiverged) as error:
        train(tmp_path / "run", (x, y), **rates)
    kept = tmp_path / "run" / "best.weights.h5"
    if kept.exists():
        zoo.build("resnet20", input_shape=SHAPE, num_classes=3, **TINY).load_weights(kept)
    else:
        assert "No epoch was finished" in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"freeze": "backbone", "unfreeze_at": 1, "warmup_epochs": 2, "weights": "w.keras"}, "warm-up must end before"),
        ({"freeze": "backbone"}, "freeze='backbone' keeps weights as they are, and none are given"),
        ({"unfreeze_at": 2}, "say freeze='backbone', too"),
        ({"freeze": "backbone", "unfreeze_at": 3, "weights": "w.keras"}, "unfreeze_at must be below the 3 epochs"),
        ({"weights": "imagenet"}, "Unknown weights of 'resnet20' 'imagenet'"),
        ({"weights": "nowhere.keras"}, "No weights at 'nowhere.keras'"),
        ({"model_args": {**TINY, "num_classes": 7}}, "gives .7,. per example, but .* has 3 classes"),
        ({"mixup": -1}, "mixup must be a number of at least 0. Received: -1"),
        ({"augment": "mixup"}, "Unknown augment 'mixup'"),
        ({"precision": "float8"}, "Unknown precision 'float8'"),
    ],
)
def test_bad_options_are_named_and_leave_nothing(options, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        train(tmp_path / "run", raw_data.pictures(SHAPE), **options)
    assert not list(tmp_path.iterdir())


def test_mixup_is_for_classes_of_pictures(tmp_path):
    with pytest.raises(ValueError, match="weights has no meaning for regression"):
        recipes.regression(
            "linear_regression", (np.zeros((8, 1)), np.zeros(8)), weights="x", run_dir=str(tmp_path / "run")
        )
    with pytest.raises(ValueError, match="mixup has no meaning for regression"):
        recipes.regression(
            "linear_regression", (np.zeros((8, 1)), np.zeros(8)), mixup=0.2, run_dir=str(tmp_path / "run")
        )


def test_weights_are_in_the_runs_record(trained, tmp_path):
    run = train(tmp_path / "run", two_classes(), weights=trained.dir, freeze=True, epochs=1)
    options = json.loads((run.dir / "metrics.json").read_text())["options"]
    assert options["weights"] == str(trained.dir)
    assert options["freeze"] == "backbone"
    assert ImageConfig(**options).freeze == "backbone"

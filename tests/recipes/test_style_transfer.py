"""Style transfer: what is learned, the optimisation of one picture, and pictures that cannot be read."""

import io

import keras
import numpy as np
import pytest
from PIL import Image

import recipes
import zoo
from recipes.stylizing import PARTS, parts_of_loss, perception, read_picture, style_of

SMALL = {"depths": (1,) * 5, "widths": (4, 4, 8, 8, 8)}
TINY = {k: v for k, v in zoo.spec("style_transfer").tiny.items() if k != "input_shape"}
OPTIONS = {
    "image_size": 32, "crops": 4, "batch_size": 8, "learning_rate": 0.01, "perception": "random",
    "perception_args": SMALL, "model_args": TINY, "style": "gravel", "verbose": False,
}  # fmt: skip


def train(tmp_path, data="photographs", **options):
    return recipes.style_transfer(
        "style_transfer", data, run_dir=str(tmp_path / "run"), **{**OPTIONS, "epochs": 8, **options}
    )


@pytest.fixture
def own_data(monkeypatch, data_dir):
    monkeypatch.setenv("TFDS_DATA_DIR", data_dir)


@pytest.mark.slow
def test_a_network_learns_a_style_from_photographs(tmp_path, own_data, drawing):
    with drawing():
        run = train(tmp_path)
    assert run.metrics["style"] < 0.5 * run.metrics["style_before"]
    assert set(PARTS) <= set(run.history)
    weighted = run.history["content"] + 5 * run.history["style"] + 0.1 * run.history["variation"]
    np.testing.assert_allclose(run.history["loss"], weighted, rtol=1e-3)
    assert Image.open(run.dir / "style.png").size == (32, 32)
    assert [each["license"] for each in run.facts["licenses"]][1:] == ["CC0, CC0 Textures"]
    assert Image.open(run.dir / "predictions.png").size[0] > 500
    again = recipes.load_run(run.dir)
    assert recipes.evaluate(again) == pytest.approx(run.metrics)
    for given, made in zip(
        again.examples.raw["image_bytes"], again.bundle.predict(again.examples.raw)["image_bytes"], strict=True
    ):
        assert Image.open(io.BytesIO(made)).size == Image.open(io.BytesIO(given)).size


def test_pictures_are_cut_the_same_every_time_and_differently_from_one_another(tmp_path, own_data):
    from recipes.config import StyleConfig
    from recipes.data import load
    from recipes.tasks.style_transfer import StyleTransfer

    data = load("photographs", task="style-transfer", validation=0)
    task = StyleTransfer(data, StyleConfig(image_size=32, crops=5))
    first, second = (task.part("train", task.preprocessing(None), None).arrays[0] for _ in range(2))
    assert first.shape == (5 * data.sizes["train"], 32, 32, 3)
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first.mean(axis=(1, 2, 3)))) == len(first)


def test_the_parts_of_the_loss_are_those_of_the_papers():
    network = perception("random", SMALL)
    rng = np.random.default_rng(0)
    style, made, shown = (rng.random((24, 24, 3)).astype(np.float32) for _ in range(3))
    found = parts_of_loss(network, style_of(network, style), made[np.newaxis], shown[np.newaxis])[0]
    maps = {
        name: [np.array(m)[0] for m in network(x[np.newaxis])]
        for name, x in (("made", made), ("shown", shown), ("style", style))
    }

    def gram(m):
        flat = m.reshape(-1, m.shape[-1]).astype(np.float64)
        return flat.T @ flat / m.size

    content = np.mean((maps["made"][2] - maps["shown"][2]) ** 2)
    of_style = sum(np.sum((gram(a) - gram(b)) ** 2) for a, b in zip(maps["made"], maps["style"], strict=True))
    variation = (np.sum(np.diff(made, axis=0) ** 2) + np.sum(np.diff(made, axis=1) ** 2)) / made.size
    np.testing.assert_allclose(found, [content, of_style, variation], rtol=1e-4)


def test_random_perception_is_the_same_always():
    weights = [perception("random", SMALL).get_weights() for _ in range(2)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_perception_of_a_run_wants_what_its_training_gave(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8), np.arange(12) % 2
    run = recipes.image_classification(
        "vgg16", pictures, run_dir=str(tmp_path / "vgg"), epochs=1, verbose=False,
        model_args={**SMALL, "hidden_units": 8},
    )  # fmt: skip
    network = perception(str(run.dir), SMALL)
    picture = pictures[0][:1]
    wanted = zoo.features(run.model, "stage1_block1_conv").predict(picture / 255, verbose=0)
    np.testing.assert_allclose(network(picture / np.float32(255))[0], wanted, rtol=1e-4, atol=1e-5)


def test_one_picture_is_given_a_style(tmp_path):
    arguments = {"size": 40, "perception_weights": "random", "perception_args": SMALL}
    path = tmp_path / "made.png"
    made = recipes.stylize("chelsea", "gravel", steps=40, path=path, **arguments)
    shown, style = (read_picture(name, 40) for name in ("chelsea", "gravel"))
    assert made.shape == shown.shape
    network = perception("random", SMALL)
    grams = style_of(network, style)
    after, before = (parts_of_loss(network, grams, x[np.newaxis], shown[np.newaxis])[0] for x in (made, shown))
    assert float(after[PARTS.index("style")]) < 0.3 * float(before[PARTS.index("style")])
    np.testing.assert_allclose(np.asarray(Image.open(path)) / 255, made, atol=0.51 / 255)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"style": "gravell"}, "Did you mean 'gravel'"),
        ({"style": "nowhere.png"}, r"There is no file 'nowhere\.png'\. Accepted: a PNG or JPEG file, or astronaut"),
        ({"style": __file__}, "is no picture that can be read"),
        ({"perception": "imagenett"}, "Unknown weights of 'vgg16'"),
        ({"perception_args": {"widht": 3}}, "Unknown argument of 'vgg16' 'widht'"),
        ({"image_size": 0}, "image_size must be height and width"),
    ],
)
def test_bad_options_are_named(tmp_path, options, said):
    data = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), np.uint8)
    with pytest.raises(ValueError, match=said):
        train(tmp_path, data, **options)
    assert not list(tmp_path.iterdir())


def test_sizes_and_steps_that_cannot_be_are_named():
    with pytest.raises(ValueError, match=r"steps must be at least 1\. Received: 0"):
        recipes.stylize("chelsea", "gravel", steps=0)
    with pytest.raises(ValueError, match=r"size must be at least 16\. Received: 4"):
        recipes.stylize("chelsea", "gravel", size=4)


@pytest.mark.slow
def test_grey_pictures_and_floats_are_learned_from(tmp_path):
    data = np.random.default_rng(0).random((6, 40, 40, 1)).astype(np.float32)
    run = train(tmp_path, data, epochs=1, test=0, validation=0)
    assert run.model.output_shape == (None, None, None, 3)
    assert Image.open(io.BytesIO(run.examples.raw["image_bytes"][0])).mode == "RGB"


def test_a_network_for_one_size_is_refused(tmp_path):
    image = keras.Input((32, 32, 3), name="image")
    fixed = keras.Model(image, keras.layers.Conv2D(3, 1)(image), name="fixed")
    data = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), np.uint8)
    with pytest.raises(ValueError, match=r"'fixed' makes \(32, 32, 3\).*Accepted: pictures of any size"):
        recipes.style_transfer(fixed, data, run_dir=str(tmp_path / "run"), **{**OPTIONS, "model_args": {}})

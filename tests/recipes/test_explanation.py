"""What a person is told about where a network looks must be where it looks."""

import io
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from keras import layers
from PIL import Image

import recipes
import zoo
from recipes import commands, explanation, feature_maps
from recipes.answers import ClassAnswer
from recipes.bundle import Bundle
from recipes.preprocessing import ImagePreprocessing
from tests import bright_spot
from tests.export import small_runs

ALL = ("cam", "grad_cam", "occlusion")


def linear_model():
    """Logistic regression on pixels, which looks at the spot's place alone."""
    weights = np.zeros((bright_spot.SIDE, bright_spot.SIDE))
    weights[bright_spot.SPOT] = 0.5
    image = keras.Input((bright_spot.SIDE, bright_spot.SIDE, 1), name="image")
    x = layers.Dense(1, name="logits")(layers.Flatten(name="flatten")(layers.Rescaling(1.0, name="rescale")(image)))
    model = keras.Model(image, x, name="linear")
    model.get_layer("logits").set_weights([weights.reshape(-1, 1), np.array([-3.0])])
    return model


def nested_model():
    """A whole network as one layer of another, as people build for transfer learning."""
    image = keras.Input((bright_spot.SIDE, bright_spot.SIDE, 1), name="image")
    return keras.Model(image, bright_spot.model()(image), name="nested")


def sequential_model():
    source = bright_spot.model()
    return keras.Sequential([keras.Input(source.input_shape[1:], name="image"), *source.layers[1:]], name="sequential")


MODELS = {
    "global average": (bright_spot.model, ALL),
    "softmax": (lambda: bright_spot.model("softmax"), ALL),
    "softmax layer": (lambda: bright_spot.model("softmax layer"), ALL),
    "one output": (lambda: bright_spot.model("sigmoid"), ALL),
    "flattened": (lambda: bright_spot.model(hidden="flatten"), ALL[1:]),
    "nested": (nested_model, ALL),
    "sequential": (sequential_model, ALL),
    "linear": (linear_model, ALL[2:]),
}
CASES = [(name, method) for name, (_, methods) in MODELS.items() for method in methods]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_the_map_is_largest_where_the_class_is_decided(name, method):
    found = recipes.explain(bright_spot.bundle(MODELS[name][0]()), bright_spot.picture(), method=method)
    assert (found.method, found.class_name) == (method, "spot")
    assert found.probability > 0.5
    assert found.heat_map.shape == (bright_spot.SIDE, bright_spot.SIDE)
    assert found.heat_map.dtype == np.float32
    assert found.heat_map.min() >= 0
    assert found.heat_map.max() == pytest.approx(1, abs=1e-3)
    inside = np.zeros_like(found.heat_map, bool)
    inside[bright_spot.SPOT] = True
    assert inside.flat[found.heat_map.argmax()]
    assert found.heat_map[inside].mean() > 4 * found.heat_map[~inside].mean()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_allows_what_its_graph_allows(name):
    build, methods = MODELS[name]
    model = build()
    assert recipes.explanation_methods(model) == methods
    assert recipes.explain(bright_spot.bundle(model), bright_spot.picture()).method == methods[0]


def test_the_bundle_is_left_as_it_was():
    """Whoever explains a picture does not want another network afterwards."""
    bundle = bright_spot.bundle(nested_model())
    before = bundle.predict({"image_bytes": [small_runs.picture(12, 12)]})["probabilities"]
    config = bundle.model.get_config()
    recipes.explain(bundle, bright_spot.picture(), method="grad_cam")
    assert bundle.model.get_config() == config
    np.testing.assert_array_equal(
        bundle.predict({"image_bytes": [small_runs.picture(12, 12)]})["probabilities"], before
    )


def test_cam_is_grad_cam_where_both_are_there():
    """Selvaraju et al., §3.1: for such heads Grad-CAM is CAM, up to a factor."""
    model = small_runs.scrambled(bright_spot.model())
    bundle = bright_spot.bundle(model)
    pixels = np.random.default_rng(3).integers(0, 256, (12, 12, 1), dtype=np.uint8)
    maps = [
        recipes.explain(bundle, pixels, method=method, class_name=label).heat_map
        for label in bright_spot.LABELS
        for method in ALL[:2]
    ]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)
    np.testing.assert_allclose(maps[2], maps[3], atol=1e-5)
    assert max(maps[0].max(), maps[2].max()) == pytest.approx(1)


@pytest.mark.parametrize("method", ALL)
def test_the_other_class_is_seen_elsewhere(method):
    """What speaks for "plain" is where no spot is; one logit says it of both classes."""
    for head in ("logits", "sigmoid"):
        bundle = bright_spot.bundle(bright_spot.model(head))
        found = recipes.explain(bundle, bright_spot.picture(), method=method, class_name="plain")
        assert (found.class_name, found.class_id) == ("plain", 0)
        assert found.probability < 0.5
        assert found.heat_map[bright_spot.SPOT].max() < 0.7


@pytest.mark.parametrize("head", ["softmax", "softmax layer", "sigmoid"])
def test_a_network_that_is_quite_sure_has_a_map(head):
    """Behind a softmax that says exactly 1, the gradient is zero: the map must not be."""
    bundle = bright_spot.bundle(bright_spot.model(head, hidden="flatten", confidence=1000))
    found = recipes.explain(bundle, bright_spot.picture(), method="grad_cam")
    assert found.probability == 1
    assert found.heat_map[bright_spot.SPOT].max() == 1


@pytest.mark.parametrize("method", ALL)
def test_a_flat_map_is_zeros(method):
    """Where every place says the same, none is shown: not the rounding errors, spread over the whole scale."""
    image = keras.Input((12, 12, 1), name="image")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 1, name="stage1")(image))
    model = small_runs.scrambled(keras.Model(image, layers.Dense(2)(x)))
    found = recipes.explain(bright_spot.bundle(model), bright_spot.picture(spot=None), method=method)
    assert found.heat_map.max() < 1e-3


@pytest.mark.parametrize("method", ALL[:2])
def test_each_row_is_answered_for_itself(method):
    bundle = bright_spot.bundle()
    answer = explanation.heat_maps(bundle, method)
    tensors = tf.random.stateless_uniform((5, 12, 12, 1), seed=(1, 2))
    together = answer(tensors)["heatmap"]
    assert together.shape == (5, 12, 12)
    for i in range(5):
        np.testing.assert_allclose(answer(tensors[i : i + 1])["heatmap"][0], together[i], atol=1e-5)


def test_occlusion_asks_in_batches_of_any_size():
    bundle = bright_spot.bundle()
    asked = []
    call = bundle.model.call
    bundle.model.call = lambda x, *args, **kwargs: asked.append(x.shape[0]) or call(x, *args, **kwargs)
    maps = [
        recipes.explain(bundle, bright_spot.picture(), method="occlusion", patch_size=4, stride=3, batch_size=size)
        for size in (3, 100)
    ]
    np.testing.assert_allclose(maps[0].heat_map, maps[1].heat_map, atol=1e-5)
    assert asked == [1, *[3] * 5, 1, 1, 16]


def test_a_patch_covers_what_it_is_on(tmp_path):
    """A patch as large as the picture covers all of it: every place counts the same, none is shown."""
    found = recipes.explain(bright_spot.bundle(), bright_spot.picture(), method="occlusion", patch_size=12)
    assert not found.heat_map.any()


@pytest.mark.parametrize("name", ["vit_tiny16", "resnet20", "lenet5", "mlp"])
def test_registered_models_are_explained(name):
    tiny = zoo.spec(name).tiny
    height, width, _ = tiny["input_shape"]
    model = small_runs.scrambled(zoo.build(name, **tiny))
    bundle = Bundle(
        model, "image-classification", ImagePreprocessing(*tiny["input_shape"]), ClassAnswer("logits", tuple("abc"))
    )
    expected = {"vit_tiny16": ALL[1:], "resnet20": ALL, "lenet5": ALL[1:], "mlp": ALL[2:]}
    assert recipes.explanation_methods(model) == expected[name]
    for method in expected[name]:
        found = recipes.explain(bundle, small_runs.picture(height + 3, width, "RGB"), method=method)
        assert found.heat_map.shape == (height + 3, width)
        assert np.isfinite(found.heat_map).all()


def test_a_class_token_looks_at_the_patches_for_the_last_time_in_the_last_attention():
    """After it the patches' tokens change nothing, and their gradient is zero."""
    model = zoo.build("vit_tiny16", **zoo.spec("vit_tiny16").tiny | {"depth": 3})
    maps = feature_maps.find(model)
    assert maps.tensor is model.get_layer("stage2").output
    assert (maps.grid.height, maps.grid.width, maps.grid.skip) == (4, 4, 1)


def test_tokens_that_are_averaged_have_a_cam():
    """A transformer without a class token has the head that CAM asks for."""
    image = keras.Input((12, 8, 1), name="image")
    x = layers.Reshape((6, 8))(layers.Conv2D(8, 4, 4)(image))
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)])
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(image, layers.Dense(2)(x))
    assert recipes.explanation_methods(model) == ALL
    assert feature_maps.find(model).grid == feature_maps.Grid(3, 2)


def test_maps_of_one_branch_are_not_the_whole_story():
    """Of a network that parts and is joined behind its maps, the last ones before the parting are shown."""
    image = keras.Input((12, 12, 1), name="image")
    trunk = layers.Conv2D(4, 3, activation="relu", name="trunk")(image)
    branches = [layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3, name=name)(trunk)) for name in ("left", "right")]
    model = keras.Model(image, layers.Dense(2)(layers.Concatenate()(branches)))
    assert feature_maps.find(model).tensor is trunk


def test_a_picture_can_be_given_in_any_form(tmp_path):
    bundle, pixels = bright_spot.bundle(), bright_spot.picture()
    file = tmp_path / "spot.png"
    Image.fromarray(pixels[..., 0]).save(file)
    forms = [pixels, pixels[..., 0], np.repeat(pixels, 3, -1), file, str(file), file.read_bytes()]
    maps = [recipes.explain(bundle, form).heat_map for form in forms]
    for other in maps[1:]:
        np.testing.assert_array_equal(other, maps[0])


@pytest.mark.parametrize("method", ALL)
def test_the_map_has_the_pictures_own_size(method):
    """A photograph is larger than what a network takes, and of another shape."""
    pixels = np.repeat(np.repeat(bright_spot.picture(), 5, 0), 3, 1)
    found = recipes.explain(bright_spot.bundle(), pixels, method=method)
    assert found.heat_map.shape == (60, 36)
    row, column = np.unravel_index(found.heat_map.argmax(), found.heat_map.shape)
    assert 35 <= row < 50
    assert 3 <= column < 12
    small = recipes.explain(bright_spot.bundle(), bright_spot.picture()[::2, ::2], method=method)
    assert small.heat_map.shape == (6, 6)
    assert small.heat_map.max() == pytest.approx(1, abs=1e-3)


def test_the_png_shows_the_picture_and_the_map(tmp_path):
    found = recipes.explain(bright_spot.bundle(), bright_spot.picture(), path=tmp_path / "both.png")
    with Image.open(tmp_path / "both.png") as both:
        assert both.format == "PNG"
        assert both.width > both.height > 100
    with Image.open(found.save(tmp_path / "overlay", alone=True)) as overlay:
        assert overlay.size == (bright_spot.SIDE, bright_spot.SIDE)
        pixels = np.asarray(overlay).astype(int)
    redness = pixels[..., 0] - pixels[..., 2]
    assert redness[bright_spot.SPOT].mean() > 100
    assert (redness[:5, 6:] == 0).all()


def test_what_cannot_be_explained_is_refused_with_its_reason(tmp_path):
    bundle, pixels = bright_spot.bundle(), bright_spot.picture()
    broken = tmp_path / "broken.png"
    broken.write_bytes(small_runs.picture(12, 12)[:60])
    gif = io.BytesIO()
    Image.new("L", (3, 3)).save(gif, "GIF")
    refusals = [
        ((small_runs.table_run("linear_regression"), pixels), {}, "Received: a model for regression on tables"),
        ((small_runs.table_run(), pixels), {}, "Received: a model for binary-classification on tables"),
        ((7, pixels), {}, "Accepted: a Run, its folder, or a Bundle. Received: int"),
        ((tmp_path, pixels), {}, "holds no run"),
        ((bundle, b""), {}, "The image cannot be explained: empty"),
        ((bundle, broken), {}, r"broken.png cannot be explained: .*Accepted: a PNG or JPEG"),
        ((bundle, gif.getvalue()), {}, "GIF, neither PNG nor JPEG"),
        ((bundle, pixels / 255), {}, "Pixels must be uint8.*Received: float64 of shape"),
        ((bundle, np.zeros((4, 4, 2), np.uint8)), {}, "Received 2 in the image"),
        ((bundle, pixels), {"class_name": "spott"}, "Unknown class 'spott'. Did you mean 'spot'"),
        ((bundle, pixels), {"method": "gradcam"}, "Unknown method 'gradcam'. Did you mean 'grad_cam'"),
        ((bundle, pixels), {"method": "cam", "stride": 2}, "belong to occlusion. Received: method='cam'"),
        ((bundle, pixels), {"method": "occlusion", "patch_size": 13}, "patch_size .* at most 12. Received: 13"),
        ((bundle, pixels), {"method": "occlusion", "stride": 0}, "stride .* at least 1 .*Received: 0"),
    ]
    for arguments, options, said in refusals:
        with pytest.raises(ValueError, match=said):
            recipes.explain(*arguments, **options)
    with pytest.raises(ValueError, match=r"'linear' has no feature maps.*method='cam'. It allows: occlusion\."):
        recipes.explain(bright_spot.bundle(linear_model()), pixels, method="cam")
    flattened = bright_spot.bundle(bright_spot.model(hidden="flatten"))
    with pytest.raises(ValueError, match=r"more after its feature maps.*It allows: grad_cam, occlusion\."):
        recipes.explain(flattened, pixels, method="cam")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        recipes.explain(bundle, tmp_path / "nowhere.png")


def test_a_run_is_explained_on_the_command_line(tmp_path, monkeypatch):
    run = bright_spot.run()
    run.dir = tmp_path / "run"
    run.dir.mkdir()
    run.save()
    monkeypatch.chdir(tmp_path)

    def said(*words):
        result = CliRunner().invoke(commands.explain, [str(run.dir), str(run.dir / "examples/0001.png"), *words])
        assert result.exit_code == 0, result.output
        return result.output

    assert "spot" in said()
    assert Image.open(tmp_path / "0001_explained.png").format == "PNG"
    record = json.loads(said("--method", "occlusion", "--class", "spot", "--out", "seen.png", "--json"))
    assert (record["class"], record["method"], record["out"]) == ("spot", "occlusion", "seen.png")
    assert record["probability"] > 0.5
    assert 1 <= record["strongest"]["row"] < 4
    assert 8 <= record["strongest"]["column"] < 11
    assert (tmp_path / "seen.png").exists()

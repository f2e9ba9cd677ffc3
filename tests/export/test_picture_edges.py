"""Odd and bad pictures, at a real server over REST and gRPC: each gets Keras' answer or a clear error.

One embedded server has all of the models: one that answers with masks, one with boxes, one with pictures, one with a
class, and one that makes pictures.
"""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from export import pictures
from serving.errors import ServingError
from tests.export import many_models, small_runs

MODELS = {"masks": "unet", "boxes": "yolo_v1_small", "styles": "style_transfer", "makes": "dcgan"}
OF_PICTURES = ("masks", "boxes", "styles", "classes")
RIGHT_TOP, ORIENTATION = 6, 0x0112


def file_of(pixels, file_format="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, file_format, **options)
    return file.getvalue()


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def photograph(size=(40, 56)):
    """A picture that is smooth, so that JPEG changes it little."""
    down, across = np.mgrid[0 : size[0], 0 : size[1]]
    return np.stack([down * 4, across * 4, 255 - down * 4], axis=-1).clip(0, 255).astype(np.uint8)


def turned():
    """A JPEG that says it must be turned by 90° clockwise, and what is then seen, as a PNG."""
    exif = Image.Exif()
    exif[ORIENTATION] = RIGHT_TOP
    stored = file_of(photograph(), "JPEG", exif=exif, quality=95)
    return stored, file_of(np.rot90(tf.io.decode_jpeg(stored).numpy(), -1))


ODD = {
    "one pixel": file_of(noise(1, 1, 3)),
    "one grey pixel": file_of(noise(1, 1)),
    "8,000 pixels wide": file_of(np.tile(photograph((20, 40)), (1, 200, 1))),
    "8,000 pixels high": file_of(np.tile(photograph((40, 9)), (200, 1, 1))),
    "grey and alpha": file_of(noise(19, 23, 2)),
    "alpha": file_of(noise(23, 17, 4)),
    "a palette": file_of(noise(9, 9), "PNG"),
    "a JPEG": file_of(photograph(), "JPEG"),
    "a turned JPEG": turned()[0],
}


@pytest.fixture(scope="module")
def runs():
    """What is served, by name."""
    colour = zoo.build("lenet5", input_shape=(12, 12, 3), num_classes=len(small_runs.LABELS))
    return {name: small_runs.of_pictures(network) for name, network in MODELS.items()} | {
        "classes": small_runs.image_run(colour)
    }


@pytest.fixture(scope="module")
def server(runs, tmp_path_factory):
    """One server of all of them."""
    with many_models.served(runs, tmp_path_factory.mktemp("pictures")) as running:
        yield running


@pytest.fixture(scope="module", params=["rest", "grpc"])
def client(request, server):
    with many_models.connected(server, request.param) as client:
        yield client


def ask(client, model, *files):
    return client.predict(model, {"image_bytes": list(files)}, signature="bytes")


def keras_answers(run, *files):
    return run.bundle.predict({"image_bytes": np.array([*files, None], object)[:-1]})


def assert_same(answer, expected):
    assert answer.keys() == expected.keys()
    for name, wanted in expected.items():
        if pictures.are_pictures(wanted):
            assert pictures.sizes(answer[name]) == pictures.sizes(wanted), name
            np.testing.assert_allclose(pictures.pixels(answer[name]), pictures.pixels(wanted), atol=1, err_msg=name)
        elif wanted.dtype == object:
            assert answer[name].tolist() == np.vectorize(bytes.decode, otypes=[object])(wanted).tolist(), name
        else:
            np.testing.assert_allclose(answer[name], wanted, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("model", OF_PICTURES)
def test_every_picture_gets_the_answer_of_keras(model, client, runs):
    """Pictures of all sizes in one batch."""
    assert_same(ask(client, model, *ODD.values()), keras_answers(runs[model], *ODD.values()))


def test_a_mask_has_the_size_of_its_picture(client):
    answer = ask(client, "masks", *ODD.values())
    for i, (file, png) in enumerate(zip(ODD.values(), answer["mask_bytes"], strict=True)):
        stored = Image.open(io.BytesIO(file)).size
        seen = stored[::-1] if file is ODD["a turned JPEG"] else stored
        mask = np.asarray(Image.open(io.BytesIO(png)))
        assert mask.shape == seen[::-1] == tuple(answer["size"][i])
        np.testing.assert_array_equal(answer["class_ids"][i, : mask.size], mask.ravel())
        assert not answer["class_ids"][i, mask.size :].any()


def test_boxes_are_in_pixels_of_each_picture(client):
    """The same picture twice as large has the same boxes, twice as large."""
    small = photograph()
    large = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
    answer = ask(client, "boxes", file_of(small), file_of(large))
    some = answer["scores"][0] > 0.02
    assert some.any()
    np.testing.assert_allclose(answer["boxes"][1][some], 2 * answer["boxes"][0][some], rtol=0.05, atol=2)
    assert (answer["boxes"][0] <= [40, 56, 40, 56]).all()


def test_a_styled_picture_has_the_size_of_what_was_given_and_keeps_its_alpha(client):
    answer = ask(client, "styles", *ODD.values())["image_bytes"]
    for name, file, png in zip(ODD, ODD.values(), answer, strict=True):
        given, made = (Image.open(io.BytesIO(one)) for one in (file, png))
        assert made.size == (given.size[::-1] if name == "a turned JPEG" else given.size), name
        assert made.mode == ("RGBA" if "alpha" in name else "RGB"), name
        if "alpha" in name:
            np.testing.assert_array_equal(np.asarray(made)[..., 3], np.asarray(given)[..., -1])


@pytest.mark.parametrize("model", OF_PICTURES)
def test_a_photograph_is_seen_as_it_was_taken(model, client, runs):
    stored, seen = turned()
    for name, value in ask(client, model, stored).items():
        wanted = ask(client, model, seen)[name]
        if value.dtype == object and value[0][:1] == b"\x89":
            np.testing.assert_allclose(pictures.pixels(value), pictures.pixels(wanted), atol=2, err_msg=name)
        elif value.dtype == object:
            assert value.tolist() == wanted.tolist()
        else:
            np.testing.assert_allclose(value, wanted, rtol=1e-3, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("model", OF_PICTURES)
@pytest.mark.parametrize("file", [b"", b"GIF87a nothing", ODD["a JPEG"][:200], ODD["alpha"][:60]])
def test_what_is_no_picture_is_refused_and_the_next_one_answered(model, file, client, runs):
    with pytest.raises(ServingError):
        ask(client, model, file)
    assert_same(ask(client, model, ODD["a JPEG"]), keras_answers(runs[model], ODD["a JPEG"]))


@pytest.mark.slow
@pytest.mark.parametrize("model", OF_PICTURES)
def test_a_picture_of_8000_by_8000_pixels_is_answered(model, client):
    file = file_of(np.tile(photograph((40, 40)), (200, 200, 1)))
    answer = ask(client, model, file)
    for name in ("mask_bytes", "image_bytes"):
        if name in answer:
            assert Image.open(io.BytesIO(answer[name][0])).size == (8000, 8000)


def test_pictures_are_made_of_seeds_whatever_else_is_asked(client, runs):
    asked = {"seed": [3, 7, 3], "count": [2, 1, 4]}
    answer = client.predict("makes", asked, signature="generate")
    assert_same(answer, runs["makes"].bundle.predict({name: np.array(values) for name, values in asked.items()}))
    assert answer["image"].shape == (3, 4, 16, 16, 1)
    np.testing.assert_allclose(answer["image"][0, :2], answer["image"][2, :2], atol=1e-6)
    assert not answer["image"][1, 1:].any()
    assert [[bool(png) for png in row] for row in answer["image_bytes"]] == [
        [True, True, False, False],
        [True, False, False, False],
        [True] * 4,
    ]
    alone = client.predict("makes", {"seed": [7], "count": [1]}, signature="generate")
    np.testing.assert_allclose(alone["image"][0], answer["image"][1, :1], atol=1e-6)


@pytest.mark.parametrize("count", [0, -1, 257])
def test_a_count_that_cannot_be_is_refused(count, client):
    with pytest.raises(ServingError, match=r"count must be 1 to 256\. Received"):
        client.predict("makes", {"seed": [1], "count": [count]}, signature="generate")


def test_a_latent_of_the_wrong_width_is_refused(client, runs):
    with pytest.raises(ServingError, match="8"):
        client.predict("makes", {"latent": np.zeros((1, 9), np.float32)})
    latent = np.ones((2, 8), np.float32)
    assert_same(client.predict("makes", {"latent": latent}), runs["makes"].bundle.predict_tensors(latent))

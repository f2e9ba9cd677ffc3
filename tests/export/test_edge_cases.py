"""Edge cases of a proof: odd raw inputs, made of a real one, that Keras answers."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from export.edges import edge_cases, refused_cases, together
from tests.export import small_runs


def found(run):
    return edge_cases(run.bundle, run.examples.raw)


def test_pictures_are_odd_in_ways_that_people_send():
    cases = {name: row["image_bytes"][0] for name, row in found(small_runs.image_run()).items()}
    opened = {name: Image.open(io.BytesIO(data)) for name, data in cases.items()}
    assert {name: (image.mode, image.size) for name, image in opened.items()} == {
        "another size": ("RGB", (9, 19)),
        "grey": ("L", (12, 12)),
        "alpha": ("RGBA", (12, 12)),
        "turned": ("RGB", (12, 12)),
        "one pixel": ("RGB", (1, 1)),
    }
    upright = np.asarray(ImageOps.exif_transpose(opened["turned"]))
    np.testing.assert_array_equal(upright, np.rot90(np.asarray(opened["turned"]), -1))
    assert np.ptp(np.asarray(opened["alpha"])[..., 3]) > 200


def test_texts_are_empty_and_too_long():
    run = small_runs.text_run("words")
    cases = {name: row["text"][0] for name, row in found(run).items()}
    assert cases["empty"] == b""
    most = run.bundle.preprocessing.max_length
    assert len(cases["too long"].split()) > most
    assert np.count_nonzero(run.bundle.preprocess({"text": [cases["too long"]]})) == most


def test_a_model_that_refuses_long_texts_is_not_asked_one():
    assert list(found(small_runs.text_run("words", too_long="refuse"))) == ["empty"]


@pytest.mark.parametrize(
    ("run", "names"),
    [(small_runs.table_run, ["zeros"]), (lambda: small_runs.of_pictures("dcgan"), ["smallest seed", "largest seed"])],
)
def test_numbers_are_at_their_limits(run, names):
    run = run()
    cases = found(run)
    assert list(cases) == names
    batch = together([run.examples.raw, *cases.values()])
    assert {len(array) for array in batch.values()} == {len(run.examples) + len(names)}
    for name, array in run.bundle.predict(batch).items():
        assert array.dtype == object or np.isfinite(array).all(), name


@pytest.mark.parametrize(
    ("run", "names"),
    [
        (small_runs.image_run, ["no picture"]),
        (lambda: small_runs.of_pictures("style_transfer"), ["no picture"]),
        (small_runs.table_run, ["missing value"]),
        (lambda: small_runs.text_run("words", too_long="refuse"), ["too long"]),
        (lambda: small_runs.text_run("words"), []),
        (lambda: small_runs.of_pictures("dcgan"), ["no pictures"]),
    ],
)
def test_what_is_to_be_refused_keras_refuses(run, names):
    run = run()
    cases = refused_cases(run.bundle, run.examples.raw)
    assert list(cases) == names
    for case in cases.values():
        with pytest.raises(tf.errors.InvalidArgumentError):
            run.bundle.predict(case)

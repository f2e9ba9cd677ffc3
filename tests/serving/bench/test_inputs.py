"""What a model is asked: the golden set that a version was published with, a person's files, what is made up."""

import io

import numpy as np
import pytest
from PIL import Image

from export.golden import Golden
from serving.bench import inputs
from serving.metadata import ModelMetadata, Signature, TensorSpec

Y = {"y": TensorSpec("float32", (None, 1))}
SIGNATURES = {
    "bytes": Signature({"image_bytes": TensorSpec("string", (None,))}, Y),
    "generate": Signature(
        {
            "text": TensorSpec("string", (None,)),
            "max_new_tokens": TensorSpec("int64", (None,)),
            "temperature": TensorSpec("float32", (None,)),
        },
        Y,
    ),
    "row": Signature({"age": TensorSpec("float32", (None, 1)), "bmi": TensorSpec("float32", (None, 1))}, Y),
    "serving_default": Signature({"image": TensorSpec("float32", (None, 4, 4, 1))}, Y),
    "tokens": Signature({"ids": TensorSpec("int32", (None, None)), "flag": TensorSpec("bool", ())}, Y),
    "classify": Signature({"inputs": TensorSpec("string", (None,))}, Y, "tensorflow/serving/classify"),
    "half": Signature({"x": TensorSpec("bfloat16", (None, 2))}, Y),
}
METADATA = ModelMetadata("m", 3, SIGNATURES)
FILES = np.array([b"one\0", b"", b"three"], object)
PNG = b"\x89PNG\r\n\x1a\n and so on"
PIXELS = np.random.default_rng(0).random((5, 4, 4, 1), np.float32)


@pytest.fixture
def base_path(tmp_path):
    """A version with a golden set for two signatures, as `publish` writes it."""
    answers = {"y": np.zeros((5, 1), np.float32)}
    version = tmp_path / "m" / "3"
    version.mkdir(parents=True)
    Golden({"image": PIXELS}, answers).save(version, "serving_default")
    Golden({"image_bytes": FILES}, answers).save(version, "bytes")
    return version.parent


def test_golden_inputs_are_read_as_they_were_published(base_path):
    found = inputs.find(METADATA, base_path)
    assert found.signature == "bytes"
    assert found.origin == f"golden set in {base_path}, 3 examples"
    assert [request["image_bytes"].tolist() for request in found.requests] == [[b"one\0"], [b""], [b"three"]]


def test_batches_of_golden_inputs_go_on_from_the_top(base_path):
    found = inputs.find(METADATA, base_path, signature="serving_default", batch_size=2)
    asked = [request["image"] for request in found.requests]
    np.testing.assert_array_equal(np.concatenate(asked), PIXELS[[0, 1, 2, 3, 4, 0]])
    (all_at_once,) = inputs.find(METADATA, base_path, batch_size=7).requests
    assert all_at_once["image_bytes"].tolist() == [*FILES, *FILES, FILES[0]]


@pytest.mark.parametrize("inside", [".", "3"])
def test_a_golden_set_can_be_given_beside_an_address(base_path, inside):
    found = inputs.find(METADATA, None, [base_path / inside])
    assert found.signature == "bytes"
    assert len(found.requests) == 3


def test_a_golden_set_of_another_version_is_not_taken(base_path):
    assert inputs.find(ModelMetadata("m", 4, SIGNATURES), base_path).origin == "made up"


def test_pictures_texts_and_tables_are_taken_as_zoo_query_takes_them(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    found = inputs.find(METADATA, None, [tmp_path / "a.png"])
    assert (found.signature, found.requests[0]["image_bytes"].tolist()) == ("bytes", [PNG])
    (tmp_path / "texts.txt").write_text("once\ntwice\n")
    found = inputs.find(METADATA, None, [tmp_path / "texts.txt"], "generate", batch_size=2)
    (request,) = found.requests
    assert request["text"].tolist() == [b"once", b"twice"]
    assert request["max_new_tokens"].tolist() == [64, 64]
    (tmp_path / "people.csv").write_text("bmi,age,target\n20,50,1\n30,60,2\n")
    found = inputs.find(METADATA, None, [tmp_path / "people.csv"])
    assert found.signature == "row"
    assert [request["age"].tolist() for request in found.requests] == [[[50]], [[60]]]


def test_what_is_made_up_fits_the_signature():
    for name in ("bytes", "generate", "row", "serving_default", "tokens", "half"):
        signature = SIGNATURES[name]
        (request,) = inputs.find(METADATA, signature=name, batch_size=3).requests
        bound = signature.bind(request)
        assert {array.shape[0] for array in bound.values() if array.shape} == {3}
        assert all(bound[each].dtype == request[each].dtype for each in request)


def test_made_up_pictures_are_pictures_and_settings_are_the_usual_ones():
    made = inputs.made_up(SIGNATURES["bytes"], 1)["image_bytes"][0]
    assert Image.open(io.BytesIO(made)).size == (224, 224)
    assert inputs.made_up(SIGNATURES["generate"], 1)["max_new_tokens"].tolist() == [64]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"signature": "byte"}, "no signature 'byte'.*Did you mean 'bytes'?"),
        ({"signature": "classify"}, "No serialized tf.Example can be made up for the input 'inputs'. Give --input"),
        ({"paths": True, "signature": "row"}, "has no 'row'. It has: bytes, serving_default"),
    ],
)
def test_what_cannot_be_asked_is_said(base_path, asked, said):
    asked = asked | ({"paths": [base_path]} if "paths" in asked else {})
    with pytest.raises(ValueError, match=said):
        inputs.find(METADATA, None, **asked)


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: b"", lambda data: b"some text"])
def test_a_damaged_golden_set_is_named(base_path, damage):
    file = base_path / "3" / "golden" / "bytes.npz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"bytes.npz is no file of a golden set"):
        inputs.find(METADATA, base_path)


def test_golden_inputs_of_another_shape_are_refused(base_path):
    signatures = {"serving_default": Signature({"image": TensorSpec("float32", (None, 8, 8, 1))}, Y)}
    with pytest.raises(ValueError, match=r"input 'image': shape \[5, 4, 4, 1\] does not fit"):
        inputs.find(ModelMetadata("m", 3, signatures), base_path)

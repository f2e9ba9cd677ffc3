"""What a person fills in, made from a model's metadata and its version folder."""

import base64
import json

import numpy as np
import pytest

from export.golden import Golden
from serving.metadata import ModelMetadata, Signature, TensorSpec
from serving.playground.forms import describe

PNGS = np.array([b"\x89PNG one", b"\x89PNG two"], object)
Y = {"y": TensorSpec("float32", (None, 1))}


def fields_of(**inputs):
    metadata = ModelMetadata("m", 1, {"s": Signature({name: TensorSpec(*spec) for name, spec in inputs.items()}, Y)})
    (form,) = describe(metadata)["signatures"]
    return {field["name"]: field for field in form["fields"]}


def publish(folder, card=None, **golden):
    """A version 3 as ``zoo publish`` writes it."""
    version = folder / "m" / "3"
    version.mkdir(parents=True)
    for signature, inputs in golden.items():
        rows = len(next(iter(inputs.values())))
        Golden(inputs, {"y": np.zeros((rows, 1), np.float32)}).save(version, signature)
    (version / "card.json").write_text(json.dumps(card or {}))
    (version / "labels.txt").write_text("cat\ndog\n")
    return version.parent


@pytest.mark.parametrize(
    ("inputs", "kinds"),
    [
        ({"image_bytes": ("string", (None,))}, {"image_bytes": "picture"}),
        ({"content_bytes": ("string", (None,)), "style_bytes": ("string", (None,))}, None),
        ({"text": ("string", (None,))}, {"text": "text"}),
        ({"text": ("string", (None,)), "seed": ("int64", (None,))}, {"text": "text", "seed": "number"}),
        ({"age": ("float32", (None,)), "bmi": ("float32", (None, 1))}, {"age": "number", "bmi": "number"}),
        ({"flag": ("bool", (None,)), "n": ("int32", ())}, {"flag": "switch", "n": "number"}),
        ({"image": ("float32", (None, 28, 28, 1)), "ids": ("int32", (None, None))}, {"image": "json", "ids": "json"}),
        ({"inputs": ("string", (None,))}, {"inputs": "json"}),
        ({"x": ("float32", None), "z": ("complex64", (None,))}, {"x": "json", "z": "json"}),
    ],
)
def test_every_input_has_a_field_of_its_kind(inputs, kinds):
    found = {name: field["kind"] for name, field in fields_of(**inputs).items()}
    assert found == (kinds or dict.fromkeys(inputs, "picture"))


def test_what_writes_starts_with_what_is_usual_and_knows_its_ranges():
    fields = fields_of(text=("string", (None,)), temperature=("float32", (None,)), max_new_tokens=("int64", (None,)))
    assert (fields["max_new_tokens"]["value"], fields["max_new_tokens"]["least"]) == (64, 1)
    assert (fields["temperature"]["value"], fields["temperature"]["step"]) == (0.0, 0.1)


def test_who_translates_does_not_go_on_where_the_text_ends():
    generate = Signature({"text": TensorSpec("string", (None,)), "max_new_tokens": TensorSpec("int64", (None,))}, Y)
    tokens = {"source": TensorSpec("int64", (None, None)), "target": TensorSpec("int64", (None, None))}
    for further, continues in (({}, True), ({"serving_default": Signature(tokens, Y)}, False)):
        form = describe(ModelMetadata("m", 1, {"generate": generate, **further}))["signatures"][0]
        assert form["continues"] is continues


def test_values_are_wrapped_in_as_many_lists_as_the_tensor_has_dimensions():
    fields = fields_of(a=("float32", (None,)), b=("float32", (None, 1)), c=("int32", ()))
    assert [fields[name]["rank"] for name in "abc"] == [1, 2, 0]


def test_a_tensor_starts_with_a_row_of_zeros_unless_it_is_too_large():
    fields = fields_of(
        latent=("float32", (None, 3)), ids=("int64", (None, None)), image=("float32", (None, 224, 224, 3))
    )
    assert fields["latent"]["value"] == [[0.0, 0.0, 0.0]]
    assert fields["ids"]["value"] == [[0]]
    assert fields["image"]["value"] is None


def test_raw_inputs_come_first_and_what_programs_send_last():
    signature = Signature({"x": TensorSpec("float32", (None, 2))}, Y)
    names = ["classify", "serving_default", "odd", "row", "explain", "text", "bytes", "generate"]
    found = describe(ModelMetadata("m", 1, dict.fromkeys(names, signature)))["signatures"]
    assert [form["name"] for form in found] == [
        *("generate", "bytes", "text", "row"),
        *("explain", "odd", "serving_default", "classify"),
    ]


def test_a_version_folder_tells_its_card_labels_and_examples(tmp_path):
    base = publish(
        tmp_path,
        {"task": "image-classification", "metrics": {"accuracy": 0.9}, "hashes": {"graph": "…"}},
        bytes={"image_bytes": PNGS},
    )
    metadata = ModelMetadata("m", 3, {"bytes": Signature({"image_bytes": TensorSpec("string", (None,))}, Y)})
    for path in (base, base / "3"):
        found = describe(metadata, path)
        assert found["card"] == {"task": "image-classification", "metrics": {"accuracy": 0.9}}
        assert found["labels"] == ["cat", "dog"]
        (form,) = found["signatures"]
        assert form["examples"] == [{"image_bytes": {"b64": base64.b64encode(png).decode()}} for png in PNGS]


def test_examples_of_rows_are_what_their_fields_hold(tmp_path):
    rows = {
        "age": np.array([19, 59], np.float32),
        "bmi": np.array([[0.1], [0.25]], np.float32),
        "text": np.array(["schön".encode(), b""], object),
    }
    base = publish(tmp_path, row=rows)
    shapes = {"age": (None,), "bmi": (None, 1), "text": (None,)}
    inputs = {name: TensorSpec("string" if name == "text" else "float32", shape) for name, shape in shapes.items()}
    (form,) = describe(ModelMetadata("m", 3, {"row": Signature(inputs, Y)}), base)["signatures"]
    assert form["examples"] == [{"age": 19.0, "bmi": 0.1, "text": "schön"}, {"age": 59.0, "bmi": 0.25, "text": ""}]
    assert [field["name"] for field in form["fields"]] == ["text", "age", "bmi"]
    age = form["fields"][1]
    assert (age["value"], age["hint"]) == (19.0, "e.g. 19 to 59")


def test_examples_that_are_too_large_or_lack_an_input_are_none(tmp_path):
    pictures = np.array([b"\x89" * 2**20, b"\x89" * 2**20], object)
    tensors = np.zeros((2, 100, 100), np.float32)
    base = publish(tmp_path, bytes={"b": pictures}, big={"t": tensors}, part={"t": tensors[:, 0, 0]})
    signatures = {
        "bytes": Signature({"b": TensorSpec("string", (None,))}, Y),
        "big": Signature({"t": TensorSpec("float32", (None, 100, 100))}, Y),
        "part": Signature({"t": TensorSpec("float32", (None,)), "u": TensorSpec("float32", (None,))}, Y),
    }
    found = {form["name"]: form["examples"] for form in describe(ModelMetadata("m", 3, signatures), base)["signatures"]}
    assert [len(found[name]) for name in ("bytes", "big", "part")] == [1, 0, 0]


@pytest.mark.parametrize("text", ["{", "[1]", '"card"'])
def test_a_damaged_card_is_named(tmp_path, text):
    base = publish(tmp_path)
    (base / "3" / "card.json").write_text(text)
    with pytest.raises(ValueError, match=r"card\.json is no card of a version"):
        describe(ModelMetadata("m", 3, {}), base)

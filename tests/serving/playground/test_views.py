"""How an answer is shown: which view for which outputs, and what is in it."""

import json

import numpy as np
import pytest

from serving.metadata import Signature, TensorSpec
from serving.playground.json_values import json_value, with_bytes
from serving.playground.views import FEW_CLASSES, MOST_CLASSES, told, views


def strings(*values):
    return np.array(values, object)


def classifier(probabilities, label="cat"):
    probabilities = np.array([probabilities], np.float32)
    return {
        "probabilities": probabilities,
        "class_ids": probabilities.argmax(-1),
        "classes": strings(label),
    }


def test_few_classes_stand_in_their_order_with_the_best_marked():
    (view,) = views(classifier([0.2, 0.7, 0.1], "dog"), ["cat", "dog"])
    assert [(item["label"], item["value"], item["best"]) for item in view["items"]] == [
        ("cat", 0.2, False),
        ("dog", 0.7, True),
        ("class 2", 0.1, False),
    ]


def test_of_many_classes_the_most_probable_are_shown():
    probabilities = np.linspace(0, 0.1, FEW_CLASSES + 1)
    (view,) = views(classifier(probabilities))
    assert view["classes"] == FEW_CLASSES + 1
    assert len(view["items"]) == MOST_CLASSES
    assert view["items"][0] == {"label": "cat", "value": 0.1, "best": True}


def test_a_heat_map_follows_the_class():
    outputs = classifier([0.5, 0.5]) | {"heatmap": np.array([[[0, 0.25], [1, 0.5]]], np.float32)}
    assert [view["kind"] for view in views(outputs)] == ["classes", "heat"]
    assert views(outputs)[1]["rows"] == [[0, 0.25], [1, 0.5]]


def test_boxes_are_those_that_were_found():
    outputs = {
        "boxes": np.array([[[1, 2, 3, 4], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[0.75, 0]], np.float32),
        "class_ids": np.array([[1, 0]]),
        "classes": strings("cat", "").reshape(1, 2),
    }
    assert views(outputs) == [{"kind": "boxes", "items": [{"box": [1, 2, 3, 4], "score": 0.75, "label": "cat"}]}]


def test_a_mask_tells_the_share_of_each_class_without_what_is_behind_the_picture():
    outputs = {
        "class_ids": np.array([[0, 2, 2, 2, 0, 0, 0]]),
        "mask_bytes": strings(b"\x89PNG"),
        "size": np.array([[2, 2]]),
    }
    (view,) = views(outputs, ["background", "cat", "dog"])
    assert view["png"] == "iVBORw=="
    assert [(each["id"], each["label"], each["share"]) for each in view["classes"]] == [
        (2, "dog", 0.75),
        (0, "background", 0.25),
    ]


@pytest.mark.parametrize("png", [strings(b"\x89"), strings(b"\x89", b"").reshape(1, 2)])
def test_pictures_are_one_or_several(png):
    assert views({"image": np.zeros((1, 2, 2, 1)), "image_bytes": png}) == [{"kind": "pictures", "pngs": ["iQ=="]}]


def test_words_have_their_tags():
    outputs = {
        "words": strings("Ada", "").reshape(1, 2),
        "classes": strings("person", "").reshape(1, 2),
        "probabilities": np.array([[[0.25, 0.75], [0, 0]]], np.float32),
    }
    assert views(outputs)[0]["items"] == [{"word": "Ada", "tag": "person", "probability": 0.75}]


def test_what_may_stand_at_each_mask():
    outputs = {
        "filled_text": strings("a b"),
        "tokens": strings("b", "c", "", "").reshape(1, 2, 2),
        "probabilities": np.array([[[0.5, 0.25], [0, 0]]], np.float32),
    }
    (view,) = views(outputs)
    assert view["text"] == "a b"
    assert [[item["label"] for item in mask] for mask in view["masks"]] == [["b", "c"]]


def test_values_texts_and_next_tokens():
    assert views({"value": np.array([[1.5]], np.float32)}) == [{"kind": "value", "value": 1.5}]
    assert views({"generated_text": strings("so")}) == [{"kind": "written", "text": "so"}]
    outputs = {
        "perplexity": np.array([3.5], np.float32),
        "next_tokens": strings(" a", "b").reshape(1, 2),
        "next_probabilities": np.array([[0.5, 0.25]], np.float32),
    }
    (view,) = views(outputs)
    assert (view["kind"], view["perplexity"], view["items"][0]["label"]) == ("next", 3.5, " a")


def test_any_other_answer_is_told_by_its_tensors():
    outputs = {"y": np.arange(1000.0).reshape(1, 1000), "raw_bytes": strings(b"\xff\0")}
    assert views(outputs) == []
    specs = {"y": TensorSpec("float64", (None, None)), "raw_bytes": TensorSpec("string", (None,))}
    first, second = told(outputs, Signature({}, specs))
    assert first["spec"] == "float64[1, 1000]"
    assert first["values"].endswith("…") or "..." in first["values"]
    assert (second["spec"], second["values"]) == ("string[1]", r"b'\xff\x00'")


def test_json_is_what_browsers_read():
    values = np.array([0.1, np.nan, np.inf, -np.inf], np.float32)
    assert json_value(values) == [0.1, "nan", "inf", "-inf"]
    assert json_value(strings(b"\xff", b"ok", "a\udc80")) == [{"b64": "/w=="}, "ok", "a\\udc80"]
    assert json_value(np.array([[True], [False]])) == [[True], [False]]
    json.dumps(json_value(np.array(7)), allow_nan=False)


def test_bytes_are_read_back_and_no_other_object_is():
    assert with_bytes([[{"b64": "/w=="}, "a", 1, None]]) == [[b"\xff", "a", 1, None]]
    for wrong in ({"b64": 3}, {"b64": "!"}, {}, {"c": 1}):
        with pytest.raises(ValueError, match="b64"):
            with_bytes(wrong)

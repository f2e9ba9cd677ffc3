"""Long lists of pictures and texts, asked in batches, by both clients over both transports."""

import sys

import numpy as np
import pytest

import serving
from serving.batches import joined
from serving.errors import AnswerMismatch
from serving.progress import bar
from serving.questions import Question

PNG = b"\x89PNG\r\n\x1a\n"
CLASSES = "cat", "dog", "fox"  # by the picture's length: see tiny_models.py


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Seven files, named against the order of their lengths."""
    folder = tmp_path_factory.mktemp("pictures")
    files = [folder / f"{9 - more}.png" for more in range(7)]
    for more, file in enumerate(files):
        file.write_bytes(PNG + b"x" * more)
    return files


def test_pictures_are_answered_in_their_order_from_several_requests(client, pictures):
    outputs = client.predict_images("tiny", pictures, batch_size=3)
    assert outputs["classes"].tolist() == [CLASSES[(8 + more) % 3] for more in range(7)]
    assert outputs["probabilities"].shape == (7, 3)
    assert outputs["probabilities"].dtype == np.float32
    alone = client.predict_images("tiny", str(pictures[4]))
    assert alone["classes"].tolist() == [CLASSES[12 % 3]], "one path alone is a list of one"


def test_texts_are_answered_in_their_order_from_several_requests(client):
    outputs = client.predict_texts("tiny", ["a", b"\xff", "", "dé", "e"], batch_size=2)
    assert outputs["raw_bytes"].tolist() == [t + b"\xff\x00" for t in (b"a", b"\xff", b"", "dé".encode(), b"e")]
    assert outputs["length"].tolist() == [1, 1, 0, 3, 1]
    assert client.predict_texts("tiny", "all of it")["upper"].tolist() == ["ALL OF IT"]


def test_settings_are_for_all_texts_alike(client):
    outputs = client.predict_texts(
        "tiny", ["once", "twice", "again"], signature="generate", settings={"max_new_tokens": 7}, batch_size=2
    )
    assert outputs["generated_text"].tolist() == ["once 7 0.0 0", "twice 7 0.0 0", "again 7 0.0 0"]


def test_the_file_at_fault_is_named_before_anything_is_sent(connect, pictures, tmp_path):
    (tmp_path / "page.png").write_bytes(b"<html></html>")
    (tmp_path / "empty.png").touch()
    with connect("http://127.0.0.1:1", retries=0) as client:  # where nobody listens
        with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
            client.predict_images("tiny", [*pictures, tmp_path / "nowhere.png"])
        with pytest.raises(IsADirectoryError, match=tmp_path.name):
            client.predict_images("tiny", tmp_path)
        with pytest.raises(serving.InvalidInput, match=r"page\.png is no picture: it begins with b'<html></html"):
            client.predict_images("tiny", [*pictures, tmp_path / "page.png"])
        with pytest.raises(serving.InvalidInput, match=r"empty\.png is no picture: it is empty"):
            client.predict_images("tiny", [tmp_path / "empty.png"])
        with pytest.raises(serving.InvalidInput, match=r"text 1 is neither str nor bytes\. Received: 2 of type int"):
            client.predict_texts("tiny", ["a", 2])
        for ask in (client.predict_images, client.predict_texts):
            with pytest.raises(serving.InvalidInput, match="Give at least one"):
                ask("tiny", [])


def test_the_picture_that_the_model_refuses_is_named(client, pictures, tmp_path):
    refused = tmp_path / "refused.png"
    refused.write_bytes(b"GIF89a")
    with pytest.raises(serving.InvalidInput) as error:
        client.predict_images("tiny", [*pictures[:2], refused, pictures[2]])
    assert f"predict 'tiny', signature 'bytes', at {client.address}: '{refused}': " in str(error.value)
    assert "no picture" in str(error.value), "the server's words are lost"


def test_signatures_that_take_something_else_are_refused(client, pictures):
    with pytest.raises(serving.InvalidInput, match="'two' takes a: float32"):
        client.predict_images("tiny", pictures, signature="two")
    with pytest.raises(serving.InvalidInput, match="no signature 'texts'"):
        client.predict_texts("tiny", ["a"], signature="texts")
    with pytest.raises(serving.InvalidInput, match=r"setting seeds: .* Did you mean 'seed'"):
        client.predict_texts("tiny", ["a"], signature="generate", settings={"seeds": 1})
    with pytest.raises(serving.InvalidInput, match=r"input 'seed': float64 values for a int64"):
        client.predict_texts("tiny", ["a"], signature="generate", settings={"seed": 1.5})


def test_a_version_can_be_asked_for(client, pictures):
    assert client.predict_images("tiny", pictures, version=1)["classes"].shape == (7,)
    with pytest.raises(serving.ModelNotFound, match="'tiny' version 7"):
        client.predict_images("tiny", pictures, version=7)


def test_nothing_to_ask_and_no_batches_are_refused(client):
    with pytest.raises(ValueError, match="at least one question"):
        client.predict_questions("tiny", [], signature="text")
    with pytest.raises(ValueError, match="Received: 1, 0"):
        client.predict_questions("tiny", [Question("a", {"text": "a"})], signature="text", batch_size=0)


def test_a_sum_over_the_batch_cannot_be_put_together(client):
    questions = [Question(str(x), {"x": x}) for x in (1.0, 2.0, 4.0)]
    assert client.predict_questions("tiny", questions, signature="total")["y"] == 7.0
    with pytest.raises(serving.ServerError, match="output 'y' has no row for each input"):
        client.predict_questions("tiny", questions, signature="total", batch_size=2)


# --- what is put together ------------------------------------------------------------------------------------------

WORDS = serving.TensorSpec("string", (None, None))


def strings(rows) -> np.ndarray:
    return np.array(rows, object)


def test_batches_are_as_wide_as_the_widest():
    specs = {"words": WORDS, "raw_bytes": WORDS, "ids": serving.TensorSpec("int64", (None, None))}
    parts = [
        (2, {"words": strings([["a"], ["b"]]), "raw_bytes": strings([[b"a"], [b"b"]]), "ids": np.array([[1], [2]])}),
        (1, {"words": strings([["c", "d"]]), "raw_bytes": strings([[b"c", b"d"]]), "ids": np.array([[3, 4]])}),
    ]
    outputs = joined(parts, specs)
    assert outputs["words"].tolist() == [["a", ""], ["b", ""], ["c", "d"]]
    assert outputs["raw_bytes"].tolist() == [[b"a", b""], [b"b", b""], [b"c", b"d"]]
    assert outputs["ids"].tolist() == [[1, 0], [2, 0], [3, 4]]
    assert outputs["ids"].dtype == np.int64


def test_what_is_the_same_for_all_rows_stays_as_it_is():
    specs = {"y": serving.TensorSpec("float32", (None,)), "labels": serving.TensorSpec("string", (None,))}
    labels = strings(["a", "b", "c"])
    parts = [(2, {"y": np.zeros(2), "labels": labels}), (1, {"y": np.ones(1), "labels": labels})]
    outputs = joined(parts, specs)
    assert outputs["y"].tolist() == [0, 0, 1]
    assert outputs["labels"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"z": np.zeros((1, 2))}, "expected the outputs y, received z"),
        ({"y": np.zeros((1, 3))}, r"no float32\[\?, 2\] in every batch"),
        ({"y": np.zeros((1, 2, 1))}, "another rank"),
        ({"y": np.zeros((2, 2))}, "no row for each input"),
    ],
)
def test_batches_of_different_models_are_not_put_together(second, words):
    specs = {"y": serving.TensorSpec("float32", (None, 2))}
    with pytest.raises(AnswerMismatch, match=words):
        joined([(1, {"y": np.zeros((1, 2))}), (1, second)], specs)


# --- how far it is -------------------------------------------------------------------------------------------------


def drawn(capsys, **options) -> str:
    with bar("m", 64, **options) as advance:
        advance(32)
        advance(32)
    return capsys.readouterr().err


def test_a_terminal_is_shown_how_far_a_long_list_is(capsys, monkeypatch):
    assert drawn(capsys, shown=True) == "", "a bar in a log"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert "64/64" in drawn(capsys, shown=True)
    assert drawn(capsys, shown=False) == ""
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    assert drawn(capsys, shown=True) == "", "rich is not among what the client alone is installed with"

"""What a person reads of a signature's outputs, where a row is more than one class."""

import numpy as np

from serving.answers import read_answers
from serving.questions import Question


def strings(rows):
    return np.array(rows, object)


def test_words_are_shown_with_their_tags():
    outputs = {
        "words": strings([["Ada", "slept"], ["no", ""]]),
        "classes": strings([["B-PER", "O"], ["O", ""]]),
        "class_ids": np.array([[0, 1], [1, 0]]),
        "probabilities": np.ones((2, 2, 2), np.float32),
    }
    first, second = read_answers([Question("Ada slept", {}, "B-PER O"), Question("no", {}, "B-PER")], outputs)
    assert [guess.answer for guess in first.guesses] == ["Ada/B-PER slept/O"]
    assert (first.right, second.right) == (True, False)


def test_a_mask_is_shown_with_what_may_stand_there():
    outputs = {
        "filled_text": strings(["the cat", "a b"]),
        "tokens": strings([[["cat", "dog"], ["", ""]], [["a", "c"], ["b", "d"]]]),
        "probabilities": np.array([[[0.7, 0.2], [0, 0]], [[0.5, 0.1], [0.4, 0.3]]], np.float32),
    }
    questions = [Question("the [MASK]", {}, "Cat"), Question("[MASK] [MASK]", {})]
    one, several = read_answers(questions, outputs, top=2)
    assert [(guess.answer, round(guess.probability, 3)) for guess in one.guesses] == [("cat", 0.7), ("dog", 0.2)]
    assert one.right
    assert [guess.answer for guess in several.guesses] == ["a b"]


def png(height, width):
    """The beginning of one, which says its size."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big")


def test_detections_are_listed_with_their_boxes():
    outputs = {
        "boxes": np.array([[[1.2, 2, 30, 40.6], [0, 0, 0, 0]], [[0, 0, 0, 0]] * 2]),
        "scores": np.array([[0.987, 0], [0, 0]]),
        "classes": np.array([["cat", ""], ["", ""]], object),
        "class_ids": np.array([[1, 0], [0, 0]]),
    }
    rows = read_answers([Question("a.png", {}), Question("b.png", {})], outputs)
    assert [row.guesses[0].answer for row in rows] == ["cat 0.99 at 1, 2, 30, 41", "nothing"]


def test_masks_tell_how_much_each_class_has_and_are_pictures():
    ids = np.array([[0, 0, 0, 2, 2, 1], [1, 1, 0, 0, 0, 0]])
    pngs = np.array([png(2, 3), png(1, 2)], object)
    outputs = {"class_ids": ids, "size": np.array([[2, 3], [1, 2]]), "mask_bytes": pngs}
    rows = read_answers([Question("a", {}), Question("b", {})], outputs, labels=["sky", "tree"])
    assert [row.guesses[0].answer for row in rows] == ["sky 50.0%, class 2 33.3%, tree 16.7%", "tree 100.0%"]
    assert [row.pictures for row in rows] == [{"mask": pngs[0]}, {"mask": pngs[1]}]


def test_pictures_are_counted():
    outputs = {"image_bytes": np.array([[png(4, 5), png(4, 5)], [png(4, 5), b""]], object)}
    rows = read_answers([Question("a", {}), Question("b", {})], outputs)
    assert [row.guesses[0].answer for row in rows] == ["2 pictures of 4x5", "a picture of 4x5"]
    assert [sorted(row.pictures) for row in rows] == [["image-0", "image-1"], ["image-0"]]
    assert "pictures" not in rows[0].as_json()

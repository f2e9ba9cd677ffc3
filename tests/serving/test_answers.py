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

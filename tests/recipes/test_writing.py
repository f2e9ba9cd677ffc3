"""A text is gone on with from all of its tokens, whatever their ids: 0 need not be padding, nor padding be 0."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from recipes import writing
from recipes.preprocessing import TextPreprocessing
from recipes.tokenizers.byte_pairs import PUBLISHED_SPECIAL, SYMBOLS, BytePairs
from tests import writers

TOKENIZER = BytePairs((*sorted(SYMBOLS), "ab", PUBLISHED_SPECIAL), (("a", "b"),))
"""As GPT-2's: "!" is token 0, and what pads is the last one, which also starts and ends a text."""
PREPROCESSING = TextPreprocessing(TOKENIZER, writers.MAX_LENGTH, marks="none")
TEXTS = ["!!", "a!", "!", "a", "!a!!", ""]


def asked(texts=TEXTS, **settings):
    """What `write` takes: texts, greedily gone on with by at most 6 tokens, unless `settings` say more."""
    default = {"max_new_tokens": 6, "temperature": 0.0, "top_k": 0, "top_p": 1.0, "seed": 1}
    return {"text": tf.constant(texts)} | {
        name: tf.broadcast_to(tf.cast((default | settings)[name], dtype), [len(texts)])
        for name, dtype in writing.SETTINGS.items()
    }


def always(token):
    """A network to which one token is the likeliest, whatever it reads."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(len(TOKENIZER.vocabulary), 4)(tokens)
    bias = keras.initializers.Constant(9 * np.eye(len(TOKENIZER.vocabulary))[token])
    return keras.Model(tokens, layers.Dense(len(TOKENIZER.vocabulary), bias_initializer=bias, name="logits")(x))


def test_the_tokenizer_is_one_whose_first_token_is_text():
    assert TOKENIZER.encode(["!!"]).to_list() == [[0, 0]]
    assert TOKENIZER.padding == len(TOKENIZER.vocabulary) - 1


@pytest.mark.parametrize(("beams", "settings"), [(0, {}), (0, {"temperature": 2.0, "seed": range(6)}), (3, {})])
def test_the_cache_changes_no_text(beams, settings):
    model = writers.livened(writers.gpt(len(TOKENIZER.vocabulary)))
    cached, anew = (
        writing.write(model, PREPROCESSING, asked(**settings), beams=beams, cached=cached) for cached in (True, False)
    )
    np.testing.assert_array_equal(cached["generated_text"], anew["generated_text"])
    np.testing.assert_array_equal(cached["generated_tokens"], anew["generated_tokens"])
    np.testing.assert_allclose(cached["log_probability"], anew["log_probability"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("cached", [True, False])
def test_the_first_token_is_the_likeliest_behind_the_whole_prompt(cached):
    model = writers.livened(writers.gpt(len(TOKENIZER.vocabulary)))
    found = writing.write(model, PREPROCESSING, asked(max_new_tokens=1), cached=cached)
    prompts = [*TOKENIZER.encode(TEXTS[:-1]).to_list(), [TOKENIZER.start]]
    behind = np.stack([tf.nn.log_softmax(model(np.array([prompt]))[0, -1]) for prompt in prompts])
    np.testing.assert_allclose(found["log_probability"], behind.max(1), rtol=1e-4, atol=1e-4)
    expected = TOKENIZER.decode(behind.argmax(1)[:, None])
    np.testing.assert_array_equal(found["generated_text"], expected)


@pytest.mark.parametrize("beams", [0, 2])
def test_token_0_is_written_and_what_lies_behind_the_last_token_is_not(beams):
    found = writing.write(always(0), PREPROCESSING, asked(["a", "!"], max_new_tokens=[2, 5]), beams=beams)
    assert found["generated_text"].numpy().tolist() == [b"!!", b"!!!!!"]
    assert found["generated_tokens"].numpy().tolist() == [2, 5]


def test_an_end_is_counted_and_not_written():
    found = writing.write(always(TOKENIZER.end), PREPROCESSING, asked(["a", "!"]))
    assert found["generated_text"].numpy().tolist() == [b"", b""]
    assert found["generated_tokens"].numpy().tolist() == [1, 1]

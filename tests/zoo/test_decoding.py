"""What a network says of the next token must not depend on whether it remembers the text or reads it anew."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests import writers
from zoo import decoding
from zoo.attention import LearnedPositions, MultiHeadAttention

TEXT = np.array([[1, 2, 3, 4, 5, 1, 3], [5, 4, 3, 2, 1, 2, 3], [3, 3, 2, 5, 1, 4, 4]], np.int32)
ROWS = np.arange(3)


def prompts(lengths, width):
    """The first tokens of every text, and something behind them."""
    return np.where(np.arange(width) < np.array(lengths)[:, None], TEXT[:, :width], 4)


def logits_of_steps(model, lengths, width=4, longest=8, steps=3):
    """Logits behind the prompts and behind each of the tokens after them, `(1 + steps, batch, vocabulary_size)`."""
    answers, last = [], np.array(lengths) - 1
    cache = decoding.begin(model, writers.inputs_of(model, prompts(lengths, width)), lengths, longest)
    for index in range(1 + steps):
        logits, cache = decoding.step(model, TEXT[ROWS, last + index], cache, last + index)
        answers.append(np.asarray(logits))
    return np.stack(answers)


def logits_of_the_whole(model, lengths, steps=3):
    whole = np.asarray(model(writers.inputs_of(model, TEXT)))
    return np.stack([whole[ROWS, np.array(lengths) - 1 + i] for i in range(steps + 1)])


@pytest.mark.parametrize("network", writers.ALL)
def test_steps_give_what_the_whole_network_gives(network):
    model = writers.livened(network())
    lengths = [1, 4, 2]
    expected = logits_of_the_whole(model, lengths)
    assert np.ptp(expected, axis=-1).min() > 0.2
    np.testing.assert_allclose(logits_of_steps(model, lengths), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", [writers.gpt, writers.lstm])
def test_neither_what_lies_behind_nor_room_changes_a_step(network):
    model = writers.livened(network())
    expected = logits_of_steps(model, [2, 1, 2], width=2, longest=5)
    np.testing.assert_allclose(logits_of_steps(model, [2, 1, 2], width=7, longest=16), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network", [writers.transformer, writers.lstm])
def test_half_precision_makes_steps_too(network):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = writers.livened(network())
    finally:
        keras.config.set_dtype_policy("float32")
    lengths = [1, 4, 2]
    np.testing.assert_allclose(logits_of_steps(model, lengths), logits_of_the_whole(model, lengths), atol=0.02)


@pytest.mark.parametrize("network", [writers.transformer, writers.lstm])
def test_a_step_does_not_read_the_source_again(network, monkeypatch):
    model = writers.livened(network())
    cache = decoding.begin(model, writers.inputs_of(model, prompts([1, 1, 1], 1)), [1, 1, 1], 4)
    readers = [layer for layer in model.layers if layer.name.startswith(("encoder", "source_"))]
    assert readers
    for layer in readers:
        monkeypatch.setattr(layer, "call", None)
    decoding.step(model, TEXT[:, 0], cache, np.zeros(3, np.int32))


def test_every_tensor_of_the_cache_has_the_batch_first():
    for network in (writers.gpt, writers.transformer, writers.lstm):
        model = network()
        inputs = writers.inputs_of(model, prompts([1, 4, 2], 4))
        cache = decoding.begin(model, inputs, [1, 4, 2], 8)
        assert {tensor.shape[0] for tensor in tf.nest.flatten(cache)} == {3}


@pytest.mark.parametrize("network", [writers.gpt, writers.lstm])
def test_any_id_may_stand_in_a_prompt_and_behind_it(network):
    model, lengths = writers.livened(network()), [1, 3, 2]
    text = np.array([[0, 8, 8, 8], [0, 3, 0, 8], [4, 0, 0, 0]], np.int32)
    last = np.array(lengths) - 1
    cache = decoding.begin(model, writers.inputs_of(model, text), lengths, 4)
    logits, _ = decoding.step(model, text[ROWS, last], cache, last)
    whole = np.asarray(model(writers.inputs_of(model, text)))
    np.testing.assert_allclose(logits, whole[ROWS, last], rtol=1e-5, atol=1e-5)


def test_a_layer_that_is_called_twice_keeps_two_texts():
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    attention = MultiHeadAttention(2, 4, causal=True, name="attention")
    x = layers.Embedding(6, 8, name="embedding")(tokens)
    x = attention(attention(x)) + x
    model = writers.livened(keras.Model(tokens, layers.Dense(6, name="logits")(x)))
    np.testing.assert_allclose(
        logits_of_steps(model, [1, 4, 2]), logits_of_the_whole(model, [1, 4, 2]), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "model",
    [
        keras.Sequential(
            [
                keras.Input((None,), dtype="int32"),
                layers.Embedding(9, 8),
                layers.LSTM(8, return_sequences=True, dropout=0.5),
                layers.Dense(9),
            ]
        ),
        keras.Sequential([keras.Input((None,), dtype="int32"), writers.gpt(), layers.Dense(9)]),
    ],
    ids=["Sequential", "nested"],
)
def test_other_ways_to_build_a_network_make_the_same_steps(model):
    model, lengths = writers.livened(model), [1, 4, 2]
    np.testing.assert_allclose(
        logits_of_steps(model, lengths), logits_of_the_whole(model, lengths), rtol=1e-4, atol=1e-4
    )


class Doubled(layers.Layer):
    """A layer of someone's own that works on every token for itself, and says so."""

    def call(self, x):
        return 2 * x

    def step(self, x, index):
        return self(x)


def step_behind(model, text):
    """Logits behind texts, all of one length, and the cache."""
    lengths = np.full(len(text), text.shape[1])
    return decoding.step(model, text[:, -1], decoding.begin(model, text, lengths, text.shape[1]), lengths - 1)


def of(layer):
    """A network that has one layer between embedding and logits."""
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    x = layer(layers.Embedding(6, 8, name="embedding")(tokens))
    return keras.Model(tokens, layers.Dense(6, name="logits")(x))


def test_layers_of_ones_own_say_how_they_make_a_step():
    model = of(Doubled())
    logits, _ = step_behind(model, TEXT[:, :4])
    np.testing.assert_allclose(logits, model(TEXT[:, :4])[:, 3], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        MultiHeadAttention(2, 4, name="culprit"),
        layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="culprit"),
        layers.LSTM(4, return_sequences=True, go_backwards=True, name="culprit"),
        layers.Conv1D(8, 3, padding="same", name="culprit"),
        layers.MultiHeadAttention(2, 4, name="culprit"),
    ],
)
def test_what_sees_tokens_to_come_is_refused(layer):
    call = (lambda x: layer(x, x)) if isinstance(layer, layers.MultiHeadAttention) else layer
    with pytest.raises(ValueError, match=f"layer 'culprit', a {type(layer).__name__}. Accepted: causal"):
        step_behind(of(call), TEXT[:, :4])


def test_a_model_that_hides_its_graph_is_refused():
    with pytest.raises(ValueError, match="Only Functional and Sequential models"):
        decoding.begin(keras.Model(), TEXT, [7, 7, 7], 8)


def test_a_text_looked_up_by_keras_attention_is_refused():
    with pytest.raises(ValueError, match="keeps no keys and values of the text"):
        step_behind(of(lambda x: layers.AdditiveAttention()([x, x])), TEXT[:, :4])


def test_the_most_places_are_those_of_the_positions():
    assert decoding.max_length(writers.gpt()) == decoding.max_length(writers.transformer()) == writers.MAX_LENGTH
    assert decoding.max_length(writers.lstm()) is None
    assert decoding.max_length(of(LearnedPositions(5))) == 5

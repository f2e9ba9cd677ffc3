"""LSTMs in one operation: they answer as Keras' loop does, whatever is masked."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from export.rewriting.recurrence import block_lstm, has_lstm

rng = np.random.default_rng(0)
INPUTS = rng.normal(size=(5, 7, 3)).astype(np.float32)
MASKS = {"none": None, "at random": rng.random((5, 7)) > 0.4, "at the end": np.arange(7) < [[7], [3], [1], [0], [4]]}
STATES = {"zero": None, "other": [rng.normal(size=(5, 4)).astype(np.float32) for _ in range(2)]}


def traced(call, *arguments):
    """What a graph gives, and its operations."""
    found = tf.function(call).get_concrete_function(*arguments)
    return found, {op.type for op in found.graph.get_operations()}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
def test_it_answers_as_the_loop_does(sequences, backwards, mask, state):
    layer = keras.layers.LSTM(
        4, return_sequences=sequences, go_backwards=backwards, return_state=True, bias_initializer="random_normal"
    )
    mask, state = MASKS[mask], STATES[state]
    call = lambda x: layer(x, mask=mask if mask is None else tf.constant(mask), initial_state=state)  # noqa: E731
    expected = call(tf.constant(INPUTS))
    with block_lstm():
        function, ops = traced(call, tf.TensorSpec([None, None, 3]))
    assert "BlockLSTMV2" in ops
    for answer, wanted in zip(function(tf.constant(INPUTS)), expected, strict=True):
        assert answer.shape == wanted.shape
        np.testing.assert_allclose(answer, wanted, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_no_rows_are_answered_with_none(masked):
    """The operation itself would end the process."""
    layer = keras.layers.LSTM(4)
    mask = tf.zeros([0, 7], tf.bool) if masked else None
    with block_lstm():
        function, ops = traced(lambda x: layer(x, mask=mask), tf.TensorSpec([None, None, 3]))
    assert "BlockLSTMV2" in ops
    assert function(tf.zeros([0, 7, 3])).shape == (0, 4)


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "relu"},
        {"recurrent_activation": "hard_sigmoid"},
        {"use_bias": False},
        {"dtype": "mixed_bfloat16"},
    ],
)
def test_other_gates_stay_a_loop(options):
    layer = keras.layers.LSTM(4, **options)
    layer.build((None, None, 3))
    with block_lstm():
        _, ops = traced(layer, tf.TensorSpec([2, 7, 3]))
    assert "BlockLSTMV2" not in ops


def test_outside_of_the_block_nothing_is_changed():
    layer = keras.layers.LSTM(4)
    with block_lstm():
        pass
    assert "BlockLSTMV2" not in traced(layer, tf.TensorSpec([2, 7, 3]))[1]


def test_an_lstm_is_found_in_what_wraps_it():
    x = keras.Input((7, 3))
    inner = keras.Model(x, keras.layers.Bidirectional(keras.layers.LSTM(4))(x))
    assert has_lstm(keras.Model(x, inner(x)))
    assert not has_lstm(keras.Model(x, keras.layers.GRU(4)(x)))

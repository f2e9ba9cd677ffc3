"""Attention against Keras' own, what it may not see, and its work done one token at a time."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from zoo.attention import LearnedPositions, MultiHeadAttention, PaddingMask, SinusoidalPositions, TokenDense
from zoo.complexity import activation_bytes, multiply_adds


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def built(*call, **arguments):
    """Attention of two heads, with random biases, built for a call."""
    attention = MultiHeadAttention(2, 4, **arguments)
    attention(*call)
    for i, weight in enumerate(attention.weights):
        weight.assign(numbers(*weight.shape, seed=i + 10))
    return attention


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("crossed", [False, True])
def test_it_computes_what_keras_computes(causal, masked, crossed):
    x, context = numbers(2, 5, 6), numbers(2, 5, 3, seed=1) if crossed else None
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool) if masked else None
    ours = built(x, context, causal=causal)
    theirs = layers.MultiHeadAttention(2, 4)
    keys = x if context is None else context
    theirs(x, keys)
    for mine, weight in zip(ours.weights, theirs.weights, strict=True):
        weight.assign(ops.reshape(mine, weight.shape))
    expected = theirs(x, keys, attention_mask=mask[:, None] if masked else None, use_causal_mask=causal)
    np.testing.assert_allclose(ours(x, context, mask=mask), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [None, 1, 3])
def test_one_token_at_a_time_is_the_whole(window):
    x = numbers(2, 7, 6)
    attention = built(x, causal=True, window=window)
    whole = attention(x)
    cache = (ops.full((2, 2, 9, 4), 1e4), ops.full((2, 2, 9, 4), 1e4))  # what was there before is not seen
    for place in range(7):
        answer, cache = attention.step(x[:, place : place + 1], cache, np.int32([place, place]))
        np.testing.assert_allclose(answer[:, 0], whole[:, place], rtol=1e-4, atol=1e-5)


def test_texts_of_a_batch_may_be_at_different_places():
    x = numbers(1, 7, 6)
    attention = built(x, causal=True)
    whole = attention(x)
    keys, values = attention.keys_and_values(x)
    cache = (ops.repeat(keys, 2, axis=0), ops.repeat(values, 2, axis=0))
    answer, _ = attention.step(np.stack([x[0, 2:3], x[0, 5:6]]), cache, np.int32([2, 5]))
    np.testing.assert_allclose(answer[:, 0], np.asarray(whole)[0, [2, 5]], rtol=1e-4, atol=1e-5)


def test_an_answer_is_finite_where_no_key_may_be_seen():
    x, nothing = numbers(1, 3, 6), np.zeros((1, 3), bool)
    for policy in ("float32", "mixed_bfloat16", "mixed_float16"):
        attention = MultiHeadAttention(2, 4, dtype=policy)
        assert np.isfinite(np.asarray(ops.cast(attention(x, mask=nothing), "float32"))).all()


@pytest.mark.filterwarnings("error")
def test_a_mask_of_keys_is_no_mask_of_what_comes_out():
    tokens = keras.Input((4,), dtype="int32")
    x = layers.Embedding(9, 6)(tokens)
    x = MultiHeadAttention(2, 3, name="attention")(x, mask=PaddingMask()(tokens))
    model = keras.Model(tokens, layers.LayerNormalization()(x))
    answer = model(np.int32([[3, 4, 0, 0]]))
    assert getattr(answer, "_keras_mask", None) is None


def test_padding_is_the_token_0_behind_the_first_place():
    mask = PaddingMask()
    tokens = np.int32([[3, 1, 0, 0], [2, 2, 2, 2], [0, 0, 0, 0]])
    assert np.asarray(mask(tokens)).tolist() == [[True, True, False, False], [True] * 4, [True, False, False, False]]
    symbol = mask(keras.Input((None,), dtype="int32"))
    assert (symbol.shape, symbol.dtype) == ((None, None), "bool")


@pytest.mark.parametrize("length", [5, None])
def test_dense_on_tokens_is_dense(length):
    inputs = keras.Input((length, 6))
    ours, theirs = TokenDense(3, "gelu"), layers.Dense(3, "gelu")
    model = keras.Model(inputs, [ours(inputs), theirs(inputs)])
    theirs.set_weights(ours.get_weights())
    assert model.output_shape[0] == model.output_shape[1] == (None, length, 3)
    np.testing.assert_allclose(*model(numbers(2, 5, 6)), rtol=1e-5, atol=1e-6)
    if length:
        assert multiply_adds(model) == 2 * 5 * 6 * 3


@pytest.mark.parametrize("crossed", [False, True])
def test_costs_are_those_of_keras_attention(crossed):
    x, mask = keras.Input((5, 8)), keras.Input((7 if crossed else 5,), dtype="bool")
    context = keras.Input((7, 12)) if crossed else None
    inputs = [x, context, mask] if crossed else [x, mask]
    ours = keras.Model(inputs, MultiHeadAttention(2, 4)(x, context, mask))
    keys = context if crossed else x
    theirs = keras.Model(inputs, layers.MultiHeadAttention(2, 4)(x, keys, attention_mask=mask[:, None]))
    assert multiply_adds(ours) == multiply_adds(theirs)
    assert activation_bytes(ours) == activation_bytes(theirs) - mask.shape[1]  # the mask of the other shape


def test_a_layer_is_rebuilt_from_its_config():
    attention = built(numbers(1, 4, 6), causal=True, window=2, dropout=0.1, use_bias=False)
    again = MultiHeadAttention.from_config(attention.get_config())
    assert again.get_config() == attention.get_config()


def test_a_window_needs_causal_attention_and_a_key():
    for wrong in ({"window": 3}, {"window": 0, "causal": True}):
        with pytest.raises(ValueError, match=r"A window needs causal attention and at least one key"):
            MultiHeadAttention(2, 4, **wrong)


@pytest.mark.parametrize("kind", [LearnedPositions, SinusoidalPositions])
def test_positions_of_one_token_are_those_of_the_whole(kind):
    positions, x = kind(9), numbers(2, 7, 6)
    whole = np.asarray(positions(x))
    one = positions.step(np.stack([x[0, 2:3], x[1, 5:6]]), np.int32([2, 5]))
    np.testing.assert_allclose(one[:, 0], [whole[0, 2], whole[1, 5]], rtol=1e-6)
    with pytest.raises(ValueError, match=r"places for at most 9 tokens\. Received: 10"):
        kind(9)(numbers(1, 10, 6))


def test_sinusoids_are_the_papers():
    added = np.asarray(SinusoidalPositions(50)(np.zeros((1, 50, 6), np.float32)))[0]
    for place, i in ((0, 0), (3, 1), (49, 2)):
        angle = place / 10_000 ** (2 * i / 6)
        np.testing.assert_allclose(added[place, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)], atol=1e-6)

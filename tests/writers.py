"""Tiny random networks that go on with a text: one of every kind that can be decoded with a cache."""

import keras
import numpy as np
from keras import layers, ops

from zoo.attention import LearnedPositions, MultiHeadAttention, SinusoidalPositions

DIM = 8
MAX_LENGTH = 16


def livened(model, seed=0, deviation=0.5):
    """The model with kernels so large that every token matters. Biases stay 0: they speak for the same one always."""
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        if len(weight.shape) > 1:
            weight.assign(rng.normal(0, deviation, weight.shape))
    return model


def _block(x, name, context=None, mask=None, causal=True, window=None):
    def branch(x, what):
        return layers.LayerNormalization(name=f"{name}_{what}_norm")(x)

    attention = MultiHeadAttention(2, 4, causal=causal, window=window, name=f"{name}_attention")
    x = x + attention(branch(x, "attention"), mask=None if causal else mask)
    if context is not None:
        x = x + MultiHeadAttention(2, 4, name=f"{name}_cross")(branch(x, "cross"), context, mask)
    hidden = layers.Dense(2 * DIM, "gelu", name=f"{name}_hidden")(branch(x, "mlp"))
    return layers.Add(name=name)([x, layers.Dense(DIM, name=f"{name}_output")(hidden)])


def gpt(vocabulary_size=9):
    """A decoder with learned positions, whose second block sees only the last three tokens."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    embedding = layers.ReversibleEmbedding(vocabulary_size, DIM, tie_weights=False, name="embedding")
    x = LearnedPositions(MAX_LENGTH, name="positions")(embedding(tokens))
    x = layers.Dropout(0.5, name="dropout")(x)
    x = _block(_block(x, "stage1"), "stage2", window=3)
    x = embedding(layers.LayerNormalization(name="norm")(x), reverse=True)
    return keras.Model(tokens, layers.Activation("linear", dtype="float32", name="logits")(x), name="gpt")


def transformer(vocabulary_size=9):
    """An encoder and a decoder that share their embedding and positions."""
    source, target = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    embedding = layers.ReversibleEmbedding(vocabulary_size, DIM, tie_weights=False, name="embedding")
    positions = SinusoidalPositions(MAX_LENGTH, name="positions")
    mask = ops.not_equal(source, 0)
    encoded = _block(positions(embedding(source)), "encoder", mask=mask, causal=False)
    x = _block(_block(positions(embedding(target)), "stage1", encoded, mask), "stage2", encoded, mask)
    x = embedding(layers.LayerNormalization(name="norm")(x), reverse=True)
    x = layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model([source, target], x, name="transformer")


def recurrent(kind, vocabulary_size=9):
    """Two recurrent layers that read, two that write from the states of those, and additive attention."""
    source, target = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    mask = ops.not_equal(source, 0)
    arguments = {"return_sequences": True, "return_state": True}
    x = layers.Embedding(vocabulary_size, DIM, name="source_embedding")(source)
    x, *first = kind(DIM, **arguments, name="encoder1")(x, mask=mask)
    encoded, *second = kind(DIM, **arguments, name="encoder")(x, mask=mask)
    x = layers.Embedding(vocabulary_size, DIM, name="target_embedding")(target)
    x = kind(DIM, return_sequences=True, name="stage1")(x, initial_state=first)
    x = kind(DIM, **arguments, name="stage2")(x, initial_state=second)[0]
    found = layers.AdditiveAttention(name="attention")([x, encoded], mask=[None, mask])
    x = layers.Concatenate(name="both")([x, found])
    logits = layers.Dense(vocabulary_size, dtype="float32", name="logits")(x)
    return keras.Model([source, target], logits, name=kind.__name__.lower())


def lstm(vocabulary_size=9):
    """Of LSTMs."""
    return recurrent(layers.LSTM, vocabulary_size)


def gru(vocabulary_size=9):
    """Of GRUs."""
    return recurrent(layers.GRU, vocabulary_size)


def simple_rnn(vocabulary_size=9):
    """Of plain recurrent layers, which have one state and give it bare."""
    return recurrent(layers.SimpleRNN, vocabulary_size)


ALL = (gpt, transformer, lstm, gru, simple_rnn)
SOURCE = np.array([[1, 2, 3, 4], [5, 3, 0, 0], [2, 2, 4, 0]], np.int32)
"""What the encoders read, for a batch of three."""


def inputs_of(model, text, source=SOURCE):
    """What the model takes to go on with a text, with or without a source."""
    return {"source": source, "target": text} if len(model.inputs) == 2 else text

"""The sequence-to-sequence LSTM: its parameters, its attention, and what its encoder leaves to its decoder."""

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from zoo.complexity import multiply_adds, parameters

KINDS = {
    "plain": {},
    "deep, with attention": {"attention": True, "num_layers": 2, "dropout": 0.1},
    "shared": {"share_embeddings": True, "attention": True},
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def fresh(**arguments):
    return zoo.build("seq2seq_lstm", **{**zoo.spec("seq2seq_lstm").tiny, **arguments})


def build(**arguments):
    """A tiny network with weights large enough for every part of it to matter."""
    model = fresh(**arguments)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.4, weight.shape))
    return model


def texts(source_length=8, target_length=8, batch=2):
    rng = np.random.default_rng(0)
    return [rng.integers(1, 20, (batch, length), np.int32) for length in (source_length, target_length)]


def test_parameters_are_those_of_the_layout():
    lstm, head = 4 * (10 * 10 + 10 * 10 + 10), 11 * 20
    size = {"dim": 10, "units": 10, "num_layers": 4}
    assert parameters(fresh(**size)) == 2 * 20 * 10 + 2 * 4 * lstm + head
    assert parameters(fresh(**size, share_embeddings=True)) == 20 * 10 + 2 * 4 * lstm + head
    assert parameters(fresh(**size, attention=True)) == 2 * 20 * 10 + 2 * 4 * lstm + head + (2 * 100 + 10 + 20 * 10)
    # §3.4: 32 million recurrent parameters on each side, which are these at 1000 cells, biases left out.
    assert 4 * 4 * (1000 * 1000 + 1000 * 1000) == 32_000_000


def test_multiply_adds_are_those_of_the_matrices():
    dim, units = 16, 32
    lstm = 4 * (dim + units) * units
    assert multiply_adds(fresh(input_shape=(5, 7))) == (5 + 7) * lstm + 7 * units * 20
    looked_up = 7 * units * units + 5 * units * units + 2 * 7 * 5 * units + 7 * 2 * units * units
    assert multiply_adds(fresh(input_shape=(5, 7), attention=True)) == (5 + 7) * lstm + looked_up + 7 * units * 20


def test_attention_is_bahdanaus_score_over_all_that_was_read():
    model = build(attention=True)
    source, target = texts()
    source[1, 3:] = 0
    names = ["encoder", "stage2_lstm", "stage2"]
    (encoded, *_), (states, *_), expected = (zoo.features(model, name)([source, target]) for name in names)
    encoded, states = np.asarray(encoded), np.asarray(states)
    weights = {w.path.removeprefix("stage2_attention"): np.asarray(w) for w in model.weights}
    query, key = states @ weights["_query/kernel"], encoded @ weights["_key/kernel"]
    scores = np.tanh(query[:, :, None] + key[:, None]) @ weights["/scale"]
    alignment = np.exp(scores) * (source != 0)[:, None]
    context = alignment / alignment.sum(-1, keepdims=True) @ encoded
    both = np.concatenate([context, states], -1)
    np.testing.assert_allclose(np.tanh(both @ weights["_output/kernel"]), expected, atol=1e-5)


@kinds
def test_the_encoder_leaves_all_that_the_decoder_needs(kind):
    model = build(input_shape=(None, None), **kind)
    source, target = (keras.ops.convert_to_tensor(text) for text in texts(5, 6))
    given = model.get_layer("encoder").output
    assert len(given) == 1 + 2 * kind.get("num_layers", 1)
    encoder = keras.Model(model.inputs[0], given)
    decoder = keras.Model([model.inputs[0], *given, model.inputs[1]], model.output)
    assert "stage1_lstm" not in [layer.name for layer in decoder.layers]
    np.testing.assert_allclose(decoder([source, *encoder(source), target]), model([source, target]), atol=1e-5)


@kinds
def test_every_lstm_is_a_stage_and_one_call(kind):
    model = fresh(**kind)
    count = 2 * kind.get("num_layers", 1)
    assert list(zoo.stages(model)) == [f"stage{i}" for i in range(1, count + 1)]
    recurrent = [layer for layer in model.layers if isinstance(layer, (layers.LSTM, layers.AdditiveAttention))]
    assert len(recurrent) == count + bool(kind.get("attention"))
    assert all(len(layer._inbound_nodes) == 1 for layer in recurrent)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_shape": (8,)}, r"must be \(source_length, target_length\). Received: \(8,\)"),
        ({"num_layers": 0}, r"must be positive. Received: .*num_layers=0"),
    ],
)
def test_a_network_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        fresh(**wrong)

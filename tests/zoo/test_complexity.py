"""What a network costs, against counts by hand and the figure of a paper."""

import keras
import pytest
from keras import layers, ops

import zoo
from zoo.complexity import activation_bytes, multiply_adds


def functional(shape, *stack):
    x = tensor = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    return keras.Model(tensor, x)


# One layer, its input, and the count by hand: places of the output, times what is multiplied at each.
BY_HAND = {
    "convolution": (layers.Conv2D(6, (3, 2), padding="same", strides=2), (7, 9, 4), 4 * 5 * 6 * (3 * 2 * 4)),
    "convolution, valid": (layers.Conv2D(6, 3), (7, 9, 4), 5 * 7 * 6 * (3 * 3 * 4)),
    "convolution in groups": (layers.Conv2D(6, 3, groups=2), (7, 9, 4), 5 * 7 * 6 * (3 * 3 * 2)),
    "convolution along a line": (layers.Conv1D(6, 3, dilation_rate=2), (9, 4), 5 * 6 * (3 * 4)),
    "transposed convolution": (layers.Conv2DTranspose(6, 3, 2, padding="same"), (5, 7, 4), 5 * 7 * 4 * (3 * 3 * 6)),
    "depthwise": (layers.DepthwiseConv2D(3, 2, "same"), (7, 9, 4), 4 * 5 * 4 * (3 * 3)),
    "depthwise, doubled": (layers.DepthwiseConv2D(3, depth_multiplier=2), (7, 9, 4), 5 * 7 * 8 * (3 * 3)),
    "separable": (layers.SeparableConv2D(6, 3), (7, 9, 4), 5 * 7 * (4 * 3 * 3 + 4 * 6)),
    "dense": (layers.Dense(6), (4,), 4 * 6),
    "dense at every place": (layers.Dense(6), (5, 7, 4), 5 * 7 * 4 * 6),
    "einsum": (layers.EinsumDense("abc,cde->abde", (None, 3, 6)), (5, 4), 5 * 4 * 3 * 6),
    "einsum, any axes": (layers.EinsumDense("...x,xy->...y", 6), (5, 7, 4), 5 * 7 * 4 * 6),
    "normalisation": (layers.BatchNormalization(), (5, 7, 4), 0),
    "pooling": (layers.MaxPooling2D(), (5, 7, 4), 0),
    "look-up": (layers.Embedding(100, 6), (5,), 0),
    "simple recurrence": (layers.SimpleRNN(6), (5, 4), 5 * (4 * 6 + 6 * 6)),
    "LSTM": (layers.LSTM(6), (5, 4), 5 * 4 * (4 * 6 + 6 * 6)),
    "GRU": (layers.GRU(6, return_sequences=True), (5, 4), 5 * 3 * (4 * 6 + 6 * 6)),
    "GRU, reset before": (layers.GRU(6, reset_after=False), (5, 4), 5 * 3 * (4 * 6 + 6 * 6)),
    "both ways": (layers.Bidirectional(layers.LSTM(6)), (5, 4), 2 * 5 * 4 * (4 * 6 + 6 * 6)),
    "cells in a stack": (
        layers.RNN([layers.LSTMCell(6), layers.GRUCell(3)]),
        (5, 4),
        5 * (4 * (4 * 6 + 6 * 6) + 3 * (6 * 3 + 3 * 3)),
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_a_layer_multiplies_as_often_as_counted_by_hand(case):
    layer, shape, expected = BY_HAND[case]
    assert multiply_adds(functional(shape, layer)) == expected


def test_attention_counts_its_four_projections_and_its_two_products():
    words, picture = keras.Input((5, 8)), keras.Input((7, 12))
    mask = keras.Input((5, 7), dtype="bool")
    attention = layers.MultiHeadAttention(num_heads=2, key_dim=3, value_dim=4)
    model = keras.Model([words, picture, mask], attention(words, value=picture, attention_mask=mask))
    queries, keys, values, mixed = 5 * 8 * 6, 7 * 12 * 6, 7 * 12 * 8, 5 * 8 * 8
    assert multiply_adds(model) == queries + keys + values + mixed + 5 * 7 * 6 + 5 * 7 * 8
    given = 4 * (5 * 8 + 7 * 12) + 5 * 7
    assert activation_bytes(model) == given + 4 * (5 * 6 + 7 * 6 + 7 * 8 + 2 * 5 * 7 + 5 * 8 + 5 * 8)


def test_additive_attention_counts_its_scores_and_what_they_mix():
    query, value = keras.Input((5, 8)), keras.Input((7, 12))
    key, mask = keras.Input((7, 8)), keras.Input((7,), dtype="bool")
    given = 4 * (5 * 8 + 7 * 12 + 7 * 8) + 7
    for use_scale, scores in ((True, 5 * 7 * 8), (False, 0)):
        attended = layers.AdditiveAttention(use_scale)([query, value, key], mask=[None, mask])
        model = keras.Model([query, value, key, mask], attended)
        assert multiply_adds(model) == scores + 5 * 7 * 12
        assert activation_bytes(model) == given + 4 * (5 * 7 * 8 + 5 * 7 + 5 * 12)


def test_an_embedding_multiplies_where_it_gives_logits():
    tokens = keras.Input((5,), dtype="int32")
    embedding = layers.ReversibleEmbedding(100, 6)
    model = keras.Model(tokens, embedding(embedding(tokens), reverse=True))
    assert multiply_adds(model) == 5 * 6 * 100
    assert activation_bytes(model) == 4 * (5 + 5 * 6 + 5 * 100)


@pytest.mark.parametrize(
    ("layer", "kept"),
    [
        (layers.SimpleRNN(6), 5 * 6 + 6),
        (layers.SimpleRNN(6, return_sequences=True), 5 * 6),
        (layers.GRU(6, return_sequences=True), 5 * (3 + 1) * 6),
        (layers.LSTM(6, return_sequences=True), 5 * (5 + 1) * 6),
        (layers.LSTM(6, return_sequences=True, return_state=True), 5 * (5 + 1) * 6 + 2 * 6),
        (layers.Bidirectional(layers.LSTM(6, return_sequences=True)), 2 * 5 * (5 + 1) * 6 + 5 * 12),
        (layers.RNN([layers.LSTMCell(6), layers.GRUCell(3)], return_sequences=True), 5 * (6 * 6 + 4 * 3)),
    ],
)
def test_recurrent_layers_keep_gates_and_states_of_every_step(layer, kept):
    assert activation_bytes(functional((5, 4), layer)) == 4 * (5 * 4 + kept)


def test_masks_and_first_states_change_no_count():
    words, mask, state = keras.Input((5, 4)), keras.Input((5,), dtype="bool"), keras.Input((6,))
    model = keras.Model([words, mask, state], layers.LSTM(6)(words, mask=mask, initial_state=[state, state]))
    assert multiply_adds(model) == 5 * 4 * (4 * 6 + 6 * 6)
    assert activation_bytes(model) == 4 * (5 * 4 + 6) + 5 + 4 * (5 * 6 * 6 + 6)


def test_a_cell_alone_makes_one_step():
    step, state = keras.Input((4,)), keras.Input((6,))
    model = keras.Model([step, state], layers.GRUCell(6)(step, state)[0])
    assert multiply_adds(model) == 3 * (4 * 6 + 6 * 6)


def test_nested_models_are_opened_and_a_layer_called_twice_counts_twice():
    inner = keras.Sequential([keras.Input((None, None, 2)), layers.Conv2D(3, 3, padding="same"), layers.ReLU()])
    tower = functional((None, None, 2), inner, layers.GlobalAveragePooling2D(), layers.Dense(4))
    one, other = keras.Input((6, 6, 2)), keras.Input((4, 4, 2))
    model = keras.Model([one, other], layers.Add()([tower(one), tower(other)]))
    assert multiply_adds(model) == (36 + 16) * 2 * 3 * 9 + 2 * 3 * 4
    assert activation_bytes(model) == 4 * ((36 + 16) * (2 + 3 + 3) + 2 * 3 + 2 * 4 + 4)
    assert multiply_adds(keras.Sequential([keras.Input((6, 6, 2)), tower])) == 36 * 2 * 3 * 9 + 3 * 4


def test_activations_are_those_that_training_keeps_in_the_layers_own_dtype():
    stack = [
        layers.ZeroPadding2D(1, dtype="mixed_float16"),
        layers.Conv2D(3, 3, dtype="mixed_float16"),
        layers.Flatten(dtype="mixed_float16"),
        layers.Dense(5, dtype="float32"),
    ]
    assert activation_bytes(functional((4, 4, 2), *stack)) == 4 * 32 + 2 * 6 * 6 * 2 + 2 * 4 * 4 * 3 + 4 * 5


def test_the_figure_of_a_paper():
    """MobileNet, Table 4: 569 million."""
    assert multiply_adds(zoo.build("mobilenet_v1")) == pytest.approx(569e6, rel=1e-3)


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_base16", "transformer", "seq2seq_lstm", "transformer_xl"])
def test_layers_of_the_zoos_own_are_known(name):
    model = zoo.build(name, **zoo.spec(name).tiny)
    assert multiply_adds(model) > 0
    assert activation_bytes(model) > 0


class Twice(layers.Layer):
    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], input_shape[-1]))

    def call(self, x):
        return ops.matmul(ops.matmul(x, self.kernel), self.kernel)


class CountedTwice(Twice):
    def multiply_adds(self, input_shape):
        batch, width = input_shape
        return batch * 2 * width * width


class OwnCell(layers.SimpleRNNCell):
    def __init__(self):
        super().__init__(3)


def test_a_layer_of_ones_own_says_itself_how_often_it_multiplies():
    assert multiply_adds(functional((5,), CountedTwice())) == 2 * 5 * 5


@pytest.mark.parametrize(
    "layer",
    [
        Twice(name="mine"),
        layers.RNN([layers.LSTMCell(3), OwnCell()], name="mine"),
        layers.Attention(name="mine"),
        layers.Dot(1, name="mine"),
    ],
)
def test_what_is_not_known_is_not_taken_for_nothing(layer):
    one = keras.Input((6, 5))
    model = keras.Model(one, layer([one, one]) if isinstance(layer, (layers.Attention, layers.Dot)) else layer(one))
    with pytest.raises(ValueError, match=f"how often layer 'mine', a {type(layer).__name__}, multiplies"):
        multiply_adds(model)


def test_a_product_of_two_tensors_outside_of_layers_is_not_taken_for_nothing():
    one = keras.Input((5, 5))
    with pytest.raises(ValueError, match="a Matmul, multiplies"):
        multiply_adds(keras.Model(one, ops.matmul(one, one)))


@pytest.mark.parametrize("figure", [multiply_adds, activation_bytes])
def test_an_open_size_or_a_closed_graph_is_refused(figure):
    with pytest.raises(ValueError, match=r"open shape \(None, None, None, 3\)\. Build"):
        figure(functional((None, None, 3), layers.Conv2D(4, 3)))
    with pytest.raises(ValueError, match=r"Only Functional and Sequential models .* Received: 'later', a Sequential"):
        figure(keras.Sequential([layers.Dense(3)], name="later"))

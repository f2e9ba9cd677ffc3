"""Recurrent networks that read a sentence and name its class.

    simple_rnn    Elman, "Finding Structure in Time" (1990)
    lstm          Hochreiter & Schmidhuber, "Long Short-Term Memory" (1997), with the forget gate of Gers et al. (2000)
    gru           Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014)
    bilstm        Schuster & Paliwal, "Bidirectional Recurrent Neural Networks" (1997), of two LSTMs

    stem     token → vector
    stages   `num_layers` recurrent layers, each reading what the one before gave at every token
    head     the last layer's state after the last token, classes

What all share: `tokens` is of any length, id 0 is padding and skipped. Every stage but the last gives
`(batch, length, units)`, the last one its final state `(batch, units)`; of both directions, twice as many. The state
after a text without tokens is zero.
"""

import functools

from keras import Input, Model, layers

from zoo.registry import variant

TINY = {"input_shape": (8,), "num_classes": 3, "vocabulary_size": 20, "dim": 8, "units": 8}


def _recurrent_network(layer):
    """The network of one kind of recurrent layer; `layer(units, name=…, return_sequences=…)` makes one."""

    def network(
        input_shape=(128,),
        num_classes=2,
        *,
        vocabulary_size=20_000,
        dim=128,
        units=128,
        num_layers=1,
        dropout=0.0,
        include_top=True,
        name="recurrent",
    ):
        """A recurrent classifier.

        Args:
            input_shape: `(length,)` of a text in tokens; None for any.
            num_classes: width of the head.
            vocabulary_size: token ids are 0, which is padding, to `vocabulary_size - 1`.
            dim: width of a token's vector.
            units: width of each recurrent layer's state.
            num_layers: recurrent layers, one on the other.
            dropout: rate after the embedding and after every recurrent layer.
            include_top: end with the classes; without, with the last layer's final state.
            name: the model's.

        Returns:
            `tokens` int32 `(batch, length)` → logits float32 `(batch, num_classes)`.
        """
        tokens = Input(input_shape, name="tokens", dtype="int32")
        x = layers.Embedding(vocabulary_size, dim, mask_zero=True, name="stem_embedding")(tokens)
        for i in range(1, num_layers + 1):
            x = layers.Dropout(dropout, name=f"stage{i}_dropout")(x)
            x = layer(units, name=f"stage{i}", return_sequences=i < num_layers)(x)
        if include_top:
            x = layers.Dropout(dropout, name="head_dropout")(x)
            x = layers.Dense(num_classes, name="logits", dtype="float32")(x)
        return Model(tokens, x, name=name)

    return network


def _both_ways(units, name, return_sequences):
    return layers.Bidirectional(layers.LSTM(units, return_sequences=return_sequences, name="lstm"), name=name)


_member = functools.partial(variant, task="text-classification", tiny=TINY)

simple_rnn = _member(
    _recurrent_network(layers.SimpleRNN),
    "simple_rnn",
    "Elman's network: the state is mixed with every token anew.",
    paper="Elman, Finding Structure in Time, 1990",
)
lstm = _member(
    _recurrent_network(layers.LSTM),
    "lstm",
    "Long short-term memory: gates decide what its cells keep, forget and tell.",
    paper="Hochreiter & Schmidhuber, Long Short-Term Memory, 1997",
)
gru = _member(
    _recurrent_network(layers.GRU),
    "gru",
    "Gated recurrent units: two gates in place of the LSTM's three, and no cells.",
    paper="Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014",
)
bilstm = _member(
    _recurrent_network(_both_ways),
    "bilstm",
    "Two LSTMs, one from the front and one from the back.",
    paper="Schuster & Paliwal, Bidirectional Recurrent Neural Networks, 1997",
)

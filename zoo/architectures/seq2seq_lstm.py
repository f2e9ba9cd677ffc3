"""Sequence to sequence by two LSTMs: one reads, the other writes, from the state that reading left.

Sutskever, Vinyals, Le, "Sequence to Sequence Learning with Neural Networks", NeurIPS (2014), §2 and §3.4: 4 layers of
1000 cells on each side, embeddings of 1000, which are 32 million recurrent parameters for each side. With `attention`
the writer also looks at all that was read, by the additive score of Bahdanau, Cho, Bengio, "Neural Machine Translation
by Jointly Learning to Align and Translate", ICLR (2015), Appendix A.1.2: vᵀ tanh(W s + U h).

    stem     an embedding for source and one for target, or one for both
    encoder  LSTM layers over the source
    decoder  LSTM layers over the target, each from the last state of the encoder's layer of the same height
             with attention: context of the top layer's states, both through one tanh layer
    head     logits

It differs from Bahdanau in where attention lies: there the context of the state before goes into the next; here it is
looked up by the state itself and both give the answer, as in Luong, Pham, Manning, "Effective Approaches to
Attention-based Neural Machine Translation" (2015), §3. So each LSTM layer is one call over all places.
Bahdanau's encoder reads both ways, this one forward. Sutskever reads the source backward, which is left to the data.
Weights begin as Keras' own LSTM has them.

Every LSTM layer is a stage: those of the encoder are `stage1` … `stage{num_layers}`, those of the decoder follow; the
last one contains the attention. What the decoder gets is the layer `encoder`: its output at every place, then h and c
of every layer. Padding (0) of the source leaves the state as it is and is not looked at; the first place always counts,
so that an empty text is read as one padding token.
"""

import keras
from keras import layers

from zoo.architectures.transformer import source_and_target
from zoo.attention import PaddingMask
from zoo.registry import register


def _lstm(x, units, dropout, stage, states=None, mask=None):
    """One LSTM layer: its output at every place, after dropout, and its last states h and c."""
    lstm = layers.LSTM(units, return_sequences=True, return_state=True, name=f"{stage}_lstm")
    x, *states = lstm(x, states, mask)
    return layers.Dropout(dropout, name=f"{stage}_dropout")(x) if dropout else x, states


def _attended(x, encoded, mask, name):
    """What the decoder's states `x` find in the encoder's, and both in one: the same shape as `x`."""
    units = x.shape[-1]
    query = layers.Dense(units, use_bias=False, name=f"{name}_attention_query")(x)
    key = layers.Dense(units, use_bias=False, name=f"{name}_attention_key")(encoded)
    context = layers.AdditiveAttention(name=f"{name}_attention")([query, encoded, key], mask=[None, mask])
    both = layers.Concatenate(name=f"{name}_attention_concat")([context, x])
    return layers.Dense(units, "tanh", use_bias=False, name=f"{name}_attention_output")(both)


@register(
    task="sequence-to-sequence",
    paper="Sutskever et al., Sequence to Sequence Learning with Neural Networks, 2014",
    tiny={"input_shape": (8, 8), "vocabulary_size": 20, "dim": 16, "units": 32},
)
def seq2seq_lstm(
    input_shape=(64, 64),
    *,
    vocabulary_size=8_192,
    dim=256,
    units=256,
    num_layers=1,
    attention=False,
    share_embeddings=False,
    dropout=0.0,
    include_top=True,
    name="seq2seq_lstm",
):
    """An LSTM that reads and one that writes, on request with attention.

    Args:
        input_shape: `(source_length, target_length)`, None where any length will do.
        vocabulary_size: number of token ids, of source and target alike; 0 is padding.
        dim: width of the embeddings.
        units: cells of every LSTM layer.
        num_layers: LSTM layers on each side.
        attention: whether the decoder looks at all of the encoder's states, not at the last ones alone.
        share_embeddings: whether source and target have one embedding.
        dropout: rate after the embeddings and after every LSTM layer.
        include_top: `False` gives the decoder's last stage, `(batch, target_length, units)`.
        name: name of the model.

    Returns:
        `source` int32 `(batch, source_length)` and `target` int32 `(batch, target_length)`, what is known of the answer
        and begins with the start token → at every place of `target`, logits of the token that comes next, float32
        `(batch, target_length, vocabulary_size)`.
    """
    if min(dim, units, num_layers) < 1:
        raise ValueError(
            f"dim, units and num_layers of {name!r} must be positive. Received: {dim=}, {units=}, {num_layers=}."
        )
    source, target = source_and_target(name, input_shape)
    mask = PaddingMask(name="source_mask")(source)

    def embedding(side):
        return layers.Embedding(vocabulary_size, dim, name=f"stem{side}_embedding")

    def embedded(tokens, embed):
        x = embed(tokens)
        return layers.Dropout(dropout, name=f"stem_{tokens.name}_dropout")(x) if dropout else x

    embeddings = [embedding("")] * 2 if share_embeddings else [embedding("_source"), embedding("_target")]

    x, states = embedded(source, embeddings[0]), []
    for i in range(1, num_layers + 1):
        x, left = _lstm(x, units, dropout, f"stage{i}", mask=mask)
        x = layers.Identity(name=f"stage{i}")(x)
        states += left
    encoded, *states = layers.Identity(name="encoder")([x, *states])

    x = embedded(target, embeddings[1])
    for i in range(num_layers):
        stage = f"stage{num_layers + i + 1}"
        x, _ = _lstm(x, units, dropout, stage, states[2 * i : 2 * i + 2])
        if attention and i + 1 == num_layers:
            x = _attended(x, encoded, mask, stage)
        x = layers.Identity(name=stage)(x)
    if include_top:
        x = layers.Dense(vocabulary_size, dtype="float32", name="logits")(x)
    return keras.Model([source, target], x, name=name)

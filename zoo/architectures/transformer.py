"""The Transformer: an encoder and a decoder made of attention, and a small encoder that classifies text.

Vaswani et al., "Attention Is All You Need", NeurIPS (2017), §3 and Table 3:

                              depth    dim   heads    MLP   dropout    parameters
    transformer_base              6    512       8   2048       0.1    63,082,496
    transformer_big               6   1024      16   4096       0.3   214,245,376
    transformer                   2    128       4    512       0.1
    transformer_classifier        2    128       4    512       0.1

    stem     embeddings times √dim, sinusoidal positions added, dropout
    encoder  blocks of self-attention and MLP (one hidden layer, ReLU)
    decoder  blocks of causal self-attention, attention over the encoder's output, and MLP
    head     logits, by the embeddings again: those of source, target and output are the same (§3.4)

Every part x → F(x) of a block becomes LayerNorm(x + dropout(F(x))), as in the paper; with `pre_norm` it becomes
x + dropout(F(LayerNorm(x))), with one more LayerNorm at the end of the encoder and of the decoder: Xiong et al., "On
Layer Normalization in the Transformer Architecture" (2020). The layout is fairseq's: biases in attention's projections
too, where the paper has none, none of the logits. With the shared vocabulary of 37,000 tokens that gives the parameters
above. Embeddings begin normal with deviation 1/√dim, kernels as Glorot's.

Every block is a stage: those of the encoder are `stage1` … `stage{depth}`, those of the decoder follow. What the
decoder looks at is the layer `encoder`. Padding (0) of the source is not seen; behind the target it is seen by nothing
real. The first place is always seen, so that an empty text is read as one padding token.
"""

import functools
from typing import NamedTuple

import keras
from keras import initializers, layers

from zoo.attention import MultiHeadAttention, PaddingMask, SinusoidalPositions, TokenDense
from zoo.registry import register, variant

EPSILON = 1e-5
PAPER = "Vaswani et al., Attention Is All You Need, 2017"
TINY = {
    "input_shape": (8, 8),
    "vocabulary_size": 20,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "mlp_dim": 32,
    "dropout": 0.0,
}


def source_and_target(name, input_shape):
    """The inputs of an encoder-decoder, for every one of the zoo: int32, each `(batch, length)`."""
    if len(input_shape) != 2:
        raise ValueError(
            f"input_shape of {name!r} must be (source_length, target_length). Received: {tuple(input_shape)}."
        )
    return [
        keras.Input((length,), dtype="int32", name=side)
        for length, side in zip(input_shape, ("source", "target"), strict=True)
    ]


class Kind(NamedTuple):
    """What all blocks of a network have in common."""

    heads: int
    mlp_dim: int
    dropout: float
    pre_norm: bool


def _norm(name):
    return layers.LayerNormalization(epsilon=EPSILON, name=name)


def _dropped(x, rate, name):
    return layers.Dropout(rate, name=name)(x) if rate else x


def _attention(x, kind, *, name, context=None, mask=None, causal=False):
    attention = MultiHeadAttention(kind.heads, x.shape[-1] // kind.heads, causal=causal, name=name)
    # The mask is given by its place: by name, Keras would take it for one that the output shall carry on.
    return attention(x) if mask is None else attention(x, context, mask)


def _mlp(x, kind, *, name):
    hidden = TokenDense(kind.mlp_dim, "relu", name=f"{name}_hidden")(x)
    return TokenDense(x.shape[-1], name=f"{name}_output")(hidden)


def _residual(x, function, kind, *, name, output=None, **arguments):
    """One part of a block: `function` on a residual branch."""
    branch = function(_norm(f"{name}_norm")(x) if kind.pre_norm else x, kind, name=name, **arguments)
    branch = _dropped(branch, kind.dropout, f"{name}_dropout")
    if kind.pre_norm:
        return layers.Add(name=output or f"{name}_add")([x, branch])
    return _norm(output or f"{name}_norm")(layers.Add(name=f"{name}_add")([x, branch]))


def _encoder_block(x, mask, kind, *, name, output):
    x = _residual(x, _attention, kind, name=f"{name}_attention", mask=mask)
    return _residual(x, _mlp, kind, name=f"{name}_mlp", output=output)


def _decoder_block(x, encoded, mask, kind, *, name, output):
    x = _residual(x, _attention, kind, name=f"{name}_self_attention", causal=True)
    x = _residual(x, _attention, kind, name=f"{name}_cross_attention", context=encoded, mask=mask)
    return _residual(x, _mlp, kind, name=f"{name}_mlp", output=output)


def _stack(block, x, *given, kind, first, depth):
    """`depth` blocks, each a stage; with `pre_norm` the last ends normalised."""
    for i in range(first, first + depth):
        stage = f"stage{i}"
        if kind.pre_norm and i + 1 == first + depth:
            x = _norm(stage)(block(x, *given, kind, name=stage, output=f"{stage}_mlp_add"))
        else:
            x = block(x, *given, kind, name=stage, output=stage)
    return x


def _embedding(vocabulary_size, dim):
    normal = initializers.RandomNormal(stddev=dim**-0.5)
    return layers.ReversibleEmbedding(vocabulary_size, dim, embeddings_initializer=normal, name="stem_embedding")


def _embedded(tokens, embedding, max_length, dropout, name):
    x = layers.Rescaling(embedding.output_dim**0.5, name=f"{name}_scale")(embedding(tokens))
    x = SinusoidalPositions(max_length, name=f"{name}_positions")(x)
    return _dropped(x, dropout, f"{name}_dropout")


def _check_size(name, dim, depth, heads, mlp_dim):
    if min(dim, depth, heads, mlp_dim) < 1 or dim % heads:
        raise ValueError(
            f"depth, heads, dim and mlp_dim of {name!r} must be positive, and dim a multiple of heads. "
            f"Received: {depth=}, {heads=}, {dim=}, {mlp_dim=}."
        )


def encoder_decoder(
    input_shape=(128, 128),
    *,
    vocabulary_size=37_000,
    dim,
    depth=6,
    heads,
    mlp_dim,
    dropout=0.1,
    pre_norm=False,
    max_length=1024,
    include_top=True,
    name,
):
    """A Transformer of any size.

    Args:
        input_shape: `(source_length, target_length)`, None where any length will do.
        vocabulary_size: number of token ids, shared by source and target; 0 is padding.
        dim, depth, heads, mlp_dim: width of the tokens, blocks on each side, attention heads, width of the MLP's hidden
            layer.
        dropout: rate on every residual branch, and after the positions.
        pre_norm: normalise what goes into a branch instead of the sum that it ends in.
        max_length: most tokens on either side.
        include_top: `False` gives the decoder's last stage, `(batch, target_length, dim)`.
        name: name of the model.

    Returns:
        `source` int32 `(batch, source_length)` and `target` int32 `(batch, target_length)`, what is known of the answer
        and begins with the start token → at every place of `target`, logits of the token that comes next, float32
        `(batch, target_length, vocabulary_size)`.
    """
    _check_size(name, dim, depth, heads, mlp_dim)
    source, target = source_and_target(name, input_shape)
    kind = Kind(heads, mlp_dim, dropout, pre_norm)
    embedding = _embedding(vocabulary_size, dim)
    mask = PaddingMask(name="source_mask")(source)

    x = _embedded(source, embedding, max_length, dropout, "stem_source")
    x = _stack(_encoder_block, x, mask, kind=kind, first=1, depth=depth)
    encoded = layers.Identity(name="encoder")(x)

    x = _embedded(target, embedding, max_length, dropout, "stem_target")
    x = _stack(_decoder_block, x, encoded, mask, kind=kind, first=depth + 1, depth=depth)
    if include_top:
        x = layers.Activation("linear", dtype="float32", name="logits")(embedding(x, reverse=True))
    return keras.Model([source, target], x, name=name)


_member = functools.partial(variant, encoder_decoder, task="sequence-to-sequence", paper=PAPER, tiny=TINY)

transformer = _member(
    "transformer",
    "A Transformer of any size, by default one that two CPU cores can train.",
    {"vocabulary_size": 8_192, "dim": 128, "depth": 2, "heads": 4, "mlp_dim": 512},
)
transformer_base = _member(
    "transformer_base",
    "The paper's base Transformer, 63.1 million parameters.",
    {"dim": 512, "heads": 8, "mlp_dim": 2048},
)
transformer_big = _member(
    "transformer_big",
    "The paper's big Transformer, 214 million parameters.",
    {"dim": 1024, "heads": 16, "mlp_dim": 4096, "dropout": 0.3},
)


@register(task="text-classification", paper=PAPER, tiny={**TINY, "input_shape": (8,), "num_classes": 3})
def transformer_classifier(
    input_shape=(128,),
    num_classes=2,
    *,
    vocabulary_size=30_522,
    dim=128,
    depth=2,
    heads=4,
    mlp_dim=512,
    dropout=0.1,
    pre_norm=False,
    max_length=1024,
    include_top=True,
    name="transformer_classifier",
):
    """A Transformer's encoder that classifies a text by the mean over its tokens.

    Args:
        input_shape: `(length,)`, None for any.
        num_classes: width of the head.
        vocabulary_size: number of token ids; 0 is padding.
        dim, depth, heads, mlp_dim: width of the tokens, blocks, attention heads, width of the MLP's hidden layer.
        dropout: rate on every residual branch, after the positions, and before the logits.
        pre_norm: normalise what goes into a branch instead of the sum that it ends in.
        max_length: most tokens.
        include_top: `False` gives the last stage, `(batch, length, dim)`.
        name: name of the model.

    Returns:
        `tokens` int32 `(batch, length)` → logits float32 `(batch, num_classes)`.
    """
    _check_size(name, dim, depth, heads, mlp_dim)
    if len(input_shape) != 1:
        raise ValueError(f"input_shape of {name!r} must be (length,). Received: {tuple(input_shape)}.")
    tokens = keras.Input(input_shape, dtype="int32", name="tokens")
    kind = Kind(heads, mlp_dim, dropout, pre_norm)
    mask = PaddingMask(name="mask")(tokens)
    x = _embedded(tokens, _embedding(vocabulary_size, dim), max_length, dropout, "stem")
    x = _stack(_encoder_block, x, mask, kind=kind, first=1, depth=depth)
    if include_top:
        # In half precision a long text's sum would lose what a single token adds to it.
        x = layers.GlobalAveragePooling1D(dtype="float32", name="head_pool")(x, mask=mask)
        x = _dropped(x, dropout, "head_dropout")
        x = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(tokens, x, name=name)

"""Transformer-XL: a language model that remembers the segments before, by distances instead of places.

Dai, Yang, Yang, Carbonell, Le, Salakhutdinov, "Transformer-XL: Attentive Language Models Beyond a Fixed-Length
Context", ACL (2019), §3.2, §3.3; the defaults are the "standard" network of Table 1, WikiText-103:

    depth    dim    heads          MLP    memory    dropout    parameters
       16    410    10 of 41      2100       150        0.1    53,593,540 with 30,522 tokens

    stem     embeddings times √dim; no positions: distances are part of every attention
    block    LayerNorm(x + attention(x)), then LayerNorm(x + MLP(x)) with one hidden layer, ReLU
    head     logits, by the embeddings again, without bias

The paper counts 151 million: its vocabulary holds 267,735 words, for which it needs an adaptive softmax. Ours is plain,
so the default is a vocabulary of sub-words, BERT's size. Of the parameters 41,079,520 are not embeddings; with 267,735
words they come to 150,850,870. The authors' PyTorch code has 151,107,538: besides, a bias for every word and 1,233
parameters of the clusters, and one u and v for all blocks, where ours, like the authors' TensorFlow code, have their
own. Attention has no biases but these. Kernels and embeddings begin normal with deviation 0.02.

A network reads one segment at a time, without memory, as any language model; `in_segments` makes of it one that reads
several, each block of which sees in its memory what went into it before.
"""

import keras
import numpy as np
from keras import initializers, layers, ops

from zoo import graphs
from zoo.attention import TokenDense, by_head, by_text, length_of, put, rows_of
from zoo.registry import register

EPSILON = 1e-5


def _init():
    return initializers.RandomNormal(stddev=0.02)


@keras.saving.register_keras_serializable("zoo")
class RelativeAttention(layers.Layer):
    """Causal attention by several heads, by what keys are and how far back they lie, to keys of a memory, too.

    Called as `attention(x, memory=None)`: `x` `(batch, length, dim)`, `memory` `(batch, any, dim)`, what lies right
    before it. It gives `(batch, length, dim)`. The score of query i and key j is that of §3.3, divided by √head_dim:

        (q_i + u) · k_j  +  (q_i + v) · W_r R_{i-j}        R: sinusoids of the distance

    Args:
        num_heads, head_dim: heads, and the width of each.
        memory_length: most tokens that a memory should hold; it is for those who make the memory.
        dropout: rate at which attention weights are dropped in training.
    """

    causal = True

    def __init__(self, num_heads, head_dim, memory_length, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.head_dim, self.memory_length = num_heads, head_dim, memory_length
        self.dropout = dropout
        self.drop = layers.Dropout(dropout, dtype=self.dtype_policy, name="drop")

    def build(self, x_shape, memory_shape=None):
        def projection(name, width, input_width):
            dense = layers.Dense(width, use_bias=False, kernel_initializer=_init(), dtype=self.dtype_policy, name=name)
            dense.build((None, input_width))
            return dense

        dim, inner = x_shape[-1], self.num_heads * self.head_dim
        self.query = projection("query", inner, dim)
        self.key = projection("key", inner, dim)
        self.value = projection("value", inner, dim)
        self.distance = projection("distance", inner, dim)
        self.output_projection = projection("output", dim, inner)
        self.u, self.v = (
            self.add_weight(shape=(self.num_heads, 1, self.head_dim), initializer=_init(), name=name) for name in "uv"
        )

    def call(self, x, memory=None, training=False):
        context = x if memory is None else ops.concatenate([memory, x], axis=1)
        return self.read(x, self.keys_and_values(context), training)

    def keys_and_values(self, context):
        """`(batch, keys, dim)` → keys and values, each `(batch, num_heads, keys, head_dim)`."""
        rows, length = rows_of(context), length_of(context)
        return tuple(by_head(projection(rows), length, self.num_heads) for projection in (self.key, self.value))

    def read(self, x, keys_and_values, training=False):
        """What `call` gives, from keys and values that are there already."""
        keys, values = keys_and_values
        length, seen = length_of(x), ops.shape(keys)[2]
        by_content, by_distance = self._scores(x, keys)
        # Column m belongs to the distance seen - 1 - m, so that of key j stands at m = j + length - 1 - i. A column
        # more on the left and `length` numbers less at the front shift row i by just that.
        padded = ops.pad(by_distance, [(0, 0), (0, 0), (0, 0), (1, 0)])
        shifted = ops.reshape(padded, (-1, self.num_heads, seen + 1, length))[:, :, 1:]
        scores = by_content + ops.reshape(shifted, (-1, self.num_heads, length, seen))
        allowed = ops.arange(seen)[None, :] <= ops.arange(length)[:, None] + (seen - length)
        return self._mixed(scores, allowed, values, training)

    def step(self, x, cache, index):
        """Attend from one token, with the keys and values of those before it.

        Args:
            x: `(batch, 1, dim)`.
            cache: keys and values, each `(batch, num_heads, longest, head_dim)`.
            index: int `(batch,)`, the token's place, from 0; what lies in the cache behind it is not seen.

        Returns:
            What `call` gives for this token, `(batch, 1, dim)`, and the cache with its key and value.
        """
        keys, values = put(cache, self.keys_and_values(x), index)
        longest = ops.shape(keys)[2]
        places, index = ops.arange(longest)[None, :], index[:, None]
        by_content, by_distance = self._scores(x, keys)
        column = ops.minimum(places + longest - 1 - index, longest - 1)[:, None, None, :]
        by_distance = ops.take_along_axis(by_distance, ops.broadcast_to(column, ops.shape(by_distance)), axis=-1)
        seen = (places <= index)[:, None, None, :]
        return self._mixed(by_content + by_distance, seen, values), (keys, values)

    def _scores(self, x, keys):
        """By keys, and by as many distances, the longest first: each `(batch, num_heads, queries, keys)`."""
        count, dim = ops.shape(keys)[2], x.shape[-1]
        # Sines beside cosines, not one by one as in the paper: the order is the projection's to learn.
        angles = ops.cast(count - 1 - ops.arange(count), "float32")[:, None] * 10_000.0 ** -(np.arange(0, dim, 2) / dim)
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)[:, :dim]
        distances = by_head(self.distance(ops.cast(waves, x.dtype)), count, self.num_heads)
        query = by_head(self.query(rows_of(x)), length_of(x), self.num_heads)
        # Scaled here, where there are fewer numbers than in the scores.
        scale = ops.cast(self.head_dim**-0.5, x.dtype)
        return (
            ops.matmul((query + bias) * scale, ops.swapaxes(others, -1, -2))
            for bias, others in ((self.u, keys), (self.v, distances))
        )

    def _mixed(self, scores, allowed, values, training=False):
        lowest = -1e30 if scores.dtype != "float16" else -6e4
        scores = ops.where(allowed, scores, ops.cast(lowest, scores.dtype))
        weights = self.drop(ops.softmax(scores, axis=-1), training=training)
        mixed = ops.swapaxes(ops.matmul(weights, values), 1, 2)
        rows = self.output_projection(ops.reshape(mixed, (-1, self.num_heads * self.head_dim)))
        return by_text(rows, length_of(mixed))

    def compute_output_shape(self, x_shape, memory_shape=None):
        return x_shape

    def multiply_adds(self, x_shape, memory_shape=None):
        """The five projections, and three products: scores by keys, scores by distances, and what is mixed."""
        length, dim = x_shape[1:]
        seen = length + (memory_shape[1] if memory_shape else 0)
        return self.num_heads * self.head_dim * (2 * length * dim + 3 * seen * dim + 3 * length * seen)

    def activations(self, x_shape, memory_shape=None):
        """Numbers kept inside: queries with either bias and what is mixed, keys, values, distances, and the scores."""
        length = x_shape[1]
        seen = length + (memory_shape[1] if memory_shape else 0)
        return self.num_heads * (3 * length * self.head_dim + 3 * seen * self.head_dim + length * seen)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "memory_length": self.memory_length,
            "dropout": self.dropout,
        }


def _block(x, heads, head_dim, mlp_dim, memory_length, dropout, name):
    def joined(x, branch, what, output_name):
        branch = _dropped(branch, dropout, f"{name}_{what}_dropout")
        x = layers.Add(name=f"{name}_{what}_add")([x, branch])
        return layers.LayerNormalization(epsilon=EPSILON, name=output_name)(x)

    attention = RelativeAttention(heads, head_dim, memory_length, name=f"{name}_attention")
    x = joined(x, attention(x), "attention", f"{name}_attention_norm")
    branch = TokenDense(mlp_dim, "relu", kernel_initializer=_init(), name=f"{name}_mlp_hidden")(x)
    branch = _dropped(branch, dropout, f"{name}_mlp_hidden_dropout")
    branch = TokenDense(x.shape[-1], kernel_initializer=_init(), name=f"{name}_mlp_output")(branch)
    return joined(x, branch, "mlp", name)


def _dropped(x, rate, name):
    return layers.Dropout(rate, name=name)(x) if rate else x


@register(
    task="language-modeling",
    paper="Dai et al., Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context, 2019",
    tiny={
        "input_shape": (8,),
        "vocabulary_size": 20,
        "dim": 16,
        "depth": 1,
        "heads": 2,
        "head_dim": 8,
        "mlp_dim": 32,
        "memory_length": 8,
        "dropout": 0.0,
    },
)
def transformer_xl(
    input_shape=(150,),
    *,
    vocabulary_size=30_522,
    dim=410,
    depth=16,
    heads=10,
    head_dim=41,
    mlp_dim=2100,
    memory_length=150,
    dropout=0.1,
    include_top=True,
    name="transformer_xl",
):
    """Transformer-XL: attention by distance, and with `in_segments` a memory; by default the paper's standard size.

    Args:
        input_shape: `(length,)` of a segment, None for any.
        vocabulary_size: number of token ids; 0 is padding.
        dim, depth, heads, head_dim, mlp_dim: width of the tokens, blocks, attention heads and their width, width of the
            MLP's hidden layer.
        memory_length: most tokens that every block remembers of the segments before.
        dropout: rate after the embeddings, on every residual branch, in the MLP, and before the logits.
        include_top: `False` gives the last stage, `(batch, length, dim)`.
        name: name of the model.

    Returns:
        `tokens` int32 `(batch, length)` → at every place, logits of the token that comes next, float32
        `(batch, length, vocabulary_size)`.
    """
    if len(input_shape) != 1:
        raise ValueError(f"input_shape of {name!r} must be (length,). Received: {tuple(input_shape)}.")
    if min(dim, depth, heads, head_dim, mlp_dim) < 1 or memory_length < 0:
        raise ValueError(
            f"dim, depth, heads, head_dim and mlp_dim of {name!r} must be positive, memory_length at least 0. "
            f"Received: {dim=}, {depth=}, {heads=}, {head_dim=}, {mlp_dim=}, {memory_length=}."
        )
    tokens = keras.Input(input_shape, dtype="int32", name="tokens")
    embedding = layers.ReversibleEmbedding(vocabulary_size, dim, embeddings_initializer=_init(), name="stem_embedding")
    x = layers.Rescaling(dim**0.5, name="stem_scale")(embedding(tokens))
    x = _dropped(x, dropout, "stem_dropout")
    for i in range(1, depth + 1):
        x = _block(x, heads, head_dim, mlp_dim, memory_length, dropout, f"stage{i}")
    if include_top:
        x = embedding(_dropped(x, dropout, "head_dropout"), reverse=True)
        x = layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model(tokens, x, name=name)


def in_segments(
    model: keras.Model, segments: int, length: int | None = None, memory_length: int | None = None
) -> keras.Model:
    """The same network and weights over several segments, each of which remembers those before it (§3.2).

    The memory of a block is what went into it in the segments before: of depth n, it reaches n memories back. No
    gradient goes through it, so that training costs what it costs without.

    Args:
        model: a model of `RelativeAttention`.
        segments: how many follow each other.
        length: of a segment; None: what the model was built for.
        memory_length: most tokens that every block remembers; None: what it was built for. It may be longer than
            in training.

    Returns:
        `tokens` int32 `(batch, segments * length)` → what the model gives, `(batch, segments * length, …)`.

    Raises:
        ValueError: the model's length is open, or it has no `RelativeAttention`.
    """
    length = model.input_shape[1] if length is None else length
    if length is None:
        raise ValueError(f"A segment needs a length. Received: {model.name!r} with input_shape=(None,).")
    memories = {}

    def remembering(layer):
        if not isinstance(layer, RelativeAttention):
            return layer

        def attend(x):
            memory = memories.get(layer.name)
            past = x if memory is None else ops.concatenate([memory, x], axis=1)
            most = layer.memory_length if memory_length is None else memory_length
            memories[layer.name] = ops.stop_gradient(past[:, max(past.shape[1] - most, 0) :])
            return layer(x) if memory is None else layer(x, memory)

        return attend

    tokens = keras.Input((segments * length,), dtype="int32", name="tokens")
    answers = [graphs.run(model, part, remembering) for part in ops.split(tokens, segments, axis=1)]
    if not memories:
        raise ValueError(f"Only RelativeAttention has a memory. Received: {model.name!r}, which has none.")
    joined = layers.Concatenate(axis=1, dtype=answers[0].dtype, name="segments")
    return keras.Model(tokens, joined(answers) if segments > 1 else answers[0], name=f"{model.name}_in_segments")

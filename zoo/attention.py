"""Attention and positions: what Transformers are made of. Backend-neutral.

Vaswani et al., "Attention Is All You Need", NeurIPS (2017), §3.2 and §3.5. Every layer also does its work one token at
a time (`step`), as decoding with a cache of keys and values needs it: see `zoo.decoding`.
"""

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("zoo")
class TokenDense(layers.Dense):
    """A Dense layer on every token, `(batch, length, any)` → `(batch, length, units)`, as one product of two matrices.

    TensorFlow fuses such a product with the bias and the activation behind it, as it does not with one of more axes.
    """

    def call(self, x, training=None):
        return by_text(super().call(rows_of(x), training=training), length_of(x))


def rows_of(x):
    """`(batch, length, dim)` → `(batch * length, dim)`: what products of two matrices are made of."""
    return ops.reshape(x, (-1, x.shape[-1]))


def by_text(rows, length):
    """Back again, for texts of `length` tokens: `(batch * length, dim)` → `(batch, length, dim)`."""
    return ops.reshape(rows, (-1, length, rows.shape[-1]))


def by_head(rows, length, num_heads):
    """`(batch * length, num_heads * head_dim)` → `(batch, num_heads, length, head_dim)`."""
    return ops.swapaxes(ops.reshape(rows, (-1, length, num_heads, rows.shape[-1] // num_heads)), 1, 2)


def length_of(x):
    """Of texts `(batch, length, …)`: an int, where that is known. Of a graph it saves many small operations."""
    return ops.shape(x)[1] if x.shape[1] is None else x.shape[1]


@keras.saving.register_keras_serializable("zoo")
class MultiHeadAttention(layers.Layer):
    """Scaled dot-product attention by several heads, with a cache for decoding.

    Called as `attention(x, context=None, mask=None)`: `x` `(batch, queries, dim)`; `context` `(batch, keys, any)`, what
    is looked at, by default `x` itself; `mask` bool `(batch, keys)`, False where a key must not be seen. It gives
    `(batch, queries, dim)`. Where no key may be seen, as for padding before all else, the answer means nothing but
    is finite.

    Args:
        num_heads, head_dim: as in the paper, h and d_k = d_v.
        causal: a query sees no key after its own place.
        window: most keys a query sees, counted back from its own place; None: all. Needs `causal`. It is the "locally
            banded" pattern of Child et al., "Generating Long Sequences with Sparse Transformers" (2019), as in GPT-3.
        dropout: rate at which attention weights are dropped in training.
        use_bias: of the four projections.
        kernel_initializer, output_initializer: of the projections; the last one's, where it differs.
    """

    def __init__(
        self,
        num_heads,
        head_dim,
        causal=False,
        window=None,
        dropout=0.0,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        output_initializer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if window is not None and (not causal or window < 1):
            raise ValueError(f"A window needs causal attention and at least one key. Received: {window=}, {causal=}.")
        self.num_heads, self.head_dim, self.causal, self.window = num_heads, head_dim, causal, window
        self.dropout, self.use_bias = dropout, use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.output_initializer = keras.initializers.get(output_initializer or kernel_initializer)
        self.drop = layers.Dropout(dropout, dtype=self.dtype_policy, name="drop")

    def build(self, x_shape, context_shape=None, mask_shape=None):
        def projection(name, width, initializer, input_shape):
            # A copy: one initializer draws the same numbers again.
            kernel = initializer.__class__.from_config(initializer.get_config())
            dense = layers.Dense(
                width, use_bias=self.use_bias, kernel_initializer=kernel, dtype=self.dtype_policy, name=name
            )
            dense.build((None, input_shape[-1]))
            return dense

        inner = self.num_heads * self.head_dim
        self.query = projection("query", inner, self.kernel_initializer, x_shape)
        self.key = projection("key", inner, self.kernel_initializer, context_shape or x_shape)
        self.value = projection("value", inner, self.kernel_initializer, context_shape or x_shape)
        self.output_projection = projection("output", x_shape[-1], self.output_initializer, (None, inner))

    def call(self, x, context=None, mask=None, training=False):
        return self.read(x, self.keys_and_values(x if context is None else context), mask, training)

    def keys_and_values(self, context):
        """`(batch, keys, any)` → keys and values, each `(batch, num_heads, keys, head_dim)`."""
        rows, length = rows_of(context), length_of(context)
        return tuple(by_head(projection(rows), length, self.num_heads) for projection in (self.key, self.value))

    def read(self, x, keys_and_values, mask=None, training=False):
        """What `call` gives, from keys and values that are there already."""
        keys, values = keys_and_values
        allowed = None if mask is None else mask[:, None, None, :]
        if self.causal:
            seen = self._seen(ops.arange(length_of(x))[:, None], ops.arange(ops.shape(keys)[2])[None, :])
            allowed = seen if allowed is None else ops.logical_and(allowed, seen)
        return self.attend(x, keys, values, allowed, training)

    def attend(self, x, keys, values, allowed, training=False):
        """Mix values for `x`; `allowed` is None or bool, broadcast to `(batch, num_heads, queries, keys)`."""
        # Scaled here, where there are fewer numbers than in the scores.
        length = length_of(x)
        queries = by_head(self.query(rows_of(x)), length, self.num_heads) * ops.cast(self.head_dim**-0.5, x.dtype)
        scores = ops.matmul(queries, ops.swapaxes(keys, -1, -2))
        if allowed is not None:
            lowest = -1e30 if scores.dtype != "float16" else -6e4
            scores = ops.where(allowed, scores, ops.cast(lowest, scores.dtype))
        weights = self.drop(ops.softmax(scores, axis=-1), training=training)
        mixed = ops.swapaxes(ops.matmul(weights, values), 1, 2)
        return by_text(self.output_projection(ops.reshape(mixed, (-1, self.num_heads * self.head_dim))), length)

    def step(self, x, cache, index):
        """Attend from one token, with the keys and values of those before it.

        Args:
            x: `(batch, 1, dim)`.
            cache: keys and values, each `(batch, num_heads, longest, head_dim)`.
            index: int `(batch,)`, the token's place, from 0; what lies in the cache behind it is not seen.

        Returns:
            What `call` gives for this token, `(batch, 1, dim)`, and the cache with its key and value.
        """
        places = ops.arange(ops.shape(cache[0])[2])[None, :]
        keys, values = put(cache, self.keys_and_values(x), index)
        seen = self._seen(index[:, None], places)
        return self.attend(x, keys, values, seen[:, None, None, :]), (keys, values)

    def _seen(self, query, key):
        """Whether a query at a place sees a key at another."""
        seen = key <= query
        return seen if self.window is None else ops.logical_and(seen, key > query - self.window)

    def compute_output_shape(self, x_shape, context_shape=None, mask_shape=None):
        return x_shape

    def compute_mask(self, x, mask):
        """None: the mask is of the keys, and no layer behind this one is to see it."""

    def multiply_adds(self, x_shape, *others):
        """The four projections and the two products; `others` are the shapes of context and mask, of those given.

        Keys that a causal query does not see are counted: they are multiplied, too.
        """
        queries, dim = x_shape[1:]
        keys, width = _context(x_shape, others)
        inner = self.num_heads * self.head_dim
        return inner * (2 * queries * dim + 2 * keys * width + 2 * queries * keys)

    def activations(self, x_shape, *others):
        """Numbers kept inside: queries and what is mixed for them, keys, values, and the scores."""
        queries, (keys, _) = x_shape[1], _context(x_shape, others)
        return self.num_heads * (2 * (queries + keys) * self.head_dim + queries * keys)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "causal": self.causal,
            "window": self.window,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "output_initializer": keras.initializers.serialize(self.output_initializer),
        }


def put(cache, new, index):
    """Keys and values, `(batch, heads, longest, head_dim)`, with those of one token, `(batch, heads, 1, head_dim)`.

    `index` is the token's place, int `(batch,)`. TensorFlow scatters faster than it chooses by place with `where`.
    """
    _, heads, _, head_dim = new[0].shape
    every = ops.arange(ops.shape(index)[0] * heads)
    row = every // heads
    places = ops.stack([row, every % heads, ops.take(index, row)], axis=1)
    return tuple(
        ops.scatter_update(old, places, ops.reshape(of_token, (-1, head_dim)))
        for old, of_token in zip(cache, new, strict=True)
    )


def _context(x_shape, others):
    """Length and width of what attention looks at: it is `x` itself, unless another of three axes is given."""
    return others[0][1:] if others and len(others[0]) == 3 else x_shape[1:]


@keras.saving.register_keras_serializable("zoo")
class PaddingMask(layers.Layer):
    """Tells which places of a text are read: token ids int `(batch, length)` → bool of the same shape.

    They are those of real tokens, whose id is not 0, and the first, so that of an empty text there is one, too: a mean
    over no token would be no number, and cuDNN's LSTM refuses a text without any.
    """

    def call(self, tokens):
        return ops.logical_or(ops.not_equal(tokens, 0), ops.arange(length_of(tokens)) == 0)

    def compute_output_spec(self, tokens):
        return keras.KerasTensor(tokens.shape, "bool")


@keras.saving.register_keras_serializable("zoo")
class LearnedPositions(layers.Layer):
    """Adds a learned vector to every token, one for each place: `(batch, length, dim)` → the same shape.

    Args:
        max_length: most tokens.
        initializer: of the vectors.
    """

    def __init__(self, max_length, initializer="uniform", **kwargs):
        super().__init__(**kwargs)
        self.max_length = max_length
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape):
        _check_length(self, input_shape[1])
        shape = (self.max_length, input_shape[-1])
        self.positions = self.add_weight(shape=shape, initializer=self.initializer, name="positions")

    def call(self, tokens):
        return tokens + self.positions[: length_of(tokens)]

    def step(self, token, index):
        """`(batch, 1, dim)` at places int `(batch,)` → the same shape."""
        return token + ops.cast(ops.take(self.positions, index, axis=0), token.dtype)[:, None, :]

    def compute_output_shape(self, input_shape):
        return input_shape

    def multiply_adds(self, input_shape):
        """None: a sum."""
        return 0

    def get_config(self):
        initializer = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "max_length": self.max_length, "initializer": initializer}


@keras.saving.register_keras_serializable("zoo")
class SinusoidalPositions(layers.Layer):
    """Adds waves of geometrically growing length to every token: `(batch, length, dim)` → the same shape.

    Vaswani et al. (2017), §3.5: `PE(pos, 2i) = sin(pos / 10000^(2i/dim))`, and the cosine of the same at 2i + 1.

    Args:
        max_length: most tokens.
    """

    def __init__(self, max_length, **kwargs):
        super().__init__(**kwargs)
        self.max_length = max_length

    def build(self, input_shape):
        _check_length(self, input_shape[1])
        self.table = sinusoids(self.max_length, input_shape[-1])

    def call(self, tokens):
        table = ops.convert_to_tensor(self.table, tokens.dtype)
        return tokens + table[: length_of(tokens)]

    def step(self, token, index):
        """`(batch, 1, dim)` at places int `(batch,)` → the same shape."""
        return token + ops.take(ops.convert_to_tensor(self.table, token.dtype), index, axis=0)[:, None, :]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "max_length": self.max_length}


def sinusoids(length: int, dim: int) -> np.ndarray:
    """The table of `SinusoidalPositions`, float32 `(length, dim)`."""
    even = np.arange(0, dim, 2)
    angles = np.arange(length)[:, None] / 10_000 ** (even / dim)
    table = np.zeros((length, dim), np.float32)
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles[:, : dim // 2])
    return table


def _check_length(layer, length: int | None) -> None:
    if length is not None and length > layer.max_length:
        raise ValueError(f"There are places for at most {layer.max_length} tokens. Received: {length}.")

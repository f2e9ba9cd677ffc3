"""Decoding: a network that reads text, run one token at a time to go on with it. Backend-neutral.

The logits behind a token depend on the tokens before it only through what a few layers keep of them. That is the cache,
and with it a step costs the same however much text lies before it:

    layer                                        keeps of the text         makes a step by
    causal attention of `zoo.attention`          keys and values           `step(x, cache, index)`
    the same, not causal, with a fixed context   the context's, unchanged  `read(x, cache, mask)`
    LSTM, GRU, SimpleRNN, RNN                    its states                its cell
    layers with `step(x, index)`, as positions   nothing                   that
    what works on every token for itself         nothing                   itself

A layer is one of the first two if it has a method `keys_and_values`. Fixed is what does not depend on the text that is
gone on with, such as the source's encoding and its mask. It is computed once.

Text is int `(batch, length)`, the last of the model's inputs, and the model gives logits
`(batch, length, vocabulary_size)`. How long each row is, is told beside it: any id may fill up what lies behind.
"""

import keras
from keras import layers, ops, tree

from zoo.graphs import check_graph, run

# What they give for a token depends on no other token. Functions of `keras.ops` are taken for such, too.
_TOKEN_WISE = (
    layers.Activation,
    layers.Add,
    layers.Average,
    layers.BatchNormalization,
    layers.Concatenate,
    layers.Dense,
    layers.Dropout,
    layers.Embedding,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.LayerNormalization,
    layers.LeakyReLU,
    layers.Multiply,
    layers.ReLU,
    layers.Rescaling,
    layers.RMSNormalization,
    layers.SpatialDropout1D,
    layers.Subtract,
    layers.TimeDistributed,
)


def begin(model, inputs, lengths, longest):
    """Read the prompts up to the last token, which is the first that `step` takes.

    Args:
        model: Functional, or Sequential and built.
        inputs: what it takes; the last input holds the prompts, int `(batch, length)`, from the left.
        lengths: int `(batch,)`, tokens of each prompt, at least 1.
        longest: places in the cache, at least `length`; an int, or an int tensor where the backend allows it.

    Returns:
        The cache that `step` takes, a nest of tensors whose first axis is that of the batch.

    Raises:
        ValueError: the model is neither Functional nor Sequential, or not built.
    """
    encoder, decoder = _parts(model)
    *given, text = _in_order(model, inputs)
    fixed = run(encoder, given, lambda layer: layer) if encoder else []
    last = ops.cast(lengths, "int32") - 1
    kept = []
    run(decoder, [*fixed, text], lambda layer: _reading(layer, fixed, last, longest, kept.append))
    return {"fixed": fixed, "kept": kept}


def step(model, tokens, cache, index):
    """Go on by one token in every row.

    Args:
        model: that of `begin`.
        tokens: int `(batch,)`.
        cache: what `begin`, or the last step, gave.
        index: int `(batch,)`, the tokens' places from 0, below the cache's `longest`: that of a prompt's last token,
            and so on.

    Returns:
        Logits of the tokens behind them, `(batch, vocabulary_size)`, and the cache.

    Raises:
        ValueError: it is not known how one of the layers makes a step.
    """
    _, decoder = _parts(model)
    index = ops.cast(index, "int32")
    fixed, before, after = cache["fixed"], iter(cache["kept"]), []
    logits = run(decoder, [*fixed, tokens[:, None]], lambda layer: _stepping(layer, fixed, before, index, after.append))
    return logits[:, 0], {"fixed": fixed, "kept": after}


def max_length(model) -> int | None:
    """Most tokens of text that a model has places for, None if any number: the most that `longest` can be."""
    limits = [layer.max_length for layer in _parts(model)[1].operations if hasattr(layer, "max_length")]
    return min(limits, default=None)


def _reading(layer, fixed, last, longest, keep):
    """What reads the prompts in place of a layer: it gives the same, and keeps what a step at `last` must find."""

    def attend(x, context=None, *others, **arguments):
        x = ops.cast(x, layer.compute_dtype)
        cache = layer.keys_and_values(x if context is None else context)
        keep(tuple(cache if _is_in(context, fixed) else [_padded(each, longest) for each in cache]))
        return layer.read(x, cache, *others, **arguments)

    def recur(x, initial_state=None, mask=None):
        before_last = ops.arange(ops.shape(x)[1])[None, :] < last[:, None]
        same_cell = layers.RNN(layer.cell, return_sequences=True, return_state=True, dtype=layer.dtype_policy)
        output, *states = same_cell(x, initial_state=initial_state, mask=before_last)
        keep(tuple(states))
        return (output, *states) if layer.return_state else output

    if hasattr(layer, "keys_and_values"):
        return attend
    return recur if isinstance(layer, layers.RNN) else layer


def _stepping(layer, fixed, before, index, keep):
    """What makes a step in place of a layer: it takes what was kept `before`, and keeps it for the next."""

    def attend(x, context=None, mask=None):
        x, cache = ops.cast(x, layer.compute_dtype), next(before)
        if _is_in(context, fixed) and not layer.causal:
            output = layer.read(x, cache, mask)
        elif context is None and layer.causal:
            output, cache = layer.step(x, cache, index)
        else:
            raise _no_step(layer, "It sees tokens that are not there yet")
        keep(tuple(cache))
        return output

    def recur(x, initial_state=None, mask=None):
        if not layer.return_sequences or layer.go_backwards:
            raise _no_step(layer, "It does not answer every token before it reads the next")
        output, states = layer.cell(x[:, 0], next(before))
        states = tuple(states) if tree.is_nested(states) else (states,)
        keep(states)
        return (output[:, None], *states) if layer.return_state else output[:, None]

    def look_up(inputs, **arguments):
        if not all(_is_in(keys_or_values, fixed) for keys_or_values in inputs[1:]):
            raise _no_step(layer, "It keeps no keys and values of the text")
        return layer(inputs, **arguments)

    if hasattr(layer, "keys_and_values"):
        return attend
    if isinstance(layer, layers.RNN):
        return recur
    if isinstance(layer, (layers.AdditiveAttention, layers.Attention)):
        return look_up
    if hasattr(layer, "step"):
        return lambda x: layer.step(x, index)
    if isinstance(layer, layers.Layer) and not isinstance(layer, _TOKEN_WISE):
        raise _no_step(layer, "It is not known how it works on one token")
    return layer


def _no_step(layer, why):
    return ValueError(
        f"{why}. Received: layer {layer.name!r}, a {type(layer).__name__}. Accepted: causal self-attention of "
        "`zoo.attention`, attention to what does not depend on the text, recurrent layers that read forwards and give "
        "sequences, layers that work on every token for itself, and layers with a method `step(x, index)`."
    )


def _padded(keys_or_values, longest):
    """`(batch, heads, length, head_dim)` → `(batch, heads, longest, head_dim)`."""
    return ops.pad(keys_or_values, [[0, 0], [0, 0], [0, longest - ops.shape(keys_or_values)[2]], [0, 0]])


def _is_in(tensor, tensors):
    return any(tensor is each for each in tensors)


def _in_order(model, inputs):
    """Input tensors in the model's order, each in its dtype."""
    if isinstance(inputs, dict):
        inputs = [inputs[tensor.name] for tensor in model.inputs]
    return [
        ops.convert_to_tensor(each, tensor.dtype)
        for each, tensor in zip(tree.flatten(inputs), model.inputs, strict=True)
    ]


def _parts(model):
    """A model cut in two: what does not depend on the text, and what does.

    Returns:
        An encoder, from the inputs before the text to all tensors that the decoder takes of it, None if there are
        none; and a decoder, from these and the text to the logits. Both are `keras.Function`, of the model's layers.
    """
    check_graph(model)
    *given, text = model.inputs
    logits = model.outputs[0]
    nodes = keras.Function(model.inputs, logits)._nodes_by_depth  # from the inputs, which lie deepest, to the logits
    of_text, fixed = {id(text)}, {}
    for depth in sorted(nodes, reverse=True):
        for node in nodes[depth]:
            if any(id(tensor) in of_text for tensor in node.input_tensors):
                of_text |= {id(tensor) for tensor in node.outputs}
                fixed |= {id(tensor): tensor for tensor in node.input_tensors if id(tensor) not in of_text}
    fixed = list(fixed.values())
    return keras.Function(given, fixed) if fixed else None, keras.Function([*fixed, text], logits)

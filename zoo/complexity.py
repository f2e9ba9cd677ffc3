"""What a network costs, read off its graph: nothing is run, no data is needed.

Both figures are for one example, at the input size the network was built with. They cover Functional and Sequential
models, with models nested in them; a layer that is called twice counts twice.
"""

import inspect
import itertools
import math
import re

import keras
from keras import layers, tree

from zoo import graphs

# Their weights only scale, shift or are looked up: papers count none of it.
_ELEMENT_WISE = (
    layers.BatchNormalization,
    layers.Embedding,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.Normalization,
    layers.PReLU,
    layers.RMSNormalization,
)
# What a recurrent cell keeps of every step, for each of its units, besides its output: gates, and LSTM's second state.
_KEPT_BY_CELL = {layers.SimpleRNNCell: 0, layers.GRUCell: 3, layers.LSTMCell: 5}
# Layers, and functions of `keras.ops`, that have no weights, yet multiply one tensor by another: not element-wise.
_PRODUCTS = (
    *("Attention", "Dot", "Einsum", "Inner", "Matmul", "Outer", "Tensordot", "Vdot"),
    *("Conv", "ConvTranspose", "DepthwiseConv", "DotProductAttention", "SeparableConv"),
)
# They give their input's memory another shape.
_VIEWS = ("ExpandDims", "Flatten", "Identity", "Reshape", "Squeeze")


def parameters(model: keras.Model) -> int:
    """Trainable parameters."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def multiply_adds(model: keras.Model) -> int:
    """Multiplications, each with its addition, of one forward pass on one example.

    Counted as papers do: convolutions, dense layers, recurrent layers at every step, embeddings that give logits, and
    attention with its two products (queries by keys, scores by values). Padding counts like any token. Not counted:
    biases, normalisations, activations, pooling, sums and other element-wise work, look-ups. At a border all of a
    kernel counts, also where it lies on padding. Multiply by two for floating-point operations.

    A layer of one's own has a method `multiply_adds(*input_shapes) -> int`, which gets the shapes of the layer's input
    tensors, with a batch of 1, in the order of the arguments of its `call`.

    Raises:
        ValueError: a layer has weights, or multiplies tensors, and it is not known how often; the model is neither
            Functional nor Sequential, or an axis of its input has no fixed size.
    """
    total = 0

    def count(operation, inputs, outputs):
        nonlocal total
        total += _multiply_adds(operation, inputs, outputs)

    _walk(model, _inputs(model), count)
    return total


def activation_bytes(model: keras.Model) -> int:
    """Memory of all activations for one example, in the dtype each layer computes in: what training keeps.

    It is the sum over the input and the outputs of all layers; attention also keeps queries, keys, values, scores and
    what they mix, additive attention the sums and scores, a recurrent layer gates and states at every step. Layers that
    only give their input another shape (Reshape, Flatten) are left out: they share its memory. Padding copies, and
    counts. What a layer holds for its own gradient, such as a dropout's mask, and what an activation inside of a layer
    (`Dense(…, "gelu")`) keeps are not counted, nor are weights, gradients and the optimizer's state.

    Raises:
        ValueError: the model is neither Functional nor Sequential, or an axis of its input has no fixed size.
    """
    inputs = _inputs(model)
    total = sum(map(_bytes, inputs))

    def count(operation, inputs, outputs):
        nonlocal total
        if type(operation).__name__ not in _VIEWS:
            total += sum(map(_bytes, outputs))
        if inside := _elements_inside(operation, inputs):
            total += inside * _item_size(operation.compute_dtype)

    _walk(model, inputs, count)
    return total


def _inputs(model):
    graphs.check_graph(model)
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise ValueError(
                f"The cost depends on the input's size. Received: {model.name!r} with an input of the open shape "
                f"{tuple(tensor.shape)}. Build it with a fixed input_shape."
            )
    return [keras.KerasTensor((1, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]


def _walk(model, inputs, visit):
    """Follow the shapes through the model; `visit(operation, inputs, outputs)` sees every call of a layer on the way.

    Its inputs are the tensors among the arguments, in the order in which `call` declares them.
    """

    def follow(operation):
        def call(*args, **kwargs):
            outputs = operation.compute_output_spec(*args, **kwargs)
            arguments = inspect.signature(operation.call).bind(*args, **kwargs).arguments
            tensors = [value for value in tree.flatten(list(arguments.values())) if hasattr(value, "shape")]
            visit(operation, tensors, tree.flatten(outputs))
            return outputs

        return call

    graphs.run(model, inputs, follow)


def _multiply_adds(operation, inputs, outputs) -> int:
    if hasattr(operation, "multiply_adds"):
        return operation.multiply_adds(*(tuple(tensor.shape) for tensor in inputs))
    match operation:
        case layers.Conv1D() | layers.Conv2D() | layers.Conv3D():
            return _size(outputs[0]) // operation.filters * _size(operation.kernel)
        case layers.Conv1DTranspose() | layers.Conv2DTranspose() | layers.Conv3DTranspose():
            return _size(inputs[0]) // operation.kernel.shape[-1] * _size(operation.kernel)
        case layers.DepthwiseConv1D() | layers.DepthwiseConv2D():
            return _size(outputs[0]) * math.prod(operation.kernel.shape[:-2])
        case layers.SeparableConv1D() | layers.SeparableConv2D():
            kernels = _size(operation.depthwise_kernel) + _size(operation.pointwise_kernel)
            return _size(outputs[0]) // operation.filters * kernels
        case layers.Dense():
            return _size(outputs[0]) * operation.kernel.shape[0]
        case layers.EinsumDense():
            return _einsum(operation.equation, inputs[0].shape, operation.kernel.shape)
        case layers.MultiHeadAttention():
            return _attention(operation, inputs)
        case layers.AdditiveAttention():
            queries, keys = _lengths(operation, inputs)
            scale = _size(operation.scale) if operation.use_scale else 0
            return queries * keys * (scale + inputs[1].shape[-1])
        case layers.ReversibleEmbedding() if len(outputs[0].shape) == len(inputs[0].shape):
            return _size(outputs[0]) * operation.output_dim
    if cells := _cells(operation):
        return _steps(inputs) * sum(_size(cell.kernel) + _size(cell.recurrent_kernel) for cell in cells)
    if isinstance(operation, _ELEMENT_WISE):
        return 0
    kind = type(operation).__name__
    if kind in _PRODUCTS or getattr(operation, "weights", None):
        raise ValueError(
            f"It is not known how often layer {operation.name!r}, a {kind}, multiplies. "
            f"Give its class a method `multiply_adds(*input_shapes) -> int`."
        )
    return 0


def _einsum(equation, left_shape, right_shape) -> int:
    """One multiplication for every combination of the indices."""
    left, right = equation.partition("->")[0].split(",")
    sizes = {}
    for labels, shape in ((left, left_shape), (right, right_shape)):
        before, dots, after = labels.partition("...")
        if dots:
            shared = len(shape) - len(before) - len(after)
            sizes["..."] = math.prod(shape[len(before) : len(before) + shared])
            shape = (*shape[: len(before)], *shape[len(before) + shared :])
        sizes |= dict(zip(before + after, shape, strict=True))
    return math.prod(sizes.values())


def _attention(layer, inputs) -> int:
    queries, keys = _lengths(layer, inputs)
    of_keys = _size(layer.key_dense.kernel) + _size(layer.value_dense.kernel)
    of_queries = sum(_size(weight) for weight in layer.weights if weight.name == "kernel") - of_keys
    products = layer.num_heads * queries * keys * (layer.key_dim + layer.value_dim)
    return queries * of_queries + keys * of_keys + products


def _attention_elements(layer, inputs) -> int:
    """Numbers that attention keeps inside: queries and what is mixed for them, keys and values, and the scores."""
    queries, keys = _lengths(layer, inputs)
    return layer.num_heads * ((queries + keys) * (layer.key_dim + layer.value_dim) + queries * keys)


def _elements_inside(operation, inputs) -> int:
    """Numbers that a layer keeps for its gradient and does not give as output."""
    if isinstance(operation, layers.MultiHeadAttention):
        return _attention_elements(operation, inputs)
    if isinstance(operation, layers.AdditiveAttention):
        queries, keys = _lengths(operation, inputs)
        return queries * keys * (inputs[0].shape[-1] + 1)
    if cells := _cells(operation):
        kept = sum((_KEPT_BY_CELL[type(cell)] + 1) * cell.units for cell in cells)
        given = cells[-1].units if isinstance(operation, layers.RNN) and operation.return_sequences else 0
        return _steps(inputs) * (kept - given)
    return 0


def _cells(operation) -> list:
    """All cells of a recurrent layer; none where it is not recurrent, or one of its cells is not known."""
    match operation:
        case layers.RNN():
            return _cells(operation.cell)
        case layers.Bidirectional():
            parts = [operation.forward_layer, operation.backward_layer]
        case layers.StackedRNNCells():
            parts = operation.cells
        case _:
            return [operation] if type(operation) in _KEPT_BY_CELL else []
    cells = [_cells(part) for part in parts]
    return list(itertools.chain(*cells)) if all(cells) else []


def _steps(inputs) -> int:
    """Places of a sequence; a cell of its own takes one."""
    return inputs[0].shape[1] if len(inputs[0].shape) == 3 else 1


def _lengths(layer, inputs):
    query, value = inputs[:2]
    if len(query.shape) != 3:
        raise ValueError(f"Attention is counted over one axis. {layer.name!r} received: {tuple(query.shape)}.")
    return query.shape[1], value.shape[1]


def _size(tensor) -> int:
    return math.prod(tensor.shape)


def _bytes(tensor) -> int:
    return _size(tensor) * _item_size(tensor.dtype)


def _item_size(dtype) -> int:
    """Bytes of one number: a dtype's name holds its bits; a truth value takes a byte."""
    bits = re.search(r"\d+", dtype)
    return int(bits[0]) // 8 if bits else 1

"""Scales and shifts behind a convolution or a matrix product go into its kernel, and into one bias.

Keras writes batch normalisation as a product and a sum. TensorFlow's own optimizer moves the product into the kernel
of a Conv2D, but not into that of a depthwise one, and the sum that is left keeps the processor's library from
computing bias and activation together with the convolution. What is written here, one BiasAdd, it does fuse.
"""

import numpy as np

from export.rewriting.graph import Graph, GraphDef, Node

_PRODUCTS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
_SUMS = ("Add", "AddV2", "BiasAdd")


def fold_affine(graph_def: GraphDef, kept) -> GraphDef:
    """`y = x · kernel * a + b …`, numbers per channel → one product and one BiasAdd.

    Folded in float64, whatever the order and number of steps. A product that anything else reads stays as it is.
    """
    graph = Graph(graph_def, kept)
    readers = graph.readers()
    for product in graph.of_op(*_PRODUCTS):
        _fold(graph, readers, product)
    return graph.finished()


def _fold(graph: Graph, readers, product: Node) -> None:
    kernel = graph.constant(product.input[1])
    if kernel is None or kernel.dtype != np.float32 or not _has_channels_last(product):
        return
    channels = _channels(product, kernel)
    scale, shift = np.ones(channels), np.zeros(channels)
    chain = [product]
    while (step := _next_step(graph, readers, chain[-1], channels, kernel.ndim)) is not None:
        node, factor, term = step
        scale, shift = scale * factor, shift * factor + term
        chain.append(node)
    if len(chain) == 1 or [node.op for node in chain[1:]] == ["BiasAdd"]:
        return
    last, name = chain[-1], f"{chain[-1].name}/folded"
    folded = graph.add_constant(f"{name}/kernel", (kernel * _as_kernel(product, scale, kernel)).astype(kernel.dtype))
    attributes = {key: product.attr[key] for key in product.attr if key != "_output_shapes"}
    inputs = [product.input[0], folded]
    if not shift.any():
        graph.become(last, product.op, inputs, **attributes)
        return
    made = graph.add(product.op, f"{name}/product", inputs, **attributes)
    bias = graph.add_constant(f"{name}/bias", shift.astype(kernel.dtype))
    graph.become(last, "BiasAdd", [made, bias], T=product.attr["T"], data_format="NHWC")


def _next_step(graph, readers, node, channels, rank):
    """The only reader of a node, where it scales or shifts its channels, with factor and term; else None."""
    if node.name in graph.kept or len(readers[node.name]) != 1:
        return None
    (reader,) = readers[node.name]
    if reader.op not in (*_SUMS, "Mul", "Sub") or len(reader.input) != 2:
        return None
    at = [i for i, edge in enumerate(reader.input) if edge in (node.name, f"{node.name}:0")]
    if len(at) != 1:
        return None
    value = graph.constant(reader.input[1 - at[0]])
    if value is None or not _is_per_channel(value, channels, rank):
        return None
    value = np.broadcast_to(value.reshape(-1).astype(np.float64), (channels,))
    if reader.op == "Mul":
        return reader, value, 0.0
    if reader.op == "Sub":
        return (reader, 1.0, -value) if at[0] == 0 else (reader, -1.0, value)
    return reader, 1.0, value


def _is_per_channel(value: np.ndarray, channels: int, rank: int) -> bool:
    """Whether numbers that are broadcast to an array of this rank differ by its last axis alone."""
    return value.ndim <= rank and value.size in (1, channels) and value.size == (value.shape or (1,))[-1]


def _has_channels_last(product: Node) -> bool:
    return product.op == "MatMul" or product.attr["data_format"].s in (b"", b"NHWC")


def _channels(product: Node, kernel: np.ndarray) -> int:
    if product.op == "DepthwiseConv2dNative":
        return kernel.shape[2] * kernel.shape[3]
    return kernel.shape[0] if _is_transposed(product) else kernel.shape[-1]


def _as_kernel(product: Node, scale: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Factors of channels in the shape in which they meet the kernel."""
    if product.op == "DepthwiseConv2dNative":
        return scale.reshape(kernel.shape[2:])
    return scale[:, np.newaxis] if _is_transposed(product) else scale


def _is_transposed(product: Node) -> bool:
    return product.op == "MatMul" and product.attr["transpose_b"].b

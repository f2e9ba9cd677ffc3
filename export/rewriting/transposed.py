"""Transposed convolutions whose windows lie side by side, as products."""

import numpy as np

from export.rewriting.graph import Graph, GraphDef, Node


def windows_as_channels(graph_def: GraphDef, kept) -> GraphDef:
    """Conv2DBackpropInput with windows as large as its strides → Conv2D of 1x1, and DepthToSpace.

    Every place of the input makes a window of the output by itself. That is one product whose channels are all places
    of the window. A bias is added to these, where it is fused with the product; Shi et al. 2016, "Is the deconvolution
    layer the same as a convolutional layer?".
    """
    graph = Graph(graph_def, kept)
    readers = graph.readers()
    for node in graph.of_op("Conv2DBackpropInput"):
        kernel, size = graph.constant(node.input[1]), node.attr["strides"].list.i[1]
        if kernel is None or not _side_by_side(graph, node, kernel.shape[:2]):
            continue
        dtype, name = node.attr["T"], f"{node.name}/windows"
        product = np.transpose(kernel, (3, 0, 1, 2)).reshape(1, 1, kernel.shape[3], -1)
        inputs = [node.input[2], graph.add_constant(f"{name}/kernel", product)]
        settings = {"strides": [1, 1, 1, 1], "padding": "VALID", "data_format": "NHWC"}
        windows, last = graph.add("Conv2D", name, inputs, T=dtype, **settings), node
        reader = readers[node.name][0] if len(readers[node.name]) == 1 and node.name not in graph.kept else node
        bias = graph.constant(reader.input[1]) if reader.op == "BiasAdd" else None
        if bias is not None:
            biases = graph.add_constant(f"{name}/bias", np.tile(bias, size * size))
            windows = graph.add("BiasAdd", f"{name}/biased", [windows, biases], T=dtype, data_format="NHWC")
            last = reader
        graph.become(last, "DepthToSpace", [windows], T=dtype, block_size=size, data_format="NHWC")
    return graph.finished()


def _side_by_side(graph: Graph, node: Node, window: tuple[int, int]) -> bool:
    """Whether every place of the input makes a square of the output, and these are all there is of it."""
    size = window[0]
    if node.attr["data_format"].s not in (b"", b"NHWC") or window != (size, size):
        return False
    if list(node.attr["strides"].list.i) != [1, size, size, 1] or {*node.attr["dilations"].list.i} - {1}:
        return False
    given, made = graph.shape(node.input[2])[1:3], graph.shape(node.name)[1:3]
    return given.is_fully_defined() and made.is_fully_defined() and [size * side for side in given] == list(made)

"""Batch normalisation that no product before it takes in, in the form that is fused with the activation behind it."""

import numpy as np

from export.rewriting.graph import Graph, GraphDef, Node

_OF_MAPS = 4  # axes


def fusable_normalisation(graph_def: GraphDef, kept) -> GraphDef:
    """`relu(x * a + b)`, numbers per channel of maps → relu of one FusedBatchNormV3, of mean 0 and variance 1.

    The processor's library goes through the maps once for that, and not three times.
    """
    graph = Graph(graph_def, kept)
    readers = graph.readers()
    for activation in graph.of_op("Relu"):
        total = graph.producer(activation.input[0])
        found = _scaled_and_shifted(graph, total)
        if found is None or total.name in graph.kept or len(readers[total.name]) != 1:
            continue
        x, scale, shift = found
        shape = graph.shape(x)
        if shape.rank != _OF_MAPS or shape[-1:] != scale.shape:
            continue
        values = {"scale": scale, "offset": shift, "mean": np.zeros_like(scale), "variance": np.ones_like(scale)}
        constants = [graph.add_constant(f"{total.name}/fusable/{key}", value) for key, value in values.items()]
        settings = {"epsilon": 0.0, "is_training": False, "data_format": "NHWC"}
        dtype = total.attr["T"]
        graph.become(total, "FusedBatchNormV3", [x, *constants], T=dtype, U=dtype, **settings)
    return graph.finished()


def _scaled_and_shifted(graph: Graph, total: Node) -> tuple[str, np.ndarray, np.ndarray] | None:
    """x, a and b of `x * a + b`, where a and b are float32 and `(channels,)`."""
    product_edge, shift = _with_numbers(graph, total, "Add", "AddV2")
    if shift is None:
        return None
    product = graph.producer(product_edge)
    x, scale = _with_numbers(graph, product, "Mul")
    if scale is None or scale.shape != shift.shape or product.name in graph.kept:
        return None
    return x, scale, shift


def _with_numbers(graph: Graph, node: Node, *ops: str) -> tuple[str, np.ndarray | None]:
    """What a node of these ops reads beside float32 `(n,)` that are constant, and these; None where it is another."""
    for edge, other in (node.input[:2], node.input[1::-1]) if node.op in ops else ():
        value = graph.constant(other)
        if value is not None and value.dtype == np.float32 and value.ndim == 1:
            return edge, value
    return "", None

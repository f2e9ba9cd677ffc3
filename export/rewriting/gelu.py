"""GELU, in the form in which TensorFlow fuses it with the matrix product before it."""

import math

import numpy as np

from export.rewriting.graph import Graph, GraphDef, Node


def fusable_gelu(graph_def: GraphDef, kept) -> GraphDef:
    """`(0.5 x) * erfc(-x * √½)`, Keras' form, → `(erf(x * √½) + 1) * 0.5 * x`.

    The two are the same function; Hendrycks & Gimpel 2016, §2.
    """
    graph = Graph(graph_def, kept)
    for last in graph.of_op("Mul"):
        x = _gelu_of(graph, last)
        if x is None:
            continue
        dtype, name = last.attr["T"], f"{last.name}/fusable"
        numbers = {key: graph.add_constant(f"{name}/{key}", np.float32(value)) for key, value in _NUMBERS.items()}
        scaled = graph.add("Mul", f"{name}/scaled", [x, numbers["root_of_half"]], T=dtype)
        erf = graph.add("Erf", f"{name}/erf", [scaled], T=dtype)
        above = graph.add("AddV2", f"{name}/above", [erf, numbers["one"]], T=dtype)
        share = graph.add("Mul", f"{name}/share", [above, numbers["half"]], T=dtype)
        graph.become(last, "Mul", [share, x], T=dtype)
    return graph.finished()


_NUMBERS = {"root_of_half": math.sqrt(0.5), "one": 1.0, "half": 0.5}


def _gelu_of(graph: Graph, last: Node) -> str | None:
    """The input x where a product is its GELU, in float32."""
    for half_edge, erfc_edge in (last.input[:2], last.input[1::-1]):
        half, erfc = graph.producer(half_edge), graph.producer(erfc_edge)
        if half.op != "Mul" or erfc.op != "Erfc":
            continue
        x = _other_than(graph, half, 0.5)
        scaled = graph.producer(erfc.input[0])
        if x is None or scaled.op != "Mul":
            continue
        negated = _other_than(graph, scaled, math.sqrt(0.5))
        if negated is not None and graph.producer(negated).op == "Neg" and graph.producer(negated).input[0] == x:
            return x
    return None


def _other_than(graph: Graph, product: Node, number: float) -> str | None:
    """The input of a product whose other one is this number, float32."""
    for edge, other in (product.input[:2], product.input[1::-1]):
        value = graph.constant(edge)
        if (
            value is not None
            and value.dtype == np.float32
            and value.size == 1
            and np.isclose(value.item(), number, rtol=1e-6)
        ):
            return other
    return None

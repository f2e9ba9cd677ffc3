"""Weights in bfloat16 are kept in it: half the bytes, and nothing to cast when they are loaded."""

import tensorflow as tf

from export.rewriting.graph import Graph, GraphDef

_FLOAT32, _BFLOAT16 = tf.float32.as_datatype_enum, tf.bfloat16.as_datatype_enum


def bfloat16_constants(graph_def: GraphDef, kept) -> GraphDef:
    """Cast of a float32 constant to bfloat16 → the constant that it gives."""
    graph = Graph(graph_def, kept)
    for node in graph.of_op("Cast"):
        if (node.attr["SrcT"].type, node.attr["DstT"].type) != (_FLOAT32, _BFLOAT16):
            continue
        value = graph.constant(node.input[0])
        if value is not None:
            made = graph.add_constant(f"{node.name}/constant", value.astype(tf.bfloat16.as_numpy_dtype))
            graph.become(node, "Identity", [made], T=tf.bfloat16)
    return graph.finished()

"""TensorFlow's own graph optimizer, run beforehand on a graph and its signatures."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.grappler import tf_optimizer

from export.rewriting.graph import GraphDef

CLEANING = ("pruning", "function", "constfold", "dependency")
"""What leaves sums and products as they are: "arithmetic" would merge a bias and a residual into one sum of three."""


def optimized(
    graph_def: GraphDef,
    signatures: Mapping[str, meta_graph_pb2.SignatureDef],
    optimizers: Sequence[str] = CLEANING,
) -> GraphDef:
    """The graph as these optimizers leave it; what signatures feed and fetch stays.

    Raises:
        tf.errors.OpError: the graph is none that TensorFlow runs.
    """
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
        meta_graph = tf.compat.v1.train.export_meta_graph(graph_def=graph_def, graph=graph)
    for name, signature in signatures.items():
        meta_graph.signature_def[name].CopyFrom(signature)
    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    options.optimizers.extend(optimizers)
    options.min_graph_nodes = -1  # small graphs, too
    options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.TWO
    return tf_optimizer.OptimizeGraph(config, meta_graph)

"""TensorFlow's own graph optimizer, run beforehand on a graph and its signatures."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence

from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.grappler import tf_optimizer

from export.rewriting.graph import GraphDef, with_signatures

CLEANING = ("pruning", "function", "constfold", "dependency")
"""What leaves sums and products as they are: "arithmetic" would merge a bias and a residual into one sum of three."""

MIXED_PRECISION = "auto_mixed_precision_onednn_bfloat16"
_OF_LISTS = "TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_CLEARLIST_REMOVE"
_LIST_OPS = (
    *("Concat", "ConcatLists", "ConcatV2", "FromTensor", "Gather", "GetItem", "PopBack", "PushBack", "PushBackBatch"),
    *("Scatter", "ScatterIntoExistingList", "ScatterV2", "SetItem", "Split", "Stack"),
)


def optimized(
    graph_def: GraphDef,
    signatures: Mapping[str, meta_graph_pb2.SignatureDef],
    optimizers: Sequence[str] = CLEANING,
) -> GraphDef:
    """The graph as these optimizers leave it; what signatures feed and fetch stays.

    Raises:
        tf.errors.OpError: the graph is none that TensorFlow runs.
    """
    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    options.optimizers.extend(optimizers)
    options.min_graph_nodes = -1  # small graphs, too
    options.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.TWO
    return tf_optimizer.OptimizeGraph(config, with_signatures(graph_def, signatures))


def in_bfloat16(graph_def: GraphDef, signatures: Mapping[str, meta_graph_pb2.SignatureDef]) -> GraphDef:
    """The graph with its products and convolutions in bfloat16, as far as TensorFlow thinks that safe.

    Lists of tensors stay as they are. TensorFlow would change those that a loop fills, but not what the loop, a
    function of its own, puts in.

    Raises:
        tf.errors.OpError: TensorFlow fails to.
    """
    with _environment(_OF_LISTS, ",".join(f"TensorList{op}" for op in _LIST_OPS)):
        return optimized(graph_def, signatures, [MIXED_PRECISION])


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable of the environment, which TensorFlow reads whenever it rewrites a graph."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before

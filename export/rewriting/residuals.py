"""Sums of maps of one shape are said to be that, so that they are fused with the convolution before them."""

from export.rewriting.graph import Graph, GraphDef

_OF_MAPS = 4  # axes


def residual_sums(graph_def: GraphDef, kept) -> GraphDef:
    """AddV2 of two maps of the same size → AddN, which never broadcasts.

    A sum that might broadcast keeps the processor's library from adding where the convolution writes its result. Maps
    count as the same size where all axes but the batch are known and equal.
    """
    graph = Graph(graph_def, kept)
    for node in graph.of_op("AddV2"):
        one, other = map(graph.shape, node.input[:2])
        if one.rank == other.rank == _OF_MAPS and one[1:].is_fully_defined() and one.as_list() == other.as_list():
            graph.become(node, "AddN", list(node.input[:2]), T=node.attr["T"], N=2)
    return graph.finished()

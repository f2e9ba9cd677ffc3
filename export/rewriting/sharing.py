"""A constant is in a graph once, however many nodes and signatures read it."""

from export.rewriting import weights
from export.rewriting.graph import Graph, GraphDef, Node, node_name

_SMALL = 256
"""Bytes below which it is not worth a look."""


def without_idle_waits(graph_def: GraphDef, kept) -> GraphDef:
    """No node waits for one without inputs, which is ready at once and checks nothing.

    Whatever follows a table in a function waits for it, constants too, which then could be shared with nobody.
    """
    graph = Graph(graph_def, kept)
    while True:  # who waits no more may be ready at once, too
        idle = {f"^{node.name}" for node in graph.nodes.values() if not node.input}
        waiting = [node for node in graph.nodes.values() if node.name not in graph.kept and idle & {*node.input}]
        if not waiting:
            return graph.finished()
        for node in waiting:
            node.input[:] = [edge for edge in node.input if edge not in idle]


def shared_constants(graph_def: GraphDef, kept) -> GraphDef:
    """Of constants with the same value, the first one for all who read any of them."""
    graph = Graph(graph_def, kept)
    first, instead = {}, {}
    for node in graph.of_op("Const", weights.OP):
        large = node.op == weights.OP or len(node.attr["value"].tensor.tensor_content) >= _SMALL
        if large and not node.input and node.name not in graph.kept:
            instead[node.name] = first.setdefault(_said(node), node.name)
    for node in graph.nodes.values():
        for i, edge in enumerate(node.input):
            if not edge.startswith("^"):
                node.input[i] = instead.get(node_name(edge), edge)
    return graph.finished()


def _said(constant: Node) -> frozenset:
    """All that its attributes say of what it holds."""
    said = {key: one.SerializeToString(deterministic=True) for key, one in constant.attr.items() if key[0] != "_"}
    return frozenset(said.items())

"""A GraphDef in work: nodes by name, who reads them, constants as arrays."""

import functools
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from export.rewriting import weights
from export.rewriting.weights import GraphDef, Node

_PASSED_ON = ("Identity", "StopGradient", "PreventGradient")


class Graph:
    """A copy of a GraphDef, to be changed.

    Args:
        graph_def: a graph without functions that matter to whoever changes it; those it has are kept.
        kept: names of nodes that are fed or fetched, whose names and meaning stay.
    """

    def __init__(self, graph_def: GraphDef, kept: Iterable[str]):
        self._given = graph_def
        self._rest = GraphDef()
        self._rest.CopyFrom(graph_def)
        self.nodes: dict[str, Node] = {node.name: node for node in self._rest.node}
        self.kept = frozenset(kept)
        self._folder = weights.folder_of(graph_def)

    def of_op(self, *ops: str) -> list[Node]:
        """The nodes of these ops, a list of its own: the graph may be changed while it is gone through."""
        return [node for node in self.nodes.values() if node.op in ops]

    def producer(self, edge: str) -> Node:
        """The node that an input names."""
        return self.nodes[node_name(edge)]

    def readers(self) -> dict[str, list[Node]]:
        """Node name → the nodes that read it, once for every input; those that wait for it are among them."""
        found: dict[str, list[Node]] = {name: [] for name in self.nodes}
        for node in self.nodes.values():
            for edge in node.input:
                found[node_name(edge)].append(node)
        return found

    def constant(self, edge: str) -> np.ndarray | None:
        """The value of an input that is constant, else None."""
        node = self.producer(edge)
        while node.op in _PASSED_ON:
            node = self.producer(node.input[0])
        if node.op == weights.OP:
            return weights.value(node)
        return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None

    def shape(self, edge: str) -> tf.TensorShape:
        """What is known of the shape of an input, in the graph as it was given."""
        return self._shaped.get_tensor_by_name(edge if ":" in edge else f"{edge}:0").shape

    @functools.cached_property
    def _shaped(self) -> tf.Graph:
        with tf.Graph().as_default() as shaped:
            tf.graph_util.import_graph_def(self._given, name="")
        return shaped

    def add(self, op: str, name: str, inputs: Sequence[str] = (), **attributes) -> str:
        """Add a node, and give its name, which is made another one where it is taken.

        Args:
            attributes: values as `attr_value_pb2.AttrValue` has them, or plain ones: a dtype, bool, int, bytes, str, or
                a list of ints or strings.
        """
        node = Node(name=unique(name, self.nodes), op=op, input=inputs)
        for key, value in attributes.items():
            node.attr[key].CopyFrom(attribute(value))
        self.nodes[node.name] = node
        return node.name

    def add_constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant, and give its name. A large one lies where those of the graph do, if they lie in files."""
        if value.nbytes >= weights.LARGE and self._folder:
            name = unique(name, self.nodes)
            self.nodes[name] = weights.node(name, value, self._folder)
            return name
        tensor = tf.make_tensor_proto(value)
        return self.add("Const", name, dtype=value.dtype, value=attr_value_pb2.AttrValue(tensor=tensor))

    def become(self, node: Node, op: str, inputs: Sequence[str], **attributes) -> None:
        """Make a node another one that keeps its name, and what it waits for."""
        waits_for = [edge for edge in node.input if edge.startswith("^")]
        made = Node(name=node.name, op=op, input=[*inputs, *waits_for], device=node.device)
        for key, value in attributes.items():
            made.attr[key].CopyFrom(attribute(value))
        node.CopyFrom(made)

    def finished(self) -> GraphDef:
        """The GraphDef, without nodes that nothing kept depends on."""
        needed, waiting = set(), list(self.kept)
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting += [node_name(edge) for edge in self.nodes[name].input]
        made = GraphDef(versions=self._rest.versions, library=self._rest.library)
        made.node.extend(node for name, node in self.nodes.items() if name in needed)
        return made


def with_signatures(
    graph_def: GraphDef, signatures: Mapping[str, meta_graph_pb2.SignatureDef]
) -> meta_graph_pb2.MetaGraphDef:
    """A graph as a SavedModel holds it."""
    # An empty graph is given for its collections alone, of which there are none.
    made = tf.compat.v1.train.export_meta_graph(graph_def=graph_def, graph=tf.Graph())
    for name, signature in signatures.items():
        made.signature_def[name].CopyFrom(signature)
    return made


def unique(name: str, taken: Container[str]) -> str:
    """The name, or one like it that is not taken."""
    found, number = name, 1
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def node_name(edge: str) -> str:
    """The node of an input such as "conv", "split:1" or "^ready"."""
    return edge.lstrip("^").partition(":")[0]


def attribute(value) -> attr_value_pb2.AttrValue:
    """A plain value as an attribute has it."""
    made = attr_value_pb2.AttrValue()
    if isinstance(value, attr_value_pb2.AttrValue):
        return value
    if isinstance(value, bool):
        made.b = value
    elif isinstance(value, int):
        made.i = value
    elif isinstance(value, float):
        made.f = value
    elif isinstance(value, (str, bytes)):
        made.s = value.encode() if isinstance(value, str) else value
    elif isinstance(value, (list, tuple)):
        if value and isinstance(value[0], int):
            made.list.i.extend(value)
        else:
            made.list.s.extend(each.encode() if isinstance(each, str) else each for each in value)
    else:
        made.type = tf.as_dtype(value).as_datatype_enum
    return made

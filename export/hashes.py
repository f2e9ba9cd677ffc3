"""Hashes that are equal for equal exports.

TensorFlow counts what it names: the same model exported twice has other names of layers, functions and tables, and so
other bytes. Here names count for nothing, but for those by which clients ask.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorflow.core.framework import attr_value_pb2, function_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from export import pieces, saved_model

_NAMES = frozenset(["_class", "_gradient_op_type", "_output_shapes", "container", "debug_name", "shared_name"])
"""Attributes that hold names made by counting, or what follows from the rest."""


def hashes(folder: Path, described: Mapping[str, Any], weights: str) -> dict[str, str]:
    """What → SHA-256 of a SavedModel.

    Args:
        folder: where it is.
        described: its signatures, as `saved_model.describe` gives them.
        weights: the hash of its weights.

    Returns:
        `graph` (operations, how they are put together, constants), `signatures` and `weights`.
    """
    file = folder / saved_model.PROTO
    return {
        "graph": of_graph(pieces.without_nodes(file), pieces.nodes(file)),
        "signatures": _digest(json.dumps(described, sort_keys=True).encode()),
        "weights": weights,
    }


def of_graph(meta_graph: meta_graph_pb2.MetaGraphDef, nodes: Iterable[node_def_pb2.NodeDef]) -> str:
    """SHA-256 of what is computed for the signatures, whatever nodes are called and in whatever order they stand.

    Args:
        meta_graph: with the signatures, and the functions of the graph.
        nodes: those of the graph. The ones that read no other are not kept.
    """
    hashed = _Nodes(nodes, {}, _Functions(meta_graph.graph_def.library.function))
    parts = []
    for name, signature in sorted(meta_graph.signature_def.items()):
        for side in (signature.inputs, signature.outputs):
            parts += [f"{name} {key} {hashed.of_edge(info.name)}" for key, info in sorted(side.items())]
    return _digest("\n".join(parts).encode())


class _Functions:
    """The functions of a graph, each hashed once, when it is called."""

    def __init__(self, functions: Iterable[function_pb2.FunctionDef]):
        self._functions = {function.signature.name: function for function in functions}
        self._hashes: dict[str, str] = {}

    def hash(self, name: str) -> str:
        """Of a function, or of an operation that is none, its name."""
        if name in self._functions and name not in self._hashes:
            function = self._functions[name]
            arguments = {one.name: f"argument {i}" for i, one in enumerate(function.signature.input_arg)}
            nodes = _Nodes(function.node_def, arguments, self)
            outputs = [nodes.of_edge(function.ret[one.name]) for one in function.signature.output_arg]
            effects = sorted(nodes.of_edge(f"^{node}") for node in function.control_ret.values())
            self._hashes[name] = _digest("\n".join([*outputs, *effects]).encode())
        return self._hashes.get(name, name)


class _Nodes:
    """Nodes that read one another, each hashed with all that it depends on."""

    def __init__(self, nodes: Iterable[node_def_pb2.NodeDef], arguments: Mapping[str, str], functions: _Functions):
        self._nodes = {}
        self._hashes = dict(arguments)
        self._functions = functions
        for node in nodes:
            if node.input:
                self._nodes[node.name] = node
            else:  # constants, which may be large
                self._hashes[node.name] = self._of_node(node)

    def of_edge(self, edge: str) -> str:
        """Of an input such as "conv:0" or "^ready"."""
        name, *rest = edge.removeprefix("^").split(":")
        waiting = [name]
        while waiting:
            node = waiting[-1]
            missing = [] if node in self._hashes else [n for n in self._read_by(node) if n not in self._hashes]
            if not missing:
                waiting.pop()
                if node not in self._hashes:
                    self._hashes[node] = self._of_node(self._nodes[node])
            waiting += missing
        return ":".join(["^" * edge.startswith("^") + self._hashes[name], *([] if rest == ["0"] else rest)])

    def _read_by(self, name: str) -> list[str]:
        return [edge.removeprefix("^").partition(":")[0] for edge in self._nodes[name].input]

    def _of_node(self, node: node_def_pb2.NodeDef) -> str:
        read = [self.of_edge(edge) for edge in node.input]
        parts = [
            self._functions.hash(node.op),
            *(e for e in read if e[0] != "^"),
            *sorted(e for e in read if e[0] == "^"),
        ]
        digest = hashlib.sha256("\n".join(parts).encode())
        for name in sorted(node.attr.keys() - _NAMES):
            digest.update(f"\n{name}=".encode())
            digest.update(self._of_attribute(node.attr[name]))
        return digest.hexdigest()

    def _of_attribute(self, value: attr_value_pb2.AttrValue) -> bytes:
        made = value
        if value.HasField("func") or value.list.func:  # else it is no copy: constants may be large
            made = attr_value_pb2.AttrValue()
            made.CopyFrom(value)
            for called in [made.func] if made.HasField("func") else made.list.func:
                called.name = self._functions.hash(called.name)
        return made.SerializeToString(deterministic=True)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

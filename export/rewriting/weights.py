"""Large constants of a graph in work lie in files, which nodes name, so that copies of a graph are small.

Such a node is TensorFlow's own for that, `ImmutableConst`: what is known of shapes and types stays known. A file
is called by the hash of what it holds, so that equal constants have equal nodes.
"""

import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2, node_def_pb2

GraphDef = graph_pb2.GraphDef
Node = node_def_pb2.NodeDef

OP = "ImmutableConst"
LARGE = 64 * 1024
"""Bytes from which on a constant lies in a file."""
LARGEST = 2**31 - 1
"""Bytes of a protocol buffer."""

_FILE = "memory_region_name"


def node(name: str, value: np.ndarray, folder: Path) -> Node:
    """The node of a constant, whose file is written."""
    data = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    file = folder / hashlib.sha256(data).hexdigest()
    if not file.exists():
        data.tofile(file)
    made = Node(name=name, op=OP)
    made.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    made.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    made.attr[_FILE].s = bytes(file)
    return made


def value(node: Node) -> np.ndarray:
    """What its file holds."""
    dtype = tf.as_dtype(node.attr["dtype"].type).as_numpy_dtype
    return np.frombuffer(_file(node).read_bytes(), dtype).reshape(shape(node))


def shape(node: Node) -> tuple[int, ...]:
    """Of its value."""
    return tuple(dim.size for dim in node.attr["shape"].shape.dim)


def size(node: Node) -> int:
    """Bytes of its value."""
    return _file(node).stat().st_size


def become_constant(node: Node) -> None:
    """Make it a node that holds its value."""
    data, tensor = _file(node).read_bytes(), node.attr["value"].tensor
    tensor.dtype = node.attr["dtype"].type
    tensor.tensor_shape.CopyFrom(node.attr["shape"].shape)
    tensor.tensor_content = data
    del node.attr["shape"], node.attr[_FILE]
    node.op = "Const"


def within(graph_def: GraphDef, kept=()) -> GraphDef:
    """The graph with all of its constants in it.

    Raises:
        ValueError: it is too large for a protocol buffer.
    """
    whole = graph_def.ByteSize() + sum(size(node) for node in graph_def.node if node.op == OP)
    if whole > LARGEST:
        raise ValueError(f"A graph with its constants must be smaller than {LARGEST:,} bytes. Received: {whole:,}.")
    made = GraphDef()
    made.CopyFrom(graph_def)
    for node in made.node:
        if node.op == OP:
            become_constant(node)
    return made


def digest(node: Node) -> str:
    """Of its value: SHA-256."""
    return _file(node).name


def folder_of(graph_def: GraphDef) -> Path | None:
    """Where the large constants of a graph lie; None of a graph that has none."""
    return next((_file(node).parent for node in graph_def.node if node.op == OP), None)


def tensor(node: Node) -> tf.Tensor:
    """Its value as TensorFlow has it, without a copy."""
    return tf.raw_ops.ImmutableConst(
        dtype=node.attr["dtype"].type, shape=shape(node), memory_region_name=str(_file(node))
    )


def _file(node: Node) -> Path:
    return Path(node.attr[_FILE].s.decode())

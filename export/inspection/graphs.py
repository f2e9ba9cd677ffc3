"""The graphs of a SavedModel: the main one, and the functions of its library, whether they are called or not."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, node_def_pb2, tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from export.inspection import checkpoint, operations
from export.inspection.shown import shown

MOST_EXPANDED = 2**30
"""Bytes that all constants of a graph may take beyond those that stand in the file."""

_VALUES = tuple(each.name for each in tensor_pb2.TensorProto.DESCRIPTOR.fields if each.name.endswith("_val"))
_STRING = 16  # bytes that one takes at least


@dataclass(frozen=True)
class Body:
    """The main graph, or a function."""

    name: str
    nodes: Sequence[node_def_pb2.NodeDef]


def bodies(graph: meta_graph_pb2.MetaGraphDef) -> Iterator[Body]:
    """The main graph, then all functions."""
    yield Body("the main graph", graph.graph_def.node)
    for function in graph.graph_def.library.function:
        yield Body(f"function {function.signature.name}", function.node_def)


def problems(graph: meta_graph_pb2.MetaGraphDef) -> list[str]:
    """What stands against a graph, one sentence each."""
    functions = {function.signature.name for function in graph.graph_def.library.function}
    return [
        *_refused_operations(graph, functions),
        *checkpoint.problems(graph),
        *_function_names(graph, functions),
        *_expanding_constants(graph),
        *_foreign_objects(graph),
        *_assets(graph),
    ]


def tensor_bytes(tensor: tensor_pb2.TensorProto) -> tuple[int, int]:
    """Bytes that a tensor takes in memory, and of those that stand in the message.

    Raises:
        ValueError: it is no array, or its shape or type is none.
    """
    if tensor.dtype in (types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT):
        raise ValueError("no array, but an object")
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in sizes):
        raise ValueError("no shape")
    try:
        each = tf.as_dtype(tensor.dtype).size or _STRING
    except TypeError as error:
        raise ValueError("no type") from error
    given = len(tensor.tensor_content) or each * max(len(getattr(tensor, name)) for name in _VALUES)
    return math.prod(sizes) * each, given


def _refused_operations(graph: meta_graph_pb2.MetaGraphDef, functions: set[str]) -> Iterator[str]:
    known = operations.SAFE | operations.CHECKPOINT | functions
    for body in bodies(graph):
        for name in dict.fromkeys(node.op for node in body.nodes if node.op not in known):
            yield shown(f"{name} in {body.name}: {operations.reason(name)}")


def _function_names(graph: meta_graph_pb2.MetaGraphDef, functions: set[str]) -> Iterator[str]:
    for name in sorted(functions):
        if name in operations.SAFE | operations.CHECKPOINT or operations.is_registered(name):
            yield shown(f"function {name} is called as an operation is")
    for body in bodies(graph):
        for node in body.nodes:
            for name in called_by(node):
                if name not in functions:
                    yield shown(f"{node.op} in {body.name} calls function {name}, which is not there")


def called_by(node: node_def_pb2.NodeDef) -> Iterator[str]:
    """Names of the functions that a node is given."""
    for value in node.attr.values():
        yield from _functions_in(value)


def _functions_in(value: attr_value_pb2.AttrValue) -> Iterator[str]:
    for called in (*([value.func] if value.HasField("func") else []), *value.list.func):
        yield called.name
        for further in called.attr.values():
            yield from _functions_in(further)


def _expanding_constants(graph: meta_graph_pb2.MetaGraphDef) -> Iterator[str]:
    expanded = 0
    for body in bodies(graph):
        for node in body.nodes:
            for value in node.attr.values():
                for tensor in (*([value.tensor] if value.HasField("tensor") else []), *value.list.tensor):
                    try:
                        taken, given = tensor_bytes(tensor)
                    except ValueError as error:
                        yield shown(f"{node.name} in {body.name} is a constant of {error}")
                        continue
                    expanded += max(0, taken - given)
    if expanded > MOST_EXPANDED:
        yield f"constants take {expanded:,} bytes more than the file holds. Accepted: {MOST_EXPANDED:,}"


def _foreign_objects(graph: meta_graph_pb2.MetaGraphDef) -> Iterator[str]:
    for each in graph.object_graph_def.nodes:
        if each.user_object.identifier.startswith("_tf_keras") or each.user_object.metadata:
            yield shown(
                f"object {each.user_object.identifier}: Keras would rebuild it from what the file says, code too"
            )


def _assets(graph: meta_graph_pb2.MetaGraphDef) -> Iterator[str]:
    for name in asset_names(graph):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name or not name:
            yield shown(f"asset {name!r} lies outside of assets/")


def asset_names(graph: meta_graph_pb2.MetaGraphDef) -> list[str]:
    """Names of the files that a server looks for in `assets/`, as TensorFlow 2 and TensorFlow 1 say them."""
    names = [asset.filename for asset in graph.asset_file_def]
    if "saved_model_assets" in graph.collection_def:
        for packed in graph.collection_def["saved_model_assets"].any_list.value:
            asset = meta_graph_pb2.AssetFileDef()
            packed.Unpack(asset)
            names.append(asset.filename)
    return names

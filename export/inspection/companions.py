"""What lies beside the SavedModel for other runtimes: whether it stays within its file and its runtime's operations."""

import struct
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError

from export.companions import COMPANIONS
from export.inspection.shown import shown

_OWN_DOMAINS = frozenset(["", "ai.onnx", "ai.onnx.ml"])
_CUSTOM = 32  # BuiltinOperator.CUSTOM of LiteRT's schema


def problems(folder: Path) -> list[str]:
    """What stands against the companions of a version, one sentence each."""
    checks = {"onnx": _onnx, "litert": _litert}
    files = {name: folder / COMPANIONS[name].file for name in checks}
    return [
        shown(f"{file.name}: {why}") for name, file in files.items() if file.is_file() for why in checks[name](file)
    ]


def _onnx(file: Path) -> Iterator[str]:
    try:
        import onnx
    except ImportError:
        yield "cannot be read here. Accepted: pip install servable-zoo[onnx], or the version without it"
        return
    try:
        model = onnx.ModelProto.FromString(file.read_bytes())
    except DecodeError:
        yield "no ONNX model"
        return
    graphs = [graph for body in (model.graph, *model.functions) for graph in _graphs(body)]
    foreign = {node.domain for graph in graphs for node in graph.node} - _OWN_DOMAINS
    if foreign:
        yield f"operations of {', '.join(sorted(foreign))}, which ONNX does not have"
    tensors = (tensor for graph in graphs for tensor in _tensors(graph))
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data for tensor in tensors):
        yield "data that lies in other files"


def _graphs(graph) -> Iterator:
    """A graph or function, and those within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _tensors(graph) -> Iterator:
    yield from getattr(graph, "initializer", ())  # functions have none
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
        for sparse in (
            *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
            *attribute.sparse_tensors,
        ):
            yield from (sparse.values, sparse.indices)


def _litert(file: Path) -> Iterator[str]:
    from tensorflow.lite.python import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(file.read_bytes())
        codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
        custom = {
            (code.CustomCode() or b"").decode(errors="replace")
            for code in codes
            if _CUSTOM in (code.BuiltinCode(), code.DeprecatedBuiltinCode())
        }
    except (struct.error, IndexError, TypeError, ValueError) as error:
        yield f"no LiteRT model: {error}"
        return
    for name in sorted(custom):
        whose = "TensorFlow's" if name.startswith("Flex") else "somebody's own"
        yield f"operation {name}, which is {whose} and not LiteRT's"

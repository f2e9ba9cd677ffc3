"""The message of a SavedModel, read piece by piece, so that its constants are not held all together.

Read whole it is held twice: as the bytes of its file, and as what is made of them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tensorflow.core.framework import graph_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

_META_GRAPHS = saved_model_pb2.SavedModel.META_GRAPHS_FIELD_NUMBER
_GRAPH = meta_graph_pb2.MetaGraphDef.GRAPH_DEF_FIELD_NUMBER
_NODE = graph_pb2.GraphDef.NODE_FIELD_NUMBER

_VARINT, _SIZED = 0, 2
_FIXED = {1: 8, 5: 4}
"""Wire types (protobuf.dev/programming-guides/encoding), the last ones with their bytes."""


class _Field(NamedTuple):
    """A field of a message: its number, where in the file it starts, where its content does, and where it ends."""

    number: int
    start: int
    content: int
    end: int


def without_nodes(path: Path) -> meta_graph_pb2.MetaGraphDef:
    """The first meta graph in a file; its graph has functions, and no nodes of its own.

    Raises:
        ValueError: the file holds none, or ends within it.
        OSError: it cannot be read.
    """
    made = meta_graph_pb2.MetaGraphDef()
    with path.open("rb") as file:
        for field in _of_meta_graph(file):
            if field.number != _GRAPH:
                made.MergeFromString(_read(file, field.start, field.end))
                continue
            for part in _fields(file, field.content, field.end):
                if part.number != _NODE:
                    made.graph_def.MergeFromString(_read(file, part.start, part.end))
    return made


def nodes(path: Path) -> Iterator[node_def_pb2.NodeDef]:
    """The nodes that `without_nodes` leaves out, one after the other.

    Raises:
        ValueError: as there.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for field in _of_meta_graph(file):
            if field.number == _GRAPH:
                for part in _fields(file, field.content, field.end):
                    if part.number == _NODE:
                        yield node_def_pb2.NodeDef.FromString(_read(file, part.content, part.end))


def _of_meta_graph(file: BinaryIO) -> Iterator[_Field]:
    """The fields of the first meta graph. Its graph may come in parts, which count as one."""
    for field in _fields(file, 0, file.seek(0, 2)):
        if field.number == _META_GRAPHS:
            return _fields(file, field.content, field.end)
    raise ValueError(f"{file.name} holds no graph.")


def _fields(file: BinaryIO, start: int, end: int) -> Iterator[_Field]:
    """The fields of a message that stands there in a file."""
    while start < end:
        file.seek(start)
        number, wire_type = divmod(_varint(file), 8)
        if wire_type in _FIXED:
            size = _FIXED[wire_type]
        elif wire_type in (_VARINT, _SIZED):
            value = _varint(file)
            size = value if wire_type == _SIZED else 0
        else:
            raise ValueError(f"{file.name} is no protocol buffer.")
        content = file.tell()
        if content + size > end:
            raise ValueError(f"{file.name} ends too early.")
        yield _Field(number, start, content, content + size)
        start = content + size


def _varint(file: BinaryIO) -> int:
    """A number: seven bits in a byte, the lowest first; the last byte is below 128."""
    number = shift = 0
    while byte := file.read(1):
        number |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return number
        shift += 7
    raise ValueError(f"{file.name} ends too early.")


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)

"""A SavedModel's message read piece by piece: it says what it says as a whole."""

import pytest
from tensorflow.core.framework import graph_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from export import pieces, saved_model
from export.rewriting.freezing import freeze


def put_together(file):
    made = pieces.without_nodes(file)
    assert not made.graph_def.node
    made.graph_def.node.extend(pieces.nodes(file))
    return made


@pytest.mark.parametrize("kind", ["plain", "frozen"])
def test_the_pieces_are_the_whole(kind, classifier_version, tmp_path):
    folder = classifier_version.path
    if kind == "frozen":
        freeze(folder, tmp_path).write(folder := tmp_path / "frozen")
    file = folder / saved_model.PROTO
    assert put_together(file) == saved_model.read(file).meta_graphs[0]


def test_a_graph_may_come_in_parts_and_among_fields_of_every_kind(tmp_path):
    parts = [meta_graph_pb2.MetaGraphDef(graph_def={"node": [{"name": name}], "version": 3}) for name in "ab"]
    meta = b"".join(part.SerializeToString() for part in parts)
    unknown = bytes([15 << 3 | 1, *range(8), 15 << 3 | 5, *range(4), 15 << 3 | 0, 200, 1])
    size = len(meta + unknown)
    saved = saved_model_pb2.SavedModel(saved_model_schema_version=300).SerializeToString()
    (tmp_path / "file").write_bytes(unknown + saved + bytes([2 << 3 | 2, size]) + unknown + meta)
    assert size < 128
    assert put_together(tmp_path / "file").graph_def == graph_pb2.GraphDef(
        node=[node_def_pb2.NodeDef(name=name) for name in "ab"], version=3
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no graph"),
        (b"\x08\x01", "no graph"),
        (b"\x12\xff", "early"),
        (b"\x12\x05\x0a", "early"),
        (b"\x13", "no prot"),
    ],
)
def test_what_is_no_saved_model_is_told(data, message, tmp_path):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        pieces.without_nodes(tmp_path / "file")
    with pytest.raises(ValueError, match=message):
        list(pieces.nodes(tmp_path / "file"))

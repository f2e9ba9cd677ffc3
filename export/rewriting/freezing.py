"""A SavedModel whose variables are constants: one graph for all its signatures, without functions.

It is read as TensorFlow Serving reads it, a session on the main graph, so that whatever it serves can be frozen.
Constants are in the graph once, however many signatures use them. Tables stay tables, filled when it is loaded.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_from_session_graph
from tensorflow.python.util import deprecation

from export import saved_model, text_ops
from export.rewriting import grappler
from export.rewriting.graph import GraphDef, node_name, with_signatures
from export.rewriting.loops import mark_taken_apart
from export.rewriting.sharing import shared_constants, without_idle_waits

TAG = "serve"
INIT = "__saved_model_init_op"
LARGEST = 2**31 - 1
"""Bytes of a protocol buffer."""

_tf1 = tf.compat.v1


@dataclass(frozen=True)
class Frozen:
    """A graph without variables, and what it answers.

    Attributes:
        graph_def: the graph.
        signatures: by name, the one that fills its tables among them.
    """

    graph_def: GraphDef
    signatures: Mapping[str, meta_graph_pb2.SignatureDef]

    @property
    def kept(self) -> frozenset[str]:
        """The nodes that signatures feed and fetch."""
        infos = [info for one in self.signatures.values() for info in (*one.inputs.values(), *one.outputs.values())]
        return frozenset(node_name(info.name) for info in infos)

    def after(self, *passes) -> "Frozen":
        """The same behind passes `(graph_def, kept) -> graph_def`."""
        graph_def = self.graph_def
        for each in passes:
            graph_def = each(graph_def, self.kept)
        return replace(self, graph_def=graph_def)

    def write(self, folder: Path) -> None:
        """Write the SavedModel into a folder.

        Raises:
            ValueError: it is too large for a protocol buffer.
            OSError: it cannot be written.
        """
        saved = saved_model_pb2.SavedModel(saved_model_schema_version=1)
        saved.meta_graphs.append(with_signatures(self.graph_def, self.signatures))
        saved.meta_graphs[0].meta_info_def.tags.append(TAG)
        size = saved.ByteSize()
        if size > LARGEST:
            raise ValueError(f"A frozen graph must be smaller than {LARGEST:,} bytes. Received: {size:,}.")
        folder.mkdir(exist_ok=True)
        (folder / saved_model.PROTO).write_bytes(saved.SerializeToString(deterministic=True))


def freeze(folder: Path, names: Collection[str] | None = None) -> Frozen:
    """Read a SavedModel, and make its variables constants.

    Args:
        folder: where it is.
        names: the signatures to keep; None keeps all.

    Raises:
        tf.errors.OpError: it cannot be loaded.
    """
    text_ops.register()
    meta_graph = saved_model.read(folder / saved_model.PROTO).meta_graphs[0]
    signatures = {k: one for k, one in meta_graph.signature_def.items() if names is None or k in names}
    with _tf1.Graph().as_default() as graph, deprecation.silence():
        _tf1.import_graph_def(meta_graph.graph_def, name="")
        with _tf1.Session() as session:
            saver = meta_graph.saver_def
            if (folder / "variables").exists():
                prefix = str(folder / "variables" / "variables")
                session.run(graph.get_operation_by_name(saver.restore_op_name), {saver.filename_tensor_name: prefix})
            fetched = {node_name(info.name) for one in signatures.values() for info in one.outputs.values()}
            graph_def = convert_variables_to_constants_from_session_graph(
                session, meta_graph.graph_def, sorted(fetched)
            )
    # Loops and branches stay nodes, which whoever serves the graph takes apart as before: taken apart here, constants
    # would be moved out of loops.
    mark_taken_apart(graph_def, False)
    cleaned = grappler.cleaned(graph_def, signatures)
    mark_taken_apart(cleaned, True)
    for node in cleaned.node:
        node.attr.pop("_output_shapes", None)  # what was known of functions that are now inlined, which may differ
    return Frozen(cleaned, signatures).after(without_idle_waits, shared_constants)

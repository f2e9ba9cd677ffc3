"""A SavedModel whose variables are constants: one graph for all its signatures, without functions.

Constants are in the graph once, however many signatures use them. Large ones lie in files until the graph is written;
see `export.rewriting.weights`. Tables stay tables, filled when it is loaded.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_from_session_graph
from tensorflow.python.util import deprecation

from export import memory, saved_model, text_ops
from export.rewriting import grappler, weights, writing
from export.rewriting.graph import GraphDef, Node, node_name
from export.rewriting.loops import mark_taken_apart
from export.rewriting.sharing import shared_constants, without_idle_waits

INIT = "__saved_model_init_op"


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
        """Write the SavedModel into a folder; see `export.rewriting.writing`.

        Raises:
            OSError: it cannot be written.
        """
        writing.write(self.graph_def, self.signatures, folder)


def freeze(folder: Path, scratch: Path, names: Collection[str] | None = None) -> Frozen:
    """Read a SavedModel, and make its variables constants.

    Args:
        folder: where it is.
        scratch: folder for its large constants, which is there as long as they are needed.
        names: the signatures to keep; None keeps all.

    Raises:
        tf.errors.OpError: it cannot be read.
    """
    text_ops.register()
    meta_graph = saved_model.read(folder / saved_model.PROTO).meta_graphs[0]
    signatures = {k: one for k, one in meta_graph.signature_def.items() if names is None or k in names}
    fetched = {node_name(info.name) for one in signatures.values() for info in one.outputs.values()}
    variables = _Variables(meta_graph, folder / "variables" / "variables", scratch)
    with deprecation.silence():
        graph_def = convert_variables_to_constants_from_session_graph(variables, meta_graph.graph_def, sorted(fetched))
    graph_def = variables.with_large_ones(graph_def)
    # Loops and branches stay nodes, which whoever serves the graph takes apart as before: taken apart here, constants
    # would be moved out of loops.
    mark_taken_apart(graph_def, False)
    cleaned = grappler.optimized(graph_def, signatures)
    mark_taken_apart(cleaned, True)
    del graph_def
    memory.give_back()  # what the functions held that are now inlined
    for node in cleaned.node:
        node.attr.pop("_output_shapes", None)  # what was known of functions that are now inlined, which may differ
    return Frozen(cleaned, signatures).after(without_idle_waits, shared_constants)


class _Variables:
    """The variables of a SavedModel, read from its checkpoint one by one. TensorFlow asks it as it would a session."""

    def __init__(self, meta_graph: meta_graph_pb2.MetaGraphDef, checkpoint: Path, scratch: Path):
        self._meta_graph, self._checkpoint, self._scratch = meta_graph, checkpoint, scratch
        self._large: dict[str, Node] = {}

    def run(self, reads: Sequence[str]) -> list[np.ndarray]:
        """Values by the names of edges such as "kernel/Read/ReadVariableOp:0"; of the large ones, stand-ins."""
        keys = dict(_checkpoint_keys(self._meta_graph))
        reader = tf.train.load_checkpoint(str(self._checkpoint))
        return [self._read(name, reader.get_tensor(keys[name])) for name in map(_variable_of, reads)]

    def _read(self, name: str, value: np.ndarray) -> np.ndarray:
        if value.nbytes < weights.LARGE:
            return value
        self._large[name] = weights.node(name, value, self._scratch)
        return _ShapeAlone.of(value)

    def with_large_ones(self, graph_def: GraphDef) -> GraphDef:
        """A graph in which constants have the names of variables, with those that were too large to be in it."""
        made = GraphDef(versions=graph_def.versions, library=graph_def.library)
        made.node.extend(self._large.get(node.name, node) for node in graph_def.node)
        return made


class _ShapeAlone(np.ndarray):
    """A zero that says it has another shape. The constant that TensorFlow makes of it has that, and nearly no bytes."""

    shape = ()

    @classmethod
    def of(cls, value: np.ndarray) -> "_ShapeAlone":
        """In the place of a value."""
        made = np.zeros(1, value.dtype).view(cls)
        made.shape = value.shape
        return made


def _variable_of(read: str) -> str:
    return read.removesuffix(":0").removesuffix("/Read/ReadVariableOp")


def _checkpoint_keys(meta_graph: meta_graph_pb2.MetaGraphDef) -> Iterator[tuple[str, str]]:
    """Names of variables' nodes, and what each is called in the checkpoint, as the function that restores them has it.

    It reads all that the checkpoint holds, and gives each variable, an argument, one of its results.
    """
    main = {node.name: node for node in meta_graph.graph_def.node}
    call = main[meta_graph.saver_def.restore_op_name]
    functions = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    restoring = functions[call.attr["f"].func.name]
    given = dict(zip((one.name for one in restoring.signature.input_arg), call.input, strict=True))
    nodes = {node.name: node for node in restoring.node_def}
    for node in restoring.node_def:
        if node.op == "AssignVariableOp":
            source = node.input[1]
            while nodes[node_name(source)].op == "Identity":
                source = nodes[node_name(source)].input[0]
            name, _, index = source.split(":")
            keys = nodes[node_name(nodes[name].input[1])].attr["value"].tensor.string_val
            yield node_name(given[node.input[0]]), keys[int(index)].decode()

"""Whether a graph reads and writes checkpoints only as every SavedModel does.

A server restores the variables by running the saver's restore operation, fed with the name of the files in the
version's folder. `tf.saved_model.save` writes that operation, and the one that saves, as a call of a function each, to
which the placeholder for that name is given. So a checkpoint's operations are allowed in a function that

- nothing calls but the saver's two operations, which no signature and no initialisation can reach, and
- whose file names are made of its first argument, with nothing joined to it but what TensorFlow itself joins.
"""

from collections.abc import Iterator

from tensorflow.core.framework import function_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from export.inspection import graphs, operations
from export.inspection.shown import shown

_FILE_NAMES = {"MergeV2Checkpoints": (0, 1), "RestoreV2": (0,), "SaveV2": (0,), "ShardedFilename": (0,)}
"""Operation → which of its inputs name files."""
_MAKING_NAMES = frozenset(["Identity", "Pack", "Select", "ShardedFilename", "StaticRegexFullMatch", "StringJoin"])
_JOINED = frozenset([b"", b".part", b"_temp/part"])
_INITIALISATION = ("saved_model_main_op", "legacy_init_op")


def problems(graph: meta_graph_pb2.MetaGraphDef) -> Iterator[str]:
    """One sentence for each place where a checkpoint could be any file."""
    for node in graph.graph_def.node:
        if node.op in operations.CHECKPOINT:
            yield f"{node.op} in the main graph: a checkpoint is restored by a function of its own"
    own = _called_by_saver_alone(graph)
    for function in graph.graph_def.library.function:
        name = function.signature.name
        used = sorted({node.op for node in function.node_def} & operations.CHECKPOINT)
        if used and name not in own:
            yield shown(f"{', '.join(used)} in function {name}, which is not called by the saver alone")
        elif used and not _names_its_argument(function):
            yield shown(f"{', '.join(used)} in function {name}: the files are not those that the server names")


def _called_by_saver_alone(graph: meta_graph_pb2.MetaGraphDef) -> set[str]:
    saver = graph.saver_def
    main = {node.name: node for node in graph.graph_def.node}
    file_name = main.get(_producer(saver.filename_tensor_name))
    if file_name is None or file_name.op != "Placeholder":
        return set()
    savers = {saver.restore_op_name, _producer(saver.save_tensor_name)} - _reached(graph, main)
    own = {
        called
        for name in savers & main.keys()
        if main[name].input and _producer(main[name].input[0]) == file_name.name
        for called in graphs.called_by(main[name])
    }
    others = [node for node in graph.graph_def.node if node.name not in savers]
    others += [node for function in graph.graph_def.library.function for node in function.node_def]
    return own - {called for node in others for called in (node.op, *graphs.called_by(node))}


def _reached(graph: meta_graph_pb2.MetaGraphDef, main: dict[str, node_def_pb2.NodeDef]) -> set[str]:
    """Nodes of the main graph that a request, or the initialisation, can run."""
    infos = [info for one in graph.signature_def.values() for info in (*one.inputs.values(), *one.outputs.values())]
    waiting = [_producer(info.name) for info in infos]
    for key in _INITIALISATION:
        if key in graph.collection_def:
            waiting += map(_producer, graph.collection_def[key].node_list.value)
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in main and name not in reached:
            reached.add(name)
            waiting += map(_producer, main[name].input)
    return reached


def _names_its_argument(function: function_pb2.FunctionDef) -> bool:
    nodes = {node.name: node for node in function.node_def}
    first = function.signature.input_arg[0].name if function.signature.input_arg else None
    waiting = [node.input[i] for node in function.node_def for i in _FILE_NAMES.get(node.op, ()) if i < len(node.input)]
    seen = set()
    while waiting:
        name = _producer(waiting.pop())
        if name == first or name in seen:
            continue
        seen.add(name)
        node = nodes.get(name)
        if node is None:
            return False
        if node.op == "Const":
            if not set(node.attr["value"].tensor.string_val) <= _JOINED:
                return False
        elif node.op in _MAKING_NAMES:
            waiting += [edge for edge in node.input if not edge.startswith("^")]
        else:
            return False
    return True


def _producer(edge: str) -> str:
    """The node, or argument, that an edge such as "conv:0" or "^ready" comes from."""
    return edge.removeprefix("^").partition(":")[0]

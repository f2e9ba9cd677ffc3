"""From a graph whose large constants lie in files to a SavedModel.

Constants are in the graph that is written, where the processor's library prepares them once for all requests. But
TensorFlow holds every one of them up to fifteen times while it loads and optimizes a graph. So where there are more
than `MOST` bytes of large ones, they are written as variables, which it holds once.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2, saver_pb2

from export import saved_model
from export.rewriting import weights
from export.rewriting.graph import GraphDef, Node, unique, with_signatures

TAG = "serve"
MOST = 2**28
"""Bytes of large constants that are written as such."""
SHARD = 2**26
"""Bytes of a file of variables, unless one of them is larger."""

_META_GRAPHS = b"\x12"
"""How the field `meta_graphs` of a `SavedModel` begins, before its size."""


def write(graph_def: GraphDef, signatures: Mapping[str, meta_graph_pb2.SignatureDef], folder: Path) -> None:
    """Write a SavedModel.

    Args:
        graph_def: the graph.
        signatures: what it answers.
        folder: where the SavedModel goes.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(exist_ok=True)
    large = [node for node in graph_def.node if node.op == weights.OP]
    light = GraphDef(versions=graph_def.versions, library=graph_def.library)
    light.node.extend(node for node in graph_def.node if node.op != weights.OP)
    if sum(map(weights.size, large)) > MOST:
        _write_checkpoint(large, str(folder / "variables" / "variables"))
        light, saver = _with_variables(light, large)
        meta_graph, constants = with_signatures(light, signatures), []
        meta_graph.saver_def.CopyFrom(saver)
    else:
        meta_graph, constants = with_signatures(light, signatures), large
    meta_graph.meta_info_def.tags.append(TAG)
    _write_proto(meta_graph, constants, folder / saved_model.PROTO)


def _write_proto(meta_graph: meta_graph_pb2.MetaGraphDef, large: Sequence[Node], file: Path) -> None:
    """Write a SavedModel's message, and constants into its graph one by one: messages behind one another are merged."""

    def part(node):
        made = meta_graph_pb2.MetaGraphDef(graph_def=GraphDef(node=[node]))
        weights.become_constant(made.graph_def.node[0])
        return made.SerializeToString(deterministic=True)

    with file.open("wb") as stream:
        stream.write(saved_model_pb2.SavedModel(saved_model_schema_version=1).SerializeToString())
        stream.write(_META_GRAPHS + _varint(0))
        start = stream.tell()
        stream.write(meta_graph.SerializeToString(deterministic=True))
        stream.writelines(map(part, large))
        size = stream.tell() - start
        stream.seek(start - len(_varint(size)))
        stream.write(_varint(size))


def _varint(number: int) -> bytes:
    """A number up to `weights.LARGEST`, seven bits in a byte, the lowest first. Always five bytes, as readers allow."""
    return bytes([*(number >> shift & 127 | 128 for shift in (0, 7, 14, 21)), number >> 28])


def _with_variables(light: GraphDef, large: Sequence[Node]) -> tuple[GraphDef, saver_pb2.SaverDef]:
    """A graph with variables in the place of the large constants that it lacks, and what saves and restores them.

    That is as `tf.saved_model.save` has it: a function each, which is given the name of the files.
    """
    names, dtypes = _names(large), [tf.as_dtype(node.attr["dtype"].type) for node in large]

    def read(handles):
        each = zip(handles, dtypes, strict=True)
        return [tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype) for handle, dtype in each]

    @tf.function
    def restore(prefix, *handles):
        whole = [""] * len(names)
        restored = tf.raw_ops.RestoreV2(prefix=prefix, tensor_names=names, shape_and_slices=whole, dtypes=dtypes)
        for handle, value in zip(handles, restored, strict=True):
            tf.raw_ops.AssignVariableOp(resource=handle, value=value)
        return tf.identity(prefix)

    @tf.function
    def save(prefix, *handles):
        _save(prefix, names, read(handles))
        return tf.identity(prefix)

    scope = unique("weights", {name.partition("/")[0] for name in (*names, *(node.name for node in light.node))})
    with tf.Graph().as_default() as graph:
        with tf.name_scope(scope):  # names in the graph stay as they are
            file = tf.compat.v1.placeholder(tf.string, [], "saver_filename")
            handles = [
                tf.raw_ops.VarHandleOp(
                    dtype=dtype,
                    shape=weights.shape(node),
                    shared_name=f"{name}-{weights.digest(node)}",  # of two versions in one process, each has its own
                    name=name,
                )
                for node, name, dtype in zip(large, names, dtypes, strict=True)
            ]
            restored, saved = restore(file, *handles), save(file, *handles)
            values = dict(zip((f"{name}:0" for name in names), read(handles), strict=True))
        tf.graph_util.import_graph_def(light, input_map=values, name="")
    saver = saver_pb2.SaverDef(
        filename_tensor_name=file.name,
        save_tensor_name=saved.name,
        restore_op_name=restored.op.name,
        version=saver_pb2.SaverDef.V2,
    )
    return graph.as_graph_def(), saver


def _write_checkpoint(large: Sequence[Node], prefix: str) -> None:
    """Write constants as variables, some at a time: TensorFlow holds twice what it writes at once."""
    parts = []
    try:
        for some in _shards(large):
            parts.append(f"{prefix}_{len(parts)}")
            with tf.Graph().as_default(), tf.compat.v1.Session() as session:  # where nothing is kept for the next time
                session.run(_save(parts[-1], _names(some), [weights.tensor(node) for node in some]))
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=False)
    except tf.errors.OpError as error:
        raise OSError(f"The checkpoint cannot be written: {error.message}") from error


def _shards(large: Sequence[Node]) -> Iterator[list[Node]]:
    """Constants, as many together as are `SHARD` bytes, or one that is more by itself."""
    shard, total = [], 0
    for node in large:
        size = weights.size(node)
        if shard and total + size > SHARD:
            yield shard
            shard, total = [], 0
        shard.append(node)
        total += size
    yield shard


def _save(prefix, names: Sequence[str], tensors: Sequence[tf.Tensor]) -> tf.Operation:
    return tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)


def _names(large: Sequence[Node]) -> list[str]:
    return [node.name for node in large]

"""SavedModels, run the way TF Serving runs them: a session on the graph, fed and fetched by a signature's tensor names.

The only module of the server that imports TensorFlow, with `text_ops`. It loads the graph itself, step by step as
tensorflow/cc/saved_model/loader.cc does, rather than through ``tf.saved_model.load``: the errors then name the nodes
that TF Serving's errors name, and a call costs a tenth.
"""

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2

from serving.embedded import proto_file, text_ops
from serving.embedded.status import Code, ServingError, invalid_argument, not_found
from serving.protos import serving_pb2 as pb

tf1 = tf.compat.v1

_INIT_SIGNATURE = "__saved_model_init_op"
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
_EAGER_CONTEXT = re.compile(r"^\{\{.*?\}\} | \[Op:.*$")
_MAX_CALLABLES = 256
_VARIABLE_OPS = frozenset({"VarHandleOp", "Variable", "VariableV2"})


@dataclass(frozen=True)
class SessionOptions:
    """``tags`` choose the graph; the thread counts are TensorFlow's (0: as many as there are cores).

    ``config_file`` has a ConfigProto as text, in which the others count where they are not 0.
    """

    tags: frozenset[str] = frozenset({"serve"})
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0
    config_file: str = ""

    def config(self) -> config_pb2.ConfigProto:
        """What TensorFlow takes. ServingError for a file that cannot be read."""
        config = config_pb2.ConfigProto()
        if self.config_file:
            proto_file.read(self.config_file, config)
        chosen = config_pb2.ConfigProto(
            intra_op_parallelism_threads=self.intra_op_threads,
            inter_op_parallelism_threads=self.inter_op_threads,
            gpu_options=config_pb2.GPUOptions(per_process_gpu_memory_fraction=self.gpu_memory_fraction),
        )
        config.MergeFrom(chosen)  # 0 is the default of each, and merges into nothing
        # As TensorFlow Serving sets them: no second copy of the graph is kept, nor one of what is made of it.
        config.experimental.optimize_for_static_graph = config.experimental.disable_output_partition_graphs = True
        return config


@dataclass
class SavedModelServable:
    """A loaded version. ``run`` may be called from many threads at once."""

    signatures: dict[str, pb.SignatureDef]
    session: tf1.Session
    _callables: dict = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """The fetched tensors (strings as object arrays of bytes). Raises ServingError with the op's code and text."""
        names, wanted = tuple(feeds), tuple(fetches)
        call = self._callables.get((names, wanted)) or self._make_callable(names, wanted)
        try:
            values = call(*feeds.values())
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), error.message) from None
        except UnicodeDecodeError as error:  # an op quotes bytes of its input, which TensorFlow takes for UTF-8
            raise invalid_argument(error.object.decode("utf-8", "replace")) from None
        return [value if type(value) is np.ndarray else _scalar(value) for value in values]

    def close(self) -> None:
        """Frees the session's threads and variables."""
        self._callables.clear()
        self.session.close()

    def _make_callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]):
        unique = list(dict.fromkeys(fetches))  # two outputs may be the same tensor, which TensorFlow fetches only once
        options = config_pb2.CallableOptions(feed=feeds, fetch=unique)
        with self._lock:
            # the public make_callable checks feeds in Python, at seven times the cost of the call itself
            call = self.session._make_callable_from_options(options)
            if len(unique) < len(fetches):
                call = _repeating(call, [unique.index(name) for name in fetches])
            if len(self._callables) >= _MAX_CALLABLES:  # output filters come from outside, in any order
                self._callables.clear()
            self._callables[feeds, fetches] = call
        return call


def _scalar(value: object) -> np.ndarray:
    return np.array(value, object if isinstance(value, bytes) else None)


def _repeating(call, order: list[int]):
    def fetch(*feeds: np.ndarray) -> list[np.ndarray]:
        values = call(*feeds)
        return [values[index] for index in order]

    return fetch


def load(path: Path, options: SessionOptions) -> SavedModelServable:
    """Loads the SavedModel in ``path``, restores its variables and runs its initialisation.

    Raises ServingError: NOT_FOUND without a SavedModel or a graph with the tags, and what the graph's own ops say.
    """
    text_ops.register()
    meta_graph = _read_meta_graph(path, options.tags)
    graph = tf1.Graph()
    config = options.config()
    with graph.as_default():
        tf1.import_graph_def(meta_graph.graph_def, name="")
    session = tf1.Session(graph=graph, config=config)
    try:
        _restore_variables(session, meta_graph, path)
        _initialize(session, meta_graph, path)
    except tf.errors.OpError as error:
        session.close()
        raise ServingError(Code(error.error_code), error.message) from None
    except ServingError:
        session.close()
        raise
    return SavedModelServable(
        {
            name: pb.SignatureDef.FromString(signature.SerializeToString())
            for name, signature in sorted(meta_graph.signature_def.items())
        },
        session,
    )


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file. DATA_LOSS where it is none."""
    try:
        yield from tf.data.TFRecordDataset(os.fspath(path)).as_numpy_iterator()
    except tf.errors.DataLossError as error:
        message = _EAGER_CONTEXT.sub("", error.message)
        raise ServingError(
            Code.DATA_LOSS, f"{message}. Please verify your warmup data is in TFRecord format."
        ) from None


def _read_meta_graph(path: Path, tags: frozenset[str]) -> meta_graph_pb2.MetaGraphDef:
    try:
        saved_model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except FileNotFoundError:
        raise not_found(
            "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
            f"`saved_model.pb`)\nSpecified file path: {path}"
        ) from None
    except DecodeError as error:
        raise ServingError(Code.DATA_LOSS, f"Can't parse {path / 'saved_model.pb'} as binary proto: {error}") from None
    for meta_graph in saved_model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == tags:
            return meta_graph
    raise not_found(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(tags))} }}. To inspect available "
        "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )


def _restore_variables(session: tf1.Session, meta_graph: meta_graph_pb2.MetaGraphDef, path: Path) -> None:
    """Restores them. A graph with variables whose files are missing is refused: it could only ever answer errors."""
    prefix = path / "variables" / "variables"
    if not prefix.with_suffix(".index").exists():
        if _has_variables(meta_graph):
            raise not_found(f"The graph has variables, but there is no {prefix.with_suffix('.index')}")
        return
    saver = meta_graph.saver_def
    if saver.restore_op_name:
        session.run(
            session.graph.get_operation_by_name(saver.restore_op_name), {saver.filename_tensor_name: os.fspath(prefix)}
        )


def _has_variables(meta_graph: meta_graph_pb2.MetaGraphDef) -> bool:
    return any(node.op in _VARIABLE_OPS for node in meta_graph.graph_def.node)


def _initialize(session: tf1.Session, meta_graph: meta_graph_pb2.MetaGraphDef, path: Path) -> None:
    name = _init_op_name(meta_graph)
    if name:
        session.run(session.graph.as_graph_element(name, allow_tensor=False), _asset_feeds(meta_graph, path))


def _init_op_name(meta_graph: meta_graph_pb2.MetaGraphDef) -> str | None:
    if _INIT_SIGNATURE in meta_graph.signature_def:
        return meta_graph.signature_def[_INIT_SIGNATURE].outputs[_INIT_SIGNATURE].name
    for collection in _INIT_COLLECTIONS:
        nodes = meta_graph.collection_def[collection].node_list.value if collection in meta_graph.collection_def else ()
        if nodes:
            return nodes[0]
    return None


def _asset_feeds(meta_graph: meta_graph_pb2.MetaGraphDef, path: Path) -> dict[str, str]:
    assets = list(meta_graph.asset_file_def)
    if not assets and "saved_model_assets" in meta_graph.collection_def:
        for packed in meta_graph.collection_def["saved_model_assets"].any_list.value:
            asset = meta_graph_pb2.AssetFileDef()
            packed.Unpack(asset)
            assets.append(asset)
    return {asset.tensor_info.name: os.fspath(path / "assets" / asset.filename) for asset in assets}

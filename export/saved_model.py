"""From signatures to a SavedModel on disk, and what a SavedModel says of its signatures."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export.signatures import Signature

PROTO = "saved_model.pb"
SERVED_DTYPES = ("float32", "int64", "string")

# TensorFlow derives the names of inputs from those of graph nodes and Python arguments, and changes all others.
_SAFE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def write(resources: Sequence, signatures: list[Signature], folder: Path) -> None:
    """Trace the signatures and write the SavedModel.

    Args:
        resources: what holds the signatures' variables and tables: the model, and a vocabulary's tables.
        signatures: what is traced.
        folder: where the SavedModel goes.

    Raises:
        ValueError: a signature cannot be traced, or gives what TF Serving cannot send.
        OSError: the SavedModel cannot be written.
    """
    inputs = dict.fromkeys(name for signature in signatures for name in signature.inputs)
    names = {name: _node_name(i, name) for i, name in enumerate(inputs)}
    version = tf.Module()
    version.variables_and_tables = [kept for resource in resources for kept in _kept(resource)]
    # As concrete functions: functions that could be traced again would be, by the writer.
    traced = {signature.name: _traced(signature, names) for signature in signatures}
    try:
        tf.saved_model.save(version, str(folder), signatures=traced)
    except tf.errors.OpError as error:
        raise OSError(f"The SavedModel cannot be written: {error.message}") from error
    _rename_inputs(folder / PROTO, {node: name for name, node in names.items() if node != name})
    _check_outputs(describe(folder))


def describe(folder: Path) -> dict[str, dict[str, Any]]:
    """Signature name → `inputs` and `outputs`, each name → `{"dtype": …, "shape": […]}`; None is any size."""
    graph = read(folder / PROTO).meta_graphs[0]
    return {
        name: {"inputs": _tensors(definition.inputs), "outputs": _tensors(definition.outputs)}
        for name, definition in sorted(graph.signature_def.items())
        if not name.startswith("__")
    }


def _kept(resource) -> list:
    """The variables and tables in a model, a layer or a table."""
    variables = [variable.value for variable in resource.variables] if isinstance(resource, keras.Layer) else []
    parts = tf.train.TrackableView(resource).descendants()
    return [*variables, *(part for part in parts if isinstance(part, tf.saved_model.experimental.TrackableResource))]


def _traced(signature: Signature, names: dict[str, str]) -> tf.types.experimental.ConcreteFunction:
    specs = [tf.TensorSpec(spec.shape, spec.dtype, names[name]) for name, spec in signature.inputs.items()]

    @tf.autograph.experimental.do_not_convert
    def endpoint(*tensors):
        return signature.graph(dict(zip(signature.inputs, tensors, strict=True)))

    try:
        return tf.function(endpoint).get_concrete_function(*specs)
    except Exception as error:  # whatever the code of a layer raises
        raise ValueError(f"Signature {signature.name!r} cannot be traced: {error}") from error


def _node_name(index: int, name: str) -> str:
    return name if _SAFE_NAME.fullmatch(name) else f"column_{index}__"


def _rename_inputs(path: Path, names: dict[str, str]) -> None:
    """Give inputs the names people know them by, such as `mean radius`, wherever a reader of the file looks."""
    if not names:
        return
    saved_model = read(path)
    graph = saved_model.meta_graphs[0]
    for definition in graph.signature_def.values():
        for node in names.keys() & definition.inputs.keys():
            definition.inputs[names[node]].CopyFrom(definition.inputs.pop(node))
    for item in graph.object_graph_def.nodes:
        if item.HasField("bare_concrete_function"):
            keywords = item.bare_concrete_function.argument_keywords
            keywords[:] = [names.get(keyword, keyword) for keyword in keywords]
            # An account of the same arguments as those of a Python function, where they need to be identifiers.
            item.bare_concrete_function.ClearField("function_spec")
    for function in graph.object_graph_def.concrete_functions.values():
        for argument in function.canonicalized_input_signature.tuple_value.values:
            fields = argument.dict_value.fields
            for node in names.keys() & fields.keys():
                fields[names[node]].CopyFrom(fields.pop(node))
                fields[names[node]].tensor_spec_value.name = names[node]
    path.write_bytes(saved_model.SerializeToString(deterministic=True))


def _check_outputs(signatures: dict[str, dict[str, Any]]) -> None:
    for signature, tensors in signatures.items():
        for output, tensor in tensors["outputs"].items():
            if tensor["dtype"] not in SERVED_DTYPES or tensor["shape"][:1] != [None]:
                raise ValueError(
                    f"Output {output!r} of signature {signature!r} cannot be served. Received: {tensor['dtype']} of "
                    f"shape {tensor['shape']}. Accepted: {', '.join(SERVED_DTYPES)}, with one row per row of input."
                )


def _tensors(infos) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "dtype": tf.as_dtype(info.dtype).name,
            "shape": [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim],
        }
        for name, info in sorted(infos.items())
    }


def read(path: Path) -> saved_model_pb2.SavedModel:
    """The message in a file."""
    return saved_model_pb2.SavedModel.FromString(path.read_bytes())

"""What a loaded servable is asked to do: predict, classify, regress, several at once.

Works on arrays and messages; how a graph is run is the servable's own business. The checks, their order and their texts
are those of TF Serving's servables/tensorflow/{predict_util,classifier,regressor,multi_inference}.cc.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from google.protobuf import text_format

from serving.embedded.json_request import type_label
from serving.embedded.status import ServingError, failed_precondition, invalid_argument, unimplemented
from serving.protos import serving_pb2 as pb
from serving.tensors import data_type, dtype_name, to_array

DEFAULT_SIGNATURE = "serving_default"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


class Servable(Protocol):
    """A loaded version: its signatures, and a graph that can be run."""

    signatures: Mapping[str, pb.SignatureDef]

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """The tensors named in ``fetches``, given those in ``feeds``. Raises ServingError with the graph's message."""


def signature_inputs(servable: Servable, signature_name: str) -> Mapping[str, pb.TensorInfo]:
    """The inputs of a signature, for the reader of JSON. INVALID_ARGUMENT for an unknown one."""
    name = signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
    return servable.signatures[name].inputs


def predict(
    servable: Servable,
    signature_name: str,
    inputs: Mapping[str, np.ndarray],
    output_filter: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """The outputs of a signature by name, or those in ``output_filter``.

    Input names, their number and their dtypes are checked, shapes are not: only the graph's ops complain.
    """
    signature = _predict_signature(servable, signature_name)
    _check_input_names(signature, inputs)
    feeds = {info.name: array for info, array in _feeds(signature, inputs)}
    return _run(servable, signature, feeds, output_filter)


def predict_tensors(
    servable: Servable,
    signature_name: str,
    inputs: Mapping[str, pb.TensorProto],
    output_filter: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """``predict`` for inputs that are still messages. INVALID_ARGUMENT for one whose content does not fit its shape."""
    signature = _predict_signature(servable, signature_name)
    _check_input_names(signature, inputs)
    feeds = {info.name: _parse_tensor(alias, tensor) for alias, info, tensor in _tensor_feeds(signature, inputs)}
    return _run(servable, signature, feeds, output_filter)


def classify(servable: Servable, signature_name: str, request: pb.Input) -> pb.ClassificationResult:
    """Labels and scores of each example."""
    signature = _example_signature(servable, signature_name)
    fetches = _classification_fetches(signature)
    examples = _serialized_examples(request)
    values = _run_examples(servable, {signature.inputs["inputs"].name}, examples, fetches)
    return _classification_result(signature, len(examples), values)


def regress(servable: Servable, signature_name: str, request: pb.Input) -> pb.RegressionResult:
    """A value for each example."""
    signature = _example_signature(servable, signature_name)
    fetches = _regression_fetches(signature)
    examples = _serialized_examples(request)
    values = _run_examples(servable, {signature.inputs["inputs"].name}, examples, fetches)
    return _regression_result(signature, len(examples), values)


def multi_inference(
    servable: Servable, tasks: Sequence[pb.InferenceTask], request: pb.Input
) -> list[pb.ClassificationResult | pb.RegressionResult]:
    """Several classify and regress signatures of one model on the same examples, in one run of the graph."""
    signatures = _task_signatures(servable, tasks)
    fetches = set()
    for task, signature in zip(tasks, signatures, strict=True):
        fetches |= set(_FETCHES_OF_METHOD[task.method_name](signature))
    examples = _serialized_examples(request)
    feeds = {signature.inputs["inputs"].name for signature in signatures}
    values = _run_examples(servable, feeds, examples, sorted(fetches))
    return [
        _RESULT_OF_METHOD[task.method_name](signature, len(examples), values)
        for task, signature in zip(tasks, signatures, strict=True)
    ]


# --- predict -------------------------------------------------------------------------------------------------------


def _predict_signature(servable: Servable, signature_name: str) -> pb.SignatureDef:
    name = signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise failed_precondition(f'Serving signature key "{name}" not found.')
    return servable.signatures[name]


def _check_input_names(signature: pb.SignatureDef, inputs: Mapping[str, object]) -> None:
    sent, wanted = len(inputs), len(signature.inputs)
    if sent == wanted or (sent < wanted and signature.defaults):
        return
    extra, missing = set(inputs) - set(signature.inputs), set(signature.inputs) - set(inputs)
    raise invalid_argument(
        f"input size does not match signature: {sent}!={wanted} len({_braces(inputs)}) != "
        f"len({_braces(signature.inputs)}). Sent extra: {_braces(extra)}. Missing but required: {_braces(missing)}."
    )


def _braces(names: Iterable[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"


def _feeds(signature: pb.SignatureDef, inputs: Mapping[str, np.ndarray]) -> list[tuple[pb.TensorInfo, np.ndarray]]:
    return [
        (info, inputs[alias] if alias in inputs else _parse_tensor(alias, _default(signature, alias, inputs)))
        for alias, info in signature.inputs.items()
    ]


def _tensor_feeds(
    signature: pb.SignatureDef, inputs: Mapping[str, pb.TensorProto]
) -> list[tuple[str, pb.TensorInfo, pb.TensorProto]]:
    return [
        (alias, info, inputs[alias] if alias in inputs else _default(signature, alias, inputs))
        for alias, info in signature.inputs.items()
    ]


def _default(signature: pb.SignatureDef, alias: str, inputs: Mapping[str, object]) -> pb.TensorProto:
    if alias in signature.defaults:
        return signature.defaults[alias]
    raise invalid_argument(
        f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in request and no "
        f"default value provided. Inputs expected to be in the request {_braces(inputs)}, or default input alias set: "
        f"{','.join(sorted(signature.defaults))}"
    )


def _parse_tensor(alias: str, tensor: pb.TensorProto) -> np.ndarray:
    try:
        return to_array(tensor)
    except (ValueError, MemoryError, OverflowError):
        raise invalid_argument(f"tensor parsing error: {alias}") from None


def _run(
    servable: Servable, signature: pb.SignatureDef, feeds: Mapping[str, np.ndarray], output_filter: Sequence[str]
) -> dict[str, np.ndarray]:
    outputs = _wanted_outputs(signature, output_filter)
    _check_dtypes(signature, feeds)
    return dict(zip(outputs, servable.run(feeds, list(outputs.values())), strict=True))


def _wanted_outputs(signature: pb.SignatureDef, output_filter: Sequence[str]) -> dict[str, str]:
    """Tensor names by output name."""
    if not output_filter:
        return {alias: signature.outputs[alias].name for alias in sorted(signature.outputs)}
    outputs = {}
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_braces(signature.outputs)}."
            )
        if alias in outputs:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        outputs[alias] = signature.outputs[alias].name
    return outputs


def _check_dtypes(signature: pb.SignatureDef, feeds: Mapping[str, np.ndarray]) -> None:
    """TensorFlow numbers the fed tensors by their sorted names."""
    dtypes = {info.name: info.dtype for info in signature.inputs.values()}
    if all(data_type(array.dtype) == dtypes[name] for name, array in feeds.items()):
        return
    for index, name in enumerate(sorted(feeds)):
        given = data_type(feeds[name].dtype)
        if given != dtypes[name]:
            raise invalid_argument(
                f"Expects arg[{index}] to be {type_label(dtypes[name])} but {type_label(given)} is provided"
            )


# --- classify and regress ------------------------------------------------------------------------------------------


def _example_signature(servable: Servable, signature_name: str) -> pb.SignatureDef:
    name = signature_name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return servable.signatures[name]


def _classification_fetches(signature: pb.SignatureDef) -> list[str]:
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {_debug_string(signature)}")
    fetches = [signature.outputs[name].name for name in ("classes", "scores") if name in signature.outputs]
    if not fetches:
        raise invalid_argument(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {_debug_string(signature)}"
        )
    return fetches


def _regression_fetches(signature: pb.SignatureDef) -> list[str]:
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {_debug_string(signature)}")
    if "outputs" not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {_debug_string(signature)}")
    return [signature.outputs["outputs"].name]


def _debug_string(signature: pb.SignatureDef) -> str:
    """protobuf's DebugString, which opens with a link that says not to parse it."""
    return f"goo.gle/debugproto   \n{text_format.MessageToString(signature)}"


def _serialized_examples(request: pb.Input) -> list[bytes]:
    """Each example as bytes. A context stands before each: joined messages merge when they are parsed."""
    with_context = request.WhichOneof("kind") == "example_list_with_context"
    source = request.example_list_with_context if with_context else request.example_list
    if not source.examples:
        raise invalid_argument("Input is empty.")
    context = source.context.SerializeToString() if with_context else b""
    return [context + example.SerializeToString() for example in source.examples]


def _run_examples(
    servable: Servable, feeds: Iterable[str], examples: Sequence[bytes], fetches: Sequence[str]
) -> dict[str, np.ndarray]:
    batch = np.empty(len(examples), object)
    batch[:] = examples
    return dict(zip(fetches, servable.run(dict.fromkeys(feeds, batch), fetches), strict=True))


def _classification_result(
    signature: pb.SignatureDef, num_examples: int, values: Mapping[str, np.ndarray]
) -> pb.ClassificationResult:
    classes, scores = (
        values[signature.outputs[name].name] if name in signature.outputs else None for name in ("classes", "scores")
    )
    for array, name, dtype in ((classes, "classes", pb.DT_STRING), (scores, "scores", pb.DT_FLOAT)):
        if array is not None:
            _check_per_class(array, name, dtype, num_examples)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    result = pb.ClassificationResult()
    for example in range(num_examples):
        into = result.classifications.add().classes
        for index in range((classes if classes is not None else scores).shape[1]):
            item = into.add()
            if classes is not None:
                item.label = classes[example, index].decode("utf-8", "replace")
            if scores is not None:
                item.score = scores[example, index]
    return result


def _check_per_class(array: np.ndarray, name: str, dtype: int, num_examples: int) -> None:
    if array.ndim != 2:
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {_shape_text(array)}")
    if data_type(array.dtype) != dtype:
        raise invalid_argument(
            f"Expected {name} Tensor of {dtype_name(dtype)}. Got: {dtype_name(data_type(array.dtype))}"
        )
    if len(array) != num_examples:
        raise invalid_argument(f"Expected {name} output batch size of {num_examples}. Got: {len(array)}")


def _regression_result(
    signature: pb.SignatureDef, num_examples: int, values: Mapping[str, np.ndarray]
) -> pb.RegressionResult:
    array = values[signature.outputs["outputs"].name]
    if not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got " + _shape_text(array)
        )
    if len(array) != num_examples:
        raise invalid_argument(f"Input batch size did not match output batch size: {num_examples} vs. {len(array)}")
    if data_type(array.dtype) != pb.DT_FLOAT:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {dtype_name(data_type(array.dtype))}")
    return pb.RegressionResult(regressions=[pb.Regression(value=value) for value in array.ravel().tolist()])


def _shape_text(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"


# --- multi-inference -----------------------------------------------------------------------------------------------

_FETCHES_OF_METHOD = {CLASSIFY: _classification_fetches, REGRESS: _regression_fetches}
_RESULT_OF_METHOD = {CLASSIFY: _classification_result, REGRESS: _regression_result}


def _task_signatures(servable: Servable, tasks: Sequence[pb.InferenceTask]) -> list[pb.SignatureDef]:
    signatures: dict[str, pb.SignatureDef] = {}
    for task in tasks:
        fault = _task_fault(servable, task, tasks[0], signatures)
        if fault:
            raise fault
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        _FETCHES_OF_METHOD[task.method_name](servable.signatures[name])
        signatures[name] = servable.signatures[name]
    return list(signatures.values())


def _task_fault(
    servable: Servable, task: pb.InferenceTask, first: pb.InferenceTask, seen: Mapping[str, pb.SignatureDef]
) -> ServingError | None:
    name = task.model_spec.signature_name or DEFAULT_SIGNATURE
    if not task.model_spec.name:
        return invalid_argument("Found ModelSpec with an empty model name.")
    if task.model_spec.name != first.model_spec.name:
        return invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
    if name in seen:
        return invalid_argument(f"Duplicate evaluation of signature: {name}")
    if name not in servable.signatures:
        return invalid_argument(f"Requested signature not found in model graph: {name}")
    if task.method_name not in _FETCHES_OF_METHOD:
        return unimplemented(f"Unsupported signature method_name: {task.method_name}")
    return None

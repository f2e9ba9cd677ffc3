"""Answers to JSON, in TF Serving's layout: predictions, results of tf.Examples, states, signatures, errors."""

import base64
import math
from collections.abc import Mapping

import numpy as np
from google.protobuf import json_format

from serving.embedded.json_request import type_label
from serving.embedded.json_text import INDENT, decode, encode, quote
from serving.embedded.status import Code, invalid_argument
from serving.protos import serving_pb2 as pb
from serving.tensors import data_type

_NOT_IN_JSON = frozenset(
    {pb.DT_HALF, pb.DT_BFLOAT16, pb.DT_UINT16, pb.DT_COMPLEX64, pb.DT_COMPLEX128, pb.DT_INVALID}
)  # json_tensor.cc writes the types that it reads
_NON_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}


def predictions(outputs: Mapping[str, np.ndarray]) -> bytes:
    """The answer to ``instances``: ``{"predictions": [...]}``, one value or object for each row.

    ``outputs`` have one first dimension. Raises INVALID_ARGUMENT where they do not, or for a dtype JSON does not carry.
    """
    num_rows = _num_rows(outputs)
    columns = [
        (name, _leaves(name, array, level=3 if len(outputs) > 1 else 2, single_line=True))
        for name, array in outputs.items()
    ]
    if len(columns) > 1:
        rows = _object_rows(columns, num_rows)
        text = "".join(f"{',' if index else ''}\n{INDENT * 2}{row}" for index, row in enumerate(rows))
    else:
        text = ", ".join(columns[0][1])
    return encode(f'{{\n{INDENT}"predictions": [{text}\n{INDENT}]\n}}' if num_rows else '{\n    "predictions": []\n}')


def outputs_object(outputs: Mapping[str, np.ndarray]) -> bytes:
    """The answer to ``inputs``: ``{"outputs": ...}``, the value itself or an object of several.

    Raises INVALID_ARGUMENT for a dtype JSON does not carry.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    level = 2 if len(outputs) > 1 else 1
    texts = {name: _leaves(name, array[np.newaxis], level, single_line=False)[0] for name, array in outputs.items()}
    if len(texts) > 1:
        members = ",".join(f"\n{INDENT * 2}{quote(name)}: {text}" for name, text in texts.items())
        value = f"{{{members}\n{INDENT}}}"
    else:
        (value,) = texts.values()
    return encode(f'{{\n{INDENT}"outputs": {value}\n}}')


def classifications(result: pb.ClassificationResult) -> bytes:
    """The answer to classify: for each example a list of [label, score]."""
    if not result.classifications:
        raise invalid_argument("Cannot convert empty ClassificationResults to JSON")
    examples = [
        f"[{', '.join(f'[{quote(item.label)}, {decimal32(item.score)}]' for item in example.classes)}]"
        for example in result.classifications
    ]
    return encode(f'{{\n{INDENT}"results": [{", ".join(examples)}\n{INDENT}]\n}}')


def regressions(result: pb.RegressionResult) -> bytes:
    """The answer to regress: one number for each example."""
    if not result.regressions:
        raise invalid_argument("Cannot convert empty RegressionResults to JSON")
    values = ", ".join(decimal32(regression.value) for regression in result.regressions)
    return encode(f'{{\n{INDENT}"results": [{values}]\n}}')


def model_status(response: pb.GetModelStatusResponse) -> bytes:
    """The states of a model's versions, as protobuf's C++ JSON printer lays them out."""
    versions = ",\n".join(
        f'  {{\n   "version": "{status.version}",\n   "state": "{pb.ModelVersionStatus.State.Name(status.state)}",\n'
        f'   "status": {{\n    "error_code": "{Code(status.status.error_code).name}",\n'
        f'    "error_message": {quote(status.status.error_message)}\n   }}\n  }}'
        for status in response.model_version_status
    )
    return encode(f'{{\n "model_version_status": [\n{versions}\n ]\n}}\n')


def model_metadata(name: str, version: int, signatures: pb.SignatureDefMap) -> bytes:
    """The signatures of a version."""
    spec = f'{{\n "name": {quote(name)},\n "version": "{version}",\n "signature_name": ""\n}}\n'
    signature_def = json_format.MessageToJson(
        signatures, always_print_fields_with_no_presence=True, preserving_proto_field_name=True, indent=1
    )
    return encode(f'{{\n"model_spec":{spec},\n"metadata": {{"signature_def": {signature_def}\n}}\n}}\n')


def error(message: str) -> bytes:
    """``{"error": message}``"""
    return encode(f'{{\n{INDENT}"error": {quote(message)}\n}}')


def decimal32(number: float) -> str:
    """A float32 as TF Serving writes it: six significant digits if they read back the same, else nine."""
    return _decimals(np.array([number], np.float32))[0]


def _num_rows(outputs: Mapping[str, np.ndarray]) -> int:
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    num_rows = None
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if num_rows not in (None, len(array)):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {num_rows}"
            )
        num_rows = len(array)
    return num_rows


def _object_rows(columns: list[tuple[str, list[str]]], num_rows: int) -> list[str]:
    names = [f"\n{INDENT * 3}{quote(name)}: " for name, _ in columns]
    rows = zip(*(texts for _, texts in columns), strict=True) if num_rows else []
    return [
        "{" + ",".join(name + text for name, text in zip(names, row, strict=True)) + f"\n{INDENT * 2}}}" for row in rows
    ]


def _leaves(name: str, array: np.ndarray, level: int, single_line: bool) -> list[str]:
    """The texts of ``array[0]``, ``array[1]``, …, each laid out inside ``level`` open objects and arrays."""
    texts = _element_texts(name, array, level + array.ndim - 1)
    for depth in range(array.ndim - 1, 0, -1):
        texts = _group(texts, array.shape[: depth + 1], level + depth - 1, single_line)
    return texts


def _group(texts: list[str], shape: tuple[int, ...], level: int, single_line: bool) -> list[str]:
    """Joins every ``shape[-1]`` texts into one array."""
    size = shape[-1]
    if size == 0:
        return ["[]"] * math.prod(shape[:-1])
    if single_line:
        start, between, end = "[", ", ", "]"
    else:
        inner = f"\n{INDENT * (level + 1)}"
        start, between, end = f"[{inner}", f",{inner}", f"\n{INDENT * level}]"
    return [start + between.join(texts[at : at + size]) + end for at in range(0, len(texts), size)]


def _element_texts(name: str, array: np.ndarray, level: int) -> list[str]:
    """The text of each element in C order."""
    dtype = data_type(array.dtype)
    if dtype in _NOT_IN_JSON and array.size:
        raise invalid_argument(f"Failed to write JSON value for tensor type: {type_label(dtype)}")
    flat = array.ravel()
    if dtype == pb.DT_STRING:
        if name.endswith("_bytes"):
            return [_base64_object(value, level) for value in flat]
        return [quote(decode(value)) for value in flat]
    if array.dtype.kind == "f":
        return _decimals(flat)
    if dtype == pb.DT_BOOL:
        return ["true" if value else "false" for value in flat.tolist()]
    return list(map(str, flat.tolist()))


def _base64_object(value: bytes, level: int) -> str:
    encoded = base64.b64encode(value).decode()
    return f'{{\n{INDENT * (level + 1)}"b64": "{encoded}"\n{INDENT * level}}}'


def _decimals(numbers: np.ndarray) -> list[str]:
    """float32 or float64: six significant digits, or 9 and 17 for those that six do not bring back."""
    values = numbers.tolist()
    texts = [f"{value:g}" for value in values]
    full = ".9g" if numbers.dtype == np.float32 else ".17g"
    finite = np.isfinite(numbers)
    with np.errstate(over="ignore"):
        exact = np.array(list(map(float, texts)), np.float64).astype(numbers.dtype) == numbers
    for index in np.flatnonzero(finite & ~exact).tolist():
        texts[index] = format(values[index], full)
    for index in np.flatnonzero(~finite).tolist():
        texts[index] = _NON_FINITE.get(values[index], "NaN")
    return [text if "." in text or "e" in text or text[-1] in "yN" else text + ".0" for text in texts]

"""JSON bodies to arrays and tf.Examples: api_rest.md of TF Serving, sections Predict, Classify and Regress.

Every conversion has two ways. The quick one flattens regular lists and lets NumPy convert them; it gives up, saying
nothing, at the first thing out of order. Then the careful one walks the values in TF Serving's order and either finds
the fault that TF Serving would name, or a value that it would accept all the same.
"""

import binascii
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from serving.embedded.json_text import Object, debug_text, encode, parse, type_name
from serving.embedded.status import ServingError, invalid_argument, unimplemented
from serving.protos import serving_pb2 as pb
from serving.tensors import MAX_RANK, numpy_dtype

_MISSING = object()
_INT_RANGES = {
    # the small integers are read as int32 and narrowed without a word, as the wire format does
    pb.DT_INT8: (-(2**31), 2**31),
    pb.DT_UINT8: (-(2**31), 2**31),
    pb.DT_INT16: (-(2**31), 2**31),
    pb.DT_INT32: (-(2**31), 2**31),
    pb.DT_INT64: (-(2**63), 2**63),
    pb.DT_UINT32: (0, 2**32),
    pb.DT_UINT64: (0, 2**64),
}
_FLOATS = (pb.DT_FLOAT, pb.DT_DOUBLE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*[=.]{0,2}")


@dataclass(frozen=True)
class Document:
    """A request body: one JSON object, and the signature it names ("" for the default one)."""

    value: Object
    signature_name: str


def parse_document(body: bytes) -> Document:
    """The JSON object in ``body``. Raises INVALID_ARGUMENT with TF Serving's text where it is none."""
    value = parse(body)
    if not isinstance(value, Object):
        raise _format_error(value, "Is not object")
    name = value.find("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {debug_text(value)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return Document(value, name)


def predict_inputs(request: Document, infos: Mapping[str, pb.TensorInfo]) -> tuple[dict[str, np.ndarray], bool]:
    """(arrays by input name, whether they came row by row). ``infos`` are the inputs of the signature.

    Raises INVALID_ARGUMENT or UNIMPLEMENTED with TF Serving's text.
    """
    if not infos:
        raise invalid_argument(f"Failed to get input map for signature: {request.signature_name or 'DEFAULT'}")
    document = request.value
    instances = document.find("instances", _MISSING)
    inputs = document.find("inputs", _MISSING)
    if instances is not _MISSING and inputs is not _MISSING:
        raise _format_error(
            document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if instances is not _MISSING:
        if type(instances) is not list:
            raise _format_error(document, "Expecting 'instances' to be an list/array")
        if not instances:
            raise _format_error(document, "No values in 'instances' array")
        return _from_rows(instances, infos), True
    if inputs is not _MISSING:
        return _from_columns(inputs, infos), False
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def examples(request: Document) -> pb.Input:
    """The examples of a classify or regress request, and their context if there is one.

    Raises INVALID_ARGUMENT with TF Serving's text.
    """
    document = request.value
    filled = pb.Input()
    context = document.find("context", _MISSING)
    if context is not _MISSING:
        filled.example_list_with_context.context.SetInParent()
        _fill_example(context, filled.example_list_with_context.context)
    values = document.find("examples", _MISSING)
    if values is _MISSING:
        raise _format_error(document, "When method is classify, key 'examples' is expected and was not found")
    if type(values) is not list:
        raise _format_error(document, "Expecting 'examples' value to be an list/array")
    if not values:
        raise _format_error(document, "'examples' value is an empty array")
    into = filled.example_list if context is _MISSING else filled.example_list_with_context
    for value in values:
        _fill_example(value, into.examples.add())
    return filled


def _format_error(value: object, message: str) -> ServingError:
    return invalid_argument(f"JSON Value: {debug_text(value)} {message}")


# --- row format ----------------------------------------------------------------------------------------------------


def _from_rows(instances: list, infos: Mapping[str, pb.TensorInfo]) -> dict[str, np.ndarray]:
    named = isinstance(instances[0], Object)
    if not named and len(infos) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = named and not _is_base64(instances[0])
    columns = _columns_of(instances, infos) if named else {next(iter(infos)): instances}
    if columns is not None:
        arrays = {name: _quick_array(column, infos[name].dtype) for name, column in columns.items()}
        if all(array is not None for array in arrays.values()):
            return arrays
    return _walk_rows(instances, infos, named)


def _columns_of(instances: list, infos: Mapping[str, pb.TensorInfo]) -> dict[str, list] | None:
    """The instances' values by input, or None where not every instance has exactly the inputs."""
    columns = {name: [] for name in infos}
    for instance in instances:
        if not isinstance(instance, Object) or len(instance) != len(infos):
            return None
        for name, value in instance:
            if name not in columns:
                return None
            columns[name].append(value)
    if any(len(column) != len(instances) for column in columns.values()):
        return None
    return columns


def _walk_rows(instances: list, infos: Mapping[str, pb.TensorInfo], named: bool) -> dict[str, np.ndarray]:
    inputs = {name: _GrowingInput(info.dtype) for name, info in infos.items()}
    for item, instance in enumerate(instances):
        is_object = isinstance(instance, Object) and not _is_base64(instance)
        if named and not is_object:
            raise invalid_argument(f"Expecting object but got list at item {item} of input list")
        if is_object and not named:
            raise invalid_argument(f"Expecting value/list but got object at item {item} of input list")
        if named:
            _add_members(item, instance, inputs)
        else:
            try:
                next(iter(inputs.values())).add(instance)
            except ServingError as error:
                raise invalid_argument(
                    f"Failed to process element: {item} of 'instances' list. Error: {error}"
                ) from None
    return {name: growing.array(len(instances)) for name, growing in inputs.items()}


def _add_members(item: int, instance: Object, inputs: "dict[str, _GrowingInput]") -> None:
    for name, value in instance:
        try:
            if name not in inputs:
                raise invalid_argument(f"JSON object: does not have named input: {name}")
            inputs[name].add(value)
        except ServingError as error:
            raise invalid_argument(
                f"Failed to process element: {item} key: {name} of 'instances' list. Error: {error}"
            ) from None
    if {name for name, _ in instance} != inputs.keys():
        raise invalid_argument(
            f"Failed to process element: {item} of 'instances' list. JSON object: {debug_text(instance)} "
            f"keys must be equal to: {','.join(sorted(inputs))}"
        )


class _GrowingInput:
    """One input while its instances are added one by one; each must have the shape of the first."""

    def __init__(self, dtype: int):
        self.dtype = dtype
        self.values: list = []
        self.size: int | None = None
        self.shape: list[int] = []

    def add(self, value: object) -> None:
        shape = _shape_of(value)
        before = len(self.values)
        _walk(value, 0, shape, self.dtype, self.values)
        size = len(self.values) - before
        if self.size is None:
            self.size, self.shape = size, shape
        elif self.size != size:
            raise invalid_argument(f"Expecting tensor size: {self.size} but got: {size}")
        elif self.shape != shape:
            raise invalid_argument(f"Expecting shape {_shape_text(self.shape)} but got: {_shape_text(shape)}")

    def array(self, num_instances: int) -> np.ndarray:
        return _as_array(self.values, self.dtype, [num_instances, *self.shape])


# --- column format -------------------------------------------------------------------------------------------------


def _from_columns(inputs: object, infos: Mapping[str, pb.TensorInfo]) -> dict[str, np.ndarray]:
    if isinstance(inputs, Object) and not _is_base64(inputs):
        return {name: _named_column(inputs, name, infos[name].dtype) for name in infos}
    if len(infos) > 1:
        raise invalid_argument(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    ((name, info),) = infos.items()
    return {name: _column(inputs, info.dtype)}


def _named_column(inputs: Object, name: str, dtype: int) -> np.ndarray:
    value = inputs.find(name, _MISSING)
    if value is _MISSING:
        raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
    return _column(value, dtype)


def _column(value: object, dtype: int) -> np.ndarray:
    array = _quick_array(value, dtype)
    if array is None:
        shape, values = _shape_of(value), []
        _walk(value, 0, shape, dtype, values)
        array = _as_array(values, dtype, shape)
    return array


# --- the quick way -------------------------------------------------------------------------------------------------


def _quick_array(value: object, dtype: int) -> np.ndarray | None:
    """The array of a regular list of lists, or None where anything is out of order."""
    values, shape = [value], []
    while values and type(values[0]) is list:
        if set(map(type, values)) != {list}:
            return None
        lengths = set(map(len, values))
        if len(lengths) != 1:
            return None
        shape.append(lengths.pop())
        values = list(chain.from_iterable(values))
    if not _suits(values, dtype):
        return None
    if dtype == pb.DT_STRING:
        try:
            values = [encode(item) if type(item) is str else _base64_bytes(item) for item in values]
        except ServingError:
            return None
    return _as_array(values, dtype, shape)


def _suits(values: list, dtype: int) -> bool:
    """Whether each of ``values`` is something TF Serving puts into a tensor of ``dtype``."""
    types = set(map(type, values))
    if dtype in _FLOATS:
        return types <= {int, float}
    if dtype in _INT_RANGES:
        low, high = _INT_RANGES[dtype]
        return types <= {int} and (not values or (low <= min(values) and max(values) < high))
    if dtype == pb.DT_STRING:
        return types <= {str, Object}
    return dtype == pb.DT_BOOL and types <= {bool}


# --- the careful way -----------------------------------------------------------------------------------------------


def _shape_of(value: object) -> list[int]:
    """The shape that the first elements have; whether the others agree is for ``_walk`` to find out."""
    shape = []
    while type(value) is list:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _walk(value: object, level: int, shape: list[int], dtype: int, values: list) -> None:
    """Appends the leaves of ``value`` to ``values``. Raises at the first that does not fit ``shape`` or ``dtype``."""
    if type(value) is not list:
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {debug_text(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        values.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _walk(item, level + 1, shape, dtype, values)


def _leaf(value: object, dtype: int) -> object:
    if isinstance(value, Object):
        if dtype != pb.DT_STRING:
            raise _type_error(value, dtype)
        return _base64_bytes(value)
    if dtype not in _FLOATS and dtype not in _INT_RANGES and dtype not in (pb.DT_STRING, pb.DT_BOOL):
        raise unimplemented(f"Conversion of JSON Value: {debug_text(value)} to type: {type_label(dtype)}")
    if not _suits([value], dtype):
        raise _type_error(value, dtype)
    return encode(value) if dtype == pb.DT_STRING else value


def _type_error(value: object, dtype: int) -> ServingError:
    return invalid_argument(
        f"JSON Value: {debug_text(value)} Type: {type_name(value)} is not of expected type: {type_label(dtype)}"
    )


def type_label(dtype: int) -> str:
    """TensorFlow's lower-case name of a DataType: float, half, int64."""
    return pb.DataType.Name(dtype).removeprefix("DT_").lower()


def _shape_text(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _as_array(values: list, dtype: int, shape: list[int]) -> np.ndarray:
    if len(shape) > MAX_RANK:
        raise invalid_argument(f"JSON lists are nested {len(shape)} deep, a tensor has at most {MAX_RANK} dimensions")
    values = values[: int(np.prod(shape, dtype=np.int64))]  # more are there only where a key came twice
    if dtype == pb.DT_STRING:
        array = np.empty(len(values), object)
        array[:] = values
    elif dtype in _FLOATS:
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite
            array = np.array(values, np.float64).astype(numpy_dtype(dtype), copy=False)
    elif dtype in (pb.DT_INT8, pb.DT_UINT8, pb.DT_INT16):
        array = np.array(values, np.int32).astype(numpy_dtype(dtype))
    else:
        array = np.array(values, numpy_dtype(dtype))
    return array.reshape(shape)


# --- base64 --------------------------------------------------------------------------------------------------------


def _is_base64(value: Object) -> bool:
    return len(value) == 1 and value[0][0] == "b64" and isinstance(value[0][1], str)


def _base64_bytes(value: Object) -> bytes:
    if not _is_base64(value):
        raise invalid_argument(f"JSON Value: {debug_text(value)} not formatted correctly for base64 data")
    text = value[0][1]
    if len(text) % 4 == 0 and not text.endswith("==="):  # Python's strict mode takes padding where none belongs
        with contextlib.suppress(ValueError):
            return binascii.a2b_base64(text, strict_mode=True)
    return _lenient_base64(text)


def _lenient_base64(text: str) -> bytes:
    """The standard alphabet with white space anywhere and padding by choice, as ``absl::Base64Unescape`` reads it."""
    text = re.sub(r"[ \t\n\v\f\r]", "", text)
    data = text.rstrip("=.")
    remainder, padding = len(data) % 4, len(text) - len(data)
    if not _BASE64.fullmatch(text) or remainder == 1 or padding not in (0, -len(data) % 4):
        raise invalid_argument("Unable to base64 decode")
    return binascii.a2b_base64(data + "=" * (-len(data) % 4))


# --- tf.Example ----------------------------------------------------------------------------------------------------


def _fill_example(value: object, example: pb.Example) -> None:
    if not isinstance(value, Object):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    for name, content in value:
        if not _is_utf8(name):
            raise invalid_argument(f"Feature: {name} has a name that is not UTF-8")
        feature = pb.Feature()
        for item in content if type(content) is list else [content]:
            _add_to_feature(item, name, feature)
        example.features.feature[name].CopyFrom(feature)


def _is_utf8(text: str) -> bool:
    """Whether a message may hold it; bytes of a body that are not UTF-8 are surrogates here."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _add_to_feature(value: object, name: str, feature: pb.Feature) -> None:
    if value is None or type(value) is list or (isinstance(value, Object) and not _is_base64(value)):
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
    if isinstance(value, bool):
        _feature_list(feature, "int64_list", name).append(int(value))
    elif isinstance(value, Object):
        _feature_list(feature, "bytes_list", name).append(_base64_bytes(value))
    elif isinstance(value, str):
        _feature_list(feature, "bytes_list", name).append(encode(value))
    elif isinstance(value, float):
        with np.errstate(over="ignore"):
            _feature_list(feature, "float_list", name).append(np.float32(value))
    elif value >= 2**63:
        _feature_list(feature, "int64_list", name)
        raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    else:
        _feature_list(feature, "int64_list", name).append(value)


def _feature_list(feature: pb.Feature, kind: str, name: str):
    """The list of ``kind``; a feature holds one kind only."""
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {present.removesuffix('_list')}"
        )
    return getattr(feature, kind).value

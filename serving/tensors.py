"""NumPy arrays to TensorProto and back, without TensorFlow.

The rules are those of ``Tensor::FromProto`` (tensorflow/core/framework/tensor.cc) and ``tf.make_ndarray``:

- ``tensor_content`` holds the elements in C order, little-endian;
- without it, the ``*_val`` field of the dtype holds them; where it is shorter than the shape its last value repeats (an
  empty field means zeros), where it is longer the rest is left out;
- strings are object arrays of ``bytes`` here; in ``tensor_content`` all their lengths stand first, then their bytes.
"""

import math
from collections.abc import Iterable

import numpy as np

from serving.protos import serving_pb2 as pb

try:
    from ml_dtypes import bfloat16
except ImportError:  # only models that speak bfloat16 need it
    bfloat16 = None

_NUMPY = {
    pb.DT_FLOAT: np.float32,
    pb.DT_DOUBLE: np.float64,
    pb.DT_HALF: np.float16,
    pb.DT_INT8: np.int8,
    pb.DT_INT16: np.int16,
    pb.DT_INT32: np.int32,
    pb.DT_INT64: np.int64,
    pb.DT_UINT8: np.uint8,
    pb.DT_UINT16: np.uint16,
    pb.DT_UINT32: np.uint32,
    pb.DT_UINT64: np.uint64,
    pb.DT_BOOL: np.bool_,
    pb.DT_COMPLEX64: np.complex64,
    pb.DT_COMPLEX128: np.complex128,
    pb.DT_STRING: np.object_,
    # the quantised types travel as the integers that they are made of
    pb.DT_QINT8: np.int8,
    pb.DT_QUINT8: np.uint8,
    pb.DT_QINT16: np.int16,
    pb.DT_QUINT16: np.uint16,
    pb.DT_QINT32: np.int32,
}
if bfloat16 is not None:
    _NUMPY[pb.DT_BFLOAT16] = bfloat16

_DTYPES = {np.dtype(numpy): dtype for dtype, numpy in reversed(_NUMPY.items())}

_VALUE_FIELDS = {
    pb.DT_FLOAT: "float_val",
    pb.DT_DOUBLE: "double_val",
    pb.DT_HALF: "half_val",
    pb.DT_BFLOAT16: "half_val",
    pb.DT_INT64: "int64_val",
    pb.DT_UINT32: "uint32_val",
    pb.DT_UINT64: "uint64_val",
    pb.DT_BOOL: "bool_val",
    pb.DT_COMPLEX64: "scomplex_val",
    pb.DT_COMPLEX128: "dcomplex_val",
    pb.DT_STRING: "string_val",
}  # the other integers share int_val
_SIXTEEN_BIT_FLOATS = (pb.DT_HALF, pb.DT_BFLOAT16)


MAX_RANK = 64
"""NumPy's limit on dimensions."""

MAX_FILLED_BYTES = 1 << 26
"""The largest tensor that a few values may stand for. A message of some bytes can ask for any number of them."""


def numpy_dtype(dtype: int) -> np.dtype:
    """The NumPy dtype of a DataType; ``object`` for strings. ValueError for one that has none (resource, variant)."""
    if dtype not in _NUMPY:
        raise ValueError(f"No NumPy dtype for {dtype_name(dtype)}. Accepted: {', '.join(map(dtype_name, _NUMPY))}")
    return np.dtype(_NUMPY[dtype])


def data_type(dtype: np.dtype) -> int:
    """The DataType of a NumPy dtype (any kind of string is DT_STRING). ValueError for one that has none."""
    dtype = np.dtype(dtype).newbyteorder("=")
    if dtype.kind in "OSUT":
        return pb.DT_STRING
    if dtype not in _DTYPES:
        raise ValueError(f"No DataType for NumPy's {dtype}. Accepted: {', '.join(map(str, _DTYPES))} and strings")
    return _DTYPES[dtype]


def dtype_name(dtype: int) -> str:
    """``DT_FLOAT`` for 1; the bare number for one that this version of the protocol does not know."""
    return pb.DataType.Name(dtype) if dtype in pb.DataType.values() else str(dtype)


def shape_of(tensor: pb.TensorProto) -> tuple[int, ...]:
    """The shape that the proto declares. ValueError where a dimension is unknown, or for more than NumPy has."""
    if len(tensor.tensor_shape.dim) > MAX_RANK:
        raise ValueError(f"A tensor has at most {MAX_RANK} dimensions. Received: {len(tensor.tensor_shape.dim)}")
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise ValueError(f"A tensor's shape must be fully known. Received: {list(shape)}")
    return shape


def to_array(tensor: pb.TensorProto) -> np.ndarray:
    """The values of ``tensor`` as an array of its shape and dtype; strings as an object array of ``bytes``.

    The array may be a read-only view of the message's bytes. Raises ValueError where content and shape disagree, or
    for a dtype that NumPy does not have.
    """
    dtype = numpy_dtype(tensor.dtype)
    shape = shape_of(tensor)
    if tensor.tensor_content:
        from_content = _strings_from_content if tensor.dtype == pb.DT_STRING else _from_content
        return from_content(tensor.tensor_content, dtype, shape)
    values = getattr(tensor, _value_field(tensor.dtype))
    if tensor.dtype == pb.DT_STRING:
        flat = np.empty(len(values), object)
        flat[:] = values
    elif dtype.kind == "c":
        flat = np.array(values, dtype.type(0).real.dtype)
        flat = flat[: len(flat) // 2 * 2].view(dtype)
    elif tensor.dtype in _SIXTEEN_BIT_FLOATS:
        flat = np.array(values, np.int64).astype(np.uint16).view(dtype)
    elif dtype.kind in "iu" and dtype.itemsize < 4:
        flat = np.array(values, np.int32).astype(dtype)  # narrowed as C++ does, silently: the field has 32 bits
    else:
        flat = np.array(values, dtype)
    return _fill(flat, shape)


def to_tensor(array: np.ndarray) -> pb.TensorProto:
    """A TensorProto of ``array`` (or what ``np.asarray`` makes of it): numbers in ``tensor_content``, strings in
    ``string_val`` (``str`` as UTF-8). Raises ValueError for a dtype that TensorFlow does not have.
    """
    tensor = pb.TensorProto()
    fill_tensor(tensor, array)
    return tensor


def fill_tensor(tensor: pb.TensorProto, array: np.ndarray, as_values: bool = False) -> None:
    """Puts ``array`` into an empty message, as ``to_tensor`` does, or with ``as_values`` into the dtype's ``*_val``
    field, which is how TF Serving answers and the only place where some clients look.
    """
    array = np.asarray(array)
    tensor.dtype = data_type(array.dtype)
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_shape.SetInParent()
    if tensor.dtype == pb.DT_STRING:
        tensor.string_val.extend(_as_bytes(array.ravel().tolist()))
    elif not as_values:
        tensor.tensor_content = _little_endian(array)
    elif array.dtype.kind in "fc" and array.dtype.itemsize > 2:
        _merge_packed(tensor, _little_endian(array))
    elif tensor.dtype in _SIXTEEN_BIT_FLOATS:
        tensor.half_val.extend(array.ravel().view(np.uint16).tolist())
    else:
        getattr(tensor, _value_field(tensor.dtype)).extend(array.ravel().tolist())


def _from_content(content: bytes, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    expected = math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise ValueError(
            f"tensor_content has {len(content)} bytes, but shape {list(shape)} of {dtype} needs {expected}"
        )
    return np.frombuffer(content, dtype).reshape(shape)


def _strings_from_content(content: bytes, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    at, lengths, count = 0, [], math.prod(shape)
    if count > len(content):
        raise ValueError(f"tensor_content ends within the lengths of {count} strings: it has {len(content)} bytes")
    for _ in range(count):
        length, at = _varint(content, at)
        lengths.append(length)
    if at + sum(lengths) != len(content):
        raise ValueError(f"tensor_content has {len(content)} bytes, but its strings need {at + sum(lengths)}")
    flat = np.empty(len(lengths), dtype)
    for index, length in enumerate(lengths):
        flat[index] = content[at : at + length]
        at += length
    return flat.reshape(shape)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, where the next one starts) of the base-128 number at ``at``."""
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError("tensor_content ends within the length of a string")


def _little_endian(array: np.ndarray) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _merge_packed(tensor: pb.TensorProto, content: bytes) -> None:
    """Floating-point ``*_val`` fields are packed: on the wire they are the content itself, so nothing is converted."""
    if content:
        number = tensor.DESCRIPTOR.fields_by_name[_value_field(tensor.dtype)].number
        tensor.MergeFromString(bytes([number << 3 | 2]) + _varint_bytes(len(content)) + content)


def _varint_bytes(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _value_field(dtype: int) -> str:
    return _VALUE_FIELDS.get(dtype, "int_val")


def _fill(flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``flat`` in ``shape``, its last value repeated where it is too short."""
    size = math.prod(shape)
    if len(flat) >= size:
        return flat[:size].reshape(shape)
    if size * flat.itemsize > MAX_FILLED_BYTES:
        raise ValueError(
            f"{len(flat)} values stand for shape {list(shape)} of {flat.dtype}, {size * flat.itemsize} bytes. "
            f"Accepted: {MAX_FILLED_BYTES}, or as many values as the shape has"
        )
    last = flat[-1] if len(flat) else (b"" if flat.dtype == object else flat.dtype.type(0))
    filled = np.empty(size, flat.dtype)
    filled[: len(flat)] = flat
    filled[len(flat) :] = last
    return filled.reshape(shape)


def _as_bytes(values: Iterable) -> list[bytes]:
    return [_one_as_bytes(value) for value in values]


def _one_as_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise ValueError(f"A string tensor holds bytes or str. Received: {value!r} of type {type(value).__name__}")

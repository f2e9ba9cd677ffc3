"""A wrong value here is a wrong answer everywhere: every request and every answer over gRPC passes through these."""

import ml_dtypes
import numpy as np
import pytest

from serving.protos import serving_pb2 as pb
from serving.tensors import data_type, fill_tensor, numpy_dtype, to_array, to_tensor

NUMBERS = [
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "bool", "complex64", "complex128",
]  # fmt: skip


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_numbers_survive_the_round_trip(dtype, shape):
    array = (np.arange(np.prod(shape, dtype=int)).reshape(shape) * 3 - 1).astype(dtype)
    tensor = to_tensor(array)
    back = to_array(pb.TensorProto.FromString(tensor.SerializeToString()))
    assert back.dtype == array.dtype
    assert back.shape == shape
    np.testing.assert_array_equal(back, array)


def test_bfloat16_survives_the_round_trip():
    array = np.array([1.5, -2.0, np.inf], ml_dtypes.bfloat16)
    back = to_array(to_tensor(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back.astype("float32"), array.astype("float32"))


@pytest.mark.parametrize(
    "array", [["a", "é"], np.array(["a", "é"]), np.array(["a", "é"], object), [b"a", "é".encode()]]
)
def test_every_kind_of_string_is_sent_as_utf8_bytes(array):
    tensor = to_tensor(array)
    assert list(tensor.string_val) == [b"a", "é".encode()]
    assert to_array(tensor).tolist() == [b"a", "é".encode()]


def test_bytes_with_trailing_zeros_are_not_cut():
    assert to_array(to_tensor(np.array([b"\xff\x00", b""], object))).tolist() == [b"\xff\x00", b""]


def test_an_object_array_of_numbers_is_refused_by_name():
    with pytest.raises(ValueError, match="Received: 3 of type int"):
        to_tensor(np.array([3, None], object))


def test_big_endian_and_strided_arrays_are_sent_right():
    array = np.arange(12, dtype=">i4").reshape(3, 4)[:, ::2]
    np.testing.assert_array_equal(to_array(to_tensor(array)), array)


@pytest.mark.parametrize(
    ("field", "values", "dtype", "expected"),
    [
        ("float_val", [1.0, 2.0], pb.DT_FLOAT, [1, 2, 2, 2]),
        ("int_val", [7], pb.DT_INT8, [7, 7, 7, 7]),
        ("int_val", [255, -1], pb.DT_UINT8, [255, 255, 255, 255]),
        ("half_val", [15360, 16384], pb.DT_HALF, [1, 2, 2, 2]),
        ("bool_val", [True], pb.DT_BOOL, [True] * 4),
        ("string_val", [b"x"], pb.DT_STRING, [b"x"] * 4),
        ("scomplex_val", [1, 2, 3, 4], pb.DT_COMPLEX64, [1 + 2j, 3 + 4j, 3 + 4j, 3 + 4j]),
        ("int64_val", [], pb.DT_INT64, [0, 0, 0, 0]),
        ("string_val", [], pb.DT_STRING, [b""] * 4),
    ],
)
def test_the_last_value_repeats(field, values, dtype, expected):
    tensor = pb.TensorProto(dtype=dtype)
    tensor.tensor_shape.dim.add(size=4)
    getattr(tensor, field).extend(values)
    assert to_array(tensor).tolist() == expected


def test_content_and_shape_that_disagree_are_named():
    tensor = to_tensor(np.zeros((2, 3), "float32"))
    tensor.tensor_shape.dim[0].size = 3
    with pytest.raises(ValueError, match=r"24 bytes, but shape \[3, 3\] of float32 needs 36"):
        to_array(tensor)


def test_values_beyond_the_shape_are_left_out():
    assert to_array(pb.TensorProto(dtype=pb.DT_FLOAT, float_val=[1, 2])).tolist() == 1


def test_an_unknown_dimension_is_refused():
    with pytest.raises(ValueError, match="fully known"):
        to_array(pb.TensorProto(dtype=pb.DT_FLOAT, tensor_shape=pb.TensorShapeProto(dim=[{"size": -1}])))


def test_strings_in_tensor_content_are_read():
    tensor = pb.TensorProto(dtype=pb.DT_STRING, tensor_content=b"\x01\x00\x02a\xffb")
    tensor.tensor_shape.dim.add(size=3)
    assert to_array(tensor).tolist() == [b"a", b"", b"\xffb"]
    tensor.tensor_content = b"\x01\x00\x02a"
    with pytest.raises(ValueError, match="strings need"):
        to_array(tensor)
    tensor.tensor_content = b"\xff"
    with pytest.raises(ValueError, match="ends within"):
        to_array(tensor)


@pytest.mark.parametrize("dtype", [*NUMBERS, "object"])
@pytest.mark.parametrize("size", [0, 1, 300])
def test_values_in_their_own_field_survive_the_round_trip(dtype, size):
    array = np.array([b"a"] * size, object) if dtype == "object" else (np.arange(size) * 3 - 1).astype(dtype)
    tensor = pb.TensorProto()
    fill_tensor(tensor, array, as_values=True)
    assert not tensor.tensor_content
    back = to_array(tensor)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([2**31], "1 values stand for shape .* 8589934592 bytes. Accepted: 67108864"),
        ([2**62, 2**62], "stand for shape"),
        ([2**62] * 50_000, "at most 64 dimensions. Received: 50000"),  # a product that would take minutes
    ],
    ids=["large", "overflowing", "deep"],
)
def test_a_small_message_cannot_ask_for_a_large_tensor(sizes, words):
    tensor = pb.TensorProto(dtype=pb.DT_FLOAT, float_val=[1.5])
    tensor.tensor_shape.dim.extend(pb.TensorShapeProto.Dim(size=size) for size in sizes)
    with pytest.raises(ValueError, match=words):
        to_array(tensor)


def test_more_strings_than_bytes_are_refused_at_once():
    tensor = pb.TensorProto(dtype=pb.DT_STRING, tensor_content=b"\0" * 10)
    tensor.tensor_shape.dim.add(size=2**40)
    with pytest.raises(ValueError, match="ends within the lengths of 1099511627776 strings"):
        to_array(tensor)


@pytest.mark.parametrize("dtype", [pb.DT_RESOURCE, pb.DT_INVALID, 99])
def test_a_dtype_without_numpy_form_is_refused(dtype):
    with pytest.raises(ValueError, match="No NumPy dtype"):
        numpy_dtype(dtype)


def test_a_numpy_dtype_without_tensorflow_form_is_refused():
    with pytest.raises(ValueError, match="datetime64"):
        data_type(np.dtype("datetime64[s]"))

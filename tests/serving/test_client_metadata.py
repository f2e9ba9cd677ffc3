"""How values fit a signature. A silent conversion here is a wrong answer that looks right."""

import numpy as np
import pytest

from serving.errors import Failure
from serving.metadata import ModelMetadata, Signature, TensorSpec, decode_strings

FLOATS = TensorSpec("float32", (None, 2))
SIGNATURE = Signature({"image": FLOATS, "mask": TensorSpec("bool", (None,))}, {"y": FLOATS})


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("float32", [1, 2], [1.0, 2.0]),
        ("float32", np.array([0.1], np.float64), [np.float32(0.1)]),
        ("float32", [np.nan, np.inf], [np.nan, np.inf]),
        ("float16", [65504], [65504.0]),
        ("int32", [1, -2], [1, -2]),
        ("int64", [2**62 + 1], [2**62 + 1]),
        ("uint8", [0, 255], [0, 255]),
        ("int64", [], []),
        ("bool", [True, False], [True, False]),
        ("float32", [True], [1.0]),
        ("bfloat16", [1.5], [1.5]),
    ],
)
def test_numbers_become_the_declared_dtype(dtype, value, expected):
    array = TensorSpec(dtype, (None,)).array(value)
    assert array.dtype.name == dtype
    np.testing.assert_array_equal(array, np.array(expected, array.dtype))


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        ("int64", [1.0], "float64 values for a int64"),
        ("int32", [2**31], "do not fit into int32"),
        ("uint8", [-1], "do not fit into uint8"),
        ("uint8", [256], "do not fit into uint8"),
        ("float16", [1e6], "do not fit into float16"),
        ("float32", [1e300], "do not fit into float32"),
        ("bool", [1], "for a bool tensor"),
        ("float32", ["1"], "for a float32 tensor"),
        ("float32", [b"1"], "for a float32 tensor"),
        ("float32", [1j], "complex128 values"),
        ("float32", [[1], [2, 3]], "no float32 array"),
        ("float32", [None], "object values"),
        ("string", [1], "takes bytes or str. Received: 1 of type int"),
        ("string", [b"a", [b"b"]], "Received: [b'b']"),
        ("resource", [1], "dtype resource"),
    ],
)
def test_values_that_would_change_are_refused(dtype, value, words):
    with pytest.raises(Failure) as failure:
        TensorSpec(dtype, (None,)).array(value)
    assert words in failure.value.words


@pytest.mark.parametrize("value", [[b"a\x00", "é"], np.array([b"a\x00", "é"], object)])
def test_strings_keep_every_byte(value):
    """A picture that ends in zero bytes must arrive whole: NumPy's own bytes dtype would cut them off."""
    assert TensorSpec("string", (None,)).array(value).tolist() == [b"a\x00", "é".encode()]


@pytest.mark.parametrize("value", [b"one", "one"])
def test_one_bare_string_is_a_batch_of_one(value):
    assert TensorSpec("string", (None,)).array(value).tolist() == [b"one"]
    assert TensorSpec("string", ()).array(value).shape == ()


@pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 2, 1), ()])
def test_shapes_are_checked_as_the_servers_do_not(shape):
    with pytest.raises(Failure) as failure:
        FLOATS.array(np.zeros(shape))
    assert f"shape {list(shape)} does not fit float32[?, 2]" in failure.value.words


def test_a_free_rank_takes_any_shape():
    assert TensorSpec("float32", None).array([[[1.0]]]).shape == (1, 1, 1)


def test_inputs_are_bound_by_name():
    arrays = SIGNATURE.bind({"image": [[1, 2]], "mask": [True]})
    assert {name: array.dtype.name for name, array in arrays.items()} == {"image": "float32", "mask": "bool"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"imgae": [[1, 2]], "mask": [True]},
            "no input 'imgae'. The signature takes image: float32[?, 2], mask: bool[?]",
        ),
        ({"imgae": [[1, 2]], "mask": [True]}, "Did you mean 'image'?"),
        ({"image": [[1, 2]]}, "missing input 'mask'"),
        ([[1, 2]], "inputs must be a dict, as the signature has 2 inputs"),
        ({"image": [[1, 2]], "mask": [1]}, "input 'mask': int64 values for a bool tensor"),
    ],
)
def test_what_does_not_bind_is_explained(values, words):
    with pytest.raises(Failure) as failure:
        SIGNATURE.bind(values)
    assert words in failure.value.words


def test_an_input_with_a_default_may_be_left_out():
    signature = Signature(SIGNATURE.inputs, SIGNATURE.outputs, defaults=frozenset({"mask"}))
    assert list(signature.bind({"image": [[1, 2]]})) == ["image"]


def test_an_unknown_signature_gets_the_nearest_match():
    metadata = ModelMetadata("m", 3, {"bytes": SIGNATURE, "serving_default": SIGNATURE})
    with pytest.raises(Failure) as failure:
        metadata.signature("byte")
    assert "no signature 'byte' in version 3, which has bytes, serving_default. Did you mean 'bytes'?" in str(
        failure.value.words
    )


def test_strings_are_text_unless_their_name_says_bytes():
    array = np.array([b"a\xff"], object)
    assert decode_strings("raw_bytes", array).tolist() == [b"a\xff"]
    (text,) = decode_strings("classes", array)
    assert text.encode("utf-8", "surrogateescape") == b"a\xff"

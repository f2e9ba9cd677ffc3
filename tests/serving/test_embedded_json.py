"""JSON in and out, without a server: no body may bring it down, and the quick way must agree with the careful one."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.embedded import json_request, json_response
from serving.embedded.json_text import Object, debug_text, decimal, encode, parse
from serving.embedded.status import ServingError
from serving.protos import serving_pb2 as pb

FLOAT = {"x": pb.TensorInfo(name="x:0", dtype=pb.DT_FLOAT)}
TYPES = [pb.DT_FLOAT, pb.DT_INT32, pb.DT_STRING, pb.DT_BOOL, pb.DT_UINT8]

scalars = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def read(body: bytes, infos=FLOAT):
    return json_request.predict_inputs(json_request.parse_document(body), infos)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_answered(body):
    with_braces = b'{"instances": [' + body + b"]}"
    for tried in (body, with_braces):
        with contextlib.suppress(ServingError):  # anything else is a crash
            read(tried)


@settings(max_examples=300, deadline=None)
@given(values, st.sampled_from(TYPES))
def test_any_document_is_answered(value, dtype):
    for key in ("instances", "inputs"):
        with contextlib.suppress(ServingError):  # anything else is a crash
            read(json.dumps({key: value}).encode(), {"x": pb.TensorInfo(dtype=dtype)})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.floats(width=32) | st.integers(-9, 9), min_size=2, max_size=2), min_size=1, max_size=4))
def test_the_careful_way_agrees_with_the_quick_one(rows):
    quick = json_request._quick_array(rows, pb.DT_FLOAT)
    careful = json_request._walk_rows(rows, FLOAT, named=False)["x"]
    np.testing.assert_array_equal(quick, careful)
    assert quick.dtype == careful.dtype == np.float32


@settings(max_examples=200, deadline=None)
@given(values)
def test_parsing_agrees_with_pythons_own_reader(value):
    text = json.dumps(value)

    def plain(parsed):
        if isinstance(parsed, Object):
            return {key: plain(item) for key, item in parsed}
        return [plain(item) for item in parsed] if isinstance(parsed, list) else parsed

    def bounded(item):  # beyond 64 bits RapidJSON has only doubles
        if isinstance(item, int) and not isinstance(item, bool) and not -(2**63) <= item < 2**64:
            return pytest.approx(float(item), rel=1e-15)
        if isinstance(item, float):
            return pytest.approx(item, rel=1e-15, nan_ok=True)
        if isinstance(item, list):
            return [bounded(part) for part in item]
        return {key: bounded(part) for key, part in item.items()} if isinstance(item, dict) else item

    assert plain(parse(text.encode())) == bounded(json.loads(text))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=8))
def test_every_float_reads_back_as_it_was(numbers):
    array = np.array(numbers, np.float32)
    answer = json.loads(json_response.outputs_object({"y": array}))["outputs"]
    np.testing.assert_array_equal(np.array(answer, np.float32), array)


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_quoted_doubles_read_back_as_they_were(number):
    assert float(decimal(number)) == number


def test_bytes_that_are_not_utf8_come_back_as_they_were():
    assert encode(parse(b'"\xff\xfe\xed\xa0\x80"')) == b"\xff\xfe\xed\xa0\x80"


def test_offsets_count_bytes_also_after_bytes_that_are_not_utf8():
    with pytest.raises(ServingError, match=r"Invalid value\. at offset: 7"):
        parse(b'["\xff\xfe", bad]')


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_depth_is_bounded(opening):
    with pytest.raises(ServingError, match="nested too deeply"):
        parse(opening * 100_000)


def test_a_list_deeper_than_a_tensor_is_refused():
    with pytest.raises(ServingError, match="at most 64 dimensions"):
        read(b'{"inputs": ' + b"[" * 70 + b"1" + b"]" * 70 + b"}")


def test_a_member_that_comes_twice_in_a_row_is_read_as_tf_serving_reads_it():
    arrays, _ = read(b'{"instances": [{"x": [1, 2], "x": [9, 9]}]}')
    assert arrays["x"].tolist() == [[1, 2]]


def test_a_feature_whose_name_is_not_utf8_is_refused():
    with pytest.raises(ServingError, match="has a name that is not UTF-8"):
        json_request.examples(json_request.parse_document(b'{"examples": [{"x\xff": 1}]}'))


def test_quoting_stops_at_a_number_that_json_has_not():
    assert debug_text(parse(b'{"a": [1, NaN, 2]}')) == '{\n    "a": [1, '


def test_no_rows_are_an_empty_list():
    assert json.loads(json_response.predictions({"y": np.zeros((0, 2))})) == {"predictions": []}


def test_rows_and_columns_are_the_same_json():
    outputs = {"a": np.arange(6.0).reshape(3, 2), "b": np.array([b"x", b"y", b"z"], object)}
    rows = json.loads(json_response.predictions(outputs))["predictions"]
    columns = json.loads(json_response.outputs_object(outputs))["outputs"]
    assert [row["a"] for row in rows] == columns["a"]
    assert [row["b"] for row in rows] == columns["b"]

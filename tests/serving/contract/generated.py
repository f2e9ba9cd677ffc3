"""Requests as no client would send them: hypothesis strategies of bodies, of HTTP, and of messages of gRPC."""

import gzip
import json
import random
from dataclasses import dataclass, field

from hypothesis import strategies as st

from serving.protos import serving_pb2 as pb

IDENTITY_TYPES = (
    "float32", "float64", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool",
    "string", "complex64",
)  # fmt: skip
SIGNATURES = [
    *((name, "", ("x",)) for name in ("affine", "shapes")),
    ("lookup", "", ("ids",)),
    ("strings", "", ("text",)),
    ("strings", "lower", ("text",)),
    ("strings", "height", ("image_bytes",)),
    ("pair", "", ("a", "b")),
    *(("identity", dtype, ("x",)) for dtype in IDENTITY_TYPES),
    *(("shapes", name, ("x",)) for name in ("uneven", "fixed", "special")),
    ("shapes", "constant", ()),
    ("examples", "", ("inputs",)),
]
"""(model, signature, inputs) of the contract suite's models."""

CALLS = ("predict", "classify", "regress")

_ODD_NUMBERS = [
    "0", "-0", "-0.0", "1.0", "1e400", "-1e400", "1e-400", "5e-324", "NaN", "Infinity", "-Infinity", "nan", "inf", "+1",
    "01", ".5", "1.", "0x10", "1e", "--1", "127", "128", "255", "256", "65536", "2147483647", "2147483648",
    "4294967296", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551615",
    "18446744073709551616", "9" * 400, "-" + "9" * 5000, "0." + "1" * 5000, "1" + "0" * 400 + "e-400",
]  # fmt: skip
_ODD_STRINGS = [
    b'""',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\u0000"',
    b'"\\x"',
    b'"\\u12"',
    b'"open',
    b'"\xff\xfe"',
    b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"',
    b'"\xc0\x80"',
    b'"\x00"',
    b'"\n"',
    b'"\xf4\x8f\xbf\xbf"',
    '"\U0010dc80"'.encode(),
    b"'x'",
]
_ODD_BASE64 = [
    b'{"b64": ""}', b'{"b64": "AAAA"}', b'{"b64": "AA=="}', b'{"b64": "AA="}', b'{"b64": "A"}', b'{"b64": "===="}',
    b'{"b64": "AA..\\n"}', b'{"b64": "\xff"}', b'{"b64": 1}', b'{"b64": null}', b'{"b64": "AA", "b64": "AA"}',
    b'{"b64": "AA", "x": 1}', b'{"B64": "AA"}', b'{"b64": {"b64": "AA"}}', b'{"b64": "iVBORw0KGgo="}',
]  # fmt: skip
_WORDS = [b"true", b"false", b"null", b"True", b"nul", b"", b"{}", b"[]", b"[[]]", b"/**/1", b"[1,]", b'{"a":1,}', b"]"]

_MARKS = [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\xef\xbb\xbf", b"\r\n", b"\x80"]

scalars = st.one_of(
    st.integers(-9, 9).map(str).map(str.encode),
    st.integers(-(2**70), 2**70).map(str).map(str.encode),
    st.floats().map(json.dumps).map(str.encode),
    st.sampled_from(_ODD_NUMBERS).map(str.encode),
    st.text(max_size=6).map(json.dumps).map(str.encode),
    st.sampled_from(_ODD_STRINGS + _ODD_BASE64 + _WORDS),
)


def _listed(items: list[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _member(name: str, value: bytes) -> bytes:
    return json.dumps(name).encode() + b":" + value


def _object(members: list[tuple[str, bytes]]) -> bytes:
    return b"{" + b", ".join(_member(*member) for member in members) + b"}"


@st.composite
def nested(draw: st.DrawFn, leaf: st.SearchStrategy[bytes], ragged: bool) -> bytes:
    """Lists of lists of ``leaf``, regular or nearly so."""
    value = draw(leaf)
    for size in draw(st.lists(st.sampled_from([1, 2, 3, 3, 0]), max_size=4)):
        items = [value] * size
        if ragged and size:
            items[draw(st.integers(0, size - 1))] = draw(leaf)
        value = _listed(items)
    return value


def deep(depth: int, opening: bytes) -> bytes:
    """Nested so many times, closed or not."""
    closing = {b"[": b"]", b'{"a":': b"}", b'[{"b64":': b"}]"}[opening]
    return opening * depth + b"1" + closing * depth


tensors = st.one_of(
    nested(st.integers(-9, 9).map(str).map(str.encode), ragged=False),
    nested(st.sampled_from([b'"text"', b'{"b64": "aGk="}']), ragged=False),
    nested(scalars, ragged=True),
    st.builds(
        deep, st.sampled_from([2, 63, 65, 300, 990, 1100, 10_000]), st.sampled_from([b"[", b'{"a":', b'[{"b64":'])
    ),
)


@st.composite
def bodies(draw: st.DrawFn, call: str, signature: str, inputs: tuple[str, ...]) -> bytes:
    """A document for ``call``: right, nearly right, or broken."""
    members = []
    if signature or draw(st.booleans()):
        name = draw(st.sampled_from([json.dumps(signature).encode()] * 9 + [b"1", b"null", b'"\\ud800"', b'"nope"']))
        members.append(("signature_name", name))
    key = draw(st.sampled_from({"predict": ["instances", "inputs"]}.get(call, ["examples"]) * 4 + ["instances", "x"]))
    members.append((key, draw(_values(key, inputs))))
    if draw(st.integers(0, 9)) == 0:
        members.append((draw(st.sampled_from(["context", key, "inputs", "y"])), draw(tensors)))
    body = _object(members)
    return mutated(body, draw(seeds)) if draw(st.integers(0, 3)) == 0 else body


def _values(key: str, inputs: tuple[str, ...]) -> st.SearchStrategy[bytes]:
    names = st.sampled_from([*inputs, *inputs, "x", "y", "b64", "\ud800", "a" * 300])
    named = st.one_of(
        st.tuples(*(st.tuples(st.just(name), tensors) for name in inputs)).map(list),
        st.lists(st.tuples(names, tensors), max_size=3),
    ).map(_object)
    if key == "inputs":
        return st.one_of(tensors, named)
    return st.one_of(
        tensors, st.lists(st.one_of(named, tensors), max_size=3).map(_listed), named.map(lambda x: _listed([x]))
    )


def mutated(data: bytes, seed: int) -> bytes:
    """``data`` with some bytes lost, doubled, overwritten or put in; the same for the same seed."""
    chance, changed = random.Random(seed), bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at, size = chance.randrange(len(changed) + 1), chance.randint(1, 8)
        how = chance.choice(["cut", "drop", "double", "bytes", "mark"])
        if how == "cut":
            del changed[at:]
        elif how == "drop":
            del changed[at : at + size]
        elif how == "double":
            changed[at:at] = changed[at : at + size]
        elif how == "bytes":
            changed[at:at] = chance.randbytes(size)
        else:
            changed[at : at + 1] = chance.choice(_MARKS)
    return bytes(changed)


seeds = st.integers(0, 2**32 - 1)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, str, str, bytes]:
    """(model, call, signature, body)"""
    model, signature, inputs = draw(st.sampled_from(SIGNATURES))
    call = draw(st.sampled_from(CALLS)) if model == "examples" else "predict"
    return model, call, signature, draw(bodies(call, signature, inputs))


# --- HTTP ----------------------------------------------------------------------------------------------------------


@dataclass
class HttpBytes:
    """What goes over a connection. ``methods`` are those of the requests in it, where each must get an answer; none
    where no HTTP can be told in it, and only the end of the connection is sure.
    """

    data: bytes
    methods: list[str] = field(default_factory=list)


_SOUND_HEADERS = [
    b"Content-Type: application/json", b"Content-Type: image/png", b"Accept: */*", b"Expect: 100-continue",
    b"Origin: http://example.org", b"X: \xff\xfe", b"Cookie: " + b"c" * 5000, b"Accept-Encoding: gzip, br",
    b"Content-Encoding: identity", b"Content-Encoding: br", b"Content-Encoding: gzip",
]  # fmt: skip
_ODD_HEADERS = [
    b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 1e3", b"Content-Length: +3",
    b"Content-Length: 0x10", b"Content-Length:", b"Content-Length: 5, 5", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: \x00", b"no colon",
    b": empty", b" folded: line", b"a b: c", b"X: \x00", b"X: a\rb", b"Y: " + b"y" * 20_000, b"Connection: upgrade",
    b"Upgrade: websocket\r\nConnection: Upgrade", b"Upgrade: h2c\r\nConnection: Upgrade", b"Host: a\r\nHost: b",
    b"Expect: 200-maybe", b"\r\n", b"Content-Length: 100000", b"".join(b"H%d: x\r\n" % number for number in range(300)),
]  # fmt: skip
_ODD_LINES = [
    b"GET",
    b"GET / HTTP/9.9",
    b"GET  /v1/models/affine  HTTP/1.1",
    b"get /v1/models/affine HTTP/1.1",
    b"\x16\x03\x01\x02\x00",
    b"PRI * HTTP/2.0",
    b"CONNECT a:1 HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1",
    b"\x00" * 40,
    b"POST /v1/models/affine:predict HTTP/0.9",
    b"GET http://[::1/ HTTP/1.1",
    b"GET //x:y@z:99999/ HTTP/1.1",
    b"SSH-2.0-x",
    b"BREW /v1/models/affine HTTP/1.1",
    b"GET /v1/models/affine",
    b"",
    b"GET \xff HTTP/1.1",
    b"GET /\x01 HTTP/1.1",
]
_TARGETS = [
    "/v1/models/affine",
    "/v1/models/affine/metadata",
    "/v1/models/affine/versions/1",
    "/v1/models/nope/metadata",
    "/v1/models/affine/versions/99999999999999999999999",
    f"/v1/models/affine/versions/{'9' * 5000}",
    "/v1/models/%ff",
    "/v1/models/affine/labels/stable",
    "/v1/models/affine/labels/%FF%00",
    "/v1/models/%",
    "/v1/models/a%2Fb:predict",
    "/v1/models",
    "/v1/models/",
    "/v1/",
    "/",
    "/metrics",
    "/metrics?x",
    "/v1/models/affine:predict?x=1",
    "/v1/models/:predict",
    "/v1/models/affine:PREDICT",
    "/v1/models/affine:train",
    "/v1/models/affine/versions/-1:predict",
    "//v1//models",
    "/v1/models/affine/versions/0001:predict",
    "http://host/v1/models/affine",
    "/v1/models/%ed%a0%80/metadata",
    "/V1/MODELS/affine",
    "/v1/models/" + "a" * 3000,
    "/v1/models/%FF/versions/1:predict",
]
_METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]


def _request(method: str, target: str, headers: list[bytes], body: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    line = method.encode() + b" " + target.encode("utf-8", "surrogateescape") + b" " + version
    return b"\r\n".join([line, b"Host: x", *headers]) + b"\r\n\r\n" + body


def _chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"


@st.composite
def sound_requests(draw: st.DrawFn) -> tuple[str, bytes]:
    """(method, bytes) of one request whose HTTP is right, whatever it asks."""
    model, call, _, body = draw(documents())
    method, target = "POST", f"/v1/models/{model}:{call}"
    if draw(st.integers(0, 4)) == 0:
        method, target = draw(st.sampled_from(_METHODS)), draw(st.sampled_from(_TARGETS))
    headers = draw(st.lists(st.sampled_from(_SOUND_HEADERS), max_size=2, unique_by=lambda line: line.split(b":")[0]))
    if draw(st.integers(0, 5)) == 0:
        body = draw(st.sampled_from([gzip.compress(body, 1), gzip.compress(body, 1)[:-5], body]))
        headers = [line for line in headers if not line.startswith(b"Content-Encoding")] + [b"Content-Encoding: gzip"]
    if body and draw(st.integers(0, 4)) == 0:
        size = draw(st.sampled_from([1, 7, 5000]))
        return method, _request(
            method, target, [*headers, b"Transfer-Encoding: chunked"], _chunked(body[:20_000], size)
        )
    return method, _request(method, target, [*headers, b"Content-Length: %d" % len(body)], body)


@st.composite
def broken_requests(draw: st.DrawFn) -> bytes:
    """Bytes that are no HTTP, or not quite."""
    kind = draw(st.sampled_from(["line", "header", "chunks", "bytes", "mutated"]))
    if kind == "line":
        return draw(st.sampled_from(_ODD_LINES)) + draw(
            st.sampled_from([b"\r\n\r\n", b"\n\n", b"\r\nHost: x\r\n\r\n", b""])
        )
    if kind == "header":
        body = draw(st.sampled_from([b"", b'{"instances": [[1,2,3]]}', b"x" * 3000]))
        return _request(
            "POST",
            "/v1/models/affine:predict",
            draw(st.lists(st.sampled_from(_ODD_HEADERS), min_size=1, max_size=3)),
            body,
        )
    if kind == "chunks":
        chunks = draw(
            st.sampled_from(
                [
                    b"zz\r\n",
                    b"-1\r\nx",
                    b"ffffffffffffffffff\r\nx",
                    b"5\r\nab",
                    b"5\r\nabcdefgh\r\n0\r\n\r\n",
                    b"1;" + b"e" * 20_000,
                    b"0\r\nbad trailer\r\n\r\n",
                ]
            )
        )
        return _request("POST", "/v1/models/affine:predict", [b"Transfer-Encoding: chunked"], chunks)
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    return mutated(draw(sound_requests())[1][:4000], draw(seeds))


@st.composite
def http_bytes(draw: st.DrawFn) -> HttpBytes:
    """One to four requests on one connection, or something else."""
    if draw(st.integers(0, 4)) == 0:
        return HttpBytes(draw(broken_requests()))
    asked = draw(st.lists(sound_requests(), min_size=1, max_size=draw(st.sampled_from([1, 1, 1, 4]))))
    return HttpBytes(b"".join(data for _, data in asked), [method for method, _ in asked])


# --- gRPC ----------------------------------------------------------------------------------------------------------

METHODS = {
    "PredictionService/Predict": pb.PredictRequest,
    "PredictionService/Classify": pb.ClassificationRequest,
    "PredictionService/Regress": pb.RegressionRequest,
    "PredictionService/MultiInference": pb.MultiInferenceRequest,
    "PredictionService/GetModelMetadata": pb.GetModelMetadataRequest,
    "ModelService/GetModelStatus": pb.GetModelStatusRequest,
}
"""All but the one by which an operator takes the models away."""

_SIZES = [0, 1, 2, 3, 3, -1, -(2**63), 2**31, 2**40, 2**62, 2**63 - 1]
_DTYPES = [*range(24), 101, 119, 9999, -1]
_VALUES = {
    "float_val": [0.0, float("nan"), 1e38],
    "double_val": [1e308],
    "int_val": [1, -1, 2**31 - 1],
    "int64_val": [2**63 - 1],
    "uint32_val": [2**32 - 1],
    "uint64_val": [2**64 - 1],
    "bool_val": [True],
    "string_val": [b"", b"\xff", b"text"],
    "half_val": [1, -1, 70_000, 2**31 - 1],
    "scomplex_val": [1.0],
    "dcomplex_val": [1.0, 2.0, 3.0],
}


@st.composite
def tensor_protos(draw: st.DrawFn) -> pb.TensorProto:
    """A tensor whose content need not fit its shape, nor its dtype."""
    tensor = pb.TensorProto(dtype=draw(st.sampled_from(_DTYPES)))
    for size in draw(st.lists(st.sampled_from(_SIZES), max_size=4)):
        tensor.tensor_shape.dim.add(size=size)
    if draw(st.integers(0, 20)) == 0:
        for _ in range(draw(st.sampled_from([64, 65, 254, 255, 3000]))):
            tensor.tensor_shape.dim.add(size=draw(st.sampled_from([1, 1, 2**62])))
    if draw(st.integers(0, 15)) == 0:
        tensor.tensor_shape.unknown_rank = True
    if draw(st.booleans()):
        tensor.tensor_content = draw(st.one_of(st.binary(max_size=40), st.just(b"\x80" * 20), st.just(b"\0" * 12)))
    for name in draw(st.lists(st.sampled_from(list(_VALUES)), max_size=2, unique=True)):
        getattr(tensor, name).extend(_VALUES[name] * draw(st.integers(1, 3)))
    return tensor


def _spec(draw: st.DrawFn, model: str, signature: str) -> pb.ModelSpec:
    spec = pb.ModelSpec(name=draw(st.sampled_from([model] * 9 + ["", "nope", "n" * 1000])))
    spec.signature_name = draw(st.sampled_from([signature] * 9 + ["nope"]))
    if draw(st.integers(0, 5)) == 0:
        spec.version.value = draw(st.sampled_from([1, 0, -1, 2**63 - 1]))
    elif draw(st.integers(0, 9)) == 0:
        spec.version_label = draw(st.sampled_from(["stable", "", "nope"]))
    return spec


def _fill_input(draw: st.DrawFn, into: pb.Input) -> None:
    examples = [into.example_list.examples, into.example_list_with_context.examples][draw(st.integers(0, 1))]
    for _ in range(draw(st.integers(0, 2))):
        feature = examples.add().features.feature[draw(st.sampled_from(["x", "x", "y", ""]))]
        kind = draw(st.sampled_from(["float", "float", "bytes", "int64", "none"]))
        if kind == "float":
            feature.float_list.value.extend(draw(st.lists(st.floats(width=32), max_size=3)))
        elif kind == "bytes":
            feature.bytes_list.value.append(b"\xff")
        elif kind == "int64":
            feature.int64_list.value.append(-1)


@st.composite
def grpc_calls(draw: st.DrawFn) -> tuple[str, bytes]:
    """(service and method, the bytes of a message of its kind, or of none)"""
    if draw(st.integers(0, 19)) == 0:
        name = draw(
            st.sampled_from(["PredictionService/", "PredictionService/predict", "Nope/Predict", "ModelService/X" * 50])
        )
        return name, draw(st.binary(max_size=40))
    method = draw(st.sampled_from([*METHODS, *["PredictionService/Predict"] * 5]))
    if draw(st.integers(0, 9)) == 0:
        return method, draw(st.binary(max_size=60))
    model, signature, inputs = draw(st.sampled_from(SIGNATURES))
    if method.endswith(("Classify", "Regress", "MultiInference")):
        model, signature, inputs = "examples", "", ()
    request = METHODS[method]()
    spec = _spec(draw, model, signature)
    if isinstance(request, pb.PredictRequest):
        for name in draw(st.sampled_from([inputs] * 9 + [(), ("y",)])):
            request.inputs[name].CopyFrom(draw(tensor_protos()))
        request.output_filter.extend(draw(st.sampled_from([[]] * 9 + [["y"], ["y", "y"], ["nope"]])))
    if isinstance(request, pb.MultiInferenceRequest):
        for name in draw(st.lists(st.sampled_from(["classify", "regress", "predict", ""]), max_size=3)):
            request.tasks.add(model_spec=spec, method_name=f"tensorflow/serving/{name}")
    elif draw(st.integers(0, 19)):
        request.model_spec.CopyFrom(spec)
    if hasattr(request, "input"):
        _fill_input(draw, request.input)
    if isinstance(request, pb.GetModelMetadataRequest):
        request.metadata_field.extend(draw(st.sampled_from([["signature_def"], [], ["nope"]])))
    data = request.SerializeToString()
    return method, mutated(data, draw(seeds)) if draw(st.integers(0, 7)) == 0 else data

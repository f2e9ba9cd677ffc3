"""TensorFlow Serving's REST API: JSON in column format. What carries it is ``http_urllib3`` or ``http_aiohttp``.

The pure functions (``encode_request``, ``decode_outputs``, ``parse_metadata``…) know JSON and no protocol.
"""

import base64
import json
import math
import re
from collections.abc import Callable
from typing import Protocol, TypeVar
from urllib.parse import quote

import numpy as np

from serving.errors import CODE_OF_HTTP_STATUS, AnswerMismatch, Failure
from serving.metadata import (
    ModelMetadata,
    Signature,
    TensorSpec,
    VersionStatus,
    decode_strings,
    dtype_name,
    numpy_dtype,
    visible,
)
from serving.transport import Answer, ModelRef

T = TypeVar("T")


class Http(Protocol):
    """One HTTP exchange: the answer's status and body. Raises Failure."""

    async def exchange(self, method: str, url: str, timeout: float, body: bytes | None) -> tuple[int, bytes]: ...

    async def close(self) -> None: ...


class RestTransport:
    """``http://host:port`` (or https, or with a gateway's path prefix)."""

    tells_version = False

    def __init__(self, url: str, http: Http):
        self.address = url.rstrip("/")
        self._http = http

    async def predict(
        self, model: ModelRef, signature_name: str, signature: Signature, inputs: dict[str, np.ndarray], timeout: float
    ) -> Answer:
        body = encode_request(signature_name, inputs)
        reply = await self._ask("POST", f"{model_path(model)}:predict", timeout, body)
        return Answer(None, decode_outputs(reply, signature.outputs))

    async def metadata(self, model: ModelRef, timeout: float) -> ModelMetadata:
        return _parsed(parse_metadata, await self._ask("GET", f"{model_path(model)}/metadata", timeout))

    async def status(self, model: ModelRef, timeout: float) -> tuple[VersionStatus, ...]:
        return _parsed(parse_status, await self._ask("GET", model_path(model), timeout))

    async def reload(self, config: object, timeout: float) -> None:
        raise Failure("UNIMPLEMENTED", "TensorFlow Serving takes a list of models over gRPC only")

    async def close(self) -> None:
        await self._http.close()

    async def _ask(self, method: str, path: str, timeout: float, body: bytes | None = None) -> dict:
        status, data = await self._http.exchange(method, self.address + path, timeout, body)
        try:
            # JSON that TF Serving writes may hold a string tensor's raw bytes, which need not be UTF-8
            reply = json.loads(data.decode("utf-8", "surrogateescape"), strict=False)
        except ValueError:
            reply = None
        if status == 200 and isinstance(reply, dict):
            return reply
        if isinstance(reply, dict) and "error" in reply:
            raise Failure(CODE_OF_HTTP_STATUS.get(status, "UNKNOWN"), str(reply["error"]))
        if status in (503, 504):  # a proxy in front speaks for the server
            raise Failure(CODE_OF_HTTP_STATUS[status], f"HTTP {status}: {_plain(data)}")
        raise Failure("UNKNOWN", f"HTTP {status}, not an answer of TF Serving's REST API: {_plain(data)}")


def model_path(model: ModelRef) -> str:
    """``/v1/models/NAME``, with ``/versions/N`` or ``/labels/L``."""
    path = f"/v1/models/{quote(model.name, safe='')}"
    if model.version is not None:
        return f"{path}/versions/{model.version}"
    if model.label is not None:
        return f"{path}/labels/{quote(model.label, safe='')}"
    return path


def encode_request(signature_name: str, inputs: dict[str, np.ndarray]) -> bytes:
    """The body of a predict request; strings travel as ``{"b64": …}``, so that any bytes may be in them."""
    values = {name: _json_value(name, array) for name, array in inputs.items()}
    return json.dumps({"signature_name": signature_name, "inputs": values}, separators=(",", ":")).encode()


def decode_outputs(reply: dict, specs: dict[str, TensorSpec]) -> dict[str, np.ndarray]:
    """The arrays of a predict answer, named and typed as ``specs`` say.

    A single output comes bare, so its name is the signature's. AnswerMismatch where the answer cannot be of ``specs``.
    """
    if "outputs" not in reply:
        raise Failure("UNKNOWN", f"the answer has no 'outputs' but {', '.join(reply) or 'nothing'}")
    values = reply["outputs"]
    if len(specs) == 1:
        if isinstance(values, dict) and set(values) != {"b64"}:
            raise AnswerMismatch(f"expected one output, received {', '.join(values)}")
        values = {next(iter(specs)): values}
    elif not isinstance(values, dict) or values.keys() != specs.keys():
        received = ", ".join(values) if isinstance(values, dict) else "one output without a name"
        raise AnswerMismatch(f"expected the outputs {', '.join(specs)}, received {received}")
    return {name: _output_array(name, values[name], spec) for name, spec in specs.items()}


def parse_metadata(reply: dict) -> ModelMetadata:
    """The metadata of ``GET …/metadata``."""
    signatures = reply["metadata"]["signature_def"]["signature_def"]
    return ModelMetadata(
        name=reply["model_spec"]["name"],
        version=int(reply["model_spec"]["version"]),
        signatures=visible({name: _parse_signature(signature) for name, signature in signatures.items()}),
    )


def parse_status(reply: dict) -> tuple[VersionStatus, ...]:
    """The states of ``GET /v1/models/NAME``, newest version first."""
    return tuple(
        VersionStatus(
            version=int(version["version"]),
            state=version["state"],
            error=version.get("status", {}).get("error_message", ""),
        )
        for version in reply["model_version_status"]
    )


def _parsed(parse: Callable[[dict], T], reply: dict) -> T:
    try:
        return parse(reply)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Failure("UNKNOWN", f"not an answer of TF Serving's REST API: {error!r} in {str(reply)[:200]}") from None


def _parse_signature(signature: dict) -> Signature:
    return Signature(
        inputs={name: _parse_spec(info) for name, info in sorted(signature["inputs"].items())},
        outputs={name: _parse_spec(info) for name, info in sorted(signature["outputs"].items())},
        method_name=signature.get("method_name", ""),
        defaults=frozenset(signature.get("defaults", ())),
    )


def _parse_spec(info: dict) -> TensorSpec:
    shape = info["tensor_shape"]
    sizes = tuple(None if int(dim["size"]) < 0 else int(dim["size"]) for dim in shape.get("dim", ()))
    return TensorSpec(dtype_name(info["dtype"]), None if shape.get("unknown_rank") else sizes)


def _json_value(name: str, array: np.ndarray) -> object:
    if array.dtype == object:
        return _b64(array.tolist())
    if array.dtype.kind not in "biuf":
        raise Failure("UNIMPLEMENTED", f"input {name!r}: {array.dtype} cannot be written in JSON. Use gRPC")
    if array.size == 0 and array.ndim > 1:
        raise Failure("INVALID_ARGUMENT", f"input {name!r}: JSON cannot hold the empty shape {array.shape}. Use gRPC")
    return array.tolist()


def _b64(value: object) -> object:
    if isinstance(value, list):
        return [_b64(item) for item in value]
    return {"b64": base64.b64encode(value).decode("ascii")}


def _output_array(name: str, value: object, spec: TensorSpec) -> np.ndarray:
    try:
        if spec.dtype == "string":
            array = decode_strings(name, _bytes_array(value))
        else:
            array = np.array(value, numpy_dtype(spec.dtype))
    except (ValueError, TypeError, OverflowError) as error:
        raise AnswerMismatch(f"output {name!r} is no {spec}: {error}") from None
    if array.size == 0 and spec.shape is not None and math.prod(size or 0 for size in spec.shape) == 0:
        array = array.reshape([size or 0 for size in spec.shape])  # JSON has no more than [] for any empty shape
    if spec.shape is not None and array.ndim != len(spec.shape):
        raise AnswerMismatch(f"output {name!r} has rank {array.ndim}, not that of {spec}")
    return array


def _bytes_array(value: object) -> np.ndarray:
    """Nested lists of JSON strings or ``{"b64": …}`` as an object array of ``bytes``."""
    shape, level = [], value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    flat = [_one_string(item) for item in _leaves(value)]
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(shape)


def _leaves(value: object):
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _one_string(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"])
    raise TypeError(f"{value!r} is no string")


def _plain(data: bytes) -> str:
    """A page's text on one line, for a message."""
    return " ".join(re.sub(rb"<[^>]*>", b" ", data).decode("utf-8", "replace").split())[:200] or "an empty page"

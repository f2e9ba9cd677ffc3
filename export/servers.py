"""Asking a running server, by TF Serving's public contract alone.

Deliberately not the client of `serving`: a fault in our client must not hide a fault in a version. REST is JSON over
urllib3, gRPC the official stubs of `tensorflow-serving-api` with TensorFlow's own conversion of arrays.
"""

import base64
import json
from abc import ABC, abstractmethod
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
import urllib3
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export.arrays import Arrays

TIME_LIMIT = 120.0  # seconds; the first request to a large version is slow
AVAILABLE = "AVAILABLE"


class Refused(Exception):  # noqa: N818 - it reads as what happened
    """The server answered a question with an error; the message is the server's."""


class Server(ABC):
    """One version of one model on a running server."""

    def __init__(self, address: str, model: str, version: int):
        self.address, self.model, self.version = address, model, version

    def check(self) -> None:
        """Make sure that the server has the version.

        Raises:
            ValueError: it lacks the model or the version, or the version is not available.
            ConnectionError: it does not answer.
        """
        state = self._state()
        if state != AVAILABLE:
            raise ValueError(f"{self} is {state}, not {AVAILABLE}.")

    @abstractmethod
    def predict(self, signature: str, inputs: Arrays, like: Arrays) -> Arrays:
        """Ask a signature.

        Args:
            signature: its name.
            inputs: name → array `(batch, ...)`, strings as objects of `bytes`.
            like: the expected outputs, for their names and dtypes: JSON carries neither where there is one output.

        Raises:
            Refused: the server answers with an error.
            ConnectionError: it does not answer.
        """

    @abstractmethod
    def _state(self) -> str: ...

    def _lacks(self, reply: str) -> ValueError:
        return ValueError(
            f"The server at {self.address} does not have version {self.version} of {self.model!r}: {reply}"
        )

    def _silent(self, error: Exception) -> ConnectionError:
        return ConnectionError(f"The server at {self.address} does not answer: {error}")

    def __str__(self) -> str:
        return f"Version {self.version} of {self.model!r} at {self.address}"


class Rest(Server):
    """TF Serving's REST API, in the column format; `address` is `http://host:port`."""

    def __init__(self, address: str, model: str, version: int):
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"Not the address of a REST server: {address!r}. Accepted: http://host:port.")
        super().__init__(address.rstrip("/"), model, version)
        self._pool = urllib3.PoolManager(timeout=TIME_LIMIT, retries=False)

    def predict(self, signature: str, inputs: Arrays, like: Arrays) -> Arrays:  # noqa: D102
        body = {"signature_name": signature, "inputs": {name: _to_json(array) for name, array in inputs.items()}}
        status, reply = self._request("POST", ":predict", json.dumps(body).encode())
        if status != 200 or "outputs" not in reply:
            raise Refused(_error_text(status, reply))
        outputs = reply["outputs"]
        if len(like) == 1:
            outputs = {name: outputs for name in like}
        return {name: _from_json(value, like[name]) for name, value in outputs.items() if name in like}

    def _state(self) -> str:
        status, reply = self._request("GET", "")
        if status != 200 or not reply.get("model_version_status"):
            raise self._lacks(_error_text(status, reply))
        return reply["model_version_status"][0]["state"]

    def _request(self, verb: str, method: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        url = f"{self.address}/v1/models/{self.model}/versions/{self.version}{method}"
        try:
            response = self._pool.request(verb, url, body=body, headers={"Content-Type": "application/json"})
        except urllib3.exceptions.HTTPError as error:
            raise self._silent(error) from error
        try:
            reply = json.loads(response.data)  # NaN and Infinity too, which TF Serving writes bare
        except ValueError:
            reply = None
        return response.status, reply if isinstance(reply, dict) else {"error": response.data[:200].decode("latin-1")}


class Grpc(Server):
    """TF Serving's gRPC API; `address` is `host:port`."""

    def __init__(self, address: str, model: str, version: int):
        if "://" in address or ":" not in address:
            raise ValueError(f"Not the address of a gRPC server: {address!r}. Accepted: host:port.")
        super().__init__(address, model, version)
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        channel = grpc.insecure_channel(address, options=unlimited)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)

    def predict(self, signature: str, inputs: Arrays, like: Arrays) -> Arrays:  # noqa: D102
        request = self._addressed(predict_pb2.PredictRequest())
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        try:
            response = self._predictions.Predict(request, timeout=TIME_LIMIT)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise self._silent(error.details()) from error
            raise Refused(f"{error.code().name}: {error.details()}") from error
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}

    def _state(self) -> str:
        request = self._addressed(get_model_status_pb2.GetModelStatusRequest())
        try:
            statuses = self._models.GetModelStatus(request, timeout=TIME_LIMIT).model_version_status
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                raise self._lacks(error.details()) from error
            raise self._silent(error.details()) from error
        state = statuses[0].state if statuses else get_model_status_pb2.ModelVersionStatus.UNKNOWN
        return get_model_status_pb2.ModelVersionStatus.State.Name(state)

    def _addressed(self, request):
        request.model_spec.name = self.model
        request.model_spec.version.value = self.version
        return request


def _to_json(array: np.ndarray) -> list:
    if array.dtype != object:
        return array.tolist()
    encoded = [{"b64": base64.b64encode(string).decode()} for string in array.flat]
    return encoded if array.ndim == 1 else np.array(encoded, object).reshape(array.shape).tolist()


def _from_json(value: Any, like: np.ndarray) -> np.ndarray:
    if like.dtype != object:
        return np.array(value, like.dtype)
    strings = np.array(value, object)
    return np.array([_bytes(string) for string in strings.flat], object).reshape(strings.shape)


def _bytes(string: Any) -> bytes:
    """A string of an answer: text, or `{"b64": …}` where the output's name ends in `_bytes`."""
    return base64.b64decode(string["b64"]) if isinstance(string, dict) else str(string).encode()


def _error_text(status: int, reply: dict[str, Any]) -> str:
    return f"{status} {reply.get('error') or json.dumps(reply)[:200]}"

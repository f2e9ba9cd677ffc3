"""A server's REST API: JSON over urllib3."""

import base64
import json
from typing import Any

import numpy as np
import urllib3

from export.server import TIME_LIMIT, Refused, Server, Tls
from recipes.arrays import Arrays


class Rest(Server):
    """TF Serving's REST API, in the column format; `address` is `http://host:port`, or `https://` behind a proxy."""

    def __init__(self, address: str, model: str, version: int, tls: Tls | None = None):
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"Not the address of a REST server: {address!r}. Accepted: http://host:port.")
        if tls and address.startswith("http://"):
            raise ValueError(f"TLS goes with https://. Received: {address!r}.")
        super().__init__(address.rstrip("/"), model, version)
        self._pool = urllib3.PoolManager(timeout=TIME_LIMIT, retries=False, ssl_context=tls and tls.context())

    def predict(self, signature: str, inputs: Arrays, like: Arrays) -> Arrays:
        body = {"signature_name": signature, "inputs": {name: _to_json(array) for name, array in inputs.items()}}
        status, reply = self._request("POST", ":predict", json.dumps(body).encode())
        if status != 200 or "outputs" not in reply:
            raise Refused(_error_text(status, reply))
        outputs = reply["outputs"]
        if len(like) == 1:
            outputs = dict.fromkeys(like, outputs)
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

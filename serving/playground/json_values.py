"""Rows of tensors as JSON that a browser reads, and the JSON of a request as values for the client."""

import base64
import binascii
import math

import numpy as np


def json_value(value: object) -> object:
    """An array, or one value of it, as JSON.

    ``bytes`` are a string if they are UTF-8, else ``{"b64": …}``; floats have the fewest digits that tell them apart
    from others of their dtype; those that JSON does not know (NaN, infinities) are strings.
    """
    if isinstance(value, np.ndarray) and value.ndim:
        return [json_value(item) for item in value]
    if isinstance(value, np.ndarray):
        value = value[()]
    if isinstance(value, bytes):
        return _of_bytes(value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, (float, np.floating)):
        return float(str(value)) if math.isfinite(value) else str(float(value))
    return value.item() if isinstance(value, np.generic) else value


def with_bytes(value: object) -> object:
    """JSON as TensorFlow Serving takes it, with ``bytes`` for every ``{"b64": …}``. ValueError for one that is none."""
    if isinstance(value, list):
        return [with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) != {"b64"} or not isinstance(value["b64"], str):
        raise ValueError(f'An object among inputs is {{"b64": "…"}}. It has: {", ".join(map(str, value)) or "nothing"}')
    try:
        return base64.b64decode(value["b64"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"What is in b64 is no base64: {error}") from None


def _of_bytes(value: bytes) -> object:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}

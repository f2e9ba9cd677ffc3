"""Request targets of the REST API to the call they mean (model_servers/http_rest_api_util.cc)."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from serving.embedded.json_text import encode
from serving.embedded.status import invalid_argument
from serving.protos import serving_pb2 as pb

_API = re.compile(r"(?i)/v1/.*", re.ASCII)
_VERSION_OR_LABEL = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_INFERENCE = re.compile(rf"(?i)/v1/models/([^/:]+){_VERSION_OR_LABEL}:(classify|regress|predict)", re.ASCII)
_STATUS = re.compile(rf"(?i)/v1/models(?:/([^/:]+))?{_VERSION_OR_LABEL}(?:/(metadata))?", re.ASCII)
_ORIGIN = re.compile(r"https?://[^/?#]*(?=/)")

MAX_VERSION = 2**63 - 1


@dataclass(frozen=True)
class Route:
    """``call`` is predict, classify, regress, metadata, status, or "" for a malformed request; ``spec`` the model."""

    call: str
    spec: pb.ModelSpec


class BadVersionError(Exception):
    """A version that no int64 holds: TF Serving answers 400 with an empty body."""


def is_api(target: str) -> bool:
    """Whether the REST API answers for ``target``, be it with an error."""
    return _API.fullmatch(target) is not None


def path_of(target: str) -> str:
    """An absolute target (``GET http://host/path``) without scheme and host; any other as it is."""
    return _ORIGIN.sub("", target, count=1) if target.startswith("http") else target


def parse_route(method: str, target: str) -> Route:
    """The call that ``method target`` means. Raises BadVersionError, and INVALID_ARGUMENT where there is none."""
    match = None
    if method == "POST":
        match = _INFERENCE.fullmatch(target)
    elif method == "GET":
        match = _STATUS.fullmatch(target)
    if match is None:
        raise malformed(method, target)
    name, version, label, call = match.groups()
    spec = pb.ModelSpec(name=_unescape(name or ""))
    if version:
        if len(version.lstrip("0")) > len(str(MAX_VERSION)) or int(version) > MAX_VERSION:
            raise BadVersionError
        spec.version.value = int(version)
    if label:
        spec.version_label = _unescape(label)
    if method == "GET":
        return Route("metadata" if call == "metadata" else "status", spec)
    if call != call.lower():
        raise malformed(method, target)
    return Route(call, spec)


def malformed(method: str, target: str) -> Exception:
    """INVALID_ARGUMENT for a method and target that mean nothing to the API."""
    return invalid_argument(f"Malformed request: {method} {target}")


def _unescape(text: str) -> str:
    """A name as it is in a message, which holds UTF-8 only. No model has a name that is none."""
    return unquote_to_bytes(encode(text)).decode("utf-8", "replace")

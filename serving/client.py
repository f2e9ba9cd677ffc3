"""Asks a TensorFlow Serving server, REST or gRPC, with NumPy in and out and without TensorFlow.

with Client("http://127.0.0.1:8501") as client:                    # or "127.0.0.1:8500" for gRPC
    client.predict("lenet5", {"bytes": [png]}, signature="bytes")  # {"classes": array(['7'], dtype=object), …}
"""

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from serving.errors import AnswerMismatch, DeadlineExceeded, Failure, ModelFailed, ServerError, public_error
from serving.metadata import ModelMetadata, VersionStatus
from serving.transport import Answer, ModelRef, Transport

DEFAULT_SIGNATURE = "serving_default"

_FIRST_PAUSE = 0.1  # seconds before the first retry; doubles with each
_LONGEST_PAUSE = 2.0
_SHORTEST_ATTEMPT = 0.1  # seconds that must be left for a retry: one that is cut off hides why it was needed
_POLL = 0.1  # seconds between two looks at a server that is starting
_LONGEST_LOOK = 5.0  # seconds that one look may take
# Over REST an answer does not tell its version, so a cached signature is trusted no longer than the servers' own poll
# of the file system; over gRPC it does, and the cache is dropped by the answer that shows a new one.
_REST_METADATA_SECONDS = 1.0
_INVALID = "INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"

T = TypeVar("T")


class Client:
    """A connection to one server. Thread-safe: share one between threads.

    ``target`` is ``http://host:port`` (or https) for REST, ``host:port`` or ``grpc://host:port`` for gRPC. ``timeout``
    is in seconds and covers all of a call: connecting, every retry, reading the answer. A call is retried ``retries``
    times, and only where the server was unavailable (gRPC's UNAVAILABLE, HTTP 503, nobody listening, a broken
    connection), with pauses that double and vary by chance.

    All methods raise the classes of ``serving.errors``, the same over both transports.
    """

    def __init__(self, target: str, *, timeout: float = 60.0, retries: int = 4):
        if timeout <= 0:
            raise ValueError(f"timeout must be positive, in seconds. Received: {timeout}")
        if retries < 0:
            raise ValueError(f"retries must not be negative. Received: {retries}")
        self.timeout = timeout
        self.retries = retries
        self._transport = _transport(target)
        self._cache: dict[ModelRef, tuple[ModelMetadata, float]] = {}

    @property
    def address(self) -> str:
        return self._transport.address

    def predict(
        self,
        model: str,
        inputs: object,
        *,
        signature: str = DEFAULT_SIGNATURE,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """The outputs of ``signature`` for ``inputs``, as arrays under the names that the signature gives them.

        ``inputs`` is a dict of input names to arrays, nested lists or bytes, or one bare value if the signature has one
        input. Numbers are converted to the declared dtype where nothing but rounding is lost; str becomes UTF-8.
        String outputs are object arrays of ``bytes`` for names ending in ``_bytes``, else of ``str``.
        """
        reference = ModelRef(model, version, label)
        asked = f"predict {_described(reference)}, signature {signature!r}, at {self.address}"
        deadline = self._deadline(timeout)
        try:
            return self._predict(reference, signature, inputs, deadline)
        except Failure as failure:
            raise public_error(failure, asked) from None
        except AnswerMismatch as mismatch:
            raise ServerError(f"{asked}: the answer does not fit the server's own metadata: {mismatch}") from None

    def metadata(
        self, model: str, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> ModelMetadata:
        """The version that answers now and its signatures, asked afresh."""
        reference = ModelRef(model, version, label)
        deadline = self._deadline(timeout)
        try:
            return self._fetch_metadata(reference, deadline)
        except Failure as failure:
            raise public_error(failure, f"metadata of {_described(reference)} at {self.address}") from None

    def status(
        self, model: str, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> tuple[VersionStatus, ...]:
        """The state of each version that the server knows of, newest first."""
        reference = ModelRef(model, version, label)
        deadline = self._deadline(timeout)
        try:
            return self._retry(lambda left: self._transport.status(reference, left), deadline)
        except Failure as failure:
            raise public_error(failure, f"status of {_described(reference)} at {self.address}") from None

    def wait_ready(
        self, model: str, timeout: float | None = None, *, each_look: Callable[[], None] = lambda: None
    ) -> ModelMetadata:
        """Waits until the server answers for ``model``, and returns what it says of it.

        ``each_look`` is called between two looks; what it raises ends the waiting. Raises ModelFailed as soon as the
        server has given up on every version, DeadlineExceeded after ``timeout`` seconds.
        """
        reference = ModelRef(model)
        deadline = self._deadline(timeout)
        while True:
            each_look()
            try:
                return self._look(reference, min(deadline.left(), _LONGEST_LOOK))
            except Failure as failure:
                if failure.code not in ("NOT_FOUND", "UNAVAILABLE", "DEADLINE_EXCEEDED"):
                    raise public_error(failure, f"waiting for {_described(reference)} at {self.address}") from None
                if deadline.left() <= _POLL:
                    where = f"{_described(reference)} at {self.address}"
                    raise DeadlineExceeded(
                        f"{where} was not ready in {deadline.seconds:.3g} s: {failure.words}"
                    ) from None
            time.sleep(_POLL)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _deadline(self, timeout: float | None) -> "_Deadline":
        return _Deadline(self.timeout if timeout is None else timeout)

    def _predict(self, model: ModelRef, signature: str, inputs: object, deadline: "_Deadline") -> dict[str, np.ndarray]:
        metadata = self._cached_metadata(model) or self._fetch_metadata(model, deadline)
        try:
            return self._predict_as(metadata, model, signature, inputs, deadline)
        except (Failure, AnswerMismatch) as error:
            if isinstance(error, Failure) and error.code not in _INVALID:
                raise
            # A request that was right for the version we know may be wrong for the one that answers now.
            fresh = self._fetch_metadata(model, deadline)
            if fresh == metadata:
                raise
        return self._predict_as(fresh, model, signature, inputs, deadline)

    def _predict_as(
        self, metadata: ModelMetadata, model: ModelRef, signature_name: str, inputs: object, deadline: "_Deadline"
    ) -> dict[str, np.ndarray]:
        """One prediction, read and written as ``metadata`` says."""
        signature = metadata.signature(signature_name)
        arrays = signature.bind(inputs)

        def attempt(left: float) -> Answer:
            return self._transport.predict(model, signature_name, signature, arrays, left)

        answer = self._retry(attempt, deadline)
        if answer.version not in (None, metadata.version):
            self._cache.pop(model, None)
        return answer.outputs

    def _cached_metadata(self, model: ModelRef) -> ModelMetadata | None:
        metadata, fetched = self._cache.get(model, (None, 0.0))
        unverified = not self._transport.tells_version and model.version is None
        return None if unverified and time.monotonic() - fetched > _REST_METADATA_SECONDS else metadata

    def _fetch_metadata(self, model: ModelRef, deadline: "_Deadline") -> ModelMetadata:
        metadata = self._retry(lambda left: self._transport.metadata(model, left), deadline)
        self._cache[model] = metadata, time.monotonic()
        return metadata

    def _look(self, model: ModelRef, timeout: float) -> ModelMetadata:
        """One look at a server that may be starting. Raises Failure while the model is not there."""
        try:
            metadata = self._transport.metadata(model, timeout)
        except Failure as failure:
            if failure.code == "NOT_FOUND":
                self._raise_if_failed(model, timeout)
            raise
        self._cache[model] = metadata, time.monotonic()
        return metadata

    def _raise_if_failed(self, model: ModelRef, timeout: float) -> None:
        try:
            versions = self._transport.status(model, timeout)
        except Failure:
            return  # not even the name is known yet
        if versions and all(version.state == "END" and version.error for version in versions):
            raise ModelFailed(
                f"{_described(model)} at {self.address} could not be loaded: "
                + "; ".join(f"version {version.version}: {version.error}" for version in versions)
            )

    def _retry(self, attempt: Callable[[float], T], deadline: "_Deadline") -> T:
        """``attempt(seconds left)`` until it is answered, fails otherwise than by UNAVAILABLE, or time is up."""
        for pause in [*_pauses(self.retries), None]:
            try:
                return attempt(deadline.left())
            except Failure as failure:
                if failure.code != "UNAVAILABLE" or pause is None or pause + _SHORTEST_ATTEMPT > deadline.left():
                    raise
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


class _Deadline:
    def __init__(self, seconds: float):
        if seconds <= 0:
            raise ValueError(f"timeout must be positive, in seconds. Received: {seconds}")
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the end, never quite zero: the transports take none as "for ever"."""
        return max(self._end - time.monotonic(), 1e-3)


def _pauses(retries: int) -> list[float]:
    """Seconds to wait before each retry: doubling, and spread so that many clients do not come back at once."""
    longest = (min(_FIRST_PAUSE * 2**retry, _LONGEST_PAUSE) for retry in range(retries))
    return [pause * random.uniform(0.5, 1.0) for pause in longest]


def _transport(target: str) -> Transport:
    """The transport that ``target`` asks for; each is imported only where it is used."""
    if re.match(r"https?://[^/\s]+", target):
        from serving.rest import RestTransport

        return RestTransport(target)
    address = target.removeprefix("grpc://")
    if re.fullmatch(r"(\[[^\]]+\]|[^/:\s]+):\d+", address):
        from serving.grpc_channel import GrpcTransport

        return GrpcTransport(address)
    raise ValueError(f"A target is http://host:port for REST, or host:port for gRPC. Received: {target!r}")


def _described(model: ModelRef) -> str:
    if model.version is not None:
        return f"{model.name!r} version {model.version}"
    return f"{model.name!r} label {model.label!r}" if model.label is not None else repr(model.name)

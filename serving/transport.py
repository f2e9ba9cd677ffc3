"""What the client asks of a transport: one attempt, one answer or one Failure. REST and gRPC each have one.

A transport's methods are coroutines. Made ``blocking``, it never suspends in them, and blocks its thread instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from serving.metadata import ModelMetadata, Signature, VersionStatus

if TYPE_CHECKING:
    from serving.protos import serving_pb2 as pb
    from serving.tls import Tls


@dataclass(frozen=True)
class ModelRef:
    """Which model: by name alone (the server's default version), by version or by label."""

    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self):
        if self.version is not None and self.label is not None:
            raise ValueError(f"Give a version or a label, not both. Received: {self.version} and {self.label!r}")
        if not self.name or "/" in self.name or ":" in self.name:
            raise ValueError(f"A model's name has no slash and no colon. Received: {self.name!r}")

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name!r} version {self.version}"
        return f"{self.name!r} label {self.label!r}" if self.label is not None else repr(self.name)


@dataclass(frozen=True)
class Answer:
    """The outputs of one prediction; ``version`` is None where the protocol does not tell it (REST)."""

    version: int | None
    outputs: dict[str, np.ndarray]


class Transport(Protocol):
    """Each method makes one attempt within ``timeout`` seconds and raises ``errors.Failure``."""

    address: str
    tells_version: bool  # whether an Answer names the version that gave it

    async def predict(
        self, model: ModelRef, signature_name: str, signature: Signature, inputs: dict[str, np.ndarray], timeout: float
    ) -> Answer: ...

    async def metadata(self, model: ModelRef, timeout: float) -> ModelMetadata: ...

    async def status(self, model: ModelRef, timeout: float) -> tuple[VersionStatus, ...]: ...

    async def reload(self, config: pb.ModelServerConfig, timeout: float) -> None: ...

    async def close(self) -> None: ...


def transport_to(target: str, tls: Tls | None, *, blocking: bool) -> Transport:
    """The transport that ``target`` asks for; each is imported only where it is used. ValueError for no address.

    One that is blocking may be shared by threads; any other belongs to the event loop that runs now.
    """
    if re.match(r"https?://[^/\s]+", target):
        if tls is not None and target.startswith("http:"):
            raise ValueError(f"tls goes with https://, or with gRPC. Received: {target!r}")
        from serving.rest import RestTransport

        if blocking:
            from serving.http_urllib3 import BlockingHttp as Http
        else:
            from serving.http_aiohttp import AsyncHttp as Http
        return RestTransport(target, Http(tls))
    address = re.sub("^grpcs?://", "", target)
    if re.fullmatch(r"(\[[^\]]+\]|[^/:\s]+):\d+", address) or re.fullmatch(r"unix:.+", target):
        from serving.grpc_channel import GrpcTransport

        if tls is None and target.startswith("grpcs:"):
            from serving.tls import Tls

            tls = Tls()
        return GrpcTransport(address, tls, blocking=blocking)
    raise ValueError(
        "A target is http://host:port for REST, or host:port for gRPC; over TLS https://host, or grpcs://host:port; "
        "unix:/path for gRPC over a socket. "
        f"Received: {target!r}"
    )

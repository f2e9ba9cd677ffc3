"""What the client asks of a transport: one attempt, one answer or one Failure. REST and gRPC each have one."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from serving.metadata import ModelMetadata, Signature, VersionStatus


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


@dataclass(frozen=True)
class Answer:
    """The outputs of one prediction; ``version`` is None where the protocol does not tell it (REST)."""

    version: int | None
    outputs: dict[str, np.ndarray]


class Transport(Protocol):
    """Each method makes one attempt within ``timeout`` seconds and raises ``errors.Failure``. Thread-safe."""

    address: str
    tells_version: bool  # whether an Answer names the version that gave it

    def predict(
        self, model: ModelRef, signature_name: str, signature: Signature, inputs: dict[str, np.ndarray], timeout: float
    ) -> Answer: ...

    def metadata(self, model: ModelRef, timeout: float) -> ModelMetadata: ...

    def status(self, model: ModelRef, timeout: float) -> tuple[VersionStatus, ...]: ...

    def close(self) -> None: ...

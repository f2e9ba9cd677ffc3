"""Asking a running server, by TF Serving's public contract alone.

Deliberately not the client of `serving`: a fault in our client must not hide a fault in a version.
"""

import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass
from os import PathLike

from recipes.arrays import Arrays

TIME_LIMIT = 120.0  # seconds; the first request to a large version is slow
AVAILABLE = "AVAILABLE"


@dataclass(frozen=True)
class Tls:
    """PEM files by which a server is known over TLS: `serving.Tls`, by code of its own.

    Attributes:
        ca: the authorities to trust; None: those of the machine over HTTPS, those that come with gRPC over gRPC.
        certificate, key: one's own, for a server that asks its callers for them.
    """

    ca: str | PathLike | None = None
    certificate: str | PathLike | None = None
    key: str | PathLike | None = None

    def __post_init__(self):
        if (self.certificate is None) != (self.key is None):
            raise ValueError(
                f"A certificate and its key go together. Received: certificate={self.certificate}, key={self.key}."
            )
        self.context()

    def context(self) -> ssl.SSLContext:
        """What Python's own TLS takes.

        Raises:
            ValueError: the files are no PEM files, or do not belong together.
            OSError: they cannot be read.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key, password="")  # "": never ask the terminal for one
        except ssl.SSLError as error:
            named = ", ".join(str(file) for file in (self.ca, self.certificate, self.key) if file)
            raise ValueError(f"Not PEM files that belong together: {named} ({error.reason or error}).") from None
        return context


class Refused(Exception):
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

"""How a client knows a server over TLS, and makes itself known."""

import ssl
from dataclasses import dataclass
from os import PathLike


@dataclass(frozen=True)
class Tls:
    """PEM files: of the authorities to trust, and of one's own certificate and its key, for servers that ask for one.

    Without ``ca`` the machine's authorities are trusted over HTTPS, those that come with gRPC over gRPC. ValueError for
    files that are not PEM or do not belong together, OSError for files that cannot be read.
    """

    ca: str | PathLike | None = None
    certificate: str | PathLike | None = None
    key: str | PathLike | None = None

    def __post_init__(self):
        if (self.certificate is None) != (self.key is None):
            raise ValueError(
                f"A certificate and its key go together. Received: certificate={self.certificate}, key={self.key}"
            )
        self.context()

    def context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError as error:
            raise ValueError(f"{self.ca} is no certificate of an authority ({error.reason or error})") from None
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.key, password="")  # "": never ask the terminal for one
            except ssl.SSLError as error:
                words = f"{self.certificate} and {self.key} do not belong together, or the key has a password"
                raise ValueError(f"{words} ({error.reason or error})") from None
        return context

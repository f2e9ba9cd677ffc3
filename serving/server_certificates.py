"""What a server shows its callers, and which callers it believes: PEM files, checked before a server ends at them."""

import ssl
from pathlib import Path


def check(certificate: Path, key: Path, client_ca: Path | None = None) -> None:
    """ValueError for files that are no certificate, or do not belong together; OSError for those that are not there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")  # "": never ask the terminal for one
    except ssl.SSLError as error:
        words = f"{certificate} and {key} do not belong together, or the key has a password"
        raise ValueError(f"{words} ({error.reason or error})") from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise ValueError(f"{client_ca} is no certificate of an authority ({error.reason or error})") from None

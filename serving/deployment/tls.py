"""Certificates and keys in PEM files, checked before a server ends at them."""

import ssl
from pathlib import Path

from serving.deployment import text_protos


def read(certificate: Path, key: Path, client_ca: Path | None = None) -> str:
    """The text of ``--ssl_config_file``. ValueError for files that are not PEM, or do not belong together."""
    texts = [_text(path) for path in (certificate, key, client_ca) if path is not None]
    config = text_protos.ssl_config(*texts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ValueError(f"{certificate} and {key} do not belong together ({error.reason or error})") from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise ValueError(f"{client_ca} is no certificate of an authority ({error.reason or error})") from None
    return config


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no PEM file: it holds more than ASCII") from None

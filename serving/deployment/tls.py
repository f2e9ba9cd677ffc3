"""Certificates and keys in PEM files, checked before a server ends at them."""

from pathlib import Path

from serving import server_certificates
from serving.deployment import text_protos


def read(certificate: Path, key: Path, client_ca: Path | None = None) -> str:
    """The text of ``--ssl_config_file``. ValueError for files that are not PEM, or do not belong together."""
    texts = [_text(path) for path in (certificate, key, client_ca) if path is not None]
    config = text_protos.ssl_config(*texts)
    server_certificates.check(certificate, key, client_ca)
    return config


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no PEM file: it holds more than ASCII") from None

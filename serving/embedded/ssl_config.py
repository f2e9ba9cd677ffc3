"""``--ssl_config_file``: SSLConfig in protobuf's text format (config/ssl_config.proto), for gRPC over TLS."""

from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from serving import server_certificates
from serving.embedded import proto_file
from serving.embedded.status import invalid_argument
from serving.protos import serving_pb2 as pb


def credentials(path: str) -> grpc.ServerCredentials | None:
    """What gRPC shows to callers, and asks of them where ``client_verify`` says so; None without a file.

    NOT_FOUND and INVALID_ARGUMENT name the file, and what is wrong with its certificates.
    """
    if not path:
        return None
    config = proto_file.read(path, pb.SSLConfig())
    if config.client_verify and not config.custom_ca:
        raise invalid_argument(f"{path}; client_verify needs custom_ca, the authority of the callers' certificates")
    _check(config, path)
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def _check(config: pb.SSLConfig, path: str) -> None:
    """gRPC would say nothing of wrong certificates, and answer nobody."""
    with TemporaryDirectory() as folder:
        files = {}
        for field, text in (
            ("server_cert", config.server_cert),
            ("server_key", config.server_key),
            ("custom_ca", config.custom_ca),
        ):
            files[field] = Path(folder, field)
            files[field].touch(mode=0o600)
            files[field].write_text(text)
        ca = files["custom_ca"] if config.custom_ca else None
        try:
            server_certificates.check(files["server_cert"], files["server_key"], ca)
        except ValueError as error:
            raise invalid_argument(f"{path}; {str(error).replace(folder + '/', '')}") from None

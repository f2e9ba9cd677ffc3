"""What an engine is started with: what it serves, where it listens, its flags; and what is run for that.

The command lines are pure functions of ``Options``. Docker's is in ``docker.py``.
"""

import ipaddress
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serving.served_models import check_name

BINARY = "tensorflow_model_server"
REST_PORT, GRPC_PORT = 8501, 8500

Flags = Mapping[str, str | int | float | bool]
"""Flags of a server by TensorFlow Serving's names, without dashes."""

_logger = logging.getLogger("serving")


@dataclass(frozen=True)
class Options:
    """What is served where. ValueError for what would not start, or would listen where nobody expects it.

    ``name`` and ``base_path`` are None where ``flags`` has a ``model_config_file``, whose base paths are in ``listed``.
    A port is None where nothing listens.
    """

    name: str | None
    base_path: Path | None
    host: str = "127.0.0.1"
    rest_port: int | None = REST_PORT
    grpc_port: int | None = GRPC_PORT
    flags: Flags = field(default_factory=dict)
    listed: Mapping[str, Path] = field(default_factory=dict)
    require_signature: Path | None = None

    def __post_init__(self):
        check_host(self.host)
        check_ports(*(port for port in (self.rest_port, self.grpc_port) if port is not None))
        if self.grpc_port is None and "grpc_socket_path" not in self.flags:
            raise ValueError("TensorFlow Serving ends without a gRPC port where there is no grpc_socket_path either")
        if self.base_path is None:
            return
        check_name(self.name)
        if not self.base_path.is_absolute():
            raise ValueError(f"TensorFlow Serving takes absolute base paths only. Received: {self.base_path}")

    @property
    def models(self) -> Mapping[str, Path]:
        """The base path of each model."""
        return self.listed if self.base_path is None else {self.name: self.base_path}


@dataclass(frozen=True)
class Launch:
    """A command to run, its extra environment, and a command that cleans up after it.

    ``mounts`` says under which paths the server sees folders of this machine; None where it sees them all as they are.
    """

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    cleanup: list[str] | None = None
    mounts: Mapping[Path, str] | None = None


def binary_command(options: Options, binary: str = BINARY) -> list[str]:
    """TensorFlow Serving's own command line. It has no flag for the host: the binary listens on every address."""
    return [binary, *started_with(_addresses_here(options), options.flags)]


def embedded_command(options: Options, python: str = sys.executable) -> list[str]:
    """Our own server, under TensorFlow Serving's flag names."""
    return [
        *(python, "-m", "serving.embedded", f"--host={options.host}"),
        *spelled(**_addresses_here(options), **options.flags),
        *(spelled(require_signature=str(options.require_signature)) if options.require_signature else []),
    ]


def launch_binary(options: Options) -> Launch:
    """TensorFlow Serving's binary."""
    if options.host not in ("0.0.0.0", "::"):
        _logger.info("%s has no flag for the host: it listens on every address, not only on %s", BINARY, options.host)
    return Launch(binary_command(options))


def launch_embedded(options: Options) -> Launch:
    """The embedded server, with a Python that finds this package."""
    # the package is found there too where this process found it by a changed sys.path
    home = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    return Launch(embedded_command(options), {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"})


def why_not_binary() -> str | None:
    """None where the binary is on the PATH, else the reason."""
    return None if shutil.which(BINARY) else f"no {BINARY} on the PATH"


def server_flags(**flags: str | int | float | bool) -> list[str]:
    """The flags as TensorFlow Serving reads them, and the one that all servers of ours get."""
    # The profiler is an endpoint that anyone may call; a server that does not know the flag says so and starts.
    return spelled(**flags, enable_profiler=False)


def spelled(**flags: str | int | float | bool) -> list[str]:
    """Flags as they stand on a command line."""
    return [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in flags.items()]


def started_with(addresses: Flags, chosen: Flags) -> list[str]:
    """The flags of TensorFlow Serving; who wants the profiler after all has chosen it."""
    return [*server_flags(**addresses), *spelled(**chosen)]


def one_model(options: Options, base_path: str) -> dict[str, str]:
    """The flags of the one model, as its server sees it; none where a file lists models."""
    return {} if options.base_path is None else {"model_name": options.name, "model_base_path": base_path}


def _addresses_here(options: Options) -> dict[str, str | int]:
    """Where a server that sees the files of this machine listens, and what it serves."""
    return {
        "port": options.grpc_port or 0,
        "rest_api_port": options.rest_port or 0,
        **one_model(options, str(options.base_path)),
    }


def check_host(host: str) -> None:
    """ValueError unless it is an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # Docker publishes ports on addresses only; a name may be several
        raise ValueError(f"A host is an IP address to listen on, or localhost. Received: {host!r}") from None


def check_ports(*ports: int) -> None:
    """ValueError unless they are ports, each another one."""
    for port in ports:
        if not 0 < port < 65536:
            raise ValueError(f"A port is a number from 1 to 65535. Received: {port}")
    if len(set(ports)) < len(ports):
        # TensorFlow Serving would start, and answer gRPC only
        raise ValueError(f"REST and gRPC need two ports. Received: {ports[0]} for both")

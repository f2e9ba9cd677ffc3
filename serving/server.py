"""The handle of a server that was started here, whatever its engine."""

import os
import re
import signal
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from serving.base_path import check_base_path
from serving.client import Client
from serving.errors import DeadlineExceeded, EngineError, ModelNotFound, ServingError
from serving.metadata import ModelMetadata
from serving.process import SupervisedProcess
from serving.served_models import ServedModel

if TYPE_CHECKING:
    from serving.tls import Tls

_PORT_TAKEN = re.compile(
    r"address already in use|port is already allocated|failed to start http server|failed to buildandstart grpc",
    re.IGNORECASE,
)
_TAIL = 20  # log lines in an error
_POLL = 0.1  # seconds between two looks at a server that is starting
_LONGEST_LOOK = 5.0  # seconds that one look may take
_METRICS_SECONDS = 10.0
_NO_MODEL = "-"  # a name that no model has


@dataclass(frozen=True)
class Addresses:
    """Where a server listens; None where it does not. ``is_secure`` says whether its gRPC is over TLS."""

    host: str
    rest_port: int | None
    grpc_port: int | None
    socket_path: str | None = None
    is_secure: bool = False

    @property
    def reachable_host(self) -> str:
        """The host as a caller on this machine writes it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]" if ":" in host else host


class Server:
    """Where a server answers, what it logged, how it ended. As a context manager it stops the server at the end.

    ``rest_url``, ``grpc_address`` and ``socket_address`` are what ``Client`` takes, and None where it does not listen.
    ``base_paths`` maps the names of its models to where their versions lie.
    """

    def __init__(
        self,
        engine: str,
        base_paths: Mapping[str, Path],
        process: SupervisedProcess,
        addresses: Addresses,
        *,
        tls: "Tls | None" = None,
        metrics_path: str | None = None,
        mounts: Mapping[Path, str] | None = None,
    ):
        self.engine = engine
        self.base_paths = dict(base_paths)
        self._process = process
        self._addresses = addresses
        self._tls = tls
        self._metrics_path = metrics_path
        self._mounts = mounts
        self._stopped = False
        host, scheme = addresses.reachable_host, "grpcs://" if addresses.is_secure else ""
        self.rest_url = addresses.rest_port and f"http://{host}:{addresses.rest_port}"
        self.grpc_address = addresses.grpc_port and f"{scheme}{host}:{addresses.grpc_port}"
        self.socket_address = addresses.socket_path and f"unix:{addresses.socket_path}"

    @property
    def models(self) -> tuple[str, ...]:
        """The names of its models."""
        return tuple(self.base_paths)

    @property
    def name(self) -> str:
        """The name of its model, the first of several."""
        return self.models[0] if self.models else ""

    def wait_ready(self, timeout: float = 120.0) -> ModelMetadata | None:
        """Waits until every model answers, and returns what the server says of the first.

        It is asked over REST, else over gRPC. Where that is over TLS and ``serve`` was not told how to ask, the server
        is ready when it listens, and says nothing of its models. EngineError with the last log lines if the server ends
        instead.
        """
        end = time.monotonic() + timeout
        if self.rest_url is None and self._addresses.is_secure and self._tls is None:
            self._wait_until(self._shakes_hands, end, timeout)
            return None
        with self._client() as client:
            if not self.models:
                self._wait_until(lambda: _knows_no_model(client), end, timeout)
            answers = [
                client.wait_ready(name, max(end - time.monotonic(), _POLL), each_look=self._raise_if_lost)
                for name in self.models
            ]
        return answers[0] if answers else None

    def reload(self, models: Mapping[str, ServedModel | str | os.PathLike], timeout: float = 60.0) -> None:
        """Serves these models and no others from now on, without a gap for those that stay.

        ``models`` maps names to base paths, or to ``ServedModel``s that choose versions and give them labels. Returns
        when every new model has a version that answers. It is asked over gRPC: over TLS, as ``serve`` was told by
        ``tls``. A ``model_config_file`` that is polled has the last word: what it lists is served again soon.

        Raises ValueError for what cannot be served, before the server is asked; InvalidInput for what it refuses, such
        as a label on a version that is not loaded; ServerError where a new model cannot be loaded; DeadlineExceeded.
        """
        seen = {name: self._as_seen(model) for name, model in models.items()}
        if self._addresses.is_secure and self._tls is None:
            raise ValueError("The server asks for TLS: give serve tls=Tls(ca=…), so that its handle can ask it")
        with Client(self.grpc_address or self.socket_address, tls=self._tls, retries=0) as client:
            client.reload(seen, timeout=timeout)
        self.base_paths = {name: Path(getattr(model, "base_path", model)).absolute() for name, model in models.items()}

    def metrics(self) -> str:
        """The page that the server writes for Prometheus. EngineError where it was started without one."""
        if self.rest_url is None or self._metrics_path is None:
            raise EngineError(
                f"the {self.engine} server has no metrics: start it with REST and a monitoring_config_file that has "
                "prometheus_config { enable: true }"
            )
        import urllib3

        try:
            page = urllib3.request("GET", self.rest_url + self._metrics_path, timeout=_METRICS_SECONDS, retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise EngineError(f"no metrics at {self.rest_url}{self._metrics_path}: {error}") from None
        if page.status != 200:
            raise EngineError(f"no metrics at {self.rest_url}{self._metrics_path}: HTTP {page.status}")
        return page.data.decode("utf-8", "replace")

    def logs(self) -> str:
        """What the server wrote so far: its last lines, at most ten thousand."""
        return "\n".join(self._process.lines())

    @property
    def running(self) -> bool:
        return self._process.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + N if signal N ended it."""
        return self._process.exit_code

    @property
    def exit_reason(self) -> str | None:
        """Why it does not run any more, in words, with its last log lines if it died; None while it runs."""
        code = self._process.exit_code
        if code is None:
            return None
        if self._stopped:
            return "stopped"
        how = f"was ended by signal {number}" if (number := _signal_of(code)) else f"ended with exit code {code}"
        return f"the {self.engine} server {how}{self._last_words()}"

    @property
    def port_taken(self) -> bool:
        """Whether it complained that somebody else has its port."""
        return any(_PORT_TAKEN.search(line) for line in self._process.lines())

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the server ends, by itself or stopped from another thread. False if it still runs."""
        return self._process.wait(timeout) is not None

    def stop(self) -> None:
        """Ends the server and returns when it is gone. Does nothing the second time."""
        if self.running:
            self._stopped = True
            self._process.stop()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def _client(self) -> Client:
        if self.rest_url is not None:
            return Client(self.rest_url, retries=0)
        return Client(self.grpc_address or self.socket_address, tls=self._tls, retries=0)

    def _as_seen(self, model: ServedModel | str | os.PathLike) -> ServedModel:
        """The model with its base path, checked, as the server sees it. ValueError where a container does not."""
        model = model if isinstance(model, ServedModel) else ServedModel(model)
        path = check_base_path(model.base_path)
        if self._mounts is None:
            return replace(model, base_path=path)
        for outside, inside in self._mounts.items():
            if path.is_relative_to(outside):
                return replace(model, base_path=Path(inside) / path.relative_to(outside))
        there = ", ".join(map(str, self._mounts)) or "nothing"
        raise ValueError(f"The server does not see {path}, only what it was started with: {there}")

    def _wait_until(self, condition, end: float, timeout: float) -> None:
        while not condition():
            self._raise_if_lost()
            if time.monotonic() > end:
                raise DeadlineExceeded(f"the {self.engine} server was not ready in {timeout:.3g} s")
            time.sleep(_POLL)

    def _shakes_hands(self) -> bool:
        """Whether a server of TLS listens: the port of a container is open long before that."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        try:
            with self._connected() as plain, context.wrap_socket(plain):
                return True
        except OSError:
            return False

    def _connected(self) -> socket.socket:
        where = self._addresses
        if where.grpc_port is not None:
            return socket.create_connection((where.reachable_host.strip("[]"), where.grpc_port), _LONGEST_LOOK)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_LONGEST_LOOK)
        connection.connect(where.socket_path)
        return connection

    def _raise_if_lost(self) -> None:
        """A server that ended, or that got no port (TensorFlow Serving lives on without REST), never becomes ready."""
        if self.running and not self.port_taken:
            return
        raise EngineError(self.exit_reason or f"the {self.engine} server could not have its port{self._last_words()}")

    def _last_words(self) -> str:
        lines = self._process.lines()[-_TAIL:]
        return "".join(["\nIts last lines:", *(f"\n  {line}" for line in lines)]) if lines else "; it wrote nothing"


def _knows_no_model(client: Client) -> bool:
    """Whether a server answers that serves nothing."""
    try:
        client.status(_NO_MODEL, timeout=_LONGEST_LOOK)
    except ModelNotFound:
        return True
    except ServingError:
        return False
    return True


def _signal_of(exit_code: int) -> int | None:
    """The signal behind an exit code: negative if it ended the supervisor, 128 + N if it ended the server."""
    if exit_code < 0:
        return -exit_code
    # TensorFlow Serving ends with 255 (-1) where it could not start: that is no signal
    return exit_code - 128 if 128 < exit_code <= 128 + signal.SIGRTMAX else None

"""The handle of a server that was started here, whatever its engine."""

import re
import signal

from serving.client import Client
from serving.errors import EngineError
from serving.metadata import ModelMetadata
from serving.process import SupervisedProcess

_PORT_TAKEN = re.compile(
    r"address already in use|port is already allocated|failed to start http server|failed to buildandstart grpc",
    re.IGNORECASE,
)
_TAIL = 20  # log lines in an error


class Server:
    """Where a server answers, what it logged, how it ended. As a context manager it stops the server at the end."""

    def __init__(
        self, engine: str, name: str, process: SupervisedProcess, *, host: str, rest_port: int, grpc_port: int
    ):
        self.engine = engine
        self.name = name
        self._process = process
        self._stopped = False
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        reachable = f"[{reachable}]" if ":" in reachable else reachable
        self.rest_url = f"http://{reachable}:{rest_port}"
        self.grpc_address = f"{reachable}:{grpc_port}"

    def wait_ready(self, timeout: float = 120.0) -> ModelMetadata:
        """Waits until the model answers over REST. EngineError with the last log lines if the server ends instead."""
        with Client(self.rest_url, retries=0) as client:
            return client.wait_ready(self.name, timeout, each_look=self._raise_if_lost)

    def logs(self) -> str:
        """What the server wrote so far: its last lines, at most ten thousand."""
        return "\n".join(self._process.lines())

    @property
    def running(self) -> bool:
        return self._process.exit_code is None

    @property
    def exit_reason(self) -> str | None:
        """Why it does not run any more, in words; None while it runs."""
        code = self._process.exit_code
        if code is None:
            return None
        if self._stopped:
            return "stopped"
        how = f"was ended by signal {number}" if (number := _signal_of(code)) else f"ended with exit code {code}"
        last = next((line for line in reversed(self._process.lines()) if line.strip()), "it wrote nothing")
        return f"the {self.engine} server {how}: {last}"

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

    def _raise_if_lost(self) -> None:
        """A server that ended, or that got no port (TensorFlow Serving lives on without REST), never becomes ready."""
        if self.running and not self.port_taken:
            return
        lines = self._process.lines()
        reason = self.exit_reason or f"the {self.engine} server could not have its port"
        raise EngineError(f"{reason}\nIts last lines:\n" + "\n".join(f"  {line}" for line in lines[-_TAIL:]))


def _signal_of(exit_code: int) -> int | None:
    """The signal behind an exit code: negative if it ended the supervisor, 128 + N if it ended the server."""
    if exit_code < 0:
        return -exit_code
    # TensorFlow Serving ends with 255 (-1) where it could not start: that is no signal
    return exit_code - 128 if 128 < exit_code <= 128 + signal.SIGRTMAX else None

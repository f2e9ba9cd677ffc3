"""How a server fares while others abuse it: its memory, its files, and how long a well-behaved client waits."""

import resource
import threading
import time
from pathlib import Path

from tests.serving.contract.conftest import Running
from tests.serving.contract.raw_http import GOOD, ask


def memory(running: Running) -> int:
    """Resident bytes of the server."""
    pages = Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def num_files(running: Running) -> int:
    """Files that the server holds open, connections included."""
    return len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))


class Witness:
    """Another client, who asks on a connection of its own from time to time, and notes how long it waits.

    At the end of the block it raises what went wrong for it.
    """

    def __init__(self, port: int):
        self.seconds: list[float] = []
        self._fault: Exception | None = None
        self._port, self._done = port, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._done.wait(0.2):
                start = time.monotonic()
                status, body = ask(self._port, GOOD, seconds=30)
                if status != 200:
                    raise AssertionError(f"a request like others got {status}: {body!r}")
                self.seconds.append(time.monotonic() - start)
        except Exception as fault:
            self._fault = fault

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._done.set()
        self._thread.join()
        if self._fault:
            raise self._fault

"""The parent's end of a supervised process: start it, keep its last lines, stop it. The other end is ``child.py``."""

import collections
import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_logger = logging.getLogger("serving")

_KEPT_LINES = 10_000
_SUPERVISOR = Path(__file__).with_name("child.py")
_MARGIN = 35.0  # seconds over the grace time that the supervisor may need: SIGKILL, cleanup


class SupervisedProcess:
    """A running command that ends when this object is stopped, or when this Python process ends, however it ends.

    ``log`` is called with each line of its output (stdout and stderr together), in a thread of ours. ``cleanup`` is a
    command to run after it ended.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        cleanup: Sequence[str] | None = None,
        log: Callable[[str], None] | None = None,
        grace: float = 10.0,
    ):
        self._grace = grace
        self._cleanup = cleanup
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._log = log
        self._process = subprocess.Popen(
            _supervised(command, grace, cleanup),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + N if signal N ended it."""
        return self._process.poll()

    def lines(self) -> list[str]:
        """The last lines of its output, oldest first."""
        if self.exit_code is not None:
            self._reader.join(timeout=1.0)  # what was written before the end has been read
        return list(self._lines)

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit code, or None if it still runs after ``timeout`` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return self.exit_code

    def stop(self) -> None:
        """Asks it to end (SIGTERM), makes it (SIGKILL) after the grace time, and returns when it is gone."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if self.wait(self._grace + _MARGIN) is None:
            self._process.kill()  # takes the command with it
            self._process.wait()
            if self._cleanup:
                subprocess.run(self._cleanup, capture_output=True, timeout=_MARGIN, check=False)
        self._reader.join(timeout=1.0)

    def _read(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            for line in self._process.stdout:
                line = line.rstrip("\n")
                self._lines.append(line)
                self._pass_on(line)

    def _pass_on(self, line: str) -> None:
        if self._log is None:
            return
        try:
            self._log(line)
        except Exception:  # whatever the caller's function does: if we stopped reading, the server would soon block
            _logger.exception("the log function failed and is not called again")
            self._log = None


def _supervised(command: Sequence[str], grace: float, cleanup: Sequence[str] | None) -> list[str]:
    supervisor = [sys.executable, "-I", "-S", str(_SUPERVISOR), "--parent", str(os.getpid()), "--grace", str(grace)]
    if cleanup:
        supervisor += ["--cleanup", json.dumps(list(cleanup))]
    return [*supervisor, "--", *command]

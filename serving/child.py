"""Runs one command and never lets it outlive the process that asked for it.

    python -I -S child.py --parent PID --grace SECONDS [--cleanup JSON] -- COMMAND...

The parent holds the other end of our standard input and writes nothing. When that pipe closes, because the parent let
go of it, crashed, or was killed with no chance to say so, the command's process group gets SIGTERM and, if it is still
there after the grace time, SIGKILL. ``--cleanup`` is a command (a JSON list) to run after that, for what a signal
cannot reach, such as a container. Output goes where ours goes. The exit status is the command's,
128 + N where signal N ended it.

Run as a file and with the standard library alone, so that it starts in milliseconds.
"""

import argparse
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time

_POLL = 0.05  # seconds
_CLEANUP_SECONDS = 30
_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_set_at_end_of_input, args=(stop,), daemon=True).start()
    try:
        child = subprocess.Popen(
            options.command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_me()
        )
    except OSError as error:
        print(f"cannot start {options.command[0]}: {error.strerror}", flush=True)
        if options.cleanup:
            _run_quietly(options.cleanup)
        return 127
    while child.poll() is None and not stop.wait(_POLL):
        if os.getppid() != options.parent:  # a fork of the parent may still hold the pipe open
            stop.set()
    _end_group(child, options.grace)
    if options.cleanup:
        _run_quietly(options.cleanup)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="child", description="Run a command that ends with its parent.")
    parser.add_argument("--parent", type=int, required=True, help="process id of the parent")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--cleanup", type=json.loads, help="a command to run at the end, as a JSON list")
    parser.add_argument("command", nargs="+")
    return parser


def _set_at_end_of_input(stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    stop.set()


def _die_with_me():
    """A function for the new process that has the kernel kill it if we are killed ourselves. Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_group(child: subprocess.Popen, grace: float) -> None:
    """Ends the child and whatever it started in its session."""
    if child.poll() is None:
        _signal_group(child.pid, signal.SIGTERM)
        end = time.monotonic() + grace
        while child.poll() is None and time.monotonic() < end:
            time.sleep(_POLL)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _run_quietly(command: list[str]) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_CLEANUP_SECONDS,
            check=False,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

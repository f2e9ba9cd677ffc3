"""Run `export.replay` and `export.timing` in a process of its own."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Pipe
from pathlib import Path

from recipes import arrays
from recipes.arrays import Arrays

TIME_LIMIT = 1800.0


class FreshProcess:
    """A process that knows nothing but TensorFlow and the folders it is told to load.

    It starts at once, and imports TensorFlow while its owner does other work. A question that ends it is no end: the
    next one is answered by a new process.
    """

    def __init__(self):
        self._start()

    def _start(self) -> None:
        root = str(Path(__file__).resolve().parents[1])
        environment = os.environ | {
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",  # the proof is made where every server can repeat it
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")])),
        }
        self._connection, theirs = Pipe()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(self._connection.close)
            self._said = undo.enter_context(tempfile.TemporaryFile())
            # -P: a folder named `export` where the person happens to stand is not this package.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "export.replay", str(theirs.fileno())],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
            )
            undo.pop_all()

    @property
    def ended(self) -> bool:
        """Whether it can answer no more."""
        return self._process.poll() is not None

    def replay(
        self, path: Path, examples: Path | None = None, once: bool = False, time_limit: float = TIME_LIMIT
    ) -> dict[str, Arrays]:
        """Load a version folder, or a companion, without Keras, and answer golden inputs, its own or another folder's.

        Returns:
            What `export.replay.replay` describes.

        Raises:
            ChildProcessError: the process ended without an answer; the message ends in what it said.
        """
        arguments = {"path": path.resolve(), "examples": (examples or path).resolve(), "once": once}
        return self._ask("replay", arguments, path, time_limit)

    def measure(self, paths: Mapping[str, Path], examples: Path, batch_sizes: Sequence[int]) -> dict[str, Arrays]:
        """Take the time of versions and companions, side by side.

        Returns:
            What `export.timing.measure` describes.

        Raises:
            ChildProcessError: as above.
        """
        found = {name: path.resolve() for name, path in paths.items()}
        arguments = {"paths": found, "examples": examples.resolve(), "batch_sizes": list(batch_sizes)}
        return self._ask("measure", arguments, examples)

    def _ask(self, task: str, arguments: dict, folder: Path, time_limit: float = TIME_LIMIT) -> dict[str, Arrays]:
        if self.ended:  # by what it was asked before
            self.close()
            self._start()
        try:
            self._connection.send_bytes(json.dumps([task, arguments], default=os.fspath).encode())
            answered = self._connection.poll(time_limit)
            reply = self._connection.recv_bytes() if answered else None
        except (EOFError, OSError):
            raise ChildProcessError(f"{folder} cannot be loaded in a fresh process {self._last_words()}") from None
        if reply is None:
            self._process.kill()  # its answer may still come, and would be taken for that to another question
            self._process.wait()
            raise ChildProcessError(f"{folder} did not answer its golden inputs within {time_limit:.0f} s.")
        return arrays.load(io.BytesIO(reply))

    def _last_words(self) -> str:
        self._connection.close()  # ends it, if it has not
        code = self._process.wait()
        self._said.seek(0)
        return f"(exit {code}):\n{self._said.read().decode(errors='replace').strip()}"

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._said.close()


_kept: list[FreshProcess] = []


@contextlib.contextmanager
def started() -> Iterator[FreshProcess]:
    """A process for one or several replays, which ends with the block; or the one that is kept."""
    if _kept:
        yield _kept[-1]
        return
    process = FreshProcess()
    try:
        yield process
    finally:
        process.close()


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Within the block one process serves for all replays: many versions are proved for the price of one start."""
    _kept.append(FreshProcess())
    try:
        yield
    finally:
        _kept.pop().close()

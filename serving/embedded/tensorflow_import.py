"""The import of TensorFlow: it says nothing in the server's log, and nothing of it is looked through for garbage."""

import contextlib
import gc
import os
import sys
import threading
from collections.abc import Iterator

_lock = threading.Lock()  # versions load in several threads, and there is one descriptor 2


@contextlib.contextmanager
def importing_tensorflow() -> Iterator[None]:
    """Within the block TensorFlow is imported, by one thread at a time; once it is, the block is as any other.

    What is made meanwhile stays as long as the process, so it is left out of garbage collection: the import is shorter,
    and no request waits until all of it has been looked through.
    """
    with _lock:
        if "tensorflow" in sys.modules:
            yield
            return
        gc.disable()
        try:
            with _without_startup_chatter():
                yield
        finally:
            gc.freeze()
            gc.enable()


@contextlib.contextmanager
def _without_startup_chatter() -> Iterator[None]:
    """Nothing reaches descriptor 2 inside the block: there TensorFlow's C++ code writes while it is imported, before it
    reads any switch for logging. The server's own log has a descriptor of its own.
    """
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)

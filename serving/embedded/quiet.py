"""TensorFlow's start-up chatter, kept out of the server's log."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def without_startup_chatter() -> Iterator[None]:
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

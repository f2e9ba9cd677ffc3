"""Memory that nothing needs any more."""

import contextlib
import ctypes
import gc


def give_back() -> None:
    """Give what was freed back to the system. glibc keeps it for what comes next; other C libraries are not asked."""
    with contextlib.suppress(AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def collect() -> None:
    """Free garbage that refers to itself, as TensorFlow's graphs in Python do, and give it back. That takes a while."""
    gc.collect()
    give_back()

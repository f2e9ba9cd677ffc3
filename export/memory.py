"""Memory that nothing needs any more."""

import contextlib
import ctypes
import gc


def give_back() -> None:
    """Give it back to the system: garbage that refers to itself, as TensorFlow's graphs do, and what was freed.

    glibc keeps what is freed for what comes next, unless it is asked to give it up. Other C libraries are not asked.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)

"""Packages that import at once and fetch what they offer when it is first asked for (PEP 562)."""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping


def attach(package: str, homes: Mapping[str, str]):
    """Return the `__getattr__`, `__dir__` and `__all__` of a package whose names live in other modules.

    Args:
        package: the package's `__name__`.
        homes: public name → module that defines it.
    """

    def __getattr__(name):  # noqa: N807
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with without_startup_chatter():
            return getattr(importlib.import_module(homes[name]), name)

    names = sorted(homes)
    return __getattr__, lambda: names, names


@contextlib.contextmanager
def without_startup_chatter() -> Iterator[None]:
    """Keep off the terminal what TensorFlow's C++ code writes to file descriptor 2 while it is imported.

    No logging switch reaches those lines: they are written before the logger starts. What was written is shown after
    all if the block raises. Nothing is redirected once TensorFlow is there, nor where there is no descriptor 2.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        terminal = os.dup(2)
    except OSError:
        yield
        return
    with tempfile.TemporaryFile() as chatter:
        sys.stderr.flush()
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(terminal, 2)
            chatter.seek(0)
            os.write(2, chatter.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)

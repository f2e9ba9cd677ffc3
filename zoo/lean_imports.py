"""What TensorFlow and Keras import for others: left out where nobody else is in the process."""

import contextlib
import functools
import gc
import os
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path

IMPORTING = ("keras", "tensorflow")
UNUSED = ("matplotlib", "sklearn")
"""Of Keras, for pictures that we draw ourselves, and for its wrappers."""
JAX = "jax"
"""Of TensorFlow Lite, for models of JAX; and a backend of Keras."""


class LeanImports(MetaPathFinder):
    """Finds TensorFlow and Keras, and lets them find no package that they only offer something for.

    They take it that it is not installed. To everybody else, and afterwards, it is. For a process of the command line:
    elsewhere somebody may want `keras.wrappers`.
    """

    def find_spec(self, name, path=None, target=None):
        if name not in IMPORTING:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = _lean(spec.loader.exec_module)
        return spec


def _lean(execute):
    @functools.wraps(execute)
    def executed(module):
        with _hidden(UNUSED if _trains_on_jax() else (*UNUSED, JAX)), uncollected():
            execute(module)

    return executed


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Within it no garbage is looked for; nor is it later, among what was made: half a million objects that stay."""
    is_outermost = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_outermost:
            gc.freeze()
            gc.enable()


@contextlib.contextmanager
def _hidden(packages: tuple[str, ...]) -> Iterator[None]:
    """Within it, packages that are not imported yet cannot be."""
    hidden = dict.fromkeys(name for name in packages if name not in sys.modules)
    sys.modules.update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _trains_on_jax() -> bool:
    """Whether Keras is told to, by its variable or its file of settings."""
    settings = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "keras.json")
    told = os.environ.get("KERAS_BACKEND") or (settings.read_text() if settings.exists() else "")
    return JAX in told

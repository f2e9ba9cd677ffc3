"""Classic architectures as Functional Keras models, under one registry.

>>> import zoo
>>> zoo.list_models("lenet*")
['lenet5']
>>> model = zoo.build("lenet5", input_shape=(28, 28, 1), num_classes=10)

Backend-neutral: this package imports `keras`, never a backend. Importing it is instant; the first call that needs a
network imports Keras.
"""

import importlib

_HOMES = {
    "build": "zoo.registry",
    "features": "zoo.registry",
    "list_models": "zoo.registry",
    "register": "zoo.registry",
    "spec": "zoo.registry",
    "Spec": "zoo.registry",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__

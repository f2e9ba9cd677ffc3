"""Version folders to endpoints, and the client that asks them.

``serve`` starts a server for a base path, ``Client`` and ``AsyncClient`` ask one over REST or gRPC. None imports
TensorFlow; a name is loaded when it is first used, so ``import serving`` costs nothing.
"""

import importlib

_HOMES = {
    "serve": "serving.engines",
    "Server": "serving.server",
    "Client": "serving.client",
    "AsyncClient": "serving.async_client",
    "Tls": "serving.tls",
    "ServedModel": "serving.served_models",
    "ModelMetadata": "serving.metadata",
    "Signature": "serving.metadata",
    "TensorSpec": "serving.metadata",
    "VersionStatus": "serving.metadata",
    "ServingError": "serving.errors",
    "ModelNotFound": "serving.errors",
    "ModelFailed": "serving.errors",
    "InvalidInput": "serving.errors",
    "DeadlineExceeded": "serving.errors",
    "Unavailable": "serving.errors",
    "Overloaded": "serving.errors",
    "Unsupported": "serving.errors",
    "ServerError": "serving.errors",
    "EngineError": "serving.errors",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'serving' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

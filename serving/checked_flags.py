"""The flags that a caller gives a server, checked before it starts: TensorFlow Serving's, and the embedded one's."""

import os
import re
from dataclasses import fields
from pathlib import Path

from serving import tf_serving_flags
from serving.launching import Flags

_OUR_FLAGS = frozenset({"port", "rest_api_port", "host", "model_name", "model_base_path", "require_signature"})
_LONGEST_SOCKET_PATH = 107  # bytes, in the system's own structure


def checked(flags: Flags, engine: str) -> Flags:
    """The flags, their paths made absolute. ValueError for one that no server knows, or that is not for callers."""
    known = _known_flags(engine)
    for name, value in flags.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError(f"A flag is a name as in enable_batching, without dashes. Received: {name!r}")
        if name in _OUR_FLAGS:
            raise ValueError(f"The flag {name} cannot be chosen. What is served where has options of its own")
        if name not in known:
            hint = tf_serving_flags.nearest(name, known)
            raise ValueError(f"{name} is no flag of TensorFlow Serving, which would start without it{hint}")
        if name in tf_serving_flags.FLAGS:
            tf_serving_flags.check_value(name, value)
    if "batching_parameters_file" in flags and not _is_on(flags.get("enable_batching", False)):
        raise ValueError("The flag batching_parameters_file goes with enable_batching, without which servers end")
    return {name: _absolute(name, value) for name, value in flags.items()}


def metrics_path(flags: Flags) -> str | None:
    """Where over REST the server shows its metrics; None without a file that says so. ValueError for a wrong one."""
    if "monitoring_config_file" not in flags:
        return None
    from serving.embedded import monitoring_config, status

    try:
        return monitoring_config.metrics_path(flags["monitoring_config_file"])
    except status.ServingError as error:
        raise ValueError(f"The monitoring_config_file is wrong: {error.message}") from None


def is_file(flag: str) -> bool:
    """Whether the flag names a file that the server reads."""
    return tf_serving_flags.FLAGS.get(flag) is Path


def _known_flags(engine: str) -> set[str]:
    known = set(tf_serving_flags.FLAGS)
    if engine == "embedded":
        from serving.embedded.flags import Options as EmbeddedOptions

        known |= {option.name for option in fields(EmbeddedOptions)}
    return known - _OUR_FLAGS


def _is_on(value: object) -> bool:
    return str(value).lower() in tf_serving_flags.TRUE


def _absolute(flag: str, value: str | int | float | bool) -> str | int | float | bool:
    if flag == "grpc_socket_path":
        return str(_checked_socket_path(Path(value)))
    return str(Path(value).resolve()) if is_file(flag) else value


def _checked_socket_path(path: Path) -> Path:
    """The absolute path. ValueError where no socket can be made."""
    path = path.absolute()
    if not path.parent.is_dir():
        raise ValueError(f"No such folder: {path.parent}. A socket is made in one that is there")
    if path.exists() and not path.is_socket():
        raise ValueError(f"{path} is there already, and is no socket. A server would not replace it")
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise ValueError(f"The path of a socket has at most {_LONGEST_SOCKET_PATH} bytes. Received: {path}")
    return path

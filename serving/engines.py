"""What serves a base path: TensorFlow Serving in Docker, its binary, or the embedded server, behind one handle.

    with serve("served/lenet5") as server:
        Client(server.rest_url).predict(server.name, …)

An engine is two functions: why it cannot be used here, and how it is launched. Every engine runs under a supervisor
(``child.py``), so that none outlives the process that started it.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from serving import checked_flags, docker, signed
from serving.base_path import check_base_path
from serving.errors import EngineError
from serving.launching import (
    Flags,
    Launch,
    Options,
    check_host,
    check_ports,
    launch_binary,
    launch_embedded,
    why_not_binary,
)
from serving.process import SupervisedProcess
from serving.served_models import check_name
from serving.server import Addresses, Server

if TYPE_CHECKING:
    from serving.tls import Tls

_logger = logging.getLogger("serving")

_TRIES = 4  # how often ports are chosen anew when somebody else was quicker


@dataclass(frozen=True)
class Engine:
    """``why_not()`` is None where the engine can be used, else the reason in a few words."""

    name: str
    why_not: Callable[[], str | None]
    launch: Callable[[Options], Launch]
    checks_signatures: bool = False


def serve(
    base_path: str | os.PathLike | None = None,
    *,
    name: str | None = None,
    engine: str = "auto",
    host: str = "127.0.0.1",
    rest_port: int | None = 0,
    grpc_port: int | None = 0,
    flags: Flags | None = None,
    tls: "Tls | None" = None,
    require_signature: str | os.PathLike | None = None,
    timeout: float = 120.0,
    grace: float = 10.0,
    log: Callable[[str], None] | None = None,
) -> Server:
    """Starts a server for a base path (a folder of integer-named version folders) and waits until it answers.

    ``name`` is the model's name, the folder's own by default. ``engine`` is ``docker``, ``binary``, ``embedded`` or
    ``auto``: the first of these that this machine has. Port 0 is a free one, None is none. ``flags`` are further ones
    of the server, under TensorFlow Serving's names (``{"enable_batching": True, "ssl_config_file": "ssl.pbtxt"}``); a
    ``model_config_file`` stands in the place of ``base_path`` and ``name``. ``tls`` is how this process asks the server
    over gRPC where that has an ``ssl_config_file``. ``require_signature`` is a PEM file of public keys: no version is
    loaded that none of them signed; engines other than ``embedded`` then serve a copy of the newest version that is
    signed when they start, and no later one. ``timeout`` is in seconds, from the start of the server (pulling an image
    comes before); after ``grace`` seconds a server that does not end is killed. ``log`` is called with each line that
    the server writes.

    Raises ValueError for what cannot be served, before anything starts; EngineError where no server came up, with its
    last log lines; ModelFailed where the server runs but refuses the model; DeadlineExceeded.
    """
    if timeout <= 0:
        raise ValueError(f"timeout must be positive, in seconds. Received: {timeout}")
    # what is wrong is said before Docker is asked, which may take minutes
    host = "127.0.0.1" if host == "localhost" else host
    check_host(host)
    check_ports(*(port for port in (rest_port, grpc_port) if port))
    flags = checked_flags.checked({name: value for name, value in (flags or {}).items() if value != ""}, engine)
    checked_flags.metrics_path(flags)
    what = _what_is_served(base_path, name, flags)
    if require_signature is not None:
        require_signature = Path(require_signature).resolve()
        signed.public_keys(require_signature)
    chosen = choose_engine(engine)
    for tries_left in reversed(range(_TRIES)):
        ports = _ports(host, rest_port, grpc_port)
        options = Options(*what, host, *ports, flags, _listed_models(flags), require_signature)
        server = _start(chosen, options, tls, grace, log)
        try:
            server.wait_ready(timeout)
        except EngineError:
            server.stop()
            ports_were_ours_to_choose = rest_port == 0 or grpc_port == 0
            if tries_left and ports_were_ours_to_choose and server.port_taken:
                continue
            raise
        except BaseException:
            server.stop()
            raise
        return server
    raise AssertionError("the last try returns or raises")


def choose_engine(name: str = "auto") -> Engine:
    """The engine ``name``, or for ``auto`` the first that can be used here; each that cannot is said in one line."""
    if name != "auto":
        if name not in ENGINES:
            raise ValueError(f"An engine is auto, {', '.join(ENGINES)}. Received: {name!r}")
        if reason := ENGINES[name].why_not():
            raise EngineError(f"The engine {name!r} cannot be used here: {reason}")
        return ENGINES[name]
    for engine in ENGINES.values():
        reason = engine.why_not()
        if reason is None:
            return engine
        _logger.info("no %s: %s", engine.name, reason)
    raise EngineError("No engine can be used here")


def _what_is_served(
    base_path: str | os.PathLike | None, name: str | None, flags: Flags
) -> tuple[str, Path] | tuple[None, None]:
    """The one model's name and base path, checked; nothing where a file lists models."""
    if "model_config_file" in flags:
        if base_path is not None or name is not None:
            raise ValueError(
                "A model_config_file lists names and base paths: give no other. "
                f"Received: {flags['model_config_file']}, and {base_path or name}"
            )
        return None, None
    if base_path is None:
        raise ValueError("Give a base path, or a model_config_file: a server needs to know what it serves")
    path = check_base_path(base_path)
    name = path.name if name is None else name
    check_name(name)
    return name, path


def _listed_models(flags: Flags) -> dict[str, Path]:
    """The base path of each model that the ``model_config_file`` lists, checked. ValueError names file and model."""
    if "model_config_file" not in flags:
        return {}
    from serving.embedded import model_config, status

    file = flags["model_config_file"]
    try:
        models = model_config.check(model_config.read(file))
    except status.ServingError as error:
        raise ValueError(f"The model_config_file {file} cannot be served: {error.message}") from None
    listed = {}
    for model in models:
        try:
            listed[model.name] = check_base_path(model.base_path)
        except ValueError as error:
            raise ValueError(f"The model {model.name!r} of {file} cannot be served: {error}") from None
    return listed


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("docker", docker.why_not, docker.launch),
        Engine("binary", why_not_binary, launch_binary),
        Engine("embedded", lambda: None, launch_embedded, checks_signatures=True),
    )
}


def _start(
    engine: Engine, options: Options, tls: "Tls | None", grace: float, log: Callable[[str], None] | None
) -> Server:
    if options.require_signature is None or engine.checks_signatures:
        launch = engine.launch(options)
    else:
        launch = _launch_signed(engine, options)
    process = SupervisedProcess(
        launch.command, environment=launch.environment, cleanup=launch.cleanup, log=log, grace=grace
    )
    return Server(
        engine.name,
        options.models,
        process,
        Addresses(
            options.host,
            options.rest_port,
            options.grpc_port,
            options.flags.get("grpc_socket_path"),
            is_secure=bool(options.flags.get("ssl_config_file")),
        ),
        tls=tls,
        metrics_path=checked_flags.metrics_path(options.flags),
        mounts=launch.mounts,
    )


def _launch_signed(engine: Engine, options: Options) -> Launch:
    """For an engine that knows of no signatures: the newest signed version, copied to where no other will appear."""
    if options.base_path is None:
        raise ValueError(
            f"require_signature goes with one base path where the engine is {engine.name}, not with a list"
        )
    copy = signed.staged(options.base_path, signed.public_keys(options.require_signature))
    launch = engine.launch(replace(options, base_path=copy))
    cleanup = ["sh", "-c", 'rm -rf -- "$0"; "$@"', str(copy), *(launch.cleanup or ["true"])]
    return replace(launch, cleanup=cleanup, mounts=launch.mounts or {})  # what was not copied is not to be served


def _ports(host: str, *wanted: int | None) -> list[int | None]:
    """The wanted ports, free ones in the place of zeros. EngineError for one that somebody listens on.

    A second gRPC server on a taken port would start without a word and share its connections (SO_REUSEPORT).
    """
    with contextlib.ExitStack() as held:
        return [None if port is None else held.enter_context(_bound(host, port)).getsockname()[1] for port in wanted]


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise EngineError(f"Cannot listen on {host}:{port}: {error.strerror}") from None
    return listener

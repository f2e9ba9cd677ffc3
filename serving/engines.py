"""What serves a base path: TensorFlow Serving in Docker, its binary, or the embedded server, behind one handle.

    with serve("served/lenet5") as server:
        Client(server.rest_url).predict(server.name, …)

An engine is two functions: why it cannot be used here, and how it is launched. The command lines are pure functions of
``Options``. Every engine runs under a supervisor (``child.py``), so that none outlives the process that started it.
"""

import contextlib
import csv
import io
import ipaddress
import logging
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from serving import signed, tf_serving_flags
from serving.base_path import check_base_path
from serving.errors import EngineError
from serving.process import SupervisedProcess
from serving.served_models import check_name
from serving.server import Addresses, Server

if TYPE_CHECKING:
    from serving.tls import Tls

IMAGE = "tensorflow/serving:2.20.0"
BINARY = "tensorflow_model_server"
MODELS = "/models"  # where base paths lie inside of a container
CONFIG = "/etc/serving"  # where files of its configuration do
SOCKETS = "/run/serving"  # where its Unix socket does
REST_PORT, GRPC_PORT = 8501, 8500
NOBODY = 65534  # user and group without a name or a file

Flags = Mapping[str, str | int | float | bool]
"""Flags of a server by TensorFlow Serving's names, without dashes."""

_logger = logging.getLogger("serving")

_OUR_FLAGS = frozenset({"port", "rest_api_port", "host", "model_name", "model_base_path", "require_signature"})
_LONGEST_SOCKET_PATH = 107  # bytes, in the system's own structure
_TRIES = 4  # how often ports are chosen anew when somebody else was quicker
_ASK_DOCKER_SECONDS = 20.0
_PULL_SECONDS = 900.0


@dataclass(frozen=True)
class Options:
    """What is served where. ValueError for what would not start, or would listen where nobody expects it.

    ``name`` and ``base_path`` are None where ``flags`` has a ``model_config_file``, whose base paths are in ``listed``.
    A port is None where nothing listens.
    """

    name: str | None
    base_path: Path | None
    host: str = "127.0.0.1"
    rest_port: int | None = REST_PORT
    grpc_port: int | None = GRPC_PORT
    flags: Flags = field(default_factory=dict)
    listed: Mapping[str, Path] = field(default_factory=dict)
    require_signature: Path | None = None

    def __post_init__(self):
        _check_host(self.host)
        _check_ports(*(port for port in (self.rest_port, self.grpc_port) if port is not None))
        if self.grpc_port is None and "grpc_socket_path" not in self.flags:
            raise ValueError("TensorFlow Serving ends without a gRPC port where there is no grpc_socket_path either")
        if self.base_path is None:
            return
        check_name(self.name)
        if not self.base_path.is_absolute():
            raise ValueError(f"TensorFlow Serving takes absolute base paths only. Received: {self.base_path}")

    @property
    def models(self) -> Mapping[str, Path]:
        """The base path of each model."""
        return self.listed if self.base_path is None else {self.name: self.base_path}


@dataclass(frozen=True)
class Launch:
    """A command to run, its extra environment, and a command that cleans up after it.

    ``mounts`` says under which paths the server sees folders of this machine; None where it sees them all as they are.
    """

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    cleanup: list[str] | None = None
    mounts: Mapping[Path, str] | None = None


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
    _check_host(host)
    _check_ports(*(port for port in (rest_port, grpc_port) if port))
    flags = _checked_flags({name: value for name, value in (flags or {}).items() if value != ""}, engine)
    _metrics_path(flags)
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


def binary_command(options: Options, binary: str = BINARY) -> list[str]:
    """TensorFlow Serving's own command line. It has no flag for the host: the binary listens on every address."""
    return [binary, *_started_with(_addresses_here(options), options.flags)]


def docker_command(options: Options, container: str, user: str, image: str = IMAGE) -> list[str]:
    """``docker run`` with as little power as serving needs.

    The image's entry point is a shell script, and a process that is PID 1 ignores SIGTERM: so the server itself is the
    entry point, under Docker's own init.
    """
    host = f"[{options.host}]" if ":" in options.host else options.host
    ports = {options.rest_port: REST_PORT, options.grpc_port: GRPC_PORT}
    flags, files = _flags_inside(options)
    mounts = {inside: str(path) for path, inside in model_mounts(options).items()} | files
    return [
        *("docker", "run", "--rm", "--init", "--pull=never", f"--name={container}", f"--user={user}"),
        *("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *(f"--publish={host}:{outside}:{inside}" for outside, inside in ports.items() if outside is not None),
        *(_mount(source, target, "readonly") for target, source in mounts.items()),
        *(_mount(str(Path(path).parent), SOCKETS) for path in _socket_path(options)),
        f"--entrypoint={BINARY}",
        image,
        *_started_with(
            {
                "port": GRPC_PORT if options.grpc_port else 0,
                "rest_api_port": REST_PORT if options.rest_port else 0,
                **_one_model(options, f"{MODELS}/{options.name}"),
            },
            flags,
        ),
    ]


def model_mounts(options: Options) -> dict[Path, str]:
    """Where base paths lie inside of a container; those of a list of models where the list says."""
    if options.base_path is not None:
        return {options.base_path: f"{MODELS}/{options.name}"}
    return {path: str(path) for path in options.listed.values()}


def embedded_command(options: Options, python: str = sys.executable) -> list[str]:
    """Our own server, under TensorFlow Serving's flag names."""
    return [
        *(python, "-m", "serving.embedded", f"--host={options.host}"),
        *spelled(**_addresses_here(options), **options.flags),
        *(spelled(require_signature=str(options.require_signature)) if options.require_signature else []),
    ]


def server_flags(**flags: str | int | float | bool) -> list[str]:
    """The flags as TensorFlow Serving reads them, and the one that all servers of ours get."""
    # The profiler is an endpoint that anyone may call; a server that does not know the flag says so and starts.
    return spelled(**flags, enable_profiler=False)


def spelled(**flags: str | int | float | bool) -> list[str]:
    """Flags as they stand on a command line."""
    return [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in flags.items()]


def container_user() -> str:
    """``UID:GID`` for a container that reads the files of whoever started this process: nobody's if that is root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else f"{NOBODY}:{NOBODY}"


def _check_host(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # Docker publishes ports on addresses only; a name may be several
        raise ValueError(f"A host is an IP address to listen on, or localhost. Received: {host!r}") from None


def _check_ports(*ports: int) -> None:
    for port in ports:
        if not 0 < port < 65536:
            raise ValueError(f"A port is a number from 1 to 65535. Received: {port}")
    if len(set(ports)) < len(ports):
        # TensorFlow Serving would start, and answer gRPC only
        raise ValueError(f"REST and gRPC need two ports. Received: {ports[0]} for both")


def _started_with(addresses: Flags, chosen: Flags) -> list[str]:
    """The flags of TensorFlow Serving; who wants the profiler after all has chosen it."""
    return [*server_flags(**addresses), *spelled(**chosen)]


def _addresses_here(options: Options) -> dict[str, str | int]:
    """Where a server that sees the files of this machine listens, and what it serves."""
    return {
        "port": options.grpc_port or 0,
        "rest_api_port": options.rest_port or 0,
        **_one_model(options, str(options.base_path)),
    }


def _one_model(options: Options, base_path: str) -> dict[str, str]:
    """The flags of the one model, as its server sees it; none where a file lists models."""
    return {} if options.base_path is None else {"model_name": options.name, "model_base_path": base_path}


def _flags_inside(options: Options) -> tuple[dict[str, str | int | float | bool], dict[str, str]]:
    """The flags of a server in a container, and its paths with the files and folders that are to be mounted there."""
    flags, mounts = dict(options.flags), {}
    for name, path in options.flags.items():
        if name == "grpc_socket_path":
            flags[name] = f"{SOCKETS}/{Path(path).name}"
        elif name == "model_config_file" and int(options.flags.get("model_config_file_poll_wait_seconds", 0)):
            # a file that is replaced would be another one than that which is mounted: its folder stays the same
            flags[name] = f"{CONFIG}/{name}/{Path(path).name}"
            mounts[f"{CONFIG}/{name}"] = str(Path(path).parent)
        elif _is_file(name):
            flags[name] = f"{CONFIG}/{name}"
            mounts[flags[name]] = path
    return flags, mounts


def _socket_path(options: Options) -> list[str]:
    return [options.flags["grpc_socket_path"]] if "grpc_socket_path" in options.flags else []


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


def _checked_flags(flags: Flags, engine: str) -> Flags:
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
    return str(Path(value).resolve()) if _is_file(flag) else value


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


def _is_file(flag: str) -> bool:
    return tf_serving_flags.FLAGS.get(flag) is Path


def _mount(source: str, target: str, *further: str) -> str:
    """A mount as Docker reads it: one line of CSV, so that a comma in a path is quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(["type=bind", f"source={source}", f"target={target}", *further])
    return f"--mount={line.getvalue()}"


def _launch_docker(options: Options) -> Launch:
    container = f"servable-zoo-{options.name or 'models'}-{secrets.token_hex(4)}"
    return Launch(
        docker_command(options, container, container_user()),
        cleanup=["docker", "rm", "--force", container],
        mounts=model_mounts(options),
    )


def _launch_binary(options: Options) -> Launch:
    if options.host not in ("0.0.0.0", "::"):
        _logger.info("%s has no flag for the host: it listens on every address, not only on %s", BINARY, options.host)
    return Launch(binary_command(options))


def _launch_embedded(options: Options) -> Launch:
    # the package is found there too where this process found it by a changed sys.path
    home = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    return Launch(embedded_command(options), {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"})


def _why_not_docker() -> str | None:
    if shutil.which("docker") is None:
        return "no docker on the PATH"
    if error := _docker_error("version", "--format={{.Server.Version}}"):
        return f"a docker client with no engine behind it ({error})"
    if _docker_error("image", "inspect", IMAGE) is None:
        return None
    _logger.info("pulling %s", IMAGE)
    if error := _docker_error("pull", "--quiet", IMAGE, seconds=_PULL_SECONDS):
        return f"the image {IMAGE} cannot be had ({error})"
    return None


def _docker_error(*arguments: str, seconds: float = _ASK_DOCKER_SECONDS) -> str | None:
    """The last line that a failing docker command wrote; None if it did not fail."""
    try:
        done = subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {seconds:.0f} s"
    except OSError as error:
        return error.strerror
    if done.returncode == 0:
        return None
    return next(reversed(done.stderr.strip().splitlines()), f"exit code {done.returncode}")


def _why_not_binary() -> str | None:
    return None if shutil.which(BINARY) else f"no {BINARY} on the PATH"


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("docker", _why_not_docker, _launch_docker),
        Engine("binary", _why_not_binary, _launch_binary),
        Engine("embedded", lambda: None, _launch_embedded, checks_signatures=True),
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
        metrics_path=_metrics_path(options.flags),
        mounts=launch.mounts,
    )


def _metrics_path(flags: Flags) -> str | None:
    if "monitoring_config_file" not in flags:
        return None
    from serving.embedded import monitoring_config, status

    try:
        return monitoring_config.metrics_path(flags["monitoring_config_file"])
    except status.ServingError as error:
        raise ValueError(f"The monitoring_config_file is wrong: {error.message}") from None


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

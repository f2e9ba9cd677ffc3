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
from dataclasses import dataclass, field, replace
from pathlib import Path

from serving import signed
from serving.base_path import check_base_path
from serving.errors import EngineError
from serving.process import SupervisedProcess
from serving.server import Server

IMAGE = "tensorflow/serving:2.20.0"
BINARY = "tensorflow_model_server"
MODELS = "/models"  # where base paths lie inside of a container
CONFIG = "/etc/serving"  # where files of its configuration do
REST_PORT, GRPC_PORT = 8501, 8500
NOBODY = 65534  # user and group without a name or a file

Flags = Mapping[str, str | int | bool]
"""Flags of a server by their names without dashes; the value of one that ends in ``_file`` is a path."""

_logger = logging.getLogger("serving")

_OUR_FLAGS = (
    *("port", "rest_api_port", "host"),
    *("model_name", "model_base_path", "model_config_file"),
    *("enable_profiler", "require_signature"),
)
_LEGAL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_TRIES = 4  # how often ports are chosen anew when somebody else was quicker
_ASK_DOCKER_SECONDS = 20.0
_PULL_SECONDS = 900.0


@dataclass(frozen=True)
class Options:
    """What is served where. ValueError for what would not start, or would listen where nobody expects it."""

    name: str
    base_path: Path
    host: str = "127.0.0.1"
    rest_port: int = REST_PORT
    grpc_port: int = GRPC_PORT
    flags: Flags = field(default_factory=dict)
    require_signature: Path | None = None

    def __post_init__(self):
        check_name(self.name)
        _check_host(self.host)
        _check_ports(self.rest_port, self.grpc_port)
        if not self.base_path.is_absolute():
            raise ValueError(f"TensorFlow Serving takes absolute base paths only. Received: {self.base_path}")


@dataclass(frozen=True)
class Launch:
    """A command to run, its extra environment, and a command that cleans up after it."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    cleanup: list[str] | None = None


@dataclass(frozen=True)
class Engine:
    """``why_not()`` is None where the engine can be used, else the reason in a few words."""

    name: str
    why_not: Callable[[], str | None]
    launch: Callable[[Options], Launch]
    checks_signatures: bool = False


def serve(
    base_path: str | os.PathLike,
    *,
    name: str | None = None,
    engine: str = "auto",
    host: str = "127.0.0.1",
    rest_port: int = 0,
    grpc_port: int = 0,
    flags: Flags | None = None,
    require_signature: str | os.PathLike | None = None,
    timeout: float = 120.0,
    grace: float = 10.0,
    log: Callable[[str], None] | None = None,
) -> Server:
    """Starts a server for a base path (a folder of integer-named version folders) and waits until it answers.

    ``name`` is the model's name, the folder's own by default. ``engine`` is ``docker``, ``binary``, ``embedded`` or
    ``auto``: the first of these that this machine has. Port 0 is a free one. ``flags`` are further ones of the server
    (``{"enable_batching": True}``). ``require_signature`` is a PEM file of public keys: no version is loaded that none
    of them signed; engines other than ``embedded`` then serve a copy of the newest version that is signed when they
    start, and no later one. ``timeout`` is in seconds, from the start of the server (pulling an image comes before);
    after ``grace`` seconds a server that does not end is killed. ``log`` is called with each line that the server
    writes.

    Raises ValueError for what cannot be served, before anything starts; EngineError where no server came up, with its
    last log lines; ModelFailed where the server runs but refuses the model; DeadlineExceeded.
    """
    path = check_base_path(base_path)
    if timeout <= 0:
        raise ValueError(f"timeout must be positive, in seconds. Received: {timeout}")
    # what is wrong is said before Docker is asked, which may take minutes
    name = path.name if name is None else name
    host = "127.0.0.1" if host == "localhost" else host
    check_name(name)
    _check_host(host)
    _check_ports(*(port for port in (rest_port, grpc_port) if port != 0))
    flags = _checked_flags(flags or {})
    if require_signature is not None:
        require_signature = Path(require_signature).resolve()
        signed.public_keys(require_signature)
    chosen = choose_engine(engine)
    for tries_left in reversed(range(_TRIES)):
        options = Options(name, path, host, *_ports(host, rest_port, grpc_port), flags, require_signature)
        server = _start(chosen, options, grace, log)
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
    return [binary, *server_flags(**_flags_here(options))]


def docker_command(options: Options, container: str, user: str, image: str = IMAGE) -> list[str]:
    """``docker run`` with as little power as serving needs.

    The image's entry point is a shell script, and a process that is PID 1 ignores SIGTERM: so the server itself is the
    entry point, under Docker's own init.
    """
    inside = f"{MODELS}/{options.name}"
    files = {name: path for name, path in options.flags.items() if _is_file(name)}
    host = f"[{options.host}]" if ":" in options.host else options.host
    return [
        *("docker", "run", "--rm", "--init", "--pull=never", f"--name={container}", f"--user={user}"),
        *("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        f"--publish={host}:{options.rest_port}:{REST_PORT}",
        f"--publish={host}:{options.grpc_port}:{GRPC_PORT}",
        "--mount=" + _mount("type=bind", f"source={options.base_path}", f"target={inside}", "readonly"),
        *(
            "--mount=" + _mount("type=bind", f"source={path}", f"target={CONFIG}/{name}", "readonly")
            for name, path in files.items()
        ),
        f"--entrypoint={BINARY}",
        image,
        *server_flags(port=GRPC_PORT, rest_api_port=REST_PORT, model_name=options.name, model_base_path=inside),
        *spelled(**{**options.flags, **{name: f"{CONFIG}/{name}" for name in files}}),
    ]


def embedded_command(options: Options, python: str = sys.executable) -> list[str]:
    """Our own server, under TensorFlow Serving's flag names."""
    return [
        *(python, "-m", "serving.embedded", f"--host={options.host}"),
        *spelled(**_flags_here(options)),
        *(spelled(require_signature=str(options.require_signature)) if options.require_signature else []),
    ]


def server_flags(**flags: str | int | bool) -> list[str]:
    """The flags as TensorFlow Serving reads them, and the one that all servers of ours get."""
    # The profiler is an endpoint that anyone may call; a server that does not know the flag says so and starts.
    return spelled(**flags, enable_profiler=False)


def spelled(**flags: str | int | bool) -> list[str]:
    """Flags as they stand on a command line."""
    return [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in flags.items()]


def container_user() -> str:
    """``UID:GID`` for a container that reads the files of whoever started this process: nobody's if that is root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else f"{NOBODY}:{NOBODY}"


def check_name(name: str) -> None:
    if not _LEGAL_NAME.fullmatch(name):
        raise ValueError(
            "A model's name is letters, digits, '_', '.' and '-', and starts with none of the last two. "
            f"Received: {name!r}"
        )


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


def _flags_here(options: Options) -> dict[str, str | int | bool]:
    return {
        "port": options.grpc_port,
        "rest_api_port": options.rest_port,
        "model_name": options.name,
        "model_base_path": str(options.base_path),
        **options.flags,
    }


def _checked_flags(flags: Flags) -> Flags:
    """The flags, paths of files made absolute. ValueError for one that is not for callers to give."""
    for name, value in flags.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError(f"A flag is a name as in enable_batching, without dashes. Received: {name!r}")
        if name in _OUR_FLAGS:
            raise ValueError(f"The flag {name} cannot be chosen. What is served where has options of its own")
        if _is_file(name) and not Path(value).is_file():
            raise ValueError(f"The flag {name} names a file, and there is none: {value}")
    return {name: str(Path(value).resolve()) if _is_file(name) else value for name, value in flags.items()}


def _is_file(flag: str) -> bool:
    return flag.endswith("_file")


def _mount(*fields: str) -> str:
    """The fields as Docker reads them: one line of CSV, so that a comma in a path is quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def _launch_docker(options: Options) -> Launch:
    container = f"servable-zoo-{options.name}-{secrets.token_hex(4)}"
    return Launch(docker_command(options, container, container_user()), cleanup=["docker", "rm", "--force", container])


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


def _start(engine: Engine, options: Options, grace: float, log: Callable[[str], None] | None) -> Server:
    if options.require_signature is None or engine.checks_signatures:
        launch = engine.launch(options)
    else:
        launch = _launch_signed(engine, options)
    process = SupervisedProcess(
        launch.command, environment=launch.environment, cleanup=launch.cleanup, log=log, grace=grace
    )
    return Server(
        engine.name,
        options.name,
        process,
        host=options.host,
        rest_port=options.rest_port,
        grpc_port=options.grpc_port,
    )


def _launch_signed(engine: Engine, options: Options) -> Launch:
    """For an engine that knows of no signatures: the newest signed version, copied to where no other will appear."""
    copy = signed.staged(options.base_path, signed.public_keys(options.require_signature))
    launch = engine.launch(replace(options, base_path=copy))
    return replace(launch, cleanup=["sh", "-c", 'rm -rf -- "$0"; "$@"', str(copy), *(launch.cleanup or ["true"])])


def _ports(host: str, *wanted: int) -> list[int]:
    """The wanted ports, free ones in the place of zeros. EngineError for one that somebody listens on.

    A second gRPC server on a taken port would start without a word and share its connections (SO_REUSEPORT).
    """
    with contextlib.ExitStack() as held:
        return [held.enter_context(_bound(host, port)).getsockname()[1] for port in wanted]


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

"""TensorFlow Serving's image, run by Docker."""

import csv
import io
import logging
import os
import secrets
import shutil
import subprocess
from pathlib import Path

from serving.checked_flags import is_file
from serving.launching import BINARY, GRPC_PORT, REST_PORT, Launch, Options, one_model, started_with

IMAGE = "tensorflow/serving:2.20.0"
MODELS = "/models"  # where base paths lie inside of a container
CONFIG = "/etc/serving"  # where files of its configuration do
SOCKETS = "/run/serving"  # where its Unix socket does
NOBODY = 65534  # user and group without a name or a file

_logger = logging.getLogger("serving")

_ASK_SECONDS = 20.0
_PULL_SECONDS = 900.0


def why_not() -> str | None:
    """None where Docker can be used, else the reason. The image is pulled where it is not there: minutes."""
    if shutil.which("docker") is None:
        return "no docker on the PATH"
    if error := _error("version", "--format={{.Server.Version}}"):
        return f"a docker client with no engine behind it ({error})"
    if _error("image", "inspect", IMAGE) is None:
        return None
    _logger.info("pulling %s", IMAGE)
    if error := _error("pull", "--quiet", IMAGE, seconds=_PULL_SECONDS):
        return f"the image {IMAGE} cannot be had ({error})"
    return None


def launch(options: Options) -> Launch:
    """A container with a name of its own, by which it is removed when its server ends."""
    container = f"servable-zoo-{options.name or 'models'}-{secrets.token_hex(4)}"
    return Launch(
        docker_command(options, container, container_user()),
        cleanup=["docker", "rm", "--force", container],
        mounts=model_mounts(options),
    )


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
        *started_with(
            {
                "port": GRPC_PORT if options.grpc_port else 0,
                "rest_api_port": REST_PORT if options.rest_port else 0,
                **one_model(options, f"{MODELS}/{options.name}"),
            },
            flags,
        ),
    ]


def model_mounts(options: Options) -> dict[Path, str]:
    """Where base paths lie inside of a container; those of a list of models where the list says."""
    if options.base_path is not None:
        return {options.base_path: f"{MODELS}/{options.name}"}
    return {path: str(path) for path in options.listed.values()}


def container_user() -> str:
    """``UID:GID`` for a container that reads the files of whoever started this process: nobody's if that is root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else f"{NOBODY}:{NOBODY}"


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
        elif is_file(name):
            flags[name] = f"{CONFIG}/{name}"
            mounts[flags[name]] = path
    return flags, mounts


def _socket_path(options: Options) -> list[str]:
    return [options.flags["grpc_socket_path"]] if "grpc_socket_path" in options.flags else []


def _mount(source: str, target: str, *further: str) -> str:
    """A mount as Docker reads it: one line of CSV, so that a comma in a path is quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(["type=bind", f"source={source}", f"target={target}", *further])
    return f"--mount={line.getvalue()}"


def _error(*arguments: str, seconds: float = _ASK_SECONDS) -> str | None:
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

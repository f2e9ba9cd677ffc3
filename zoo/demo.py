"""`zoo demo`: the whole road on this machine, in the commands that a person would type.

Every step is a command of this script, shown before it runs. Nothing here knows the other packages: what the demo does,
anyone can do from a shell.
"""

import base64
import contextlib
import json
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import click

MARKER = ".zoo-demo"
START_SECONDS = 120
MOVE_SECONDS = 60


@click.command()
@click.option("--dir", "folder", default="demo", show_default=True, help="Where the demo writes; emptied at its start.")
@click.option("--epochs", default=10, show_default=True, help="Epochs of each of the two trainings.")
def demo(folder, epochs):
    """Train, publish, prove, serve, query, publish again and roll back: all of it, on real digits, without a network.

    \b
    Example: zoo demo
    """
    started = time.perf_counter()
    folder = _emptied(Path(folder))
    run, better, base = folder / "run", folder / "run2", folder / "served" / "lenet5"

    _say("1. Train LeNet-5 on 1,437 scanned digits")
    _zoo(f"train lenet5 --data digits --epochs {epochs} --run-dir {run}")
    _zoo(f"evaluate {run}")

    _say("2. Publish it: a version folder that carries its own proof")
    _zoo(f"publish {run} {base}")
    _zoo(f"verify {base}/1")

    _say("3. Serve it")
    rest, grpc = _free_ports(2)
    url = f"http://127.0.0.1:{rest}"
    with _server(f"serve {base} --rest-port {rest} --grpc-port {grpc}", folder / "server.log"):
        _say("4. Ask it, with PNG files it has never seen: over REST, then over gRPC")
        _zoo(f"query lenet5 {run}/examples.csv --limit 10 --rest {url}")
        _zoo(f"query lenet5 {run}/examples.csv --limit 10 --grpc 127.0.0.1:{grpc}")

        _say("5. Replay the proof against the running server")
        _zoo(f"verify {base}/1 --rest {url}")
        _zoo(f"verify {base}/1 --grpc 127.0.0.1:{grpc}")

        _say("6. Publish version 2, trained with a schedule: the server moves to it, answering all the while")
        schedule = "--learning-rate 0.004 --schedule cosine"
        _zoo(f"train lenet5 --data digits --epochs {epochs} {schedule} --run-dir {better}")
        picture = run / "examples" / "0000.png"
        _zoo(f"publish {better} {base} --allow-worse")  # on some machine it may be
        _watch_move(url, 2, picture)

        _say("7. Roll back: version 1 again, as version 3")
        _zoo(f"rollback {base}")
        _watch_move(url, 3, picture)
        _zoo(f"versions {base}")

    _say(f"Done in {time.perf_counter() - started:.0f} s. Pictures to look at:")
    for name in ("predictions.png", "curves.png", "confusion.png"):
        click.echo(f"  {run / name}")


def _say(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _zoo(command: str) -> None:
    """Run a command of this script, in this process."""
    from zoo.__main__ import root

    click.secho(f"$ zoo {command}", fg="cyan")
    root.main(shlex.split(command), prog_name="zoo", standalone_mode=False)


def _emptied(folder: Path) -> Path:
    """The demo's folder, emptied if an earlier demo made it."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise ValueError(f"{folder} holds files that no demo made; they are not touched. Choose another --dir.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
    return folder


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


@contextlib.contextmanager
def _server(command: str, log: Path) -> Iterator[None]:
    """`zoo serve` as its own process, from ready to stopped."""
    click.secho(f"$ zoo {command} &", fg="cyan")
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "zoo", *shlex.split(command)], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait_ready(process, log)
            click.echo(log.read_text().partition("Ask it:")[0].rstrip())
            yield
        finally:
            process.terminate()
            process.wait()


def _wait_ready(process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "Ask it:" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise OSError(f"The server did not start. Its log:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


def _watch_move(url: str, version: int, picture: Path) -> None:
    """Ask without a pause until the version answers, showing every change of state; no answer may fail."""
    body = json.dumps(
        {"signature_name": "bytes", "instances": [{"b64": base64.b64encode(picture.read_bytes()).decode()}]}
    ).encode()
    deadline, answers, shown = time.monotonic() + MOVE_SECONDS, 0, None
    while shown is None or f"{version} AVAILABLE" not in shown:
        with urllib.request.urlopen(f"{url}/v1/models/lenet5:predict", body, timeout=10) as answer:
            answers += answer.status == 200
        with urllib.request.urlopen(f"{url}/v1/models/lenet5", timeout=10) as answer:
            status = json.load(answer)["model_version_status"]
        states = ", ".join(f"{entry['version']} {entry['state']}" for entry in status)
        if states != shown:
            click.echo(f"  versions: {states}")
            shown = states
        if time.monotonic() > deadline:
            raise OSError(f"The server did not move to version {version} within {MOVE_SECONDS} s.")
    click.echo(f"  {answers} requests while it moved, all of them answered")

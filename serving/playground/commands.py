"""``zoo playground``. Only click and the standard library are imported before it runs."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serving.commands import PLAYGROUND_PORT, sigterm_interrupts
from serving.query_commands import tls_options

if TYPE_CHECKING:
    from serving.playground.server import Playground


@click.command()
@click.argument("target")
@click.argument("models", nargs=-1)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A model's base path: its card, labels and examples. Can be repeated.",
)
@tls_options
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PLAYGROUND_PORT, show_default=True, help="0: a free one."
)
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Seconds of a request."
)
@click.option("--json", "as_json", is_flag=True, help="Print the address as one line of JSON.")
def playground(
    target: str,
    models: tuple[str, ...],
    inputs: tuple[Path, ...],
    tls_ca: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    host: str,
    port: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Open a page on which to draw, drop, type or fill in what MODELS of a server are to answer.

    TARGET is the address of a server, http://host:port (REST) or host:port (gRPC). MODELS are names of what it serves:
    it does not tell them itself. A base path given with --input is a model, too, of its folder's name, and makes the
    page richer: what the model is for, the names of its classes, examples to click on.

    The page needs nothing but this machine, and is for it alone unless --host says otherwise. Ctrl-C stops it.

    \b
    Example:
        zoo playground http://127.0.0.1:8501 lenet5
        zoo playground 127.0.0.1:8500 --input served/lenet5 --input served/unet
        zoo serve served/lenet5 --playground
    """
    known = dict.fromkeys(models) | {path.resolve().name: path for path in inputs}
    if not known:
        raise click.UsageError("Name the MODELS of the server, which does not tell them, or give --input BASE_PATH.")
    tls = {"ca": tls_ca, "certificate": tls_certificate, "key": tls_key}
    with sigterm_interrupts():
        try:
            with opened(target, known, host=host, port=port, timeout=timeout, tls=tls) as page:
                click.echo(json.dumps({"playground": page.url}) if as_json else f"{page.url}\nCtrl-C stops it.")
                threading.Event().wait()
        except KeyboardInterrupt:
            click.echo("stopped", err=True)


def opened(
    target: str,
    models: Mapping[str, Path | None],
    *,
    host: str,
    port: int,
    timeout: float = 60.0,
    tls: Mapping[str, Path | None] | None = None,
) -> Playground:
    """A running Playground; what it is given wrong, or a taken port, as a command says it."""
    from serving.playground.server import Playground
    from serving.tls import Tls

    try:
        known = Tls(**tls) if tls and any(tls.values()) else None
        return Playground(target, models, host=host, port=port, timeout=timeout, tls=known)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"The playground does not start: {error}") from None

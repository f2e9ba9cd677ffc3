"""``zoo serve``. Only click and the standard library are imported before it runs."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from serving.metadata import ModelMetadata, Signature
    from serving.playground.server import Playground
    from serving.server import Server

ENGINES = ("auto", "docker", "binary", "embedded")
PLAYGROUND_PORT = 8502
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_CURL_VALUES = 64  # numbers that a ready-made curl line may hold


class _ServeCommand(click.Command):
    """Takes TensorFlow Serving's own flags, too, each as if it were a ``--flag``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from serving.tf_serving_flags import as_options

        try:
            return super().parse_args(ctx, as_options(args))
        except ValueError as error:
            raise click.UsageError(str(error)) from None


@click.command(cls=_ServeCommand)
@click.argument("base_path", required=False, type=click.Path(path_type=str))
@click.option("--name", help="The model's name.  [default: the folder's]")
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True, help="What serves.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--rest-port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="0: a free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=8500, show_default=True, help="0: a free one.")
@click.option("--flag", "flags", multiple=True, metavar="NAME=VALUE", help="A flag of the server. Can be repeated.")
@click.option("--tls-certificate", type=FILE, help="PEM file: gRPC over TLS.")
@click.option("--tls-key", type=FILE, help="PEM file of its private key.")
@click.option("--tls-client-ca", type=FILE, help="PEM file: only callers with a certificate of this authority.")
@click.option(
    "--require-signature",
    type=FILE,
    metavar="PUBLIC_KEY",
    help="PEM file of public keys: load only versions that one of them signed.",
)
@click.option("--playground", "has_playground", is_flag=True, help="Open a page on which to ask the model.")
@click.option(
    "--playground-port",
    type=click.IntRange(0, 65535),
    default=PLAYGROUND_PORT,
    show_default=True,
    help="The page's. 0: a free one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one line of JSON.")
def serve(
    base_path: str | None,
    name: str | None,
    engine: str,
    host: str,
    rest_port: int,
    grpc_port: int,
    flags: tuple[str, ...],
    tls_certificate: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    require_signature: Path | None,
    has_playground: bool,
    playground_port: int,
    as_json: bool,
) -> None:
    """Serve the versions in BASE_PATH over REST and gRPC, in the foreground.

    BASE_PATH holds version folders (served/lenet5/1, served/lenet5/2); the newest answers, and a newer one takes over
    when it appears. The engine is TensorFlow Serving in Docker, else its binary, else the embedded server. Ctrl-C or
    SIGTERM stops it.

    All of TensorFlow Serving's own flags are taken, too, in its spelling: --port, --rest_api_port, --model_name,
    --model_base_path, --model_config_file, --enable_batching, --ssl_config_file, --grpc_socket_path, ... With none of
    those that say what is served, MODEL_NAME and MODEL_BASE_PATH of the environment do, as in its image.

    \b
    Example:
        zoo serve served/lenet5
        zoo serve served/lenet5 --playground
        zoo serve served/lenet5 --engine embedded --rest-port 8601 --grpc-port 8600
        zoo serve served/lenet5 --tensorflow_intra_op_parallelism=1
        zoo serve served/lenet5 --tls-certificate server.pem --tls-key server.key
        zoo serve --port=8500 --rest_api_port=8501 --model_config_file=models.config
    """
    _log_to_stderr()
    friendly = {"base_path": base_path, "name": name, "rest_port": rest_port, "grpc_port": grpc_port}
    options = _placed(flags, friendly)
    if has_playground and options["rest_port"] is None:
        raise click.UsageError("--playground asks over REST, which --rest_api_port=0 leaves out.")
    with sigterm_interrupts(), contextlib.ExitStack() as stack:
        options["flags"] |= stack.enter_context(_ssl_flags(tls_certificate, tls_key, tls_client_ca))
        try:
            with _started(engine=engine, host=host, require_signature=require_signature, **options) as server:
                page = None
                if has_playground:
                    page = stack.enter_context(_playground(server, host, playground_port))
                _announce(server, as_json, page)
                while not server.wait(timeout=1.0):
                    pass
                raise click.ClickException(server.exit_reason)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)


def _log_to_stderr() -> None:
    """The lines in which the package says what it decided."""
    logger = logging.getLogger("serving")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """SIGTERM as if it were Ctrl-C, so that both stop the server in the same way."""

    def interrupt(*_):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _parsed_flags(flags: Sequence[str]) -> dict[str, str]:
    pairs = [flag.removeprefix("--").partition("=") for flag in flags]
    if wrong := [flag for flag, (name, equals, _) in zip(flags, pairs, strict=True) if not name or not equals]:
        raise click.BadParameter(f"A flag is written NAME=VALUE. Received: {wrong[0]!r}", param_hint="--flag")
    return {name: value for name, _, value in pairs}


def _placed(flags: Sequence[str], friendly: Mapping[str, object]) -> dict:
    from serving.tf_serving_flags import placed

    try:
        return placed(_parsed_flags(flags), friendly, os.environ)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@contextlib.contextmanager
def _ssl_flags(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Iterator[dict[str, str]]:
    """The flag of a file with the certificates, which only the server can read, and which goes at the end."""
    from tempfile import TemporaryDirectory

    from serving.deployment import tls
    from serving.docker import NOBODY

    if certificate is key is client_ca is None:
        yield {}
        return
    if certificate is None or key is None:
        raise click.UsageError("--tls-certificate and --tls-key go together, and --tls-client-ca with them.")
    with TemporaryDirectory() as folder:
        file = Path(folder, "ssl_config.pbtxt")
        file.touch(mode=0o600)
        try:
            file.write_text(tls.read(certificate, key, client_ca), "ascii")
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        if not os.getuid():
            os.chown(file, NOBODY, NOBODY)  # as whom a container that root started reads it
        yield {"ssl_config_file": str(file)}


def _started(**options) -> Server:
    from serving.engines import serve as start
    from serving.errors import ServingError

    try:
        return start(**options, log=lambda line: click.echo(line, err=True))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    except ServingError as error:
        raise click.ClickException(str(error)) from None


def _playground(server: Server, host: str, port: int) -> Playground:
    from serving.playground.commands import opened

    return opened(server.rest_url, server.base_paths, host=host, port=port)


def _announce(server: Server, as_json: bool, page: Playground | None) -> None:
    metadata = server.wait_ready()
    addresses = {"REST": server.rest_url, "gRPC": server.grpc_address, "socket": server.socket_address}
    addresses |= {"playground": page.url} if page else {}
    there = {name: address for name, address in addresses.items() if address}
    version = metadata.version if metadata else None
    if as_json:
        fields = {"engine": server.engine, "model": server.name, "version": version}
        click.echo(json.dumps(fields | {name.lower(): address for name, address in there.items()}))
        return
    what = f"{server.name} version {version}" if version is not None else server.name
    if len(server.models) != 1:
        what = ", ".join(server.models) or "no model"
    click.echo(f"{what}, served by the engine: {server.engine}")
    for name, address in there.items():
        click.echo(f"  {'page' if name == 'playground' else name}  {address}")
    if metadata and server.rest_url:
        click.echo(f"Ask it:\n  {curl_line(server.rest_url, metadata)}")
    click.echo("Ctrl-C stops it.")


def curl_line(rest_url: str, metadata: ModelMetadata) -> str:
    """A command that asks the model: a picture or a text where a signature takes one, else zeros of the right shape."""
    from serving import lines
    from serving.questions import takes_one_string

    for name, signature in metadata.signatures.items():
        if takes_one_string(signature):
            input_name = next(iter(signature.inputs))
            is_text = "text" in (name, input_name)
            files = {} if is_text else {input_name: "picture.png"}
            return lines.curl_line(rest_url, metadata.name, name, {input_name: ["some text"]}, files)
    for name, signature in sorted(metadata.signatures.items(), key=lambda item: item[0] != "row"):
        zeros = _zeros(signature)
        if zeros is not None:
            return lines.curl_line(rest_url, metadata.name, name, zeros)
    return f"curl {rest_url}/v1/models/{metadata.name}/metadata"


def _zeros(signature: Signature) -> dict[str, object] | None:
    """Zeros for every input, one row; None where they would be too many or the inputs are not all numbers."""
    inputs = {}
    for name, spec in signature.inputs.items():
        shape = [1 if size is None else size for size in spec.shape or ()]
        if spec.dtype == "string" or spec.shape is None or math.prod(shape) > _CURL_VALUES:
            return None
        value: object = False if spec.dtype == "bool" else 0 if "int" in spec.dtype else 0.0
        for size in reversed(shape):
            value = [value] * size
        inputs[name] = value
    return inputs or None

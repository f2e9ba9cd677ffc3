"""``zoo serve`` and ``zoo query``. Only click and the standard library are imported before a command runs."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from serving.answers import Row
    from serving.client import Client
    from serving.metadata import ModelMetadata, Signature
    from serving.playground.server import Playground
    from serving.questions import Question
    from serving.server import Server

ENGINES = ("auto", "docker", "binary", "embedded")
DEFAULT_REST = "http://127.0.0.1:8501"
PLAYGROUND_PORT = 8502

_CURL_VALUES = 64  # numbers that a ready-made curl line may hold
_LONGEST_CELL = 1000  # characters of a text that are shown
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_LOOK_SECONDS = 2.0  # for finding out whether a server listens


def tls_options(command: Callable) -> Callable:
    """How a server is known over TLS."""
    for option in (
        click.option("--tls-key", type=_FILE, help="PEM file of its private key."),
        click.option("--tls-certificate", type=_FILE, help="PEM file, for a server that asks its callers for one."),
        click.option("--tls-ca", type=_FILE, help="PEM file of the authorities to trust, over https:// or gRPC."),
    ):
        command = option(command)
    return command


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
@click.option("--tls-certificate", type=_FILE, help="PEM file: gRPC over TLS.")
@click.option("--tls-key", type=_FILE, help="PEM file of its private key.")
@click.option("--tls-client-ca", type=_FILE, help="PEM file: only callers with a certificate of this authority.")
@click.option(
    "--require-signature",
    type=_FILE,
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


@click.command()
@click.argument("model")
@click.argument("inputs", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--text", "texts", multiple=True, metavar="TEXT", help="A text. Can be repeated.")
@click.option("--row", "rows", multiple=True, metavar="NAME=VALUE,…", help="A row of a table. Can be repeated.")
@click.option("--rest", metavar="URL", help=f"The server's REST address.  [default: {DEFAULT_REST}]")
@click.option("--grpc", metavar="HOST:PORT", help="The server's gRPC address.")
@tls_options
@click.option("--signature", help="The signature to ask.  [default: the one that fits the inputs]")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Another input of the signature. Can be repeated."
)
@click.option("--version", type=click.IntRange(0), help="The version to ask.  [default: the newest]")
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="How many classes to show.")
@click.option("--limit", type=click.IntRange(1), help="Ask only the first of the inputs.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON.")
@click.option(
    "--pictures",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the pictures that are answered (masks, styled and generated ones) into this folder.",
)
def query(
    model: str,
    inputs: tuple[Path, ...],
    texts: tuple[str, ...],
    rows: tuple[str, ...],
    rest: str | None,
    grpc: str | None,
    tls_ca: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    signature: str | None,
    settings: tuple[str, ...],
    version: int | None,
    top: int,
    limit: int | None,
    timeout: float,
    as_json: bool,
    folder: Path | None,
) -> None:
    """Ask MODEL for its answers to INPUTS, and show them beside the truth.

    MODEL is a served model's name, or a base path (served/lenet5), for which a server is started if none listens.
    INPUTS are pictures, folders of pictures (the names of sub-folders are the truth), .txt files with one text a line,
    or one CSV file: with a column "file" it names pictures, otherwise its columns are the model's inputs. A column
    "label" or "target", or the only one that is no input, is the truth.

    Models that write texts have the signatures generate and beam_search. --set says how, for all rows alike: usual are
    max_new_tokens=64, temperature=0, top_k=0, top_p=1 and seed=0.

    \b
    Example:
        zoo query served/lenet5 seven.png --top 3
        zoo query lenet5 digits.csv --grpc 127.0.0.1:8500
        zoo query lenet5 seven.png --grpc grpcs://models.example.org:8500 --tls-ca ca.pem
        zoo query served/diabetes --row bmi=32.1,age=59
        zoo query served/reviews --text "I liked it." --text "Never again."
        zoo query served/gpt --text "Once upon" --signature generate --set temperature=0.8
        zoo query served/unet street.jpg --pictures masks
        zoo query served/dcgan --row seed=7,count=16 --pictures made
    """
    from serving import version_folder
    from serving.answers import read_answers
    from serving.errors import ServingError, Unavailable

    if rest and grpc:
        raise click.UsageError("Give --rest or --grpc, not both.")
    if [bool(inputs), bool(texts), bool(rows)].count(True) != 1:
        raise click.UsageError("Give INPUTS (pictures, a folder, a CSV or .txt file), --text or --row, and only one.")
    tls = {"ca": tls_ca, "certificate": tls_certificate, "key": tls_key}
    try:
        with _connected(model, rest or grpc, timeout, tls) as (client, name):
            metadata = client.metadata(name, version=version)
            chosen, questions = _questions(metadata, inputs, texts, rows, settings, signature, limit)
            outputs = client.predict_questions(name, questions, signature=chosen, version=version)
    except Unavailable as error:
        hint = "" if rest or grpc else "\nStart a server with zoo serve, or give a base path for MODEL."
        raise click.ClickException(f"{error}{hint}") from None
    except (ServingError, OSError) as error:
        raise click.ClickException(str(error)) from None
    labels = version_folder.labels(Path(model) / str(metadata.version))
    answers = read_answers(questions, outputs, top=top, labels=labels)
    if folder is not None:
        _write_pictures(folder, answers)
    if as_json:
        _print_json(metadata, chosen, answers)
    else:
        _print_table(answers)


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


@contextlib.contextmanager
def _connected(
    model: str, target: str | None, timeout: float, tls: Mapping[str, Path | None]
) -> Iterator[tuple[Client, str]]:
    """A client of a server that has the model, and the model's name. The server is our own if none was there."""
    from serving.client import Client
    from serving.tls import Tls

    path = Path(model)
    is_path = path.is_dir()
    name = path.resolve().name if is_path else model
    if "/" in name or ":" in name:
        raise click.BadParameter(f"No such base path: {model}", param_hint="MODEL")
    try:
        client = Client(target or DEFAULT_REST, timeout=timeout, tls=Tls(**tls) if any(tls.values()) else None)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    with contextlib.ExitStack() as stack:
        stack.enter_context(client)
        if target is None and is_path and not _answers(name):
            click.echo(f"no server at {DEFAULT_REST} has {name}: starting one for this query", err=True)
            server = stack.enter_context(_started_quietly(path))
            client = stack.enter_context(Client(server.rest_url, timeout=timeout))
        yield client, name


def _answers(name: str) -> bool:
    """Whether a server at the default address has the model."""
    from serving.client import Client
    from serving.errors import ServingError

    try:
        with Client(DEFAULT_REST, timeout=_LOOK_SECONDS, retries=0) as client:
            client.metadata(name)
    except ServingError:
        return False
    return True


def _started_quietly(base_path: Path) -> Server:
    from serving.engines import serve as start

    try:
        return start(base_path)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="MODEL") from None


def _questions(
    metadata: ModelMetadata,
    inputs: Sequence[Path],
    texts: Sequence[str],
    rows: Sequence[str],
    settings: Sequence[str],
    signature: str | None,
    limit: int | None,
) -> tuple[str, list[Question]]:
    """The signature to ask, and what to ask it."""
    from itertools import islice

    from serving import questions

    try:
        further = questions.parse_settings(settings)
        if rows:
            table = [questions.parse_row(row) for row in rows]
            if any(row.keys() != table[0].keys() for row in table):
                raise ValueError("Every --row has the same names")
            chosen, asked = questions.of_table(metadata, table, further, signature)
        elif texts:
            chosen, input_name = questions.text_signature(metadata, signature)
            asked = questions.texts(texts, input_name)
        else:
            chosen, asked = questions.of_files(metadata, inputs, further, signature, limit)
        return chosen, questions.with_settings(list(islice(asked, limit)), chosen, metadata.signatures[chosen], further)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _write_pictures(folder: Path, rows: Sequence[Row]) -> None:
    """One file for each picture: the number of its row, the input's name and the output's."""
    if not any(row.pictures for row in rows):
        raise click.ClickException("There is no picture among the answers to write.")
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        for name, png in row.pictures.items():
            (folder / f"{number:04d}-{name}.png").write_bytes(png)


def _print_json(metadata: ModelMetadata, signature: str, rows: Sequence[Row]) -> None:
    from serving.answers import summary

    click.echo(
        json.dumps(
            {
                "model": metadata.name,
                "version": metadata.version,
                "signature": signature,
                "answers": [row.as_json() for row in rows],
                "summary": summary(rows),
            },
            indent=1,
            ensure_ascii=False,
        )
    )


def _print_table(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from serving.answers import summary

    columns = ["input", "answer"]
    columns += ["probability"] if any(row.guesses[0].probability is not None for row in rows) else []
    columns += ["truth"] if any(row.truth is not None for row in rows) else []
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column == "probability" else "left")
    for row in rows:
        cells = {
            "input": _cell(row.input),
            "answer": "\n".join(_cell(guess.answer) for guess in row.guesses),
            "probability": "\n".join(
                f"{guess.probability:.3f}" for guess in row.guesses if guess.probability is not None
            ),
            "truth": _cell(row.truth or "") + {True: " ✓", False: " ✗", None: ""}[row.right],
        }
        style = "red" if row.right is False else None
        table.add_row(*(Text(cells[column]) for column in columns), style=style)
    console = Console(file=sys.stdout)
    console.print(table)
    if words := summary(rows):
        console.print(words, highlight=False)


def _cell(text: str) -> str:
    """A text as it can be shown in a table: shortened, and with escapes where a terminal would take commands."""
    from unicodedata import category

    from serving.answers import printable

    shortened = text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"
    return "".join(
        repr(letter)[1:-1] if category(letter) == "Cc" and letter != "\n" else letter for letter in printable(shortened)
    )

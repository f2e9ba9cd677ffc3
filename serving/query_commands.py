"""``zoo query``. Only click and the standard library are imported before it runs."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serving.commands import FILE

if TYPE_CHECKING:
    from serving.answers import Row
    from serving.client import Client
    from serving.metadata import ModelMetadata
    from serving.questions import Question
    from serving.server import Server

DEFAULT_REST = "http://127.0.0.1:8501"

_LONGEST_CELL = 1000  # characters of a text that are shown
_LOOK_SECONDS = 2.0  # for finding out whether a server listens


def tls_options(command: Callable) -> Callable:
    """How a server is known over TLS."""
    for option in (
        click.option("--tls-key", type=FILE, help="PEM file of its private key."),
        click.option("--tls-certificate", type=FILE, help="PEM file, for a server that asks its callers for one."),
        click.option("--tls-ca", type=FILE, help="PEM file of the authorities to trust, over https:// or gRPC."),
    ):
        command = option(command)
    return command


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

"""``zoo bench``. Only click and the standard library are imported before it runs."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from serving.commands import ENGINES

if TYPE_CHECKING:
    from serving.bench.cases import Case
    from serving.bench.inputs import Inputs
    from serving.bench.loads import Load
    from serving.metadata import ModelMetadata

POSITIVE = click.FloatRange(0, min_open=True)

signature_option = click.option("--signature", help="The signature to ask.  [default: one that takes raw inputs]")
batch_size_option = click.option(
    "--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Rows in each request."
)

_APIS = ("rest", "grpc", "both")
_ARRIVALS = ("poisson", "even")


class Numbers(click.ParamType):
    """Positive numbers with commas between them."""

    name = "N,N,…"

    def __init__(self, number: type):
        self._number = number

    def convert(self, value, parameter, context) -> list:
        try:
            numbers = [self._number(part) for part in value.split(",")]
        except ValueError:
            numbers = []
        if not numbers or not all(0 < number < float("inf") for number in numbers):
            kind = "whole numbers" if self._number is int else "numbers"
            self.fail(
                f"{value!r}: positive {kind} are wanted, with commas between them, such as 1,8", parameter, context
            )
        return numbers


class Served(NamedTuple):
    """Whom to ask, by each of the ``addresses``. The last two are of a base path for which a server was started."""

    model: str
    addresses: list[str]
    rest_url: str | None
    base_path: Path | None
    engine: str | None


@click.command()
@click.argument("target")
@click.argument("model", required=False)
@click.option("--rate", "rates", type=Numbers(float), help="Open loop: requests per second.")
@click.option("--concurrency", "clients", type=Numbers(int), help="Closed loop: numbers of clients.  [default: 1,8]")
@click.option("--arrivals", type=click.Choice(_ARRIVALS), default="poisson", show_default=True, help="Of --rate.")
@click.option("--duration", type=POSITIVE, default=10.0, show_default=True, help="Seconds of each load.")
@signature_option
@batch_size_option
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="What to ask: files, as zoo query takes them, or a base path with a golden set. Can be repeated.",
)
@click.option("--version", type=click.IntRange(0), help="The version to ask.  [default: the newest]")
@click.option("--api", type=click.Choice(_APIS), help="Which one of a base path's server.  [default: both]")
@click.option("--engine", type=click.Choice(ENGINES), help="What serves a base path.  [default: auto]")
@click.option("--timeout", type=POSITIVE, default=10.0, show_default=True, help="Seconds of each request.")
@click.option("--late-ms", type=POSITIVE, default=5.0, show_default=True, help="From when on a request was sent late.")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="That send each load together.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw latency versus load into a PNG file."
)
def bench(
    target: str,
    model: str | None,
    rates: list[float] | None,
    clients: list[int] | None,
    arrivals: str,
    duration: float,
    signature: str | None,
    batch_size: int,
    inputs: tuple[Path, ...],
    version: int | None,
    api: str | None,
    engine: str | None,
    timeout: float,
    late_ms: float,
    processes: int,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Put load on a server and tell its latency.

    TARGET is the address of a server, http://host:port (REST) or host:port (gRPC), and MODEL the name of what it
    serves; or TARGET is a base path (served/lenet5), for which a server is started.

    --rate is an open loop: requests are sent at their times, whether or not earlier ones are answered, and a latency
    counts from the time at which its request was meant to be sent. That is what callers see who do not know of one
    another. --concurrency is a closed loop: each client waits for its answer. It finds what a server can do, and hides
    its stalls.

    Requests are encoded before the clock starts, and answers are not decoded. They hold the golden inputs of the
    version where a base path is known, else inputs made up from the model's metadata.

    \b
    Example:
        zoo bench served/lenet5
        zoo bench http://host:8501 lenet5 --rate 50,100,200 --duration 10 --plot latency.png
        zoo bench host:8500 lenet5 --concurrency 1,8 --input served/lenet5 --batch-size 4
        zoo bench host:8500 reviews --rate 20 --input reviews.txt
    """
    from serving.bench import inputs as asked
    from serving.bench.loads import ClosedLoop, OpenLoop
    from serving.client import Client
    from serving.errors import ServingError, Unavailable

    if plot and not plot.parent.is_dir():
        raise click.BadParameter(f"No such folder: {plot.parent}", param_hint="--plot")
    try:
        loads = [OpenLoop(rate, arrivals) for rate in rates or ()]
        loads += [ClosedLoop(count) for count in clients or (() if rates else (1, 8))]
        with _served(target, model, api, engine) as served:
            with Client(served.addresses[0], timeout=timeout, retries=0) as client:
                metadata = client.metadata(served.model, version=version)
            found = asked.find(metadata, served.base_path, inputs, signature, batch_size)
            options = {"seconds": duration, "timeout": timeout, "late_ms": late_ms, "processes": processes}
            cases = list(_cases(served, found, loads, version, options))
    except Unavailable as error:
        raise click.ClickException(f"{error}\nStart a server with zoo serve, or give a base path for TARGET.") from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except (ServingError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(_report(metadata, served, found, batch_size, options, cases), indent=1))
    else:
        _print_table(metadata, served, found, batch_size, cases)
    if plot:
        from serving.bench.plot import write

        write(cases, f"{metadata.name} version {metadata.version}, {found.signature}", plot)


@contextlib.contextmanager
def _served(target: str, model: str | None, api: str | None, engine: str | None) -> Iterator[Served]:
    """Whom to ask: the server at an address, or one of our own for a base path."""
    if not Path(target).is_dir():
        if ":" not in target:
            raise ValueError(
                f"{target!r} is no base path, and no address: http://host:port for REST, host:port for gRPC"
            )
        if model is None:
            raise ValueError(f"Give MODEL, the name of what is served at {target}")
        if api or engine:
            raise ValueError("--api and --engine are for a base path, for which a server is started")
        yield Served(model, [target], None, None, None)
        return
    from serving.deployment.text_protos import monitoring_config
    from serving.engines import serve

    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "monitoring.config"
        config.write_text(monitoring_config())  # without it a server does not tell its own times
        flags = {"monitoring_config_file": str(config)}
        with serve(target, name=model, engine=engine or "auto", flags=flags) as server:
            rest, grpc = server.rest_url, server.grpc_address
            addresses = {"rest": [rest], "grpc": [grpc], "both": [rest, grpc]}[api or "both"]
            yield Served(server.name, addresses, rest, Path(target), server.engine)


def _cases(served: Served, inputs: Inputs, loads: Sequence[Load], version: int | None, options: dict) -> Iterator[Case]:
    from serving.bench.measuring import measure
    from serving.bench.senders import Target
    from serving.transport import ModelRef

    for address in served.addresses:
        target = Target(address, ModelRef(served.model, version))
        yield from measure(
            target,
            inputs,
            loads,
            rest_url=served.rest_url,
            before_each=lambda load, api=target.api: click.echo(f"{served.model}: {api}, {load} …", err=True),
            **options,
        )


def _report(
    metadata: ModelMetadata, served: Served, inputs: Inputs, batch_size: int, options: dict, cases: Sequence[Case]
) -> dict:
    return {
        "model": metadata.name,
        "version": metadata.version,
        "signature": inputs.signature,
        "inputs": inputs.origin,
        "batch_size": batch_size,
        "engine": served.engine,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **options,
        "cases": [case.as_json() for case in cases],
    }


def _print_table(
    metadata: ModelMetadata, served: Served, inputs: Inputs, batch_size: int, cases: Sequence[Case]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from serving.bench.cases import PERCENTILES

    server_times = dict.fromkeys(name for case in cases for name in case.server_ms)
    columns = {
        "": [case.api for case in cases],
        "load": [str(case.load) for case in cases],
        "rate/s": [f"{case.rate:,.1f}" for case in cases],
        **{name: [milliseconds(case.latency_ms[name]) for case in cases] for name in PERCENTILES},
        **{f"server\n{name}": [milliseconds(case.server_ms.get(name)) for case in cases] for name in server_times},
        "late": ["" if case.late_share is None else f"{case.late_share:.1%}" for case in cases],
        "errors": [", ".join(f"{count} {code}" for code, count in case.errors.items()) for case in cases],
    }
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    table = Table(box=SIMPLE_HEAD, padding=0)
    for name in columns:
        is_text = name in ("", "load", "errors")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=name != "errors")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console = Console(file=sys.stdout, highlight=False)
    console.print(table)
    rows = "" if batch_size == 1 else f", {batch_size} rows in each request"
    console.print(f"{metadata.name} version {metadata.version}, signature {inputs.signature}: {inputs.origin}{rows}")
    console.print("Times in ms, from when a request was meant to be sent until its answer was read.")
    if served.engine:
        console.print(f"The engine {served.engine} and the generator shared this machine.")
    for case in cases:
        for warning in case.warnings:
            console.print(f"{case}: {warning}", style="yellow")
    if any(case.generator_is_slow for case in cases):
        console.print(
            "There the generator, or the machine that it runs on, was a bottleneck: its delay is in the times."
        )


def milliseconds(time: float | None) -> str:
    """Three digits of a time that is there."""
    return "–" if time is None else f"{time:.{2 if time < 10 else 1 if time < 100 else 0}f}"

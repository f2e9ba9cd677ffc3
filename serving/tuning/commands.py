"""``zoo tune``. Only click and the standard library are imported before it runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serving.bench.commands import POSITIVE, batch_size_option, milliseconds, signature_option
from serving.commands import ENGINES

if TYPE_CHECKING:
    from serving.bench.cases import Case
    from serving.bench.loads import Load
    from serving.tuning.search import Found, Measure, Outcome
    from serving.tuning.settings import Setting

_FLAGS_FILE = "flags.txt"
_REQUESTS = 150  # at least, of every load: fewer would not tell a 99th percentile
_UNITS = {"ms": 1.0, "s": 1e3}


class Milliseconds(click.ParamType):
    """A time with its unit."""

    name = "TIME"

    def convert(self, value, parameter, context) -> float:
        match = re.fullmatch(r"([0-9]*\.?[0-9]+) ?(ms|s)", value)
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is no time. One is written 50ms or 0.5s", parameter, context)
        return float(match[1]) * _UNITS[match[2]]


@click.command()
@click.argument("base_path", type=click.Path(path_type=Path))
@click.option("--p99", "limit_ms", type=Milliseconds(), required=True, help="What 99 of 100 requests may take: 50ms.")
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True, help="What serves.")
@click.option("--api", type=click.Choice(["rest", "grpc"]), default="grpc", show_default=True, help="What to ask over.")
@signature_option
@batch_size_option
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="What to ask, as zoo bench takes it.  [default: the golden set]",
)
@click.option("--duration", type=POSITIVE, default=3.0, show_default=True, help="Seconds of each load.")
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write into.  [default: tuned/NAME]")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def tune(
    base_path: Path,
    limit_ms: float,
    engine: str,
    api: str,
    signature: str | None,
    batch_size: int,
    inputs: tuple[Path, ...],
    duration: float,
    out: Path | None,
    force: bool,
) -> None:
    """Find the flags with which a server of BASE_PATH answers the most requests within a latency.

    Starts a server for each setting (threads an op may take, batches) and looks for the highest rate, in an open
    loop, at which the 99th percentile holds. The best one is tried again beside the server as it comes, both
    started afresh: if that does not show the gain, there is none. What was found is written: flags.txt and
    batching_params.pbtxt where there is a gain, tuning.json and pareto.png always.

    It takes minutes, on a machine with nothing else to do.

    \b
    Example:
        zoo tune served/lenet5 --p99 50ms
        zoo tune served/resnet50 --p99 0.2s --engine docker --duration 10 --out tuned/resnet50
    """
    from serving.base_path import check_base_path
    from serving.deployment.folder import check_free
    from serving.engines import choose_engine
    from serving.errors import ServingError
    from serving.tuning.search import tune as search

    out = out or Path("tuned") / base_path.resolve().name
    try:
        check_free(out, force)
        check_base_path(base_path)
        engine = choose_engine(engine).name
        timeout = max(10.0, 2 * limit_ms / 1e3)
        trial = Trial(base_path, engine, api, inputs, signature, batch_size, duration, timeout)
        outcome = search(trial.start, limit_ms, os.cpu_count() or 1, _tell)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except (ServingError, OSError) as error:
        raise click.ClickException(str(error)) from None
    _print(outcome, limit_ms)
    _write(out, outcome, limit_ms, trial)


@dataclass(frozen=True)
class Trial:
    """What is served and asked, the same for each setting. ``duration`` and ``timeout`` are in seconds."""

    base_path: Path
    engine: str
    api: str
    paths: Sequence[Path]
    signature: str | None
    batch_size: int
    duration: float
    timeout: float

    @contextlib.contextmanager
    def start(self, setting: Setting) -> Iterator[Measure]:
        """A server with a setting, and what puts a load on it."""
        from serving.bench.inputs import find
        from serving.bench.loads import OpenLoop
        from serving.bench.measuring import measure
        from serving.bench.senders import Target
        from serving.deployment.folder import write
        from serving.engines import serve
        from serving.transport import ModelRef
        from serving.tuning.settings import BATCHING_FILE

        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), setting.files())
            flags = setting.flags(str(Path(folder) / BATCHING_FILE))
            with serve(self.base_path, engine=self.engine, flags=flags) as server:
                metadata = server.wait_ready()
                inputs = find(metadata, self.base_path, self.paths, self.signature, self.batch_size)
                address = server.rest_url if self.api == "rest" else server.grpc_address
                target = Target(address, ModelRef(server.name))

                def ask(load: Load) -> Case:
                    click.echo(f"{setting}: {load} … ", err=True, nl=False)
                    least = _REQUESTS / load.rate if isinstance(load, OpenLoop) else 0.0
                    seconds = max(self.duration, least)
                    (case,) = measure(target, inputs, [load], seconds=seconds, timeout=self.timeout)
                    click.echo(_came_to(case), err=True)
                    return case

                yield ask


def _tell(found: Found) -> None:
    click.echo(f"{found.setting}: " + (found.refused or f"{found.rate:.0f} requests a second"), err=True)


def _report(outcome: Outcome, limit_ms: float, engine: str) -> dict:
    return {
        "limit_ms": limit_ms,
        "engine": engine,
        "best": str(outcome.best.setting) if outcome.best else None,
        "confirmation": [case.as_json() for case in outcome.confirmation],
        "settings": [
            {
                "setting": str(found.setting),
                "flags": found.setting.flags(),
                "rate": found.rate,
                "refused": found.refused,
                "cases": [case.as_json() for case in found.cases],
            }
            for found in outcome.found
        ],
    }


def _print(outcome: Outcome, limit_ms: float) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting")
    table.add_column(f"requests/s with p99 within {limit_ms:g} ms", justify="right")
    for found in outcome.found:
        table.add_row(str(found.setting), found.refused.partition("\n")[0] or f"{found.rate:.0f}")
    console = Console(file=sys.stdout, highlight=False)
    console.print(table)
    cases = [case for found in outcome.found for case in found.cases]
    if slow := sum(case.generator_is_slow for case in cases):
        console.print(
            f"In {slow} of {len(cases)} loads the generator, or the machine that it runs on, was a bottleneck: measure "
            "on a machine with nothing else to do."
        )
    if not any(found.rate for found in outcome.found):
        console.print(f"Nothing keeps p99 within {limit_ms:g} ms.")
        return
    if outcome.candidate is None:
        console.print("No gain: nothing is better than the server as it comes.")
        return
    ours, plain = outcome.confirmation
    again = f"Again, at {ours.load}: {_came_to(ours)}; as it comes: {_came_to(plain)}."
    if outcome.is_gain:
        console.print(f"Best: {outcome.candidate.setting}. {again}")
    else:
        console.print(f"No gain. {outcome.candidate.setting} seemed to be one. {again}")


def _came_to(case: Case) -> str:
    """The latency that counts, and what failed."""
    from serving.tuning.search import PERCENTILE

    failed = (f"{count} {code}" for code, count in case.errors.items())
    return ", ".join((f"p99 {milliseconds(case.latency_ms[PERCENTILE])} ms", *failed))


def _write(out: Path, outcome: Outcome, limit_ms: float, trial: Trial) -> None:
    """What was found, and how to serve with it. Flags of an earlier search do not stay."""
    from serving.deployment.folder import write
    from serving.launching import spelled
    from serving.tuning import plot
    from serving.tuning.settings import BATCHING_FILE

    files = {"tuning.json": json.dumps(_report(outcome, limit_ms, trial.engine), indent=1)}
    if outcome.best:
        flags = spelled(**outcome.best.setting.flags(str(out / BATCHING_FILE)))
        files |= {_FLAGS_FILE: "".join(f"{flag}\n" for flag in flags), **outcome.best.setting.files()}
        options = " ".join(f"--flag {flag.removeprefix('--')}" for flag in flags)
        click.echo(f"Serve with it: zoo serve {trial.base_path} {options}")
    for name in (_FLAGS_FILE, BATCHING_FILE):
        (out / name).unlink(missing_ok=True)
    write(out, files)
    title = f"{trial.base_path.resolve().name}, engine {trial.engine}, {trial.api}"
    plot.write(outcome, limit_ms, title, out / "pareto.png")
    click.echo(f"Written: {', '.join(str(out / name) for name in (*files, 'pareto.png'))}")

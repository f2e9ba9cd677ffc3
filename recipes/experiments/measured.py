"""What the Runs of experiments have given, kept as JSON beside them, and what is expected of the next one."""

import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recipes.figures import LESS_IS_BETTER, MAY_BE_NEGATIVE, number

if TYPE_CHECKING:
    from recipes.records import Record

PATH = Path(__file__).with_name("measured.json")
ENOUGH = 3
"""Runs, at least, from which an interval is made."""
CONFIDENCE = 0.95
RESOLUTION = 0.00005
"""Half of the last digit that tables show: what differs by less is the same."""


@dataclass(frozen=True)
class OneRun:
    """What one Run gave.

    Attributes:
        seed: of the training.
        epochs: that it took.
        seconds: from the call to the evaluated Run, None where that was not kept.
        metrics: figures of the test part.
    """

    seed: int
    epochs: int
    seconds: float | None
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, record: "Record") -> "OneRun":
        """What a finished Run says of itself."""
        return cls(record.facts["seed"], len(record.history), record.facts["seconds"]["total"], record.metrics)


@dataclass(frozen=True)
class Interval:
    """Within which a figure is expected, both ends included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self):
        return f"{number(self.low)} to {number(self.high)}"


@dataclass(frozen=True)
class Measured:
    """What the Runs of one experiment gave.

    Attributes:
        command: that made them, but for seed and folder.
        parameters: of the network, None where that was not kept.
        runs: by their seeds.
        expected: figure → the interval from the first Runs that were enough. Later ones do not move it.
    """

    command: str
    parameters: int | None
    runs: tuple[OneRun, ...]
    expected: Mapping[str, Interval] = field(default_factory=dict)

    def with_runs(self, runs: Iterable[OneRun], judged_by: Sequence[str]) -> "Measured":
        """The same with other Runs, which take the place of those with their seeds.

        Args:
            runs: what they gave.
            judged_by: figures for which an interval is made where there is none yet, and Runs enough.
        """
        by_seed = {run.seed: run for run in (*self.runs, *runs)}
        merged = tuple(by_seed[seed] for seed in sorted(by_seed))
        expected = {name: self.expected[name] for name in judged_by if name in self.expected}
        if len(merged) >= ENOUGH:
            made = {name: interval(name, [run.metrics[name] for run in merged]) for name in judged_by}
            expected = made | expected
        return replace(self, runs=merged, expected=expected)

    @property
    def seconds(self) -> float | None:
        """That a Run takes, on average."""
        known = [run.seconds for run in self.runs if run.seconds is not None]
        return statistics.fmean(known) if known else None

    def outside(self) -> list[int]:
        """Seeds of the Runs that are outside of what is expected."""
        return [
            run.seed
            for run in self.runs
            if any(run.metrics[name] not in interval for name, interval in self.expected.items())
        ]


def interval(figure: str, values: list[float]) -> Interval:
    """Within which the figure of one more Run lies in 95 of 100 cases, where Runs differ by their seeds alone.

    That is the prediction interval of a normal distribution, mean ± t(n - 1) s √(1 + 1/n), with Student's t: of three
    Runs, five of their standard deviations to both sides. It is cut at 0, and at 1 for shares; R² alone may be less.
    """
    from scipy import stats

    n = len(values)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    margin = quantile * statistics.stdev(values) * math.sqrt(1 + 1 / n) + RESOLUTION
    low, high = statistics.fmean(values) - margin, statistics.fmean(values) + margin
    low = low if figure in MAY_BE_NEGATIVE else max(low, 0.0)
    return Interval(low, high if figure in LESS_IS_BETTER else min(high, 1.0))


def read(path: str | Path = PATH) -> dict[str, Measured]:
    """What was measured, by the names of experiments; nothing, where there is no such file.

    Raises:
        ValueError: the file holds something else.
    """
    path = Path(path)
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        return {name: _measured(record) for name, record in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read as what experiments gave: {error!r}") from None


def _measured(record: dict) -> Measured:
    runs = tuple(OneRun(**run) for run in record["runs"])
    expected = {name: Interval(*ends) for name, ends in record["expected"].items()}
    return Measured(record["command"], record["parameters"], runs, expected)


def write(measured: Mapping[str, Measured], path: str | Path = PATH) -> None:
    """Write what was measured, a line for each Run, so that changes can be read."""
    lines = ",\n".join(f"{json.dumps(name)}: {_text(one)}" for name, one in measured.items())
    write_whole(Path(path), f"{{\n{lines}\n}}\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file by a rename: what was there stays until all of the new text is written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _text(one: Measured) -> str:
    expected = {figure: [ends.low, ends.high] for figure, ends in one.expected.items()}
    facts = {"command": one.command, "parameters": one.parameters, "expected": expected}
    runs = ",\n  ".join(json.dumps(asdict(run)) for run in one.runs)
    return f'{json.dumps(facts).removesuffix("}")}, "runs": [\n  {runs}\n]}}'

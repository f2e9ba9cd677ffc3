"""The tables of RESULTS.md, from what was measured: every block between two comments, as

<!-- table small -->
…
<!-- end of table -->

is a table of `rows.TABLES` with the commands that train its rows.
"""

import re
import statistics
from collections.abc import Mapping

from recipes.experiments.experiment import Experiment
from recipes.experiments.measured import Measured
from recipes.experiments.rows import TABLES
from recipes.figures import number
from zoo.nearest import choose

END = "<!-- end of table -->"
BLOCK = re.compile(r"<!-- table (\S+) -->\n((?!<!-- table ).)*?" + END, re.DOTALL)
HEADER = ("experiment", "parameters", "epochs", "figures of the test part", "expected", "published", "seeds", "seconds")
RIGHT = ("parameters", "epochs", "seconds")
"""Columns of numbers."""
NONE = "–"


def filled(text: str, measured: Mapping[str, Measured]) -> str:
    """A document with its tables written anew; the rest stays as it is.

    Raises:
        ValueError: a block of no known table, or without an end.
    """
    if text.count("<!-- table ") != len(BLOCK.findall(text)):
        raise ValueError(f"A block <!-- table … --> has no end. Accepted: {END} after every table.")
    return BLOCK.sub(lambda block: _block(choose("table", block[1], TABLES), measured), text)


def _block(name: str, measured: Mapping[str, Measured]) -> str:
    return f"<!-- table {name} -->\n{table(name, measured)}\n{console(name, measured)}{END}"


def table(name: str, measured: Mapping[str, Measured]) -> str:
    """A table in Markdown, an experiment per row."""
    lines = [HEADER, ["---:" if column in RIGHT else "---" for column in HEADER]]
    lines += [_row(experiment, measured.get(experiment.name)) for experiment in TABLES[name]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def console(name: str, measured: Mapping[str, Measured]) -> str:
    """The command that makes the rows of a table, and those that trained them, in a block of Markdown."""
    commands = [f"zoo reproduce {name} --seeds 0,1,2"]
    rows = [row for row in TABLES[name] if row.name in measured and row.is_one_command]
    commands += [measured[row.name].command for row in rows]
    return "```console\n" + "".join(f"$ {command}\n" for command in commands) + "```\n"


def figure(values: list[float]) -> str:
    """A figure of several Runs: mean and standard deviation; of one, what it is."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return number(mean)
    deviation = statistics.stdev(values)
    return f"{number(mean)} ± {number(deviation) if abs(mean) < 0.001 else f'{deviation:.4f}'}"


def _row(experiment: Experiment, measured: Measured | None) -> list[str]:
    if measured is None:
        return [experiment.name, *[NONE] * (len(HEADER) - 1)]
    told = (*experiment.judged_by, *experiment.also)
    names = [name for name in told if all(name in run.metrics for run in measured.runs)]
    figures = [f"{name} {figure([run.metrics[name] for run in measured.runs])}" for name in names]
    published = experiment.published
    return [
        experiment.name,
        NONE if measured.parameters is None else f"{measured.parameters:,}",
        _epochs(measured),
        ", ".join(figures),
        _expected(measured),
        f"{published.value:g} ({published.source})" if published else NONE,
        ", ".join(str(run.seed) for run in measured.runs),
        NONE if measured.seconds is None else f"{measured.seconds:.0f}",
    ]


def _epochs(measured: Measured) -> str:
    epochs = [run.epochs for run in measured.runs]
    return f"{min(epochs)}" if len(set(epochs)) == 1 else f"{min(epochs)} to {max(epochs)}"


def _expected(measured: Measured) -> str:
    if not measured.expected:
        return NONE
    intervals = [
        f"{ends}" if len(measured.expected) == 1 else f"{name} {ends}" for name, ends in measured.expected.items()
    ]
    outside = measured.outside()
    told = [f"**outside**: seed {', '.join(map(str, outside))}"] if outside else []
    return ", ".join([*intervals, *told])

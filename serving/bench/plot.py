"""Latency versus load as a picture."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from serving.bench.cases import Case
from serving.bench.loads import OpenLoop

_SHOWN = {"p50": "-", "p99": "--"}  # percentiles, and how their lines are drawn


def figure(cases: Sequence[Case], title: str) -> Figure:
    """Percentiles of the latency over the rate of good answers, a colour for each API and kind of load.

    Rings stand where the generator itself was the bottleneck.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for number, ((api, is_open), group) in enumerate(groupby(sorted(cases, key=_series), _series)):
        of_series = list(group)
        for percentile, line in _SHOWN.items():
            label = f"{api}, {'open' if is_open else 'closed'} loop, {percentile}"
            points = [(case, case.rate, latency) for case in of_series if (latency := case.latency_ms[percentile])]
            axes.plot([x for _, x, _ in points], [y for _, _, y in points], line, color=f"C{number}", label=label)
            for case, rate, latency in points:
                face = "white" if case.generator_is_slow else f"C{number}"
                axes.plot(rate, latency, "o", color=f"C{number}", markerfacecolor=face)
                axes.annotate(str(case.load), (rate, latency), (4, -10), textcoords="offset points", fontsize=7)
    axes.set(xlabel="good answers per second", ylabel="latency, ms", title=title)
    logarithmic(axes)
    explain_rings(axes, cases)
    axes.legend(fontsize=8)
    return figure


def explain_rings(axes: Axes, cases: Iterable[Case]) -> None:
    """Says in the legend what a ring is, where there is one."""
    if any(case.generator_is_slow for case in cases):
        axes.plot([], [], "o", color="black", markerfacecolor="white", label="ring: the generator was slow")


def logarithmic(axes: Axes) -> None:
    """Latencies upwards on a scale of 1, 2, 5, 10; rates from zero on."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)


def write(cases: Sequence[Case], title: str, file: Path) -> None:
    """The figure as a PNG."""
    figure(cases, title).savefig(file, format="png", dpi=120)


def _series(case: Case) -> tuple[str, bool]:
    return case.api, isinstance(case.load, OpenLoop)

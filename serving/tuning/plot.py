"""What was tried as a picture: latency versus rate, and the front of the best of both."""

from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure

from serving.bench.plot import explain_rings, logarithmic
from serving.tuning.search import PERCENTILE, Outcome


def figure(outcome: Outcome, limit_ms: float, title: str) -> Figure:
    """A point for every load on every setting, the limit, and the Pareto front: no point is quicker at more answers.

    Rings stand where the generator itself was the bottleneck.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.subplots()
    every = []
    for number, found in enumerate(outcome.found):
        cases = [case for case in found.cases if case.latency_ms[PERCENTILE]]
        points = [(case.rate, case.latency_ms[PERCENTILE]) for case in cases]
        color = f"C{number}"
        faces = ["white" if case.generator_is_slow else color for case in cases]
        if points:
            axes.scatter(*zip(*points, strict=True), c=faces, edgecolors=color)
            axes.scatter([], [], c=color, label=str(found.setting))
        every += points
    if every:
        axes.plot(*zip(*front(every), strict=True), "--", color="black", linewidth=1, label="Pareto front")
    axes.axhline(limit_ms, color="red", linewidth=1, label=f"{limit_ms:g} ms")
    axes.set(xlabel="good answers per second", ylabel=f"{PERCENTILE} of the latency, ms", title=title)
    logarithmic(axes)
    explain_rings(axes, (case for found in outcome.found for case in found.cases))
    figure.legend(fontsize=8, loc="outside right upper")
    return figure


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of points (rate, latency) those than which none has both more rate and less latency, by rate."""
    best, kept = float("inf"), []
    for rate, latency in sorted(points, key=lambda point: (-point[0], point[1])):
        if latency < best:
            best = latency
            kept.append((rate, latency))
    return kept[::-1]


def write(outcome: Outcome, limit_ms: float, title: str, file: Path) -> None:
    """The figure as a PNG."""
    figure(outcome, limit_ms, title).savefig(file, format="png", dpi=120)

"""Runs side by side: what they are, how good they are, and by which options they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes import records
from recipes.figures import LESS_IS_BETTER, number
from recipes.records import Record

if TYPE_CHECKING:
    from recipes.run import Run

SPLITTING = ("seed", "validation", "test")
"""Options on which it depends which examples are split off at random."""

NONE = "–"


@dataclass(frozen=True)
class Comparison:
    """Some Runs side by side.

    Attributes:
        runs: their records.
        names: of their folders; their paths, where these are the same.
        not_comparable: why the figures of one say nothing about another, in sentences; nothing, if they do.
        metrics: figure → its value in every Run, None where it has none.
        best: figure → numbers of the Runs that are best in it; nothing, where Runs cannot be compared or are all alike.
        options: option → its value in every Run; of those that all have, those that differ.
    """

    runs: tuple[Record, ...]
    names: tuple[str, ...]
    not_comparable: tuple[str, ...]
    metrics: Mapping[str, tuple[float | None, ...]]
    best: Mapping[str, tuple[int, ...]]
    options: Mapping[str, tuple[Any, ...]]

    def record(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "runs": [
                {
                    "run": str(run.dir),
                    "task": run.task,
                    "architecture": run.card["architecture"],
                    "parameters": run.card["parameters"],
                    "data": run.facts["data"],
                    "evaluated_on": run.facts["evaluated_on"],
                    "epochs": len(run.history),
                    "seconds": run.facts["seconds"]["total"],
                    "metrics": run.metrics,
                    "options": {name: values[i] for name, values in self.options.items()},
                    "command": run.facts["command"],
                }
                for i, run in enumerate(self.runs)
            ],
            "comparable": not self.not_comparable,
            "not_comparable": list(self.not_comparable),
            "best": {name: [self.names[i] for i in numbers] for name, numbers in self.best.items()},
        }

    def rows(self) -> dict[str, list[str]]:
        """Fact, or option as a flag → what it is of every Run, in words; the best figures have an asterisk."""
        facts = {
            "architecture": [run.card["architecture"] for run in self.runs],
            "parameters": [f"{run.card['parameters']:,}" for run in self.runs],
            "data": [run.facts["data"]["name"] for run in self.runs],
            "figures of": [_part(run) for run in self.runs],
        }
        for name, values in self.metrics.items():
            marks = [" *" if i in self.best.get(name, ()) else "" for i in range(len(values))]
            facts[name] = [_number(value) + mark for value, mark in zip(values, marks, strict=True)]
        facts["epochs"] = [str(len(run.history)) for run in self.runs]
        facts["seconds"] = [f"{run.facts['seconds']['total']:.0f}" for run in self.runs]
        return facts | {_flag(name): [_word(value) for value in values] for name, values in self.options.items()}

    def markdown(self) -> str:
        """A table in Markdown, a Run per row; the best figures are bold. Epochs are shown as they were."""
        shown = [name for name in self.options if name != "epochs"]
        header = ["run", "model", "data", "parameters", "epochs", "figures of the test part", *shown, "seconds"]
        lines = [header, ["---:" if name in ("parameters", "epochs", "seconds") else "---" for name in header]]
        for i, run in enumerate(self.runs):
            part = "" if _part(run) in ("test", NONE) else f" ({_part(run)} part)"
            lines.append(
                [
                    self.names[i],
                    run.card["architecture"],
                    run.facts["data"]["name"],
                    f"{run.card['parameters']:,}",
                    str(len(run.history)),
                    ", ".join(self._in_bold(name, i) for name in run.metrics) + part,
                    *(_word(run.facts["options"].get(name)) for name in shown),
                    f"{run.facts['seconds']['total']:.0f}",
                ]
            )
        return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)

    def _in_bold(self, name: str, i: int) -> str:
        value = _number(self.metrics[name][i])
        return f"{name} **{value}**" if i in self.best.get(name, ()) else f"{name} {value}"

    def plot(self, path: str | Path) -> None:
        """Write a PNG with the curves of all Runs.

        Raises:
            ValueError: no Run has any: they were made of published weights.
        """
        from recipes.curves import curves_of_several

        trained = {name: run.history for name, run in zip(self.names, self.runs, strict=True) if len(run.history)}
        if not trained:
            raise ValueError(f"No curves to draw: {', '.join(self.names)} were not trained.")
        curves_of_several(trained).savefig(path, dpi=100)


def compare(runs: "Sequence[str | Path | Run]") -> Comparison:
    """Put Runs side by side. Their networks are not loaded.

    Args:
        runs: folders of finished Runs, or Runs.

    Raises:
        ValueError: none, or a folder that holds no finished Run.
    """
    found = tuple(records.read(getattr(run, "dir", run)) for run in runs)
    if not found:
        raise ValueError("Nothing to compare. Accepted: folders of finished Runs.")
    names = tuple(run.dir.resolve().name for run in found)
    if len(set(names)) < len(names):
        names = tuple(str(run.dir) for run in found)
    figures = dict.fromkeys(name for run in found for name in run.metrics)
    metrics = {name: tuple(run.metrics.get(name) for run in found) for name in figures}
    reasons = tuple(_reasons(found, names))
    return Comparison(
        found,
        names,
        reasons,
        metrics,
        {} if reasons else {name: best for name, values in metrics.items() if (best := _best(name, values))},
        _differing([run.facts["options"] for run in found]),
    )


def _reasons(runs: Sequence[Record], names: Sequence[str]):
    """Why Runs cannot be compared."""
    unjudged = [name for name, run in zip(names, runs, strict=True) if run.facts["evaluated_on"] is None]
    if unjudged:
        yield f"Not evaluated on any data: {', '.join(unjudged)}."
    judged = [run for run in runs if run.facts["evaluated_on"] is not None]
    data = [run.facts["data"] for run in judged]
    if len(tasks := dict.fromkeys(run.task for run in runs)) > 1:
        yield f"Different tasks: {', '.join(tasks)}."
    if len({of["fingerprint"] for of in data}) > 1:
        named = dict.fromkeys(of["name"] for of in data)
        said = f"{', '.join(named)}" if len(named) > 1 else f"{next(iter(named))} has changed in between"
        yield f"Different data: {said}."
    elif len({run.facts["evaluated_on"] for run in judged}) > 1 or len({_examples_judged(run) for run in judged}) > 1:
        yield (
            "Different parts of the data: "
            + ", ".join(f"{_examples_judged(run):,} examples of the {run.facts['evaluated_on']} part" for run in judged)
            + "."
        )
    elif any("test" in of.get("drawn", ()) for of in data):
        splits = _differing([{name: run.facts["options"].get(name) for name in SPLITTING} for run in judged])
        if splits:
            yield f"Different test parts, which were split off at random with another {' or '.join(splits)}."


def _examples_judged(run: Record) -> int:
    return run.facts["data"]["examples"][run.facts["evaluated_on"]]


def _best(name: str, values: Sequence[float | None]) -> tuple[int, ...]:
    """Numbers of the best values; none, where all are alike or there is one alone."""
    known = [value for value in values if value is not None and value == value]
    if len(set(known)) < 2:
        return ()
    best = min(known) if name in LESS_IS_BETTER else max(known)
    return tuple(i for i, value in enumerate(values) if value == best)


def _differing(options: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Of the options that all have, those that are not the same in all."""
    names = [name for name in options[0] if all(name in of for of in options)]
    values = {name: tuple(of[name] for of in options) for name in names}
    return {name: of for name, of in values.items() if any(value != of[0] for value in of)}


def _part(run: Record) -> str:
    return run.facts["evaluated_on"] or NONE


def _number(value: float | None) -> str:
    return NONE if value is None else number(value)


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _word(value) -> str:
    return NONE if value is None else str(value)

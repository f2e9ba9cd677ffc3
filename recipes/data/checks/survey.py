"""Collects what a check sees, example after example, and makes the report of it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from recipes.data import targets
from recipes.data.checks.census import Census, groups, repeats
from recipes.data.checks.inspecting import Seen
from recipes.data.checks.report import ERRORS, LISTED, REMARKS, TOGETHER, DataReport, Finding, Place, Spread

IMBALANCE = 10
"""So many times as many examples of one class as of another are remarked on."""


class Survey:
    """What was seen of some data.

    Args:
        name, task, kind: of the data, see `DataReport`.
        parts: names of its parts, the training part first.
        where: part and number of an example → how a person finds it.
        compares: whether examples that are the same mean something; lines of running text may be.
    """

    def __init__(
        self,
        name: str,
        task: str,
        kind: str,
        parts: Sequence[str],
        where: Callable[[str, int], str],
        compares: bool = True,
    ):
        self.name, self.task, self.kind, self.parts, self.where = name, task, kind, tuple(parts), where
        self._compares = compares
        self._census = Census()
        self._classes = {part: Counter() for part in parts}
        self._sizes = Counter(dict.fromkeys(parts, 0))
        self._label_ids: dict[str, int] = {}
        self._measures: dict[str, Measure] = {}
        self._counts: Counter[str] = Counter()
        self._places: dict[str, list[Place]] = {}

    def example(self, part: str, number: int, seen: Seen, label: str | None = None) -> None:
        """Count an example that can be read.

        Args:
            part, number: where it stands.
            seen: what of it is kept.
            label: its class.
        """
        label_id = -1 if label is None else self._label_ids.setdefault(label, len(self._label_ids))
        self._census.add(self.parts.index(part), label_id, number, seen.content, seen.stored)
        self._sizes[part] += 1
        if label is not None:
            self._classes[part][label] += 1
        self.measure(seen.measures)
        for kind in seen.remarks:
            self.note(kind, self.where(part, number))

    def measure(self, values: Mapping[str, np.ndarray | float]) -> None:
        """Note numbers of an example, or of several, by their name."""
        for name, of_it in values.items():
            self._measures.setdefault(name, Measure()).add(of_it)

    def note(self, kind: str, *examples: str, detail: str = "", count: int = 1) -> None:
        """Note something of a kind that `ERRORS` or `REMARKS` has."""
        places = self._places.setdefault(kind, [])
        self._counts[kind] += count
        if len(places) < LISTED:
            places.append(Place(examples, detail))

    def note_refused_classes(self) -> None:
        """Note what training says against the classes of the training part, if it does."""
        counts = self._classes[self.parts[0]]
        try:
            targets.check_classes(self.name, list(counts.values()), list(counts), self.task)
        except ValueError as error:
            self.note("refused", detail=str(error))

    def has_errors(self) -> bool:
        """Whether anything wrong was noted so far."""
        return any(kind in ERRORS for kind in self._counts)

    def report(self) -> DataReport:
        """All that was found."""
        for part, size in self._sizes.items():
            if not size and "refused" not in self._counts:
                self.note("refused", detail=f"The {part} part has no example that can be read.")
        if self._compares:
            self._note_repeats()
        self._note_classes()
        if self.kind == "table":
            self._note_constants()
        kinds = [kind for kind in (*ERRORS, *REMARKS) if kind in self._counts]
        return DataReport(
            name=self.name,
            task=self.task,
            kind=self.kind,
            examples=dict(self._sizes),
            classes={part: dict(sorted(of.items())) for part, of in self._classes.items()} if self._label_ids else None,
            measures={name: measure.spread() for name, measure in self._measures.items() if measure.count},
            findings=tuple(Finding(kind, self._counts[kind], tuple(self._places[kind])) for kind in kinds),
        )

    def _note_repeats(self) -> None:
        parts, labels, stored = (getattr(self._census, name) for name in ("parts", "labels", "stored"))
        labels_of = list(self._label_ids)
        for group in groups(self._census.contents):
            names = self._names(group)
            more = [f"and {len(group) - TOGETHER} more"] if len(group) > TOGETHER else []
            copies, leaks = (int(count.sum()) for count in repeats(parts, len(self.parts), [group]))
            if leaks:
                self.note("leak", *names, detail=", ".join(more), count=leaks)
            if labels_of and len(found := np.unique(labels[group])) > 1:
                kind = "contradiction" if self.kind == "table" else "two-labels"
                self.note(kind, *names, detail=", ".join([labels_of[i] for i in found] + more))
            if copies:
                kind = "duplicate" if len(np.unique(stored[group])) == 1 else "same-content"
                self.note(kind, *names, detail=", ".join(more), count=copies)

    def _names(self, group: np.ndarray) -> list[str]:
        """Of examples that are the same, or of so many of them that every part that has one is named."""
        parts = self._census.parts
        if len(group) > TOGETHER:
            _, first = np.unique(parts[group], return_index=True)
            group = np.concatenate([group[first], np.delete(group, first)])[:TOGETHER]
        return [self.where(self.parts[parts[i]], int(self._census.numbers[i])) for i in group]

    def _note_classes(self) -> None:
        counts = self._classes[self.parts[0]]
        if counts and max(counts.values()) >= IMBALANCE * min(counts.values()):
            (most, many), *_, (least, few) = counts.most_common()
            self.note("imbalance", detail=f"{most}: {many}, {least}: {few}")
        for part in self.parts:
            if self._classes[part]:
                for label in sorted(self._label_ids.keys() - self._classes[part]):
                    self.note("absent", detail=f"{label} in {part}")

    def _note_constants(self) -> None:
        for name, measure in self._measures.items():
            if measure.count > 1 and measure.least == measure.most:
                self.note("constant", name, detail=f"always {measure.least:g}")


class Measure:
    """Numbers as they come: how many, their sum, the smallest and the largest."""

    def __init__(self):
        self.count, self.sum, self.least, self.most = 0, 0.0, np.inf, -np.inf

    def add(self, values: np.ndarray | float) -> None:
        """Numbers, or one; what is not finite is left out."""
        values = np.asarray(values, np.float64).ravel()
        values = values[np.isfinite(values)]
        if len(values):
            self.count += len(values)
            self.sum += float(values.sum())
            self.least, self.most = min(self.least, float(values.min())), max(self.most, float(values.max()))

    def spread(self) -> Spread:
        """How they are spread; there must be one."""
        return Spread(self.least, self.sum / self.count, self.most)

"""What an experiment is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo import catalog


@dataclass(frozen=True)
class RunOf:
    """An option's value that is the folder of another experiment's Run, that of its first seed.

    Attributes:
        experiment: its name.
        fresh: its network with weights drawn anew by the seed of the experiment that asks for it.
    """

    experiment: str
    fresh: bool = False


@dataclass(frozen=True)
class FewScans:
    """So many scans of every class of `digits` to learn from, drawn by the seed, and all of its test part."""

    per_class: int

    def __str__(self):
        return f"{self.per_class} of each class of digits"


@dataclass(frozen=True)
class Published:
    """A figure that others published.

    Attributes:
        value: of the figure that the experiment is judged by.
        source: paper and section, or where else it stands; what was other there, if anything.
    """

    value: float
    source: str


@dataclass(frozen=True)
class Experiment:
    """A training that can be repeated, and what it is judged by.

    Attributes:
        name: a model, or a variant of one, and its data.
        model, data: as a recipe takes them.
        options: of the recipe, but for seed and folder.
        of_task: the recipe; None: the model's own.
        judged_by: figures of the test part that must lie within what is expected.
        also: others that are shown beside them.
        published: what others published.
    """

    name: str
    model: str
    data: str | FewScans
    options: Mapping[str, Any] = field(default_factory=dict)
    of_task: str | None = None
    judged_by: tuple[str, ...] = ("accuracy",)
    also: tuple[str, ...] = ()
    published: Published | None = None

    @property
    def task(self) -> str:
        """Its name, such as image-classification."""
        return self.of_task or catalog.read()[self.model]["tasks"][0]

    @property
    def takes(self) -> tuple[RunOf, ...]:
        """The Runs of other experiments that are values of its options."""
        return tuple(value for value in self.options.values() if isinstance(value, RunOf))

    @property
    def is_one_command(self) -> bool:
        """Whether `zoo train` alone makes its Run, once those that it takes are there."""
        return isinstance(self.data, str) and not any(run.fresh for run in self.takes)

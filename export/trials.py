"""What became of the variants of a version that were tried, and of its companions, as its card keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from export import timing
from export.proof import Proved
from export.variants import PLAIN
from export.version import SAVED_MODEL
from recipes.arrays import Arrays

PARTS = (SAVED_MODEL, "fingerprint.pb", "variables", "assets")
"""Of a version folder, what the SavedModel is."""


@dataclass
class Trial:
    """What became of a variant, or of a companion.

    Attributes:
        variant: its name.
        verdict: "published", or why it is not; of a companion where it is.
        bytes: size of its SavedModel, or file.
        load, first: seconds that it took to load, and to answer the first request of all, before any warm-up.
        milliseconds: signature at a batch size, as `timing.key` writes it → median time of a request.
        relative: the same in proportion to the plain version.
        largest_difference: signature → float output → difference from Keras.
    """

    variant: str
    verdict: str = ""
    bytes: int = 0
    load: float | None = None
    first: float | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    relative: dict[str, float] = field(default_factory=dict)
    largest_difference: dict[str, dict[str, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        times = ", ".join(f"{name} {value:.2f} ms" for name, value in self.milliseconds.items())
        return f"{self.variant}: {self.verdict}" + (f" ({times})" if times else "")


def trial_of(name: str, proved: Proved, verdict: str = "") -> Trial:
    """The trial of a variant or companion that has proved itself, before its times are known."""
    parts = [proved.path] if proved.path.is_file() else [proved.path / part for part in PARTS]
    files = [path for part in parts for path in (part, *part.rglob("*")) if path.is_file()]
    return Trial(
        name,
        verdict,
        bytes=sum(path.stat().st_size for path in files),
        largest_difference={signature: dict(one.absolute) for signature, one in proved.found.items()},
    )


def record_times(trials: Mapping[str, Trial], times: Mapping[str, Arrays]) -> None:
    """Write into trials what `timing.measure` found."""
    for name, of_variant in times.items():
        trial, of_variant = trials[name], dict(of_variant)
        trial.load, trial.first = (float(of_variant.pop(what)[0]) for what in (timing.LOAD, timing.FIRST))
        for key, samples in of_variant.items():
            trial.milliseconds[key] = 1000 * float(np.median(samples))
            trial.relative[key] = float(np.median(samples) / np.median(times[PLAIN][key]))

"""What a version is optimized for: which variants are tried, and which of them is better."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from export import timing, warmup
from export.trials import Trial
from export.variants import VARIANTS, Variant
from zoo.nearest import choose

NONE, SIZE = "none", "size"
BATCH_SIZE_OF = {"latency": min, "throughput": max}
OBJECTIVES = (NONE, *BATCH_SIZE_OF, SIZE)
"""What is asked for: the time of a request of the smallest batch size, or of the largest; or the bytes on disk."""


@dataclass(frozen=True)
class Objective:
    """One of the objectives, which tries all variants, or names of those to try, judged at all batch sizes.

    Attributes:
        optimize: the objective, or the names.
        batch_sizes: examples of the requests that are timed.

    Raises:
        ValueError: there is no such objective or variant, or no request of such a size.
    """

    optimize: str | Sequence[str] = NONE
    batch_sizes: Sequence[int] = warmup.BATCH_SIZES

    def __post_init__(self):
        if not self._names:
            raise ValueError("optimize names at least one variant, or an objective. Received: an empty list.")
        accepted = (*OBJECTIVES, *VARIANTS) if isinstance(self.optimize, str) else tuple(VARIANTS)
        for name in self._names:
            choose("optimization", name, accepted)
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            raise ValueError(f"batch_sizes must be whole numbers from 1 on. Received: {list(self.batch_sizes)}.")

    @property
    def _names(self) -> list[str]:
        return [self.optimize] if isinstance(self.optimize, str) else list(self.optimize)

    @property
    def variants(self) -> list[Variant]:
        """Those to try."""
        if self.optimize == NONE:
            return []
        return list(VARIANTS.values()) if self.optimize in OBJECTIVES else [VARIANTS[name] for name in self._names]

    @property
    def measure(self) -> str:
        """What is compared: "size" or "time"."""
        return SIZE if self.optimize == SIZE else "time"

    def score(self, trial: Trial, plain: Trial) -> float:
        """Proportion to the plain version, less is better; of times, the geometric mean over signatures."""
        if self.optimize == SIZE:
            return trial.bytes / plain.bytes
        one = BATCH_SIZE_OF.get(self.optimize) if isinstance(self.optimize, str) else None
        ends = tuple(timing.key("", n) for n in ([one(self.batch_sizes)] if one else self.batch_sizes))
        return statistics.geometric_mean([v for key, v in trial.relative.items() if key.endswith(ends)] or [1.0])

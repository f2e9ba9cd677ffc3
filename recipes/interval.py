"""How long a training goes on between two checkpoints."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

WITHIN_EPOCH, AFTER_EPOCH = 60.0, 10.0
"""Seconds, at least, between two checkpoints where nothing else is said."""
SHARE = 0.01
"""Of a training's time, at most, that is spent on checkpoints where nothing else is said."""

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
ACCEPTED = "a number of steps, seconds, minutes or hours, such as 500steps, 30s, 10m or 1h"


@dataclass(frozen=True)
class Interval:
    """Steps or seconds between two checkpoints; one of them.

    Attributes:
        steps: at least 1.
        seconds: above 0.
    """

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Read `500steps`, `30s`, `10m` or `1h`.

        Raises:
            ValueError: it says something else.
        """
        found = isinstance(text, str) and re.fullmatch(r"(\d+(?:\.\d+)?) *(steps?|s|m|h)", text)
        if found and float(found[1]) > 0:
            if found[2] in SECONDS:
                return cls(seconds=float(found[1]) * SECONDS[found[2]])
            if found[1].isdigit():
                return cls(steps=int(found[1]))
        raise ValueError(f"checkpoint_every must be {ACCEPTED}. Received: {text!r}.")


class Timer:
    """Says when the next checkpoint is due.

    Args:
        interval: between two of them; None for seconds by default, and more of them where writing takes long.
        clock: seconds that never go back.
    """

    def __init__(self, interval: Interval | None, clock: Callable[[], float] = time.monotonic):
        self.interval, self.clock = interval, clock
        self._last_step, self._last_time, self._cost = 0, clock(), 0.0

    def begin(self, step: int) -> None:
        """Count from a step of the whole training, and from now."""
        self._last_step, self._last_time = step, self.clock()

    def is_due(self, step: int, after_epoch: bool) -> bool:
        """Whether a checkpoint is due when so many steps are taken, at the end of an epoch or within."""
        if self.interval and self.interval.steps:
            return step // self.interval.steps > self._last_step // self.interval.steps
        waited = self.clock() - self._last_time
        if self.interval:
            return waited >= self.interval.seconds
        return waited >= max(AFTER_EPOCH if after_epoch else WITHIN_EPOCH, self._cost / SHARE)

    def written(self, step: int, seconds: float) -> None:
        """A checkpoint of that step has been written, in so many seconds."""
        self.begin(step)
        self._cost = seconds

"""How far a training is, for who waits for it: its rate, the time left, its figures, and the best of them so far."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta

import keras
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from recipes.callbacks import BestWeights

SAMPLES = 100
"""Of the last steps, by which the rate is told."""


class Pace:
    """How fast a training goes, and how long it will take.

    What an epoch takes behind its last step, such as validation, is expected to be what it was in the epoch before.

    Args:
        epochs, steps: of the whole training, and per epoch.
        clock: seconds that never go back.
    """

    def __init__(self, epochs: int, steps: int, clock: Callable[[], float]):
        self.epochs, self.steps, self.clock = epochs, steps, clock
        self.epoch = self.done = 0
        self._behind = 0.0  # seconds from the last step of the epoch before to its end
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)  # when so many steps were taken

    def begin(self, epoch: int) -> None:
        """An epoch begins; its number is from 0."""
        self.epoch, self.done, self.begun = epoch, 0, self.clock()

    def taken(self, done: int) -> None:
        """So many steps of the epoch are taken, at least one of them since the last call."""
        if not self.done:
            self._samples.clear()
            self._samples.append((self.begun, done - 1))  # it may have begun in its middle
        self.done = done
        self._samples.append((self.clock(), done))

    def end(self) -> None:
        """The epoch ends."""
        self._behind = self.clock() - self._samples[-1][0]

    @property
    def rate(self) -> float:
        """Steps per second. The first step of an epoch, which may be traced, counts only where it is the only one."""
        first, *others = self._samples
        since, before = others[0] if len(others) > 1 else first
        now, after = self._samples[-1]
        return (after - before) / max(now - since, 1e-9)

    @property
    def seconds(self) -> float:
        """Those of this epoch so far."""
        return self.clock() - self.begun

    @property
    def left_of_epoch(self) -> float:
        """Seconds."""
        behind = self._behind
        if self.done == self.steps:
            behind = max(behind - (self.clock() - self._samples[-1][0]), 0.0)
        return (self.steps - self.done) / self.rate + behind

    @property
    def left_after_epoch(self) -> float:
        """Seconds, if nothing stops the training early."""
        return (self.epochs - self.epoch - 1) * (self.steps / self.rate + self._behind)


class ProgressDisplay(keras.callbacks.Callback):
    """Two lines that move, of the epoch under way, below one line for each epoch; in a log there are only the latter.

    Figures are of training/validation.

    Args:
        epochs, steps: of the whole training, and per epoch.
        best: of this training.
        console: where it is shown, by default on standard output.
        clock: seconds that never go back.
    """

    EVERY_SECONDS = 0.1

    def __init__(
        self,
        epochs: int,
        steps: int,
        best: BestWeights,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__()
        self.pace, self.best, self.clock = Pace(epochs, steps, clock), best, clock
        self.console = console or Console()
        moves = self.console.is_terminal or self.console.is_jupyter
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if moves else None
        self.figures, self._shown = "", -math.inf

    def on_train_begin(self, logs=None):
        if self.live:
            self.live.start()  # once: a training may call fit several times

    def on_epoch_begin(self, epoch, logs=None):
        self.pace.begin(epoch)
        self._shown = -math.inf

    def on_train_batch_end(self, batch, logs=None):
        if self._is_due() or batch + 1 == self.pace.steps:
            self.pace.taken(batch + 1)
            self.figures = _figures(logs)
            self._show()

    def on_test_batch_end(self, batch, logs=None):
        if self._is_due():
            self._show()

    def on_epoch_end(self, epoch, logs=None):
        self.pace.end()
        self.console.print(self._line(_figures(logs)), soft_wrap=True, highlight=False, markup=False)

    def close(self):
        """Leave the terminal as it is."""
        if self.live:
            self.live.stop()

    def _is_due(self) -> bool:
        return self.clock() - self._shown > self.EVERY_SECONDS

    def _show(self) -> None:
        self._shown = self.clock()
        if self.live:
            self.live.update(self._now(), refresh=True)

    def _now(self) -> Group:
        """Of the epoch under way."""
        pace, row = self.pace, Table.grid(padding=(0, 1))
        row.add_row(
            self._heading(),
            ProgressBar(total=pace.steps, completed=pace.done, width=12),
            f"{pace.done}/{pace.steps}  {_rate(pace)}  left {_duration(pace.left_of_epoch)}, "
            f"in all {_duration(pace.left_of_epoch + pace.left_after_epoch)}",
        )
        return Group(row, Text(_joined(self.figures, self._best())))

    def _line(self, figures: str) -> str:
        """Of an epoch that has ended."""
        left = f"left {_duration(self.pace.left_after_epoch)}"
        return _joined(self._heading(), f"{self.pace.seconds:.0f} s", _rate(self.pace), figures, self._best(), left)

    def _heading(self) -> str:
        return f"epoch {self.pace.epoch + 1}/{self.pace.epochs}"

    def _best(self) -> str:
        if self.best.epoch is None:
            return ""
        return f"best {self.best.monitor} {self.best.value:.4f} of epoch {self.best.epoch + 1}"


def _joined(*words: str) -> str:
    return "  ".join(word for word in words if word)


def _rate(pace: Pace) -> str:
    return f"{pace.rate:.3g} steps/s" if pace.rate < 1000 else f"{pace.rate:,.0f} steps/s"


def _duration(seconds: float) -> str:
    """`0:01:05`."""
    return str(timedelta(seconds=round(seconds)))


def _figures(logs: Mapping[str, float]) -> str:
    """`loss 0.1158/0.1433`: of training, and of validation once it is there."""
    words = []
    for name in logs:
        if not name.startswith("val_"):
            values = [logs[key] for key in (name, f"val_{name}") if key in logs]
            words.append(f"{name} " + "/".join(f"{float(value):.4f}" for value in values))
    return "  ".join(words)

"""The checkpoints of a training: what it takes to go on as if it had never stopped, from the very step.

They lie in the folder that becomes the Run's, in `checkpoints/`, one file for each, named by the step of the whole
training. The last ones are kept, in the finished Run, too, so that a training can also be made longer. A file appears
by one rename when all of it is on the disk, and holds a checksum of every array: one that is broken is passed over for
the one before.

It holds every variable of the model in training (seed generators are such), of its optimizers (moving averages and
accumulated gradients are such) and of the epoch's metrics, the best weights so far and the history. The order of the
examples, augmentation and the like need none: they depend on the seed and the number of the step alone.
"""

import contextlib
import json
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from recipes import backend
from recipes.callbacks import BestWeights, History
from recipes.config import Config
from recipes.folders import CHECKPOINT, CHECKPOINTS, staging_of
from recipes.interval import Timer
from recipes.run import METRICS_FILE

FORMAT = 2
PARTIAL = "partial"
MODEL, OPTIMIZER, METRICS, BEST, RECORD = "model", "optimizer", "metrics", "best", "record"
CHANGEABLE = ("epochs", "patience", "samples")
"""Options with which a training may go on otherwise than it began."""


class CheckpointNotWritten(OSError):
    """A checkpoint could not be written: the disk is full, or the folder may not be written to any more."""


@dataclass(frozen=True)
class Position:
    """How far a training has come.

    Attributes:
        phase: of `recipes.fine_tuning.phases`, from 0.
        epoch: that begins or is under way, from 0.
        step: how many of its steps are taken.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0

    def __str__(self):
        return f"{self.epoch} epochs" + (f" and {self.step} steps" if self.step else "")


def terms(task: str, model: str, options: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    """What must be the same where a training goes on: JSON values.

    Args:
        task: its name.
        model: name of the architecture.
        options: of the recipe, JSON values.
        fingerprint: of the data.
    """
    left_out = [name for name in CHANGEABLE if name != "epochs" or not depends_on_length(options)]
    kept = {name: value for name, value in options.items() if name not in left_out}
    return {"task": task, "model": model, **kept, "data": fingerprint}


def depends_on_length(options: Mapping[str, Any]) -> bool:
    """Whether something changes over the whole training, so that its length bears on every step."""
    return options["schedule"] != "constant" or bool(options.get("adaptation"))


def optimizers_of(trained: keras.Model) -> list[keras.optimizers.Optimizer]:
    """The optimizers of a compiled model; one that trains two networks has `optimizers`."""
    return getattr(trained, "optimizers", [trained.optimizer])


def _state_of(optimizers: Sequence[keras.optimizers.Optimizer]) -> list:
    """The variables of optimizers, without a learning rate that the options have fixed."""
    found = []
    for one in optimizers:
        rate = one.learning_rate
        found += [variable for variable in one.variables if variable is not rate]
    return found


class Checkpointing(keras.callbacks.Callback):
    """Writes the checkpoints of one training.

    At the end of an epoch the variables are taken before what exchanges them for averages, by this callback, and
    written after what counts the epoch, by `after_epoch`.

    Args:
        folder: of the training.
        terms: see `terms`.
        timer: says when one is due; the last epoch always has one, and so has the beginning of every later phase.
        keep: how many.
        epochs, steps: of the whole training, and per epoch.
        history, best: of this training.

    `costs` are the seconds that each one took.
    """

    def __init__(
        self,
        folder: Path,
        terms: dict[str, Any],
        timer: Timer,
        keep: int,
        epochs: int,
        steps: int,
        history: History,
        best: BestWeights,
    ):
        super().__init__()
        self.folder, self.terms, self.timer, self.keep = folder / CHECKPOINTS, terms, timer, keep
        self.epochs, self.steps, self.history, self.best = epochs, steps, history, best
        self.phase = self.epoch = 0
        self.overridden: Sequence[str] = ()
        self.writes = True
        """Whether this process writes them: of several the first one does."""
        self.costs: list[float] = []
        self._taken, self._due, self._metrics = None, False, []

    def begin(self, trained: keras.Model, phase: int, epoch: int, found: "Found | None", batches) -> None:
        """Begin a phase.

        Args:
            trained: the compiled model.
            phase, epoch: number of the phase and of its first epoch.
            found: a checkpoint of this phase, from which it goes on.
            batches: that it reads, a `tf.data.Dataset`.
        """
        self.phase = phase
        if found:
            self.overridden = found.overridden
            self.timer.begin(self._number(found.position))
            self._metrics = found.listed(METRICS) if found.position.step else []
            if found.path.parent == self.folder:
                _remove_others(found.path, self.keep)  # a training may have been killed before it did
        elif phase:
            self._write(Position(phase, epoch), _variables(trained))
        if self._metrics:
            _build_metrics(trained, batches)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self._metrics:
            _assign(self.model.metrics_variables, self._metrics, "metrics")
            self._metrics = []

    def on_train_batch_end(self, batch, logs=None):
        position = Position(self.phase, self.epoch, batch + 1)
        if position.step < self.steps and self.timer.is_due(self._number(position), after_epoch=False):
            backend.bring_weights_up_to_date(self.model)
            self._write(position, _variables(self.model) | _numbered(METRICS, self.model.metrics_variables))

    def on_epoch_end(self, epoch, logs=None):
        number = self._number(Position(self.phase, epoch + 1))
        self._due = epoch + 1 == self.epochs or self.timer.is_due(number, after_epoch=True)
        self._taken = _variables(self.model) if self._due or self.best.may_stop else None

    def after_epoch(self, epoch: int) -> None:
        """Write what was taken at its end, with the history and the best weights up to this epoch."""
        if self._due or self.model.stop_training:
            self._write(Position(self.phase, epoch + 1), self._taken)
        self._taken = None

    def _number(self, position: Position) -> int:
        """The step of the whole training."""
        return position.epoch * self.steps + position.step

    def _write(self, position: Position, variables: dict[str, np.ndarray]) -> None:
        if not self.writes:
            return
        started, number = time.monotonic(), self._number(position)
        record = {
            "format": FORMAT,
            "position": asdict(position),
            "steps_per_epoch": self.steps,
            "terms": self.terms,
            "history": self.history.rows,
            "seconds_of_epoch": self.history.seconds if position.step else 0.0,
            "best": self.best.record(),
            "overridden": self.overridden,
        }
        arrays = {**variables, **_numbered(BEST, self.best.weights or []), RECORD: json.dumps(record)}
        path = self.folder / CHECKPOINT.replace("*", f"{number:09d}")
        try:
            self.folder.mkdir(exist_ok=True)
            _write_whole(path, arrays)
            _remove_others(path, self.keep)
        except OSError as error:
            raise self._not_written(path, number, error) from error
        self.costs.append(time.monotonic() - started)
        self.timer.written(number, self.costs[-1])

    def _not_written(self, path: Path, number: int, error: OSError) -> CheckpointNotWritten:
        with contextlib.suppress(OSError):  # as a file system that may only be read says of it, too
            (self.folder / PARTIAL).unlink(missing_ok=True)
        good = _by_step(self.folder)
        left = (
            f"{good[-1].name} is whole: make room, and go on from it with resume=True, --resume."
            if good
            else "It was the first one."
        )
        return CheckpointNotWritten(
            f"The training stopped at step {number}: {path} could not be written: {error.strerror or error}. {left}"
        )


def _variables(trained: keras.Model) -> dict[str, np.ndarray]:
    """Copies of a model's and its optimizers' variables."""
    return {**_numbered(MODEL, trained.variables), **_numbered(OPTIMIZER, _state_of(optimizers_of(trained)))}


def _write_whole(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to a file, which is on the disk when it appears under its name."""
    partial = path.with_name(PARTIAL)
    with open(partial, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_others(newest: Path, keep: int) -> None:
    """Remove all checkpoints but the newest ones, and those of a higher step, which could not be read."""
    found = _by_step(newest.parent)
    at = found.index(newest)
    for path in [*found[: max(at + 1 - keep, 0)], *found[at + 1 :]]:
        path.unlink()


def _by_step(folder: Path) -> list[Path]:
    """The checkpoints in a folder in the order of their steps: a clock may go back."""
    return sorted(folder.glob(CHECKPOINT), key=lambda path: (len(path.name), path.name))


def _build_metrics(trained: keras.Model, batches: tf.data.Dataset) -> None:
    """Give metrics their variables, which Keras does in the first step, by tracing what it does in it."""
    if not all(metric.variables for metric in trained.metrics):
        backend.build(trained, batches)


@dataclass(frozen=True)
class Found:
    """A checkpoint to go on from.

    Attributes:
        path: the file.
        position: how far it has come.
        steps_per_epoch: by which its steps are counted.
        terms: with which it began.
        history: a row of figures for each epoch.
        seconds_of_epoch: that the epoch under way has taken.
        best: the record of `BestWeights`.
        overridden: what was other when it began, in words, and was accepted.
        arrays: of the variables.
    """

    path: Path
    position: Position
    steps_per_epoch: int
    terms: dict[str, Any]
    history: list[dict[str, float]]
    seconds_of_epoch: float
    best: dict[str, Any]
    overridden: Sequence[str]
    arrays: dict[str, np.ndarray] = field(repr=False)

    @property
    def folder(self) -> Path:
        """Where the training lies."""
        return self.path.parents[1]

    def counted_by(self, steps: int) -> "Found":
        """The same where an epoch has so many steps: if they are others than before, the one under way begins anew."""
        if steps == self.steps_per_epoch:
            return self
        return replace(self, position=replace(self.position, step=0), seconds_of_epoch=0.0)

    def into(self, trained: keras.Model) -> None:
        """Give a compiled model its variables, and its optimizers theirs.

        Raises:
            ValueError: it has others.
        """
        _assign(trained.variables, self.listed(MODEL), "network")
        state, arrays = _state_of(optimizers_of(trained)), self.listed(OPTIMIZER)
        if self.overridden and not _fits(state, arrays):
            warnings.warn("The optimizer is another one than before, and begins anew.", stacklevel=2)
            return
        _assign(state, arrays, "optimizer")

    def into_callbacks(self, history: History, best: BestWeights) -> None:
        """Let history and best weights begin where they stopped."""
        history.rows.extend(self.history)
        history.before = self.seconds_of_epoch
        best.restore(self.best, self.listed(BEST) or None)

    def listed(self, group: str) -> list[np.ndarray]:
        """The arrays of a group."""
        count = sum(name.startswith(f"{group}/") for name in self.arrays)
        return [self.arrays[f"{group}/{i}"] for i in range(count)]


def find(final: Path) -> Found | None:
    """The newest checkpoint of a training for a run's folder that can be read whole.

    Returns:
        None where a training was killed before its first one.

    Raises:
        ValueError: there is none, none that can be read, or the newest is of a newer version.
    """
    staging = staging_of(final)
    paths = [path for folder in (staging, final) for path in reversed(_by_step(folder / CHECKPOINTS))]
    if not paths and staging.exists():
        return None
    if not paths:
        raise ValueError(
            f"There is no training to go on with in {final}. Accepted: the run_dir of one that was stopped, or that is "
            "finished and shall be longer."
        )
    broken = []
    for path in paths:
        try:
            found = _read(path)
        except NewerFormat:
            raise
        except Exception as error:  # of any kind: what is broken may break in any way
            broken.append(f"{path}: {error}")
            continue
        if broken:
            warnings.warn(f"Passed over, as broken, for {path.name}: {'; '.join(broken)}", stacklevel=2)
        return found
    raise ValueError(f"No checkpoint of {final} can be read: {'; '.join(broken)}")


class NewerFormat(ValueError):
    """A checkpoint was written by a newer version of this package."""


def _read(path: Path) -> Found:
    """Read a checkpoint; every array in it is held against its checksum."""
    with np.load(path, allow_pickle=False) as file:
        record = json.loads(str(file[RECORD]))
        if record["format"] > FORMAT:
            raise NewerFormat(
                f"{path} was written by a newer version, in format {record['format']}. Accepted: up to {FORMAT}. "
                "Update servable-zoo to go on from it."
            )
        arrays = {name: file[name] for name in file.files if name != RECORD}
    record.pop("format")
    return Found(path, arrays=arrays, **record | {"position": Position(**record["position"])})


def checked(found: Found, wanted: Mapping[str, Any], final: Path, config: Config) -> Found:
    """The checkpoint, with what differs from the terms it was written under, where that is accepted.

    Args:
        found: the checkpoint.
        wanted: terms of the training.
        final: the run's folder.
        config: options of the training.

    Raises:
        ValueError: the training cannot go on from it.
    """
    was = found.terms
    if was["task"] != wanted["task"]:
        raise ValueError(
            f"{found.folder} holds a training for another task, {was['task']}. Received: {wanted['task']}."
        )
    names = dict.fromkeys([*wanted, *was])
    differences = tuple(
        _difference(name, was.get(name), wanted.get(name)) for name in names if was.get(name) != wanted.get(name)
    )
    if differences and not config.override:
        raise ValueError(
            f"{found.folder} holds the checkpoint of another training. {' '.join(differences)} Accepted: the same, or "
            "override=True (--override) to go on otherwise than it began."
        )
    done, is_finished = found.position, found.folder == final and (final / METRICS_FILE).exists()
    if done.epoch + (done.step > 0) > config.epochs or (is_finished and done.epoch == config.epochs):
        raise ValueError(
            f"The training in {found.folder} has done {done}. Received: epochs={config.epochs}. "
            "Accepted: more than it has done."
        )
    if is_finished and config.patience is not None and found.best["waited"] >= config.patience:
        raise ValueError(
            f"The training in {found.folder} has stopped after {done}, {found.best['waited']} of them without gain. "
            f"Received: patience={config.patience}. Accepted: more."
        )
    return replace(found, overridden=(*found.overridden, *differences))


def _difference(name: str, was, now) -> str:
    return "Its data was other data." if name == "data" else f"Its {name} was {was!r}. Received: {now!r}."


def _numbered(group: str, arrays) -> dict[str, np.ndarray]:
    return {f"{group}/{i}": np.asarray(array).copy() for i, array in enumerate(arrays)}


def _fits(variables, arrays) -> bool:
    shapes = [tuple(variable.shape) for variable in variables]
    return shapes == [array.shape for array in arrays]


def _assign(variables, arrays, what: str) -> None:
    if not _fits(variables, arrays):
        raise ValueError(
            f"The checkpoint's {what} has {len(arrays)} variables of {_size(arrays):,} numbers, where there are "
            f"{len(variables)} of {_size(variables):,} now, or of other shapes. Accepted: the same network."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _size(arrays) -> int:
    return sum(int(np.prod(array.shape)) for array in arrays)

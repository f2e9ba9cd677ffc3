"""The checkpoint of a training: what it takes to go on as if it had never stopped.

It lies in the folder that becomes the Run's, is written after an epoch by one rename, and stays in the finished Run, so
that a training can also be made longer. It holds every variable of the model in training and of its optimizers, the
best weights so far and the history. The order of the examples, augmentation and the like need none: they depend on the
seed and the number of the epoch alone.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from recipes.callbacks import BestWeights, History

FILE = "checkpoint.npz"
EVERY_SECONDS = 10
"""At least so long between two checkpoints, of epochs that are shorter; the last epoch always has one."""

MODEL, OPTIMIZER, BEST, RECORD = "model", "optimizer", "best", "record"
CHANGEABLE = ("epochs", "patience", "samples")
"""Options with which a training may go on otherwise than it began."""


def terms(model: str, options: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    """What must be the same where a training goes on: JSON values.

    Args:
        model: name of the architecture.
        options: of the recipe, JSON values.
        fingerprint: of the data.
    """
    kept = {name: value for name, value in options.items() if name not in CHANGEABLE}
    return {"model": model, **kept, "data": fingerprint}


def optimizers_of(trained: keras.Model) -> list[keras.optimizers.Optimizer]:
    """The optimizers of a compiled model; one that trains two networks has `optimizers`."""
    return getattr(trained, "optimizers", [trained.optimizer])


@dataclass
class Checkpoint:
    """Writes the checkpoints of one training.

    The variables are taken before what exchanges them for averages at the end of an epoch, and written after what
    counts the epoch: `keep` and `write` are called then, as a callback's `on_epoch_end`.

    Attributes:
        folder: where `checkpoint.npz` goes.
        terms: see `terms`.
        epochs: of the whole training.
        history, best: of this training.
    """

    folder: Path
    terms: dict[str, Any]
    epochs: int
    history: History
    best: BestWeights

    def __post_init__(self):
        self._written, self._kept = time.monotonic(), None

    def keep(self, trained: keras.Model, epoch: int) -> None:
        """Copy the variables, if a checkpoint is due."""
        if epoch + 1 == self.epochs or time.monotonic() - self._written >= EVERY_SECONDS:
            self._kept = {
                **_numbered(MODEL, trained.variables),
                **_numbered(OPTIMIZER, [each for one in optimizers_of(trained) for each in one.variables]),
            }

    def write(self, epoch: int) -> None:
        """Write what was copied, with the history and the best weights up to this epoch."""
        if self._kept is None:
            return
        record = {
            "epochs": epoch + 1,
            "terms": self.terms,
            "history": self.history.rows,
            "best": {"value": self.best.best, "epoch": self.best.epoch, "waited": self.best.waited},
        }
        path = self.folder / FILE
        with open(path.with_suffix(".partial"), "wb") as file:
            np.savez(file, **self._kept, **_numbered(BEST, self.best.weights), **{RECORD: json.dumps(record)})
        os.replace(file.name, path)
        self._kept, self._written = None, time.monotonic()


@dataclass(frozen=True)
class Found:
    """A checkpoint to go on from.

    Attributes:
        folder: where it lies.
        epochs: how many are done.
        history: a row of figures for each.
        best: value, epoch and `waited` of `BestWeights`.
        arrays: of the variables.
    """

    folder: Path
    epochs: int
    history: list[dict[str, float]]
    best: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def into(self, trained: keras.Model, with_optimizers: bool) -> None:
        """Give a compiled model its variables, and its optimizers theirs."""
        _assign(trained.variables, self._list(MODEL))
        if with_optimizers:
            _assign([each for one in optimizers_of(trained) for each in one.variables], self._list(OPTIMIZER))

    def into_callbacks(self, history: History, best: BestWeights) -> None:
        """Let history and best weights begin where they stopped."""
        history.rows.extend(self.history)
        best.best, best.epoch, best.waited = self.best["value"], self.best["epoch"], self.best["waited"]
        best.weights = self._list(BEST)

    def _list(self, group: str) -> list[np.ndarray]:
        count = sum(name.startswith(f"{group}/") for name in self.arrays)
        return [self.arrays[f"{group}/{i}"] for i in range(count)]


def find(final: Path) -> Path:
    """The newest checkpoint of a run's folder, or of a training for it that was killed.

    Raises:
        ValueError: there is none.
    """
    places = [final, *final.parent.glob(f".{final.name}-*")]
    found = [place / FILE for place in places if (place / FILE).is_file()]
    if not found:
        raise ValueError(
            f"There is no training to go on with in {final}: {FILE} not found. Accepted: the run_dir of one that "
            "stopped after its first epoch, or that is finished and shall be longer."
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def read(path: Path, wanted: Mapping[str, Any], epochs: int) -> Found:
    """Read a checkpoint.

    Raises:
        ValueError: it is of another training, or that is done.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    record = json.loads(str(arrays.pop(RECORD)))
    for name, value in wanted.items():
        if (was := record["terms"].get(name)) != value:
            what = "Its data was other data" if name == "data" else f"Its {name} was {was!r}. Received: {value!r}"
            raise ValueError(f"{path.parent} holds the checkpoint of another training. {what}.")
    if record["epochs"] >= epochs:
        raise ValueError(
            f"The training in {path.parent} has done {record['epochs']} epochs. Received: epochs={epochs}. "
            "Accepted: more than it has done."
        )
    return Found(path.parent, record["epochs"], record["history"], record["best"], arrays)


def _numbered(group: str, arrays) -> dict[str, np.ndarray]:
    return {f"{group}/{i}": np.asarray(array).copy() for i, array in enumerate(arrays)}


def _assign(variables, arrays) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)

"""Golden examples: real inputs with the answers Keras gave, kept in the version, one file per signature."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from recipes import arrays
from recipes.arrays import Arrays
from recipes.batches import joined

FOLDER = "golden"
AT_ONCE = 8
"""Examples in a request. It bounds what answering takes of memory, and of a server's limits on messages and batches."""


@dataclass(frozen=True)
class Golden:
    """Inputs of one signature and the expected outputs.

    Attributes:
        inputs: name → array `(examples, ...)`; strings as objects of `bytes`.
        outputs: name → array `(examples, ...)`.
        refused: inputs that are to be refused, each asked alone.
    """

    inputs: Arrays
    outputs: Arrays
    refused: Arrays = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def save(self, folder: Path, signature: str) -> None:
        """Write `golden/<signature>.npz` into a version folder."""
        (folder / FOLDER).mkdir(exist_ok=True)
        with open(folder / FOLDER / f"{signature}.npz", "wb") as file:
            arrays.save(file, {"inputs": self.inputs, "outputs": self.outputs, "refused": self.refused})

    def answered(self, answers: Arrays, most: int) -> "Golden":
        """The same with other answers to the first examples: as many as there are, `most` at most."""
        outputs = {
            name: joined([answers[name][:most], array[len(answers[name][:most]) :]])
            for name, array in self.outputs.items()
        }
        return replace(self, outputs=outputs)

    def within(self, limit: int, last: int) -> "Golden":
        """The `last` examples, and of those before as many as fit into `limit` bytes with them; at least one."""
        sizes = sum(_bytes_per_example(array) for array in (*self.inputs.values(), *self.outputs.values()))
        before = len(self) - last
        room = limit - sizes[before:].sum()
        count = max(1, int(np.searchsorted(np.cumsum(sizes[:before]), room, side="right")))
        kept = np.r_[:count, before : len(self)]
        inputs, outputs = ({n: array[kept] for n, array in batch.items()} for batch in (self.inputs, self.outputs))
        return replace(self, inputs=inputs, outputs=outputs)


def load(folder: Path) -> dict[str, Golden]:
    """Signature → its golden examples, of a version folder."""
    golden = {}
    for path in sorted((folder / FOLDER).glob("*.npz")):
        with open(path, "rb") as file:
            golden[path.stem] = Golden(**arrays.load(file))
    return golden


def rows(batch: Arrays, count: int) -> Arrays:
    """The first `count` rows of every array; from the top again where there are fewer."""
    return {name: np.take(array, np.arange(count), axis=0, mode="wrap") for name, array in batch.items()}


def _bytes_per_example(array: np.ndarray) -> np.ndarray:
    if array.dtype != object:
        return np.full(len(array), array[:1].nbytes)
    return np.array([sum(len(string) for string in np.atleast_1d(row).flat) for row in array])

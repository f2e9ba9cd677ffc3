"""Raw examples of a Run, kept as the files a person would send: pictures, or the rows of a CSV.

`examples.csv` has one line per example. For pictures its columns are `file` (beside it, in `examples/`) and `label`;
for tables they are the columns' names and the target's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

INDEX = "examples.csv"
FOLDER = "examples"


@dataclass(frozen=True)
class Examples:
    """Raw inputs with their truth.

    Attributes:
        raw: input name → one array of length n: `image_bytes` (objects of `bytes`) or float32 columns.
        truth: label names or target values, length n.
        target: name of the truth: "label", or the target column's.
    """

    raw: dict[str, np.ndarray]
    truth: np.ndarray
    target: str

    def __len__(self) -> int:
        return len(self.truth)

    def save(self, folder: Path) -> None:
        """Write `examples.csv` and, for pictures, their files."""
        if "image_bytes" not in self.raw:
            pd.DataFrame({**self.raw, self.target: self.truth}).to_csv(folder / INDEX, index=False)
            return
        (folder / FOLDER).mkdir()
        files = [f"{FOLDER}/{i:04d}.{_suffix(data)}" for i, data in enumerate(self.raw["image_bytes"])]
        for file, data in zip(files, self.raw["image_bytes"], strict=True):
            (folder / file).write_bytes(data)
        pd.DataFrame({"file": files, self.target: self.truth}).to_csv(folder / INDEX, index=False)

    @classmethod
    def load(cls, folder: Path, columns: Sequence[str]) -> "Examples":
        """Read what `save` wrote.

        Args:
            folder: the Run's folder.
            columns: names of the raw inputs: `["image_bytes"]`, or a table's columns.
        """
        table = pd.read_csv(folder / INDEX, dtype={"label": str}, keep_default_na=False, na_values=[])
        (target,) = [column for column in table.columns if column not in {*columns, "file"}]
        if "file" in table.columns:
            raw = {"image_bytes": np.array([(folder / file).read_bytes() for file in table["file"]], object)}
        else:
            raw = {column: table[column].to_numpy(np.float32) for column in columns}
        return cls(raw, table[target].to_numpy(), target)


def _suffix(data: bytes) -> str:
    return "jpg" if data.startswith(b"\xff\xd8") else "png"

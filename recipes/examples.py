"""Raw examples of a Run, kept as the files a person would send: pictures, or the rows of a CSV.

`examples.csv` has one line per example. For pictures its columns are `file` (beside it, in `examples/`) and `label`, of
a mask the file beside the picture's, of boxes JSON; for tables they are the columns' names and the target's; for texts
`text` and the target's.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from recipes.batches import objects
from recipes.data import Data
from recipes.data.annotations import LABEL

INDEX = "examples.csv"
FOLDER = "examples"
MASK = ".mask.png"
BYTES = "surrogateescape"  # so that bytes which are no UTF-8 come back as they were
LETTERS = 1000
"""Characters that a Run keeps of a text: of running text, an example may be a whole book."""
UNKNOWN = "unknown"
"""The truth of an example for which nobody has said it."""
COUNT = 256
"""Examples that a Run keeps: enough to prove a published version by."""


@dataclass(frozen=True)
class Examples:
    """Raw inputs with their truth.

    Attributes:
        raw: input name → one array of length n: `image_bytes` or `text` (objects of `bytes`), or float32 columns.
        truth: label names `(n,)`; target values float32 `(n, values)`; masks, objects of PNG `bytes` `(n,)`; or the
            JSON of boxes, a list of `{"label": …, "box": [y_min, x_min, y_max, x_max]}` in pixels.
        target: name of the truth: "label", or the target column's; "" where there is none.
    """

    raw: dict[str, np.ndarray]
    truth: np.ndarray
    target: str

    def __len__(self) -> int:
        return len(self.truth)

    def save(self, folder: Path) -> None:
        """Write `examples.csv` and, for pictures, their files."""
        if "image_bytes" not in self.raw:
            columns = {name: _decoded(array) for name, array in {**self.raw, **self._truth_columns()}.items()}
            # Objects stay objects: pandas' own strings cannot hold what stands for bytes that are no UTF-8.
            columns = {name: pd.Series(array, dtype=array.dtype) for name, array in columns.items()}
            pd.DataFrame(columns).to_csv(folder / INDEX, index=False, errors=BYTES, lineterminator="\n")
            return
        (folder / FOLDER).mkdir()
        files = [f"{FOLDER}/{i:04d}.{_suffix(data)}" for i, data in enumerate(self.raw["image_bytes"])]
        for file, data in zip(files, self.raw["image_bytes"], strict=True):
            (folder / file).write_bytes(data)
        columns = self._truth_columns()
        if self._are_masks:
            columns = {self.target: [str(Path(file).with_suffix(MASK)) for file in files]}
            for file, png in zip(columns[self.target], self.truth, strict=True):
                (folder / file).write_bytes(png)
        pd.DataFrame({"file": files, **columns}).to_csv(folder / INDEX, index=False)

    @property
    def _are_masks(self) -> bool:
        return self.truth.dtype == object and len(self.truth) and isinstance(self.truth[0], bytes)

    def _truth_columns(self) -> dict[str, np.ndarray]:
        if not self.target:
            return {}
        if self.truth.ndim == 1:
            return {self.target: self.truth}
        names = (
            [self.target] if self.truth.shape[1] == 1 else [f"{self.target}_{i}" for i in range(self.truth.shape[1])]
        )
        return dict(zip(names, self.truth.T, strict=True))

    @classmethod
    def load(cls, folder: Path, columns: Mapping[str, np.dtype], *, labelled: bool) -> "Examples":
        """Read what `save` wrote.

        Args:
            folder: the Run's folder.
            columns: names of the raw inputs and their types: `image_bytes`, `text`, or a table's columns.
            labelled: whether the truth is a label's name, and not a number.
        """
        header = pd.read_csv(folder / INDEX, nrows=0, encoding_errors=BYTES).columns
        inputs = {"file"} if list(columns) == ["image_bytes"] else set(columns)
        targets = [column for column in header if column not in inputs]
        # A label may be called "1" or "NA": it is text, and never missing.
        words = [*(targets if labelled else []), *({"text"} & inputs)]
        table = pd.read_csv(folder / INDEX, dtype=dict.fromkeys(words, object), na_filter=False, encoding_errors=BYTES)
        if list(columns) == ["image_bytes"]:
            raw = {"image_bytes": np.array([(folder / file).read_bytes() for file in table["file"]], object)}
        else:
            raw = {
                column: _encoded(table[column]) if column in words else table[column].to_numpy(dtype)
                for column, dtype in columns.items()
            }
        if not targets:
            return cls(raw, np.full(len(table), "", object), "")
        if labelled:
            truth = table[targets[0]].to_numpy(object)
            if all(word.endswith(MASK) for word in truth):
                truth = objects((folder / file).read_bytes() for file in truth)
            return cls(raw, truth, targets[0])
        return cls(
            raw, table[targets].to_numpy(np.float32), targets[0].removesuffix("_0") if len(targets) > 1 else targets[0]
        )


def sample(source: Data, seed: int, count: int = COUNT) -> Examples:
    """Raw examples of the test part, drawn at random but the same ones for the same seed, in the part's order.

    Pictures that came as pixels become PNG files.
    """
    size = source.sizes[source.evaluated_on]
    chosen = set(np.random.default_rng(seed).permutation(size)[:count].tolist())
    pairs = [xy for i, xy in enumerate(source.parts[source.evaluated_on].as_numpy_iterator()) if i in chosen]
    x, y = ([pair[side] for pair in pairs] for side in (0, 1))
    if source.kind == "table":
        raw = dict(zip(source.columns, np.stack(x).T, strict=True))
    elif source.kind == "text":
        raw = {"text": objects([_beginning(text) for text in x])}
    else:
        encoded = x if source.pixels == "encoded" else [to_png(pixels) for pixels in x]
        raw = {"image_bytes": objects(encoded)}
    if source.kind == "image" and np.ndim(y[0]) == 2:
        truth = np.array([_shown(boxes, data, source.labels) for boxes, data in zip(y, encoded, strict=True)], object)
    elif source.kind == "image" and isinstance(y[0], bytes):
        truth = objects(y)
    elif isinstance(y[0], bytes):
        truth = np.array([text.decode(errors="replace") for text in y], object)
    else:
        truth = np.array([source.labels[i] for i in y], object) if source.labels else np.stack(y)
    return Examples(raw, truth, source.target)


def _shown(boxes: np.ndarray, picture: bytes, labels: Sequence[str]) -> str:
    """Rows of `recipes.data.annotations`, as JSON in pixels of their picture."""
    with Image.open(io.BytesIO(picture)) as image:
        scale = np.array([image.height, image.width] * 2)
    return json.dumps(
        [
            {"label": labels[int(row[LABEL])], "box": np.round(row[:4] * scale, 1).tolist()}
            for row in boxes
            if row[LABEL] >= 0
        ]
    )


def _beginning(text: bytes) -> bytes:
    return text.decode(errors=BYTES)[:LETTERS].encode(errors=BYTES)


def _decoded(array: np.ndarray) -> np.ndarray:
    """Bytes as text; all else as it is."""
    is_bytes = array.dtype == object and isinstance(array[0], bytes)
    return np.array([value.decode(errors=BYTES) for value in array], object) if is_bytes else array


def _encoded(column: pd.Series) -> np.ndarray:
    return objects([text.encode(errors=BYTES) for text in column])


def to_png(pixels: np.ndarray) -> bytes:
    """Pixels `(h, w, 1 | 3 | 4)`, uint8, or float in 0..1 → a PNG file."""
    if pixels.dtype != np.uint8:
        pixels = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def _suffix(data: bytes) -> str:
    return "jpg" if data.startswith(b"\xff\xd8") else "png"

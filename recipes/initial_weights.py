"""What belongs to the weights that a training begins with: their preprocessing and their labels."""

import json
from pathlib import Path
from typing import TypeVar

import zoo
from recipes import preprocessing as pre
from recipes import published_input
from recipes.bundle import BUNDLE_FILE, MODEL_FILE
from zoo.huggingface import HUB

P = TypeVar("P", bound=pre.Preprocessing)


def preprocessing_of(name: str, weights: str, kind: type[P]) -> P | None:
    """How the input was prepared on which weights were trained; None where that is not known.

    Args:
        name: of a registered model.
        weights: what `zoo.load_weights` takes.
        kind: of preprocessing.
    """
    published = zoo.spec(name).weights.get(weights)
    if published is not None:
        height, width, _ = zoo.spec(name).arguments["input_shape"]
        return pre.ImagePreprocessing(height, width, 3, scale=published.scale, mean=published.mean, std=published.std)
    if weights.startswith(HUB):
        found = published_input.read(weights)
        return found if isinstance(found, kind) else None
    folder = bundle_folder(weights)
    if folder is None:
        return None
    found = pre.load(_record(folder)["preprocessing"], folder)
    return found if isinstance(found, kind) else None


def keep_head(weights: str, task: str, labels: tuple[str, ...] | None) -> bool:
    """Whether the head of weights answers a task with these labels, as far as is known."""
    folder = bundle_folder(weights)
    record = folder and _record(folder)
    return not record or (record["task"] == task and record["answer"].get("labels", []) == [*(labels or ())])


def bundle_folder(weights: str) -> Path | None:
    """A Run's folder, or that of the Run whose model file it is; None where there is no bundle."""
    path = Path(weights.partition("#")[0])
    folder = path.parent if path.name == MODEL_FILE else path
    return folder if (folder / BUNDLE_FILE).is_file() else None


def _record(folder: Path) -> dict:
    return json.loads((folder / BUNDLE_FILE).read_text())

"""What belongs to the weights that a training begins with: their preprocessing and their labels."""

import json
from pathlib import Path

import zoo
from recipes import preprocessing as pre
from recipes.bundle import BUNDLE_FILE, MODEL_FILE


def preprocessing_of(name: str, weights: str) -> pre.ImagePreprocessing | None:
    """How the pictures were prepared on which weights were trained; None where that is not known.

    Args:
        name: of a registered model.
        weights: what `zoo.load_weights` takes.
    """
    published = zoo.spec(name).weights.get(weights)
    if published is not None:
        height, width, _ = zoo.spec(name).arguments["input_shape"]
        return pre.ImagePreprocessing(height, width, 3, scale=published.scale, mean=published.mean, std=published.std)
    record = _bundle_record(weights)
    found = record and pre.from_json(record["preprocessing"])
    return found if isinstance(found, pre.ImagePreprocessing) else None


def labels_of(weights: str) -> tuple[str, ...] | None:
    """Names of the classes that weights tell apart; None where that is not known."""
    record = _bundle_record(weights)
    return record and tuple(record["answer"]["labels"])


def _bundle_record(weights: str) -> dict | None:
    """The bundle of a Run's folder, or of the Run whose model file it is."""
    path = Path(weights.partition("#")[0])
    file = (path.parent if path.name == MODEL_FILE else path) / BUNDLE_FILE
    return json.loads(file.read_text()) if file.is_file() else None

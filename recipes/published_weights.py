"""A Run without training: an architecture with its published weights, ready to be published and served."""

import io
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_sample_images

import zoo
from recipes import command_line, initial_weights
from recipes.answers import ClassAnswer, head_of
from recipes.bundle import Bundle
from recipes.data.folder import SUFFIXES, is_picture
from recipes.examples import Examples
from recipes.folders import staged_run
from recipes.preprocessing import ImagePreprocessing
from recipes.run import Run
from recipes.training import versions
from zoo import complexity
from zoo.nearest import choose

EXAMPLES = 64
SMALLEST_CROP = 200


def pretrained(
    model: str,
    weights: str = "imagenet",
    *,
    run_dir: str | Path | None = None,
    examples: str | Path | None = None,
    overwrite: bool = False,
) -> Run:
    """Make a Run of a network with published weights, their preprocessing and their labels.

    Args:
        model: a registry name.
        weights: a tag of `zoo.spec(model).weights`; downloaded by Keras into its cache.
        run_dir: folder of the Run; None: runs/MODEL-WEIGHTS.
        examples: folder of PNG and JPEG files on which a version will be proved; None: parts of the two photographs
            that scikit-learn ships. Nobody has said what they show, so the Run has no figures.
        overwrite: replace a Run that is in the folder already.

    Raises:
        ValueError: no such model or weights, damaged weights, no pictures in the folder, or the folder is taken.
        OSError: the weights or the names of their classes cannot be fetched.
    """
    started = time.perf_counter()
    choose(f"published weights of {model!r}", weights, zoo.spec(model).weights)
    pictures = _photographs() if examples is None else _files(Path(examples))
    final = Path(run_dir or f"runs/{model}-{weights}")
    with staged_run(final, overwrite, keep_on=()) as folder:
        labels = _labels(zoo.spec(model).arguments["num_classes"])  # before the weights, which are large
        network = zoo.build(model, weights=weights)
        card = {
            "architecture": model,
            "parameters": complexity.parameters(network),
            "data": weights,
        }
        preprocessing = initial_weights.preprocessing_of(model, weights, ImagePreprocessing)
        bundle = Bundle(network, "image-classification", preprocessing, ClassAnswer(head_of(network), labels), card)
        facts = {
            "command": command_line.of_pretrained(model, weights, run_dir, examples),
            "seconds": {"total": round(time.perf_counter() - started, 2)},
            "options": {},
            "data": {"name": weights, "source": None, "fingerprint": None, "examples": {}},
            "evaluated_on": None,
            **versions(),
        }
        raw = {"image_bytes": np.array([*pictures, None], object)[:-1]}
        truth = np.array(["unknown"] * len(pictures), object)
        run = Run(folder, bundle, pd.DataFrame(columns=["epoch", "loss"]), {}, facts, Examples(raw, truth, "label"))
        run.save()
    run.dir = final
    return run


def _labels(count: int) -> tuple[str, ...]:
    """Names of ImageNet's classes; the two pairs of the same name get their WordNet ids."""
    try:
        entries = keras.applications.imagenet_utils.decode_predictions(np.eye(count, dtype=np.float32), top=1)
    except Exception as error:  # get_file raises a bare Exception
        raise OSError(f"The names of ImageNet's classes cannot be fetched: {error}") from error
    names = [name for ((_, name, _),) in entries]
    return tuple(f"{name} ({wordnet})" if names.count(name) > 1 else name for ((wordnet, name, _),) in entries)


def _photographs() -> list[bytes]:
    """Parts of real photographs, of many sizes, as JPEG files."""
    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    pictures = []
    for i in range(EXAMPLES):
        pixels = photographs[i % len(photographs)]
        height, width = (int(rng.integers(SMALLEST_CROP, size + 1)) for size in pixels.shape[:2])
        top, left = (int(rng.integers(0, n - m + 1)) for n, m in zip(pixels.shape, (height, width), strict=False))
        file = io.BytesIO()
        Image.fromarray(pixels[top : top + height, left : left + width]).save(file, "JPEG", quality=90)
        pictures.append(file.getvalue())
    return pictures


def _files(folder: Path) -> list[bytes]:
    found = sorted(filter(is_picture, folder.rglob("*")))
    if not found:
        raise ValueError(f"No pictures in {str(folder)!r}. Accepted: a folder with files {', '.join(SUFFIXES)}.")
    return [path.read_bytes() for path in found[:EXAMPLES]]

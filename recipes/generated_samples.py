"""What is seen of a generator after every epoch: a grid of its pictures, and how near they are to real ones."""

import math
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from recipes.bundle import Bundle
from recipes.frechet import frechet_distance
from recipes.judge import Judge

FOLDER, ANIMATION = "samples", "samples.gif"
GAP = 2  # pixels between the pictures of a grid
LEAST_SIDE = 56  # of a picture in a grid, in pixels: smaller ones are enlarged
MILLISECONDS = 300  # that the animation shows an epoch
OTHER_SEEDS = 1_000_000  # from which on seeds are for measuring


def path_of(folder: Path, epoch: int) -> Path:
    """The grid that is drawn after an epoch, counted from 1, in a Run's folder."""
    return folder / FOLDER / f"epoch_{epoch:04d}.png"


def generated(bundle: Bundle, first_seed: int, count: int) -> np.ndarray:
    """The pictures of so many seeds, float32 `(count, height, width, channels)` in 0..1."""
    raw = {"seed": first_seed + np.arange(count), "count": np.ones(count, np.int64)}
    return bundle.predict_tensors(bundle.preprocess(raw))["image"]


def grid(pictures: np.ndarray) -> Image.Image:
    """Pictures in 0..1 side by side, in about as many rows as columns, without smoothing."""
    count, height, width, channels = pictures.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.ones((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), np.float32)
    for i, picture in enumerate(pictures):
        top, left = (i // columns) * (height + GAP), (i % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    levels = np.round(sheet * 255).astype(np.uint8)
    image = Image.fromarray(levels[..., 0] if channels == 1 else levels)
    factor = max(1, LEAST_SIDE // min(height, width))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


class SampleGrid(keras.callbacks.Callback):
    """Draws the pictures of the same seeds after every epoch, and all of them as an animation in the end.

    Args:
        bundle: of the network in training.
        count: pictures.
        folder: where `samples/` and `samples.gif` go.
    """

    def __init__(self, bundle: Bundle, count: int, folder: Path):
        super().__init__()
        self.bundle, self.count, self.folder = bundle, count, folder

    def on_epoch_end(self, epoch, logs=None):
        (self.folder / FOLDER).mkdir(exist_ok=True)
        grid(generated(self.bundle, 0, self.count)).save(path_of(self.folder, epoch + 1))

    def on_train_end(self, logs=None):
        frames = [Image.open(path) for path in sorted((self.folder / FOLDER).glob("*.png"))]
        if frames:
            first, *others = (frame.convert("RGB") for frame in frames)
            first.save(self.folder / ANIMATION, save_all=True, append_images=others, duration=MILLISECONDS, loop=0)


class FrechetDistance(keras.callbacks.Callback):
    """Adds `frechet` to an epoch's figures: see `recipes.frechet.frechet_distance`.

    Args:
        bundle: of the network in training.
        judge: by whose eyes.
        real: pictures to compare with, in 0..1; as many are generated.
    """

    def __init__(self, bundle: Bundle, judge: Judge, real: np.ndarray):
        super().__init__()
        self.bundle, self.judge, self.count = bundle, judge, len(real)
        self.real = judge.looks_at(real)

    def on_epoch_end(self, epoch, logs=None):
        pictures = generated(self.bundle, OTHER_SEEDS, self.count)
        if np.isfinite(pictures).all():
            logs["frechet"] = frechet_distance(self.judge.looks_at(pictures).features, self.real.features)
        else:
            logs["frechet"] = math.nan

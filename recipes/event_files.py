"""What TensorBoard shows of a training, as event files in the Run's folder.

They follow from the history, and are written anew where a training goes on, whose folder begins without them: an epoch
that a killed one has gone through in vain is not there twice.
"""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from recipes import generated_samples
from recipes.callbacks import History

FOLDER = "tensorboard"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""TensorBoard's runs: it draws figures of one name into one diagram."""


def check_installed() -> None:
    """Raise ImportError unless TensorBoard, with which TensorFlow writes such files, is installed."""
    _hyper_parameters()


def _hyper_parameters():
    try:
        return importlib.import_module("tensorboard.plugins.hparams.api")
    except ImportError as error:
        raise ImportError(
            "tensorboard=True (--tensorboard) needs TensorBoard, which is not installed: "
            "pip install servable-zoo[tensorboard]"
        ) from error


class EventFiles(keras.callbacks.Callback):
    """Writes the figures of every epoch: loss, metrics, learning rate, seconds; and the samples that were drawn.

    Args:
        folder: of the Run.
        history: of this training; its rows are all written when the training begins, and the last one after each epoch.
        options: of the training, JSON values: its hyper-parameters.
    """

    def __init__(self, folder: Path, history: History, options: Mapping[str, Any]):
        super().__init__()
        self.folder, self.history, self.options = folder, history, options
        self.writers: dict[str, tf.summary.SummaryWriter] = {}

    def on_train_begin(self, logs=None):
        if not self.writers:  # a training may call fit several times
            self.writers = {part: _writer(self.folder, part) for part in (TRAIN, VALIDATION)}
            _write_options(self.folder, self.options)
            for row in self.history.rows:
                self._write(row)

    def on_epoch_end(self, epoch, logs=None):
        self._write(self.history.rows[-1])

    def close(self) -> None:
        """Have all on the disk."""
        for writer in self.writers.values():
            writer.close()

    def _write(self, row: Mapping[str, float]) -> None:
        epoch = int(row["epoch"])
        for name, value in row.items():
            part = VALIDATION if name.startswith("val_") else TRAIN
            if name != "epoch":
                with self.writers[part].as_default():
                    tf.summary.scalar(name.removeprefix("val_"), value, epoch)
        with self.writers[TRAIN].as_default():
            _write_picture("samples", generated_samples.path_of(self.folder, epoch), epoch)
        for writer in self.writers.values():
            writer.flush()


def write_test(folder: Path, figures: Mapping[str, float], epoch: int) -> None:
    """Add the figures of the test part, and the pictures of it that a Run has in its folder."""
    from recipes import plots

    with _writer(folder, TEST).as_default() as writer:
        for name, value in figures.items():
            tf.summary.scalar(name, value, epoch)
        for name in (plots.PREDICTIONS, plots.FEATURES, plots.CONFUSION):
            _write_picture(name.removesuffix(".png"), folder / name, epoch)
        writer.close()


def _writer(folder: Path, part: str) -> tf.summary.SummaryWriter:
    return tf.summary.create_file_writer(str(folder / FOLDER / part))


def _write_options(folder: Path, options: Mapping[str, Any]) -> None:
    """Options as TensorBoard takes hyper-parameters: numbers and words; of one that has no value, none."""
    plain = {name: value for name, value in options.items() if isinstance(value, (bool, int, float, str))}
    nested = {name: json.dumps(value) for name, value in options.items() if isinstance(value, (list, dict)) and value}
    with _writer(folder, "").as_default() as writer:
        _hyper_parameters().hparams(plain | nested)
        writer.close()


def _write_picture(name: str, path: Path, epoch: int) -> None:
    if path.exists():
        tf.summary.image(name, np.asarray(Image.open(path).convert("RGB"))[np.newaxis], epoch)

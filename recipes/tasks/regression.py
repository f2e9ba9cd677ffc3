"""Regression: a number, or several, for every row."""

import functools

import keras
import numpy as np
import tensorflow as tf

from recipes.answers import ValueAnswer
from recipes.config import RegressionConfig
from recipes.pipeline import targets
from recipes.recipe import takes
from recipes.tasks.classes import HalfSquaredError
from recipes.tasks.tables import scales_far_apart, table_preprocessing
from recipes.tasks.task import Task
from recipes.training import train

LOSSES = {
    "mse": keras.losses.MeanSquaredError,
    "half_mse": HalfSquaredError,
    "mae": keras.losses.MeanAbsoluteError,
    "huber": keras.losses.Huber,
}


@takes(RegressionConfig)
def regression(model, data, config):
    """Train a network to predict numbers from rows.

    Args:
        model: a registry name, or a `keras.Model` with one input `(batch, columns)`, which is trained in place.
        data: a TFDS name, a CSV file, arrays `(x, y)`, or a `tf.data.Dataset`.

    Returns:
        A Run. Figures of the test part, in the target's own unit: `mae`, `rmse`, and `r2` (1 is perfect, 0 is the mean;
        averaged over the values predicted).

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when the loss becomes NaN.
    """
    return train(Regression, model, data, config)


class Regression(Task):
    """Values in the target's own unit. Where columns are standardised, so is the target, and the answer undoes it."""

    name = "regression"

    @property
    def num_classes(self):
        return self._targets.shape[1]

    def preprocessing(self, model):
        return table_preprocessing(model, self.data, self.config.standardize)

    def make_answer(self, model):
        values = self._targets
        if model.output_shape[1:] != values.shape[1:]:
            raise ValueError(
                f"{model.name!r} gives {model.output_shape[1:]} per example, but {self.data.name!r} has "
                f"{values.shape[1]} target values. Accepted: {values.shape[1:]}."
            )
        mean, std = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
        wanted = self.config.standardize
        if not (scales_far_apart(mean, std) if wanted is None else wanted):
            return ValueAnswer()
        return ValueAnswer(mean=tuple(mean.tolist()), std=tuple(np.where(std > 0, std, 1.0).tolist()))

    def encode(self, y):
        return (tf.cast(y, tf.float32) - self.answer.mean) / self.answer.std

    def loss(self):
        return LOSSES[self.config.loss]()

    def metrics(self):
        return [keras.metrics.MeanAbsoluteError(name="mae")]

    def figures(self, answers, y):
        error = answers["value"].astype(np.float64) - y
        found = {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean()))}
        variance = np.var(y.astype(np.float64), axis=0)
        if variance.all():  # else there is nothing to explain
            found["r2"] = float((1 - (error**2).mean(0) / variance).mean())
        return found

    @functools.cached_property
    def _targets(self) -> np.ndarray:
        return targets(self.data.parts["train"])

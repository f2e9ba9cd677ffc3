"""What a task fixes: the width of the head, the way in, the way out, loss, metrics and figures."""

import abc
from collections.abc import Callable
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from recipes.bundle import Answer
from recipes.config import Config
from recipes.data import Data
from recipes.preprocessing import Preprocessing


class Task(abc.ABC):
    """One training's task. Once the model is there, `answer` says how its output becomes an answer.

    Args:
        data: what is learned from.
        config: the recipe's options.
    """

    name: ClassVar[str]

    def __init__(self, data: Data, config: Config):
        self.data, self.config = data, config
        self.model: keras.Model | None = None
        self.answer: Answer | None = None

    def adopt(self, model: keras.Model) -> None:
        """Take the model that will be trained.

        Raises:
            ValueError: its output does not fit the data.
        """
        self.model, self.answer = model, self.make_answer(model)

    @property
    @abc.abstractmethod
    def num_classes(self) -> int:
        """Width of a new head."""

    @abc.abstractmethod
    def preprocessing(self, model: str | keras.Model) -> Preprocessing:
        """The way in, for a registry name or a model."""

    @abc.abstractmethod
    def make_answer(self, model: keras.Model) -> Answer:
        """The way out of this model."""

    @abc.abstractmethod
    def encode(self, y: tf.Tensor) -> tf.Tensor:
        """One raw target → float32 vector that the loss compares with the model's output."""

    @abc.abstractmethod
    def loss(self) -> keras.losses.Loss:
        """What training makes small."""

    @abc.abstractmethod
    def metrics(self) -> list:
        """What is measured during training."""

    @abc.abstractmethod
    def figures(self, answers: dict[str, np.ndarray], y: np.ndarray) -> dict[str, float]:
        """Figures of the bundle's own answers beside the raw truth."""

    def class_weights(self) -> dict[int, float] | None:
        """Weight of every class id in the loss."""
        if self.config.class_weights is not None:
            raise ValueError(f"class_weights have no meaning for {self.name}. Accepted: None.")
        return None

    def augment(self, preprocessing: Preprocessing) -> Callable | None:
        """Random change of a training batch, `(x, y, step) -> (x, y)`."""
        return None


def input_shape_of(model: keras.Model) -> tuple[int | None, ...]:
    """Shape of one example."""
    return tuple(model.inputs[0].shape[1:])

"""What a task fixes: the width of the head, the way in, the way out, loss, metrics and figures."""

import abc
import math
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

import zoo
from recipes import backend, licenses
from recipes.answers import Answer
from recipes.auxiliary_heads import LossOfHeads, MetricOfFirstHead, heads_joined
from recipes.batches import all_joined
from recipes.bundle import Bundle, batch_that_fits
from recipes.config import OF_TRAINING_ALONE, Config
from recipes.data import Data
from recipes.examples import Examples, sample
from recipes.kept_examples import kept
from recipes.pipeline import Part, Reading, prepare
from recipes.preprocessing import Preprocessing

EVALUATION_BATCH = 256


class Task(abc.ABC):
    """One training's task. Once the model is there, `answer` says how its output becomes an answer.

    Args:
        data: what is learned from.
        config: the recipe's options.
    """

    name: ClassVar[str]
    validates: bool = True
    """Whether a loss and figures of the validation part are computed."""
    logged: Sequence[str] = ()
    """Names of an epoch's figures beside those of the loss and the metrics."""
    monitor: str | None = None
    """By what the best epoch is told; None: by the loss."""
    distributes: ClassVar[bool] = True
    """Whether its network can be trained on several devices."""
    several_heads: bool = False
    """Whether the network in training has auxiliary heads."""
    folder: Path
    """Where the files of the Run lie."""

    def __init__(self, data: Data, config: Config):
        self.data, self.config = data, config
        self.model: keras.Model | None = None
        self.answer: Answer | None = None

    @classmethod
    def check_backend(cls, config: Config) -> None:
        """Raise ValueError unless the backend of this process can train for this task."""
        backend.check(f"Training for {cls.name}", backend.TENSORFLOW, backend.JAX)

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
        """A raw target, or a batch of them → what the loss compares with the model's output."""

    def builder_arguments(self, spec: zoo.Spec, preprocessing: Preprocessing) -> dict[str, Any]:
        """What the builder of a registered model is told of the data."""
        return {"input_shape": preprocessing.shape, "num_classes": self.num_classes}

    def reading(self, preprocessing: Preprocessing, encode: Callable[[tf.Tensor], tf.Tensor]) -> Reading:
        """Raw `(x, y)` → the model's tensors and `encode(y)`."""
        return Reading(lambda x, y: (preprocessing.one(self.levels(x)), encode(y)))

    def levels(self, x: tf.Tensor) -> tf.Tensor:
        """A raw input as `preprocessing` takes it: pixels that are floats in 0..1 as such in 0..255."""
        return x * 255.0 if self.data.pixels == "float" else x

    def part(self, name: str, preprocessing: Preprocessing, encode: Callable[[tf.Tensor], tf.Tensor]) -> Part:
        """A part of the data, preprocessed."""
        return prepare(
            self.data.parts[name],
            self.data.sizes[name],
            self.reading(preprocessing, encode),
            bytes_per_example=4 * math.prod(preprocessing.shape),
        )

    def training_part(self, name: str, preprocessing: Preprocessing):
        """A part of the data as training and validation read it: a `Part`, or what has its methods."""
        part = self.part(name, preprocessing, self.encode)
        if self.config.cache_dir is None:
            return part
        return kept(part, Path(self.config.cache_dir), self._facts_of_examples(name, preprocessing))

    def _facts_of_examples(self, name: str, preprocessing: Preprocessing) -> dict[str, Any]:
        """All that the tensors of a part depend on, JSON values; rather too much than too little."""
        options = {key: value for key, value in self.config.recorded().items() if key not in OF_TRAINING_ALONE}
        return {
            "task": self.name,
            "part": name,
            "examples": self.data.sizes,
            "fingerprint": self.data.fingerprint,
            "preprocessing": [type(preprocessing).__name__, repr(preprocessing)],
            "model": [self.model.name, str(self.model.input_shape), str(self.model.output_shape)],
            "options": options,
            "versions": [metadata.version(package) for package in ("servable-zoo", "tensorflow")],
        }

    def at_once(self, preprocessing: Preprocessing) -> int:
        """Examples that are evaluated together."""
        return batch_that_fits(preprocessing.shape, EVALUATION_BATCH)

    def answers(self, bundle: Bundle) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The bundle's answers on the test part, by name, and the raw truth."""
        part = self.part(self.data.evaluated_on, bundle.preprocessing, lambda y: y)
        answers, truth = [], []
        for x, y in part.batches(self.at_once(bundle.preprocessing)).as_numpy_iterator():
            answers.append(bundle.answer(tf.constant(bundle.model.predict_on_batch(x))))
            truth.append(y)
        return all_joined(answers), np.concatenate(truth)

    def examples(self) -> Examples:
        """Raw examples of the test part, for the Run."""
        return sample(self.data, self.config.seed)

    def licenses(self) -> list[licenses.Record]:
        """Those of all that is learned from."""
        return [licenses.of_data(self.data)]

    def in_training(self, network: keras.Model, preprocessing: Preprocessing) -> tuple[keras.Model, Callable | None]:
        """The network as training calls it, and what makes of a batch `(x, y)` the one that this reads and is asked.

        Here it is the network, its heads joined, and None: batches stay what they are. Or it is a model of the same
        layers, which is called otherwise.
        """
        self.several_heads = len(network.outputs) > 1
        return heads_joined(network), None

    def compile(self, trained: keras.Model, optimizer: Callable[..., keras.optimizers.Optimizer]) -> None:
        """Compile what `in_training` gave.

        Args:
            trained: the model.
            optimizer: makes one, by default of `config`; of another one, `optimizer(config)`; of one that makes an
                update in every n-th step only, `optimizer(every=n)`.
        """
        # Metrics of their own every time: Keras does not reset what another compilation has measured.
        loss, metrics = self.loss(), self.metrics()
        if self.several_heads:
            loss, metrics = LossOfHeads(loss), [MetricOfFirstHead(metric) for metric in metrics]
        trained.compile(optimizer(), loss, metrics=metrics)
        trained.optimizer.build(trained.trainable_variables)  # or the first step is traced twice

    def callbacks(self, bundle: Bundle) -> list[keras.callbacks.Callback]:
        """What is done after every epoch, with the bundle of the network in training; files go into `folder`."""
        return []

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

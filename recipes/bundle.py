"""A bundle: a model with all that is needed to use it on raw input."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from recipes import answers
from recipes import preprocessing as pre
from recipes.answers import Answer
from zoo.registry import list_models

MODEL_FILE = "model.keras"
BUNDLE_FILE = "bundle.json"


NUMBERS_PER_BATCH = 2**22


def batch_that_fits(shape: tuple[int, ...], most: int) -> int:
    """Examples of a shape to answer at once: at most `most`, fewer of large pictures, whose feature maps are large."""
    return max(1, min(most, NUMBERS_PER_BATCH // math.prod(shape)))


# The name Keras gives to an input without one. It counts the inputs built before, so it differs from run to run.
_AUTOMATIC_NAME = re.compile(r"keras_tensor(_\d+)?|input(_layer)?(_\d+)?")


def check_one_input_and_output(model: keras.Model) -> None:
    """Raise ValueError unless the model is built, with one input and one output."""
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise ValueError(
            f"Model {model.name!r} has no inputs yet. Accepted: a Functional model, or a Sequential one that begins "
            "with keras.Input(...)."
        )
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"Model {model.name!r} has {len(inputs)} inputs and {len(outputs)} outputs. Accepted: one of each."
        )


def input_is_named(model: keras.Model) -> bool:
    """Whether the input has a name of its own, by which clients can send it."""
    return not _AUTOMATIC_NAME.fullmatch(model.inputs[0].name)


def leaves(layers: list[keras.Layer]) -> Iterator[keras.Layer]:
    """Layers, and in place of a model those inside of it."""
    for layer in layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer.layers)
        else:
            yield layer


@dataclass
class Bundle:
    """A model, the way in (preprocessing), the way out (answer), and its card.

    Attributes:
        model: the trained model; one input, one output.
        task: what it answers, such as "image-classification".
        preprocessing: from raw input to the model's tensor.
        answer: from the model's output to named answers.
        card: what a reader should know of it: architecture, data, metrics, lineage. JSON values.
    """

    model: keras.Model
    task: str
    preprocessing: pre.Preprocessing
    answer: Answer
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; empty for values."""
        return self.answer.labels

    def preprocess(self, raw: dict[str, Any]) -> np.ndarray:
        """Raw batch (`image_bytes`, `text`, or one array per column) → the model's tensor, `(batch, ...)`."""
        specs = self.preprocessing.raw_specs()
        return self.preprocessing({k: tf.convert_to_tensor(raw[k], spec.dtype) for k, spec in specs.items()}).numpy()

    def graph(self, tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        """The answer in operations of TensorFlow: tensors, `(batch, ...)` of any number type → named answers."""
        # training=False is said aloud: left to itself, an augmentation layer inside the model stays on in an export.
        tensor = tf.cast(tensor, self.model.inputs[0].dtype)
        return self.answer(self.model(tensor, training=False), tensor, self.preprocessing)

    def graph_of_raw(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The same from raw input by name, each value `(batch, ...)`."""
        return self.graph(self.preprocessing(raw))

    def predict(self, raw: dict[str, Any], batch_size: int | None = None) -> dict[str, np.ndarray]:
        """The answer that Keras gives on raw input: preprocess, `model.predict`, answer.

        Args:
            raw: raw input by name, every value with the same first dimension.
            batch_size: examples per step of `model.predict`; None: at most 64, fewer where they are large.
        """
        return self.predict_tensors(self.preprocess(raw), batch_size)

    def predict_tensors(self, tensors: np.ndarray, batch_size: int | None = None) -> dict[str, np.ndarray]:
        """The same for the model's own tensors, `(batch, ...)`."""
        each = max(math.prod(tensors.shape[1:]), self._numbers_given(tensors))
        step = batch_size or batch_that_fits((each,), 64)
        chunks = [tensors[i : i + step] for i in range(0, max(len(tensors), 1), step)]
        # Answered batch by batch: of a text, logits take far more room than what is said of them.
        parts = [
            self.answer(tf.constant(self.model.predict_on_batch(chunk)), tf.constant(chunk), self.preprocessing)
            for chunk in chunks
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _numbers_given(self, tensors: np.ndarray) -> int:
        """How many numbers the model gives for one example."""
        return math.prod(self.model.compute_output_shape((1, *tensors.shape[1:])))

    def save(self, folder: Path) -> None:
        """Write `model.keras`, without the optimizer's state, `bundle.json` and, for text, the vocabulary."""
        # The same layers and weights, but not compiled: the file needs nothing of ours to be loaded.
        keras.Model(self.model.inputs[0], self.model.outputs[0], name=self.model.name).save(folder / MODEL_FILE)
        record = {
            "task": self.task,
            "preprocessing": pre.save(self.preprocessing, folder),
            "answer": answers.to_json(self.answer),
            "card": self.card,
        }
        (folder / BUNDLE_FILE).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Read what `save` wrote.

        Raises:
            ValueError: the folder holds no bundle.
        """
        folder = Path(folder)
        missing = [name for name in (MODEL_FILE, BUNDLE_FILE) if not (folder / name).is_file()]
        if missing:
            raise ValueError(f"{folder} holds no bundle: {' and '.join(missing)} not found.")
        list_models()  # loads the architectures, whose own layers a saved model may hold
        record = json.loads((folder / BUNDLE_FILE).read_text())
        return cls(
            model=keras.saving.load_model(folder / MODEL_FILE, compile=False),
            task=record["task"],
            preprocessing=pre.load(record["preprocessing"], folder),
            answer=answers.from_json(record["answer"]),
            card=record["card"],
        )

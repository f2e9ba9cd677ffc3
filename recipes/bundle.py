"""A bundle: a model with all that is needed to use it on raw input."""

import functools
import json
import math
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from recipes import answers, backend, writing
from recipes import preprocessing as pre
from recipes.answers import Answer, WrittenAnswer
from recipes.batches import all_joined, filled, objects, parts
from recipes.records import BUNDLE_FILE
from zoo.registry import list_models

MODEL_FILE = "model.keras"
TWO_INPUTS = ["source", "target"]
NUMBERS_EVALUATED, NUMBERS_ANSWERED = 2**20, 2**19
"""In a batch. Who publishes a model has it in memory twice already: in Keras, and in what it is compared with."""
LEAST_ANSWERED, MOST_ANSWERED = 2, 64
"""Examples in a batch of answers: two at least, because noise is what a batch changes (see `export.proof`)."""


def batch_that_fits(shape: tuple[int, ...], most: int, numbers: int = NUMBERS_EVALUATED) -> int:
    """Examples of a shape to answer at once: at most `most`, fewer of large pictures, whose feature maps are large."""
    return max(1, min(most, numbers // math.prod(shape)))


def _answered_at_once(shape: tuple[int, ...]) -> int:
    return max(LEAST_ANSWERED, batch_that_fits(shape, MOST_ANSWERED, NUMBERS_ANSWERED))


# The name Keras gives to an input without one. It counts the inputs built before, so it differs from run to run.
_AUTOMATIC_NAME = re.compile(r"keras_tensor(_\d+)?|input(_layer)?(_\d+)?")


def check_inputs_and_output(model: keras.Model) -> None:
    """Raise ValueError unless the model is built, with one input, or source and target, and one output."""
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise ValueError(
            f"Model {model.name!r} has no inputs yet. Accepted: a Functional model, or a Sequential one that begins "
            "with keras.Input(...)."
        )
    is_pair = [each.name for each in inputs] == TWO_INPUTS
    if (len(inputs) != 1 and not is_pair) or len(outputs) != 1:
        raise ValueError(
            f"Model {model.name!r} has {len(inputs)} inputs and {len(outputs)} outputs. Accepted: one of each, or two "
            f"inputs named {' and '.join(TWO_INPUTS)}."
        )


def input_is_named(model: keras.Model) -> bool:
    """Whether the input has a name of its own, by which clients can send it."""
    return not any(_AUTOMATIC_NAME.fullmatch(each.name) for each in model.inputs)


def leaves(layers: list[keras.Layer]) -> Iterator[keras.Layer]:
    """Layers, and in place of a model those inside of it."""
    for layer in layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer.layers)
        else:
            yield layer


def _in_batches(answer: Callable[[slice], dict[str, tf.Tensor]], count: int, size: int) -> dict[str, np.ndarray]:
    """What is answered to so many rows, `size` at a time; `answer` is asked once at least."""
    found = [answer(slice(start, start + size)) for start in range(0, max(count, 1), size)]
    return all_joined([{name: value.numpy() for name, value in part.items()} for part in found])


def _put_back(latents: tf.RaggedTensor, answer: dict) -> dict[str, tf.Tensor]:
    """What is answered to latents, one after the other → the same by the row that asked, `(batch, most, …)`."""
    return {name: pre.dense(latents.with_values(tf.convert_to_tensor(value))) for name, value in answer.items()}


@dataclass
class Bundle:
    """A model, the way in (preprocessing), the way out (answer), and its card.

    Attributes:
        model: the trained model; one input, or `source` and `target`, and one output.
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

    @property
    def writes(self) -> bool:
        """Whether the answer to raw input is a text that is written token by token."""
        return isinstance(self.answer, WrittenAnswer)

    @property
    def at_own_size(self) -> bool:
        """Whether pictures are answered with pictures, each of its own size."""
        return getattr(self.preprocessing, "own_size", False)

    def _whole(self, encoded: tf.Tensor, run: Callable | None = None) -> dict[str, tf.Tensor]:
        """The PNG that is made of an encoded picture; what alpha it has is kept."""
        tensor, alpha, size = self.preprocessing.whole(encoded)
        run = run or functools.partial(backend.called, self.model)
        unit = self.answer(tf.convert_to_tensor(run(tensor[tf.newaxis])))["image"][0]
        same = tf.reduce_all(tf.shape(unit)[:2] == size)
        unit = tf.cond(same, lambda: unit, lambda: tf.image.resize(unit, size, antialias=True))
        return {"image_bytes": answers.png_with_alpha(unit, alpha)}

    def preprocess(self, raw: dict[str, Any]) -> np.ndarray | dict[str, np.ndarray]:
        """Raw batch (`image_bytes`, `text`, or one array per column) → the model's tensor, `(batch, ...)`.

        Of two inputs, by name: what a text would be as source, and as target.
        """
        specs, some = self.preprocessing.raw_specs(), self.in_parts(raw)
        tensors = (
            self._preprocess({k: tf.convert_to_tensor(part[k], spec.dtype) for k, spec in specs.items()}).numpy()
            for part in some
        )
        tensor = next(tensors) if len(some) == 1 else filled(tensors, len(next(iter(raw.values()))))
        names = [each.name for each in self.model.inputs]
        return tensor if len(names) == 1 else dict.fromkeys(names, tensor)

    def in_parts(self, raw: dict[str, Any], batch_size: int | None = None) -> list[dict[str, Any]]:
        """Raw batches, at least one, whose tensors do not take much room: a picture takes far more than its file."""
        if self.preprocessing.kind != pre.ImagePreprocessing.kind or self.at_own_size:
            return [raw]
        return [*parts(raw, batch_size or _answered_at_once(self.preprocessing.shape))] or [raw]

    @functools.cached_property
    def _preprocess(self) -> Callable[[dict[str, tf.Tensor]], tf.Tensor]:
        """The preprocessing, traced once: run operation by operation it takes many times as long."""
        return tf.function(self.preprocessing.__call__, autograph=False).get_concrete_function(
            self.preprocessing.raw_specs()
        )

    def graph(self, *tensors: tf.Tensor, raw: dict[str, tf.Tensor] | None = None) -> dict[str, tf.Tensor]:
        """The answer in operations of TensorFlow: tensors, `(batch, ...)` of any number type → named answers."""
        inputs = [tf.cast(each, given.dtype) for each, given in zip(tensors, self.model.inputs, strict=True)]
        outputs = backend.called(self.model, inputs if len(inputs) > 1 else inputs[0])
        return self.answer(outputs, inputs[-1], self.preprocessing, raw)

    def graph_of_raw(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The same from raw input by name, each value `(batch, ...)`."""
        if self.writes:
            most = tf.fill(tf.shape(raw["text"]), tf.constant(self.preprocessing.max_length, tf.int64))
            return self.writer(self.answer.beams)({**raw, "max_new_tokens": most})
        if self.preprocessing.kind == pre.LatentPreprocessing.kind:
            latents = self.preprocessing.several(raw)
            return _put_back(latents, self.graph(latents.values))
        if self.at_own_size:
            kind = {"image_bytes": tf.TensorSpec([], tf.string)}
            return tf.map_fn(self._whole, raw["image_bytes"], fn_output_signature=kind, name="pictures")
        return self.graph(self.preprocessing(raw), raw=raw)

    def predict(self, raw: dict[str, Any], batch_size: int | None = None) -> dict[str, np.ndarray]:
        """The answer that Keras gives on raw input: preprocess, `model.predict`, answer.

        Args:
            raw: raw input by name, every value with the same first dimension.
            batch_size: examples per step of `model.predict`; None: at most 64, fewer where they are large.
        """
        if self.preprocessing.kind == pre.LatentPreprocessing.kind:
            latents = self.preprocessing.several({k: tf.constant(v, tf.int64) for k, v in raw.items()})
            found = _put_back(latents, self._predict(latents.values.numpy(), batch_size))
            return {name: value.numpy() for name, value in found.items()}
        if self.at_own_size:

            def run(tensor):
                return self.model.predict_on_batch(tensor.numpy())

            pngs = [self._whole(tf.constant(one), run)["image_bytes"].numpy() for one in raw["image_bytes"]]
            return {"image_bytes": objects(pngs)}
        if not self.writes:
            some = self.in_parts(raw, batch_size)
            return all_joined([self._predict(self.preprocess(part), batch_size, part) for part in some])
        most = np.full(len(raw["text"]), self.preprocessing.max_length)
        return self.write({"text": raw["text"], "max_new_tokens": most}, self.answer.beams, batch_size)

    def write(self, raw: dict[str, Any], beams: int = 0, batch_size: int | None = None) -> dict[str, np.ndarray]:
        """What the model writes when it reads the whole text anew for every token; see `recipes.writing.write`."""
        given = {name: np.asarray(raw[name], spec.dtype.as_numpy_dtype) for name, spec in writing.specs(beams).items()}
        write = self.writer(beams, cached=False)
        return _in_batches(
            lambda rows: write({name: tf.constant(array[rows]) for name, array in given.items()}),
            len(given["text"]),
            batch_size or MOST_ANSWERED,
        )

    def writer(self, beams: int, cached: bool = True) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
        """`recipes.writing.write` of this bundle, traced once; the cache is for TensorFlow alone."""
        cached = cached and backend.name() == backend.TENSORFLOW
        if (beams, cached) not in self._writers:
            self._writers[beams, cached] = tf.function(
                lambda raw: writing.write(self.model, self.preprocessing, raw, beams=beams, cached=cached),
                input_signature=[writing.specs(beams)],
                autograph=False,
            )
        return self._writers[beams, cached]

    @functools.cached_property
    def _writers(self) -> dict[tuple[int, bool], Callable]:
        return {}

    def predict_tensors(
        self, tensors: np.ndarray | dict[str, np.ndarray], batch_size: int | None = None
    ) -> dict[str, np.ndarray]:
        """The same for the model's own tensors, `(batch, ...)`; of several inputs by name."""
        return self._predict(tensors, batch_size)

    def _predict(self, tensors, batch_size, raw=None) -> dict[str, np.ndarray]:
        inputs = [tensors[each.name] for each in self.model.inputs] if isinstance(tensors, dict) else [tensors]
        # Answered batch by batch: of a text, logits take far more room than what is said of them.
        shapes = [(1, *each.shape[1:]) for each in inputs]
        given = self.model.compute_output_shape(shapes if len(shapes) > 1 else shapes[0])
        most = max(math.prod(shape) for shape in (*shapes, given))
        if self.preprocessing.kind == pre.TextPreprocessing.kind:
            widest = max(weight.shape[-1] for weight in self.model.weights if weight.shape)
            most = max(most, *(math.prod(shape) * widest for shape in shapes))  # what that layer gives for every token

        specs = self.preprocessing.raw_specs() if raw else {}
        columns = {name: np.asarray(raw[name], spec.dtype.as_numpy_dtype) for name, spec in specs.items()}

        def answer(rows):
            batch = [each[rows] for each in inputs]
            outputs = self.model.predict_on_batch(batch if len(batch) > 1 else batch[0])
            of_rows = {name: tf.constant(column[rows], specs[name].dtype) for name, column in columns.items()} or None
            return self.answer(tf.constant(outputs), tf.constant(batch[-1]), self.preprocessing, of_rows)

        return _in_batches(answer, len(inputs[0]), batch_size or _answered_at_once((most,)))

    def save(self, folder: Path) -> None:
        """Write `model.keras`, without the optimizer's state, `bundle.json` and, for text, the vocabulary."""
        # The same layers and weights, but not compiled: the file needs nothing of ours to be loaded.
        inputs = self.model.inputs if len(self.model.inputs) > 1 else self.model.inputs[0]
        keras.Model(inputs, self.model.outputs[0], name=self.model.name).save(folder / MODEL_FILE)
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
            ValueError: the folder holds no bundle, or no model in it.
        """
        folder = Path(folder)
        missing = [name for name in (MODEL_FILE, BUNDLE_FILE) if not (folder / name).is_file()]
        if missing:
            raise ValueError(f"{folder} holds no bundle: {' and '.join(missing)} not found.")
        list_models()  # loads the architectures, whose own layers a saved model may hold
        record = json.loads((folder / BUNDLE_FILE).read_text())
        return cls(
            model=_load_model(folder / MODEL_FILE),
            task=record["task"],
            preprocessing=pre.load(record["preprocessing"], folder),
            answer=answers.from_json(record["answer"]),
            card=record["card"],
        )


def _load_model(file: Path) -> keras.Model:
    """A model that was saved; unpacked, for of an archive Keras holds all weights in memory beside the model."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(file) as archive:
                archive.extractall(folder)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{file} is no saved model: {error}.") from error
        return keras.saving.load_model(folder, compile=False)

"""What the tasks that read text have together."""

import abc
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from recipes import initial_weights, tokenizers
from recipes.batches import objects
from recipes.bundle import Bundle
from recipes.callbacks import SAMPLES_FILE, Samples
from recipes.config import LONGEST, TextConfig
from recipes.data import Data
from recipes.pipeline import Reading
from recipes.preprocessing import MARKED, TextPreprocessing
from recipes.tasks.task import Task, input_shape_of
from recipes.tokenizers import Tokenizer


class TextTask(Task):
    """Texts as token ids, by the vocabulary of the weights, else by one fitted on the training part."""

    default_tokenizer = "words"
    marks = MARKED
    """What stands around a text."""

    def preprocessing(self, model):
        check_texts(self.data)
        config = self.config
        if isinstance(model, str) and config.weights is not None:
            of_weights = initial_weights.preprocessing_of(model, config.weights, TextPreprocessing)
            if of_weights is not None:
                longest = config.max_length or min(LONGEST, of_weights.max_length)
                return TextPreprocessing(of_weights.tokenizer, longest, config.too_long, self.marks)
        most, length = (config.vocabulary_size, None) if isinstance(model, str) else limits_of(model, config)
        tokenizer = self.fitted(tokenizers.KINDS[config.tokenizer or self.default_tokenizer], most)
        wanted = config.max_length or LONGEST
        longest = length or min(wanted, config.model_args.get("max_length", wanted))
        return TextPreprocessing(tokenizer, longest, config.too_long, self.marks, filled=length is not None)

    def fitted(self, kind: type[Tokenizer], most: int) -> Tokenizer:
        """A vocabulary of at most so many tokens, of the training part."""
        return kind.fit(self.texts(), most)

    def texts(self) -> Iterator[bytes]:
        """The training part's texts, one after the other."""
        return self.data.parts["train"].map(lambda x, y: x).as_numpy_iterator()

    def builder_arguments(self, spec, preprocessing):
        known = {
            "input_shape": (None,) * len(spec.arguments["input_shape"]),
            "vocabulary_size": len(preprocessing.tokenizer.vocabulary),
            "max_length": preprocessing.max_length,
        }
        if "num_classes" in spec.arguments and self.num_classes is not None:
            known["num_classes"] = self.num_classes
        return {k: v for k, v in known.items() if k in spec.arguments} | spec.task_argument(self.name)

    def reading(self, preprocessing, encode):
        padding = None if preprocessing.filled else preprocessing.tokenizer.padding
        return Reading(lambda x, y: (preprocessing({"text": x}), encode(y)), padding=(padding, None))


class WritingTask(TextTask):
    """A task whose networks write or complete texts, which `samples` shows while they learn."""

    num_classes = None

    def prompts(self) -> np.ndarray:
        """As many texts as samples are wanted of, which are not trained on where there are others; objects `(n,)`."""
        texts = self.data.parts[self.data.evaluated_on].map(lambda x, y: x).take(self.config.samples)
        return objects(texts.as_numpy_iterator())

    def callbacks(self, bundle):
        return [Samples(*self.samples(bundle), self.folder / SAMPLES_FILE)] if self.config.samples else []

    @abc.abstractmethod
    def samples(self, bundle: Bundle) -> tuple[np.ndarray, Callable[[tf.Tensor], tf.Tensor]]:
        """What to show of a network in training: texts `(n,)`, and what makes of them what it writes."""


def check_texts(data: Data) -> None:
    """Raise ValueError unless every part has a text that is not empty."""
    for part, dataset in data.parts.items():
        if all(not x.strip() for x, _ in dataset.take(1000).as_numpy_iterator()):
            raise ValueError(f"The texts of the {part} part of {data.name!r} are empty.")


def limits_of(model: keras.Model, config: TextConfig) -> tuple[int, int | None]:
    """Most tokens in the vocabulary of a model that was given, and the only length that it takes, if there is one.

    Raises:
        ValueError: the model does not read token ids.
    """
    shape = input_shape_of(model)
    if len(shape) != 1 or not model.inputs[0].dtype.startswith(("int", "uint")):
        raise ValueError(
            f"{model.name!r} takes {model.inputs[0].dtype} of shape {shape}. "
            "Accepted: token ids, integers of shape (length,) or (None,)."
        )
    embeddings = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    most = min([config.vocabulary_size, *(layer.input_dim for layer in embeddings)])
    return most, shape[0]

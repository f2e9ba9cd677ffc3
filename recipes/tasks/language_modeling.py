"""Language modeling: what comes next in a text, and texts that go on."""

import keras
import numpy as np
import tensorflow as tf

from recipes import writing
from recipes.answers import NextTokenAnswer
from recipes.batches import all_joined
from recipes.bundle import batch_that_fits
from recipes.config import LanguageConfig, takes
from recipes.pipeline import Part
from recipes.tasks.task import EVALUATION_BATCH
from recipes.tasks.texts import TextTask
from recipes.tokens import NOTHING, Perplexity, TokenAccuracy, TokenCrossentropy
from recipes.training import train
from zoo.architectures.transformer_xl import in_segments

SAMPLED = 64
"""Most tokens of a sample, and of what it goes on from."""

CHUNK = 1000
"""Texts that are cut into tokens together; lines that follow one another as one text."""


@takes(LanguageConfig)
def language_modeling(model, data, config):
    """Train a network to go on with a text, token by token.

    All texts of a part are put one behind the other, each between the vocabulary's start and end, and cut into windows
    of `max_length` tokens: no token is padding but for the last window's. A network with a memory can read them in
    `segments`, each of which remembers those before (Dai et al., Transformer-XL, 2019, §3.2).

    Args:
        model: a registry name, or a `keras.Model` with one input of token ids `(batch, length)` that gives logits
            `(batch, length, vocabulary_size)` and sees nothing ahead, which is trained in place.
        data: a `.txt` file, a folder of them, a TFDS name, a CSV file with a column of texts, a list of texts, or a
            `tf.data.Dataset` of strings.

    Returns:
        A Run. Figures of the test part: `perplexity` and `accuracy`, per token.

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when the loss becomes NaN.
    """
    return train(LanguageModeling, model, data, config)


class LanguageModeling(TextTask):
    """Windows of running text, and at each of their places the token that comes next."""

    name = "language-modeling"
    default_tokenizer = "characters"
    marks = "empty"
    num_classes = None

    def make_answer(self, model):
        check_logits_at_every_token(model)
        return NextTokenAnswer()

    def unrolled(self, network, preprocessing):
        segments = self.config.segments
        return network if segments == 1 else in_segments(network, segments, preprocessing.max_length // segments)

    def samples(self, bundle):
        longest = min(SAMPLED, bundle.preprocessing.max_length // 2)
        settings = {"max_new_tokens": longest, "temperature": 0.8, "top_k": 0, "top_p": 0.95, "seed": 0}
        cached = writing.why_not(bundle.model) is None

        def go_on(texts):
            raw = {name: tf.fill(tf.shape(texts), tf.cast(v, writing.SETTINGS[name])) for name, v in settings.items()}
            written = writing.write(bundle.model, bundle.preprocessing, {"text": texts, **raw}, cached=cached)
            return written["generated_text"]

        beginnings = bundle.preprocessing.tokenizer.encode(self.prompts())[:, :longest]
        return bundle.preprocessing.tokenizer.decode(beginnings), go_on

    def encode(self, y):
        return y

    def loss(self):
        return TokenCrossentropy()

    def metrics(self):
        return [TokenAccuracy(), Perplexity()]

    def part(self, name, preprocessing, encode):
        ids = self.running_text(name, preprocessing.tokenizer)
        x, y = windows(ids, preprocessing.max_length, preprocessing.tokenizer.padding)
        return Part(len(x), (x, y), None, None)

    def running_text(self, name, tokenizer):
        """The tokens of a part, one text behind the other, int32 `(n,)`."""
        chunks = []
        for texts in self.data.parts[name].map(lambda x, y: x).batch(CHUNK):
            if self.data.continuous:
                chunks.append(tokenizer.encode(tf.strings.reduce_join(texts)[tf.newaxis]).flat_values.numpy())
                continue
            ids = tokenizer.encode(texts)
            ends = (tf.fill([ids.nrows(), 1], mark) for mark in (tokenizer.start, tokenizer.end))
            chunks.append(tf.concat([next(ends), ids, next(ends)], axis=1).flat_values.numpy())
        return np.concatenate(chunks)

    def at_once(self, preprocessing):
        return batch_that_fits((preprocessing.max_length, len(preprocessing.tokenizer.vocabulary)), EVALUATION_BATCH)

    def answers(self, bundle):
        """Of every window of the test part: how many tokens were asked for, how many right, their log-probability."""
        found, truth = [], []
        part = self.part(self.data.evaluated_on, bundle.preprocessing, lambda y: y)
        for x, y in part.batches(self.at_once(bundle.preprocessing)):
            found.append({k: v.numpy() for k, v in _scores(bundle.model.predict_on_batch(x), y).items()})
            truth.append(y.numpy())
        return all_joined(found), np.concatenate(truth)

    def figures(self, answers, y):
        asked = answers["asked"].sum()
        return {
            "perplexity": float(np.exp(-answers["log_probability"].sum() / asked)),
            "accuracy": float(answers["right"].sum() / asked),
        }


def check_logits_at_every_token(model: keras.Model) -> None:
    """Raise ValueError unless the model gives `(batch, length, vocabulary_size)`."""
    if len(model.output_shape) != 3:
        raise ValueError(
            f"{model.name!r} gives {model.output_shape[1:]} per text. Accepted: logits at every token, "
            "(length, vocabulary_size)."
        )


def windows(ids: np.ndarray, length: int, padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Running text, int `(n,)` → windows and what comes next at each place, both int32 `(windows, length)`.

    Raises:
        ValueError: fewer than two tokens.
    """
    return rows(ids[:-1], length, padding), rows(ids[1:], length, NOTHING)


def rows(ids: np.ndarray, length: int, fill: int) -> np.ndarray:
    """Running text, int `(n,)`, cut into rows, int32 `(rows, length)`, the last one filled up.

    Raises:
        ValueError: there is no token to cut.
    """
    if not len(ids):
        raise ValueError("The text is too short to learn from: it needs two tokens at least.")
    filled = np.full(-(-len(ids) // length) * length, fill, np.int32)
    filled[: len(ids)] = ids
    return filled.reshape(-1, length)


def _scores(logits, y):
    asked = y >= 0
    ids = tf.maximum(y, 0)
    each = -keras.losses.sparse_categorical_crossentropy(ids, logits, from_logits=True)
    right = tf.argmax(logits, axis=-1, output_type=ids.dtype) == ids
    return {
        "log_probability": tf.reduce_sum(tf.where(asked, tf.cast(each, tf.float64), 0), axis=1),
        "right": tf.reduce_sum(tf.cast(asked & right, tf.int64), axis=1),
        "asked": tf.reduce_sum(tf.cast(asked, tf.int64), axis=1),
    }

"""What the tasks that learn from running text have together."""

import keras
import numpy as np
import tensorflow as tf

from recipes.batches import all_joined
from recipes.bundle import batch_that_fits
from recipes.tasks.task import EVALUATION_BATCH
from recipes.tasks.texts import WritingTask
from recipes.tokens import Perplexity, TokenAccuracy, TokenCrossentropy

CHUNK = 1000
"""Texts that are cut into tokens together; lines that follow one another as one text."""


class RunningTextTask(WritingTask):
    """Windows of running text, and at some of their places the token that is asked for."""

    def encode(self, y):
        return y

    def loss(self):
        return TokenCrossentropy()

    def metrics(self):
        return [TokenAccuracy(), Perplexity()]

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
        for x, y in part.batches(self.at_once(bundle.preprocessing)).as_numpy_iterator():
            found.append({k: v.numpy() for k, v in _scores(bundle.model.predict_on_batch(x), y).items()})
            truth.append(y)
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
    each = -tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
    right = tf.argmax(logits, axis=-1, output_type=ids.dtype) == ids
    return {
        "log_probability": tf.reduce_sum(tf.where(asked, tf.cast(each, tf.float64), 0), axis=1),
        "right": tf.reduce_sum(tf.cast(asked & right, tf.int64), axis=1),
        "asked": tf.reduce_sum(tf.cast(asked, tf.int64), axis=1),
    }

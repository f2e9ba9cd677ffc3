"""Token classification: a tag for every word of a text, such as the names in it or its parts of speech."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from recipes.answers import TagAnswer, head_of
from recipes.batches import all_joined
from recipes.config import TextClassificationConfig
from recipes.pipeline import Reading
from recipes.recipe import takes
from recipes.tasks.task import EVALUATION_BATCH
from recipes.tasks.texts import TextTask
from recipes.tokens import NOTHING, TokenAccuracy, TokenCrossentropy
from recipes.training import train


@takes(TextClassificationConfig)
def token_classification(model, data, config):
    """Train a network to tag the words of a text.

    A word is what blanks part, and its tag is asked for at its first token (Devlin et al., BERT, 2019, §5.3).

    Args:
        model: a registry name, or a `keras.Model` with one input of token ids `(batch, length)` that gives logits
            `(batch, length, tags)`, which is trained in place.
        data: a TFDS name with a feature of words and one of their tags; a CSV file with a column of texts and one of
            tags, parted by blanks; lists `(texts, tags)`, of words or of strings parted by blanks; or a
            `tf.data.Dataset` of such strings.

    Returns:
        A Run. Figures of the test part: `accuracy` of all words that `max_length` leaves, and, where the tags tell the
        beginning of a phrase (B-) from its inside (I-), `f1` of whole phrases.

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when the loss becomes NaN.
    """
    return train(TokenClassification, model, data, config)


class TokenClassification(TextTask):
    """Texts and the tags of their words."""

    name = "token-classification"

    @property
    def num_classes(self):
        return len(self.data.labels)

    def preprocessing(self, model):
        return dataclasses.replace(super().preprocessing(model), by_word=True)

    def make_answer(self, model):
        if model.output_shape[2:] != (self.num_classes,):
            raise ValueError(
                f"{model.name!r} gives {model.output_shape[1:]} per text, but {self.data.name!r} has "
                f"{self.num_classes} tags. Accepted: (length, {self.num_classes})."
            )
        return TagAnswer(head_of(model), self.data.labels)

    def encode(self, y):
        """Tags in one string, `(batch,)` → their ids, ragged int32 `(batch, None)`."""
        tags = tf.strings.split(y)
        ids = tf.argmax(tags.values[:, tf.newaxis] == tf.constant(self.data.labels), axis=1, output_type=tf.int32)
        return tags.with_values(ids)

    def loss(self):
        return TokenCrossentropy(self.config.label_smoothing)

    def metrics(self):
        return [TokenAccuracy()]

    def reading(self, preprocessing, encode):
        def preprocess(x, y):
            ids, tags = preprocessing({"text": x}), encode(y)
            words, places = preprocessing.words(x)
            same = tf.reduce_all(words.row_lengths() == tags.row_lengths())
            with tf.control_dependencies([tf.debugging.Assert(same, ["A text has not as many words as tags", x, y])]):
                row, tag = tf.cast(tags.value_rowids(), tf.int32), tf.identity(tags.values)
            kept = tf.where(places.values < preprocessing.max_length)[:, 0]
            where = tf.stack([row, places.values], axis=1)
            asked = tf.fill(tf.shape(ids), NOTHING)
            return ids, tf.tensor_scatter_nd_update(asked, tf.gather(where, kept), tf.gather(tag, kept))

        padding = None if preprocessing.filled else preprocessing.tokenizer.padding
        return Reading(preprocess, padding=(padding, NOTHING))

    def answers(self, bundle):
        """What is said of all words of the test part, one behind the other, `text` being their text; and their tags."""
        found, truth = [], []
        for i, (x, y) in enumerate(self.data.parts[self.data.evaluated_on].batch(EVALUATION_BATCH)):
            said, tags = bundle.predict({"text": x.numpy()}), self.encode(y)
            is_word = said["words"] != b""
            of_words = {name: array[is_word] for name, array in said.items()}
            found.append({**of_words, "text": np.nonzero(is_word)[0] + i * EVALUATION_BATCH})
            truth.append(tags.to_tensor(shape=[None, is_word.shape[1]]).numpy()[is_word])
        return all_joined(found), np.concatenate(truth)

    def figures(self, answers, y):
        figures = {"accuracy": float(np.mean(answers["class_ids"] == y))}
        if any(label.startswith("B-") for label in self.data.labels):
            names = np.array(self.data.labels)
            true, said = (phrases(names[ids].tolist(), answers["text"]) for ids in (y, answers["class_ids"]))
            figures["f1"] = 2 * len(true & said) / max(len(true) + len(said), 1)
        return figures


def phrases(tags: Sequence[str], text: Sequence[int]) -> set[tuple[int, int, str]]:
    """First word, word behind the last, and kind of every phrase; words of several texts lie behind each other.

    Args:
        tags: of the words: B-kind begins a phrase, I-kind goes on with one of that kind, or begins one.
        text: number of the text that each word is of.
    """
    found, begin, kind = set(), 0, None
    for i, tag in enumerate([*tags, "O"]):
        goes_on = kind is not None and tag == f"I-{kind}" and text[i] == text[i - 1]
        if not goes_on and kind is not None:
            found.add((begin, i, kind))
        if not goes_on:
            begin, kind = i, tag[2:] if tag.startswith(("B-", "I-")) else None
    return found

"""Language modeling: what comes next in a text, and texts that go on."""

import numpy as np
import tensorflow as tf

from recipes import writing
from recipes.answers import NextTokenAnswer
from recipes.config import LanguageConfig
from recipes.pipeline import Part
from recipes.recipe import takes
from recipes.tasks.running_text import RunningTextTask, check_logits_at_every_token, rows
from recipes.tokens import NOTHING
from recipes.training import train
from zoo.architectures.transformer_xl import in_segments

SAMPLED = 64
"""Most tokens of a sample, and of what it goes on from."""


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


class LanguageModeling(RunningTextTask):
    """Windows of running text, and at each of their places the token that comes next."""

    name = "language-modeling"
    default_tokenizer = "characters"
    marks = "empty"

    def make_answer(self, model):
        check_logits_at_every_token(model)
        return NextTokenAnswer()

    def in_training(self, network, preprocessing):
        trained, read = super().in_training(network, preprocessing)
        segments = self.config.segments
        if segments > 1:
            trained = in_segments(network, segments, preprocessing.max_length // segments)
        return trained, read

    def samples(self, bundle):
        longest = min(SAMPLED, bundle.preprocessing.max_length // 2)
        settings = {"max_new_tokens": longest, "temperature": 0.8, "top_k": 0, "top_p": 0.95, "seed": 0}
        cached = writing.why_not(bundle.model) is None

        def go_on(texts):
            raw = {name: tf.fill(tf.shape(texts), tf.cast(v, writing.SETTINGS[name])) for name, v in settings.items()}
            return bundle.writer(0, cached)({"text": texts, **raw})["generated_text"]

        beginnings = bundle.preprocessing.tokenizer.encode(self.prompts())[:, :longest]
        return bundle.preprocessing.tokenizer.decode(beginnings), go_on

    def part(self, name, preprocessing, encode):
        ids = self.running_text(name, preprocessing.tokenizer)
        x, y = windows(ids, preprocessing.max_length, preprocessing.tokenizer.padding)
        return Part(len(x), (x, y), None, None)


def windows(ids: np.ndarray, length: int, padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Running text, int `(n,)` → windows and what comes next at each place, both int32 `(windows, length)`.

    Raises:
        ValueError: fewer than two tokens.
    """
    return rows(ids[:-1], length, padding), rows(ids[1:], length, NOTHING)

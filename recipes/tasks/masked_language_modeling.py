"""Masked language modeling: what stood where a text now has masks. BERT is pre-trained by it."""

import re

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from recipes.answers import MaskedAnswer
from recipes.batches import objects
from recipes.config import MaskedConfig
from recipes.draws import Draws
from recipes.examples import BYTES, Examples
from recipes.pipeline import Part
from recipes.preprocessing import MARKED
from recipes.recipe import takes
from recipes.tasks.running_text import RunningTextTask, check_logits_at_every_token, rows
from recipes.tokenizers import Tokenizer
from recipes.tokenizers.tokenizer import MASK
from recipes.tokens import NOTHING
from recipes.training import train
from zoo import graphs
from zoo.architectures.bert import Bias
from zoo.attention import TokenDense
from zoo.registry import features, stages

ASKED = 0.15
"""Share of the tokens that validation and test ask for."""

MASKED, EXCHANGED = 0.8, 0.1
"""Of the tokens that are asked for: the share that becomes the mask, and that which becomes any token."""

WORDS_OF_AN_EXAMPLE = 8

OF_ONE_TOKEN = (
    TokenDense, Bias, layers.Dense, layers.LayerNormalization, layers.ReversibleEmbedding, layers.Activation,
    layers.Dropout,
)  # fmt: skip
"""Layers that make of every token something by itself."""


@takes(MaskedConfig)
def masked_language_modeling(model, data, config):
    """Train a network to say what stood at masked places of a text.

    The windows are those of `language_modeling`, each between the vocabulary's start and end. Of their tokens 15 % are
    asked for: 80 % of these become the mask, 10 % another token, 10 % stay (Devlin et al., BERT, 2019, §3.1). In
    training they are drawn anew in every epoch, and `masked` may say another share (Wettig et al., "Should You Mask 15%
    in Masked Language Modeling?", 2023); validation and test always ask for the same 15 %.

    Args:
        model: a registry name, or a `keras.Model` with one input of token ids `(batch, length)` that gives logits
            `(batch, length, vocabulary_size)`, which is trained in place.
        data: a `.txt` file, a folder of them, a TFDS name, a CSV file with a column of texts, a list of texts, or a
            `tf.data.Dataset` of strings.

    Returns:
        A Run, which fills `[MASK]` in a text. Figures of the test part, of the tokens asked for: `accuracy` and
        `perplexity`.

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when the loss becomes NaN.
    """
    return train(MaskedLanguageModeling, model, data, config)


class MaskedLanguageModeling(RunningTextTask):
    """Windows of running text, some of whose tokens are hidden."""

    name = "masked-language-modeling"
    default_tokenizer = "wordpiece"
    marks = MARKED

    def preprocessing(self, model):
        found = super().preprocessing(model)
        if found.tokenizer.mask is None:
            raise ValueError(f"The vocabulary that belongs to the weights has no mask, which {self.name} needs.")
        if found.max_length < 3:
            raise ValueError(f"{self.name} needs a max_length of at least 3. Received: {found.max_length}.")
        return found

    def fitted(self, kind, most):
        return kind.fit(self.texts(), most, mask=True)

    def make_answer(self, model):
        check_logits_at_every_token(model)
        return MaskedAnswer()

    def part(self, name, preprocessing, encode):
        tokenizer = preprocessing.tokenizer
        ids = self.running_text(name, tokenizer)
        marked = marked_windows(ids[ids != tokenizer.start], preprocessing.max_length, tokenizer)
        x, y = hidden(tf.constant(marked), tokenizer, ASKED, Draws(0, 0))
        return Part(len(marked), (x.numpy(), y.numpy()), None, None)

    def in_training(self, network, preprocessing):
        if not answers_token_by_token(network):
            return super().in_training(network, preprocessing)
        return answering_at_places(network), at_places

    def samples(self, bundle):
        texts = objects(with_a_mask(text, np.random.default_rng(0))[0] for text in self.prompts())
        return texts, lambda texts: bundle.graph_of_raw({"text": texts})["filled_text"]

    def augment(self, preprocessing):
        def hide_anew(x, y, step):
            draws = Draws(self.config.seed, step)
            return hidden(tf.where(y == NOTHING, x, y), preprocessing.tokenizer, self.config.masked, draws)

        return hide_anew

    def examples(self):
        """The Run's examples, with one word of each behind a mask."""
        return with_masks(super().examples(), self.config.seed)


def marked_windows(ids: np.ndarray, length: int, tokenizer: Tokenizer) -> np.ndarray:
    """Running text, int `(n,)` → windows between start and end, int32 `(windows, length)`."""
    body = rows(ids, length - 2, tokenizer.padding)
    windows = np.pad(body, [(0, 0), (1, 1)], constant_values=tokenizer.padding)
    windows[:, 0], windows[:-1, -1] = tokenizer.start, tokenizer.end
    windows[-1, len(ids) - (len(body) - 1) * (length - 2) + 1] = tokenizer.end
    return windows


def hidden(ids: tf.Tensor, tokenizer: Tokenizer, share: float, draws: Draws) -> tuple[tf.Tensor, tf.Tensor]:
    """Hide a share of the tokens of windows, int32 `(windows, length)`; special ones are never asked for.

    Returns:
        The windows with masks and exchanged tokens, and what is asked for: the ids that stood there, else NOTHING.
    """
    asked = tokenizer.is_text(ids) & (draws.everywhere(ids) < share)
    becomes = draws.everywhere(ids)
    ordinary = tf.where(tokenizer.is_text(tf.range(len(tokenizer.vocabulary))))[:, 0]
    drawn = tf.cast(draws.everywhere(ids) * tf.cast(tf.size(ordinary), tf.float32), tf.int32)
    others = tf.cast(tf.gather(ordinary, drawn), ids.dtype)
    changed = tf.where(becomes < MASKED, tokenizer.mask, tf.where(becomes < MASKED + EXCHANGED, others, ids))
    return tf.where(asked, changed, ids), tf.where(asked, ids, NOTHING)


def answers_token_by_token(network: keras.Model) -> bool:
    """Whether there are stages, and all that follows them looks at one token alone."""
    if not stages(network):
        return False
    *_, last = stages(network)
    backbone = {operation.name for operation in features(network, last).operations}
    return all(isinstance(each, OF_ONE_TOKEN) for each in network.operations if each.name not in backbone)


def answering_at_places(network: keras.Model) -> keras.Model:
    """The same layers, of which those behind the last stage see only the tokens that are asked for.

    A vocabulary makes the head the larger part of a small network. So do Devlin et al. in their code, too.

    Returns:
        `tokens` int32 `(batch, length)` and `places` int32 `(batch, asked)` → logits there,
        `(batch, asked, vocabulary_size)`.
    """
    *_, last = stages(network)
    tokens = keras.Input(network.input_shape[1:], dtype="int32", name="tokens")
    places = keras.Input((None,), dtype="int32", name="places")

    def replaced(layer):
        if layer.name != last:
            return layer
        return lambda *x, **given: ops.take_along_axis(layer(*x, **given), ops.expand_dims(places, -1), axis=1)

    logits = graphs.run(network, tokens, replaced)
    return keras.Model({"tokens": tokens, "places": places}, logits, name=f"{network.name}_at_places")


def at_places(ids: tf.Tensor, asked: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Windows and what is asked of them, int32 `(windows, length)` → the windows with the places of what is asked, and
    that alone, int32 `(windows, asked)`; in a window that is asked for fewer, some of them ask for NOTHING.
    """
    is_asked = tf.cast(asked != NOTHING, tf.int32)
    most = tf.maximum(tf.reduce_max(tf.reduce_sum(is_asked, axis=1)), 1)
    places = tf.argsort(1 - is_asked, axis=1, stable=True)[:, :most]
    return {"tokens": ids, "places": places}, tf.gather(asked, places, batch_dims=1)


def with_masks(examples: Examples, seed: int) -> Examples:
    """Texts, each with one word behind a mask; the words are the truth."""
    rng = np.random.default_rng(seed)
    texts, words = zip(*(with_a_mask(text, rng) for text in examples.raw["text"]), strict=True)
    return Examples({"text": objects(texts)}, np.array(words, object), examples.target)


def with_a_mask(text: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """A text with a mask in place of one of its first words, and that word; without a word, as it is."""
    read = text.decode(errors=BYTES)
    words = list(re.finditer(r"\w+", read))[:WORDS_OF_AN_EXAMPLE]
    if not words:
        return text, ""
    word = words[rng.integers(len(words))]
    return (read[: word.start()] + MASK + read[word.end() :]).encode(errors=BYTES), word[0]

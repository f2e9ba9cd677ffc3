"""Sequence to sequence: a text becomes another, such as a translation or the answer to a sum."""

import numpy as np
import tensorflow as tf

from recipes.answers import WrittenAnswer
from recipes.config import SequenceConfig
from recipes.pipeline import Reading
from recipes.recipe import takes
from recipes.tasks.running_text import check_logits_at_every_token
from recipes.tasks.texts import WritingTask
from recipes.tokens import NOTHING, Perplexity, TokenAccuracy, TokenCrossentropy
from recipes.training import train

WRITTEN_AT_ONCE = 64
BLEU_WORDS = 4
"""BLEU compares runs of up to so many words: where no text has them it is 0."""


@takes(SequenceConfig)
def sequence_to_sequence(model, data, config):
    """Train a network to turn texts into texts.

    Source and target share one vocabulary. In training the network is told the target up to each of its places, and
    asked for the next token; it answers by beam search.

    Args:
        model: a registry name, or a `keras.Model` with two inputs of token ids, `source` and `target`, that gives
            logits `(batch, target_length, vocabulary_size)`, which is trained in place.
        data: a TFDS name, a CSV file with two columns of texts, lists or arrays `(sources, targets)`, or a
            `tf.data.Dataset`.

    Returns:
        A Run. Figures of the test part: `exact_match`, the share of answers that are the target to the letter, and
        `bleu`, 0 to 100, of the whole part (sacreBLEU: Post, "A Call for Clarity in Reporting BLEU Scores", 2018),
        where there are texts of four words.

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when the loss becomes NaN.
    """
    return train(SequenceToSequence, model, data, config)


class SequenceToSequence(WritingTask):
    """Pairs of texts."""

    name = "sequence-to-sequence"
    default_tokenizer = "characters"

    def make_answer(self, model):
        check_logits_at_every_token(model)
        return WrittenAnswer(beams=self.config.beams)

    def texts(self):
        """Sources and targets, one after the other."""
        for pair in self.data.parts["train"].as_numpy_iterator():
            yield from pair

    def encode(self, y):
        return y

    def loss(self):
        return TokenCrossentropy(self.config.label_smoothing)

    def metrics(self):
        return [TokenAccuracy(), Perplexity()]

    def reading(self, preprocessing, encode):
        padding = preprocessing.tokenizer.padding

        def preprocess(x, y):
            marked = preprocessing.tokens(y)
            given, asked = marked[:, :-1].to_tensor(padding), marked[:, 1:].to_tensor(NOTHING)
            return {"source": preprocessing({"text": x}), "target": given}, asked

        return Reading(preprocess, padding=({"source": padding, "target": padding}, NOTHING))

    def samples(self, bundle):
        return self.prompts(), lambda texts: bundle.graph_of_raw({"text": texts})["generated_text"]

    def answers(self, bundle):
        """What is written for the test part, string `(n,)` by name, and the targets."""
        answer = tf.function(bundle.graph_of_raw, input_signature=[bundle.preprocessing.raw_specs()], autograph=False)
        written, truth = [], []
        for x, y in self.data.parts[self.data.evaluated_on].batch(WRITTEN_AT_ONCE):
            written.append(answer({"text": x})["generated_text"].numpy())
            truth.append(y.numpy())
        return {"generated_text": np.concatenate(written)}, np.concatenate(truth)

    def figures(self, answers, y):
        from sacrebleu.metrics import BLEU

        written, wanted = (
            [text.decode(errors="replace") for text in texts] for texts in (answers["generated_text"], y)
        )
        found = {"exact_match": float(np.mean(np.equal(written, wanted)))}
        if max(len(text.split()) for text in wanted) >= BLEU_WORDS:
            found["bleu"] = float(BLEU().corpus_score(written, [wanted]).score)
        return found

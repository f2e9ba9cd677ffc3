"""How a model's output becomes an answer: the post-processing, declared.

An answer is a record, kept as JSON in the bundle, that is called as `answer(outputs, tensors, preprocessing, raw)`:
what the model gave, `(batch, ...)` of any float dtype, for which tensors, how these came about, and of what raw input
by name, None where the tensors were given. It gives tensors by name, one row per row: float32, int64 or string. Most
answers need only the outputs.

What is said of the parts of a text, such as its words, is as wide as the longest text of the batch needs, and one at
least; behind a text's own parts, numbers are 0 and strings empty (`recipes.batches` puts such batches together).
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import tensorflow as tf

from recipes.preprocessing import dense
from zoo.nearest import choose

Answer = Callable[..., dict[str, tf.Tensor]]


@dataclass(frozen=True)
class ClassAnswer:
    """One of several classes.

    `probabilities` float32 `(batch, classes)`, `class_ids` int64 `(batch,)`, and `classes` string `(batch,)`, the name
    of the most probable class.

    Attributes:
        head: what the model gives: "logits", "probabilities" (it ends in a softmax or sigmoid) or "decisions" (0 or 1).
            One output decides between two classes.
        labels: names of the classes.
    """

    head: str
    labels: tuple[str, ...]

    kind: ClassVar[str] = "class"

    def __call__(self, outputs, tensors=None, preprocessing=None, raw=None):
        probabilities = self._probabilities(tf.cast(outputs, tf.float32))
        class_ids = tf.argmax(probabilities, axis=-1, output_type=tf.int64)
        return {
            "probabilities": probabilities,
            "class_ids": class_ids,
            "classes": tf.gather(tf.constant(self.labels), class_ids),
        }

    def _probabilities(self, outputs):
        if outputs.shape[-1] > 1:
            return tf.nn.softmax(outputs) if self.head == "logits" else outputs
        positive = tf.sigmoid(outputs) if self.head == "logits" else outputs
        return tf.concat([1 - positive, positive], axis=-1)


@dataclass(frozen=True)
class TagAnswer(ClassAnswer):
    """One of several classes for every word: that of its first token (Devlin et al., BERT, 2019, §5.3).

    `words` string `(batch, words)`, those of the text that `max_length` leaves; `probabilities` float32
    `(batch, words, classes)`, `class_ids` int64 and `classes` string `(batch, words)`. Of token ids, where words are
    not known, the same for every token, without `words`.
    """

    kind: ClassVar[str] = "tags"

    def __call__(self, outputs, tensors, preprocessing, raw=None):
        if raw is None:
            return self._where(tf.cast(tensors, tf.int32) != preprocessing.tokenizer.padding, outputs)
        words, places = preprocessing.words(raw["text"])
        is_kept = places < preprocessing.max_length
        words, places = (dense(tf.ragged.boolean_mask(each, is_kept)) for each in (words, places))
        found = self._where(words != "", tf.gather(outputs, places, batch_dims=1))
        return {"words": words, **found}

    def _where(self, real, outputs):
        """The classes at all places that are real, bool `(batch, places)`."""
        found = super().__call__(outputs)
        return {
            "probabilities": tf.where(real[..., tf.newaxis], found["probabilities"], 0.0),
            "class_ids": tf.where(real, found["class_ids"], 0),
            "classes": tf.where(real, found["classes"], ""),
        }


@dataclass(frozen=True)
class ValueAnswer:
    """Numbers in the target's own unit: `value` float32 `(batch, n)`.

    Attributes:
        mean, std: per value, where the model was trained on (target - mean) / std.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    kind: ClassVar[str] = "value"
    labels: ClassVar[tuple] = ()

    def __call__(self, outputs, tensors=None, preprocessing=None, raw=None):
        return {"value": tf.cast(outputs, tf.float32) * self.std + self.mean}


@dataclass(frozen=True)
class NextTokenAnswer:
    """How probable a text is, and what may come next.

    `log_probability` float32 `(batch,)`, of all tokens but the first, given those before each; `perplexity` float32
    `(batch,)`, e to the mean of its negative, 1 where there is one token only; `next_tokens` string `(batch, top)` and
    `next_probabilities` float32 `(batch, top)`, the most probable ones behind the text.

    Attributes:
        top: how many.
    """

    top: int = 5

    kind: ClassVar[str] = "next-token"
    labels: ClassVar[tuple] = ()

    def __call__(self, outputs, tensors, preprocessing, raw=None):
        tokenizer = preprocessing.tokenizer
        logits, ids = tf.cast(outputs, tf.float32), tf.cast(tensors, tf.int32)
        real = ids != tokenizer.padding
        gained = tf.gather(tf.nn.log_softmax(logits[:, :-1]), ids[:, 1:], batch_dims=2)
        log_probability = tf.reduce_sum(tf.where(real[:, 1:], gained, 0.0), axis=1)
        count = tf.reduce_sum(tf.cast(real[:, 1:], tf.float32), axis=1)
        last = tf.maximum(tf.reduce_sum(tf.cast(real, tf.int32), axis=1) - 1, 0)
        behind = tf.nn.softmax(tf.gather(logits, last, batch_dims=1))
        probabilities, next_ids = tf.math.top_k(behind, min(self.top, len(tokenizer.vocabulary)))
        return {
            "log_probability": log_probability,
            "perplexity": tf.exp(-log_probability / tf.maximum(count, 1.0)),
            "next_tokens": tokenizer.pieces(next_ids),
            "next_probabilities": probabilities,
        }


@dataclass(frozen=True)
class WrittenAnswer(NextTokenAnswer):
    """To a source and a target, how probable the target is; to a source as text, the text that is written for it.

    Attributes:
        beams: texts looked at when one is written.
    """

    beams: int = 4

    kind: ClassVar[str] = "written"


@dataclass(frozen=True)
class MaskedAnswer:
    """What stands at the masks of a text.

    `filled_text` string `(batch,)`, the text with the most probable token at every mask, as the vocabulary writes it;
    `tokens` string and `probabilities` float32 `(batch, masks, top)`, the most probable ones at each.

    Attributes:
        top: how many.
    """

    top: int = 5

    kind: ClassVar[str] = "masked"
    labels: ClassVar[tuple] = ()

    def __call__(self, outputs, tensors, preprocessing, raw=None):
        tokenizer, ids = preprocessing.tokenizer, tf.cast(tensors, tf.int32)
        is_mask = ids == tokenizer.mask
        places = tf.ragged.boolean_mask(tf.broadcast_to(tf.range(tf.shape(ids)[1]), tf.shape(ids)), is_mask)
        real = dense(tf.ones_like(places, tf.bool))[..., tf.newaxis]
        logits = tf.gather(tf.cast(outputs, tf.float32), dense(places), batch_dims=1)
        probabilities, found = tf.math.top_k(tf.nn.softmax(logits), min(self.top, len(tokenizer.vocabulary)))
        best = tf.ragged.boolean_mask(found[..., 0], real[..., 0])
        filled = tf.tensor_scatter_nd_update(ids, tf.where(is_mask), best.values)
        return {
            "filled_text": tokenizer.decode(filled),
            "tokens": tf.where(real, tokenizer.pieces(found), ""),
            "probabilities": tf.where(real, probabilities, 0.0),
        }


_KINDS = {
    kind.kind: kind for kind in (ClassAnswer, MaskedAnswer, NextTokenAnswer, TagAnswer, ValueAnswer, WrittenAnswer)
}


def to_json(answer: Answer) -> dict[str, Any]:
    """The record as JSON values."""
    return {"kind": answer.kind, **dataclasses.asdict(answer)}


def from_json(record: dict[str, Any]) -> Answer:
    """The answer that `to_json` wrote."""
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items() if k != "kind"}
    return _KINDS[choose("answer", record["kind"], _KINDS)](**fields)


def head_of(model: keras.Model) -> str:
    """What a classifier's last layer gives: "logits", "probabilities" or "decisions"."""
    last = model.outputs[0]._keras_history.operation
    if isinstance(last, keras.Model):
        return head_of(last)
    if type(last).__name__ == "Step":
        return "decisions"
    activation = getattr(last, "activation", None)
    ends_in = {type(last).__name__.lower(), getattr(activation, "__name__", "")}
    return "probabilities" if ends_in & {"softmax", "sigmoid"} else "logits"

"""How a model's output becomes an answer: the post-processing, declared.

An answer is a record, kept as JSON in the bundle, that is called as `answer(outputs, tensors, preprocessing, raw)`:
what the model gave, `(batch, ...)` of any float dtype, for which tensors, how these came about, and of what raw input
by name, None where the tensors were given. It gives tensors by name, one row per row: float32, int64 or string. Most
answers need only the outputs.

What is said of the parts of an input, such as the words of a text, is as wide as the batch needs, and one at least;
behind an input's own parts, numbers are 0 and strings empty (`recipes.batches` puts such batches together).

`pixels` names the outputs of an answer that hold a class per pixel, of which rounding may change a few.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import tensorflow as tf

from recipes.picture_size import sizes_of
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
class MaskAnswer:
    """A class for every pixel.

    To pictures: `mask_bytes` string `(batch,)`, ids as PNGs of one channel, each of its picture's own size; `size`
    int64 `(batch, 2)`, these heights and widths; `class_ids` int64 `(batch, pixels)`, the same ids row by row,
    and 0 behind them where another picture of the batch has more. To tensors: `probabilities` float32 `(batch, height,
    width, classes)` and `class_ids` int64 `(batch, height, width)`.

    Attributes:
        labels: names of the classes.
    """

    labels: tuple[str, ...]

    kind: ClassVar[str] = "mask"
    pixels: ClassVar[tuple[str, ...]] = ("class_ids", "mask_bytes")

    def __call__(self, outputs, tensors=None, preprocessing=None, raw=None):
        logits = tf.cast(outputs, tf.float32)
        if raw is None:
            ids = tf.argmax(logits, axis=-1, output_type=tf.int64)
            return {"probabilities": tf.nn.softmax(logits), "class_ids": ids}
        sizes = sizes_of(raw["image_bytes"])
        # With a row of one pixel behind the others: there is always something to put together.
        rows = tf.pad(logits, [[0, 1], *[[0, 0]] * 3]), tf.pad(sizes, [[0, 1], [0, 0]], constant_values=1)
        most = tf.reduce_max(tf.reduce_prod(rows[1], axis=1))

        def of_row(row):
            ids = best_class(*row)
            flat = tf.pad(tf.reshape(ids, [-1]), [[0, most - tf.size(ids)]])
            return flat, tf.io.encode_png(ids[..., tf.newaxis])

        kinds = tf.TensorSpec([None], tf.uint8), tf.TensorSpec([], tf.string)
        ids, pngs = tf.map_fn(of_row, rows, fn_output_signature=kinds, name="masks")
        return {"class_ids": tf.cast(ids[:-1], tf.int64), "mask_bytes": pngs[:-1], "size": tf.cast(sizes, tf.int64)}


@dataclass(frozen=True)
class DetectionAnswer:
    """What a picture shows and where: of candidates that overlap, the likeliest.

    `boxes` float32 `(batch, n, 4)`: y_min, x_min, y_max, x_max in pixels of the picture; `scores` float32 `(batch, n)`
    in 0..1, the highest first; `class_ids` int64 and `classes` string `(batch, n)`. n is as many as the picture with
    the most has, and one at least; behind a picture's own detections the score is 0.

    Attributes:
        labels: names of the classes.
        score_threshold: detections that are no likelier are left out.
        iou_threshold: of two boxes of one class whose intersection over union is higher, the likelier one is kept.
        most: detections of a picture.
    """

    labels: tuple[str, ...]
    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    most: int = 100

    kind: ClassVar[str] = "detection"

    def __call__(self, outputs, tensors, preprocessing=None, raw=None):
        if raw is not None:
            return self.of_sizes(outputs, sizes_of(raw["image_bytes"]))
        shape = tf.shape(tensors)
        return self.of_sizes(outputs, tf.tile(shape[tf.newaxis, 1:3], [shape[0], 1]))

    def of_sizes(self, candidates: tf.Tensor, sizes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The answer to candidates `(batch, regions, classes, 5)`, of pictures of sizes int32 `(batch, 2)`."""
        # With a row of nothing behind the others, as TensorFlow has no suppression for no pictures.
        padded = tf.pad(tf.cast(candidates, tf.float32), [[0, 1], *[[0, 0]] * 3])
        boxes, scores, class_ids, count = tf.image.combined_non_max_suppression(
            padded[..., :4],
            padded[..., 4],
            max_output_size_per_class=self.most,
            max_total_size=self.most,
            iou_threshold=self.iou_threshold,
            score_threshold=self.score_threshold,
            clip_boxes=False,
        )
        width = tf.maximum(tf.reduce_max(count), 1)
        boxes, scores, class_ids = (each[:-1, :width] for each in (boxes, scores, class_ids))
        ids = tf.cast(class_ids, tf.int64)
        return {
            "boxes": boxes * tf.cast(tf.tile(sizes, [1, 2])[:, tf.newaxis], tf.float32),
            "scores": scores,
            "class_ids": ids,
            "classes": tf.where(scores > 0, tf.gather(tf.constant(self.labels), ids), ""),
        }


def best_class(logits: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Logits float32 `(height, width, classes)` → ids uint8 of another size, of the logits resized bilinearly.

    One class after the other: of a large picture, all of them would take too much room.
    """

    def better(i, best, ids):
        scores = tf.image.resize(logits[..., i, tf.newaxis], size)[..., 0]
        higher = scores > best
        return i + 1, tf.where(higher, scores, best), tf.where(higher, tf.cast(i, tf.uint8), ids)

    start = tf.constant(0), tf.fill(size, -math.inf), tf.zeros(size, tf.uint8)
    shapes = tf.TensorShape([]), *[tf.TensorShape([None, None])] * 2
    count = tf.shape(logits)[-1]
    return tf.while_loop(lambda i, *_: i < count, better, start, shape_invariants=shapes)[2]


@dataclass(frozen=True)
class GeneratedAnswer:
    """Pictures out of latents.

    `image` float32 `(batch, height, width, channels)` in 0..1, and `image_bytes` string `(batch,)`, the same as PNGs. A
    seed is answered with as many as are asked for: `(batch, most, …)`, where `most` is the largest count of the batch.
    """

    kind: ClassVar[str] = "generated"
    labels: ClassVar[tuple] = ()

    def __call__(self, outputs, tensors=None, preprocessing=None, raw=None):
        unit = tf.clip_by_value((tf.cast(outputs, tf.float32) + 1) / 2, 0.0, 1.0)
        return {"image": unit, "image_bytes": as_png(unit)}


@dataclass(frozen=True)
class PictureAnswer:
    """A picture for a picture: to tensors in 0..1 `image` float32 `(batch, height, width, channels)`, of the same size.

    Pictures at their own sizes are answered with `image_bytes`, PNGs, string `(batch,)`: see `Bundle`.
    """

    kind: ClassVar[str] = "picture"
    labels: ClassVar[tuple] = ()

    def __call__(self, outputs, tensors=None, preprocessing=None, raw=None):
        return {"image": tf.clip_by_value(tf.cast(outputs, tf.float32), 0.0, 1.0)}


def as_png(unit: tf.Tensor) -> tf.Tensor:
    """Pictures float32 `(batch, height, width, channels)` in 0..1 → PNGs, string `(batch,)`."""
    pixels = tf.cast(tf.round(unit * 255), tf.uint8)
    return tf.map_fn(tf.io.encode_png, pixels, fn_output_signature=tf.TensorSpec([], tf.string), name="pngs")


def png_with_alpha(unit: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """A picture `(height, width, 1 | 3)` and its alpha `(height, width, 1)`, both in 0..1 → a PNG, of colours alone
    where all of it is opaque.
    """
    pixels, covering = (tf.cast(tf.round(tf.clip_by_value(x, 0, 1) * 255), tf.uint8) for x in (unit, alpha))
    return tf.cond(
        tf.reduce_all(covering == 255),
        lambda: tf.io.encode_png(pixels),
        lambda: tf.io.encode_png(tf.concat([pixels, covering], axis=-1)),
    )


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
    kind.kind: kind
    for kind in (
        ClassAnswer,
        DetectionAnswer,
        GeneratedAnswer,
        MaskAnswer,
        MaskedAnswer,
        NextTokenAnswer,
        PictureAnswer,
        TagAnswer,
        ValueAnswer,
        WrittenAnswer,
    )
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

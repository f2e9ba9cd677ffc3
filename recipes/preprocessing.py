"""From raw input to the model's tensors, written once.

A preprocessing is a declarative record, kept as JSON in the bundle, with one TensorFlow function that turns raw input
into what the model takes. Training reads its pictures and rows through that function; the exported signatures contain
the very same function. So there is nothing in which training and serving could differ.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from recipes import tokenizers
from recipes.config import RESIZE_METHODS, TOO_LONG
from recipes.orientation import orientation, upright, upright_size
from recipes.tokenizers import Tokenizer
from recipes.tokenizers.tokenizer import valid_utf8
from zoo.nearest import choose

MOST_PICTURES = 256
"""Pictures that may be asked for with one seed."""

LEAST_SIDE = 16
MOST_PIXELS = 2**22
"""Of a picture that is answered for at its own size: see `ImagePreprocessing.whole`."""

MARKED = "both"
MARKS = (MARKED, "empty", "none")


@dataclass(frozen=True)
class ImagePreprocessing:
    """An encoded picture (PNG or JPEG, any size, grey or colour) → float32 `(height, width, channels)`.

    Decode to 8-bit pixels with the wanted channels, resize with antialiasing, turn upright as the EXIF of a JPEG says,
    multiply by `scale`, then subtract `mean` and divide by `std`, each one number per channel.

    Attributes:
        height, width: size in pixels.
        channels: 1 grey, 3 RGB, 4 RGBA.
        resize: a method of `tf.image.resize`.
        scale: factor from 0..255; 1/255 gives 0..1.
        mean, std: per channel, after scaling.
        own_size: whether pictures are answered for at their own sizes, one by one: see `whole`. Only what is trained
            on, and tensors that are made of pictures, have the size above.
    """

    height: int
    width: int
    channels: int
    resize: str = "bilinear"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    own_size: bool = False

    kind: ClassVar[str] = "image"
    signature: ClassVar[str] = "bytes"
    trackables: ClassVar[tuple] = ()

    def __post_init__(self):
        choose("resize method", self.resize, RESIZE_METHODS)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one preprocessed example."""
        return self.height, self.width, self.channels

    def raw_specs(self) -> dict[str, tf.TensorSpec]:
        """What the raw signature takes: `image_bytes`, string `(batch,)`."""
        return {"image_bytes": tf.TensorSpec([None], tf.string, name="image_bytes")}

    def __call__(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        """Raw batch → float32 `(batch, height, width, channels)`. A picture that cannot be decoded fails the batch."""
        return tf.map_fn(
            self.one, raw["image_bytes"], fn_output_signature=tf.TensorSpec(self.shape, tf.float32), name="pictures"
        )

    def one(self, picture: tf.Tensor) -> tf.Tensor:
        """One picture, as encoded bytes or as uint8 or 0..255 float pixels `(h, w, any channels)` → the tensor."""
        if picture.dtype != tf.string:
            return self._scaled(self._resized(self.in_channels(picture), (self.height, self.width)))
        turn = orientation(picture)
        # Resized first: what is turned is small then.
        resized = self._resized(self.decode(picture), upright_size(tf.constant([self.height, self.width]), turn))
        return self._scaled(upright(resized, turn))

    def in_channels(self, pixels: tf.Tensor) -> tf.Tensor:
        """Pixels in 0..255 `(h, w, any channels)` → with the wanted ones: grey becomes colour, and colour grey."""
        if pixels.shape[-1] == self.channels:
            return pixels
        return self.decode(tf.io.encode_png(tf.cast(tf.round(tf.cast(pixels, tf.float32)), tf.uint8)))

    def upright_pixels(self, encoded: tf.Tensor) -> tf.Tensor:
        """Encoded bytes → uint8 `(h, w, channels)`, as the picture is seen."""
        return upright(self.decode(encoded), orientation(encoded))

    def whole(self, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Encoded bytes → the tensor at the picture's own size, its alpha in 0..1, and that size.

        A side has `LEAST_SIDE` pixels at least and the whole `MOST_PIXELS` at most; pictures beyond are resized.

        Returns:
            float32 `(h, w, channels)`; float32 `(H, W, 1)`; int32 `(2,)`, H and W.
        """
        pixels = dataclasses.replace(self, channels=4).upright_pixels(encoded)
        size = tf.shape(pixels)[:2]
        sides = tf.cast(size, tf.float32)
        factor = tf.minimum(1.0, tf.sqrt(MOST_PIXELS / tf.reduce_prod(sides)))
        within = tf.maximum(tf.cast(tf.round(sides * factor), tf.int32), LEAST_SIDE)
        colours = self._resized(pixels[..., : self.channels], within)
        tensor = (colours * self.scale - self.mean) / self.std
        return tensor, tf.cast(pixels[..., 3:], tf.float32) / 255, size

    def _resized(self, pixels, size):
        return tf.cond(
            tf.reduce_all(tf.shape(pixels)[:2] == size),
            lambda: tf.cast(pixels, tf.float32),  # what resizing would give, without its work
            lambda: tf.cast(tf.image.resize(pixels, size, self.resize, antialias=True), tf.float32),
        )

    def _scaled(self, pixels):
        return tf.ensure_shape((pixels * self.scale - self.mean) / self.std, self.shape)

    def unit_of(self, pictures: tf.Tensor) -> tf.Tensor:
        """Preprocessed pictures `(..., channels)` → what they were as 0..1."""
        return (pictures * self.std + self.mean) / (255 * self.scale)

    def of_unit(self, pictures: tf.Tensor) -> tf.Tensor:
        """Pictures of 0..1, `(..., channels)` → preprocessed."""
        return (pictures * (255 * self.scale) - self.mean) / self.std

    def with_channels(self, channels: int) -> "ImagePreprocessing":
        """The same for weights whose first kernel was adapted to other channels.

        Grey: the kernel's average over three colours answers with a third, so the values are three times as large.
        Alpha is scaled to 0..1.
        """
        if channels == self.channels:
            return self
        mean, std = (list(np.broadcast_to(values, self.channels))[:3] for values in (self.mean, self.std))
        if channels == 1:
            mean, std = [sum(mean) / 3], [sum(std) / 9]
        elif self.channels == 1:
            mean, std = mean * 3, std * 3
        if channels == 4:
            mean, std = [*mean, 0.0], [*std, 255 * self.scale]
        return dataclasses.replace(self, channels=channels, mean=tuple(map(float, mean)), std=tuple(map(float, std)))

    def decode(self, encoded: tf.Tensor) -> tf.Tensor:
        """Encoded bytes → uint8 `(h, w, channels)`, as they are stored."""
        if self.channels < 4:
            return tf.io.decode_image(encoded, self.channels, expand_animations=False)

        def opaque():
            rgb = tf.io.decode_jpeg(encoded, 3)
            return tf.concat([rgb, tf.fill(tf.concat([tf.shape(rgb)[:2], [1]], 0), tf.constant(255, tf.uint8))], -1)

        return tf.cond(tf.io.is_jpeg(encoded), opaque, lambda: tf.io.decode_png(encoded, 4))


@dataclass(frozen=True)
class TablePreprocessing:
    """A row of named numbers → float32 `(columns,)`, standardised as (value - mean) / std.

    Attributes:
        columns: names of the columns, in the order of the model's features.
        mean, std: per column, read off the training part; 0 and 1 leave the numbers as they are.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    kind: ClassVar[str] = "table"
    signature: ClassVar[str] = "row"
    trackables: ClassVar[tuple] = ()

    @property
    def shape(self) -> tuple[int]:
        """Shape of one preprocessed example."""
        return (len(self.columns),)

    def raw_specs(self) -> dict[str, tf.TensorSpec]:
        """What the raw signature takes: every column by name, float32 `(batch,)`."""
        return {column: tf.TensorSpec([None], tf.float32, name=column) for column in self.columns}

    def __call__(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        """Raw batch → float32 `(batch, columns)`. A value that is missing (NaN) or infinite fails the batch."""
        rows = tf.stack([raw[column] for column in self.columns], axis=-1)
        return self.one(tf.debugging.check_numerics(rows, "A value of a row is missing or infinite"))

    def one(self, row: tf.Tensor) -> tf.Tensor:
        """Rows in the order of `columns`, float32 `(..., columns)` → standardised."""
        return (row - tf.constant(self.mean, tf.float32)) / tf.constant(self.std, tf.float32)


@dataclass(frozen=True)
class TextPreprocessing:
    """A text → the ids of its tokens, int32 `(length,)`, at most `max_length`.

    Attributes:
        tokenizer: cuts the text, and knows the vocabulary.
        max_length: most tokens, those that mark start and end included.
        too_long: what happens to a text of more: "truncate" keeps its beginning, "refuse" fails the batch.
        marks: "both" puts the vocabulary's start and end around every text; "empty" puts the start where a text has
            no tokens; "none" leaves such a text to padding.
        filled: pad every text to `max_length`, for a model that takes no other; else to the longest of its batch.
        by_word: cut every word, which is what blanks part, by itself, so that it has tokens of its own.
    """

    tokenizer: Tokenizer
    max_length: int
    too_long: str = "truncate"
    marks: str = MARKED
    filled: bool = False
    by_word: bool = False

    kind: ClassVar[str] = "text"
    signature: ClassVar[str] = "text"

    def __post_init__(self):
        choose("too_long", self.too_long, TOO_LONG)
        choose("marks", self.marks, MARKS)
        least = 1 + self._marked
        if self.max_length < least:
            raise ValueError(f"max_length must be at least {least}. Received: {self.max_length}.")

    @property
    def shape(self) -> tuple[int]:
        """Shape of the longest preprocessed example."""
        return (self.max_length,)

    def raw_specs(self) -> dict[str, tf.TensorSpec]:
        """What the raw signature takes: `text`, string `(batch,)`."""
        return {"text": tf.TensorSpec([None], tf.string, name="text")}

    def __call__(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        """Raw batch → int32 `(batch, longest)`, padded at the right. A text without tokens is all padding."""
        return dense(self.tokens(raw["text"]), self.tokenizer.padding, self.max_length if self.filled else 1)

    def tokens(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Texts, string `(batch,)` → int32 `(batch, None)`, of at most `max_length` each."""
        ids = self._of_words(texts)[1].merge_dims(1, 2) if self.by_word else self.tokenizer.encode(texts)
        room = self.max_length - self._marked
        if self.too_long == "refuse":
            longest = tf.reduce_max(tf.concat([ids.row_lengths(), [0]], 0))
            message = f"A text has more tokens than the {room} that there is room for."
            with tf.control_dependencies([tf.debugging.assert_less_equal(longest, tf.cast(room, tf.int64), message)]):
                ids = ids.with_values(tf.identity(ids.values))
        ids = ids[:, :room]
        if self.marks == MARKED:
            start, end = (tf.fill([ids.nrows(), 1], mark) for mark in (self.tokenizer.start, self.tokenizer.end))
            return tf.concat([start, ids, end], axis=1)
        return _with_something(ids, self.tokenizer.start) if self.marks == "empty" else ids

    def words(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """The words of texts, string `(batch, None)`, and the places of their first tokens, int32 `(batch, None)`.

        A word of which `max_length` leaves nothing has the place `max_length`.
        """
        words, ids = self._of_words(texts)
        begins = tf.concat([[0], tf.cumsum(tf.cast(ids.values.row_lengths(), tf.int32))], 0)
        places = begins[:-1] - tf.repeat(tf.gather(begins, words.row_starts()), words.row_lengths())
        kept = places < self.max_length - self._marked
        return words, words.with_values(tf.where(kept, places + self._marked // 2, self.max_length))

    def _of_words(self, texts):
        """Words, string `(batch, None)`, and their ids, int32 `(batch, None, None)`; each has one at least."""
        words = tf.strings.split(valid_utf8(texts))
        unknown = self.tokenizer.start if self.tokenizer.unknown is None else self.tokenizer.unknown
        return words, words.with_values(_with_something(self.tokenizer.encode(words.values), unknown))

    @property
    def _marked(self) -> int:
        """Tokens of a text that are marks."""
        return 2 if self.marks == MARKED else 0

    @property
    def trackables(self) -> tuple:
        """What an export must keep beside the model: the vocabulary's tables."""
        return tuple(self.tokenizer.trackables)


def dense(rows: tf.RaggedTensor, fill: int | None = None, least: int = 1) -> tf.Tensor:
    """Ragged `(batch, None, …)` → `(batch, longest, …)`; one column at least: what reads a sequence needs something."""
    width = tf.reduce_max(tf.concat([rows.row_lengths(), [least]], 0))
    inner = tf.shape(rows.flat_values, tf.int64)[1:]
    return rows.to_tensor(fill, shape=tf.concat([[rows.nrows(), width], inner], 0))


def _with_something(ids: tf.RaggedTensor, token: int) -> tf.RaggedTensor:
    """Ids `(n, None)`, with one token in every row that has none."""
    tokens = tf.RaggedTensor.from_tensor(tf.fill([ids.nrows(), 1], token))
    return tf.concat([tf.ragged.boolean_mask(tokens, ids.row_lengths()[:, tf.newaxis] == 0), ids], axis=1)


@dataclass(frozen=True)
class LatentPreprocessing:
    """A seed and a count → so many latents float32 `(latent_dim,)`, drawn from N(0, 1).

    Latent number i of a seed depends on the two alone: whatever the count, and whatever else is in the batch.

    Attributes:
        latent_dim: numbers of a latent.
    """

    latent_dim: int

    kind: ClassVar[str] = "latent"
    signature: ClassVar[str] = "generate"
    trackables: ClassVar[tuple] = ()

    @property
    def shape(self) -> tuple[int]:
        """Shape of one latent."""
        return (self.latent_dim,)

    def raw_specs(self) -> dict[str, tf.TensorSpec]:
        """What the raw signature takes: `seed` and `count`, int64 `(batch,)`."""
        return {name: tf.TensorSpec([None], tf.int64, name=name) for name in ("seed", "count")}

    def __call__(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        """Raw batch → the first latent of each, float32 `(batch, latent_dim)`."""
        return self._drawn(raw["seed"], tf.zeros_like(raw["seed"]))

    def several(self, raw: dict[str, tf.Tensor]) -> tf.RaggedTensor:
        """Raw batch → all latents of each, float32 `(batch, None, latent_dim)`.

        Raises:
            tf.errors.InvalidArgumentError: a count that is not 1 to `MOST_PICTURES`.
        """
        count = raw["count"]
        legal = tf.reduce_all((count >= 1) & (count <= MOST_PICTURES))
        check = tf.debugging.Assert(legal, [f"count must be 1 to {MOST_PICTURES}. Received:", count])
        with tf.control_dependencies([check] if check is not None else []):
            places = tf.ragged.range(tf.identity(count))
        return places.with_values(self._drawn(tf.repeat(raw["seed"], count), places.values))

    def _drawn(self, seeds, places):
        def one(pair):
            return tf.random.stateless_normal([self.latent_dim], pair, alg="philox")

        pairs = tf.stack([seeds, tf.cast(places, seeds.dtype)], axis=1)
        return tf.map_fn(one, pairs, fn_output_signature=tf.TensorSpec(self.shape, tf.float32), name="latents")


Preprocessing = ImagePreprocessing | LatentPreprocessing | TablePreprocessing | TextPreprocessing
_KINDS = {kind.kind: kind for kind in (ImagePreprocessing, LatentPreprocessing, TablePreprocessing)}


def save(preprocessing: Preprocessing, folder: Path) -> dict[str, Any]:
    """Write what is too large for a record, the vocabulary, into a folder; return the record as JSON values."""
    if preprocessing.kind != TextPreprocessing.kind:
        return {"kind": preprocessing.kind, **dataclasses.asdict(preprocessing)}
    preprocessing.tokenizer.save(folder)
    fields = {field.name: getattr(preprocessing, field.name) for field in dataclasses.fields(preprocessing)}
    return {"kind": preprocessing.kind, **fields, "tokenizer": preprocessing.tokenizer.to_json()}


def load(record: dict[str, Any], folder: Path) -> Preprocessing:
    """The preprocessing that `save` wrote."""
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items() if k != "kind"}
    choose("preprocessing", record["kind"], [*_KINDS, TextPreprocessing.kind])
    if record["kind"] == TextPreprocessing.kind:
        return TextPreprocessing(**{**fields, "tokenizer": tokenizers.load(folder, record["tokenizer"])})
    return _KINDS[record["kind"]](**fields)

"""Style transfer: pictures in the style of one."""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from recipes import licenses, parts_of_loss, stylizing
from recipes.answers import PictureAnswer
from recipes.batches import objects
from recipes.config import StyleConfig
from recipes.examples import Examples, to_png
from recipes.pipeline import Reading, prepare
from recipes.preprocessing import ImagePreprocessing
from recipes.recipe import takes
from recipes.stylizing import PARTS, StylizingTraining
from recipes.tasks.task import Task
from recipes.training import train

STYLE_FILE = "style.png"
CHANNELS = 3
EXAMPLES = 16
LARGEST_EXAMPLE = 320  # pixels of a side
AT_ONCE = 16


@takes(StyleConfig)
def style_transfer(model, data, config):
    """Train a network to give any picture the style of one, in a single pass.

    What it makes is compared with the picture by what it shows, and with the style by how feature maps go together,
    both in the eyes of VGG-16 (Johnson, Alahi, Fei-Fei 2016). The Run keeps the style as `style.png`.

    Args:
        model: a registry name, or a `keras.Model` from pictures in 0..1 `(batch, height, width, 3)`, of any size, to
            such of the same size, which is trained in place.
        data: a TFDS name (such as `photographs`), a folder of pictures, an array of them, or a `tf.data.Dataset`.

    Returns:
        A Run. Figures, averaged over the test part at the training's size: `content`, `style` and `variation`, the
        parts of the loss, and `style_before`, that of the pictures as they were.

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when the loss becomes NaN.
        OSError: published weights of VGG-16 cannot be fetched.
    """
    return train(StyleTransfer, model, data, config)


class StyleTransfer(Task):
    """Pictures of one size in training, of any when served."""

    name = "style-transfer"
    num_classes = None
    distributes = False

    def preprocessing(self, model):
        return ImagePreprocessing(*self.config.image_size, CHANNELS, own_size=True)

    def builder_arguments(self, spec, preprocessing):
        return {"input_shape": (None, None, CHANNELS)}

    def make_answer(self, model):
        shapes = {model.input_shape[1:], model.output_shape[1:]}
        if shapes != {(None, None, CHANNELS)}:
            raise ValueError(
                f"{model.name!r} makes {model.output_shape[1:]} of {model.input_shape[1:]}. Accepted: pictures of any "
                f"size, (None, None, {CHANNELS}), of the same."
            )
        return PictureAnswer()

    def encode(self, y):
        return y

    def part(self, name, preprocessing, encode):
        """Squares cut of the pictures of a part; or each as it is, resized."""
        raw, crops = self.data.parts[name].map(lambda x, y: (self._pixels(x, preprocessing), y)), self.config.crops
        if crops:
            numbered = raw.enumerate().flat_map(lambda i, xy: self._cut(i, *xy, crops))
            raw = numbered.apply(tf.data.experimental.assert_cardinality(self.data.sizes[name] * crops))
        return prepare(
            raw,
            self.data.sizes[name] * max(crops, 1),
            Reading(lambda x, y: (preprocessing.one(x), y)),
            bytes_per_example=4 * int(np.prod(preprocessing.shape)),
        )

    def _pixels(self, x, preprocessing):
        """Raw x → pixels of three colours in 0..255, `(height, width, 3)`, upright."""
        if x.dtype == tf.string:
            return preprocessing.upright_pixels(x)
        return preprocessing.in_channels(self.levels(x))

    def _cut(self, number, pixels, y, crops):
        """So many squares, drawn by the run's seed and the picture's number: their sides from the training's on."""
        size = tf.shape(pixels)[:2]
        least = tf.minimum(tf.reduce_min(size), min(self.config.image_size))

        def one(i):
            draw = tf.random.stateless_uniform([3], [self.config.seed, tf.cast(number, tf.int32) * crops + i])
            side = least + tf.cast(draw[0] * tf.cast(tf.reduce_min(size) - least + 1, tf.float32), tf.int32)
            top, left = tf.unstack(tf.cast(draw[1:] * tf.cast(size - side + 1, tf.float32), tf.int32))
            return pixels[top : top + side, left : left + side], y

        return tf.data.Dataset.range(crops, output_type=tf.int32).map(one)

    @functools.cached_property
    def seeing(self) -> keras.Model:
        """By whose eyes pictures are compared."""
        return stylizing.perception(self.config.perception, self.config.perception_args)

    @functools.cached_property
    def grams(self) -> list[np.ndarray]:
        """Of the style."""
        if not (self.folder / STYLE_FILE).exists():
            picture = stylizing.read_picture(self.config.style, min(self.config.image_size))
            (self.folder / STYLE_FILE).write_bytes(to_png(picture))
        return stylizing.style_of(self.seeing, stylizing.read_picture(self.folder / STYLE_FILE))

    def licenses(self):
        """With those of the style, and of the eyes."""
        style, perception = str(self.config.style), self.config.perception
        shipped = stylizing.SHIPPED.get(style)
        of_style = licenses.record(
            licenses.DATA, f"style {style}", shipped and shipped.licence, shipped and shipped.package
        )
        of_eyes = [] if perception == stylizing.RANDOM else licenses.of_weights(stylizing.NETWORK, perception)
        return [*super().licenses(), of_style, *of_eyes]

    def in_training(self, network, preprocessing):
        return StylizingTraining(network, self.seeing, self.grams), None

    def loss(self):
        config = self.config
        return parts_of_loss.SumOfParts([config.content_weight, config.style_weight, config.variation_weight])

    def metrics(self):
        return parts_of_loss.parts(*PARTS)

    def at_once(self, preprocessing):
        return min(AT_ONCE, self.config.batch_size)

    def answers(self, bundle):
        """The parts of the loss of every test picture with the style and without, `(n, 3)` each."""
        part = self.part(self.data.evaluated_on, bundle.preprocessing, self.encode)
        after, before = [], []
        for x, _ in part.batches(self.at_once(bundle.preprocessing)).as_numpy_iterator():
            made = bundle.model.predict_on_batch(x)
            for found, pictures in ((after, made), (before, x)):
                found.append(ops.convert_to_numpy(stylizing.parts_of_loss(self.seeing, self.grams, pictures, x)))
        return {"after": np.concatenate(after), "before": np.concatenate(before)}, None

    def figures(self, answers, y):
        found = dict(zip(PARTS, answers["after"].mean(axis=0).tolist(), strict=True))
        return found | {"style_before": float(answers["before"][:, PARTS.index("style")].mean())}

    def examples(self):
        """Test pictures at their own sizes, the large ones made smaller."""
        raw = []
        preprocessing = self.preprocessing(None)
        for x, _ in self.data.parts[self.data.evaluated_on].take(EXAMPLES):
            pixels = tf.cast(self._pixels(x, preprocessing), tf.float32)
            factor = min(1.0, LARGEST_EXAMPLE / max(pixels.shape[:2]))
            size = [max(1, round(side * factor)) for side in pixels.shape[:2]]
            raw.append(to_png(tf.clip_by_value(tf.image.resize(pixels, size, antialias=True), 0, 255).numpy() / 255))
        return Examples({"image_bytes": objects(raw)}, np.full(len(raw), "", object), "")

"""Style: what a network that gives pictures a style learns by, and the optimisation of a single picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from recipes import backend, initial_weights
from recipes.data.pictures import examine
from recipes.datasets import photographs
from recipes.orientation import orientation, upright
from recipes.preprocessing import ImagePreprocessing
from zoo import perceptual
from zoo.nearest import choose

PARTS = ("content", "style", "variation")
CONTENT = 2  # of the layers that answer, the one whose maps are what a picture shows: relu3_3 of VGG-16
NETWORK = "vgg16"
RANDOM = "random"
SHIPPED = {**photographs.COLOUR, **photographs.TEXTURES}
LEAST = 16  # pixels of a side that the loss network needs


def perception(weights: str, arguments: Mapping[str, Any] = {}) -> keras.Model:
    """The network by whose eyes content and style are compared: VGG-16, answering after four of its stages.

    Args:
        weights: "imagenet", a weights file or a Run's folder; or "random", which are the same ones always.
        arguments: of the builder, such as `widths`.

    Raises:
        ValueError: no such weights.
        OSError: published weights cannot be fetched.
    """
    if weights == RANDOM:
        network = perceptual.loss_network(NETWORK, **arguments)
        draw = np.random.RandomState(0)  # the same ones always, so that figures can be compared
        for weight in network.weights:
            if len(weight.shape) == 4:  # He's rule
                weight.assign(draw.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape))
        return network
    own = initial_weights.preprocessing_of(NETWORK, weights, ImagePreprocessing)
    pixels = own and {"scale": own.scale, "mean": _of_colours(own.mean), "std": _of_colours(own.std)}
    return perceptual.loss_network(NETWORK, weights, pixels=pixels or {"scale": 1 / 255}, **arguments)


def _of_colours(values):
    return tuple(np.broadcast_to(values, perceptual.COLOURS).tolist())


def read_picture(given: str | Path, shorter: int | None = None) -> np.ndarray:
    """A picture, float32 `(height, width, 3)` in 0..1, upright.

    Args:
        given: a PNG or JPEG file, or the name of one of `recipes.datasets.photographs`.
        shorter: its shorter side in pixels; None as it is.

    Raises:
        ValueError: no such file or photograph, or an unreadable one.
    """
    path = Path(given)
    if path.is_file():
        content = path.read_bytes()
        try:
            examine(content)
        except ValueError as error:
            raise ValueError(f"{path} is no picture that can be read: {error}.") from None
        stored = tf.io.decode_image(content, 3, expand_animations=False)
        pixels = upright(stored, orientation(tf.constant(content)))
    else:
        if path.suffix or len(path.parts) > 1:
            raise ValueError(f"There is no file {str(given)!r}. Accepted: a PNG or JPEG file, or {', '.join(SHIPPED)}.")
        pixels = photographs.read(SHIPPED[choose("picture", str(given), SHIPPED)])
    unit = tf.cast(pixels, tf.float32) / 255
    if unit.shape[-1] == 1:
        unit = tf.repeat(unit, 3, axis=-1)
    if shorter is not None:
        height, width = unit.shape[:2]
        factor = shorter / min(height, width)
        unit = tf.image.resize(unit, (round(height * factor), round(width * factor)), "bicubic", antialias=True)
    return np.clip(unit.numpy(), 0, 1)


def style_of(network: keras.Model, picture: np.ndarray) -> list[np.ndarray]:
    """The Gram matrices of a picture `(height, width, 3)` in 0..1, `(1, n, n)` each."""
    return [ops.convert_to_numpy(perceptual.gram_matrix(maps)) for maps in network(picture[np.newaxis])]


def parts_of_loss(network: keras.Model, grams: list, pictures, shown):
    """How far pictures are from what they should show and from a style: `(batch, 3)`, see `PARTS`.

    Johnson et al. 2016, §3.2.

    Args:
        network: of `perception`.
        grams: of the style.
        pictures: what is judged, `(batch, height, width, 3)` in 0..1.
        shown: what they should show, likewise.
    """
    seen, target = network(pictures), network(shown)[CONTENT]
    style = sum(perceptual.style_loss(maps, gram) for maps, gram in zip(seen, grams, strict=True))
    return ops.stack(
        [perceptual.content_loss(seen[CONTENT], target), style, perceptual.total_variation(pictures)], axis=-1
    )


class StylizingTraining(keras.Model):
    """Pictures in 0..1 → the parts of the loss of what the network makes of them, `(batch, 3)`: see `PARTS`."""

    def __init__(self, network: keras.Model, seeing: keras.Model, grams: list):
        super().__init__(name="stylizing_training")
        self.network, self.seeing, self.grams = network, seeing, grams
        self.built = True

    def call(self, pictures, training=False):
        return parts_of_loss(self.seeing, self.grams, self.network(pictures, training=training), pictures)


def stylize(
    content: str | Path,
    style: str | Path,
    *,
    size: int = 256,
    steps: int = 200,
    content_weight: float = 1.0,
    style_weight: float = 5.0,
    variation_weight: float = 1.0,
    learning_rate: float = 0.02,
    perception_weights: str = "imagenet",
    perception_args: Mapping[str, Any] | None = None,
    path: str | Path | None = None,
) -> np.ndarray:
    """Change one picture until it has a style: the optimisation of Gatys, Ecker, Bethge (2015), by Adam.

    It begins with the picture itself.

    Args:
        content, style: pictures: PNG or JPEG files, or names of `recipes.datasets.photographs`.
        size: shorter side of both in pixels.
        steps: of the optimisation.
        content_weight, style_weight, variation_weight: of the parts of the loss, see `recipes.style_transfer`.
        learning_rate: of Adam.
        perception_weights, perception_args: see `perception`.
        path: where to write the PNG.

    Returns:
        float32 `(height, width, 3)` in 0..1.

    Raises:
        ValueError: unreadable pictures, sizes or steps that are not positive, no such weights, or a backend other than
            TensorFlow.
        OSError: published weights cannot be fetched.
    """
    backend.check("The optimisation of a picture")
    for name, value, least in (("size", size, LEAST), ("steps", steps, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}. Received: {value!r}.")
    shown, wanted = read_picture(content, size)[np.newaxis], read_picture(style, size)
    network = perception(perception_weights, perception_args or {})
    grams = style_of(network, wanted)
    picture = tf.Variable(shown)
    weights = tf.constant([content_weight, style_weight, variation_weight], tf.float32)
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build([picture])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(parts_of_loss(network, grams, picture, tf.constant(shown))[0] * weights)
        optimizer.apply([tape.gradient(loss, picture)], [picture])
        picture.assign(tf.clip_by_value(picture, 0.0, 1.0))

    for _ in range(steps):
        step()
    found = picture.numpy()[0]
    if path is not None:
        Path(path).write_bytes(tf.io.encode_png(tf.cast(tf.round(found * 255), tf.uint8)).numpy())
    return found

"""The generative adversarial network: a generator and the discriminator that it is trained to deceive.

Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio, "Generative Adversarial Nets" (2014), §3
and §5. The sizes are those of the authors' code for MNIST (github.com/goodfeli/adversarial, mnist.yaml):

            generator (served)               discriminator (its partner)
    input   latent, 100                      picture 28x28, dropout 0.2
    stage1  1200 units, ReLU                 240 maxout units of 5 pieces, dropout 0.5
    stage2  1200 units, ReLU                 240 maxout units of 5 pieces, dropout 0.5
    head    784 pixels, sigmoid              1 logit: how real the picture is
            2,503,984 parameters             1,231,441 parameters

The code's sigmoid gives pixels in 0..1; ours is stretched to -1..1, so that all generators give the same range. Kernels
start by Glorot's rule: between the 1200 units of the generator that is ±0.05, as in the code.

What networks that generate pictures share: the last two layers of the generator are `logits`, before the squashing, and
`image`, behind it. Latents are drawn by whoever asks, as they were in training; the authors drew them from N(0, 1).
"""

import math
from collections.abc import Sequence
from numbers import Integral

import keras
from keras import layers, ops

from zoo.registry import CHANNELS, check_count, check_input_shape, register

PAPER = "Goodfellow et al., Generative Adversarial Nets, 2014"
TINY = {
    "input_shape": (8,),
    "image_shape": (16, 16, 1),
    "hidden_sizes": (16, 16),
    "discriminator_sizes": (8,),
    "pieces": 2,
    "input_dropout": 0.0,
    "dropout": 0.0,
}


@keras.saving.register_keras_serializable("zoo")
def stretched_sigmoid(logits):
    """`2 sigmoid(logits) - 1`: the value in -1..1 of a pixel that is on with probability `sigmoid(logits)`."""
    return ops.tanh(logits / 2)


@keras.saving.register_keras_serializable("zoo")
class Maxout(layers.Layer):
    """The largest of every `pieces` neighbours on the last axis: `(batch, …, n * pieces)` → `(batch, …, n)`.

    Goodfellow, Warde-Farley, Mirza, Courville, Bengio, "Maxout Networks" (2013), §2. The linear functions, of which it
    takes the largest, are the dense layer's before it.

    Args:
        pieces: neighbours that belong to one unit.

    Raises:
        ValueError: `pieces` is not positive, or the last axis is no multiple of it.
    """

    def __init__(self, pieces, **kwargs):
        super().__init__(**kwargs)
        if pieces < 1:
            raise ValueError(f"The pieces of a maxout unit must be at least 1. Received: {pieces!r}.")
        self.pieces = pieces
        self.built = True

    def call(self, x):
        units = self.compute_output_shape(x.shape)[-1]
        return ops.max(ops.reshape(x, (*ops.shape(x)[:-1], units, self.pieces)), axis=-1)

    def compute_output_shape(self, input_shape):
        if input_shape[-1] % self.pieces:
            raise ValueError(
                f"Maxout of {self.pieces} pieces takes a last axis of a multiple of {self.pieces}. "
                f"Received: {tuple(input_shape)}."
            )
        return (*input_shape[:-1], input_shape[-1] // self.pieces)

    def get_config(self):
        return {**super().get_config(), "pieces": self.pieces}


def check_shapes(name: str, input_shape: Sequence[int], image_shape: Sequence[int]) -> None:
    """Raise ValueError unless latents are `(latent_dim,)` and pictures `(height, width, 1 | 3 | 4)`, all positive."""
    check_input_shape(name, input_shape, min_size=0)
    if len(input_shape) != 1:
        raise ValueError(f"input_shape of {name!r} must be (latent_dim,). Received: {tuple(input_shape)}.")
    is_shape = isinstance(image_shape, (tuple, list)) and all(isinstance(n, Integral) and n > 0 for n in image_shape)
    if not is_shape or len(image_shape) != 3 or image_shape[-1] not in CHANNELS:
        raise ValueError(
            f"image_shape of {name!r} must be (height, width, channels): positive integers, the channels 1, 3 or 4. "
            f"Received: {image_shape!r}."
        )


def check_sizes(name: str, argument: str, sizes: Sequence[int]) -> None:
    """Raise ValueError unless the argument of a builder holds the units of at least one layer."""
    if not isinstance(sizes, (tuple, list)) or not sizes:
        raise ValueError(f"{argument} of {name!r} must be a tuple of at least one number. Received: {sizes!r}.")
    for size in sizes:
        check_count(name, f"each of {argument}", size)


def pixels(x, image_shape):
    """The layers from a row of units to `logits`, one for every pixel and channel."""
    x = layers.Dense(math.prod(image_shape), dtype="float32", name="head_pixels")(x)
    return layers.Reshape(tuple(image_shape), dtype="float32", name="logits")(x)


def discriminator(
    input_shape=(100,),
    *,
    image_shape=(28, 28, 1),
    hidden_sizes=(1200, 1200),
    discriminator_sizes=(240, 240),
    pieces=5,
    input_dropout=0.2,
    dropout=0.5,
):
    """The partner of `gan`, which takes the same arguments.

    Returns:
        `image` float32 `(batch, *image_shape)` in -1..1 → logits float32 `(batch, 1)`, positive where it looks real.
    """
    name = "gan_discriminator"
    check_shapes(name, input_shape, image_shape)
    check_sizes(name, "discriminator_sizes", discriminator_sizes)
    check_count(name, "pieces", pieces)
    image = keras.Input(image_shape, name="image")
    x = layers.Flatten(name="flatten")(image)
    if input_dropout:
        x = layers.Dropout(input_dropout, name="flatten_dropout")(x)
    for i, size in enumerate(discriminator_sizes, 1):
        x = layers.Dense(size * pieces, name=f"stage{i}_dense")(x)
        x = Maxout(pieces, name=f"stage{i}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"stage{i}_dropout")(x)
    x = layers.Dense(1, dtype="float32", name="logits")(x)
    return keras.Model(image, x, name=name)


@register(task="image-generation", paper=PAPER, tiny=TINY, partner=discriminator)
def gan(
    input_shape=(100,),
    *,
    image_shape=(28, 28, 1),
    hidden_sizes=(1200, 1200),
    discriminator_sizes=(240, 240),
    pieces=5,
    input_dropout=0.2,
    dropout=0.5,
    include_top=True,
    name="gan",
):
    """Fully connected layers from noise to a picture: the first adversarial network, for MNIST.

    Args:
        input_shape: `(latent_dim,)`.
        image_shape: `(height, width, channels)` of the picture, of any size.
        hidden_sizes: units of each hidden layer of the generator.
        discriminator_sizes, pieces: maxout units of each hidden layer of the discriminator, and the linear functions of
            each unit.
        input_dropout, dropout: rates of dropout in the discriminator, of pixels and of hidden units.
        include_top: `False` gives the last hidden layer.
        name: name of the model.

    Returns:
        `latent` float32 `(batch, latent_dim)` → `image` float32 `(batch, *image_shape)` in -1..1.
    """
    check_shapes(name, input_shape, image_shape)
    check_sizes(name, "hidden_sizes", hidden_sizes)
    latent = keras.Input(input_shape, name="latent")
    x = latent
    for i, size in enumerate(hidden_sizes, 1):
        x = layers.Dense(size, "relu", name=f"stage{i}")(x)
    if include_top:
        x = pixels(x, image_shape)
        x = layers.Activation(stretched_sigmoid, dtype="float32", name="image")(x)
    return keras.Model(latent, x, name=name)

"""The variational auto-encoder: a decoder from latents to pictures, and the encoder that it is trained with.

Kingma, Welling, "Auto-Encoding Variational Bayes", ICLR (2014). The decoder gives every pixel's probability to be on
(appendix C.1), the encoder mean and log variance of the latents that belong to a picture (appendix C.2). The paper's
networks are perceptrons of one hidden layer with tanh, `hidden_sizes=(500,)` for MNIST. By default ours are
convolutional, 4x4 with stride 2, biases and ReLU:

            decoder (served)                            encoder (its partner)
            latent, 16                                  28x28x1
    stage1   7x7x64  dense                              14x14x32  convolution
    stage2  14x14x32 transposed convolution              7x7x64   convolution
    head    28x28x1  transposed convolution, sigmoid    32        dense: 16 means, 16 log variances
            86,625 parameters                           133,760 parameters

Their sizes are those of `dcgan`: both sides are halved as often as they can be, down to 3 to 7 pixels. Perceptrons take
pictures of any size.

A pixel is served in -1..1, as 2 p - 1. Training wants the logit of p: layer `logits`. Latents are drawn from N(0, 1).
"""

import math

import keras
from keras import layers

from zoo.architectures.dcgan import grid_of
from zoo.architectures.gan import check_shapes, check_sizes, pixels, stretched_sigmoid
from zoo.registry import check_count, register

PAPER = "Kingma, Welling, Auto-Encoding Variational Bayes, 2013"
TINY = {"input_shape": (4,), "image_shape": (16, 16, 1), "width": 8}


def _conv(kind, maps, name, **kwargs):
    return kind(maps, 4, 2, "same", name=name, **kwargs)


def _check(name, input_shape, image_shape, width, hidden_sizes):
    check_shapes(name, input_shape, image_shape)
    check_count(name, "width", width)
    if hidden_sizes:
        check_sizes(name, "hidden_sizes", hidden_sizes)


def _perceptron(x, hidden_sizes):
    for i, size in enumerate(hidden_sizes, 1):
        x = layers.Dense(size, "tanh", name=f"stage{i}")(x)
    return x


def _enlarged(latent, name, image_shape, width):
    grid, doublings = grid_of(name, image_shape)
    maps = width * 2 ** (doublings - 1)
    x = layers.Dense(math.prod(grid) * maps, "relu", name="stage1_dense")(latent)
    x = layers.Reshape((*grid, maps), name="stage1")(x)
    for i in range(2, doublings + 1):
        maps //= 2
        x = _conv(layers.Conv2DTranspose, maps, f"stage{i}", activation="relu")(x)
    return x


def encoder(input_shape=(16,), *, image_shape=(28, 28, 1), width=32, hidden_sizes=()):
    """The partner of `vae`, which takes the same arguments.

    Returns:
        `image` float32 `(batch, *image_shape)` in -1..1 → float32 `(batch, 2 * latent_dim)`: the means of the latents,
        then the logarithms of their variances.
    """
    name = "vae_encoder"
    _check(name, input_shape, image_shape, width, hidden_sizes)
    image = keras.Input(image_shape, name="image")
    x = image
    if hidden_sizes:
        x = layers.Flatten(name="flatten")(x)
        x = _perceptron(x, reversed(hidden_sizes))
    else:
        _, halvings = grid_of(name, image_shape)
        for i in range(1, halvings + 1):
            x = _conv(layers.Conv2D, width * 2 ** (i - 1), f"stage{i}", activation="relu")(x)
        x = layers.Flatten(name="head_flatten")(x)
    x = layers.Dense(2 * input_shape[0], dtype="float32", name="posterior")(x)
    return keras.Model(image, x, name=name)


@register(task="image-generation", paper=PAPER, tiny=TINY, partner=encoder)
def vae(input_shape=(16,), *, image_shape=(28, 28, 1), width=32, hidden_sizes=(), include_top=True, name="vae"):
    """The decoder of a variational auto-encoder, by default for pictures of 28x28.

    Args:
        input_shape: `(latent_dim,)`.
        image_shape: `(height, width, channels)` of the picture; see the module for the sizes there are.
        width: maps of the largest stage, in both networks; every stage that is half as large has twice as many.
        hidden_sizes: units of each hidden layer of the decoder, from the latents on, and of the encoder the other way
            round, for the perceptrons of the paper; with `()` the networks are convolutional.
        include_top: `False` gives the last stage, before the pixels.
        name: name of the model.

    Returns:
        `latent` float32 `(batch, latent_dim)` → `image` float32 `(batch, *image_shape)` in -1..1. Layer `logits`:
        float32 of the same shape, of which the sigmoid is the probability that the pixel is on.
    """
    _check(name, input_shape, image_shape, width, hidden_sizes)
    latent = keras.Input(input_shape, name="latent")
    x = _perceptron(latent, hidden_sizes) if hidden_sizes else _enlarged(latent, name, image_shape, width)
    if include_top:
        if hidden_sizes:
            x = pixels(x, image_shape)
        else:
            x = _conv(layers.Conv2DTranspose, image_shape[-1], "logits", dtype="float32")(x)
        x = layers.Activation(stretched_sigmoid, dtype="float32", name="image")(x)
    return keras.Model(latent, x, name=name)

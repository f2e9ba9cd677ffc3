"""DCGAN: an adversarial pair of convolutions.

Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
ICLR (2016), §3 and figure 1, in the widths of the reference implementations (`width` 64; the figure's are twice as
many):

            generator (served)                          discriminator (its partner)
            latent, 100                                 64x64x3
    stage1   4x4x512   dense                            32x32x64    convolution, no batch normalisation
    stage2   8x8x256   transposed convolution           16x16x128   convolution
    stage3  16x16x128  transposed convolution            8x8x256    convolution
    stage4  32x32x64   transposed convolution            4x4x512    convolution
    head    64x64x3    transposed convolution, tanh      1 logit    dense
            3,576,704 parameters                        2,765,568 parameters

All convolutions are 4x4 with stride 2 and have no bias. Batch normalisation follows each layer but the generator's last
and the discriminator's first and last; then ReLU in the generator, in the discriminator leaky ReLU with slope 0.2. All
kernels begin normal with deviation 0.02 (§4), the gains of batch normalisation around 1 with the same deviation, as in
the authors' code (github.com/Newmu/dcgan_code).

Pictures of other sizes have more stages or fewer, `width` maps in the largest: both sides are halved as often as they
can be, down to 3 to 7 pixels. 28x28 starts at 7x7 and has two stages; 32x32 starts at 4x4 and has three; 48x64 starts
at 3x4 and has four.
"""

import math

import keras
from keras import initializers, layers

from zoo.architectures.gan import check_shapes
from zoo.registry import check_count, register

PAPER = (
    "Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks, 2015"
)
DEVIATION = 0.02
SMALLEST, LARGEST = 3, 7
"""Height and width at which the generator starts, in pixels."""
SLOPE = 0.2
TINY = {"input_shape": (8,), "image_shape": (16, 16, 1), "width": 8}


def grid_of(name: str, image_shape) -> tuple[tuple[int, int], int]:
    """The grid, height and width, at which a picture starts, and how often it is doubled from there.

    Raises:
        ValueError: no grid of 3 to 7 pixels a side becomes a picture of that size.
    """
    height, width = image_shape[:2]
    for doublings in range(min(height, width).bit_length(), 0, -1):
        size = 2**doublings
        grid = (height // size, width // size)
        if not height % size and not width % size and min(grid) >= SMALLEST and max(grid) <= LARGEST:
            return grid, doublings
    raise ValueError(
        f"Height and width of image_shape of {name!r} must each be {SMALLEST} to {LARGEST} pixels, doubled equally "
        f"often and at least once: for instance 28x28 (7x7, doubled twice), 32x32 (4x4, three times) or 48x64 (3x4, "
        f"four times). Received: {tuple(image_shape)}."
    )


def _init(mean=0.0):
    return initializers.RandomNormal(mean, DEVIATION)


def _batch_norm(name):
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=_init(1.0), name=name)


def _conv(kind, maps, name, **kwargs):
    return kind(maps, 4, 2, "same", use_bias=False, kernel_initializer=_init(), name=name, **kwargs)


def generator(input_shape, image_shape, width, *, include_top, name):
    """The generator of the table, for this file and those that train it otherwise."""
    check_shapes(name, input_shape, image_shape)
    check_count(name, "width", width)
    grid, doublings = grid_of(name, image_shape)
    latent = keras.Input(input_shape, name="latent")
    maps = width * 2 ** (doublings - 1)
    x = layers.Dense(math.prod(grid) * maps, use_bias=False, kernel_initializer=_init(), name="stage1_dense")(latent)
    x = layers.Reshape((*grid, maps), name="stage1_reshape")(x)
    x = _batch_norm("stage1_bn")(x)
    x = layers.ReLU(name="stage1")(x)
    for i in range(2, doublings + 1):
        maps //= 2
        x = _conv(layers.Conv2DTranspose, maps, f"stage{i}_conv")(x)
        x = _batch_norm(f"stage{i}_bn")(x)
        x = layers.ReLU(name=f"stage{i}")(x)
    if include_top:
        x = _conv(layers.Conv2DTranspose, image_shape[-1], "logits", dtype="float32")(x)
        x = layers.Activation("tanh", dtype="float32", name="image")(x)
    return keras.Model(latent, x, name=name)


def judge(input_shape, image_shape, width, *, norm, name):
    """The discriminator of the table.

    Args:
        norm: name → layer that normalises the maps of every stage but the first.
    """
    check_shapes(name, input_shape, image_shape)
    check_count(name, "width", width)
    _, halvings = grid_of(name, image_shape)
    image = keras.Input(image_shape, name="image")
    x = image
    for i in range(1, halvings + 1):
        x = _conv(layers.Conv2D, width * 2 ** (i - 1), f"stage{i}_conv")(x)
        if i > 1:
            x = norm(f"stage{i}_norm")(x)
        x = layers.LeakyReLU(SLOPE, name=f"stage{i}")(x)
    x = layers.Flatten(name="head_flatten")(x)
    x = layers.Dense(1, use_bias=False, kernel_initializer=_init(), dtype="float32", name="logits")(x)
    return keras.Model(image, x, name=name)


def discriminator(input_shape=(100,), *, image_shape=(64, 64, 3), width=64):
    """The partner of `dcgan`, which takes the same arguments.

    Returns:
        `image` float32 `(batch, *image_shape)` in -1..1 → logits float32 `(batch, 1)`, positive where it looks real.
    """
    return judge(input_shape, image_shape, width, norm=_batch_norm, name="dcgan_discriminator")


@register(task="image-generation", paper=PAPER, tiny=TINY, partner=discriminator)
def dcgan(input_shape=(100,), *, image_shape=(64, 64, 3), width=64, include_top=True, name="dcgan"):
    """The adversarial pair of convolutions, by default for pictures of 64x64.

    Args:
        input_shape: `(latent_dim,)`.
        image_shape: `(height, width, channels)` of the picture; see the module for the sizes there are.
        width: maps of the largest stage, in both networks; every stage that is half as large has twice as many.
        include_top: `False` gives the maps of the last stage, half as large as the picture.
        name: name of the model.

    Returns:
        `latent` float32 `(batch, latent_dim)` → `image` float32 `(batch, *image_shape)` in -1..1.
    """
    return generator(input_shape, image_shape, width, include_top=include_top, name=name)

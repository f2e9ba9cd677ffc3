"""WGAN-GP: DCGAN's generator, trained by a critic whose gradient is kept at norm 1.

Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville, "Improved Training of Wasserstein GANs", NIPS (2017), §4: the critic
does without batch normalisation, since the penalty is on the gradient at each example alone; layer normalisation is
recommended in its place. So the networks are those of `dcgan`, and the critic's normalisation is over all maps and
places of one example, with a gain and a bias for every map, as in the authors' code
(github.com/igul222/improved_wgan_training). What the critic gives is no logit of a probability, but a value without
bounds.
"""

from keras import layers

from zoo.architectures import dcgan
from zoo.registry import register

PAPER = "Gulrajani et al., Improved Training of Wasserstein GANs, 2017"
TINY = {**dcgan.TINY, "width": 6}
"""Not DCGAN's: the same generator, but tests must train it with its own partner."""


def _layer_norm(name):
    return layers.GroupNormalization(groups=1, epsilon=1e-5, name=name)


def critic(input_shape=(100,), *, image_shape=(64, 64, 3), width=64):
    """The partner of `wgan_gp`, which takes the same arguments.

    Returns:
        `image` float32 `(batch, *image_shape)` in -1..1 → its value float32 `(batch, 1)`, larger where it looks real.
    """
    return dcgan.judge(input_shape, image_shape, width, norm=_layer_norm, name="wgan_gp_critic")


@register(task="image-generation", paper=PAPER, tiny=TINY, partner=critic)
def wgan_gp(input_shape=(100,), *, image_shape=(64, 64, 3), width=64, include_top=True, name="wgan_gp"):
    """DCGAN's generator with a critic for Wasserstein's distance and a penalty on its gradient.

    Args:
        input_shape: `(latent_dim,)`.
        image_shape: `(height, width, channels)` of the picture; see `dcgan` for the sizes there are.
        width: maps of the largest stage, in both networks; every stage that is half as large has twice as many.
        include_top: `False` gives the maps of the last stage, half as large as the picture.
        name: name of the model.

    Returns:
        `latent` float32 `(batch, latent_dim)` → `image` float32 `(batch, *image_shape)` in -1..1.
    """
    return dcgan.generator(input_shape, image_shape, width, include_top=include_top, name=name)

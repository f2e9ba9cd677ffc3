"""What adversarial networks are trained by: the losses of the two players.

Each is a pair of functions of the discriminator's logits, found by name in `LOSSES`; both are to be made smaller, and
both are means over the batch, so that real and generated pictures may differ in number. `sigmoid(logits)` is the
probability that a picture is real, except with "hinge" and "wasserstein", which take the logits as they are.

    name             discriminator                             generator              source
    minimax          -mean log D(x) - mean log(1 - D(G(z)))    mean log(1 - D(G(z)))  Goodfellow et al. 2014, §3
    non_saturating   the same                                  -mean log D(G(z))      Goodfellow et al. 2014, §3
    hinge            mean max(0, 1 - l) + mean max(0, 1 + l')  -mean l'               Lim & Ye 2017
    wasserstein      mean l' - mean l                          -mean l'               Arjovsky et al. 2017, §3

with the logits l of real and l' of generated pictures. "hinge" is the loss of "Geometric GAN", and of Miyato et al.,
"Spectral Normalization for Generative Adversarial Networks" (2018), equations 16 and 17. "wasserstein" measures nothing
unless the critic's slope is bounded: add `PENALTY_WEIGHT * gradient_penalty(…)` to the discriminator's, after Gulrajani
et al., "Improved Training of Wasserstein GANs" (2017).

Backend-neutral: gradients are taken by whoever trains. All results are float32.
"""

from collections.abc import Callable
from typing import NamedTuple

from keras import ops

PENALTY_WEIGHT = 10.0
"""λ of Gulrajani et al., §4: by what the gradient penalty is multiplied."""


class AdversarialLoss(NamedTuple):
    """What the two players make smaller.

    Attributes:
        discriminator: `(real_logits, fake_logits)`, each `(batch, 1)` or `(batch,)` → float32 scalar.
        generator: `(fake_logits)` → float32 scalar.
    """

    discriminator: Callable
    generator: Callable


def _float32(logits):
    return ops.cast(logits, "float32")


def _mean(values):
    return ops.mean(_float32(values))


def _minus_log_sigmoid(logits):
    """`-log sigmoid(logits)`, where the sigmoid itself would be 0 or 1."""
    return ops.softplus(-_float32(logits))


def _cross_entropy(real_logits, fake_logits):
    return _mean(_minus_log_sigmoid(real_logits)) + _mean(_minus_log_sigmoid(-fake_logits))


def _saturating(fake_logits):
    return -_mean(_minus_log_sigmoid(-fake_logits))


def _non_saturating(fake_logits):
    return _mean(_minus_log_sigmoid(fake_logits))


def _hinge(real_logits, fake_logits):
    return ops.mean(ops.relu(1 - _float32(real_logits))) + ops.mean(ops.relu(1 + _float32(fake_logits)))


def _wasserstein(real_logits, fake_logits):
    return _mean(fake_logits) - _mean(real_logits)


def _minus_mean(fake_logits):
    return -_mean(fake_logits)


LOSSES = {
    "minimax": AdversarialLoss(_cross_entropy, _saturating),
    "non_saturating": AdversarialLoss(_cross_entropy, _non_saturating),
    "hinge": AdversarialLoss(_hinge, _minus_mean),
    "wasserstein": AdversarialLoss(_wasserstein, _minus_mean),
}


def interpolates(real, fake, shares):
    """Points on the lines between real and generated pictures: `share * real + (1 - share) * fake`.

    Gulrajani et al. 2017, algorithm 1, line 6: where the critic's gradient is measured.

    Args:
        real, fake: float `(batch, …)`.
        shares: float `(batch,)`, drawn uniformly from 0..1, one for each pair.

    Returns:
        As `real`.
    """
    shares = ops.cast(ops.reshape(shares, (-1, *(1,) * (len(real.shape) - 1))), real.dtype)
    return shares * real + (1 - shares) * fake


def gradient_penalty(gradients):
    """Mean of `(‖gradient‖₂ - 1)²` over a batch.

    Gulrajani et al. 2017, equation 3. It can be differentiated everywhere: a gradient of zeros has the penalty 1, and
    nothing to say about where to go.

    Args:
        gradients: float `(batch, …)`, of the critic's values by its pictures: those that `interpolates` gives.

    Returns:
        float32 scalar, not yet multiplied by `PENALTY_WEIGHT`.
    """
    squares = ops.square(ops.cast(gradients, "float32"))
    squared_norms = ops.sum(squares, axis=tuple(range(1, len(gradients.shape))))
    # The root's slope is infinite at 0, where the maximum has none.
    norms = ops.sqrt(ops.maximum(squared_norms, 1e-12))
    return ops.mean(ops.square(norms - 1))

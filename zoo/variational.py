"""What variational auto-encoders are trained by: the evidence lower bound, of which the negative is made smaller.

Kingma, Welling, "Auto-Encoding Variational Bayes", ICLR (2014). For one picture it is, equation 10:

    -ELBO = KL(q(z|x) ‖ p(z)) - log p(x|z),   z drawn from q(z|x) by `reparameterize`

with a normal q(z|x), whose means and variances are the encoder's, p(z) = N(0, 1), and p(x|z) given by the decoder.

    means, log_variances = split(encoder(images))
    latents = reparameterize(means, log_variances, noise)
    loss = mean(kl_divergence(means, log_variances) + bernoulli_reconstruction(images, logits(latents)))

Backend-neutral: noise is drawn by whoever trains. All results are float32.
"""

from keras import ops


def split(posterior):
    """What an encoder gives, `(batch, 2 * n)` → means and log variances of its latents, each float32 `(batch, n)`."""
    means, log_variances = ops.split(ops.cast(posterior, "float32"), 2, axis=-1)
    return means, log_variances


def reparameterize(means, log_variances, noise):
    """Latents as a function of noise, through which a gradient can go: `means + noise * deviations`, §2.4.

    Args:
        means, log_variances: float `(batch, n)`.
        noise: float `(batch, n)`, drawn from N(0, 1).

    Returns:
        Float `(batch, n)`.
    """
    return means + ops.exp(log_variances / 2) * noise


def kl_divergence(means, log_variances):
    """Nats by which each example's latents tell more than N(0, 1) does, appendix B.

    `KL(N(m, s²) ‖ N(0, 1)) = ½ Σ (m² + s² - 1 - log s²)`, 0 at the least.

    Args:
        means, log_variances: float `(batch, n)`.

    Returns:
        float32 `(batch,)`.
    """
    means, log_variances = ops.cast(means, "float32"), ops.cast(log_variances, "float32")
    return ops.sum(ops.square(means) + ops.expm1(log_variances) - log_variances, axis=-1) / 2


def bernoulli_reconstruction(images, logits):
    """Nats that it costs to tell each picture's pixels when the decoder is known: `-log p(x|z)`, appendix C.1.

    `-Σ (x log p + (1 - x) log(1 - p))` with `p = sigmoid(logits)`, for all logits. Pixels between black and white count
    as a share of each.

    Args:
        images: float `(batch, …)` in -1..1, of which -1 is off and 1 is on.
        logits: float of the same shape, the decoder's layer `logits`.

    Returns:
        float32 `(batch,)`, the sum over all pixels.
    """
    on, logits = (ops.cast(images, "float32") + 1) / 2, ops.cast(logits, "float32")
    nats = ops.softplus(logits) - on * logits
    return ops.sum(nats, axis=tuple(range(1, len(images.shape))))

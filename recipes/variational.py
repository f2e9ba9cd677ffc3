"""The training of a decoder and its encoder, of a variational auto-encoder."""

import keras
from keras import ops

from zoo import variational

PARTS = ("reconstruction", "kl")


class VariationalTraining(keras.Model):
    """Pictures → the parts of the negative evidence lower bound, `(batch, 2)`: `reconstruction` and `kl`, in nats.

    Kingma, Welling, "Auto-Encoding Variational Bayes" (2014), equation 10, with one draw for each picture.

    Args:
        encoder: pictures in -1..1 → means and log variances, `(batch, 2 n)`.
        decoder: latents `(batch, n)` → logits of the pixels.
        seed: of the draws.
    """

    def __init__(self, encoder: keras.Model, decoder: keras.Model, seed: int):
        super().__init__(name="variational_training")
        self.encoder, self.decoder = encoder, decoder
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, images, training=False):
        means, log_variances = variational.split(self.encoder(images, training=training))
        noise = keras.random.normal(ops.shape(means), seed=self.seed_generator)
        latents = variational.reparameterize(means, log_variances, noise)
        logits = self.decoder(latents, training=training)
        return ops.stack(
            [
                variational.bernoulli_reconstruction(images, logits),
                variational.kl_divergence(means, log_variances),
            ],
            axis=-1,
        )

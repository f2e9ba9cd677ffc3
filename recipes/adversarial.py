"""The training of a generator and the network that tells its pictures from real ones, in turns."""

import keras
import tensorflow as tf

from recipes.draws import Draws
from zoo import adversarial
from zoo.adversarial import AdversarialLoss


class AdversarialTraining(keras.Model):
    """Each step makes the discriminator better, and every so often the generator, by one update each.

    Goodfellow et al., "Generative Adversarial Nets" (2014), algorithm 1, with new pictures for every update of the
    discriminator, and two optimizers: with two learning rates, that of Heusel et al., "GANs Trained by a Two Time-Scale
    Update Rule" (2017). Real and generated pictures go through the discriminator apart, as its batch normalisation must
    not see which are which.

    A step's figures: `loss`, the generator's, and `discriminator_loss`.

    Args:
        generator: latents `(batch, n)` → pictures in -1..1.
        discriminator: pictures → logits `(batch, 1)`.
        loss: of both.
        penalty: weight of the gradient penalty, 0 for none.
        critic_steps: updates of the discriminator for each of the generator.
        seed: of the latents.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        loss: AdversarialLoss,
        penalty: float,
        critic_steps: int,
        seed: int,
    ):
        super().__init__(name="adversarial_training")
        self.generator, self.discriminator = generator, discriminator
        self.of_players, self.penalty, self.critic_steps, self.seed = loss, penalty, critic_steps, seed
        self.steps_taken = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="steps_taken"
        )
        self.figures = {name: keras.metrics.Mean(name) for name in ("loss", "discriminator_loss")}
        self.built = True

    def compile(self, optimizer, discriminator_optimizer):
        """With an optimizer for each network; that of the generator is `optimizer`."""
        super().compile(optimizer=optimizer)
        self.discriminator_optimizer = discriminator_optimizer
        optimizer.build(self.generator.trainable_variables)
        discriminator_optimizer.build(self.discriminator.trainable_variables)

    @property
    def optimizers(self):
        """Both, for checkpoints."""
        return [self.optimizer, self.discriminator_optimizer]

    @property
    def metrics(self):
        """Of a step: see the class."""
        return list(self.figures.values())

    def train_step(self, data):
        """One batch of real pictures, `(pictures, anything)`."""
        real = data[0]
        draws = Draws(self.seed, tf.convert_to_tensor(self.steps_taken))
        latents = draws.normal([tf.shape(real)[0], *self.generator.input_shape[1:]])
        if self.critic_steps == 1:
            self._better_generator(latents, lambda fake: self._better_discriminator(real, fake, draws))
        else:
            self._better_discriminator(real, self.generator(latents, training=True), draws)
            is_due = (tf.convert_to_tensor(self.steps_taken) + 1) % self.critic_steps == 0
            tf.cond(is_due, lambda: self._better_generator(latents), lambda: None)
        self.steps_taken.assign_add(1)
        return {name: metric.result() for name, metric in self.figures.items()}

    def _better_generator(self, latents, first=lambda fake: None):
        """One update; `first` is done with the pictures, before they are judged."""
        with tf.GradientTape() as tape:
            fake = self.generator(latents, training=True)
            first(tf.stop_gradient(fake))
            loss = self.of_players.generator(self.discriminator(fake, training=True)) + sum(self.generator.losses)
            scaled = self.optimizer.scale_loss(loss)
        weights = self.generator.trainable_weights
        self.optimizer.apply(tape.gradient(scaled, [weight.value for weight in weights]), weights)
        self.figures["loss"].update_state(loss)

    def _better_discriminator(self, real, fake, draws):
        with tf.GradientTape() as tape:
            loss = self.of_players.discriminator(
                self.discriminator(real, training=True), self.discriminator(fake, training=True)
            ) + sum(self.discriminator.losses)
            if self.penalty:
                loss += self.penalty * self._penalty(real, fake, draws)
            scaled = self.discriminator_optimizer.scale_loss(loss)
        weights = self.discriminator.trainable_weights
        gradients = tape.gradient(scaled, [weight.value for weight in weights])
        self.discriminator_optimizer.apply(gradients, weights)
        self.figures["discriminator_loss"].update_state(loss)

    def _penalty(self, real, fake, draws):
        between = adversarial.interpolates(tf.cast(real, fake.dtype), fake, draws.uniform(real, 0, 1))
        with tf.GradientTape() as tape:
            tape.watch(between)
            values = self.discriminator(between, training=True)
        return adversarial.gradient_penalty(tape.gradient(values, between))

"""The training of a network on pictures with classes and, at the same time, towards pictures of another domain."""

from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import ops

from recipes import backend
from recipes.pipeline import Part
from zoo.architectures.dann import REVERSAL, adaptation_factor

PARTS = ("label", "domain", "accuracy", "domain_accuracy")
"""What `AdaptingTraining` gives for each pair of pictures: the two parts of the loss, and two shares that are right."""


class AdaptingTraining(keras.Model):
    """`((source, target), classes)` → float32 `(batch, 4)`: see `PARTS`.

    Ganin et al., "Domain-Adversarial Training of Neural Networks" (2016), §4.2: the classes of source pictures are
    learned, and of both which domain they are of, from features whose gradient is reversed on the way back.

    Args:
        network: pictures → features and logits, a model of two outputs.
        domain_head: features → the logit of the target domain.
        label_loss: of one-hot classes and logits.
    """

    def __init__(self, network: keras.Model, domain_head: keras.Model, label_loss: keras.losses.Loss):
        super().__init__(name="adapting_training")
        self.network, self.domain_head, self.label_loss = network, domain_head, label_loss
        self.built = True

    def call(self, inputs, training=False):
        (source, target), classes = inputs
        count = ops.shape(source)[0]
        features, logits = self.network(ops.concatenate([source, target], axis=0), training=training)
        domain = ops.cast(self.domain_head(features, training=training)[:, 0], "float32")
        # In pairs, so that there is one number for each source picture.
        of_source, of_target = domain[:count], domain[count:]
        domain_loss = (ops.softplus(of_source) + ops.softplus(-of_target)) / 2
        domain_right = (ops.cast(of_source < 0, "float32") + ops.cast(of_target >= 0, "float32")) / 2
        logits = logits[:count]
        right = ops.equal(ops.argmax(classes, axis=-1), ops.argmax(logits, axis=-1))
        columns = [self.label_loss.call(classes, logits), domain_loss, ops.cast(right, "float32"), domain_right]
        return ops.stack([ops.cast(column, "float32") for column in columns], axis=-1)


class AdaptationSchedule(keras.callbacks.Callback):
    """Raises the factor of the reversed gradient from 0 as the training goes on: `adaptation_factor`, times `most`.

    Args:
        domain_head: whose factor it is.
        most: the largest.
        epochs: of the whole training.
        steps: of an epoch.
    """

    def __init__(self, domain_head: keras.Model, most: float, epochs: int, steps: int):
        super().__init__()
        self.factor = domain_head.get_layer(REVERSAL).factor
        self.most, self.epochs, self.steps, self.epoch = most, epochs, steps, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        progress = (self.epoch + batch / self.steps) / self.epochs
        backend.bring_weights_up_to_date(self.model)
        self.factor.assign(self.most * adaptation_factor(progress))


@dataclass(frozen=True)
class Pairs:
    """Source pictures with their classes, and beside each a target picture: `((source, target), classes)`.

    An epoch is one of the source; target pictures go round as often as it takes.
    """

    source: Part
    target: Part

    def steps(self, batch_size: int) -> int:
        """Batches per epoch."""
        return self.source.steps(batch_size)

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """Every source picture once, in a fixed order."""
        target = self.target.batches(batch_size).repeat()
        return self._beside(self.source.batches(batch_size), target)

    def epochs(
        self, batch_size: int, seed: int, shuffle: bool, augment=None, first: int = 0, skipped: int = 0
    ) -> tf.data.Dataset:
        """As `Part.epochs`; the target has orders of its own."""
        of_source = self.source.epochs(batch_size, seed, shuffle, augment, first, skipped)
        # Its own epochs are counted from the steps that were taken before.
        begun, rest = divmod(first * self.steps(batch_size) + skipped, self.target.steps(batch_size))
        of_target = self.target.epochs(batch_size, seed + 1, shuffle, augment, begun, rest)
        return self._beside(of_source, of_target)

    @staticmethod
    def _beside(source, target):
        def pair(of_source, of_target):
            (x, y), other = of_source, of_target[0]
            # The last batch of an epoch may be smaller: of both, as many as the smaller one has.
            count = tf.minimum(tf.shape(x)[0], tf.shape(other)[0])
            return (x[:count], other[:count]), y[:count]

        return tf.data.Dataset.zip(source, target).map(pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

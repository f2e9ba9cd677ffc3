"""Loss and figures of networks that answer at every token. A target below 0 is no target: nothing is asked there."""

import keras
from keras import ops

NOTHING = -1
"""Target where there is none."""


@keras.saving.register_keras_serializable("recipes")
class TokenCrossentropy(keras.losses.Loss):
    """Cross-entropy of ids `(batch, length)` and logits `(batch, length, n)`, averaged over the targets of the batch.

    Args:
        label_smoothing: share of the truth given to all ids alike, as in Szegedy et al., "Rethinking the Inception
            Architecture" (2016), §7.
    """

    def __init__(self, label_smoothing=0.0, name="token_crossentropy"):
        super().__init__(name=name)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        ids, asked = _targets(y_true, y_pred.dtype)
        loss = ops.sparse_categorical_crossentropy(ids, y_pred, from_logits=True)
        if self.label_smoothing:
            of_all = ops.logsumexp(y_pred, axis=-1) - ops.mean(y_pred, axis=-1)
            loss = (1 - self.label_smoothing) * loss + self.label_smoothing * of_all
        return ops.sum(loss * asked) / ops.maximum(ops.sum(asked), 1)

    def get_config(self):
        return {"label_smoothing": self.label_smoothing, "name": self.name}


@keras.saving.register_keras_serializable("recipes")
class TokenAccuracy(keras.metrics.Mean):
    """Share of the targets that are the most probable id."""

    def __init__(self, name="accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        ids, asked = _targets(y_true, y_pred.dtype)
        super().update_state(ops.equal(ids, ops.argmax(y_pred, axis=-1)), asked)


@keras.saving.register_keras_serializable("recipes")
class Perplexity(keras.metrics.Mean):
    """e to the mean cross-entropy of a target: of how many equally probable ids the network would have to choose."""

    def __init__(self, name="perplexity", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        ids, asked = _targets(y_true, y_pred.dtype)
        super().update_state(ops.sparse_categorical_crossentropy(ids, y_pred, from_logits=True), asked)

    def result(self):
        return ops.exp(super().result())


def _targets(y_true, dtype):
    """The ids, 0 where nothing is asked, int32; and 1 where something is, else 0."""
    asked = ops.cast(y_true >= 0, dtype)
    return ops.cast(ops.maximum(y_true, 0), "int32"), asked

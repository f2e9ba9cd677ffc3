"""Networks with auxiliary heads: all heads are trained, the first one is kept.

Szegedy et al., "Going Deeper with Convolutions" (2014), §5: the losses of the auxiliary classifiers are added with the
weight 0.3, and at inference these are discarded.
"""

import keras
from keras import ops

WEIGHT = 0.3


def heads_joined(model: keras.Model) -> keras.Model:
    """A model of several outputs `(batch, n)` as one of `(batch, heads, n)`; one of a single output as it is."""
    if len(model.outputs) == 1:
        return model
    return keras.Model(model.inputs[0], ops.stack(model.outputs, axis=1), name=model.name)


def first_head(model: keras.Model) -> keras.Model:
    """The network without its auxiliary heads."""
    if len(model.outputs) == 1:
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


@keras.saving.register_keras_serializable("recipes")
class LossOfHeads(keras.losses.Loss):
    """The first head's loss, plus 0.3 times that of every other: `(batch, n)` against `(batch, heads, n)`."""

    def __init__(self, loss: keras.losses.Loss):
        super().__init__(name=loss.name)
        self.loss = loss

    def call(self, y_true, y_pred):
        first, *others = (self.loss.call(y_true, y_pred[:, i]) for i in range(y_pred.shape[1]))
        return first + WEIGHT * sum(others)


@keras.saving.register_keras_serializable("recipes")
class MetricOfFirstHead(keras.metrics.Metric):
    """A metric of the first head alone."""

    def __init__(self, metric: keras.metrics.Metric):
        super().__init__(name=metric.name)
        self.metric = metric

    def update_state(self, y_true, y_pred, sample_weight=None):
        return self.metric.update_state(y_true, y_pred[:, 0], sample_weight)

    def result(self):
        return self.metric.result()

    def reset_state(self):
        self.metric.reset_state()

"""Networks in training that give their loss themselves, in parts: `(batch, parts)`, the loss of each example."""

from collections.abc import Sequence

import keras
from keras import ops


@keras.saving.register_keras_serializable("recipes")
class SumOfParts(keras.losses.Loss):
    """The sum of an example's parts, each by its weight. Targets are what the network was given already.

    Args:
        weights: of the parts; None for 1 each.
    """

    def __init__(self, weights: Sequence[float] | None = None, name="sum_of_parts"):
        super().__init__(name=name)
        self.weights = weights

    def call(self, y_true, y_pred):
        if self.weights is not None:
            y_pred = y_pred * ops.convert_to_tensor(self.weights, y_pred.dtype)
        return ops.sum(y_pred, axis=-1)

    def get_config(self):
        return {"weights": self.weights, "name": self.name}


@keras.saving.register_keras_serializable("recipes")
class PartOfLoss(keras.metrics.Mean):
    """One part, averaged over the examples.

    Args:
        index: which.
    """

    def __init__(self, index: int, name: str, **kwargs):
        super().__init__(name=name, **kwargs)
        self.index = index

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_pred[:, self.index])


def parts(*names: str) -> list[PartOfLoss]:
    """A metric for each part, in order."""
    return [PartOfLoss(i, name) for i, name in enumerate(names)]

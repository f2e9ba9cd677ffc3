"""Loss and figures of networks that answer at every pixel. A target of `VOID` is none: the pixel is not judged."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from recipes.data.annotations import VOID

CROSS_ENTROPY, DICE, BOTH = "cross_entropy", "dice", "cross_entropy_dice"


@keras.saving.register_keras_serializable("recipes")
class PixelLoss(keras.losses.Loss):
    """Loss of class ids `(batch, height, width)` and logits `(batch, height, width, classes)`, a number per picture.

    - cross_entropy: averaged over the pixels that are judged; of every class by its weight.
    - dice: 1 - 2 Σ p t / (Σ p + Σ t), averaged over the classes (Milletari et al., "V-Net", 2016, §3, with sums of
      probabilities in place of squares, and 1 added above and below, for classes that a picture does not show).
    - cross_entropy_dice: the sum of both.

    Args:
        kind: which of these.
        weights: of the classes, in the cross-entropy; None weighs all alike.
    """

    def __init__(self, kind: str = CROSS_ENTROPY, weights: Sequence[float] | None = None, name="pixel_loss"):
        super().__init__(name=name)
        self.kind, self.weights = kind, weights

    def call(self, y_true, y_pred):
        ids, judged = _targets(y_true, y_pred.dtype)
        loss = 0.0
        if self.kind != DICE:
            each = ops.sparse_categorical_crossentropy(ids, y_pred, from_logits=True)
            weight = judged
            if self.weights is not None:
                weight *= ops.take(ops.convert_to_tensor(np.array(self.weights), y_pred.dtype), ids)
            loss += ops.sum(each * weight, axis=(1, 2)) / ops.maximum(ops.sum(weight, axis=(1, 2)), 1e-6)
        if self.kind != CROSS_ENTROPY:
            of_class = ops.softmax(y_pred) * judged[..., None]
            true = ops.one_hot(ids, y_pred.shape[-1], dtype=y_pred.dtype) * judged[..., None]
            both, all_of = ops.sum(of_class * true, axis=(1, 2)), ops.sum(of_class + true, axis=(1, 2))
            loss += 1 - ops.mean((2 * both + 1) / (all_of + 1), axis=-1)
        return loss

    def get_config(self):
        return {"kind": self.kind, "weights": self.weights, "name": self.name}


@keras.saving.register_keras_serializable("recipes")
class PixelAccuracy(keras.metrics.Mean):
    """Share of the judged pixels that are given their class."""

    def __init__(self, name="accuracy", **kwargs):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true, y_pred, sample_weight=None):
        ids, judged = _targets(y_true, y_pred.dtype)
        super().update_state(ops.equal(ids, ops.argmax(y_pred, axis=-1)), judged)


def _targets(y_true, dtype):
    """The ids, 0 where nothing is judged, int32; and 1 where something is, else 0."""
    ids = ops.cast(y_true, "int32")
    judged = ids != VOID
    return ops.where(judged, ids, 0), ops.cast(judged, dtype)


def confusion(truth: np.ndarray, answer: np.ndarray, num_classes: int) -> np.ndarray:
    """How many judged pixels of each true class (row) were given each class (column), int64 `(classes, classes)`."""
    judged = truth != VOID
    pairs = truth[judged].astype(np.int64) * num_classes + answer[judged]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def figures(counts: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """Figures of a confusion `(classes, classes)`.

    `mean_iou`, intersection over union averaged over the classes that occur, in truth or answers; `accuracy`, the share
    of right pixels; and `iou_…` of each class that occurs (Long et al., "Fully Convolutional Networks", 2015, §5).
    """
    right = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - right
    of_class = {label: float(r / u) for label, r, u in zip(labels, right, union, strict=True) if u}
    return {
        "mean_iou": float(np.mean(list(of_class.values()))),
        "accuracy": float(right.sum() / max(counts.sum(), 1)),
        **{f"iou_{label}": value for label, value in of_class.items()},
    }

"""What the tasks that choose a class have together."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Real

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from recipes.answers import ClassAnswer, head_of
from recipes.pipeline import targets
from recipes.tasks.task import Task


@keras.saving.register_keras_serializable("recipes")
class HalfSquaredError(keras.losses.Loss):
    """(y - t)²/2, averaged over outputs and examples: its gradient is the plain difference y - t."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_pred - ops.cast(y_true, y_pred.dtype)), axis=-1) / 2


class ClassTask(Task):
    """Classes by name, out of whatever head the model has: n logits or probabilities, or one for two classes."""

    def make_answer(self, model):
        outputs, labels = model.output_shape[1:], self.data.labels
        if outputs != (len(labels),) and (outputs, len(labels)) != ((1,), 2):
            raise ValueError(
                f"{model.name!r} gives {outputs} per example, but {self.data.name!r} has {len(labels)} classes: "
                f"{', '.join(labels[:10])}{', …' if len(labels) > 10 else ''}. Accepted: ({len(labels)},)."
            )
        return ClassAnswer(head_of(model), labels)

    @property
    def single(self) -> bool:
        """Whether one output decides between two classes."""
        return self.model.output_shape[-1] == 1

    def encode(self, y):
        return tf.cast(y, tf.float32)[..., tf.newaxis] if self.single else tf.one_hot(y, len(self.data.labels))

    def loss(self):
        smoothing = self.config.label_smoothing
        if self.answer.head == "decisions":
            if smoothing:
                raise ValueError(f"label_smoothing has no meaning for units that decide 0 or 1. Received: {smoothing}.")
            return HalfSquaredError()
        kind = keras.losses.BinaryCrossentropy if self.single else keras.losses.CategoricalCrossentropy
        return kind(from_logits=self.answer.head == "logits", label_smoothing=smoothing)

    def metrics(self):
        if not self.single:
            return [keras.metrics.CategoricalAccuracy(name="accuracy")]
        threshold = 0.0 if self.answer.head == "logits" else 0.5
        return [keras.metrics.MeanMetricWrapper(lambda y, p: ops.equal(y > 0.5, p > threshold), "accuracy")]

    def figures(self, answers, y):
        found = {"accuracy": float(np.mean(answers["class_ids"] == y))}
        if answers["probabilities"].shape[1] == 2 and len(np.unique(y)) == 2:
            from sklearn.metrics import roc_auc_score

            found["auc"] = float(roc_auc_score(y, answers["probabilities"][:, 1]))
        return found

    def class_weights(self):
        return weights_of_classes(
            self.config.class_weights,
            self.data.labels,
            lambda: np.bincount(targets(self.data.parts["train"]), minlength=len(self.data.labels)),
        )


def weights_of_classes(
    wanted: str | Mapping | None, labels: Sequence[str], counts: Callable[[], np.ndarray]
) -> dict[int, float] | None:
    """The weight of every class id: as given by class name or id; or "balanced", n / (classes * count).

    Args:
        wanted: the option.
        labels: names of the classes.
        counts: gives how often each class occurs, `(classes,)`.

    Raises:
        ValueError: anything else, or weights for other classes.
    """
    if wanted is None:
        return None
    if wanted == "balanced":
        found = counts().tolist()
        return {i: sum(found) / (len(labels) * max(count, 1)) for i, count in enumerate(found)}
    if not isinstance(wanted, Mapping):
        raise ValueError(f"class_weights must be 'balanced', or a weight for every class. Received: {wanted!r}.")
    ids = {label: i for i, label in enumerate(labels)} | {str(i): i for i in range(len(labels)) if str(i) not in labels}
    weights = {ids.get(str(key)): weight for key, weight in wanted.items()}
    legal = all(isinstance(weight, Real) and weight >= 0 for weight in weights.values())
    if set(weights) != set(range(len(labels))) or not legal:
        raise ValueError(
            "class_weights must hold a number of at least 0 for every class, by name or id: "
            f"{', '.join(labels[:10])}. Received: {dict(wanted)!r}."
        )
    return weights

"""Text classification: one of many classes for every text."""

from recipes.config import TextClassificationConfig
from recipes.recipe import takes
from recipes.tasks.classes import ClassTask
from recipes.tasks.texts import TextTask
from recipes.training import train


@takes(TextClassificationConfig)
def text_classification(model, data, config):
    """Train a network to name what a text is about, or what it means.

    Args:
        model: a registry name, or a `keras.Model` with one input of token ids `(batch, length)`, which is trained in
            place.
        data: a TFDS name, a CSV file with a column of texts, a folder with one sub-folder of `.txt` files per class,
            lists or arrays `(texts, classes)`, or a `tf.data.Dataset`.

    Returns:
        A Run. Figures of the test part: `accuracy`, and `auc` for two classes.

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when the loss becomes NaN.
    """
    return train(TextClassification, model, data, config)


class TextClassification(TextTask, ClassTask):
    """Texts and their classes."""

    name = "text-classification"

    @property
    def num_classes(self):
        return len(self.data.labels)

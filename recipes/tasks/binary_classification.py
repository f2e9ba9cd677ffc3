"""Binary classification: one of two classes for every row."""

from recipes.config import BinaryConfig
from recipes.recipe import takes
from recipes.tasks.classes import ClassTask
from recipes.tasks.tables import table_preprocessing
from recipes.training import train


@takes(BinaryConfig)
def binary_classification(model, data, config):
    """Train a network to choose between two classes.

    Args:
        model: a registry name, or a `keras.Model` with one input `(batch, columns)` and one or two outputs, which is
            trained in place.
        data: a TFDS name, a CSV file, arrays `(x, y)`, or a `tf.data.Dataset`.

    Returns:
        A Run. Figures of the test part: `accuracy`, and `auc` where the test part has both classes.

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when the loss becomes NaN.
    """
    return train(BinaryClassification, model, data, config)


class BinaryClassification(ClassTask):
    """One output, the logit of the second class."""

    name = "binary-classification"
    num_classes = 1

    def preprocessing(self, model):
        return table_preprocessing(model, self.data, self.config.standardize)

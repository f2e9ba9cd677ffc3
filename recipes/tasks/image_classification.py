"""Image classification: one of many classes for every picture."""

from recipes.augmentation import Augmentation
from recipes.config import ImageConfig
from recipes.recipe import takes
from recipes.tasks.classes import ClassTask
from recipes.tasks.pictures import PictureTask
from recipes.training import train


@takes(ImageConfig)
def image_classification(model, data, config):
    """Train a network to name what a picture shows.

    Args:
        model: a registry name, or a `keras.Model` with one input `(batch, height, width, channels)`, which is trained
            in place.
        data: a TFDS name, a folder with one sub-folder per class, arrays `(x, y)`, or a `tf.data.Dataset`.

    Returns:
        A Run. Figures of the test part: `accuracy`, and `auc` for two classes.

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when the loss becomes NaN.
    """
    return train(ImageClassification, model, data, config)


class ImageClassification(ClassTask, PictureTask):
    """One of the data's classes for every picture."""

    name = "image-classification"

    @property
    def num_classes(self):
        return len(self.data.labels)

    def augment(self, preprocessing):
        config = self.config
        if not (config.augment or config.mixup or config.cutmix):
            return None
        return Augmentation(config.augment, config.mixup, config.cutmix, config.seed, preprocessing)

"""Semantic segmentation: a class for every pixel."""

import keras
import numpy as np
import tensorflow as tf

from recipes import pixels
from recipes.answers import MaskAnswer, best_class
from recipes.augmentation import AnnotatedAugmentation
from recipes.bundle import batch_that_fits
from recipes.config import SegmentationConfig
from recipes.data.annotations import VOID
from recipes.pixels import PixelAccuracy, PixelLoss
from recipes.recipe import takes
from recipes.tasks.classes import weights_of_classes
from recipes.tasks.pictures import AnnotatedPictureTask
from recipes.tasks.task import EVALUATION_BATCH
from recipes.training import train


@takes(SegmentationConfig)
def semantic_segmentation(model, data, config):
    """Train a network to say of every pixel what it belongs to.

    Args:
        model: a registry name, or a `keras.Model` with one input `(batch, height, width, channels)` that gives logits
            `(batch, height, width, classes)` of the same size, which is trained in place.
        data: a TFDS name (such as `digit_scenes`, `oxford_iiit_pet`), a folder with `images/` and `masks/`, arrays
            `(x, y)` with masks `(n, h, w)` of class ids, or a `tf.data.Dataset`. 255 in a mask is not judged.

    Returns:
        A Run. Figures of the test part, at the pictures' own sizes: `mean_iou` (intersection over union, averaged over
        the classes that occur), `accuracy` (of pixels), and `iou_…` of every class.

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when the loss becomes NaN.
    """
    return train(SemanticSegmentation, model, data, config)


class SemanticSegmentation(AnnotatedPictureTask):
    """A class for every pixel of a picture."""

    name = "semantic-segmentation"

    @property
    def num_classes(self):
        return len(self.data.labels)

    def make_answer(self, model):
        size, labels = model.input_shape[1:3], self.data.labels
        if model.output_shape[1:] != (*size, len(labels)):
            raise ValueError(
                f"{model.name!r} gives {model.output_shape[1:]} per picture, but the masks of {self.data.name!r} have "
                f"{len(labels)} classes. Accepted: logits {(*size, len(labels))}."
            )
        return MaskAnswer(labels)

    def preprocessing(self, model):
        found = super().preprocessing(model)
        self.size = found.shape[:2]
        return found

    def encode(self, y):
        """A mask as PNG → class ids uint8 `(height, width)` at the network's size."""
        return tf.image.resize(tf.io.decode_png(y, 1), self.size, "nearest")[..., 0]

    def augment(self, preprocessing):
        if not self.config.augment:
            return None
        mirrored = lambda masks: tf.reverse(masks, [2])  # noqa: E731
        return AnnotatedAugmentation(self.config.augment, self.config.seed, preprocessing, mirrored)

    def at_once(self, preprocessing):
        return batch_that_fits((*preprocessing.shape[:2], self.num_classes), EVALUATION_BATCH)

    def class_weights(self):
        return None  # those given weigh pixels: see `loss`

    def loss(self):
        weights = weights_of_classes(self.config.class_weights, self.data.labels, self._pixels)
        return PixelLoss(self.config.loss, weights and [weights[i] for i in range(self.num_classes)])

    def _pixels(self):
        """Of the training part, pixels of each class."""
        counts = np.zeros(VOID + 1, np.int64)
        for _, png in self.data.parts["train"].as_numpy_iterator():
            counts += np.bincount(tf.io.decode_png(png, 1).numpy().ravel(), minlength=VOID + 1)
        return counts[: self.num_classes]

    def metrics(self):
        iou = keras.metrics.MeanIoU(self.num_classes, "mean_iou", sparse_y_pred=False, ignore_class=VOID)
        return [PixelAccuracy(), iou]

    def answers(self, bundle):
        """Of every test picture, at its own size: pixels of each class given each, `(n, classes, classes)`."""
        part = self.part(self.data.evaluated_on, bundle.preprocessing, lambda png: png)
        counts = []
        for x, pngs in part.batches(self.at_once(bundle.preprocessing)).as_numpy_iterator():
            for logits, png in zip(bundle.model.predict_on_batch(x), pngs, strict=True):
                mask = tf.io.decode_png(png, 1)[..., 0]
                answer = best_class(tf.constant(logits), tf.shape(mask))
                counts.append(pixels.confusion(mask.numpy(), answer.numpy(), self.num_classes))
        return {"counts": np.stack(counts)}, None

    def figures(self, answers, y):
        return pixels.figures(answers["counts"].sum(0), self.data.labels)

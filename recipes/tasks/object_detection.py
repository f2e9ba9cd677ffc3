"""Object detection: boxes around what a picture shows, each with its class."""

import numpy as np
import tensorflow as tf

from recipes import detecting, parts_of_loss
from recipes.answers import DetectionAnswer
from recipes.augmentation import AnnotatedAugmentation
from recipes.average_precision import average_precision
from recipes.batches import all_joined
from recipes.bundle import batch_that_fits
from recipes.config import DetectionConfig
from recipes.data.annotations import LABEL
from recipes.pipeline import Reading, prepare
from recipes.recipe import takes
from recipes.tasks.pictures import AnnotatedPictureTask
from recipes.tasks.task import EVALUATION_BATCH
from recipes.training import train


@takes(DetectionConfig)
def object_detection(model, data, config):
    """Train a network to find objects in pictures.

    Args:
        model: a registry name, or one of these networks as a `keras.Model`, which is trained in place.
        data: a TFDS name (such as `digit_scenes`, `voc`, `coco`), a folder with an `annotations.json` in COCO's form or
            that file, arrays `(x, y)` with a list of `{"bbox": …, "label": …}`, boxes y_min, x_min, y_max, x_max in
            0..1, or a `tf.data.Dataset` of such pairs.

    Returns:
        A Run. Figures of the test part, at the pictures' own sizes: COCO's `ap`, `ap50`, `ap75`, `ap_small`,
        `ap_medium`, `ap_large` and `ar100`; see `recipes.average_precision`.

    Raises:
        ValueError: bad data or options; `TrainingDiverged` when the loss becomes NaN.
    """
    return train(ObjectDetection, model, data, config)


class ObjectDetection(AnnotatedPictureTask):
    """Boxes with a class each."""

    name = detecting.TASK

    @property
    def num_classes(self):
        return len(self.data.labels)

    def make_answer(self, model):
        config, shape = self.config, model.output_shape
        if len(shape) != 4 or shape[-1] != 5 or shape[2] != len(self.data.labels):
            raise ValueError(
                f"{model.name!r} gives {shape[1:]} per picture, but {self.data.name!r} has {len(self.data.labels)} "
                f"classes. Accepted: (regions, {len(self.data.labels)}, 5), a box and a score for each class."
            )
        return DetectionAnswer(self.data.labels, config.score_threshold, config.iou_threshold, config.most)

    def encode(self, y):
        return y

    def augment(self, preprocessing):
        if not self.config.augment:
            return None
        return AnnotatedAugmentation(self.config.augment, self.config.seed, preprocessing, mirrored)

    def in_training(self, network, preprocessing):
        trained = detecting.in_training(network, self.config.seed)
        self.parts = trained.parts
        return trained, lambda x, y: ((x, y), y)

    def loss(self):
        return parts_of_loss.SumOfParts()

    def metrics(self):
        return parts_of_loss.parts(*self.parts)

    def at_once(self, preprocessing):
        return batch_that_fits(preprocessing.shape, min(EVALUATION_BATCH, max(self.config.batch_size, 16)))

    def answers(self, bundle):
        """The detections of every test picture in its own pixels, and its size; and the true boxes."""
        preprocessing = bundle.preprocessing

        def read(x, y):
            pixels = self.stored(x, preprocessing)
            return preprocessing.one(pixels), (y, tf.shape(pixels)[:2])

        part = prepare(
            self.data.parts[self.data.evaluated_on],
            self.data.sizes[self.data.evaluated_on],
            Reading(read),
            bytes_per_example=4 * int(np.prod(preprocessing.shape)),
        )
        found, truth = [], []
        for x, (rows, size) in part.batches(self.at_once(preprocessing)).as_numpy_iterator():
            detections = bundle.answer.of_sizes(tf.constant(bundle.model.predict_on_batch(x)), size)
            found.append({"size": size} | {name: value.numpy() for name, value in detections.items()})
            truth.append(rows)
        return all_joined(found), np.concatenate(truth)

    def figures(self, answers, y):
        return average_precision(y, answers, answers["size"], self.num_classes)


def mirrored(rows: tf.Tensor) -> tf.Tensor:
    """Boxes `(batch, most, 6)` of pictures whose left and right are exchanged."""
    real = rows[..., LABEL, tf.newaxis] >= 0
    y, x, bottom, right, label, ignored = tf.unstack(rows, axis=-1)
    return tf.where(real, tf.stack([y, 1 - right, bottom, 1 - x, label, ignored], axis=-1), rows)

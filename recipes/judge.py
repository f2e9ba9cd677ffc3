"""The judge of generated pictures: a classifier of ours, by whose eyes they are compared with real ones.

Papers look through Inception-v3 trained on ImageNet. Ours is LeNet-5, trained by our own recipe: on the classes of the
same pictures where they have any, else on `digits`. So figures are comparable for one judge, and with no paper's.
"""

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from recipes import frechet
from recipes.bundle import Bundle
from recipes.config import Config, ImageConfig
from recipes.data import Data
from recipes.run import load_run

FOLDER = "judge"
NETWORK, ELSEWHERE = "lenet5", "digits"
EPOCHS = 5
AT_ONCE = 500


class Seen(NamedTuple):
    """What the judge sees of n pictures: what enters its last layer, `(n, k)`, and their class ids, `(n,)`."""

    features: np.ndarray
    class_ids: np.ndarray


@dataclass(frozen=True)
class Judge:
    """A classifier, and whether its classes are those of the pictures that it judges.

    Attributes:
        bundle: the classifier.
        knows_classes: so that what it says of a picture's class has a meaning.
    """

    bundle: Bundle
    knows_classes: bool

    def looks_at(self, unit: np.ndarray) -> Seen:
        """Pictures in 0..1, `(n, height, width, channels)` → what is seen of them."""
        starts = range(0, len(unit), AT_ONCE)
        found = [self._network.predict_on_batch(self._read(unit[start : start + AT_ONCE]).numpy()) for start in starts]
        features, logits = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Seen(features.reshape(len(features), -1), np.argmax(logits, axis=-1))

    @functools.cached_property
    def _network(self):
        last = self.bundle.model.layers[-1]
        return keras.Model(self.bundle.model.inputs[0], [last.input, last.output])

    @functools.cached_property
    def _read(self):
        spec = tf.TensorSpec([None, None, None, None], tf.float32)
        preprocessing = self.bundle.preprocessing
        kind = tf.TensorSpec(preprocessing.shape, tf.float32)
        return tf.function(
            lambda unit: tf.map_fn(lambda one: preprocessing.one(one * 255), unit, fn_output_signature=kind),
            input_signature=[spec],
        )

    def figures(self, generated: Seen, real: Seen) -> dict[str, float]:
        """How near generated pictures are to real ones: `frechet`, and where the classes have a meaning, more.

        These are `mode_coverage` and, in nats, `class_divergence`: see `recipes.frechet`.
        """
        found = {"frechet": frechet.frechet_distance(generated.features, real.features)}
        if self.knows_classes:
            count = len(self.bundle.labels)
            found["mode_coverage"] = frechet.mode_coverage(generated.class_ids, count)
            found["class_divergence"] = frechet.class_divergence(generated.class_ids, real.class_ids, count)
        return found


def judge_of(data: Data, folder: Path, given: str | None, config: Config) -> Judge:
    """The judge of a Run, in its folder: the one that is there, that was given, or one that is trained now.

    Args:
        data: the pictures, perhaps with classes.
        folder: of the Run.
        given: folder of a classifier's Run.
        config: of the training that the pictures come from.
    """
    from recipes.tasks.image_classification import ImageClassification
    from recipes.training import train

    place = folder / FOLDER
    if not place.exists():
        if given is not None:
            if load_run(given).bundle.task != ImageClassification.name:
                raise ValueError(f"The judge must be a Run of image classification. Received: {given}.")
            shutil.copytree(given, place)
        else:
            own = ImageConfig(
                run_dir=str(place), data_dir=config.data_dir, epochs=EPOCHS, seed=config.seed, verbose=False
            )
            train(ImageClassification, NETWORK, data if data.labels else ELSEWHERE, own)
    bundle = load_run(place).bundle
    return Judge(bundle, bundle.labels == data.labels)

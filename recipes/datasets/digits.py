"""Handwritten digits: the 1,797 scans of 8 x 8 pixels that scikit-learn ships."""

import numpy as np
import tensorflow_datasets as tfds

TEST_SIZE = 360
SPLIT_SEED = 0
INK_LEVELS = 16


class Digits(tfds.core.GeneratorBasedBuilder):
    """Digits written by 43 people, as PNG pictures."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (the form TFDS prescribes)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "1,797 handwritten digits of 43 people. Each 32 x 32 bitmap was cut into blocks of 4 x 4, and the "
                "pixels with ink were counted per block: 8 x 8 counts of 0 to 16. A count v is stored as the grey "
                "level v * 255 / 16 rounded half up; the count comes back as round(level * 16 / 255). 1,437 training "
                "and 360 test examples, every digit in the same proportion in both."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint8, encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            citation=(
                "@misc{alpaydin1998optical, title={Optical Recognition of Handwritten Digits}, "
                "author={Alpaydin, E. and Kaynak, C.}, year={1998}, publisher={UCI Machine Learning Repository}, "
                "doi={10.24432/C50P49}}"
            ),
        )

    def _split_generators(self, dl_manager):
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        scans = load_digits()
        images, labels = ink_to_grey(scans.images)[..., np.newaxis], scans.target
        train, test = train_test_split(
            np.arange(len(labels)), test_size=TEST_SIZE, stratify=labels, random_state=SPLIT_SEED
        )
        return {
            "train": self._generate_examples(images, labels, np.sort(train)),
            "test": self._generate_examples(images, labels, np.sort(test)),
        }

    def _generate_examples(self, images, labels, indices):
        for index in indices.tolist():
            yield index, {"image": images[index], "label": int(labels[index])}


def ink_to_grey(counts: np.ndarray) -> np.ndarray:
    """Ink counts 0..16 as grey levels 0..255 (uint8), rounded half up: 0 -> 0, 8 -> 128, 16 -> 255.

    Whole-number arithmetic: the levels are the same on every machine. All 17 are distinct, so nothing is lost.
    """
    counts = counts.astype(np.int64)
    return ((counts * 255 + INK_LEVELS // 2) // INK_LEVELS).astype(np.uint8)

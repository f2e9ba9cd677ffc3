"""Handwritten digits: the 1,797 scans of 8 x 8 pixels that scikit-learn ships."""

import functools

import numpy as np
import tensorflow_datasets as tfds

TEST_SIZE = 360
SPLIT_SEED = 0
INK_LEVELS = 16
LICENSE = "CC-BY-4.0"


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
            license=LICENSE,
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            citation=(
                "@misc{alpaydin1998optical, title={Optical Recognition of Handwritten Digits}, "
                "author={Alpaydin, E. and Kaynak, C.}, year={1998}, publisher={UCI Machine Learning Repository}, "
                "doi={10.24432/C50P49}}"
            ),
        )

    def _split_generators(self, dl_manager):
        return {part: self._generate_examples(*scans(part)) for part in ("train", "test")}

    def _generate_examples(self, indices, images, labels):
        for index, image, label in zip(indices.tolist(), images, labels.tolist(), strict=True):
            yield index, {"image": image[..., np.newaxis], "label": label}


@functools.cache
def scans(part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The scans of "train" or "test".

    Returns:
        Their indices among scikit-learn's, int64 [N], rising; their grey levels, uint8 [N, 8, 8], of which 0 is paper
        and 255 ink; and the digits, int64 [N].
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    everything = load_digits()
    labels = everything.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SIZE, stratify=labels, random_state=SPLIT_SEED
    )
    indices = np.sort({"train": train, "test": test}[part])
    return indices, ink_to_grey(everything.images[indices]), labels[indices]


def ink_to_grey(counts: np.ndarray) -> np.ndarray:
    """Ink counts 0..16 as grey levels 0..255 (uint8), rounded half up: 0 -> 0, 8 -> 128, 16 -> 255.

    Whole-number arithmetic: the levels are the same on every machine. All 17 are distinct, so nothing is lost.
    """
    counts = counts.astype(np.int64)
    return ((counts * 255 + INK_LEVELS // 2) // INK_LEVELS).astype(np.uint8)

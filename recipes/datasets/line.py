"""A line with noise: y = 2 x + 1."""

import numpy as np
import tensorflow_datasets as tfds

SLOPE = 2.0
INTERCEPT = 1.0
NOISE = 0.1
SIZES = {"train": 1000, "test": 200}
SEED = 0


class Line(tfds.core.GeneratorBasedBuilder):
    """Points about a line, for a regression whose answer is known."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (the form TFDS prescribes)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Points (x, y) with x uniform in [-1, 1] and y = 2 x + 1 plus Gaussian noise of standard deviation "
                "0.1: no model has a mean squared error below 0.01. 1,000 training and 200 test examples."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "features": {"x": tfds.features.Scalar(np.float32)},
                    "target": tfds.features.Scalar(np.float32, doc="y"),
                }
            ),
            supervised_keys=("features", "target"),
            license="Apache-2.0",  # of this package, which makes it
            homepage="https://en.wikipedia.org/wiki/Simple_linear_regression",
            citation=(
                "@book{legendre1805nouvelles, title={Nouvelles m{\\'e}thodes pour la d{\\'e}termination des orbites "
                "des com{\\`e}tes}, author={Legendre, Adrien-Marie}, year={1805}, publisher={Firmin Didot}}"
            ),
        )

    def _split_generators(self, dl_manager):
        random = np.random.RandomState(SEED)
        return {part: self._generate_examples(*draw_points(random, size)) for part, size in SIZES.items()}

    def _generate_examples(self, x, y):
        for index, (xi, yi) in enumerate(zip(x, y, strict=True)):
            yield index, {"features": {"x": xi}, "target": yi}


def draw_points(random: np.random.RandomState, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `size` points about the line: x and y, float32 [size]."""
    x = random.uniform(-1.0, 1.0, size)
    y = SLOPE * x + INTERCEPT + random.normal(0.0, NOISE, size)
    return x.astype(np.float32), y.astype(np.float32)

"""Breast cancer, Wisconsin (diagnostic): 569 tumours, 30 measurements of cell nuclei, malignant or benign."""

import numpy as np
import tensorflow_datasets as tfds

TEST_SIZE = 114
SPLIT_SEED = 0

MEASURES = {
    "radius": "mean distance from the centre to the perimeter",
    "texture": "standard deviation of grey levels",
    "perimeter": "length of the outline",
    "area": "area inside the outline",
    "smoothness": "local variation of the radius",
    "compactness": "perimeter^2 / area - 1",
    "concavity": "severity of the concave parts of the outline",
    "concave_points": "number of concave parts of the outline",
    "symmetry": "difference between the halves on both sides of the longest chord",
    "fractal_dimension": "coastline approximation - 1",
}
COLUMNS = (
    *(f"mean_{measure}" for measure in MEASURES),
    *(f"{measure}_error" for measure in MEASURES),
    *(f"worst_{measure}" for measure in MEASURES),
)
CLASSES = ("malignant", "benign")


class BreastCancer(tfds.core.GeneratorBasedBuilder):
    """Tumours described by their cell nuclei."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (the form TFDS prescribes)

    def _info(self) -> tfds.core.DatasetInfo:
        measures = "; ".join(f"{name}: {meaning}" for name, meaning in MEASURES.items())
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "569 breast tumours (212 malignant, 357 benign). Ten measures of the cell nuclei in a digitised image "
                f"of a fine-needle aspirate ({measures}), each as its mean, its standard error, and its worst value "
                "(mean of the three largest). 455 training and 114 test examples, the classes in the same proportion "
                "in both."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "features": {column: tfds.features.Scalar(np.float32) for column in COLUMNS},
                    "label": tfds.features.ClassLabel(names=CLASSES),
                }
            ),
            supervised_keys=("features", "label"),
            license="CC-BY-4.0",
            homepage="https://archive.ics.uci.edu/dataset/17/breast+cancer+wisconsin+diagnostic",
            citation=(
                "@misc{wolberg1995breast, title={Breast Cancer Wisconsin (Diagnostic)}, "
                "author={Wolberg, William and Mangasarian, Olvi and Street, Nick and Street, W.}, year={1995}, "
                "publisher={UCI Machine Learning Repository}, doi={10.24432/C5DW2B}}"
            ),
        )

    def _split_generators(self, dl_manager):
        from sklearn.datasets import load_breast_cancer
        from sklearn.model_selection import train_test_split

        tumours = load_breast_cancer()
        columns = tuple(name.replace(" ", "_") for name in tumours.feature_names)
        if columns != COLUMNS or tuple(tumours.target_names) != CLASSES:
            raise ValueError(f"scikit-learn's breast cancer columns are {columns}, not {COLUMNS}.")
        train, test = train_test_split(
            np.arange(len(tumours.target)), test_size=TEST_SIZE, stratify=tumours.target, random_state=SPLIT_SEED
        )
        return {
            "train": self._generate_examples(tumours, np.sort(train)),
            "test": self._generate_examples(tumours, np.sort(test)),
        }

    def _generate_examples(self, tumours, indices):
        for index in indices.tolist():
            row = tumours.data[index].astype(np.float32)
            yield index, {"features": dict(zip(COLUMNS, row, strict=True)), "label": int(tumours.target[index])}

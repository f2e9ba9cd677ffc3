"""Diabetes progression: 442 patients, ten measurements, one number to predict."""

import numpy as np
import tensorflow_datasets as tfds

TEST_SIZE = 89
SPLIT_SEED = 0

COLUMNS = {
    "age": "age in years",
    "sex": "1 or 2, as coded by the source",
    "bmi": "body mass index, kg/m^2",
    "bp": "average blood pressure, mmHg",
    "s1": "total serum cholesterol (tc), mg/dl",
    "s2": "low-density lipoproteins (ldl), mg/dl",
    "s3": "high-density lipoproteins (hdl), mg/dl",
    "s4": "total cholesterol / hdl (tch)",
    "s5": "natural logarithm of serum triglycerides (ltg)",
    "s6": "blood sugar (glu), mg/dl",
}


class Diabetes(tfds.core.GeneratorBasedBuilder):
    """Disease progression one year after ten measurements, in raw units."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (the form TFDS prescribes)

    def _info(self) -> tfds.core.DatasetInfo:
        measurements = "; ".join(f"{name}: {meaning}" for name, meaning in COLUMNS.items())
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                f"442 diabetes patients with ten measurements in raw units ({measurements}), and a quantitative "
                "measure of disease progression one year later (25 to 346). 353 training and 89 test examples."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "features": {
                        name: tfds.features.Scalar(np.float32, doc=meaning) for name, meaning in COLUMNS.items()
                    },
                    "target": tfds.features.Scalar(np.float32, doc="disease progression after one year"),
                }
            ),
            supervised_keys=("features", "target"),
            license="BSD-3-Clause, as scikit-learn ships it; its source names none",
            homepage="https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html",
            citation=(
                "@article{efron2004least, title={Least angle regression}, "
                "author={Efron, Bradley and Hastie, Trevor and Johnstone, Iain and Tibshirani, Robert}, "
                "journal={The Annals of Statistics}, volume={32}, number={2}, pages={407--499}, year={2004}}"
            ),
        )

    def _split_generators(self, dl_manager):
        from sklearn.datasets import load_diabetes
        from sklearn.model_selection import train_test_split

        patients = load_diabetes(scaled=False)
        if patients.feature_names != list(COLUMNS):
            raise ValueError(f"scikit-learn's diabetes columns are {patients.feature_names}, not {list(COLUMNS)}.")
        train, test = train_test_split(np.arange(len(patients.target)), test_size=TEST_SIZE, random_state=SPLIT_SEED)
        return {
            "train": self._generate_examples(patients, np.sort(train)),
            "test": self._generate_examples(patients, np.sort(test)),
        }

    def _generate_examples(self, patients, indices):
        for index in indices.tolist():
            row = patients.data[index].astype(np.float32)
            yield (
                index,
                {"features": dict(zip(COLUMNS, row, strict=True)), "target": np.float32(patients.target[index])},
            )

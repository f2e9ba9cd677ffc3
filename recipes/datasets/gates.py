"""Logic gates: the truth tables of AND, OR and XOR."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import tensorflow_datasets as tfds


@dataclasses.dataclass(kw_only=True)
class GateConfig(tfds.core.BuilderConfig):
    """One gate: `output` maps two booleans to one."""

    output: Callable[[bool, bool], bool]


class Gates(tfds.core.GeneratorBasedBuilder):
    """Two binary inputs, one binary output. A single line separates the classes of AND and OR, not those of XOR."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (the form TFDS prescribes)
    BUILDER_CONFIGS = [  # noqa: RUF012
        GateConfig(name="and", description="True where both inputs are.", output=lambda a, b: a and b),
        GateConfig(name="or", description="True where at least one input is.", output=lambda a, b: a or b),
        GateConfig(name="xor", description="True where exactly one input is.", output=lambda a, b: a != b),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "The truth table of a logic gate: four rows, in counting order. The training and the test part both "
                "hold all four: what is asked is whether a network can represent the gate at all."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "features": {"a": tfds.features.Scalar(np.float32), "b": tfds.features.Scalar(np.float32)},
                    "label": tfds.features.ClassLabel(names=["false", "true"]),
                }
            ),
            supervised_keys=("features", "label"),
            license="Apache-2.0",  # of this package, which makes it
            homepage="https://mitpress.mit.edu/9780262534772/perceptrons/",
            citation=(
                "@book{minsky1969perceptrons, title={Perceptrons: An Introduction to Computational Geometry}, "
                "author={Minsky, Marvin and Papert, Seymour}, publisher={MIT Press}, year={1969}}"
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(), "test": self._generate_examples()}

    def _generate_examples(self):
        for row, (a, b) in enumerate(itertools.product((False, True), repeat=2)):
            features = {"a": np.float32(a), "b": np.float32(b)}
            yield row, {"features": features, "label": int(self.builder_config.output(a, b))}

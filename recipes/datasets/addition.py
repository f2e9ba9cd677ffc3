"""Addition as text: "12+345" and its sum "357"."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

SEED = 0


@dataclasses.dataclass(kw_only=True)
class AdditionConfig(tfds.core.BuilderConfig):
    """Numbers of at most `digits` digits, so many sums for training and for the test."""

    digits: int
    sizes: dict[str, int]


def _config(digits: int, train: int, test: int) -> AdditionConfig:
    description = f"Numbers from 0 to {10**digits - 1:,}: {train:,} training and {test:,} test examples."
    return AdditionConfig(
        name=str(digits), description=description, digits=digits, sizes={"train": train, "test": test}
    )


class Addition(tfds.core.GeneratorBasedBuilder):
    """Two numbers with a plus between them, and their sum."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (the form TFDS prescribes)
    BUILDER_CONFIGS = [  # noqa: RUF012 (the first is the default)
        _config(3, 50_000, 5_000),
        _config(1, 80, 20),
        _config(2, 8_000, 2_000),
        _config(4, 100_000, 5_000),
        _config(5, 100_000, 5_000),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Sums in writing, without leading zeros: the source is a+b, the target the sum. Both numbers are "
                "drawn uniformly; every pair is there once, so no sum of the test part is seen in training, but for "
                "the one that is written the other way round. With one and two digits the two parts are all pairs "
                "there are."
            ),
            features=tfds.features.FeaturesDict({"source": tfds.features.Text(), "target": tfds.features.Text()}),
            supervised_keys=("source", "target"),
            license="Apache-2.0",  # of this package, which makes it
            homepage="https://arxiv.org/abs/1410.4615",
            citation=(
                "@article{zaremba2014learning, title={Learning to execute}, "
                "author={Zaremba, Wojciech and Sutskever, Ilya}, journal={arXiv preprint arXiv:1410.4615}, year={2014}}"
            ),
        )

    def _split_generators(self, dl_manager):
        sizes = self.builder_config.sizes
        pairs = draw_pairs(np.random.RandomState(SEED), self.builder_config.digits, sum(sizes.values()))
        return {
            "train": self._generate_examples(pairs[: sizes["train"]]),
            "test": self._generate_examples(pairs[sizes["train"] :]),
        }

    def _generate_examples(self, pairs):
        for a, b in pairs:
            yield f"{a}+{b}", {"source": f"{a}+{b}", "target": str(a + b)}


def draw_pairs(random: np.random.RandomState, digits: int, size: int) -> list[tuple[int, int]]:
    """Draw `size` different pairs of numbers of at most so many digits."""
    pairs = {}
    while len(pairs) < size:
        drawn = random.randint(0, 10**digits, (size, 2), dtype=np.int64)
        pairs.update(dict.fromkeys(map(tuple, drawn.tolist())))
    return list(pairs)[:size]

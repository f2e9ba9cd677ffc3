"""Words of random letters, and the same read backwards."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

SIZES = {"train": 20_000, "test": 2_000}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SEED = 0


@dataclasses.dataclass(kw_only=True)
class ReverseConfig(tfds.core.BuilderConfig):
    """Words of 1 to `longest` letters."""

    longest: int


class Reverse(tfds.core.GeneratorBasedBuilder):
    """A word, and the word backwards."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (the form TFDS prescribes)
    BUILDER_CONFIGS = [  # noqa: RUF012 (the first is the default)
        ReverseConfig(name=str(longest), description=f"Words of 1 to {longest} letters.", longest=longest)
        for longest in (10, 5, 20)
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Words of random letters a to z of random length, and the same backwards: abc and cba. Every word is "
                "there once. 20,000 training and 2,000 test examples."
            ),
            features=tfds.features.FeaturesDict({"source": tfds.features.Text(), "target": tfds.features.Text()}),
            supervised_keys=("source", "target"),
            license="Apache-2.0",  # of this package, which makes it
            homepage="https://arxiv.org/abs/1409.3215",
            citation=(
                "@inproceedings{sutskever2014sequence, title={Sequence to sequence learning with neural networks}, "
                "author={Sutskever, Ilya and Vinyals, Oriol and Le, Quoc V.}, "
                "booktitle={Advances in Neural Information Processing Systems}, year={2014}}"
            ),
        )

    def _split_generators(self, dl_manager):
        words = draw_words(np.random.RandomState(SEED), self.builder_config.longest, sum(SIZES.values()))
        return {
            "train": self._generate_examples(words[: SIZES["train"]]),
            "test": self._generate_examples(words[SIZES["train"] :]),
        }

    def _generate_examples(self, words):
        for word in words:
            yield word, {"source": word, "target": word[::-1]}


def draw_words(random: np.random.RandomState, longest: int, size: int) -> list[str]:
    """Draw `size` different words of 1 to `longest` letters, the lengths uniform as far as there are so many words."""
    words = {}
    while len(words) < size:
        lengths = random.randint(1, longest + 1, size, dtype=np.int64)
        letters = random.randint(0, len(LETTERS), (size, longest), dtype=np.int64)
        rows = ("".join(LETTERS[i] for i in row) for row in letters.tolist())
        words.update(dict.fromkeys(row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)))
    return list(words)[:size]

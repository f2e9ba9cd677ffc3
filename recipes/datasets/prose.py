"""Technical English to model: the running text of docstrings, one document per module."""

import tensorflow_datasets as tfds

from recipes.datasets import docstrings

PACKAGES = ("python", "numpy", "scipy", "sklearn", "matplotlib", "pandas", "keras", "tensorflow")
TEST_SHARE = 0.1
HELD_OUT_SHARE = 0.15
"""That of `sentences`: what is learned from here has not met the sentences of its test part."""


class Prose(tfds.core.GeneratorBasedBuilder):
    """Some three megabytes of running text."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {  # noqa: RUF012 (the form TFDS prescribes)
        "1.0.0": "First release.",
        "2.0.0": "No module of the test part of sentences is in the training part.",
    }

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "The running text of the docstrings of Python and seven packages: a document per module, its "
                "paragraphs parted by an empty line, whole sentences without code, tables and lists. A paragraph that "
                "is there more than once is kept once. About three megabytes, read from the installed packages, so "
                "that the text depends on the versions, which stand in the metadata. A module is in the test part "
                "(about 10 %), in the validation part (about 5 %) or in the training part, which has none of the "
                "modules in the test part of sentences."
            ),
            features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
            license=docstrings.licences(PACKAGES),
            homepage="https://docs.python.org/3/library/",
            citation="The authors of Python, NumPy, SciPy, scikit-learn, matplotlib, pandas, Keras and TensorFlow.",
            metadata=tfds.core.MetadataDict(versions=docstrings.versions(PACKAGES)),
        )

    def _split_generators(self, dl_manager):
        parts = {"train": {}, "validation": {}, "test": {}}
        for module, text in documents().items():
            parts[_part(module)][module] = text
        return {part: self._generate_examples(texts) for part, texts in parts.items()}

    def _generate_examples(self, texts):
        for module, text in texts.items():
            yield module, {"text": text}


def documents() -> dict[str, str]:
    """The text of every module that has one, by the path of its file."""
    seen, texts = set(), {}
    for package in PACKAGES:
        for module, paragraphs in docstrings.modules(package).items():
            new = [text for text in dict.fromkeys(map(" ".join, paragraphs)) if text not in seen]
            seen.update(new)
            if new:
                texts[module] = "\n\n".join(new)
    return texts


def _part(module: str) -> str:
    share = docstrings.share(module)
    if share < TEST_SHARE:
        return "test"
    return "validation" if share < HELD_OUT_SHARE else "train"

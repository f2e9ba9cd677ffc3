"""Sentences of technical English from docstrings, to be told apart by their subject."""

import re

import tensorflow_datasets as tfds

from recipes.datasets import docstrings

FEWEST_WORDS = 8
MOST_PER_CLASS = 3000
TEST_SHARE = 0.15

_INTERNET = (
    "asynchat|asyncio|asyncore|cgi|email|ftplib|html|http|imaplib|ipaddress|mailbox|nntplib|poplib|smtp|socket|ssl|"
    "telnetlib|urllib|webbrowser|wsgiref|xmlrpc"
)
# By class: what the path of a module begins with.
CLASSES = {
    "internet": rf"python/({_INTERNET})|aiohttp/|urllib3/",
    "learning": r"sklearn/",
    "plots": r"matplotlib/",
    "tables": r"pandas/",
}
PACKAGES = ("python", "aiohttp", "urllib3", "sklearn", "matplotlib", "pandas")
# A sentence that names a package would say its class.
_NAMED = re.compile(r"aiohttp|urllib3|scikit|sklearn|matplotlib|pyplot|pandas", re.IGNORECASE)


class Sentences(tfds.core.GeneratorBasedBuilder):
    """What is this sentence about: the internet, machine learning, plots or tables?"""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}  # noqa: RUF012 (the form TFDS prescribes)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Sentences from the docstrings of Python's modules for the internet with aiohttp and urllib3 (class "
                "internet), of scikit-learn (learning), of matplotlib (plots) and of pandas (tables): about 10,000, "
                "at most 3,000 of a class, each of 8 to 50 words, whole, without code and tables, and naming none of "
                "the packages. They are read from the installed packages, so their number depends on the versions, "
                "which stand in the metadata. Every sentence is there once; those of one module are all in the "
                "training or all in the test part (about 15 %). The labels are no more than the sentences' origin: "
                "not every sentence tells it. A logistic regression on counts of words is right in about 80 % of the "
                "test part."
            ),
            features=tfds.features.FeaturesDict(
                {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=list(CLASSES))}
            ),
            supervised_keys=("text", "label"),
            license=docstrings.licences(PACKAGES),
            homepage="https://docs.python.org/3/library/internet.html",
            citation="The authors of Python, aiohttp, urllib3, scikit-learn, matplotlib and pandas.",
            metadata=tfds.core.MetadataDict(versions=docstrings.versions(PACKAGES)),
        )

    def _split_generators(self, dl_manager):
        examples = draw_sentences()
        is_test = {module: docstrings.share(module) < TEST_SHARE for module, _, _ in examples}
        return {
            "train": self._generate_examples([e for e in examples if not is_test[e[0]]]),
            "test": self._generate_examples([e for e in examples if is_test[e[0]]]),
        }

    def _generate_examples(self, examples):
        for _, text, label in examples:
            yield text, {"text": text, "label": label}


def draw_sentences() -> list[tuple[str, str, str]]:
    """Module, sentence and class of every example, in an order that depends on the sentences alone.

    Of a sentence that is there more than once the first is taken; one of two classes is left out.
    """
    found = {}
    for package in PACKAGES:
        for module, paragraphs in docstrings.modules(package, "|".join(CLASSES.values())).items():
            label = next(label for label, modules in CLASSES.items() if re.match(modules, module))
            for text in (text for sentences in paragraphs for text in sentences):
                if len(text.split()) >= FEWEST_WORDS and not _NAMED.search(text):
                    found.setdefault(text, []).append((module, label))
    of_class = {label: [] for label in CLASSES}
    for text in sorted(found, key=docstrings.share):
        origins = found[text]
        if len({label for _, label in origins}) == 1:
            module, label = origins[0]
            of_class[label].append((module, text, label))
    return [example for examples in of_class.values() for example in examples[:MOST_PER_CLASS]]

"""Data sets that need no network, as TFDS builders. Importing this package registers them with TFDS.

>>> import recipes.datasets
>>> tfds.load("digits", split="train")

They come from what scikit-learn and scikit-image ship (`digits`, `diabetes`, `breast_cancer`, `photographs`), are made
of these (`digit_scenes`, `digits_m`), are generated (`addition`, `gates`, `line`, `reverse`), or are the text of
docstrings (`prose`, `sentences`). Random choices are drawn from `numpy.random.RandomState`, whose stream NumPy has
frozen, so every machine prepares the same examples in the same order. Only docstrings depend on the installed versions,
which the metadata of these data sets names, and three photographs on how the installed Pillow decodes JPEG. One
configuration, `digits_m/mnist`, is made of MNIST, which must lie prepared.
"""

from recipes.datasets.addition import Addition
from recipes.datasets.breast_cancer import BreastCancer
from recipes.datasets.diabetes import Diabetes
from recipes.datasets.digit_scenes import DigitScenes
from recipes.datasets.digits import Digits
from recipes.datasets.digits_m import DigitsM
from recipes.datasets.gates import Gates
from recipes.datasets.line import Line
from recipes.datasets.photographs import Photographs
from recipes.datasets.prose import Prose
from recipes.datasets.reverse import Reverse
from recipes.datasets.sentences import Sentences

BUILDERS = {
    builder.name: builder
    for builder in (
        Addition,
        BreastCancer,
        Diabetes,
        DigitScenes,
        Digits,
        DigitsM,
        Gates,
        Line,
        Photographs,
        Prose,
        Reverse,
        Sentences,
    )
}
NAMES = tuple(sorted(BUILDERS))

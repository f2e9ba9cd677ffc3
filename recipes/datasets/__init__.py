"""Data sets that need no network, as TFDS builders. Importing this package registers them with TFDS.

>>> import recipes.datasets
>>> tfds.load("digits", split="train")

They come from what scikit-learn ships (`digits`, `diabetes`, `breast_cancer`), are generated (`addition`, `gates`,
`line`, `reverse`), or are the text of docstrings (`prose`, `sentences`). Random choices are drawn from
`numpy.random.RandomState`, whose stream NumPy has frozen, so every machine prepares the same examples in the same
order. Only docstrings depend on the installed versions, which the metadata of these data sets names.
"""

from recipes.datasets.addition import Addition
from recipes.datasets.breast_cancer import BreastCancer
from recipes.datasets.diabetes import Diabetes
from recipes.datasets.digits import Digits
from recipes.datasets.gates import Gates
from recipes.datasets.line import Line
from recipes.datasets.prose import Prose
from recipes.datasets.reverse import Reverse
from recipes.datasets.sentences import Sentences

BUILDERS = {
    builder.name: builder
    for builder in (Addition, BreastCancer, Diabetes, Digits, Gates, Line, Prose, Reverse, Sentences)
}
NAMES = tuple(sorted(BUILDERS))

"""Data sets that need no network, as TFDS builders. Importing this package registers them with TFDS.

>>> import recipes.datasets
>>> tfds.load("digits", split="train")

They come from what scikit-learn ships (`digits`, `diabetes`, `breast_cancer`) or are generated (`gates`, `line`).
Random choices are drawn from `numpy.random.RandomState`, whose stream NumPy has frozen, so every machine prepares the
same examples in the same order.
"""

from recipes.datasets.breast_cancer import BreastCancer
from recipes.datasets.diabetes import Diabetes
from recipes.datasets.digits import Digits
from recipes.datasets.gates import Gates
from recipes.datasets.line import Line

BUILDERS = {builder.name: builder for builder in (BreastCancer, Diabetes, Digits, Gates, Line)}
NAMES = tuple(sorted(BUILDERS))

"""What a recipe takes as `data`, turned into named parts of raw examples.

>>> from recipes.data import load
>>> data = load("digits", task="image-classification")
>>> data.sizes
{'train': 1294, 'validation': 143, 'test': 360}
"""

from recipes.data.loading import Data, load

__all__ = ["Data", "load"]

"""The way in for tables, shared by every task that reads them."""

import keras
import numpy as np

from recipes.data import Data
from recipes.pipeline import collect
from recipes.preprocessing import TablePreprocessing
from recipes.tasks.task import input_shape_of

FAR_APART = 10.0


def table_preprocessing(model: str | keras.Model, data: Data, standardize: bool | None) -> TablePreprocessing:
    """Standardise the columns, or leave them.

    Args:
        model: a registry name, or a model whose input must be as wide as the table.
        data: the table; mean and deviation are those of its training part.
        standardize: None decides by `scales_far_apart`.
    """
    width = len(data.columns)
    if not isinstance(model, str) and input_shape_of(model) != (width,):
        raise ValueError(
            f"{model.name!r} takes {input_shape_of(model)} per example, but {data.name!r} has {width} columns: "
            f"{', '.join(data.columns[:10])}{', …' if width > 10 else ''}. Accepted: ({width},)."
        )
    rows, _ = collect(data.parts["train"].batch(4096))
    mean, std = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
    if standardize is None:
        standardize = scales_far_apart(mean, std)
    if not standardize:
        return TablePreprocessing(data.columns, (0.0,) * width, (1.0,) * width)
    std = np.where(std > 0, std, 1.0)  # a constant column becomes 0
    return TablePreprocessing(data.columns, tuple(mean.tolist()), tuple(std.tolist()))


def scales_far_apart(mean: np.ndarray, std: np.ndarray) -> bool:
    """Whether gradient descent would suffer: deviations, or a mean and its deviation, differ by a factor above 10.

    Numbers such as 0 and 1, or those between -1 and 1, are left as they are, so that learned weights can be read.
    """
    spread = std[std > 0]
    if not spread.size:
        return False
    return bool(
        spread.max() / spread.min() > FAR_APART
        or (np.abs(mean[std > 0]) / spread).max() > FAR_APART
        or spread.max() > FAR_APART
    )

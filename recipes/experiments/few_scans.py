"""A few scans of every class of `digits` to learn from."""

import functools
import tempfile

import numpy as np

from recipes.experiments.experiment import FewScans


def draw(few: FewScans, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scans uint8 [N, 8, 8, 1] and labels of the training part, so many of every class, and of the whole test part.

    The labels have other names than those of MNIST, so that what was learned there brings no head along.
    """
    (x, y), test = _parts()
    rng = np.random.default_rng(seed)
    chosen = np.concatenate(
        [rng.choice(np.flatnonzero(y == label), few.per_class, replace=False) for label in np.unique(y)]
    )
    return {
        part: (x, np.char.add("digit ", y.astype(str)))
        for part, (x, y) in {"train": (x[chosen], y[chosen]), "test": test}.items()
    }


@functools.cache
def _parts():
    """All scans and digits of the training part and of the test part."""
    import tensorflow_datasets as tfds

    from recipes.datasets.digits import Digits

    with tempfile.TemporaryDirectory() as folder:
        builder = Digits(data_dir=folder)
        builder.download_and_prepare()
        parts = builder.as_dataset(split=["train", "test"], as_supervised=True, batch_size=-1)
        return tfds.as_numpy(parts)

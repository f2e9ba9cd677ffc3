"""How near generated pictures are to real ones, as two sets: quality in one number, and whether any kind is missing."""

from collections.abc import Sequence

import numpy as np

LEAST_SHARE = 0.1
"""Of a class's fair share of the samples: what it must get to count as covered."""


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Fréchet's distance between two sets of features, each taken for a Gaussian.

    Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium" (2017), equation
    6, after Dowson & Landau (1982): with means m and covariances C

        |m_a - m_b|² + tr(C_a + C_b - 2 (C_a^½ C_b C_a^½)^½)

    which the paper calls the Fréchet Inception Distance where the features are those of Inception's last pooling. It is
    the squared distance, in the features' unit squared. Estimates from few examples are too large; compare only those
    made from equal numbers, of more examples than features.

    Args:
        features_a, features_b: `(examples, n)`, of as many examples as there are, at least 2.

    Returns:
        0 for equal sets, no bound upwards. The order of the two is of no account.

    Raises:
        ValueError: fewer than 2 examples, sets of unlike widths, or numbers that are not finite.
    """
    a, b = _rows(features_a), _rows(features_b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"Both sets must have the same features. Received: {a.shape[1]} of the first, {b.shape[1]} of the second."
        )
    shift = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    root_a, root_b = _root(a), _root(b)
    # The trace of (C_a^½ C_b C_a^½)^½ is the sum of the singular values of C_a^½ C_b^½, and any R with R'R = C serves
    # as its root. So no root is taken of a rounding error, and covariances of few examples do no harm.
    common = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = shift + np.sum(root_a**2) + np.sum(root_b**2) - 2 * common
    return max(0.0, float(distance))


def _rows(features) -> np.ndarray:
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or len(rows) < 2 or not rows.shape[1]:
        raise ValueError(f"Features must be (examples, n), of at least 2 examples. Received: {rows.shape}.")
    if not np.isfinite(rows).all():
        raise ValueError("Features must be finite numbers. Received: some that are infinite or not a number.")
    return rows


def _root(rows):
    """R with R'R the covariance of the rows, at most square."""
    return np.linalg.qr(rows - rows.mean(axis=0), mode="r") / np.sqrt(len(rows) - 1)


def mode_coverage(class_ids: Sequence[int], num_classes: int, *, least_share: float = LEAST_SHARE) -> float:
    """Share of the classes that a generator has not forgotten, by what a classifier says of its samples.

    A class is covered if it holds a sample, and of its fair share, `samples / num_classes`, at least `least_share`.
    Counting the modes that are hit is how Che et al., "Mode Regularized Generative Adversarial Networks" (2017), §4,
    and Srivastava et al., "VEEGAN" (2017), §4, measure collapse; with `least_share=0` one sample is enough.

    Args:
        class_ids: int `(samples,)`, the class of each generated sample, 0 to `num_classes - 1`.
        num_classes: classes of the real data, all of which a generator ought to draw.
        least_share: 0 to 1.

    Returns:
        0 to 1; 1 is best. Unless there are many more samples than classes, chance alone leaves some out.

    Raises:
        ValueError: no samples, a class that there is not, or a share outside 0 to 1.
    """
    if not 0 <= least_share <= 1:
        raise ValueError(f"least_share must be 0 to 1. Received: {least_share!r}.")
    counts = _counts(class_ids, num_classes)
    fair = counts.sum() / num_classes
    return float(np.mean((counts > 0) & (counts >= least_share * fair)))


def class_divergence(class_ids: Sequence[int], real_class_ids: Sequence[int], num_classes: int) -> float:
    """How far the classes of generated samples are from those of real data: Kullback and Leibler's divergence.

    `Σ p log(p / q)` of the generated shares p from the real ones q, as in Srivastava et al., "VEEGAN" (2017), §4.

    Args:
        class_ids, real_class_ids: int `(samples,)`, the class of each sample, 0 to `num_classes - 1`.
        num_classes: how many classes there are.

    Returns:
        Nats: 0 for equal shares, `log(num_classes)` where all samples are of one class and the real ones of all alike;
        infinite where a class is generated that the real data lack.

    Raises:
        ValueError: no samples, or a class that there is not.
    """
    generated, real = _counts(class_ids, num_classes), _counts(real_class_ids, num_classes)
    drawn = generated > 0
    if np.any(drawn & (real == 0)):
        return float("inf")
    p, q = generated[drawn] / generated.sum(), real[drawn] / real.sum()
    return max(0.0, float(np.sum(p * np.log(p / q))))


def _counts(class_ids, num_classes) -> np.ndarray:
    ids = np.asarray(class_ids)
    accepted = f"Class ids must be a row of at least one integer, 0 to {num_classes - 1}"
    if ids.ndim != 1 or not ids.size or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{accepted}. Received: {ids.dtype} {ids.shape}.")
    if ids.min() < 0 or ids.max() >= num_classes:
        raise ValueError(f"{accepted}. Received: some from {ids.min()} to {ids.max()}.")
    return np.bincount(ids.astype(np.int64), minlength=num_classes)

"""How near two sets of features are, against closed forms; and which classes a generator has forgotten."""

import numpy as np
import pytest
import scipy.linalg

from recipes.frechet import class_divergence, frechet_distance, mode_coverage

RNG = np.random.default_rng(0)


def whitened(count, width):
    """Rows of mean 0 whose covariance is exactly the identity."""
    rows = RNG.normal(size=(count, width))
    rows -= rows.mean(axis=0)
    return np.linalg.qr(rows)[0] * np.sqrt(count - 1)


def by_definition(a, b):
    """The paper's formula, with the matrix root of the symmetric product."""
    root = scipy.linalg.sqrtm(np.cov(a.T))
    common = scipy.linalg.sqrtm(root @ np.cov(b.T) @ root)
    shift = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    return shift + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * common.real)


@pytest.mark.parametrize(("count", "width"), [(50, 4), (2, 1), (3, 100), (40, 40)])
def test_equal_sets_are_nowhere_apart(count, width):
    rows = RNG.normal(size=(count, width)) * 10
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows[::-1]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count", [3, 50])
def test_a_shift_counts_by_its_square(count):
    rows = RNG.normal(size=(count, 5))
    shift = np.array([3, 0, -4, 0, 1])
    assert frechet_distance(rows, rows + shift) == pytest.approx(26)


def test_of_gaussians_along_the_axes_it_is_the_distance_of_means_and_deviations():
    means_a, means_b = RNG.normal(size=(2, 6))
    deviations_a, deviations_b = RNG.uniform(0, 3, (2, 6))
    a, b = means_a + deviations_a * whitened(200, 6), means_b + deviations_b * whitened(70, 6)
    expected = ((means_a - means_b) ** 2).sum() + ((deviations_a - deviations_b) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_it_is_the_papers_formula_where_features_depend_on_each_other():
    a = RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5))
    b = RNG.normal(size=(80, 5)) @ RNG.normal(size=(5, 5)) + 1
    assert frechet_distance(a, b) == pytest.approx(by_definition(a, b))
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b))


def test_fewer_examples_than_features_are_measured_too():
    """Covariances without an inverse: in the plane that one set lies in and the other does not, all of it counts."""
    flat = np.zeros((10, 30))
    flat[:, :2] = whitened(10, 2)
    other = np.zeros((10, 30))
    other[:, 2:5] = whitened(10, 3)
    assert frechet_distance(flat, other) == pytest.approx(2 + 3)
    a, b = RNG.normal(size=(6, 30)), RNG.normal(size=(9, 30))
    root = scipy.linalg.sqrtm(np.cov(a.T) + 1e-9 * np.eye(30)).real
    eigenvalues = np.linalg.eigvalsh(root @ np.cov(b.T) @ root)
    common = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum() - 2 * common
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-3)


def test_integers_and_single_precision_are_taken():
    rows = RNG.integers(0, 255, (20, 3)).astype(np.uint8)
    assert frechet_distance(rows, rows.astype(np.float32) + 2) == pytest.approx(12)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), r"at least 2 examples. Received: \(1, 3\)"),
        (np.zeros((5, 3)), np.zeros((0, 3)), r"at least 2 examples. Received: \(0, 3\)"),
        (np.zeros(5), np.zeros((5, 3)), r"must be \(examples, n\).*Received: \(5,\)"),
        (np.zeros((5, 3)), np.zeros((5, 4)), "Received: 3 of the first, 4 of the second"),
        (np.zeros((5, 3)), np.full((5, 3), np.nan), "must be finite numbers"),
    ],
)
def test_features_that_cannot_be_compared_are_refused(a, b, said):
    with pytest.raises(ValueError, match=said):
        frechet_distance(a, b)


@pytest.mark.parametrize(
    ("class_ids", "least_share", "covered"),
    [
        ([0, 1, 2, 3] * 25, 0.1, 1.0),
        ([0] * 100, 0.1, 0.25),
        ([0] * 98 + [1, 2], 0.1, 0.25),  # a tenth of the fair share of 25 is 2.5
        ([0] * 94 + [1, 1] + [2, 2, 2] + [3], 0.1, 0.5),
        ([0] * 98 + [1, 2], 0.0, 0.75),
        ([0] * 30 + [1] * 24 + [2] * 25 + [3] * 21, 1.0, 0.5),
        ([1, 2], 0.1, 0.5),
    ],
)
def test_a_class_is_covered_from_a_share_of_its_due_on(class_ids, least_share, covered):
    assert mode_coverage(class_ids, 4, least_share=least_share) == covered


def test_divergence_is_what_the_shares_say():
    generated, real = [0, 0, 0, 1], [0, 0, 1, 1, 2, 2, 0, 1]
    expected = 0.75 * np.log(0.75 / (3 / 8)) + 0.25 * np.log(0.25 / (3 / 8))
    assert class_divergence(generated, real, 4) == pytest.approx(expected)


def test_divergence_at_its_ends():
    real = list(range(10)) * 3
    assert class_divergence(real * 2, real, 10) == 0
    assert class_divergence([7] * 50, real, 10) == pytest.approx(np.log(10))
    assert class_divergence([0, 1], [0, 0], 2) == np.inf


@pytest.mark.parametrize(
    ("class_ids", "said"),
    [
        ([], r"at least one integer, 0 to 2. Received: float64 \(0,\)"),
        ([0.0, 1.0], "Received: float64"),
        ([[0, 1]], r"Received: int64 \(1, 2\)"),
        ([0, 3], "some from 0 to 3"),
        ([-1, 2], "some from -1 to 2"),
    ],
)
def test_ids_that_are_no_classes_are_refused(class_ids, said):
    for measured in (
        lambda: mode_coverage(class_ids, 3),
        lambda: class_divergence(class_ids, [0], 3),
        lambda: class_divergence([0], class_ids, 3),
    ):
        with pytest.raises(ValueError, match=said):
            measured()


def test_a_share_beyond_one_is_refused():
    with pytest.raises(ValueError, match=r"must be 0 to 1\. Received: 10"):
        mode_coverage([0, 1], 2, least_share=10)

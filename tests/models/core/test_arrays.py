"""Distances on NumPy arrays."""

import numpy as np
import pytest

import metrics
from models import build
from models.core.arrays import squared_distances


def exact(a, b):
    return np.square(a.astype(np.float64)[:, None] - b.astype(np.float64)).sum(axis=2)


@pytest.mark.parametrize("offset", [0.0, 3.0, 1e2, 1e4])
def test_distances_of_points_far_from_0(offset):
    """In float32 the squares of 1e4 are rounded by more than these distances."""
    rng = np.random.default_rng(0)
    a, b = (np.float32(rng.normal(size=(n, 3)) + offset) for n in (40, 5))
    found = squared_distances(a, b)
    np.testing.assert_allclose(found, exact(a, b), rtol=1e-3, atol=2e-3)
    assert np.array_equal(found.argmin(axis=1), exact(a, b).argmin(axis=1))


def test_ordinary_points_are_not_moved():
    """Rows of images keep the bits of their distances."""
    rng = np.random.default_rng(0)
    a, b = (np.float32(rng.uniform(size=(n, 64))) for n in (9, 4))
    d = np.einsum("ij,ij->i", a, a)[:, None] - 2 * a @ b.T
    d += np.einsum("ij,ij->i", b, b)
    assert np.array_equal(squared_distances(a, b), np.maximum(d, 0))


def test_one_point_and_equal_points():
    a, b = np.float32([[1e4, 1.0], [1e4, 3.0]]), np.float32([[1e4, 1.0]])
    assert squared_distances(a, b).tolist() == [[0.0], [4.0]]
    assert squared_distances(np.zeros((2, 3)), np.zeros((2, 3))).tolist() == [[0, 0], [0, 0]]


def test_distances_beside_an_outlier():
    """Beside centres in one city and one at (0, 0), float32 rounds by more than their distances."""
    rng = np.random.default_rng(0)
    b = np.float32([[13.400, 52.520], [13.405, 52.523], [13.410, 52.519], [0, 0]])
    a = np.float32(b[:3].repeat(20, axis=0) + rng.normal(0, 5e-4, (60, 2)))
    found = squared_distances(a, b)
    np.testing.assert_allclose(found, exact(a, b), rtol=1e-6)


@pytest.mark.parametrize("method", ["k-means", "AC", "GMM-stable"])
@pytest.mark.parametrize("far", [1e3, 1e7])
def test_an_outlier_leaves_the_other_clusters(method, far):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 30)
    x = np.array([[0, 0], [9, 0], [0, 9]])[y] + rng.normal(size=(90, 2))
    model = build(method, 4).fit(np.vstack([x, [[far, far]]]))
    assert metrics.acc(y, model.labels_[:90]) == 1.0
    assert (model.labels_[:90] != model.labels_[90]).all()

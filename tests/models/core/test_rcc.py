"""Robust continuous clustering against plain loops with exact solutions, and on shapes."""

import numpy as np
import pytest
from scipy.sparse import csr_array, eye_array

from metrics import acc
from models.core import rcc


def edges_by_hand(x, k):
    """Mutual neighbours and spanning trees by plain loops, Euclidean; no two lengths equal."""
    n = len(x)
    d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2))
    near = [set(np.argsort(row)[1 : k + 1].tolist()) for row in d]
    found = {(i, j) for i in range(n) for j in near[i] if i < j and i in near[j]}
    part = list(range(n))  # Kruskal
    some = {(min(i, j), max(i, j)) for i in range(n) for j in near[i]}
    for i, j in sorted(some, key=lambda edge: d[edge]):
        if part[i] != part[j]:
            found.add((i, j))
            part = [part[i] if p == part[j] else p for p in part]
    return sorted(found)


def rcc_by_hand(x, edges, steps):
    """The alternation on dense matrices, with exact solutions; no array per edge."""
    n, d = x.shape
    degree = np.zeros(n)
    for a, b in edges:
        degree[a] += 1
        degree[b] += 1
    w = {(a, b): degree.mean() / np.sqrt(degree[a] * degree[b]) for a, b in edges}
    lengths = sorted(np.linalg.norm(x[a] - x[b]) for a, b in edges)
    lengths = [one for one in lengths if one / np.sqrt(d) >= 0.01]
    few = int(np.ceil(0.01 * len(edges)))
    mu, delta, epsilon = 3 * lengths[-1] ** 2, np.mean(lengths[:few]), np.mean(lengths[:few])

    def graph(line):
        a = np.zeros((n, n))
        for (i, j), weight in w.items():
            e = np.zeros(n)
            e[i], e[j] = 1, -1
            a += weight * line[i, j] * np.outer(e, e)
        return a

    size = np.linalg.svd(x)[1][0]
    balance = size / np.linalg.eigvalsh(graph(dict.fromkeys(w, 1.0)))[-1]
    u, before, count, values = x.copy(), 0.0, 0, []
    for _ in range(steps):
        gap = {(a, b): np.sum((u[a] - u[b]) ** 2) for a, b in edges}
        line = {edge: (mu / (mu + gap[edge])) ** 2 for edge in edges}
        value = 0.5 * np.sum((x - u) ** 2) + balance / 2 * sum(
            w[e] * (line[e] * gap[e] + mu * (np.sqrt(line[e]) - 1) ** 2) for e in edges
        )
        values.append(value)
        a = graph(line)
        u = np.linalg.solve(np.eye(n) + balance * a, x)
        count += 1
        if abs(before - value) < 0.1 or count == 4:
            if mu >= delta:
                mu /= 2
            elif count == 4:
                mu = delta / 2
            else:
                break
            balance, count = size / np.linalg.eigvalsh(a)[-1], 0
        before = value
    near = [edge for edge in edges if np.linalg.norm(u[edge[0]] - u[edge[1]]) <= epsilon]
    part = list(range(n))
    for i, j in near:
        part = [part[i] if p == part[j] else p for p in part]
    return u, np.unique(part, return_inverse=True)[1], len(values), values


def scaled(x):
    return (x - x.min()) / (x.max() - x.min())


def blobs(count):
    """Four clusters of samples in ten dimensions, and their numbers."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), count)
    return 2.7 * rng.normal(size=(4, 10))[y] + rng.normal(size=(len(y), 10)), y


@pytest.fixture
def exact(monkeypatch):
    monkeypatch.setattr(rcc, "TOLERANCE", 1e-12)
    monkeypatch.setattr(rcc, "MOST", 1000)


@pytest.mark.parametrize("steps", [1, 3, 20, 100])
def test_the_alternation_against_exact_solutions(exact, steps):
    x, y = blobs(20)
    x = scaled(x)
    edges = edges_by_hand(x, 6)
    a, b = rcc.mutual_neighbors(x, 6, "euclidean")
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == edges
    u, labels, made, _ = rcc_by_hand(x, edges, steps)
    found = rcc.cluster(100 * x - 7, 6, "euclidean", steps)  # the same shape, other units
    assert found.steps == made and found.ended == (made < steps)
    np.testing.assert_allclose(found.u, u, atol=1e-8)
    assert acc(labels, found.labels) == 1.0 and labels.max() == found.labels.max()
    if steps == 100:
        assert made < 100 and acc(y, found.labels) == 1.0


def test_the_objective_falls_while_mu_stays():
    x = scaled(np.random.default_rng(1).normal(size=(60, 2)) * [30, 1])
    *_, values = rcc_by_hand(x, edges_by_hand(x, 5), 4)
    assert values[0] > values[1] > values[2] > values[3]


@pytest.mark.parametrize("columns", [1, 64, 130])
def test_conjugate_gradients(exact, columns):
    """A column whose start is its solution stays as it is, beside others that move."""
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 50, (2, 200))
    keep = a != b
    m = eye_array(50) + 30 * rcc.laplacian(a[keep], b[keep], rng.uniform(size=keep.sum()), 50)
    m = csr_array(m)
    x = rng.normal(size=(50, columns))
    x[:, -1] = 0
    start = np.zeros_like(x)
    found = rcc.solve(m, x, start)
    np.testing.assert_allclose(m @ found, x, atol=1e-8)
    assert not start.any() and not found[:, -1].any()


def test_a_laplacian_by_hand():
    found = rcc.laplacian(np.array([0, 1]), np.array([1, 2]), np.array([2.0, 3.0]), 4).toarray()
    assert found.tolist() == [[2, -2, 0, 0], [-2, 5, -3, 0], [0, -3, 3, 0], [0, 0, 0, 0]]


def test_the_number_of_clusters():
    x, y = blobs(75)
    found = rcc.cluster(x, 10, "euclidean", 100)
    assert found.labels.max() == 3 and acc(y, found.labels) == 1.0 and found.ended
    assert found.u.std(axis=0).min() > 0 and np.square(found.u - scaled(x)).mean() < 0.01


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_samples_that_are_the_same(metric):
    """Two heaps of equal samples are two clusters, one heap is one, without a division by 0."""
    x = np.repeat([[0.0, 1.0], [1.0, 0.0]], 30, axis=0)
    found = rcc.cluster(x, 10, metric, 100)
    assert found.labels.tolist() == [0] * 30 + [1] * 30 and found.steps == 0
    assert not rcc.cluster(x[:30], 29, metric, 100).labels.any()
    two = rcc.cluster(x[29:31], 1, metric, 100)
    assert two.labels.shape == (2,) and np.isfinite(two.u).all()

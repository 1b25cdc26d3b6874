"""Robust continuous clustering (RCC): representatives of the samples, drawn together on a graph.

Shah, Koltun, PNAS 114(37), 2017. min over U and l of
1/2 sum_i ||x_i - u_i||^2 + lambda/2 sum_pq w_pq (l_pq ||u_p - u_q||^2 + mu (sqrt(l_pq) - 1)^2)
over the edges pq of a graph of mutual neighbours (eqs. 2 to 4); clusters are what edges shorter
than epsilon connect in the end. It finds the number of clusters. No TensorFlow here.

Departures: docs/methods/baselines.md
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array, eye_array, triu
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.sparse.linalg import eigsh
from sklearn.neighbors import NearestNeighbors

from models.core.arrays import row_blocks
from models.core.graphs import connected_parts, directed_graph

SETTLED = 0.1  # change of the objective that ends a level of mu, as released
PATIENCE = 4  # steps at most at one level of mu, as released
SHORTEST = 0.01  # share of the edges, the shortest, whose mean lengths are delta and epsilon
FEW = 250  # of them at most for delta, as released
DUPLICATE = 1e-2  # root mean squared difference below which two samples count as one, as released
TOLERANCE, MOST = 1e-2, 100  # of conjugate gradients: relative residual (as released), iterations
COLUMNS = 64  # solved together


class Clusters(NamedTuple):
    """Labels int (n,), representatives U (n, d), steps made, whether they ended by themselves."""

    labels: np.ndarray
    u: np.ndarray
    steps: int
    ended: bool


def cluster(x: np.ndarray, n_neighbors: int, metric: str, maxiter: int) -> Clusters:
    """Cluster samples x (n, d) in `maxiter` steps at most.

    They are moved and divided by one number first, so that their values span [0, 1]: the released
    constants are meant for that. The graph is of `n_neighbors` >= 1, at most n - 1, by a distance
    ("cosine" or "euclidean").
    """
    x = x.astype(np.float64)
    low, high = x.min(), x.max()
    x = (x - low) / ((high - low) or 1.0)
    n = len(x)
    a, b = mutual_neighbors(x, min(n_neighbors, n - 1), metric)
    lengths = np.sqrt(_squared_lengths(x, a, b))
    lengths = np.sort(lengths[lengths >= DUPLICATE * np.sqrt(x.shape[1])])
    if not len(lengths):  # all samples that have neighbours are the same
        return Clusters(connected_parts(a, b, n), x, 0, True)
    few = int(np.ceil(SHORTEST * len(a)))
    mu, delta, epsilon = 3 * lengths[-1] ** 2, lengths[: min(FEW, few)].mean(), lengths[:few].mean()
    degree = np.bincount(np.concatenate([a, b]), minlength=n)
    weights = degree.mean() / np.sqrt(degree[a] * degree[b])  # eq. S1
    size = np.linalg.norm(x, 2)
    balance = size / _largest_eigenvalue(laplacian(a, b, weights, n))  # lambda, eq. 9
    u, before, steps, level, ended = x.copy(), 0.0, 0, 0, False
    while steps < maxiter and not ended:
        squares = _squared_lengths(u, a, b)
        lines = np.square(mu / (mu + squares))  # eq. 5
        penalty = weights @ (lines * squares + mu * np.square(np.sqrt(lines) - 1))
        objective = 0.5 * np.sum(np.square(x - u)) + 0.5 * balance * penalty
        graph = laplacian(a, b, weights * lines, n)
        u = solve(csr_array(eye_array(n) + balance * graph), x, u)  # eq. 7
        steps, level = steps + 1, level + 1
        settled = abs(before - objective) < SETTLED
        before = objective
        if settled or level == PATIENCE:
            ended = mu < delta and level < PATIENCE
            mu = mu / 2 if mu >= delta else delta / 2
            balance = size / _largest_eigenvalue(graph)
            level = 0
    near = _squared_lengths(u, a, b) <= epsilon**2
    return Clusters(connected_parts(a[near], b[near], n), u, steps, ended)


def mutual_neighbors(x: np.ndarray, k: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges a_i - b_i, (m,) each with a < b, of a graph of samples x (n, d).

    Two samples are joined if each is among the k nearest of the other, or if the shortest trees
    that span the graph of k nearest neighbours have that edge.
    """
    distances, nearest = NearestNeighbors(n_neighbors=k, metric=metric).fit(x).kneighbors()
    near = directed_graph(nearest, np.ones(nearest.shape))
    lengths = directed_graph(nearest, np.maximum(distances, np.finfo(float).tiny))  # 0 is no edge
    tree = minimum_spanning_tree(lengths)
    tree.data[:] = 1
    joined = triu(near.minimum(near.T) + tree + tree.T, k=1).tocoo()
    order = np.lexsort((joined.col, joined.row))
    return joined.row[order].astype(np.int64), joined.col[order].astype(np.int64)


def laplacian(a: np.ndarray, b: np.ndarray, weights: np.ndarray, n: int) -> csr_array:
    """Return sum over edges of w (e_a - e_b)(e_a - e_b)^T, sparse (n, n) (eq. 8)."""
    both = (np.concatenate([a, b]), np.concatenate([b, a]))
    w = csr_array(coo_array((np.concatenate([weights, weights]), both), (n, n)))
    return csr_array(diags_array(np.asarray(w.sum(axis=1)).ravel()) - w)


def solve(m: csr_array, x: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return U (n, d) with m U = X, by conjugate gradients with m's diagonal as preconditioner.

    Every column has its own steps; COLUMNS of them are done side by side, until each has a
    residual of at most TOLERANCE of its length.
    """
    u, inverse = np.empty_like(x), 1 / m.diagonal()[:, None]
    for i in range(0, x.shape[1], COLUMNS):
        right = x[:, i : i + COLUMNS].copy()
        part = start[:, i : i + COLUMNS].copy()
        residual = right - m @ part
        goal = np.square(TOLERANCE) * np.einsum("ij,ij->j", right, right)
        way = z = inverse * residual
        old = np.einsum("ij,ij->j", residual, z)
        for _ in range(MOST):
            if np.all(np.einsum("ij,ij->j", residual, residual) <= goal):
                break
            ahead = m @ way
            step = _ratio(old, np.einsum("ij,ij->j", way, ahead))
            part += step * way
            residual -= step * ahead
            z = inverse * residual
            new = np.einsum("ij,ij->j", residual, z)
            way = z + _ratio(new, old) * way
            old = new
        u[:, i : i + COLUMNS] = part
    return u


def _ratio(a, b):
    """Return a / b, and 0 where b is 0: a column that is solved stays as it is."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _squared_lengths(u, a, b):
    """Return ||u_a - u_b||^2 (m,) of edges."""
    found = np.empty(len(a))
    for rows in row_blocks(np.arange(len(a)), u.shape[1]):
        gap = u[a[rows]] - u[b[rows]]
        found[rows] = np.einsum("ij,ij->i", gap, gap)
    return found


def _largest_eigenvalue(graph):
    """Return the largest eigenvalue of a Laplacian; Lanczos starts from a fixed vector."""
    n = graph.shape[0]
    if n < 4:  # too few for Lanczos
        return float(np.linalg.eigvalsh(graph.toarray())[-1]) or 1.0
    start = np.random.default_rng(0).uniform(-1, 1, n)
    return float(eigsh(graph, 1, which="LA", v0=start, return_eigenvectors=False)[0]) or 1.0

"""Graphs of nearest neighbours: their eigenvectors, cuts, modularity and connected parts."""

import numpy as np
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh
from sklearn.neighbors import NearestNeighbors

from models.core.initialization import kmeans

NEIGHBORS = 10  # of the graph, as many as scikit-learn's spectral clustering has
MORE = 7  # numbers of eigenvectors tried: K to K + MORE - 1


def nearest_neighbors(
    x: np.ndarray, m: int, algorithm: str = "brute"
) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and numbers, (n, m) each, of a sample's m nearest others, nearest first.

    Parameters
    ----------
    x : (n, d)
    m : int
        From 1 to n - 1.
    algorithm : str
        scikit-learn's.
    """
    return NearestNeighbors(n_neighbors=m, algorithm=algorithm).fit(x).kneighbors()


def directed_graph(nearest: np.ndarray, weights: np.ndarray) -> csr_array:
    """Return W, sparse (n, n): row i has weights[i, j] (n, m) at column nearest[i, j] (n, m)."""
    n, m = nearest.shape
    return csr_array((weights.ravel(), nearest.ravel(), np.arange(0, n * m + 1, m)), (n, n))


def neighbor_graph(z: np.ndarray, neighbors: int = NEIGHBORS, algorithm: str = "auto") -> csr_array:
    """Return W, sparse (n, n), symmetric: 1 between mutual neighbours, 1/2 for one-sided ones.

    Parameters
    ----------
    z : (n, z)
    neighbors : int
        Of each sample, itself not counted.
    algorithm : str
        scikit-learn's.
    """
    _, nearest = nearest_neighbors(z, min(neighbors, len(z) - 1), algorithm)
    graph = directed_graph(nearest, np.ones(nearest.shape))
    return csr_array(0.5 * (graph + graph.T))


def connected_parts(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """Return labels (n,) of the connected parts of n samples with edges a_i - b_i, (m,) each."""
    graph = coo_array((np.ones(len(a)), (a, b)), (n, n))
    return connected_components(graph, directed=False)[1]


def normalized_cut(w: csr_array, labels: np.ndarray) -> float:
    """Return the sum over clusters of (weight that leaves it / weight at its samples).

    Parameters
    ----------
    w : sparse (n, n), symmetric
    labels : int (n,)
    """
    _, inside, volume = _inside(w, labels)
    return float(np.sum(1.0 - inside / np.maximum(volume, 1e-12)))


def leading_eigenvectors(w: csr_array, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return D^-1/2's diagonal (n,), and D^-1/2 W D^-1/2's eigenvectors (n, count).

    D has the sums of W's rows. Largest eigenvalue first; vectors have length 1.

    Parameters
    ----------
    w : sparse (n, n), symmetric
    count : int
        From 1 to n.
    seed : int
        Draws Lanczos's first vector.
    """
    scale = 1.0 / np.sqrt(np.maximum(np.asarray(w.sum(axis=1)).ravel(), 1e-12))
    normal = diags_array(scale) @ w @ diags_array(scale)
    start = np.random.default_rng(seed).uniform(-1, 1, len(scale))
    if count < len(scale) - 1:
        _, vectors = eigsh(normal, count, which="LA", v0=start)
    else:
        _, vectors = np.linalg.eigh(normal.toarray())
    return scale, vectors[:, -count:][:, ::-1]


def eigenvectors(w: csr_array, count: int, seed: int = 0) -> np.ndarray:
    """Return `leading_eigenvectors`, (n, count), with rows scaled to length 1."""
    _, vectors = leading_eigenvectors(w, count, seed)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def lowest_cut(
    z: np.ndarray, k: int, n_init: int | str = 20, seed: int = 0
) -> tuple[np.ndarray, float, int]:
    """Return (labels (n,), cut, number of eigenvectors) of the best of several clusterings.

    k-means on K, K + 1, ... eigenvectors into K clusters; the lowest normalised cut of the same
    graph wins. No label is used.
    """
    w = neighbor_graph(z)
    most = min(k + MORE - 1, len(z) - 1)
    vectors = eigenvectors(w, most, seed)
    best = None
    for count in range(min(k, most), most + 1):
        labels = kmeans(vectors[:, :count], k, n_init, seed)[0].labels_
        cut = normalized_cut(w, labels)
        if best is None or cut < best[1]:
            best = labels, cut, count
    return best


def modularity(w: csr_array, labels: np.ndarray) -> float:
    """Return sum_c (share of weight inside c - (share of degree in c)^2), in [-1/2, 1).

    Newman, Girvan (Phys. Rev. E 69, 2004), eq. 5: 0 for a partition no better than chance, or for
    one cluster. A merge of two real clusters and a cut through one both lower it.

    Parameters
    ----------
    w : sparse (n, n), symmetric, non-negative, not all 0
    labels : int (n,)
    """
    _, inside, volume = _inside(w, labels)
    total = volume.sum()
    return float(np.sum(inside / total - np.square(volume / total)))


def informative_partition(
    nearest: np.ndarray, k: int, sizes: tuple, judge: int, more: int, n_init: int, seed: int
) -> tuple[np.ndarray, float, int, int]:
    """Return the spectral partition in which a neighbour's cluster says most of a sample's.

    For each m in `sizes` the graph of m neighbours a sample is cut, by k-means on its first K,
    ..., K + more eigenvectors. Of all these partitions that with the highest
    `neighbor_information` stays, measured on one graph, that of `judge` neighbours.

    Parameters
    ----------
    nearest : int (n, most)
        Each sample's neighbours, nearest first.
    k : int
    sizes : tuple of int
    judge, more : int
    n_init : int
        Restarts of k-means.
    seed : int

    Returns
    -------
    (labels, information, m, count)
        int (n,), nats, and the numbers of neighbours and of eigenvectors that gave them.
    """
    n, most = nearest.shape
    judged, best = unweighted_graph(nearest, judge), None
    for m in dict.fromkeys(min(m, most) for m in sizes):
        vectors = eigenvectors(unweighted_graph(nearest, m), min(k + more, n), seed)
        for count in range(min(k, n), vectors.shape[1] + 1):
            labels = kmeans(vectors[:, :count], k, n_init, seed)[0].labels_
            information = neighbor_information(judged, labels)
            if best is None or information > best[1]:
                best = labels, information, m, count
    return best


def unweighted_graph(nearest: np.ndarray, m: int) -> csr_array:
    """Return the graph (n, n) of m of each sample's `nearest` (n, most): 1 where two name each
    other, 1/2 where one does."""
    near = nearest[:, :m]
    w = directed_graph(near, np.ones(near.shape))
    return csr_array(0.5 * (w + w.T))


def neighbor_information(w: csr_array, labels: np.ndarray) -> float:
    """Return the mutual information of the clusters of two neighbours drawn by weight, nats.

    High where clusters are even and their borders cut few edges; at most log K.

    Parameters
    ----------
    w : sparse (n, n), symmetric, non-negative, not all 0
    labels : int (n,)
    """
    member = _members(labels)
    joint = (member.T @ w @ member).toarray()
    joint = joint / joint.sum()
    share = joint.sum(axis=1)
    there = joint > 0
    return float(np.sum(joint[there] * np.log(joint[there] / np.outer(share, share)[there])))


def _members(labels):
    """Return a sparse (n, k) with a 1 where a sample is in a cluster."""
    n = len(labels)
    return csr_array((np.ones(n), (np.arange(n), labels)), (n, labels.max() + 1))


def _inside(w, labels):
    """Return (degrees (n,), weight inside each cluster (k,), sum of degrees in each (k,))."""
    degree = np.asarray(w.sum(axis=1)).ravel()
    member = _members(labels)
    return degree, (member.T @ w @ member).diagonal(), member.T @ degree

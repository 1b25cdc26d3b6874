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

    Of samples x (n, d), m from 1 to n - 1, by an algorithm of scikit-learn's.
    """
    return NearestNeighbors(n_neighbors=m, algorithm=algorithm).fit(x).kneighbors()


def directed_graph(nearest: np.ndarray, weights: np.ndarray) -> csr_array:
    """Return W, sparse (n, n): row i has weights[i, j] (n, m) at column nearest[i, j] (n, m)."""
    n, m = nearest.shape
    return csr_array((weights.ravel(), nearest.ravel(), np.arange(0, n * m + 1, m)), (n, n))


def unweighted_graph(nearest: np.ndarray, m: int) -> csr_array:
    """Return W, sparse (n, n), symmetric, of m of each sample's `nearest` (n, most).

    1 where two samples name each other, 1/2 where one does.
    """
    near = nearest[:, :m]
    w = directed_graph(near, np.ones(near.shape))
    return csr_array(0.5 * (w + w.T))


def neighbor_graph(z: np.ndarray, neighbors: int = NEIGHBORS, algorithm: str = "auto") -> csr_array:
    """Return the `unweighted_graph` of samples z (n, z), a sample itself not counted."""
    m = min(neighbors, len(z) - 1)
    return unweighted_graph(nearest_neighbors(z, m, algorithm)[1], m)


def connected_parts(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """Return labels (n,) of the connected parts of n samples with edges a_i - b_i, (m,) each."""
    graph = coo_array((np.ones(len(a)), (a, b)), (n, n))
    return connected_components(graph, directed=False)[1]


def normalized_cut(w: csr_array, labels: np.ndarray) -> float:
    """Return the sum over clusters of (weight that leaves it / weight at its samples).

    Of w, sparse (n, n), symmetric, and labels (n,).
    """
    inside, volume = _inside(w, labels)
    return float(np.sum(1.0 - inside / np.maximum(volume, 1e-12)))


def leading_eigenvectors(w: csr_array, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return D^-1/2's diagonal (n,), and D^-1/2 W D^-1/2's eigenvectors (n, count).

    D has the sums of the rows of W, sparse (n, n), symmetric. Largest eigenvalue first; vectors
    have length 1. The seed draws Lanczos's first vector.
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


def _spectral_partitions(w, k, most, n_init, seed):
    """Yield (labels (n,), count): k-means on the first K, K + 1, ..., `most` eigenvectors of W."""
    vectors = eigenvectors(w, most, seed)
    for count in range(min(k, most), most + 1):
        yield kmeans(vectors[:, :count], k, n_init, seed)[0].labels_, count


def lowest_cut(
    z: np.ndarray, k: int, n_init: int | str = 20, seed: int = 0
) -> tuple[np.ndarray, float, int]:
    """Return (labels (n,), cut, number of eigenvectors) of the best of several clusterings.

    k-means on K, K + 1, ... eigenvectors into K clusters; the lowest normalised cut of the same
    graph wins. No label is used.
    """
    w = neighbor_graph(z)
    some = _spectral_partitions(w, k, min(k + MORE - 1, len(z) - 1), n_init, seed)
    found = ((labels, normalized_cut(w, labels), count) for labels, count in some)
    return min(found, key=lambda one: one[1])


def modularity(w: csr_array, labels: np.ndarray) -> float:
    """Return sum_c (share of weight inside c - (share of degree in c)^2), in [-1/2, 1).

    Newman, Girvan (Phys. Rev. E 69, 2004), eq. 5: 0 for a partition no better than chance, or for
    one cluster. A merge of two real clusters and a cut through one both lower it. Of w, sparse
    (n, n), symmetric, non-negative, not all 0, and labels (n,).
    """
    inside, volume = _inside(w, labels)
    total = volume.sum()
    return float(np.sum(inside / total - np.square(volume / total)))


def informative_partition(
    nearest: np.ndarray, k: int, sizes: tuple, judge: int, more: int, n_init: int, seed: int
) -> tuple[np.ndarray, float, int, int]:
    """Return the spectral partition in which a neighbour's cluster says most of a sample's.

    For each m in `sizes` the graph of m of the `nearest` (n, most), nearest first, is cut by
    k-means, of `n_init` restarts, on its first K, ..., K + more eigenvectors. Of all these
    partitions that with the highest `neighbor_information` stays, measured on one graph, that of
    `judge` neighbours.

    Returns
    -------
    (labels, information, m, count)
        int (n,), nats, and the numbers of neighbours and of eigenvectors that gave them.
    """
    n, most = nearest.shape
    judged = unweighted_graph(nearest, judge)
    found = (
        (labels, neighbor_information(judged, labels), m, count)
        for m in dict.fromkeys(min(m, most) for m in sizes)
        for labels, count in _spectral_partitions(
            unweighted_graph(nearest, m), k, min(k + more, n), n_init, seed
        )
    )
    return max(found, key=lambda one: one[1])


def neighbor_information(w: csr_array, labels: np.ndarray) -> float:
    """Return the mutual information of the clusters of two neighbours drawn by weight, nats.

    High where clusters are even and their borders cut few edges; at most log K. Of w, sparse
    (n, n), symmetric, non-negative, not all 0, and labels (n,).
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
    """Return the weight inside each cluster, and the sum of its samples' degrees, (k,) each."""
    member = _members(labels)
    degree = np.asarray(w.sum(axis=1)).ravel()
    return (member.T @ w @ member).diagonal(), member.T @ degree

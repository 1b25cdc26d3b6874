"""Spectral clustering of all samples at once, and the cut that chooses its eigenvectors."""

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import eigsh
from sklearn.neighbors import NearestNeighbors

from models.core.initialization import kmeans

NEIGHBORS = 10  # of the graph, as many as scikit-learn's spectral clustering has
MORE = 7  # numbers of eigenvectors tried: K to K + MORE - 1


def neighbor_graph(z, neighbors=NEIGHBORS):
    """Return W, sparse (n, n), symmetric: 1 between mutual neighbours, 1/2 for one-sided ones.

    Parameters
    ----------
    z : (n, z)
    neighbors : int
        Of each sample, itself not counted.
    """
    wanted = min(neighbors, len(z) - 1)
    graph = NearestNeighbors(n_neighbors=wanted).fit(z).kneighbors_graph()
    return csr_array(0.5 * (graph + graph.T))


def normalized_cut(w, labels):
    """Return the sum over clusters of (weight that leaves it / weight at its samples).

    Parameters
    ----------
    w : sparse (n, n), symmetric
    labels : int (n,)
    """
    _, inside, volume = _inside(w, labels)
    return float(np.sum(1.0 - inside / np.maximum(volume, 1e-12)))


def eigenvectors(w, count, seed=0):
    """Return those of the normalised graph with the largest eigenvalues, (n, count), largest first.

    Rows have length 1.
    """
    scale = 1.0 / np.sqrt(np.maximum(np.asarray(w.sum(axis=1)).ravel(), 1e-12))
    normal = diags_array(scale) @ w @ diags_array(scale)
    start = np.random.default_rng(seed).uniform(-1, 1, len(scale))
    if count < len(scale) - 1:
        _, vectors = eigsh(normal, count, which="LA", v0=start)
    else:
        _, vectors = np.linalg.eigh(normal.toarray())
    vectors = vectors[:, -count:][:, ::-1]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def lowest_cut(z, k, n_init=20, seed=0):
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


def modularity(w, labels):
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


def _inside(w, labels):
    """Return (degrees (n,), weight inside each cluster (k,), sum of degrees in each (k,))."""
    degree = np.asarray(w.sum(axis=1)).ravel()
    k = labels.max() + 1
    member = csr_array((np.ones(len(labels)), (np.arange(len(labels)), labels)), (len(labels), k))
    return degree, (member.T @ w @ member).diagonal(), member.T @ degree

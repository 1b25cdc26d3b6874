"""Distances, Student's kernel and means of clusters on NumPy arrays. No TensorFlow here.

`models.core.functional` has the equations on tensors, for gradients. These serve what runs without
TensorFlow (baselines, report) and whole data sets, whose distances are products of matrices.
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse
from scipy.spatial.distance import pdist

FAR = 1000.0  # squared distance of points from 0, over their variance
CLOSE = 200  # of the points, by which it is told how near to each other they lie
SAFE = 100.0  # times the rounding of a squared distance that those to near points must differ
BLOCK = 2**26  # numbers in a block of distances: 256 MB


def some_rows(n: int, size: int, seed: int = 0) -> np.ndarray:
    """Return min(n, size) of n row numbers, drawn at random, ascending; the same for one seed."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:size])


def row_blocks(x: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """Yield blocks of rows of x whose distances to `width` points are at most BLOCK numbers."""
    step = max(1, BLOCK // width)
    for i in range(0, len(x), step):
        yield x[i : i + step]


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ||a_i - b_j||^2, (n, m), not below 0, of a (n, d) and b (m, d).

    By ||a||^2 - 2 a.b + ||b||^2: fast, but of rounding in the size of ||a||^2. So all are moved by
    the mean of b where that is FAR from 0 for their spread, as of degrees of longitude in a city,
    and are float64 where float32 would not tell neighbours apart, as beside an outlier.
    """
    middle = b.mean(axis=0)  # (d,)
    if middle @ middle > FAR * np.square(b - middle).sum(axis=1).mean():
        a, b = a - middle, b - middle
    own, others = np.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", b, b)
    if np.float32 in (a.dtype, b.dtype) and too_coarse(max(own.max(), others.max()), b):
        return squared_distances(a.astype(np.float64), b.astype(np.float64))
    d = own[:, None] - 2 * a @ b.T
    d += others
    return np.maximum(d, 0, out=d)


def too_coarse(size: float, b: np.ndarray) -> bool:
    """Return whether float32 rounds squared distances from points b (m, d) too coarsely.

    That is, whether the rounding of a number of the largest squared norm, `size`, is not small
    beside the smallest distances of b from each other, which are told by CLOSE of them.
    """
    some = b[some_rows(len(b), CLOSE)].astype(np.float64)
    gaps = pdist(some, "sqeuclidean")
    gaps = gaps[gaps > 0]
    return len(gaps) > 0 and SAFE * np.finfo(np.float32).eps * size > np.quantile(gaps, 0.01)


def student_kernel(squares: np.ndarray) -> np.ndarray:
    """Return q, Student's t kernel of squared distances (n, k), rows summing to 1 (DEC, eq. 1)."""
    q = 1 / (1 + squares)
    return q / q.sum(axis=1, keepdims=True)


def cluster_means(x: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Return the means, float64 (k, d), of samples x (n, d) by labels (n,) in [0, k).

    Zeros for an empty cluster.
    """
    members = sparse.csr_array((np.ones(len(x)), labels, np.arange(len(x) + 1)), (len(x), k))
    return (members.T @ x) / np.maximum(np.bincount(labels, minlength=k), 1)[:, None]

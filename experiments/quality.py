"""Numbers that tell of a clustering without labels: sizes, neighbours, stability, drift.

Nothing here sees the ground truth, and nothing here changes a result.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits

import metrics
from common.errors import UserError
from common.shapes import image_shape
from models.core.arrays import some_rows

if TYPE_CHECKING:
    from models.core.estimator import Estimator

NODES = 5000  # samples of a neighbour graph, drawn at random where there are more
PROBES = 2000  # samples that are transformed to see whether they keep their cluster
NEIGHBORS = 10
SMALL = {"shift": 0.05, "rotation": 5.0, "noise": 0.1}  # of methods without augmentation
NAMES = (
    *("empty_clusters", "smallest_cluster", "largest_cluster", "cluster_entropy", "stability"),
    *("neighbor_agreement", "input_modularity", "kmeans_modularity", "uncertain"),
    *("start_agreement", "drift", "changed", "at_limit"),
)


class Graph:
    """The nearest neighbours of (at most NODES of) the samples x (n, ...) in a space."""

    def __init__(self, x: np.ndarray):
        from models.core.graphs import neighbor_graph  # with scikit-learn, which takes seconds

        self.rows = some_rows(len(x), NODES)
        with threadpool_limits(1):  # the same sums whatever the number of cores
            self.samples = np.asarray(x)[self.rows].reshape(len(self.rows), -1)
            self.weights = neighbor_graph(self.samples, NEIGHBORS)

    def kmeans_modularity(self, k: int) -> float:
        """Return the modularity of a plain k-means of the samples: one start, 50 iterations."""
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        from models.core.graphs import modularity

        k = min(k, len(self.samples))
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer distinct samples than k
            labels = KMeans(k, n_init=1, max_iter=50, random_state=0).fit_predict(self.samples)
        return modularity(self.weights, labels)

    def modularity(self, labels: np.ndarray) -> float:
        """Return the modularity of labels (n,) on the graph (models/core/graphs.py)."""
        from models.core.graphs import modularity

        return modularity(self.weights, np.asarray(labels)[self.rows])


def sizes(labels: np.ndarray, k: int) -> dict[str, float]:
    """Return the signals of how many samples each cluster has; labels: int (n,) in [0, k).

    empty_clusters; smallest_cluster and largest_cluster, shares of the samples; cluster_entropy, of
    the sizes, divided by log k: 1 for clusters of one size.
    """
    share = np.bincount(labels, minlength=k) / len(labels)
    some = share[share > 0]
    entropy = -np.sum(some * np.log(some)) / np.log(max(k, 2))
    return {
        "empty_clusters": int(np.count_nonzero(share == 0)),
        "smallest_cluster": float(share.min()),
        "largest_cluster": float(share.max()),
        "cluster_entropy": float(entropy) + 0.0,
    }


def transformed(
    x: np.ndarray, seed: int, shift: float, rotation: float, noise: float
) -> np.ndarray:
    """Return samples under a small random transform each.

    Images (m, h, w, c) are rotated about their centre by up to `rotation` degrees and shifted by
    up to `shift` of their sides (bilinear, edges replicated), as `augment.RandomShiftRotate`
    does. Vectors (m, d) get Gaussian noise of `noise` times each column's standard deviation.
    """
    rng = np.random.default_rng(seed)
    if x.ndim == 2:
        return (x + noise * x.std(axis=0) * rng.standard_normal(x.shape)).astype(x.dtype)
    middle = (np.array(x.shape[1:3]) - 1) / 2
    changed = np.empty_like(x)
    for i, image in enumerate(x):
        angle, *move = rng.uniform(-1, 1, 3)
        angle, move = np.deg2rad(rotation * angle), shift * np.array(move) * x.shape[1:3]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = turn @ (move - middle) + middle
        for c in range(x.shape[3]):
            changed[i, ..., c] = ndimage.affine_transform(
                image[..., c], turn, offset, order=1, mode="nearest"
            )
    return changed


def stability(model: "Estimator", x: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the share of samples that keep their cluster under a small transform.

    The method's own augmentation where it trains with one (its settings shift, shift_pixels,
    rotation), else SMALL; on at most PROBES samples. None where the method cannot label new
    samples.
    """
    c, rows = model.config, some_rows(len(x), PROBES, seed=1)
    some = np.asarray(x)[rows]
    small = dict(SMALL)
    if getattr(c, "aug_pretrain", False) or getattr(c, "aug_cluster", False):
        small |= {"shift": c.shift, "rotation": c.rotation}
        if c.shift_pixels is not None:
            small["shift"] = c.shift_pixels / max(image_shape(some.shape[1:])[:2])
        some = some.reshape(len(some), *image_shape(some.shape[1:]))
    try:
        found = model.predict(transformed(some, 2, **small).reshape(len(some), *x.shape[1:]))
    except UserError:
        return None
    return float(np.mean(found == labels[rows]))


def neighbor_agreement(z: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean share of a sample's NEIGHBORS nearest in z (n, z) that have its label.

    On at most NODES of the samples.
    """
    from sklearn.neighbors import NearestNeighbors

    rows = some_rows(len(z), NODES)
    z, labels = np.asarray(z)[rows], np.asarray(labels)[rows]
    with threadpool_limits(1):
        m = min(NEIGHBORS, len(z) - 1)
        near = NearestNeighbors(n_neighbors=m).fit(z).kneighbors(return_distance=False)
    return float(np.mean(labels[near] == labels[:, None]))


def uncertain(memberships: np.ndarray) -> float:
    """Return the share of samples whose largest membership is less than twice the second.

    memberships: (n, k), rows summing to 1.
    """
    if memberships.shape[1] < 2:
        return 0.0
    second, first = np.sort(memberships, axis=1)[:, -2:].T
    return float(np.mean(first < 2 * second))


def signals(
    model: "Estimator",
    x: np.ndarray,
    z: np.ndarray,
    labels: np.ndarray,
    memberships: np.ndarray,
    graph: Graph,
    start: np.ndarray | None = None,
    converged: bool | None = None,
    log: Sequence[dict] = (),
) -> dict[str, float]:
    """Return {name: number} of a fitted model's result, those of NAMES that are known.

    x: the samples (n, ...); z: their embedding (n, z); labels: int (n,); memberships: (n, k), rows
    summing to 1; graph: of x; start: the labels (n,) that clustering started from; converged:
    whether training ended by the method's own test, None where it has none; log: rows of log.csv,
    values as text.
    """
    found = sizes(labels, memberships.shape[1])
    found |= {
        "stability": stability(model, x, labels),
        "neighbor_agreement": neighbor_agreement(z, labels),
        "input_modularity": graph.modularity(labels),
        "kmeans_modularity": graph.kmeans_modularity(memberships.shape[1]),
        "uncertain": uncertain(memberships),
    }
    if start is not None:
        found["start_agreement"] = metrics.acc(start, labels)
    rows = [row for row in log if row.get("phase") == "cluster"]
    seen = [float(row["modularity"]) for row in rows if row.get("modularity")]
    if seen:
        found["drift"] = max(0.0, max(seen) - found["input_modularity"])
    changed = [float(row["changed"]) for row in rows if row.get("changed")]
    if converged is not None and len(changed) > 1:
        found["changed"] = changed[-1]
        found["at_limit"] = int(not converged)
    return {name: found[name] for name in NAMES if found.get(name) is not None}

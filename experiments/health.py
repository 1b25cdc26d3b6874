"""The health of a clustering, judged without labels: numbers, one verdict, and its reasons.

Nothing here sees the ground truth, and nothing here changes a result. docs/health.md has how well
each number ranks runs by their accuracy, and where the limits below come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits

import metrics
from common.errors import UserError
from common.shapes import image_shape

if TYPE_CHECKING:
    from models.core.estimator import Estimator

NODES = 5000  # samples of a neighbour graph, drawn at random where there are more
PROBES = 2000  # samples that are transformed to see whether they keep their cluster
NEIGHBORS = 10
SMALL = {"shift": 0.05, "rotation": 5.0, "noise": 0.1}  # of methods without augmentation
NAMES = (
    "empty_clusters", "smallest_cluster", "largest_cluster", "cluster_entropy", "stability",
    "neighbor_agreement", "input_modularity", "kmeans_modularity", "uncertain", "start_agreement",
    "drift", "changed", "at_limit",
)  # fmt: skip


@dataclass(frozen=True)
class Health:
    """What is known of a result without labels.

    Attributes
    ----------
    verdict : {"healthy", "doubtful", "collapsed"}
    reasons : tuple of str
        Why it is not healthy; empty if it is.
    signals : dict of name -> number
        Those of NAMES that are known.
    """

    verdict: str
    reasons: tuple = ()
    signals: dict = field(default_factory=dict)

    def columns(self) -> dict:
        """Return the columns of results.csv: verdict, reasons, and a column a signal."""
        numbers = {name: _rounded(value) for name, value in self.signals.items()}
        return {"verdict": self.verdict, "reasons": "; ".join(self.reasons)} | numbers

    def line(self) -> str:
        """Return the verdict with its reasons, one line."""
        return self.verdict + (f": {'; '.join(self.reasons)}" if self.reasons else "")


def _rounded(value):
    return value if isinstance(value, int) else round(float(value), 6)


# ---- Signals ----------------------------------------------------------------------------------


def sample(n: int, size: int, seed: int = 0) -> np.ndarray:
    """Return min(n, size) of n sample numbers, ascending, the same for the same arguments."""
    if n <= size:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:size])


class Graph:
    """The nearest neighbours of (at most NODES of) the samples in a space; never labels.

    Parameters
    ----------
    x : array (n, ...)
    """

    def __init__(self, x: np.ndarray):
        from models.core.graphs import neighbor_graph  # with scikit-learn, which takes seconds

        self.rows = sample(len(x), NODES)
        with threadpool_limits(1):  # the same sums whatever the number of cores
            self.samples = np.asarray(x)[self.rows].reshape(len(self.rows), -1)
            self.weights = neighbor_graph(self.samples, NEIGHBORS)

    def kmeans_modularity(self, k):
        """Return the modularity of a plain k-means of the samples: one start, 50 iterations."""
        from sklearn.cluster import KMeans

        from models.core.graphs import modularity

        k = min(k, len(self.samples))
        with threadpool_limits(1):
            labels = KMeans(k, n_init=1, max_iter=50, random_state=0).fit_predict(self.samples)
        return modularity(self.weights, labels)

    def modularity(self, labels: np.ndarray) -> float:
        """Return the modularity of labels (n,) on the graph (models/core/graphs.py)."""
        from models.core.graphs import modularity

        return modularity(self.weights, np.asarray(labels)[self.rows])


def sizes(labels: np.ndarray, k: int) -> dict[str, float]:
    """Return the signals of how many samples each cluster has.

    Parameters
    ----------
    labels : int array (n,) in [0, k)
    k : int

    Returns
    -------
    dict
        empty_clusters; smallest_cluster and largest_cluster, shares of the samples;
        cluster_entropy, of the sizes, divided by log k: 1 for clusters of one size.
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
    c, rows = model.config, sample(len(x), PROBES, seed=1)
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

    rows = sample(len(z), NODES)
    z, labels = np.asarray(z)[rows], np.asarray(labels)[rows]
    with threadpool_limits(1):
        m = min(NEIGHBORS, len(z) - 1)
        near = NearestNeighbors(n_neighbors=m).fit(z).kneighbors(return_distance=False)
    return float(np.mean(labels[near] == labels[:, None]))


def uncertain(memberships: np.ndarray) -> float:
    """Return the share of samples whose largest membership is less than twice the second.

    Parameters
    ----------
    memberships : array (n, k), rows summing to 1
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
    """Return {name: number} of a fitted model's result.

    Parameters
    ----------
    model : estimator with config and predict
    x : array (n, ...)
        The samples.
    z : array (n, z)
        Their embedding.
    labels : int array (n,)
    memberships : array (n, k)
        Rows summing to 1.
    graph : Graph
        Of x.
    start : int array (n,), optional
        The labels that clustering started from.
    converged : bool, optional
        Whether training ended by the method's own test; None where it has none.
    log : sequence of dict
        Rows of log.csv, values as text.
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


# ---- Verdict ----------------------------------------------------------------------------------

# Beyond these a result is doubtful; docs/health.md has the runs that they were set on.
LEAST = {"stability": 0.85, "neighbor_agreement": 0.85, "cluster_entropy": 0.75}
MOST = {"changed": 0.02, "drift": 0.02}
BELOW_KMEANS = 0.8  # of the modularity of k-means: the classes of Fashion-MNIST have 0.84 of it
SMALLEST = 0.1  # of the even share 1 / K: a smaller cluster is next to empty
COLLAPSED = 0.5  # share of the clusters that are empty, or of the samples in one of K > 3


def judge(signals: dict, k: int, n: int) -> Health:
    """Return the Health that signals speak for.

    Parameters
    ----------
    signals : dict
        From `signals`.
    k, n : int
        Clusters and samples.
    """
    s, collapsed, doubts = signals, [], []
    empty, largest = s["empty_clusters"], s["largest_cluster"]
    if empty:
        some = collapsed if empty >= COLLAPSED * k else doubts
        some.append(f"{empty} of {k} clusters {'is' if empty == 1 else 'are'} empty")
    smallest = s["smallest_cluster"]
    if 0 < smallest < SMALLEST / k:
        doubts.append(f"the smallest of {k} clusters has {smallest * n:,.0f} of {n:,} samples")
    if largest > max(COLLAPSED, 1.5 / k):
        collapsed.append(f"one cluster holds {largest:.0%} of the samples")
    elif s["cluster_entropy"] < LEAST["cluster_entropy"]:
        doubts.append(f"sizes are uneven: from {smallest * n:,.0f} to "
                      f"{largest * n:,.0f} samples")  # fmt: skip
    if s.get("changed", 0) > MOST["changed"] and s["at_limit"]:
        doubts.append(f"{s['changed']:.0%} of the labels still changed when training stopped")
    if s.get("stability", 1) < LEAST["stability"]:
        doubts.append(f"only {s['stability']:.0%} of the samples keep their cluster under a small "
                      "transform")  # fmt: skip
    if s["neighbor_agreement"] < LEAST["neighbor_agreement"]:
        doubts.append(f"nearest neighbours in the embedding share a cluster in only "
                      f"{s['neighbor_agreement']:.0%} of the pairs")  # fmt: skip
    if s["input_modularity"] < BELOW_KMEANS * s["kmeans_modularity"]:
        doubts.append(f"neighbours in the input share a cluster far less than under k-means of the "
                      f"samples (modularity {s['input_modularity']:.3f}, k-means "
                      f"{s['kmeans_modularity']:.3f})")  # fmt: skip
    if s.get("drift", 0) > MOST["drift"]:
        doubts.append(f"labels have drifted: neighbours in the input agreed better before "
                      f"(modularity {s['input_modularity'] + s['drift']:.3f}, now "
                      f"{s['input_modularity']:.3f})")  # fmt: skip
    verdict = "collapsed" if collapsed else "doubtful" if doubts else "healthy"
    return Health(verdict, (*collapsed, *doubts), s)


def assess(
    model: "Estimator",
    x: np.ndarray,
    z: np.ndarray,
    labels: np.ndarray,
    memberships: np.ndarray,
    graph: Graph,
    start: np.ndarray | None = None,
    converged: bool | None = None,
    log: Sequence[dict] = (),
) -> Health:
    """Return the Health of a fitted model's result; arguments as `signals`."""
    found = signals(model, x, z, labels, memberships, graph, start, converged, log)
    return judge(found, memberships.shape[1], len(labels))


def alarming(result: dict) -> bool:
    """Whether a result.json has a collapse or an empty cluster: a warning even if --quiet."""
    return result.get("verdict") == "collapsed" or result.get("empty_clusters", 0) > 0


def lines(result: dict) -> list[str]:
    """Return what to print of a result.json's health: a few lines, the verdict first.

    Empty for a result of a time when there was no verdict.
    """
    r, n = result, int(result["n"])
    if "verdict" not in r:
        return []
    lines = [f"health: {r['verdict']}"]
    lines += [f"  {reason}" for reason in r["reasons"].split("; ") if reason]
    sizes = f"{r['smallest_cluster'] * n:,.0f} to {r['largest_cluster'] * n:,.0f} of {n:,} samples"
    lines.append(f"  clusters of {sizes}, {r['empty_clusters']} empty")
    texts = {
        "stability": "keep their cluster under a small transform",
        "neighbor_agreement": "neighbours in the embedding agree",
        "uncertain": "uncertain memberships",
        "start_agreement": "as at the start",
    }
    shares = [f"{text} {r[name]:.0%}" for name, text in texts.items() if name in r]
    lines.append("  " + "; ".join(shares))
    end = []
    if "changed" in r:
        how = "stopped by the limit" if r["at_limit"] else "converged"
        end.append(f"{how}, {r['changed']:.2%} of the labels changed last")
    if "drift" in r:
        end.append(f"drift {r['drift']:.3f}")
    return lines + (["  " + "; ".join(end)] if end else [])

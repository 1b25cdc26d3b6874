"""Clusters of two labellings matched one to one (the Hungarian method)."""

import numpy as np


def assign(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows, columns) of the one-to-one map with the largest sum of counts (r, c)."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    return linear_sum_assignment(counts, maximize=True)


def match_clusters(labels: np.ndarray, reference: np.ndarray, k: int) -> np.ndarray:
    """Return the reference's cluster (k,) for each cluster of `labels` (n,) in [0, k)."""
    counts = np.zeros((k, k))
    np.add.at(counts, (labels, reference), 1)
    return assign(counts)[1]


def matched_share(labels: np.ndarray, reference: np.ndarray, k: int) -> float:
    """Return the share of samples on which two labellings (n,) agree, clusters matched."""
    return float(np.mean(match_clusters(labels, reference, k)[labels] == reference))

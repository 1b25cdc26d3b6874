"""Scores of a partition against ground truth, and the alignment of one labelling to another.

Labels are compared only here, after the fact: nothing in `models` imports this module. scikit-learn
takes seconds to import and comes with the first score.
"""

import numpy as np
from numpy.typing import ArrayLike

from common.matching import assign


def _pair(reference, labels):
    """Return both labellings as 1-d arrays of equal, non-zero length."""
    reference, labels = np.asarray(reference), np.asarray(labels)
    if reference.ndim != 1 or reference.shape != labels.shape or reference.size == 0:
        raise ValueError(
            f"labels of shapes {reference.shape} and {labels.shape}: expected two equal (n,), n > 0"
        )
    return reference, labels


def acc(y: ArrayLike, labels: ArrayLike) -> float:
    """Return the clustering accuracy: the best share of matches over one-to-one maps.

    max over g of (1/n) sum_i 1{y_i = g(c_i)}, by the Hungarian method on the contingency
    matrix (ASPC-DA paper, eq. 19). Where there are more clusters than classes, the clusters left
    without a class count as errors; where there are fewer, so do the classes left over.

    Parameters
    ----------
    y, labels : array-like (n,)
        Any hashable class and cluster names.

    Returns
    -------
    float in (0, 1]
    """
    from sklearn.metrics.cluster import contingency_matrix

    y, labels = _pair(y, labels)
    counts = contingency_matrix(y, labels)  # (classes, clusters)
    rows, columns = assign(counts)
    return float(counts[rows, columns].sum() / y.size)


def nmi(y: ArrayLike, labels: ArrayLike, average: str = "arithmetic") -> float:
    """Return the normalised mutual information, I(y; c) / average(H(y), H(c)), in [0, 1].

    Parameters
    ----------
    y, labels : array-like (n,)
    average : {"arithmetic", "geometric"}
        "arithmetic" is eq. 20 of the ASPC-DA paper; "geometric" was scikit-learn's default when
        the papers' numbers were made.
    """
    from sklearn.metrics import normalized_mutual_info_score

    y, labels = _pair(y, labels)
    return float(normalized_mutual_info_score(y, labels, average_method=average))


def ari(y: ArrayLike, labels: ArrayLike) -> float:
    """Return the adjusted Rand index, 1 for equal partitions and 0 in expectation by chance."""
    from sklearn.metrics import adjusted_rand_score

    y, labels = _pair(y, labels)
    return float(adjusted_rand_score(y, labels))


def scores(y: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Return {"acc", "nmi", "nmi_geometric", "ari"} of `labels` (n,) against `y` (n,)."""
    return {
        "acc": acc(y, labels),
        "nmi": nmi(y, labels),
        "nmi_geometric": nmi(y, labels, "geometric"),
        "ari": ari(y, labels),
    }


def align(labels: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """Rename clusters so that as many samples as possible agree with `reference`.

    Parameters
    ----------
    labels, reference : array-like of int (n,)
        Non-negative. Clusters without a partner in `reference` get the free numbers after its
        largest, so that no two clusters share a name.

    Returns
    -------
    int64 array (n,)
    """
    from sklearn.metrics.cluster import contingency_matrix

    reference, labels = _pair(reference, labels)
    names, place = np.unique(reference), np.unique(labels, return_inverse=True)[1]
    rows, columns = assign(contingency_matrix(reference, labels))
    new = np.full(place.max() + 1, -1)
    new[columns] = names[rows]
    alone = ~np.isin(np.arange(len(new)), columns)
    new[alone] = int(names.max()) + 1 + np.arange(alone.sum())
    return new[place]

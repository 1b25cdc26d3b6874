"""One answer from several runs: a choice without labels, their consensus, and how far they agree.

A score in a run's own embedding cannot be compared with another run's: training makes every
embedding suit its own clusters (Wang, Ji, Gong, arXiv 2403.14830, "ACE"). So all runs are judged in
the same spaces, which clustering has not touched: the samples themselves, and the pretrained codes
of every run that has some. A run's score is the modularity of its labels on the neighbour graphs of
these spaces, a mean over them. Among scores within TIE of the highest, the run most like the others
is chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from common.matching import match_clusters
from experiments import quality

TIE = 0.005  # differences in modularity that say nothing: see docs/health.md


@dataclass(frozen=True)
class Conclusion:
    """What several runs say together; m runs, n samples."""

    chosen: int  # number of the chosen run
    scores: np.ndarray  # (m,) mean modularity in the common spaces
    similarity: np.ndarray  # (m,) mean NMI of a run's labels with those of the others
    labels: np.ndarray  # (n,) the chosen run's
    consensus: np.ndarray  # (n,) the label that most runs give, numbered as the chosen run's
    company: np.ndarray  # (n,) mean Jaccard overlap of its clusters in two runs, see `company`


def company(labels: np.ndarray) -> np.ndarray:
    """Return how far runs agree on which samples are together with each sample, (n,) in (0, 1].

    For two runs and a sample: of the samples in its cluster in either run, the share in both
    (Jaccard); a mean over all pairs of runs. 1 where all runs have the same cluster around it.
    labels: int (m, n), m >= 2.
    """
    from sklearn.metrics.cluster import contingency_matrix  # scikit-learn takes seconds

    total, pairs = np.zeros(labels.shape[1]), 0
    for i, a in enumerate(labels):
        for b in labels[:i]:
            _, a_of = np.unique(a, return_inverse=True)
            _, b_of = np.unique(b, return_inverse=True)
            both = contingency_matrix(a_of, b_of).astype(np.float64)
            either = both.sum(axis=1, keepdims=True) + both.sum(axis=0) - both
            total += (both / either)[a_of, b_of]
            pairs += 1
    return total / pairs


def vote(labels: np.ndarray, reference: int) -> np.ndarray:
    """Return for each sample the label that most runs give it, int64 (n,).

    Each run's clusters are matched one-to-one with those of the run numbered `reference`
    (Hungarian), whose label also settles a tie. labels: int (m, n) in [0, k).
    """
    k = int(labels.max()) + 1
    votes = np.zeros((labels.shape[1], k))
    for i, one in enumerate(labels):
        aligned = match_clusters(one, labels[reference], k)[one]
        votes[np.arange(len(one)), aligned] += 1.0 + 0.5 * (i == reference)
    return votes.argmax(axis=1).astype(np.int64)


def conclude(
    x: np.ndarray, labels: Sequence[np.ndarray], codes: Sequence[np.ndarray] = ()
) -> Conclusion:
    """Return the Conclusion of several runs on the same samples. No label is used.

    UserError if there are fewer than two runs.

    Parameters
    ----------
    x : array (n, ...)
    labels : sequence of int arrays (n,)
    codes : sequence of arrays (n, z)
        Pretrained codes of the runs, as many as there are.
    """
    from sklearn.metrics import normalized_mutual_info_score

    if len(labels) < 2:
        raise UserError(f"{len(labels)} finished runs: expected two or more to conclude from")
    labels = np.stack(labels)
    m = len(labels)
    graphs = [quality.Graph(z) for z in (x, *codes)]
    scores = np.array([[graph.modularity(one) for graph in graphs] for one in labels]).mean(axis=1)
    same = np.array([[normalized_mutual_info_score(a, b) for b in labels] for a in labels])
    similarity = (same.sum(axis=1) - 1) / (m - 1)
    best = np.flatnonzero(scores >= scores.max() - TIE)
    chosen = int(best[np.argmax(similarity[best])])
    own, most = labels[chosen].astype(np.int64), vote(labels, chosen)
    return Conclusion(chosen, scores, similarity, own, most, company(labels))

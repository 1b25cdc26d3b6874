"""Pseudo-labels from the agreement of an ensemble's members (Kingdra), without n^2 memory.

agree(i, j) is the number of members that put samples i and j in one cluster; it depends only on
the two samples' signatures, their m labels. Everything here works on the distinct signatures and
how many samples share each.
"""

import numpy as np
from scipy import sparse

from common.matching import assign

CHUNK = 1024  # signatures compared with all others at a time


class Signatures:
    """The distinct columns of an ensemble's labels.

    Parameters
    ----------
    labels : int array (m, n)
        Label in [0, k) of each sample by each member.
    """

    def __init__(self, labels: np.ndarray):
        self.members, self.n = labels.shape
        self.distinct, self.of = np.unique(labels.T, axis=0, return_inverse=True)  # (u, m), (n,)
        self.of = self.of.reshape(-1)
        width = int(labels.max()) + 1
        columns = self.distinct + width * np.arange(self.members)
        self._hot = np.zeros((len(self.distinct), width * self.members), np.float32)
        np.put_along_axis(self._hot, columns, 1.0, axis=1)

    def agreement(self, some: slice | np.ndarray) -> np.ndarray:
        """Return agree between signatures numbered `some` and all: float32 (len(some), u)."""
        return self._hot[some] @ self._hot.T

    def alike(self, high: int) -> sparse.csr_matrix:
        """Return which pairs of signatures agree in more than `high` members: sparse (u, u)."""
        u = len(self.distinct)
        if high >= self.members:
            return sparse.csr_matrix((u, u))
        if high == self.members - 1:  # distinct signatures never agree in all
            return sparse.identity(u, format="csr")
        parts = [
            sparse.csr_matrix(self.agreement(slice(i, i + CHUNK)) > high, dtype=np.float64)
            for i in range(0, u, CHUNK)
        ]
        return sparse.vstack(parts, format="csr")

    def touching(self, group: np.ndarray, low: int) -> np.ndarray:
        """Return which signatures agree in more than `low` members with one of `group`: (u,)."""
        hit = np.zeros(len(self.distinct), bool)
        for i in range(0, len(group), CHUNK):
            hit |= (self.agreement(group[i : i + CHUNK]) > low).any(axis=0)
        return hit


def find_groups(
    labels: np.ndarray, confident: np.ndarray, high: int, low: int, k: int
) -> list[np.ndarray]:
    """Return up to k groups of samples, each a sorted int array: one pseudo-label each.

    k times: of the samples with the most strongly alike ones (agree > high) take the first, and
    those alike it as a group; then drop every sample that is not strongly unlike (agree <= low)
    each member of the group. Only confident samples have others alike them; an unconfident one can
    be in the first group alone, for samples are dropped for that after each group [C].

    Parameters
    ----------
    labels : int array (m, n)
    confident : bool array (n,)
        Whether all members are sure of a sample.
    high, low : int
        Thresholds on agree, from 0 to m.
    k : int
    """
    signatures = Signatures(labels)
    of, u = signatures.of, len(signatures.distinct)
    alike = signatures.alike(high)
    weight = np.bincount(of, minlength=u)  # samples in reach of a signature
    sure = np.bincount(of[confident], minlength=u)
    alive = sure > 0  # signatures that have a confident sample and are not dropped
    available = np.ones(len(of), bool)  # samples that can be in a group
    first = np.full(u, len(of))  # the first confident sample of each signature
    np.minimum.at(first, of[confident], np.flatnonzero(confident))
    groups = []
    for _ in range(k):
        counts = np.where(alive, alike @ weight, 0)
        if not counts.any():
            break
        best = np.flatnonzero(counts == counts.max())
        top = best[np.argmin(first[best])]
        chosen = np.zeros(u, bool)
        chosen[alike[top].indices] = True
        group = np.flatnonzero(chosen[of] & available)
        groups.append(group)
        alive &= ~signatures.touching(np.unique(of[group]), low)
        available = confident & alive[of]
        weight = np.where(alive, sure, 0)
    return groups


def match_groups(groups: list[np.ndarray], labels: np.ndarray, k: int) -> np.ndarray:
    """Return the cluster (g,) of a member for each group, one-to-one, most samples in common.

    Hungarian assignment on the counts of labels (n,) in each group.
    """
    counts = np.array([np.bincount(labels[group], minlength=k) for group in groups])  # (g, k)
    return assign(counts)[1]


def mean_agreement(labels: np.ndarray) -> float:
    """Return the share of equal labels over all samples and pairs of members of (m, n) labels."""
    m = len(labels)
    if m < 2:
        return 1.0
    equal = sum(np.mean(a == b) for i, a in enumerate(labels) for b in labels[:i])
    return float(equal / (m * (m - 1) / 2))

"""Graph degree linkage (AC-GDL): clusters on a graph of neighbours, merged by their affinity."""

import numpy as np
from scipy import sparse

from common.errors import UserError
from common.memory import require_memory
from models.baselines.base import MeansOnly, mean_distances
from models.core.graphs import connected_parts, directed_graph, nearest_neighbors


class GraphDegreeLinkage(MeansOnly):
    """Graph degree linkage; `transform` gives the distances to the means of clusters, (n, k)."""

    def partition(self, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, int, bool]:
        c, n = self.config, len(x)
        distances, nearest = nearest_neighbors(x, min(max(c.n_neighbors, 3), n - 1))
        squares = distances.astype(np.float64) ** 2
        sigma2 = max(c.scale * squares.mean(), 1e-12)
        while np.exp(-squares[:, 0].max() / sigma2) < 1e-5:  # as released
            sigma2 *= 2
        m = min(c.n_neighbors, n - 1)
        w = directed_graph(nearest[:, :m], np.exp(-squares[:, :m] / sigma2))
        labels = connected_parts(np.arange(n), nearest[:, 0], n)
        count = labels.max() + 1
        if count < self.n_clusters:
            raise UserError(
                f"AC-GDL begins with {count} clusters, samples with their nearest neighbours: "
                f"expected at least n_clusters={self.n_clusters}"
            )
        require_memory(6 * count**2, f"{self.method} with {count} clusters to begin with")
        labels = merge_by_degree(w, labels, self.n_clusters)
        return labels, mean_distances(x, labels), count - self.n_clusters, True


def merge_by_degree(w: sparse.csr_array, labels: np.ndarray, k: int) -> np.ndarray:
    """Merge clusters on a directed graph until k are left, those of greatest affinity first.

    The affinity of a and b is that of a to b and of b to a; that of a to b is the sum over i in b
    of (sum over j in a of w_ij) (sum over j in a of w_ji) / |a|^2 (GDL, eqs. 5 and 6).

    Parameters
    ----------
    w : sparse array (n, n)
    labels : int array (n,)
        The clusters to begin with.
    """
    n, count = len(labels), labels.max() + 1
    back = w.T.tocsr()
    member = sparse.csr_array((np.ones(n), labels, np.arange(n + 1)), (n, count))
    sizes = np.bincount(labels).astype(np.float64)
    flow = (w @ member) * (back @ member)  # (n, count), sparse
    table = (member.T @ flow @ sparse.diags_array(1 / sizes**2)).T  # affinity of row to column
    table = table.astype(np.float32).toarray()
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes[:-1]).astype(int))
    labels, alive = labels.copy(), np.ones(count, bool)

    def affinities(a):
        both = table[a] + table[:, a]
        both[~alive] = both[a] = -np.inf
        return both

    best = np.empty(count, np.int64)
    value = np.full(count, -np.inf, np.float32)

    def find_best(a):
        both = affinities(a)
        best[a] = both.argmax()
        value[a] = both[best[a]]

    for a in range(count):
        find_best(a)
    for _ in range(count - k):
        a = value.argmax()
        b = best[a]
        labels[members[b]] = a
        members[a] = np.concatenate([members[a], members[b]])
        alive[b], value[b] = False, -np.inf
        table[:, a] += table[:, b]
        out, into = (
            np.bincount(rows.indices, rows.data, minlength=n)
            for rows in (back[members[a]], w[members[a]])
        )
        table[a] = np.bincount(labels, out * into, minlength=count) / len(members[a]) ** 2
        both = affinities(a)
        for other in np.flatnonzero(alive & ((best == a) | (best == b))):
            find_best(other)
        better = alive & (both > value)
        better[a] = False
        best[better], value[better] = a, both[better]
        find_best(a)
    return np.unique(labels, return_inverse=True)[1]

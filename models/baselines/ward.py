"""Agglomerative clustering by Ward's linkage (AC), in memory O(n d)."""

import numpy as np

from models.baselines.base import MeansOnly, mean_distances
from models.core.arrays import BLOCK, row_blocks, squared_distances
from models.core.graphs import connected_parts


class Ward(MeansOnly):
    """Agglomerative clustering by Ward's linkage; `transform`: distances to the means, (n, k)."""

    def needed(self, n: int, d: int) -> float:
        return 24 * n * d + 12 * BLOCK

    def partition(self, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, int, bool]:
        n = len(x)
        a, b, heights = ward_merges(x)
        low = np.argsort(heights, kind="stable")[: n - self.n_clusters]
        labels = connected_parts(a[low], b[low], n)
        return labels, mean_distances(x, labels), n - self.n_clusters, True


def ward_merges(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the n - 1 merges of Ward's linkage: samples a, b (n - 1,) of the two, heights.

    All pairs of clusters that are each other's nearest are merged in one round. No merge brings
    two clusters nearer to a third than the nearer of them was, so these are the merges of the
    method that does one at a time, and a cluster whose nearest was not merged keeps its neighbour.
    Time O(n^2 d), memory O(n d).
    """
    centers = (x - x.mean(axis=0)).astype(np.float32)  # (m, d), of m clusters
    m = len(x)
    sizes, names, heights = np.ones(m, np.float32), np.arange(m), np.zeros(m)
    nearest, cost, stale = np.zeros(m, np.int64), np.zeros(m, np.float32), np.arange(m)
    merges = []
    while m > 1:
        nearest[stale], cost[stale] = _ward_nearest(centers, sizes, stale)
        own = np.arange(m)
        a = own[(nearest[nearest] == own) & (own < nearest)]
        if not len(a):  # rounding can hide the pair
            a = np.argmin(cost, keepdims=True)
        b = nearest[a]
        share = (sizes[b] / (sizes[a] + sizes[b]))[:, None]
        gap = (centers[b] - centers[a]).astype(np.float64)
        height = sizes[a] * share[:, 0] * np.einsum("ij,ij->i", gap, gap)
        height = np.max([height, heights[a], heights[b]], axis=0)  # but for rounding, it is so
        merges.append((names[a], names[b], height))
        centers[a] += share * gap
        sizes[a] += sizes[b]
        heights[a] = height
        merged, keep = np.zeros(m, bool), np.ones(m, bool)
        merged[a] = merged[b] = True
        keep[b] = False
        stale = np.flatnonzero((merged | merged[nearest])[keep])
        nearest = (np.cumsum(keep) - 1)[nearest[keep]]
        centers, sizes, names = centers[keep], sizes[keep], names[keep]
        heights, cost = heights[keep], cost[keep]
        m = len(centers)
    return tuple(map(np.concatenate, zip(*merges, strict=True)))


def _ward_nearest(centers, sizes, rows):
    """Return the nearest other cluster of the given ones, and how much a merge would cost."""
    nearest, cost = [], []
    for some in row_blocks(rows, len(centers)):
        d = squared_distances(centers[some], centers)
        d *= sizes[some, None] * (sizes / (sizes[some, None] + sizes))
        d[np.arange(len(some)), some] = np.inf
        nearest.append(d.argmin(axis=1))
        cost.append(np.take_along_axis(d, nearest[-1][:, None], axis=1)[:, 0])
    return np.concatenate(nearest), np.concatenate(cost)

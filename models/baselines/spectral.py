"""Spectral clustering: normalised cuts (SC-Ncut) and by landmarks (SC-LS)."""

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans

from common.errors import UserError
from models.baselines.base import Baseline, FittedOnly
from models.core.arrays import BLOCK, row_blocks, squared_distances, student_kernel
from models.core.graphs import leading_eigenvectors, neighbor_graph


class NormalizedCuts(FittedOnly):
    """Normalised cuts; `transform` gives the eigenvectors, (n, k)."""

    def partition(self, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, int, bool]:
        n, k, c = len(x), self.n_clusters, self.config
        if n <= 2 * k:
            raise UserError(f"n_clusters={k}: expected fewer than half of n_samples={n}")
        m = min(c.n_neighbors, n) - 1  # the sample itself is one of them
        w = neighbor_graph(x, m, algorithm="brute") + sparse.eye_array(n)
        scale, vectors = leading_eigenvectors(w, k, seed)
        z = scale[:, None] * vectors
        z = z / np.abs(z).max()
        model = KMeans(k, n_init=c.n_init, random_state=seed).fit(z)
        return model.labels_, z, model.n_iter_, model.n_iter_ < model.max_iter


class LandmarkSpectral(Baseline):
    """Landmark-based spectral clustering; `transform` gives singular vectors, rows of length 1."""

    def needed(self, n: int, d: int) -> float:
        return 24 * n * d + 16 * BLOCK

    def learn(self, x: np.ndarray, seed: int) -> tuple[dict, int, bool]:
        c, k = self.config, self.n_clusters
        p = min(c.landmarks, len(x))
        if p <= k:
            raise UserError(f"landmarks={p}: expected more than n_clusters={k}")
        marks = KMeans(p, init="random", n_init=1, max_iter=5, random_state=seed).fit(x)
        learnt = self._learnt = {"landmarks": marks.cluster_centers_, "sigma": c.sigma or 0.0}
        if c.sigma is None:
            sums = [
                squared_distances(b, learnt["landmarks"]).sum(dtype=float) for b in row_blocks(x, p)
            ]
            learnt["sigma"] = max(sum(sums) / (len(x) * p), 1e-12)
        z = self._graph(x)
        learnt["scale"] = 1 / np.sqrt(np.maximum(np.asarray(z.sum(axis=0)).ravel(), 1e-12))
        z = z @ sparse.diags_array(learnt["scale"])
        values, vectors = np.linalg.eigh((z.T @ z).toarray())  # (p,), (p, p), ascending
        keep = slice(-2, -k - 2, -1)  # from the second largest down
        learnt["map"] = vectors[:, keep] / np.sqrt(np.maximum(values[keep], 1e-12))
        model = KMeans(k, n_init=c.n_init, random_state=seed).fit(self.embed(x))
        learnt["centers"] = model.cluster_centers_
        return learnt, model.n_iter_, model.n_iter_ < model.max_iter

    def _graph(self, x):
        """Return sparse weights (n, p), rows summing to 1, to the nearest landmarks."""
        marks, sigma = self._learnt["landmarks"], float(self._learnt["sigma"])
        r = min(self.config.n_neighbors, len(marks))
        columns, weights = [], []
        for block in row_blocks(x, len(marks)):
            distances = squared_distances(block, marks)
            nearest = np.sort(np.argpartition(distances, r - 1, axis=1)[:, :r], axis=1)
            near = np.take_along_axis(distances, nearest, axis=1).astype(np.float64)
            weight = np.exp((near.min(axis=1, keepdims=True) - near) / (2 * sigma**2))
            columns.append(nearest.ravel())
            weights.append((weight / weight.sum(axis=1, keepdims=True)).ravel())
        rows = np.arange(0, len(x) * r + 1, r)
        return sparse.csr_array(
            (np.concatenate(weights), np.concatenate(columns), rows), (len(x), len(marks))
        )

    def embed(self, x: np.ndarray) -> np.ndarray:
        u = self._graph(x) @ (self._learnt["scale"][:, None] * self._learnt["map"])  # (n, k)
        return u / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-12)

    def belong(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return student_kernel(squared_distances(z, self._learnt["centers"]))

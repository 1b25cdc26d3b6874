"""UMAP+HDBSCAN: density clusters of a map."""

import numpy as np
from sklearn.cluster import HDBSCAN
from sklearn.neighbors import NearestNeighbors

from common import device
from common.errors import UserError
from models.baselines.base import FittedOnly


class UMAPHDBSCAN(FittedOnly):
    """UMAP, then HDBSCAN on its map; `transform` gives the map, (n, components)."""

    def needed(self, n: int, d: int) -> float:
        return 24 * n * d + 20_000 * n

    def partition(self, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, int, bool]:
        device.prepare()  # UMAP imports TensorFlow if it can
        try:
            import umap
        except ImportError as error:
            raise UserError(
                "UMAP+HDBSCAN needs the package umap-learn: expected `pip install umap-learn`"
            ) from error
        c, n = self.config, len(x)
        if n <= c.components + 1:
            raise UserError(f"UMAP+HDBSCAN of {n} samples: expected more than {c.components + 1}")
        z = umap.UMAP(
            n_neighbors=min(c.n_neighbors, n - 1),
            min_dist=c.min_dist,
            n_components=c.components,
            random_state=seed,
            n_jobs=1,
        ).fit_transform(x)
        labels = HDBSCAN(
            min_cluster_size=max(2, round(c.min_share * n)),
            min_samples=min(c.min_samples, n),
            copy=True,
        ).fit_predict(z)
        noise = labels < 0
        if noise.all():
            return np.zeros(n), z, 0, True
        if noise.any():
            near = NearestNeighbors(n_neighbors=1).fit(z[~noise])
            labels[noise] = labels[~noise][near.kneighbors(z[noise], return_distance=False)[:, 0]]
        return labels, z, 0, True

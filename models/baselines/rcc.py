"""RCC: robust continuous clustering of the input, see models/core/rcc.py."""

import numpy as np

from models.baselines.base import FittedOnly
from models.core import rcc


class RobustContinuous(FittedOnly):
    """Robust continuous clustering; `transform` gives the samples' representatives, (n, d)."""

    def needed(self, n: int, d: int) -> float:
        return 40 * n * d

    def partition(self, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, int, bool]:
        c = self.config
        found = rcc.cluster(x, c.n_neighbors, c.metric, c.maxiter)
        return found.labels, found.u, found.steps, found.ended

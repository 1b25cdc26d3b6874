"""ASPC started by robust continuous clustering, which finds the number of clusters (TKDE, Table 6).

RCC of the pretrained codes gives clusters of all sizes. Samples of the small ones are noise: in
the first epochs, `warmup_epochs`, labels stay and noise has weight 0, as the released code treats
samples without a label; then ASPC goes on with all samples and the centres of the other clusters.

Departures: docs/methods/aspc-da.md
"""

import os
from typing import Self

import keras
import numpy as np
from keras import ops

from common.errors import UserError
from models.aspc import ASPC
from models.core import rcc
from models.core.arrays import cluster_means
from models.core.functional import Tensor


class ASPCFromRCC(ASPC):
    """ASPC from the clusters of RCC; `n_clusters` has no effect, `cluster_centers_` tells K."""

    def make_centers(self) -> keras.Variable:
        count = self.__dict__.get("_found_clusters", 1)
        return keras.Variable(np.zeros((count, self.config.latent_dim), np.float32), name="centers")

    def initialize(self, z: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return centres (k, z) and labels (n,), -1 for noise, by RCC of codes (n, z)."""
        c, self.n_init_ = self.config, 0
        found = rcc.cluster(z, c.n_neighbors, c.metric, c.rcc_maxiter)
        sizes = np.bincount(found.labels)
        large = np.flatnonzero(sizes >= c.min_share * len(z))
        if not len(large):
            raise UserError(
                f"RCC of the codes: the largest of {len(sizes)} clusters has {sizes.max()} of "
                f"{len(z)} samples, and all are noise at --min-share {c.min_share:g}: expected a "
                "smaller share"
            )
        number = np.full(len(sizes), -1)
        number[large] = np.arange(len(large))
        labels = number[found.labels]
        noise = labels < 0
        self._monitor.note(
            f"RCC: {len(sizes)} clusters; {len(large)} hold at least {c.min_share:.1%} of the "
            f"samples each, {noise.sum():,} of {len(z):,} samples in the others are noise"
        )
        return cluster_means(z[~noise], labels[~noise], len(large)), labels

    def cluster(self, data: Tensor) -> None:
        self._found = super().start(data)
        self._found_clusters = len(self._found[0])
        self.centers = self.make_centers()
        super().cluster(data)
        del self._found

    def start(self, data: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
        centers, labels, seconds = self._found
        self.centers.assign(centers)
        return centers, np.where(labels < 0, self.assign(self.pretrained_codes_), labels), seconds

    @property
    def earliest_end(self) -> int:
        """The first step at which settled labels may end the clustering phase."""
        steps_per_epoch = -(-len(self.pretrained_codes_) // self.config.batch_size)
        return self.config.warmup_epochs * steps_per_epoch + 1

    def refresh(self, z: np.ndarray, step: int) -> tuple[np.ndarray, dict, dict]:
        after_warmup = step - self.earliest_end + 1
        if after_warmup > 0:
            return super().refresh(z, after_warmup)
        labels, v = self.assign(z), np.ones(len(z), np.float32)
        if after_warmup < 0:
            labels, v = self.initial_labels_, (self._found[1] >= 0).astype(np.float32)
        targets = {"center": ops.take(self.centers, labels, axis=0), "v": v}
        return labels, targets, {"selected": v.mean()}

    def restore(self, path: str | os.PathLike, arrays: dict[str, np.ndarray], about: dict) -> Self:
        self._found_clusters = len(arrays["centers"])
        return super().restore(path, arrays, about)

"""One clustering of the codes of an auto-encoder, plain, denoising or augmented.

By k-means it is the row AE+k-means of DEC-DA's Table 5.
"""

import numpy as np
import tensorflow as tf

from models.core.base import DeepClusterer
from models.core.functional import Tensor, mean_squared_error


class ClusteredCodes(DeepClusterer):
    """Pretraining, then `start`: k-means on the codes by default; no clustering steps."""

    @property
    def by_k_means(self) -> bool:
        """Whether the labels that k-means gives are the result, rather than those of `assign`."""
        return self.config.init == "k-means"

    def cluster(self, data: Tensor) -> None:
        self._monitor.begin("cluster", 0, 0)
        centers, labels, self.seconds_["initialize"] = self.start(data)
        self.centers.assign(centers)
        self.initial_labels_ = self.refresh_labels_ = labels
        if not self.by_k_means:
            self.refresh_labels_ = self.assign(self._encode(data)).astype(np.int64)
        self.n_iter_, self.converged_ = 0, True
        self.seconds_["cluster"] = self.step_seconds_["cluster"] = 0.0
        self._monitor.row("final", 0, {"seconds": 0.0}, self.refresh_labels_)


class AEKMeans(ClusteredCodes):
    """Pretraining as in all methods on the same network, then k-means; no clustering steps.

    The denoising auto-encoder sets a share `noise` of each batch's inputs to 0 (the others are
    not scaled up) and rebuilds the clean ones.
    """

    def pretrain_loss(
        self, x: Tensor, targets: dict[str, Tensor], seed: Tensor
    ) -> dict[str, Tensor]:
        if not self.config.noise:
            return super().pretrain_loss(x, targets, seed)
        rebuilt = self.decoder(self.encoder(self.corrupt(x, seed)))
        return {"reconstruction": mean_squared_error(x, rebuilt)}

    def corrupt(self, x: Tensor, seed: Tensor) -> Tensor:
        """Return x (b, ...) with a share `noise` of its values set to 0, drawn from a seed pair."""
        draw = tf.random.stateless_uniform(
            tf.shape(x), tf.random.experimental.stateless_fold_in(seed, 1)
        )
        return tf.where(draw < self.config.noise, 0.0, x)

"""DEC, IDEC and DCN with or without data augmentation (DEC-DA, ACML 2018).

L = alpha * Lr + beta * Lc. Targets come from clean samples with the network fixed, outputs from
augmented ones; the reconstruction term of IDEC takes the augmented image as input and as target.
"""

from typing import Self

import keras
import numpy as np
from keras import ops

from models.core.base import DeepClusterer
from models.core.functional import (
    Tensor,
    distance_to,
    kl_divergence,
    mean_squared_error,
    running_means,
    soft_assignment,
    squared_distances,
    target_distribution,
)


class DEC(DeepClusterer):
    """Deep embedded clustering (Xie et al., ICML 2016): KL(P || Q) on encoder and centres.

    P is computed from all clean samples every `update_interval` steps (DEC-DA, eqs. 7-9).
    Centres are trained. With alpha > 0 it is improved DEC (IDEC; Guo et al., IJCAI 2017), which
    keeps reconstructing its input.
    """

    @property
    def shuffle(self) -> bool:
        """False: contiguous batches in data order, as released."""
        return self.config.shuffle

    def cluster_variables(self) -> list[keras.Variable]:
        decoder = self.decoder.trainable_variables if self.config.alpha else []
        return self.encoder.trainable_variables + [self.centers] + decoder

    def target_specs(self, n: int) -> dict[str, tuple[tuple, str]]:
        return {"p": ((n, self.n_clusters), "float32")}

    def refresh(self, z: np.ndarray, step: int) -> tuple[np.ndarray, dict, dict]:
        q = soft_assignment(z, self.centers)  # (n, k)
        return np.argmax(q, axis=1), {"p": target_distribution(q)}, {}

    def loss_weights(self) -> dict[str, float]:
        weights = {"kl": self.config.beta, "reconstruction": self.config.alpha}
        return {name: weights[name] for name in weights if name == "kl" or weights[name]}

    def loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        z = self.encoder(x)
        losses = {"kl": kl_divergence(targets["p"], soft_assignment(z, self.centers))}
        if self.config.alpha:
            losses["reconstruction"] = mean_squared_error(x, self.decoder(z))
        return losses


IDEC = DEC  # the published name for alpha > 0


class DCN(DeepClusterer):
    """Deep clustering network as DEC-DA has it (eqs. 11 and 12), no reconstruction term.

    Feature step: min over the encoder of the mean ||f(x~) - M s||^2, one pass over the shuffled
    data. Clustering step, on clean features: s is the nearest centre, then each centre the mean of
    all codes it has taken up since k-means, k-means' own included (twice: the first refresh has the
    same codes). By the last codes alone, with nothing to hold them apart, all codes fall into one
    point.
    """

    shuffle = True

    def make_centers(self) -> keras.Variable:
        self.counts = keras.Variable(np.ones(self.n_clusters, np.float32))
        return super().make_centers()

    def extra_state(self) -> dict[str, keras.Variable]:
        return {"counts": self.counts}

    def restore(self, path: str, arrays: dict, about: dict) -> Self:
        before = {"counts": np.ones(self.n_clusters, np.float32)}  # of models of protocol 1
        return super().restore(path, before | arrays, about)

    def cluster_variables(self) -> list[keras.Variable]:
        return self.encoder.trainable_variables

    def target_specs(self, n: int) -> dict[str, tuple[tuple, str]]:
        return {"center": ((n, self.config.latent_dim), "float32")}

    def refresh(self, z: np.ndarray, step: int) -> tuple[np.ndarray, dict, dict]:
        if step == 0:
            sizes = np.bincount(self.initial_labels_, minlength=self.n_clusters)
            self.counts.assign(np.maximum(sizes, 1))
        labels = np.argmin(squared_distances(z, self.centers), axis=1)
        centers, counts = running_means(self.centers, self.counts, z, labels)
        self.centers.assign(centers)
        self.counts.assign(counts)
        return labels, {"center": ops.take(self.centers, labels, axis=0)}, {}

    def loss_weights(self) -> dict[str, float]:
        return {"distance": self.config.beta}

    def loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        return {"distance": distance_to(self.encoder(x), targets["center"])}

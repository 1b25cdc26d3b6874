"""ASPC: adaptive self-paced deep clustering, with or without augmentation (TKDE 2019).

min over v, w of (1/n) sum_i v_i ||f_w(x~_i) - M s_i||^2 - lambda v_i with v_i in {0, 1}, centres M
fixed once they are initialised, s_i the nearest centre of the clean embedding. The steps on w take
the mean over the z latent dimensions in place of the sum, as the released code does.

Departures: docs/methods/aspc-da.md
"""

import keras
import numpy as np
from keras import ops

from models.core.base import DeepClusterer
from models.core.functional import Tensor, squared_distances


def selection_threshold(losses: np.ndarray, progress: float) -> float:
    """Return lambda = mean(L) + progress * std(L) (eq. 10).

    losses (n,) are the squared distances of all samples to their centres, progress is t / T.
    """
    return float(np.mean(losses, dtype=np.float64) + progress * np.std(losses, dtype=np.float64))


def selected_mean(losses: Tensor, v: Tensor) -> Tensor:
    """Return the mean of losses (b,) over the samples with v (b,) = 1; 0 if there are none."""
    return ops.sum(v * losses) / ops.maximum(ops.sum(v), 1.0)


class ASPC(DeepClusterer):
    """Adaptive self-paced clustering; with `self_paced=False` the paper's BasicDC."""

    shuffle = True

    def cluster_variables(self) -> list[keras.Variable]:
        return self.encoder.trainable_variables

    def target_specs(self, n: int) -> dict[str, tuple[tuple, str]]:
        return {"center": ((n, self.config.latent_dim), "float32"), "v": ((n,), "float32")}

    def refresh(self, z: np.ndarray, step: int) -> tuple[np.ndarray, dict, dict]:
        n = len(z)
        epoch = step // -(-n // self.config.batch_size)
        distances = np.asarray(squared_distances(z, self.centers))
        labels = distances.argmin(axis=1) if epoch else self.initial_labels_
        if epoch and self.config.selection == "augmented":
            distances = np.asarray(squared_distances(self._encode_augmented(step), self.centers))
        losses = distances[np.arange(n), labels]
        threshold = np.inf  # the first epoch takes all
        if epoch and self.config.self_paced:
            threshold = selection_threshold(losses, (epoch - 1) / self.config.epochs)
        v = (losses < threshold).astype(np.float32)
        targets = {"center": ops.take(self.centers, labels, axis=0), "v": v}
        logged = {"lambda": threshold, "selected": v.mean(), "distance_mean": losses.mean()}
        return labels, targets, logged

    def loss_weights(self) -> dict[str, float]:
        return {"distance": self.config.beta}

    def loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        losses = ops.mean(ops.square(self.encoder(x) - targets["center"]), axis=1)  # (b,)
        return {"distance": selected_mean(losses, targets["v"])}

"""ASPC: adaptive self-paced deep clustering, with or without augmentation (TKDE 2019).

min over v, w of (1/n) sum_i v_i ||f_w(x~_i) - M s_i||^2 - lambda v_i with v_i in {0, 1}, centres M
fixed once they are initialised, s_i the nearest centre of the clean embedding.

Departures: docs/methods/aspc-da.md
"""

import numpy as np
from keras import ops
from sklearn.cluster import AgglomerativeClustering, SpectralClustering
from sklearn.mixture import GaussianMixture

from models.base import DeepClusterer
from models.functional import squared_distances

SAMPLE = 10000  # what spectral and agglomerative clustering take at most: their memory is O(n^2)


def selection_threshold(losses, progress):
    """Return lambda = mean(L) + progress * std(L) (eq. 10).

    Parameters
    ----------
    losses : array (n,)
        Squared distances of all samples to their centres.
    progress : float in [0, 1]
        t / T.
    """
    return float(np.mean(losses, dtype=np.float64) + progress * np.std(losses, dtype=np.float64))


def selected_mean(losses, v):
    """Return the mean of losses (b,) over the samples with v (b,) = 1; 0 if there are none."""
    return ops.sum(v * losses) / ops.maximum(ops.sum(v), 1.0)


def means(z, labels, k):
    """Return the mean of each cluster's codes, (k, z); zeros for an empty one."""
    sums = np.zeros((k, z.shape[1]))
    np.add.at(sums, labels, z)
    return sums / np.maximum(np.bincount(labels, minlength=k), 1)[:, None]


class ASPC(DeepClusterer):
    """Adaptive self-paced clustering; with `self_paced=False` the paper's BasicDC."""

    shuffle = True

    def initialize(self, z, seed):
        """Return centres (k, z) and labels (n,) by the `init` setting."""
        if self.config.init == "k-means":
            return super().initialize(z, seed)
        k = self.n_clusters
        if self.config.init == "gmm":
            labels = GaussianMixture(k, random_state=seed).fit_predict(z)
            return means(z, labels, k), labels
        some = np.arange(len(z))
        if len(z) > SAMPLE:
            some = np.sort(np.random.default_rng(seed).permutation(len(z))[:SAMPLE])
            self._monitor.note(
                f"{self.config.init} initialisation on {SAMPLE} of {len(z)} samples, the others "
                "to their nearest centre"
            )
        if self.config.init == "agglomerative":
            labels = AgglomerativeClustering(k).fit_predict(z[some])
        else:
            labels = SpectralClustering(
                k, affinity="nearest_neighbors", assign_labels="kmeans", random_state=seed
            ).fit_predict(z[some])
        centers = means(z[some], labels, k)
        if len(some) < len(z):
            labels = np.argmin(squared_distances(z, centers.astype(z.dtype)), axis=1)
        return centers, labels

    def trained(self):
        return self.encoder.trainable_variables

    def target_specs(self, n):
        return {"center": ((n, self.config.latent_dim), "float32"), "v": ((n,), "float32")}

    def refresh(self, z, step):
        n = len(z)
        epoch = step // -(-n // self.config.batch_size)
        if epoch == 0:
            labels = self.initial_labels_
            losses = np.asarray(squared_distances(z, self.centers))[np.arange(n), labels]
            v, threshold = np.ones(n, np.float32), np.inf
        else:
            distances = np.asarray(squared_distances(z, self.centers))
            labels = distances.argmin(axis=1)
            if self.config.selection == "augmented":
                distances = np.asarray(
                    squared_distances(self._encode_augmented(step), self.centers)
                )
            losses = distances[np.arange(n), labels]
            threshold = selection_threshold(losses, (epoch - 1) / self.config.epochs)
            v = (losses < threshold).astype(np.float32)
            if not self.config.self_paced:
                v, threshold = np.ones(n, np.float32), np.inf
        targets = {"center": ops.take(self.centers, labels, axis=0), "v": v}
        told = {"lambda": threshold, "selected": v.mean(), "distance_mean": losses.mean()}
        return labels, targets, told

    def loss_weights(self):
        return {"distance": self.config.beta}

    def loss(self, x, targets):
        losses = ops.sum(ops.square(self.encoder(x) - targets["center"]), axis=1)  # (b,)
        return {"distance": selected_mean(losses, targets["v"])}

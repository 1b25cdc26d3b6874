"""The spectral head: a network whose orthonormalised outputs are clustered by k-means.

DSCDAN and SpectralNet hold one. New samples get the orthonormalisation of all training samples at
the end of training, a fixed matrix, and the nearest of the centres that k-means found in their
embedding.
"""

import keras
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from common.errors import UserError
from common.matching import match_clusters
from models.core.autoencoder import CHUNK
from models.core.functional import Tensor, squared_distances
from models.core.initialization import kmeans
from models.dscdan.networks import dense_network
from models.dscdan.spectral import affinity, orthonormalization, orthonormalize, spectral_loss
from models.settings.dscdan import DSCDANConfig, SpectralNetConfig


class SpectralHead:
    """A network from codes (b, z) to outputs (b, k), and the clusters of what it gives.

    Parameters
    ----------
    config : DSCDANConfig or SpectralNetConfig
        Its latent_dim, head (widths), n_neighbors, sigma, scale_neighbor and n_init are read.
    k : int
        Number of clusters.
    activation : str
        Of the last layer: "softmax" where outputs are p(y|z), "tanh" in SpectralNet.
    seed : int
        Decides the initial weights.

    Attributes
    ----------
    network : keras.Model
    orthonormal : keras.Variable, float64 (k, k)
        What outputs are multiplied by to give the spectral embedding.
    centers : keras.Variable, float32 (k, k)
        Of the clusters, in that embedding.

    Raises
    ------
    UserError
        If a batch is smaller than k: its outputs have no k orthonormal columns.
    """

    def __init__(
        self, config: DSCDANConfig | SpectralNetConfig, k: int, activation: str, seed: int
    ):
        size = config.cluster_batch_size
        if size < k:
            raise UserError(f"cluster_batch_size={size}: expected >= n_clusters={k}")
        self.config, self.k, self.activation = config, k, activation
        self.network = self._new_network(seed)
        self._network_batch = tf.function(
            self.network, input_signature=[tf.TensorSpec((None, config.latent_dim), tf.float32)]
        )
        self.orthonormal = keras.Variable(np.eye(k), dtype="float64", name="orthonormal")
        self.centers = keras.Variable(np.zeros((k, k), np.float32), name="centers")

    def _new_network(self, seed):
        """Return an untrained network."""
        c, last = self.config, (self.k, self.activation)
        return dense_network(c.latent_dim, c.head, last, seed, name="head")

    def reset(self, seed: int) -> None:
        """Put the network's weights back to what a seed starts from."""
        self.network.set_weights(self._new_network(seed).get_weights())

    def __call__(self, z):
        """Return the network's outputs (b, k) for a batch of codes (b, z)."""
        return self.network(z)

    def loss(self, space: Tensor, out: Tensor) -> Tensor:
        """Return the spectral loss of the network's outputs (b, k) (DSCDAN, eqs. 14-18).

        The graph's distances are taken in `space` (b, s): the codes, or SpectralNet's siamese
        outputs.
        """
        c = self.config
        w = affinity(space, c.n_neighbors, c.sigma, c.scale_neighbor)
        return spectral_loss(w, orthonormalize(out))

    def outputs(self, z: np.ndarray) -> np.ndarray:
        """Return the network's outputs, float32 (n, k), for codes z (n, z)."""
        parts = [self._network_batch(z[i : i + CHUNK]) for i in range(0, len(z), CHUNK)]
        return np.concatenate([np.asarray(part) for part in parts])

    def embed(self, out: np.ndarray) -> np.ndarray:
        """Return the spectral embedding, float32 (n, k), of outputs (n, k)."""
        return (out.astype(np.float64) @ np.asarray(self.orthonormal)).astype(np.float32)

    def labels(self, out: np.ndarray) -> np.ndarray:
        """Return the nearest centre, int64 (n,), of outputs (n, k)."""
        y = self.embed(out)
        return np.argmin(squared_distances(y, self.centers), axis=1).astype(np.int64)

    def fit_partition(self, z: np.ndarray, seed: int) -> np.ndarray:
        """Set the orthonormalisation and the centres by all samples' codes; return outputs (n, k).

        Centres are numbered as those of the last call, put to the network's present outputs, with
        which they share most samples: so labels can be compared from one call to the next.
        z is float32 (n, z); the seed decides the restarts of k-means.
        """
        out = self.outputs(z)
        before = self.labels(out)
        self.orthonormal.assign(orthonormalization(out))
        embedded = self.embed(out)
        with threadpool_limits(1):
            found, _ = kmeans(embedded, self.k, self.config.n_init, seed)
        order = match_clusters(before, found.labels_, self.k)
        self.centers.assign(found.cluster_centers_[order])
        return out
